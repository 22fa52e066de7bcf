"""The card's memory."""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.jit import SIMULATED, THREADS, cuda, family
from tsrnn.backends.place import Host


class Scratch(c.Scratch):
    """Memory of an engine on the card, and what has been recorded on it."""

    def __new__(cls, *arrays):
        made = super().__new__(cls, *arrays)
        made.recordings = {}
        made.workspaces = []  # arrays that operations use one after the other, see `Recorder.workspace`
        made.turn = None
        return made


class Card(Host):
    """Arrays lie on the card; a batch is one chunk."""

    keeps_gates = True
    predict_rows = 1 << 30

    def empty(self, shape, dtype):
        """A new array with anything in it."""
        shape = shape if isinstance(shape, tuple) else (shape,)
        shape = tuple(max(1, int(n)) for n in shape)  # there are no empty arrays on a card
        try:
            return cuda.device_array(shape, np.dtype(dtype))
        except Exception as error:
            if "OUT_OF_MEMORY" not in str(error):
                raise
            raise MemoryError(no_room(int(np.prod(shape)) * np.dtype(dtype).itemsize)) from None

    def zeros(self, shape, dtype):
        """A new array of zeros."""
        array = self.empty(shape, dtype)
        flat = array.reshape(array.size)
        fill(np.dtype(dtype).type)[-(-array.size // THREADS), THREADS](flat, 0)
        return array

    def scratch(self, mem: int, indices: int, mask: int, dtype) -> Scratch:
        """Memory of an engine: there is but one."""
        return Scratch(self.zeros(mem, dtype), self.zeros(indices, np.int32), self.zeros(mask, np.uint8))

    def put(self, array, there=None):
        """Copies an array to the card."""
        array = np.ascontiguousarray(array)
        if there is None:
            there = self.empty(array.shape, array.dtype)
        if array.size:
            there.copy_to_device(array)
        return there

    def get(self, there, array):
        """Copies it back."""
        if array.size:
            there.copy_to_host(array)

    def put_data(self, data: c.Data) -> c.Data:
        """Copies samples to the card."""
        return c.Data(*map(self.put, data))

    def threads(self, n_threads: int) -> int:
        """One: it launches, and waits."""
        return 1

    def chunk_rows(self, n_batch: int) -> int:
        """The whole batch."""
        return n_batch


@family
def fill(dtype):
    def kernel(array, value):
        i = cuda.grid(1)
        if i < array.size:
            array[i] = value
    return kernel


def no_room(nbytes: int) -> str:
    """What a user can do where the card's memory does not suffice."""
    free, total = (0, 0) if SIMULATED else cuda.current_context().get_memory_info()
    return (f"The GPU has no room for {nbytes:,} bytes more ({free:,} of {total:,} are free); take a smaller batch_size, "
            'shorter sequences, or device="cpu".')


CARD = Card()
