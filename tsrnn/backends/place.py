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

    def put_data(self, data: c.Data) -> c.Data:
        """The counterpart of samples."""
        return data

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
