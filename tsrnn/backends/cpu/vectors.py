"""Vector instructions: LLVM code on vectors as wide as the processor has them, for a list of features known at compile time."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from tsrnn.backends.cpu.jit import target_features

FEATURES = frozenset(target_features().split(","))
VECTOR_BYTES = 64 if "+avx512f" in FEATURES else 32 if "+avx" in FEATURES else 16
I32, I64 = ir.IntType(32), ir.IntType(64)


def float_array(array) -> types.Float:
    """The element type of a flat float array; TypingError for anything else."""
    flat = isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"
    if not (flat and isinstance(array.dtype, types.Float)):
        raise TypingError(f"expected a flat C-contiguous array of float32 or float64, got {array}")
    return array.dtype


class Vectors:
    """Writes LLVM instructions on vectors of one element type, `VECTOR_BYTES` wide, at the builder's position."""

    def __init__(self, context, builder, dtype):
        self.context, self.builder = context, builder
        self.align = dtype.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.align
        self.element = context.get_value_type(dtype)
        self.type = ir.VectorType(self.element, self.lanes)
        self.mask_type = ir.VectorType(ir.IntType(1), self.lanes)
        self.suffix = f"v{self.lanes}f{dtype.bitwidth}"

    def pointer(self, array_type, array, offset):
        """Address of ``array[offset]``."""
        data = self.context.make_array(array_type)(self.context, self.builder, array).data
        return self.builder.gep(data, [offset])

    def at(self, pointer, offset):
        """Address `offset` elements (a number or a value) behind `pointer`."""
        return self.builder.gep(pointer, [I64(offset) if isinstance(offset, int) else offset])

    def mask(self, count):
        """True in the first `count` lanes."""
        numbers = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", numbers, self._splat(count, I64))

    def load(self, pointer, mask=None):
        pointer = self.builder.bitcast(pointer, self.type.as_pointer())
        if mask is None:
            return self.builder.load(pointer, align=self.align)
        zeros = ir.Constant(self.type, None)
        function = self._function(
            f"llvm.masked.load.{self.suffix}.p0", self.type, pointer.type, I32, self.mask_type, self.type
        )
        return self.builder.call(function, [pointer, I32(self.align), mask, zeros])

    def store(self, value, pointer, mask=None):
        pointer = self.builder.bitcast(pointer, self.type.as_pointer())
        if mask is None:
            self.builder.store(value, pointer, align=self.align)
            return
        function = self._function(
            f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), self.type, pointer.type, I32, self.mask_type
        )
        self.builder.call(function, [value, pointer, I32(self.align), mask])

    def prefetch(self, pointer, write=False):
        """Ask for the cache line at `pointer`, which will be read or written soon; it need not exist."""
        function = self._function("llvm.prefetch.p0", ir.VoidType(), pointer.type, I32, I32, I32)
        self.builder.call(function, [pointer, I32(int(write)), I32(3), I32(1)])  # into the nearest cache, data

    def broadcast(self, pointer):
        """The element at `pointer` in every lane."""
        return self._splat(self.builder.load(pointer, align=self.align), self.element)

    def fma(self, a, b, c):
        function = self._function(f"llvm.fma.{self.suffix}", self.type, self.type, self.type, self.type)
        return self.builder.call(function, [a, b, c])

    def transpose(self, rows):
        """Rows and columns of as many vectors as a vector has lanes, exchanged: perfect shuffles, log2(lanes) rounds."""
        half = self.lanes // 2
        index = ir.VectorType(I32, self.lanes)
        low = ir.Constant(index, [n for i in range(half) for n in (i, i + self.lanes)])
        high = ir.Constant(index, [n for i in range(half, self.lanes) for n in (i, i + self.lanes)])
        for _ in range(half.bit_length()):
            pairs = zip(rows[:half], rows[half:], strict=True)
            rows = [self.builder.shuffle_vector(a, b, order) for a, b in pairs for order in (low, high)]
        return rows

    def _splat(self, value, element):
        vector = ir.VectorType(element, self.lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        first = self.builder.insert_element(undefined, value, I32(0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, self.lanes), None))

    def _function(self, name, result, *arguments):
        function = self.builder.module.globals.get(name)
        return function or ir.Function(self.builder.module, ir.FunctionType(result, arguments), name)


def for_loop(builder, count, carried, body):
    """Write ``for k in range(count)`` (count > 0) that carries values: ``carried = body(k, carried)``; returns the last."""
    before = builder.block
    loop, done = builder.append_basic_block("k"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(I64)
    phis = [builder.phi(value.type) for value in carried]
    after = body(k, phis)
    following = builder.add(k, I64(1))
    for phi, first, later in zip([k, *phis], [I64(0), *carried], [following, *after], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(later, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
    builder.position_at_end(done)
    return after


@intrinsic
def lanes(typing_context, array):
    """Elements of a vector of this array's type, a constant of the compiled code."""
    count = VECTOR_BYTES * 8 // float_array(array).bitwidth
    return types.int64(array), lambda context, builder, signature, arguments: I64(count)
