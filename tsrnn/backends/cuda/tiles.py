"""Kernels of products: a block of threads makes a tile of the result, each thread a small part of it in registers.

Tiles of the two factors go through shared memory.  An element of the result is one sum from its first product to its last.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from tsrnn.backends.cuda.activations import activation
from tsrnn.backends.cuda.jit import SIMULATED, cuda, device, family, large_device

NO_SPLIT = 1 << 40


class Tile(NamedTuple):
    """What a block makes at a time: (rows, cols) of the result from `depth` columns and rows of the factors."""

    rows: int
    cols: int
    depth: int
    height: int  # of a thread's part
    width: int
    rate: float  # how much faster than others a busy card makes an element

    @property
    def threads(self) -> int:
        return self.rows * self.cols // (self.height * self.width)


REAL_TILES = (Tile(128, 64, 8, 8, 8, .6), Tile(64, 64, 8, 8, 4, .5), Tile(32, 32, 32, 4, 2, .3))
TILES = (Tile(8, 8, 4, 4, 2, 2.), Tile(4, 4, 4, 2, 2, 1.)) if SIMULATED else REAL_TILES
LANES_Y, LANES_X = (2, 2) if SIMULATED else (4, 8)  # threads of a warp: rows and columns of neighbours


# ---- copies of factors to shared memory.  Thread t copies `count` elements; a factor's tile lies there (depth, extent), its
# rows PAD apart so that they begin in different banks and at multiples of 16 bytes.

def padded(dtype, extent):
    return extent + 16 // np.dtype(dtype).itemsize


def vectors(dtype, tile):
    """How many rows, and columns, of a thread's part lie together: as many as one instruction loads."""
    most = 16 // np.dtype(dtype).itemsize
    return min(most, tile.height), min(most, tile.width)


@device
def begin_along(extent, depth, threads, gather):
    """`lines` become the beginnings of the matrix's rows of which a thread copies elements, where they run along the sum."""
    count, stride = extent * depth // threads, threads // depth

    def function(lines, thread, first, n, place, taps, ints, rows_at):
        for s in range(count):
            line = min(first + thread // depth + s * stride, n - 1)  # what rows behind the last one give is not written
            lines[s] = place[1] * (ints[np.uint64(rows_at + line)] if gather else line)
    return function


@device
def fetch_along(dtype, extent, depth, threads, tapped, clipped):
    """Elements of the sum from `first` on, of the rows `lines`."""
    count, zero = extent * depth // threads, dtype(0)

    def function(values, lines, thread, array, place, first, stop, taps, ints, rows_at):
        q = first + thread % depth
        k, move = q, 0
        if tapped:
            tap = np.int64(np.uint32(q) // np.uint32(taps[0]))
            k, move = q - tap * taps[0], tap * taps[2] + taps[1]
        at, move, end = place[0] + k + (place[3] if k >= place[2] else 0), move * place[1], taps[3] * place[1]
        for s in range(count):
            line, inside = lines[s] + move, q < stop
            if clipped:
                inside = inside and line >= 0 and line < end
            values[s] = array[np.uint64(at + line)] if inside else zero
    return function


@device
def put_along(extent, depth, threads, row):
    count, stride = extent * depth // threads, threads // depth

    def function(shared, at, values, thread):
        at += (thread % depth) * row + thread // depth
        for s in range(count):
            shared[np.uint64(at + s * stride)] = values[s]
    return function


@device
def begin_across(extent, tapped):
    """`lines` become where a thread's column begins and how far its tap moves rows, where rows run across the sum."""
    def function(lines, thread, first, n, place, taps, ints, rows_at):
        k, move = min(first + thread % extent, n - 1), 0
        if tapped:
            tap = np.int64(np.uint32(k) // np.uint32(taps[0]))
            k, move = k - tap * taps[0], tap * taps[2] + taps[1]
        lines[0], lines[1] = place[0] + k + (place[3] if k >= place[2] else 0), move
    return function


@device
def fetch_across(dtype, extent, depth, threads, gather, clipped):
    """Elements of the sum from `first` on: a row each."""
    count, stride, zero = extent * depth // threads, threads // extent, dtype(0)

    def function(values, lines, thread, array, place, first, stop, taps, ints, rows_at):
        q = first + thread // extent
        at, step = lines[0] + (q + lines[1]) * place[1], stride * place[1]
        for s in range(count):
            inside = q + s * stride < stop
            if clipped:
                line = q + s * stride + lines[1]
                inside = inside and line >= 0 and line < taps[3]
            values[s] = zero
            if gather and inside:
                values[s] = array[np.uint64(lines[0] + ints[np.uint64(rows_at + q + s * stride)] * place[1])]
            elif inside:
                values[s] = array[np.uint64(at + s * step)]
    return function


@device
def put_across(extent, depth, threads, row):
    count, stride = extent * depth // threads, threads // extent

    def function(shared, at, values, thread):
        at += (thread // extent) * row + thread % extent
        for s in range(count):
            shared[np.uint64(at + s * stride * row)] = values[s]
    return function


# ---- the product itself

@functools.cache
def copier(n):
    """A function that copies n neighbouring elements with one load: ``target[i:i + n] = source[j:j + n]``.

    `source` must begin, and j lie, at multiples of n elements.  The compiler sees by itself that neighbours can be loaded
    together only where the index is simple enough.
    """
    def copy(target, i, source, j):
        for element in range(n):
            target[i + element] = source[j + np.uint64(element)]

    def make(typing, target, i, source, j):
        def generate(context, builder, signature, args):
            from llvmlite import ir

            arrays = [context.make_array(signature.args[k])(context, builder, value=args[k]).data for k in (0, 2)]
            scalar = arrays[1].type.pointee
            to, at = builder.gep(arrays[0], [args[1]]), builder.gep(arrays[1], [args[3]])
            values = builder.load(builder.bitcast(at, ir.VectorType(scalar, n).as_pointer()))
            values.align = n * source.dtype.bitwidth // 8
            for element in range(n):
                number = ir.Constant(ir.IntType(32), element)
                builder.store(builder.extract_element(values, number), builder.gep(to, [number]))
            return context.get_dummy_value()
        return cuda.types.void(target, i, source, j), generate

    return copy if SIMULATED else cuda.extending.intrinsic(make)


@large_device
def multiply(dtype, tile, depth):
    """Adds the product of two tiles in shared memory to a thread's sums, see `vectors`."""
    height, width = tile.height, tile.width
    vector_y, vector_x = vectors(dtype, tile)
    copy_y, copy_x = copier(vector_y), copier(vector_x)
    row_a, row_b = padded(dtype, tile.rows), padded(dtype, tile.cols)

    def once(sums, a, b, at_a, at_b):
        left = cuda.local.array(height, dtype)
        right = cuda.local.array(width, dtype)
        for i in range(0, height, vector_y):
            copy_y(left, i, a, np.uint64(at_a + i * LANES_Y))
        for j in range(0, width, vector_x):
            copy_x(right, j, b, np.uint64(at_b + j * LANES_X))
        for i in range(height):
            for j in range(width):
                sums[i * width + j] = cuda.fma(left[i], right[j], sums[i * width + j])

    if depth == 1:
        return once
    half, next_a, next_b = multiply(dtype, tile, depth // 2), depth // 2 * row_a, depth // 2 * row_b

    def twice(sums, a, b, at_a, at_b):  # the compiler would not unroll a loop of this size
        half(sums, a, b, at_a, at_b)
        half(sums, a, b, at_a + next_a, at_b + next_b)
    return twice


@device
def write(dtype, tile, n_biases, act, add):
    """A thread's sums to where they belong."""
    height, width = tile.height, tile.width
    vector_y, vector_x = vectors(dtype, tile)
    function_of = activation(dtype, act)

    def function(sums, first_row, first_col, I, J, out, place, b, biases):
        for j in range(width):
            col = first_col + j // vector_x * (LANES_X * vector_x) + j % vector_x
            if col < J:
                at = place[0] + col + (place[3] if col >= place[2] else 0)
                for i in range(height):
                    row = first_row + i // vector_y * (LANES_Y * vector_y) + i % vector_y
                    if row < I:
                        value = sums[i * width + j]
                        if n_biases > 0:
                            value += b[np.uint64(biases[0] + col)]
                        if n_biases > 1:
                            value += b[np.uint64(biases[1] + col)]
                        value = function_of(value)
                        target = np.uint64(at + row * place[1])
                        out[target] = out[target] + value if add else value
    return function


def factors(dtype, tile, form, tapped, gather):
    """How tiles of the two factors are copied: three functions each."""
    depth, threads = tile.depth, tile.threads

    def along(extent, gather, tapped, clipped):
        return (begin_along(extent, depth, threads, gather), fetch_along(dtype, extent, depth, threads, tapped, clipped),
                put_along(extent, depth, threads, padded(dtype, extent)))

    def across(extent, gather, tapped):
        return (begin_across(extent, tapped), fetch_across(dtype, extent, depth, threads, gather, tapped),
                put_across(extent, depth, threads, padded(dtype, extent)))

    a = across(tile.rows, gather, tapped) if form == "tn" else along(tile.rows, gather, tapped, tapped)
    b = along(tile.cols, False, tapped, False) if form == "nt" else across(tile.cols, False, False)
    return a, b


@device
def add_columns(dtype, extent, threads):
    """What the threads of a column have summed, to its place in `out`."""
    def function(total, thread, first, J, out, at):
        totals = cuda.shared.array(threads, dtype)
        totals[thread] = total
        cuda.syncthreads()
        if thread < extent and first + thread < J:
            for other in range(thread + extent, threads, extent):
                total += totals[other]
            out[np.uint64(at + first + thread)] = total
    return function


@device
def sum_tiles(dtype, tile, form, tapped, gather):
    """A thread's sums over [first, stop); returns what it adds to the sum of a column of b.

    While a tile is multiplied, the next one is on its way: its elements are asked for before, and put to the other half of the
    shared memory behind.
    """
    depth, zero = tile.depth, dtype(0)
    half_a, half_b = depth * padded(dtype, tile.rows), depth * padded(dtype, tile.cols)
    count_a, count_b = tile.rows * depth // tile.threads, tile.cols * depth // tile.threads
    both_a, both_b, n_lines = 2 * half_a, 2 * half_b, max(count_a, count_b, 2)
    (begin_a, fetch_a, put_a), (begin_b, fetch_b, put_b) = factors(dtype, tile, form, tapped, gather)
    sum_up, in_parts = multiply(dtype, tile, depth), form == "tn"

    def function(sums, thread, corner, part, n_rows, J, first, stop, a, a_place, b, b_place, ints, rows_at, taps):
        tile_a = cuda.shared.array(both_a, dtype, alignment=16)
        tile_b = cuda.shared.array(both_b, dtype, alignment=16)
        lines_a = cuda.local.array(n_lines, np.int64)
        lines_b = cuda.local.array(n_lines, np.int64)
        next_a = cuda.local.array(count_a, dtype)
        next_b = cuda.local.array(count_b, dtype)
        taps_b = (taps[0], 0, J, 0)  # of W's rows: a matrix a tap
        begin_a(lines_a, thread, corner[0], n_rows, a_place, taps, ints, rows_at)
        begin_b(lines_b, thread, corner[1], J, b_place, taps_b, ints, rows_at)
        fetch_a(next_a, lines_a, thread, a, a_place, first, stop, taps, ints, rows_at)
        fetch_b(next_b, lines_b, thread, b, b_place, first, stop, taps_b, ints, rows_at)
        from_a, from_b, total = np.int64(0), np.int64(0), zero
        while first < stop:
            put_a(tile_a, from_a, next_a, thread)
            put_b(tile_b, from_b, next_b, thread)
            if in_parts:
                for s in range(count_b):
                    total += next_b[s]
            cuda.syncthreads()
            first += depth
            if first < stop:
                fetch_a(next_a, lines_a, thread, a, a_place, first, stop, taps, ints, rows_at)
                fetch_b(next_b, lines_b, thread, b, b_place, first, stop, taps_b, ints, rows_at)
            sum_up(sums, tile_a, tile_b, from_a + part[0], from_b + part[1])
            from_a, from_b = half_a - from_a, half_b - from_b
        return total
    return function


@family
def product(dtype, tile, form, reads, writes):
    """A kernel of `nn`, `nt` or `tn`; reads: whether there are taps, rows, a limit; writes: number of biases, act, add."""
    (tapped, gather, limited), (n_biases, act, add) = reads, writes
    rows, cols, height, width, lanes = tile.rows, tile.cols, tile.height, tile.width, LANES_Y * LANES_X
    across, n_sums, (vector_y, vector_x) = cols // (LANES_X * width), height * width, vectors(dtype, tile)
    sum_up, finish = sum_tiles(dtype, tile, form, tapped, gather), write(dtype, tile, n_biases, act, add)
    add_up, in_parts, zero = add_columns(dtype, cols, tile.threads), form == "tn", dtype(0)

    def kernel(I, J, Q, a, a_place, b, b_place, out, place, ints, marks, taps, biases):
        sums = cuda.local.array(n_sums, dtype)
        thread, block = np.int64(np.uint32(cuda.threadIdx.x)), np.int64(np.uint32(cuda.blockIdx.x))
        n_across, first, n_rows = (J + cols - 1) // cols, np.int64(0), I
        i, j, at = block // n_across * rows, block % n_across * cols, place[0]
        if limited and in_parts:
            Q = min(Q, ints[np.uint64(marks[1])])
        elif limited:
            n_rows = min(I, ints[np.uint64(marks[1])])
        if i >= n_rows:
            return
        if in_parts:  # part p of the sum is a matrix of its own, with a row more for the sums of the columns
            part, n_parts = np.int64(np.uint32(cuda.blockIdx.y)), np.int64(np.uint32(cuda.gridDim.y))
            length = (Q + n_parts - 1) // n_parts
            first, Q, at = min(part * length, Q), min(part * length + length, Q), part * (I + 1) * J
        for s in range(n_sums):
            sums[s] = zero
        warp, lane = thread // lanes, thread % lanes
        row = warp // across * (LANES_Y * height) + lane // LANES_X * vector_y
        col = warp % across * (LANES_X * width) + lane % LANES_X * vector_x
        total = sum_up(sums, thread, (i, j), (row, col), n_rows, J, first, Q, a, a_place, b, b_place, ints, marks[0], taps)
        finish(sums, i + row, j + col, n_rows, J, out, (at, place[1], place[2], place[3]), b, biases)
        if in_parts and i == 0:
            add_up(total, thread, j, J, out, at + I * J)
    return kernel


@family
def add_parts(dtype, n_biases):
    """The parts of a sum, first to last, to the matrix and the sums of the columns to the biases."""
    def kernel(n, I, J, n_parts, parts, out, place, grads, biases):
        e = cuda.grid(1)
        if e < n:
            total = parts[e]
            for part in range(1, n_parts):
                total += parts[np.uint64(part * (I + 1) * J + e)]
            i, j = e // J, e % J
            if i < I:
                out[np.uint64(place[0] + i * place[1] + j + (place[3] if j >= place[2] else 0))] = total
            else:
                for which in range(n_biases):
                    grads[np.uint64(biases[which] + j)] = total
    return kernel
