"""Where a backend's arrays lie, and how a batch is cut there: what the engine asks of a backend beside its operations."""

from __future__ import annotations

import math

import numpy as np

from tsrnn.backends import contract as c

ALIGNMENT = 64  # bytes: a cache line, and the widest vector; loads across lines cost the products 5-30 %


class Host:
    """The machine's own memory: an array is where it is needed already.

    Of `Params`, `Scratch` and `Data`, of a `Sums`' tokens and an `Update`'s gradient and moments, all arrays lie in the
    backend's place; all others that a backend gets are the host's.
    """

    keeps_samples = False  # whether samples have counterparts, whose places are kept for those of the next call
    keeps_gates = False  # whether plans that only predict have room for the gates of all steps, too
    predict_rows = 16    # rows of a chunk where nothing is learnt

    def zeros(self, shape, dtype):
        """A new array, which begins at a multiple of `ALIGNMENT` bytes."""
        size = math.prod(shape if isinstance(shape, tuple) else (shape,)) * np.dtype(dtype).itemsize
        raw = np.zeros(size + ALIGNMENT, np.uint8)
        start = -raw.__array_interface__["data"][0] % ALIGNMENT
        return raw[start:start + size].view(dtype).reshape(shape)

    def scratch(self, mem: int, indices: int, mask: int, dtype) -> c.Scratch:
        """Memory of one thread."""
        return c.Scratch(self.zeros(mem, dtype), self.zeros(indices, np.int32), self.zeros(mask, np.uint8))

    def put(self, array, there=None):
        """The counterpart of an array of the host: a new one, or the one that there is with the new values."""
        return array

    def get(self, there, array):
        """Brings the values back into the array of the host."""
        if there is not array:
            array[...] = there

    def put_data(self, data: c.Data, there: c.Data | None = None) -> c.Data:
        """The counterpart of samples; it takes the place of `there`, which nobody needs any more and which they fit."""
        return data

    def fits(self, there: c.Data, data: c.Data) -> bool:
        """Whether samples may take the place of others."""
        return True

    def forget(self, scratch: list[c.Scratch], there: c.Data) -> None:
        """An engine with this memory has no use any more for the samples that are `there`."""

    def beside(self, scratch: list[c.Scratch], samples: list[c.Data]) -> int:
        """Bytes that samples take, and what the backend keeps in `scratch` beside its arrays."""
        return 0

    def threads(self, n_threads: int) -> int:
        """How many of so many threads can be used."""
        return n_threads

    def chunk_rows(self, n_batch: int) -> int:
        """Rows of a chunk in training: at least 16 where the batch allows two such chunks, at most 16 chunks a batch."""
        if n_batch < 32:
            half = -(-n_batch // 2)
            return max(4, -(-half // 4) * 4)
        return max(16, -(-n_batch // (16 * 16)) * 16)


HOST = Host()


class Counterparts:
    """The samples that an engine has seen last, and where the backend has them: training and validation samples stay there."""

    def __init__(self, place: Host):
        self.place = place
        self.pairs: list[tuple[c.Data | None, c.Data]] = []  # None: those there are of no use, but their place is

    def of(self, data: c.Data, scratch: list[c.Scratch]) -> c.Data:
        """The counterpart of `data`, for an engine with this memory."""
        for known, there in self.pairs:
            if known is data:
                return there
        old = None
        if self.pairs and (len(self.pairs) > 1 or self.pairs[0][0] is None):
            old = self.pairs.pop(0)[1]
            if not self.place.fits(old, data):
                self.place.forget(scratch, old)
                old = None  # before there are others: both might be too many
        there = self.place.put_data(data, old)
        self.pairs = [*self.pairs, (data, there)]
        return there

    def forget(self) -> list[c.Data]:
        """Lets go of the samples; returns what is kept of their places."""
        self.pairs = [(None, there) for _, there in self.pairs]
        return [there for _, there in self.pairs]
