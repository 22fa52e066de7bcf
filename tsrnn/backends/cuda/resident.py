"""Products of a few vectors with a matrix that stays in a block's registers.

`lanes` neighbouring threads, a group, make `outputs` elements of each of R result vectors: each multiplies its share of a
vector's `inner` elements, and shuffles add what they have, always in the same order.  What does not fit into registers lies in
shared memory.  Everything a thread holds is `outputs` columns wide and read in pieces of `vector` elements, one load each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tsrnn.backends.cuda.jit import cuda, device, index, unrolled

ALL = 0xFFFFFFFF
REGISTERS = 65536       # of a multiprocessor
OTHERS = 56             # registers of a thread that addresses and a step's values take, about


class Tile(NamedTuple):
    """Who holds what of the matrix."""

    threads: int   # of a block
    lanes: int     # of a group
    outputs: int
    inner: int     # length of the vectors, a multiple of lanes
    vector: int    # elements of a load
    pieces: int    # that a thread has of a vector
    kept: int      # of these, pieces whose part of the matrix lies in registers; that of the others lies in shared memory
    rows: int      # R vectors

    @property
    def shared(self) -> int:
        """Elements of shared memory that the matrix takes."""
        return (self.pieces - self.kept) * self.vector * self.outputs * self.threads


def make_tile(dtype, threads, lanes, outputs, inner, rows) -> Tile:
    words, share = np.dtype(dtype).itemsize // 4, inner // lanes
    vector = max(v for v in (1, 2, 4) if share % v == 0 and v * words <= 4)
    pieces = share // vector
    registers = min(255, REGISTERS // threads) - OTHERS - words * (rows * (outputs + vector) + 6 * (words - 1))
    kept = min(pieces, registers // (words * outputs * vector))
    if kept < pieces:  # room for a piece on its way to the product; one is kept in any case: there are no empty arrays
        kept = max(1, kept - 1)
    return Tile(threads, lanes, outputs, inner, vector, pieces, kept, rows)


@device
def load(dtype, tile, element):
    """Fetches the matrix: `element` (a device function) gives what the thread multiplies the k-th elements of vectors with.

    Its arguments are ``(source, k, o)``, o being the output's number; `source` is a tuple of the caller's.
    """
    threads, lanes, outputs, _, vector, pieces, kept, _ = tile

    def piece(i):
        def to_registers(args):
            weights, lane, source = args
            for j in range(vector):
                for o in range(outputs):
                    weights[(i * vector + j) * outputs + o] = element(source, (i * lanes + lane) * vector + j, o)
            cuda.syncthreads()  # else the compiler asks for all of the matrix at once, and has no registers for the addresses
        return cuda.jit(to_registers, device=True, inline="always")
    keep = unrolled(kept, piece)

    def function(weights, shared, spare, lane, thread, source):
        keep((weights, lane, source))
        for i in range(kept, pieces):
            for o in range(outputs):
                for j in range(vector):
                    at = spare + (((i - kept) * outputs + o) * threads + thread) * vector + j
                    shared[index(at)] = element(source, (i * lanes + lane) * vector + j, o)
    return function


@device
def multiply(tile):
    """Adds the thread's share to sums[r * outputs + o]; the vectors begin at shared[vectors]."""
    threads, lanes, outputs, inner, vector, _, kept, rows = tile

    def piece(i):
        def from_registers(args):
            sums, weights, shared, spare, vectors, lane, thread = args
            for j in range(vector):
                for r in range(rows):
                    x = shared[index(vectors + r * inner + (i * lanes + lane) * vector + j)]
                    for o in range(outputs):
                        sums[r * outputs + o] += weights[(i * vector + j) * outputs + o] * x

        def from_shared(args):
            sums, weights, shared, spare, vectors, lane, thread = args
            for j in range(vector):
                for r in range(rows):
                    x = shared[index(vectors + r * inner + (i * lanes + lane) * vector + j)]
                    for o in range(outputs):
                        at = spare + (((i - kept) * outputs + o) * threads + thread) * vector + j
                        sums[r * outputs + o] += shared[index(at)] * x
        return cuda.jit(from_registers if i < kept else from_shared, device=True, inline="always")
    pieces = unrolled(tile.pieces, piece)

    def function(sums, weights, shared, spare, vectors, lane, thread):
        pieces((sums, weights, shared, spare, vectors, lane, thread))
    return function


@device
def halve(n):
    """Adds lanes `bit` apart, of n sums: the lower lane keeps those of the first half, the upper one those of the second."""
    half = n // 2

    def function(sums, lane, bit):
        upper = (lane & bit) != 0
        for i in range(half):
            low, high = sums[i], sums[i + half]
            sums[i] = (high if upper else low) + cuda.shfl_xor_sync(ALL, low if upper else high, bit)
    return function


@device
def whole(n):
    """Adds lanes `bit` apart, of n sums: both lanes have them all."""
    def function(sums, lane, bit):
        for i in range(n):
            sums[i] += cuda.shfl_xor_sync(ALL, sums[i], bit)
    return function


@device
def share_rows(rows, outputs):
    """Adds four lanes' sums[r * outputs + o], `low` and 2 `low` apart: each has the outputs of its row, ``lane // low % rows``.

    A row's additions are the same whatever `rows` is.
    """
    first = halve(rows * outputs) if rows == 4 else whole(rows * outputs)
    second = halve(min(rows, 2) * outputs) if rows > 1 else whole(outputs)

    def function(sums, lane, low):
        first(sums, lane, 2 * low)
        second(sums, lane, low)
    return function


@device
def share_outputs():
    """Adds four lanes' sums of four outputs: each lane has that of its own number, in sums[0]."""
    first, second = halve(4), halve(2)

    def function(sums, lane, low):
        first(sums, lane, 2 * low)
        second(sums, lane, low)
    return function
