"""Checked arrays to the flat `Data` that the engine reads: values, starts, lengths, targets, weights.

NumPy only.  Nothing here is copied that need not be: overlapping windows of a series stay one series with many starts, and a
subset of the samples is a subset of the starts.  Samples that would not fit into memory come as `Blocks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from tsrnn.backends.contract import Data

BLOCK_BYTES = 1 << 23  # of samples that lie in memory at a time: some cache, and many times what it costs to begin a block


@runtime_checkable
class Blocks(Protocol):
    """Samples that are put together when they are needed: no array of all of them is ever made.

    Anything with these members is one.  What a sample holds must depend on its number alone.
    """

    @property
    def steps(self) -> int:
        """T, steps of each sample."""

    @property
    def channels(self) -> int:
        """C, values a step."""

    @property
    def n_outputs(self) -> int:
        """K, targets of each sample."""

    def __len__(self) -> int:
        """Number of samples."""

    def block(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Some of the samples.

        Parameters
        ----------
        rows : int64 array of shape (b,)
            Their numbers, 0 to n - 1, in any order.

        Returns
        -------
        X : float32 array of shape (b, T, C)
            C-contiguous, and not written to afterwards.
        y : float32 array of shape (b, K), or None
            None where there are no targets: for prediction alone.
        """


class Stream:
    """`Blocks` as the engine reads them: a part of the samples after the other, each a `Data` with numbers of its own.

    Parameters
    ----------
    blocks : Blocks
    make : callable
        Gets numbers of samples and returns their `Data`.
    """

    def __init__(self, blocks: Blocks, make: Callable[[np.ndarray], Data]):
        self.blocks, self.make = blocks, make

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def steps(self) -> int:
        """T, steps of each sample."""
        return self.blocks.steps

    def part_rows(self, multiple: int) -> int:
        """Samples of a part: as many as `BLOCK_BYTES` hold, but a whole multiple of `multiple` and at least that."""
        sample = 4 * (self.blocks.steps * self.blocks.channels + self.blocks.n_outputs)
        return multiple * max(1, BLOCK_BYTES // (multiple * sample))

    def parts(self, order: np.ndarray, multiple: int) -> Iterator[Data]:
        """The samples `order` (n,) in parts of `part_rows`; sample i of a part is the i-th of its share of `order`."""
        rows = self.part_rows(multiple)
        for first in range(0, len(order), rows):
            yield self.make(order[first:first + rows])

    def whole(self) -> Data | Stream:
        """All samples at once where they fit into one part: then nothing need be put together twice."""
        n = len(self)
        return self.make(np.arange(n)) if n <= self.part_rows(1) else self


@dataclass(frozen=True)
class Sequences:
    """Samples of one input; sample i is ``flat[starts[i] : starts[i] + lengths[i] * channels]``, step by step.

    Attributes
    ----------
    flat : array of shape (n_values,)
        Floats, or int32 ids.
    starts : int64 array of shape (n,)
    lengths : int64 array of shape (n,)
        Steps of each sample.
    channels : int
        C, values a step; 1 for ids.
    """

    flat: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    channels: int

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def is_ids(self) -> bool:
        return self.flat.dtype.kind == "i"

    @property
    def steps(self) -> int:
        """T, the longest."""
        return int(self.lengths.max())

    @property
    def same_length(self) -> bool:
        return bool((self.lengths == self.lengths[0]).all())

    def take(self, rows: np.ndarray) -> Sequences:
        """Some of the samples; the values are shared."""
        return Sequences(self.flat, self.starts[rows], self.lengths[rows], self.channels)


class _Alias:
    """The memory of a read-only array under a writable face.

    Numba compiles read-only arrays as a type of their own, so each kernel would exist twice.  Kernels only read inputs.
    """

    def __init__(self, array: np.ndarray):
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}
        self.owner = array  # keeps the memory alive


def plain(array: np.ndarray, dtype=None) -> np.ndarray:
    """`array` as aligned, C-contiguous, native and typed writable; a copy only where one of the first three is missing."""
    array = np.require(array, np.dtype(dtype or array.dtype).newbyteorder("="), ["C_CONTIGUOUS", "ALIGNED"])
    return array if array.flags.writeable else np.asarray(_Alias(array))


def window_base(X: np.ndarray) -> tuple[np.ndarray, int] | None:
    """The series under overlapping windows, and the values between their starts.

    Parameters
    ----------
    X : array of shape (n, T, C)

    Returns
    -------
    (series of shape ((n - 1) * hop + T * C,), hop), or None where `X` is not a view with strides (hop, C, 1) whose windows
    overlap or touch.  A view of the same memory.
    """
    n, steps, channels = X.shape
    item, width = X.itemsize, steps * channels
    if n < 2 or width == 0 or not X.flags.aligned or not X.dtype.isnative:
        return None
    hop, rest = divmod(X.strides[0], item)
    inner = (steps == 1 or X.strides[1] == channels * item) and (channels == 1 or X.strides[2] == item)
    if rest or not 0 < hop <= width or not inner:
        return None
    return np.lib.stride_tricks.as_strided(X, ((n - 1) * hop + width,), (item,), writeable=False), hop


def from_flat(flat: np.ndarray, n: int, steps: int, channels: int, hop: int) -> Sequences:
    """`n` samples of equal length, their starts `hop` values apart."""
    starts = np.arange(n, dtype=np.int64) * hop
    return Sequences(plain(flat), starts, np.full(n, steps, np.int64), channels)


def from_array(X: np.ndarray) -> Sequences:
    """Samples (n, T, C)."""
    n, steps, channels = X.shape
    return from_flat(plain(X).reshape(-1), n, steps, channels, steps * channels)


def from_lengths(flat: np.ndarray, lengths: Sequence[int] | np.ndarray, channels: int) -> Sequences:
    """Ragged samples that lie one behind the other."""
    lengths = np.asarray(lengths, np.int64)
    ends = np.cumsum(lengths * channels)
    return Sequences(plain(flat), ends - lengths * channels, lengths, channels)


def real_steps(sequences: Sequences, mask_zero: bool = False) -> np.ndarray | None:
    """Which steps are real, all samples one behind the other: bools (sum of lengths,); None where all are."""
    if not (mask_zero and sequences.is_ids):
        return None
    return gather_steps(sequences) != 0


def gather_steps(sequences: Sequences) -> np.ndarray:
    """Ids of all samples one behind the other (sum of lengths,)."""
    first = np.repeat(sequences.starts - (np.cumsum(sequences.lengths) - sequences.lengths), sequences.lengths)
    return sequences.flat[first + np.arange(len(first))]


def make_data(sequences: Sequences, dtype, targets: np.ndarray | None = None, target_steps: np.ndarray | None = None,
              weights: np.ndarray | None = None, real: np.ndarray | None = None) -> Data:
    """Everything that the engine needs to know about samples.

    Parameters
    ----------
    sequences : Sequences
    dtype : float type of the computation
    targets : array of shape (n, K), or (sum of target_steps, K), optional
    target_steps : int array of shape (n,), optional
        Target steps of each sample, with one target a step.
    weights : array of shape (n,) or, with one target a step, (sum of target_steps,), optional
    real : bool array of shape (sum of target_steps,), optional
        Steps that count; default all.
    """
    n = len(sequences)
    none, no_ids = np.zeros(1, dtype), np.zeros(1, np.int32)
    values, ids = (none, sequences.flat) if sequences.is_ids else (plain(sequences.flat, dtype), no_ids)
    if weights is None:
        weights = np.ones(n)
    if target_steps is None:
        first = np.arange(n, dtype=np.int64)
        rows, totals = weights[:, None], weights.astype(np.float64)
    else:
        rows, totals = _step_weights(weights, target_steps, real)
        first = np.cumsum(target_steps, dtype=np.int64) - target_steps
    n_targets = 0 if targets is None else targets.shape[1]
    flat_targets = none if targets is None else plain(targets, dtype).reshape(-1)
    return Data(values, ids, plain(sequences.starts), plain(sequences.lengths), flat_targets, plain(first * n_targets),
                plain(rows, dtype), plain(totals))


def _step_weights(weights: np.ndarray, steps: np.ndarray, real: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Weights (n, 1) or (n, T), and the sum of each sample's over its real steps (n,)."""
    n = len(steps)
    counts = np.ones(int(steps.sum())) if real is None else real.astype(np.float64)
    samples = np.repeat(np.arange(n), steps)
    if len(weights) == n:  # one a sample (with one step each, the same thing)
        return weights[:, None], np.bincount(samples, counts, n) * weights
    columns = np.arange(len(samples)) - np.repeat(np.cumsum(steps) - steps, steps)
    rows = np.zeros((n, int(steps.max())))
    rows[samples, columns] = weights * counts
    return rows, np.bincount(samples, weights * counts, n)


def take(data: Data, rows: np.ndarray) -> Data:
    """Some of the samples; values and targets are shared."""
    return data._replace(starts=data.starts[rows], lengths=data.lengths[rows], target_starts=data.target_starts[rows],
                         weights=data.weights[rows], totals=data.totals[rows])
