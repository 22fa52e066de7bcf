"""Products of matrices: each block of threads makes a tile of the result, each of its threads a small part of it in registers.

A sum is taken in one order, from its first product to its last, whichever tile makes it: so a row's result has the same bits
whatever rows lie beside it.  `tn` alone, which sums over the rows, cuts the sum into parts; how many depends on the sizes.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.activations import activation
from tsrnn.backends.cuda.jit import SIMULATED, THREADS, cuda, device, family, large_device

NO_SPLIT = 1 << 40
PROCESSORS = 132  # multiprocessors of an H100; a tile's choice must not depend on the card, `tn` sums by it
PART = 128  # `tn` sums at least as many rows in one part


class Matrix(NamedTuple):
    """Row-major on the card: element (r, j) lies at ``array[at + r * ld + j]``, from column `split` on `jump` further."""

    array: object
    at: int
    ld: int
    split: int = NO_SPLIT
    jump: int = 0

    @property
    def place(self) -> tuple:
        return int(self.at), int(self.ld), int(self.split), int(self.jump)


class Taps(NamedTuple):
    """A sum of `count` products: tap j takes row ``m + j * step + shift`` for row m, or zeros where there are not so many.

    Attributes
    ----------
    n_rows : int
        Of the matrix whose rows are shifted: X in `nn` and `tn`, DY in `nt`.
    """

    count: int
    shift: int
    step: int
    n_rows: int


NO_TAPS = Taps(1, 0, 0, 0)


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


def nn(recorder, X, W, Y, M, K, N, *, biases=(), act=c.LINEAR, taps=None, rows=None, limit=None):
    """Records ``Y (M, N) = act(X (M, K) W (K, N) + biases)``.

    Parameters
    ----------
    X, W, Y : Matrix
    biases : tuple of at most two int
        Offsets of (N,) in `recorder.theta`, where W lies then as well.
    taps : Taps, optional
        W is a matrix (K, N) a tap, one behind the other.
    rows : pair of an int32 array and int, optional
        Row m of X is row ``array[at + m]``.
    limit : pair of an int32 array and int, optional
        Only the first ``array[at]`` of the M rows exist.
    """
    n_taps, shifts = _taps(taps, K)
    tile = _tile(recorder.dtype, M, N)
    ints, marks = _ints(recorder, rows, limit)
    kernel = product(recorder.dtype, tile, "nn", (taps is not None, rows is not None, limit is not None),
                     (len(biases), int(act), False))
    recorder.launch(kernel, _tiles(tile, M, N), tile.threads, int(M), int(N), n_taps * int(K), X.array, X.place, W.array,
                    W.place, Y.array, Y.place, ints, marks, shifts, _pair(biases))


def nt(recorder, DY, W, DX, M, N, K, *, add=False, taps=None, limit=None):
    """Records ``DX (M, K) = DY (M, N) W (K, N)^T``, added to DX where `add`; parameters as those of `nn`.

    With taps, tap j takes row ``m + j * step + shift`` of DY.
    """
    n_taps, shifts = _taps(taps, N)
    tile = _tile(recorder.dtype, M, K)
    ints, marks = _ints(recorder, None, limit)
    kernel = product(recorder.dtype, tile, "nt", (taps is not None, False, limit is not None), (0, c.LINEAR, bool(add)))
    recorder.launch(kernel, _tiles(tile, M, K), tile.threads, int(M), int(K), n_taps * int(N), DY.array, DY.place, W.array,
                    W.place, DX.array, DX.place, ints, marks, shifts, (0, 0))


def tn(recorder, X, DY, DW, M, K, N, *, biases=(), taps=None, rows=None, limit=None):
    """Records ``DW (K, N) = X (M, K)^T DY (M, N)``; parameters as those of `nn`.

    Parameters
    ----------
    biases : tuple of at most two int
        Offsets of (N,) in `recorder.grads`: each gets the sums of DY's columns.
    """
    n_taps, shifts = _taps(taps, K)
    n = n_taps * int(K)
    tile = min(_choice(recorder.dtype), key=lambda tile: _tiles(tile, n, N) * tile.rows * tile.cols / tile.rate)
    tiles = _tiles(tile, n, N)
    n_parts = max(1, min(-(-2 * PROCESSORS // tiles), -(-int(M) // PART)))
    parts = recorder.workspace((n_parts * (n + 1) * int(N),), recorder.dtype)
    ints, marks = _ints(recorder, rows, limit)
    kernel = product(recorder.dtype, tile, "tn", (taps is not None, rows is not None, limit is not None), (0, c.LINEAR, False))
    recorder.launch(kernel, (tiles, n_parts), tile.threads, n, int(N), int(M), X.array, X.place, DY.array, DY.place, parts,
                    (0, int(N), NO_SPLIT, 0), ints, marks, shifts, (0, 0))
    recorder.each(add_parts(recorder.dtype, len(biases)), (n + bool(biases)) * int(N), n, int(N), n_parts, parts, DW.array,
                  DW.place, recorder.grads, _pair(biases))


def _taps(taps, size):
    """Number of taps; columns of one, shift, step and rows, for the kernel."""
    taps = taps or NO_TAPS
    return int(taps.count), (int(size), int(taps.shift), int(taps.step), int(taps.n_rows))


def _choice(dtype):
    """Tiles of a type: float64 takes twice the registers."""
    return TILES[1:] if dtype is np.float64 and not SIMULATED else TILES


def _tile(dtype, M, N):
    """The tile with which M x N elements are made soonest."""
    def cost(tile):
        return -(-_tiles(tile, M, N) // PROCESSORS) * tile.rows * tile.cols / tile.rate
    return min(_choice(dtype), key=cost)


def _tiles(tile, M, N):
    return -(-int(M) // tile.rows) * -(-int(N) // tile.cols)


def _ints(recorder, rows, limit):
    """The array that rows and limit lie in, and where."""
    arrays = [pair[0] for pair in (rows, limit) if pair is not None]
    if len({id(array) for array in arrays}) > 1:
        raise ValueError("rows and limit lie in different arrays; a product takes them from one")
    return (arrays or [recorder.indices])[0], tuple(0 if pair is None else int(pair[1]) for pair in (rows, limit))


def _pair(biases):
    return (*map(int, biases), 0, 0)[:2]


# ---- copies of factors to shared memory.  Thread t copies `count` elements; a factor's tile lies there (depth, extent), its
# rows PAD apart so that they begin in different banks and at multiples of 16 bytes.

def _padded(dtype, extent):
    return extent + 16 // np.dtype(dtype).itemsize


def _vectors(dtype, tile):
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
            if gather:
                values[s] = array[np.uint64(lines[0] + ints[np.uint64(rows_at + q + s * stride)] * place[1])] if inside else zero
            else:
                values[s] = array[np.uint64(at + s * step)] if inside else zero
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
    """Adds the product of two tiles in shared memory to a thread's sums, see `_vectors`."""
    height, width = tile.height, tile.width
    vector_y, vector_x = _vectors(dtype, tile)
    copy_y, copy_x = copier(vector_y), copier(vector_x)
    row_a, row_b = _padded(dtype, tile.rows), _padded(dtype, tile.cols)

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
    vector_y, vector_x = _vectors(dtype, tile)
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
                put_along(extent, depth, threads, _padded(dtype, extent)))

    def across(extent, gather, tapped):
        return (begin_across(extent, tapped), fetch_across(dtype, extent, depth, threads, gather, tapped),
                put_across(extent, depth, threads, _padded(dtype, extent)))

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


@family
def product(dtype, tile, form, reads, writes):
    """A kernel of `nn`, `nt` or `tn`; reads: whether there are taps, rows, a limit; writes: number of biases, act, add.

    While a tile is multiplied, the next one is on its way: its elements are asked for before, and put to the other half of the
    shared memory behind.
    """
    (tapped, gather, limited), (n_biases, act, add) = reads, writes
    rows, cols, depth, height, width, threads = *tile[:5], tile.threads
    half_a, half_b = depth * _padded(dtype, rows), depth * _padded(dtype, cols)
    count_a, count_b, (vector_y, vector_x) = rows * depth // threads, cols * depth // threads, _vectors(dtype, tile)
    both_a, both_b, n_sums, n_lines = 2 * half_a, 2 * half_b, height * width, max(count_a, count_b, 2)
    across = cols // (LANES_X * width)  # warps beside each other
    lanes = LANES_X * LANES_Y
    (begin_a, fetch_a, put_a), (begin_b, fetch_b, put_b) = factors(dtype, tile, form, tapped, gather)
    sum_up, finish = multiply(dtype, tile, depth), write(dtype, tile, n_biases, act, add)
    add_up = add_columns(dtype, cols, threads)
    in_parts, zero = form == "tn", dtype(0)

    def kernel(I, J, Q, a, a_place, b, b_place, out, place, ints, marks, taps, biases):
        tile_a = cuda.shared.array(both_a, dtype, alignment=16)
        tile_b = cuda.shared.array(both_b, dtype, alignment=16)
        lines_a = cuda.local.array(n_lines, np.int64)
        lines_b = cuda.local.array(n_lines, np.int64)
        next_a = cuda.local.array(count_a, dtype)
        next_b = cuda.local.array(count_b, dtype)
        sums = cuda.local.array(n_sums, dtype)
        thread, block = np.int64(np.uint32(cuda.threadIdx.x)), np.int64(np.uint32(cuda.blockIdx.x))
        n_across, first, n_rows = (J + cols - 1) // cols, np.int64(0), I
        i, j, total = block // n_across * rows, block % n_across * cols, zero
        if limited and in_parts:
            Q = min(Q, ints[np.uint64(marks[1])])
        elif limited:
            n_rows = min(I, ints[np.uint64(marks[1])])
        if i >= n_rows:
            return
        at_out = place[0]
        if in_parts:  # part p of the sum is a matrix of its own, with a row more for the sums of the columns
            part = np.int64(np.uint32(cuda.blockIdx.y))
            length = (Q + cuda.gridDim.y - 1) // cuda.gridDim.y
            first, Q = min(part * length, Q), min(part * length + length, Q)
            at_out = part * (I + 1) * J
        for s in range(n_sums):
            sums[s] = zero
        begin_a(lines_a, thread, i, n_rows, a_place, taps, ints, marks[0])
        begin_b(lines_b, thread, j, J, b_place, (taps[0], 0, J, 0), ints, marks[0])
        warp, lane = thread // lanes, thread % lanes
        row = warp // across * (LANES_Y * height) + lane // LANES_X * vector_y
        col = warp % across * (LANES_X * width) + lane % LANES_X * vector_x
        from_a, from_b = np.int64(0), np.int64(0)
        fetch_a(next_a, lines_a, thread, a, a_place, first, Q, taps, ints, marks[0])
        fetch_b(next_b, lines_b, thread, b, b_place, first, Q, (taps[0], 0, J, 0), ints, marks[0])
        while first < Q:
            put_a(tile_a, from_a, next_a, thread)
            put_b(tile_b, from_b, next_b, thread)
            if in_parts:
                for s in range(count_b):
                    total += next_b[s]
            cuda.syncthreads()
            first += depth
            if first < Q:
                fetch_a(next_a, lines_a, thread, a, a_place, first, Q, taps, ints, marks[0])
                fetch_b(next_b, lines_b, thread, b, b_place, first, Q, (taps[0], 0, J, 0), ints, marks[0])
            sum_up(sums, tile_a, tile_b, from_a + row, from_b + col)
            from_a, from_b = half_a - from_a, half_b - from_b
        finish(sums, i + row, j + col, n_rows, J, out, (at_out, place[1], place[2], place[3]), b, biases)
        if in_parts and i == 0:
            add_up(total, thread, j, J, out, at_out + I * J)
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
