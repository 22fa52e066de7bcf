"""Products of matrices, see `tiles` for how they are made.

A sum is taken in one order, from its first product to its last, whichever tile makes it: so a row's result has the same bits
whatever rows lie beside it.  `tn` alone, which sums over the rows, cuts the sum into parts; how many depends on the sizes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.jit import SIMULATED
from tsrnn.backends.cuda.tiles import NO_SPLIT, TILES, add_parts, product

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
    def cost(tile):  # a multiprocessor with one block waits half of its time
        return max(2, -(-_tiles(tile, M, N) // PROCESSORS)) * tile.rows * tile.cols / tile.rate
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
