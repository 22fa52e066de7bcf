"""The card's memory."""

from __future__ import annotations

import itertools

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.jit import SIMULATED, THREADS, configured, cuda, family
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

    keeps_samples = True
    keeps_gates = True
    predict_rows = 1 << 30

    def empty(self, shape, dtype):
        """A new array with anything in it."""
        shape = shape_of(shape if isinstance(shape, tuple) else (shape,))
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
        configured(fill(np.dtype(dtype).type), -(-array.size // THREADS), THREADS)(flat, 0)
        return array

    def scratch(self, mem: int, indices: int, mask: int, dtype) -> Scratch:
        """Memory of an engine: there is but one."""
        return Scratch(self.zeros(mem, dtype), self.zeros(indices, np.int32), self.zeros(mask, np.uint8))

    def put(self, array, there=None):
        """Copies an array to the card."""
        array = np.ascontiguousarray(array)
        array = array.reshape(-1).reshape(array.shape)  # an axis of length 1 may have the stride 0, which numba.cuda leaves out
        if there is None:
            there = self.empty(array.shape, array.dtype)
        if array.size:
            there.copy_to_device(array)
        return there

    def get(self, there, array):
        """Copies it back."""
        if array.size:
            there.copy_to_host(array)

    def put_data(self, data: c.Data, there: c.Data | None = None) -> c.Data:
        """Copies samples to the card; what was recorded for others in the same place serves them, too."""
        return c.Data(*map(self.put, data) if there is None else map(self.put, data, there))

    def fits(self, there: c.Data, data: c.Data) -> bool:
        """Where all arrays are as long as the ones before."""
        return all(old.shape == shape_of(new.shape) and old.dtype == new.dtype for old, new in zip(there, data))

    def forget(self, scratch: list[Scratch], there: c.Data) -> None:
        """What was recorded with them would keep them alive."""
        gone = set(map(id, there))
        for part in scratch:
            part.recordings = {key: recording for key, recording in part.recordings.items() if gone.isdisjoint(key)}

    def beside(self, scratch: list[Scratch], samples: list[c.Data]) -> int:
        """Samples and workspaces; what a recording has of its own is small but for its logits."""
        recordings = (recording for part in scratch for recording in part.recordings.values())
        outs = (recording.out for recording in recordings if recording.mode != c.TRAIN)
        return sum(array.nbytes for array in itertools.chain(*samples, *(part.workspaces for part in scratch), outs))

    def threads(self, n_threads: int) -> int:
        """One: it launches, and waits."""
        return 1

    def chunk_rows(self, n_batch: int) -> int:
        """The whole batch."""
        return n_batch


def shape_of(shape: tuple) -> tuple:
    """What an array of this shape has on a card, where there are no empty ones."""
    return tuple(max(1, int(n)) for n in shape)


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
