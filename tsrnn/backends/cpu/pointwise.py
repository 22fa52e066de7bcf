"""A cell's equations on vectors: one pass over the units of a sample, everything between loads and stores in registers."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tsrnn.backends.cpu.activations import Number
from tsrnn.backends.cpu.vectors import I32, I64, Vectors, float_array


class Units:
    """A vector of units of a sample: what the equations load, and where they store.

    Places are offsets in `mem`; at each lie one or more numbers a unit, each kind of them (a gate) for all units in turn.
    """

    def __init__(self, vectors, base, size, first, mask):
        self._vectors, self._builder, self._mask = vectors, vectors.builder, mask
        self._base, self._size, self._first = base, size, first

    def load(self, place, gate=0):
        """Number `gate` of these units at `place`."""
        return Number(self._builder, self._vectors.load(self._at(place, gate), self._mask))

    def store(self, number, place, gate=0):
        """Put it there."""
        self._vectors.store(number.value, self._at(place, gate), self._mask)

    def clear(self, place, gate=0):
        """Put 0 there."""
        self._vectors.store(ir.Constant(self._vectors.type, None), self._at(place, gate), self._mask)

    def prefetch(self, place, gate=0, write=False):
        """Ask for what lies there: it will be read, or written, soon."""
        builder, pointer = self._builder, self._at(place, gate)
        name = "llvm.prefetch.p0"
        signature = ir.FunctionType(ir.VoidType(), [pointer.type, I32, I32, I32])
        function = builder.module.globals.get(name) or ir.Function(builder.module, signature, name)
        builder.call(function, [pointer, I32(int(write)), I32(3), I32(1)])  # into the nearest cache, data

    def _at(self, place, gate):
        builder = self._builder
        offset = builder.add(builder.add(place, self._first), builder.mul(self._size, I64(gate)))
        return self._vectors.at(self._base, offset)


def pointwise(equations):
    """Make the kernel of a function ``equations(units, *places)``, which gets a `Units` for each vector.

    The kernel's arguments are the memory, the number of units, and a tuple of the places.  Units left over at the end are
    masked: they get what a whole vector's get, to the last bit.
    """

    def typed(typing_context, mem, size, places):
        dtype = float_array(mem)

        def codegen(context, builder, signature, arguments):
            vectors = Vectors(context, builder, dtype)
            base, size = vectors.pointer(signature.args[0], arguments[0], I64(0)), arguments[1]
            places = cgutils.unpack_tuple(builder, arguments[2])
            with cgutils.for_range(builder, builder.sdiv(size, I64(vectors.lanes)), intp=I64) as loop:
                first = builder.mul(loop.index, I64(vectors.lanes))
                equations(Units(vectors, base, size, first, None), *places)
            rest = builder.srem(size, I64(vectors.lanes))
            with builder.if_then(builder.icmp_signed(">", rest, I64(0)), likely=False):
                equations(Units(vectors, base, size, builder.sub(size, rest), vectors.mask(rest)), *places)
            return context.get_dummy_value()

        return types.void(mem, types.int64, types.UniTuple(types.int64, len(places))), codegen

    typed.__name__, typed.__doc__ = equations.__name__, equations.__doc__
    return intrinsic(typed)
