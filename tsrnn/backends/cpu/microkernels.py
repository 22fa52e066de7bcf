"""Matrix products of small matrices: register tiles of fused multiply-adds, written as vector instructions.

One generator makes all tiles: `_ROWS` rows by up to four vectors of C stay in registers while k runs, every step loads one
row of B and broadcasts one element of A a row.  Each element of C is a chain of its own,
``c = fma(a[k], b[k], c)`` for k ascending, starting from what C holds: no bit depends on the tile, on the rows beside it
or on the vector width.  What is left over at the right is masked, so nothing beyond C's N columns is read or written.

All arrays are flat, C-contiguous and of one element type (float32 or float64); they may be the same array.  Indices and
strides count elements.  On a processor without FMA instructions `llvm.fma` becomes a call of the C library for every
element: right to the last bit, and slow.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic, register_jitable

from tsrnn.backends.cpu.jit import jit, target_features

_FEATURES = frozenset(target_features().split(","))
VECTOR_BYTES = 64 if "+avx512f" in _FEATURES else 32 if "+avx" in _FEATURES else 16
# 16 vector registers (x86 before AVX-512) hold 3 x 4 sums, one row of A's broadcasts and a vector of B; 32 hold more
_ROWS = 4 if "+avx512f" in _FEATURES or "+neon" in _FEATURES else 3
_VECTORS = 4
_PANEL_BYTES = _VECTORS * VECTOR_BYTES
_K_BLOCK = 64  # rows of A and B of one round of `matmul_tn`: they stay in the first-level cache for all tiles

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def panel_width(dtype) -> int:
    """Columns of a packed panel for an element type: four vectors."""
    return _PANEL_BYTES // np.dtype(dtype).itemsize


@register_jitable
def packed_size(K, N, itemsize):
    """Elements of a packed (K, N) matrix, whose elements have `itemsize` bytes: N is rounded up to whole panels."""
    width = _PANEL_BYTES // itemsize
    return K * ((N + width - 1) // width * width)


# ------------------------------------------------------------------------------------------------ vector instructions


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
        return self.builder.gep(pointer, [_I64(offset) if isinstance(offset, int) else offset])

    def mask(self, count):
        """True in the first `count` lanes."""
        numbers = ir.Constant(ir.VectorType(_I64, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", numbers, self._splat(count, _I64))

    def load(self, pointer, mask=None):
        pointer = self.builder.bitcast(pointer, self.type.as_pointer())
        if mask is None:
            return self.builder.load(pointer, align=self.align)
        zeros = ir.Constant(self.type, None)
        function = self._function(
            f"llvm.masked.load.{self.suffix}.p0", self.type, pointer.type, _I32, self.mask_type, self.type
        )
        return self.builder.call(function, [pointer, _I32(self.align), mask, zeros])

    def store(self, value, pointer, mask=None):
        pointer = self.builder.bitcast(pointer, self.type.as_pointer())
        if mask is None:
            self.builder.store(value, pointer, align=self.align)
            return
        function = self._function(
            f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), self.type, pointer.type, _I32, self.mask_type
        )
        self.builder.call(function, [value, pointer, _I32(self.align), mask])

    def broadcast(self, pointer):
        """The element at `pointer` in every lane."""
        return self._splat(self.builder.load(pointer, align=self.align), self.element)

    def fma(self, a, b, c):
        function = self._function(f"llvm.fma.{self.suffix}", self.type, self.type, self.type, self.type)
        return self.builder.call(function, [a, b, c])

    def transpose(self, rows):
        """Rows and columns of as many vectors as a vector has lanes, exchanged: perfect shuffles, log2(lanes) rounds."""
        half = self.lanes // 2
        index = ir.VectorType(_I32, self.lanes)
        low = ir.Constant(index, [n for i in range(half) for n in (i, i + self.lanes)])
        high = ir.Constant(index, [n for i in range(half, self.lanes) for n in (i, i + self.lanes)])
        for _ in range(half.bit_length()):
            pairs = zip(rows[:half], rows[half:], strict=True)
            rows = [self.builder.shuffle_vector(a, b, order) for a, b in pairs for order in (low, high)]
        return rows

    def _splat(self, value, element):
        vector = ir.VectorType(element, self.lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        first = self.builder.insert_element(undefined, value, _I32(0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, self.lanes), None))

    def _function(self, name, result, *arguments):
        function = self.builder.module.globals.get(name)
        return function or ir.Function(self.builder.module, ir.FunctionType(result, arguments), name)


def _for_loop(builder, count, carried, body):
    """Write ``for k in range(count)`` (count > 0) that carries values: ``carried = body(k, carried)``."""
    before = builder.block
    loop, done = builder.append_basic_block("k"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(_I64)
    phis = [builder.phi(value.type) for value in carried]
    after = body(k, phis)
    following = builder.add(k, _I64(1))
    for phi, first, later in zip([k, *phis], [_I64(0), *carried], [following, *after], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(later, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
    builder.position_at_end(done)
    return after


def _make_tile(rows, vectors, masked):
    """Make the product tile of `rows` by `vectors` vectors; `masked`: the last vector has `tail` columns only."""

    @intrinsic
    def tile(typing_context, A, a0, a_row, a_k, B, b0, b_k, K, C, c0, c_row, tail):
        dtype = float_array(C)
        if float_array(A) != dtype or float_array(B) != dtype:
            raise TypingError(f"the arrays of a product must have one element type, got {A}, {B}, {C}")
        i = types.int64

        def codegen(context, builder, signature, arguments):
            A, a0, a_row, a_k, B, b0, b_k, K, C, c0, c_row, tail = arguments
            write = Vectors(context, builder, dtype)
            a = write.pointer(signature.args[0], A, a0)
            b = write.pointer(signature.args[4], B, b0)
            c = write.pointer(signature.args[8], C, c0)
            masks = [None] * (vectors - 1) + [write.mask(tail) if masked else None]
            a_rows = [write.at(a, builder.mul(a_row, _I64(r))) for r in range(rows)]
            c_rows = [write.at(c, builder.mul(c_row, _I64(r))) for r in range(rows)]
            places = [(write.at(row, v * write.lanes), masks[v]) for row in c_rows for v in range(vectors)]

            def step(k, sums):
                row = write.at(b, builder.mul(k, b_k))
                b_row = [write.load(write.at(row, v * write.lanes), masks[v]) for v in range(vectors)]
                column = builder.mul(k, a_k)
                elements = [write.broadcast(write.at(a_rows[r], column)) for r in range(rows)]
                return [write.fma(elements[r], b_row[v], sums[r * vectors + v]) for r in range(rows) for v in range(vectors)]

            sums = _for_loop(builder, K, [write.load(*place) for place in places], step)
            for value, place in zip(sums, places, strict=True):
                write.store(value, *place)
            return context.get_dummy_value()

        return types.void(A, i, i, i, B, i, i, i, C, i, i, i), codegen

    return tile


def _make_transpose(masked):
    """Make the copy of a square block, ``P[p0 + k p_k + j] = W[w0 + j w_j + k]``; `masked`: of `columns` j and `steps` k."""

    @intrinsic
    def transpose(typing_context, W, w0, w_j, P, p0, p_k, columns, steps):
        if float_array(W) != float_array(P):
            raise TypingError(f"the arrays of a copy must have one element type, got {W} and {P}")
        i = types.int64

        def codegen(context, builder, signature, arguments):
            W, w0, w_j, P, p0, p_k, columns, steps = arguments
            write = Vectors(context, builder, signature.args[0].dtype)
            w = write.pointer(signature.args[0], W, w0)
            p = write.pointer(signature.args[3], P, p0)

            def where(row, rows, count):
                """The mask of a row: its first `count` elements, none from row number `rows` on."""
                if not masked:
                    return None
                return write.mask(builder.select(builder.icmp_signed("<", _I64(row), rows), count, _I64(0)))

            numbers = range(write.lanes)
            rows = [write.load(write.at(w, builder.mul(w_j, _I64(j))), where(j, columns, steps)) for j in numbers]
            for k, row in enumerate(write.transpose(rows)):
                write.store(row, write.at(p, builder.mul(p_k, _I64(k))), where(k, steps, columns))
            return context.get_dummy_value()

        return types.void(W, i, i, P, i, i, i, i), codegen

    return transpose


@intrinsic
def lanes(typing_context, array):
    """Elements of a vector of this array's type, a constant of the compiled code."""
    count = VECTOR_BYTES * 8 // float_array(array).bitwidth
    return types.int64(array), lambda context, builder, signature, arguments: _I64(count)


# ------------------------------------------------------------------------------------------------ products

_full, _full_1 = _make_tile(_ROWS, 4, False), _make_tile(1, 4, False)
_tail4, _tail4_1 = _make_tile(_ROWS, 4, True), _make_tile(1, 4, True)
_tail3, _tail3_1 = _make_tile(_ROWS, 3, True), _make_tile(1, 3, True)
_tail2, _tail2_1 = _make_tile(_ROWS, 2, True), _make_tile(1, 2, True)
_tail1, _tail1_1 = _make_tile(_ROWS, 1, True), _make_tile(1, 1, True)
_transpose, _transpose_part = _make_transpose(False), _make_transpose(True)


@jit
def _panel(A, a0, a_row, a_k, B, b0, b_k, K, C, c0, c_row, M, columns):
    """One column panel, ``columns <= 4 vectors``, of ``C[m, n] += sum_k A[m, k] B[k, n]`` with any strides of A; K > 0."""
    width = lanes(C)
    tail = (columns - 1) % width + 1
    vectors = (columns + width - 1) // width
    full = columns == 4 * width
    whole = M - M % _ROWS
    for m in range(0, whole, _ROWS):
        a, c = a0 + m * a_row, c0 + m * c_row
        if full:
            _full(A, a, a_row, a_k, B, b0, b_k, K, C, c, c_row, tail)
        elif vectors == 4:
            _tail4(A, a, a_row, a_k, B, b0, b_k, K, C, c, c_row, tail)
        elif vectors == 3:
            _tail3(A, a, a_row, a_k, B, b0, b_k, K, C, c, c_row, tail)
        elif vectors == 2:
            _tail2(A, a, a_row, a_k, B, b0, b_k, K, C, c, c_row, tail)
        else:
            _tail1(A, a, a_row, a_k, B, b0, b_k, K, C, c, c_row, tail)
    for m in range(whole, M):
        a, c = a0 + m * a_row, c0 + m * c_row
        if full:
            _full_1(A, a, a_row, a_k, B, b0, b_k, K, C, c, c_row, tail)
        elif vectors == 4:
            _tail4_1(A, a, a_row, a_k, B, b0, b_k, K, C, c, c_row, tail)
        elif vectors == 3:
            _tail3_1(A, a, a_row, a_k, B, b0, b_k, K, C, c, c_row, tail)
        elif vectors == 2:
            _tail2_1(A, a, a_row, a_k, B, b0, b_k, K, C, c, c_row, tail)
        else:
            _tail1_1(A, a, a_row, a_k, B, b0, b_k, K, C, c, c_row, tail)


@jit
def matmul(A, a0, lda, P, p0, K, N, C, c0, ldc, M):
    """``C[c0 + m ldc + n] += sum_k A[a0 + m lda + k] * W[k, n]`` for the (K, N) matrix W that `pack` has put at ``P[p0]``."""
    if K <= 0:
        return
    width = 4 * lanes(C)
    for n in range(0, N, width):
        _panel(A, a0, lda, 1, P, p0 + n * K, width, K, C, c0 + n, ldc, M, min(width, N - n))


@jit
def matmul_tn(A, a0, lda, B, b0, ldb, C, c0, ldc, M, N, K):
    """``C[c0 + m ldc + n] += sum_k A[a0 + k lda + m] * B[b0 + k ldb + n]``: A is (K, M), B (K, N), neither packed."""
    if N == 1 and ldc == 1:  # one long row instead of a narrow column: the same sums, whole vectors
        A, a0, lda, B, b0, ldb = B, b0, ldb, A, a0, lda
        M, N = 1, M
    width = 4 * lanes(C)
    for k in range(0, K, _K_BLOCK):
        rows = min(_K_BLOCK, K - k)
        for n in range(0, N, width):
            _panel(A, a0 + k * lda, 1, lda, B, b0 + k * ldb + n, ldb, rows, C, c0 + n, ldc, M, min(width, N - n))


@jit
def column_sums(B, b0, ldb, C, c0, N, K):
    """``C[c0 + n] += sum_k B[b0 + k ldb + n]``, k ascending."""
    sums = C[c0 : c0 + N]
    whole = K - K % 4
    for k in range(0, whole, 4):  # four rows a pass: the sums are read and written a fourth as often
        b = b0 + k * ldb
        row0, row1 = B[b : b + N], B[b + ldb : b + ldb + N]
        row2, row3 = B[b + 2 * ldb : b + 2 * ldb + N], B[b + 3 * ldb : b + 3 * ldb + N]
        for n in range(N):
            sums[n] = (((sums[n] + row0[n]) + row1[n]) + row2[n]) + row3[n]
    for k in range(whole, K):
        b = b0 + k * ldb
        row0 = B[b : b + N]
        for n in range(N):
            sums[n] += row0[n]


@jit
def pack(W, w0, row_stride, col_stride, K, N, P, p0):
    """Copy the (K, N) matrix ``W[w0 + k row_stride + n col_stride]`` to ``P[p0:]`` as `matmul` reads it.

    Panels of four vectors of columns, one behind the other, each (K, width) with zeros beyond column N:
    ``P[p0 + panel K width + k width + j]``, `packed_size` elements in all.  A transposed matrix is packed by exchanging
    the strides.
    """
    width = 4 * lanes(P)
    for n in range(0, N, width):
        columns = min(width, N - n)
        panel = P[p0 + n * K : p0 + (n + width) * K]
        if columns < width:
            panel[:] = 0
        w = w0 + n * col_stride
        if col_stride == 1:
            for k in range(K):
                source, row = W[w + k * row_stride : w + k * row_stride + columns], panel[k * width : k * width + columns]
                for j in range(columns):
                    row[j] = source[j]
        elif row_stride == 1:
            _pack_transposed(W, w, col_stride, K, columns, P, p0 + n * K)
        else:
            for k in range(K):
                for j in range(columns):
                    panel[k * width + j] = W[w + k * row_stride + j * col_stride]


@jit
def _pack_transposed(W, w0, col_stride, K, columns, P, p0):
    """Fill one panel from a matrix whose columns are contiguous, block by block."""
    side = lanes(P)
    for j in range(0, columns, side):
        for k in range(0, K, side):
            w, p = w0 + j * col_stride + k, p0 + k * 4 * side + j
            if columns - j >= side and K - k >= side:
                _transpose(W, w, col_stride, P, p, 4 * side, side, side)
            else:
                _transpose_part(W, w, col_stride, P, p, 4 * side, min(side, columns - j), min(side, K - k))
