"""Matrix products of small matrices: register tiles of fused multiply-adds, written as vector instructions.

One generator makes all tiles: some rows by up to four vectors of C stay in registers while k runs, every step loads one
row of B and broadcasts one element of A a row.  Each element of C is a chain of its own,
``c = fma(a[k], b[k], c)`` for k ascending, starting from what C holds: no bit depends on the tile, on the rows beside it
or on the vector width.  What is left over at the right is masked, so nothing beyond C's N columns is read or written.

All arrays are flat, C-contiguous and of one element type (float32 or float64); they may be the same array.  Indices and
strides count elements.  On a processor without FMA instructions `llvm.fma` becomes a call of the C library for every
element: right to the last bit, and slow.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic, register_jitable

from tsrnn.backends.cpu.jit import inner, jit
from tsrnn.backends.cpu.vectors import FEATURES, I64, VECTOR_BYTES, Vectors, float_array, for_loop, lanes

# Rows of the tiles.  16 vector registers (x86 before AVX-512) hold 3 x 4 sums, one row of A's broadcasts and a vector of B; 32
# hold 6 x 4.  The more rows, the fewer loads a multiplication; the lower tile takes most of what the taller one leaves.
_TALL, _LOW = (6, 4) if "+avx512f" in FEATURES or "+neon" in FEATURES else (3, 2)
_VECTORS = 4
_PANEL_BYTES = _VECTORS * VECTOR_BYTES
_AHEAD = 8  # rows of B that are asked for before they are needed
_K_BLOCK = 64  # rows of A and B of one round of `matmul_tn`: they stay in the first-level cache for all tiles


def panel_width(dtype) -> int:
    """Columns of a packed panel for an element type: four vectors."""
    return _PANEL_BYTES // np.dtype(dtype).itemsize


@register_jitable
def packed_size(K, N, itemsize):
    """Elements of a packed (K, N) matrix, whose elements have `itemsize` bytes: N is rounded up to whole panels."""
    width = _PANEL_BYTES // itemsize
    return K * ((N + width - 1) // width * width)


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
            a_rows = [write.at(a, builder.mul(a_row, I64(r))) for r in range(rows)]
            c_rows = [write.at(c, builder.mul(c_row, I64(r))) for r in range(rows)]
            places = [(write.at(row, v * write.lanes), masks[v]) for row in c_rows for v in range(vectors)]

            def step(k, sums):
                row = write.at(b, builder.mul(k, b_k))
                if rows == _TALL and not masked:  # B streams from the second-level cache, for these tiles mostly
                    for v in range(vectors):
                        write.prefetch(write.at(row, builder.add(builder.mul(b_k, I64(_AHEAD)), I64(v * write.lanes))))
                column = builder.mul(k, a_k)
                elements = [write.broadcast(write.at(a_rows[r], column)) for r in range(rows)]
                sums = list(sums)
                for v in range(vectors):  # one vector of B at a time: sums and elements leave one register of 16
                    b_vector = write.load(write.at(row, v * write.lanes), masks[v])
                    for r in range(rows):
                        sums[r * vectors + v] = write.fma(elements[r], b_vector, sums[r * vectors + v])
                return sums

            sums = for_loop(builder, K, [write.load(*place) for place in places], step)
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
                return write.mask(builder.select(builder.icmp_signed("<", I64(row), rows), count, I64(0)))

            numbers = range(write.lanes)
            rows = [write.load(write.at(w, builder.mul(w_j, I64(j))), where(j, columns, steps)) for j in numbers]
            for k, row in enumerate(write.transpose(rows)):
                write.store(row, write.at(p, builder.mul(p_k, I64(k))), where(k, steps, columns))
            return context.get_dummy_value()

        return types.void(W, i, i, P, i, i, i, i), codegen

    return transpose


# ------------------------------------------------------------------------------------------------ products

_full_tall, _full, _full_1 = (_make_tile(rows, 4, False) for rows in (_TALL, _LOW, 1))
_tail4, _tail4_1 = _make_tile(_LOW, 4, True), _make_tile(1, 4, True)
_tail3, _tail3_1 = _make_tile(_LOW, 3, True), _make_tile(1, 3, True)
_tail2, _tail2_1 = _make_tile(_LOW, 2, True), _make_tile(1, 2, True)
_tail1_tall, _tail1, _tail1_1 = (_make_tile(rows, 1, True) for rows in (8, _LOW, 1))  # eight sums hide an addition's latency
_transpose, _transpose_part = _make_transpose(False), _make_transpose(True)


@inner
def _panel(A, a0, a_row, a_k, B, b0, b_k, K, C, c0, c_row, M, columns):
    """One column panel, ``columns <= 4 vectors``, of ``C[m, n] += sum_k A[m, k] B[k, n]`` with any strides of A; K > 0."""
    width = lanes(C)
    tail = (columns - 1) % width + 1
    vectors = (columns + width - 1) // width
    full = columns == 4 * width
    m = 0
    if full:
        tall = M // _TALL
        if _TALL == 6 and 2 <= M % 6 <= 3 and M > 6:  # two low tiles instead of a tall one and single rows
            tall -= 1
        for _ in range(tall):
            _full_tall(A, a0 + m * a_row, a_row, a_k, B, b0, b_k, K, C, c0 + m * c_row, c_row, tail)
            m += _TALL
    elif vectors == 1:
        while M - m >= 8:
            _tail1_tall(A, a0 + m * a_row, a_row, a_k, B, b0, b_k, K, C, c0 + m * c_row, c_row, tail)
            m += 8
    while M - m >= _LOW:
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
        m += _LOW
    while m < M:
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
        m += 1


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


@inner
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
