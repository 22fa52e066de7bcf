"""A backend that behaves as a card does, for tests without one: what lies on it is out of the host's reach.

Its arrays are of a type of their own, which can be put, brought back and measured, and nothing else; what computes on them
is the NumPy backend.  `install()` puts it in the place of `tsrnn.backends.cuda`, in one process.
"""

import os
import sys
import types

import numpy as np

from tsrnn import device
from tsrnn.backends import contract as c
from tsrnn.backends import numpy as definition
from tsrnn.backends.place import Host
from tsrnn.parallel import gpu_turn

NO_ROOM = "The GPU has no room for {:,} bytes more; take a smaller batch_size."


class OnCard:
    """An array that only the card can read."""

    def __init__(self, card, shape, dtype):
        shape = tuple(max(1, int(n)) for n in (shape if isinstance(shape, tuple) else (shape,)))  # as `Card` has it
        self.card, nbytes = card, int(np.prod(shape)) * np.dtype(dtype).itemsize
        if card.live + nbytes > card.size:
            raise MemoryError(NO_ROOM.format(nbytes))
        self.values = np.zeros(shape, dtype)
        card.live, card.made = card.live + nbytes, card.made + 1

    def __del__(self):
        if "values" in vars(self):
            self.card.live -= self.values.nbytes

    shape, size, dtype, nbytes = (property(lambda self, name=name: getattr(self.values, name))
                                  for name in ("shape", "size", "dtype", "nbytes"))

    def __len__(self):
        return len(self.values)

    def refuse(self, *_, **__):
        raise AssertionError("the host touches an array of the card")

    __array__ = __getitem__ = __setitem__ = __iter__ = __reduce_ex__ = __deepcopy__ = __copy__ = refuse


class Place(Host):
    """The card's memory, and what has been asked of it."""

    keeps_samples = keeps_gates = True
    predict_rows = 1 << 30

    def __init__(self, size=1 << 30):
        self.size, self.live, self.made, self.puts, self.gets = size, 0, 0, 0, 0
        self.runs, self.steps, self.process = 0, 0, os.getpid()
        self.after = []  # functions that are called with the parameters when `train` has done its steps

    def used(self):
        """Raises where a thread uses it without its turn, or a forked child does."""
        assert os.getpid() == self.process, "a forked child uses the card"
        assert gpu_turn._is_owned(), "a thread uses the card without its turn"

    def zeros(self, shape, dtype):
        self.used()
        return OnCard(self, shape, dtype)

    def scratch(self, mem, indices, mask, dtype):
        return c.Scratch(self.zeros(mem, dtype), self.zeros(indices, np.int32), self.zeros(mask, np.uint8))

    def put(self, array, there=None):
        self.used()
        assert isinstance(array, np.ndarray)
        self.puts += 1
        if there is None:
            there = self.zeros(array.shape, array.dtype)
        if array.size:
            assert there.shape == array.shape and there.dtype == array.dtype
            there.values[...] = array
        return there

    def get(self, there, array):
        self.used()
        self.gets += 1
        if array.size:
            array[...] = there.values.reshape(-1)[:array.size].reshape(array.shape)

    def put_data(self, data, there=None):
        return c.Data(*map(self.put, data) if there is None else map(self.put, data, there))

    def fits(self, there, data):
        return all(old.shape == new.shape and old.dtype == new.dtype for old, new in zip(there, data))

    def beside(self, scratch, samples):
        return sum(array.nbytes for data in samples for array in data)

    def threads(self, n_threads):
        return 1

    def chunk_rows(self, n_batch):
        return n_batch

    # ---- what computes

    def run(self, mode, plan, data, batch, params, scratch, sums, out, first, stop, step):
        self.used()
        self.runs += 1
        on_card = map(seen_from_card, (params, scratch, sums))
        definition.run(mode, plan, seen_from_card(data), batch, *on_card, out, first, stop, step)

    def train(self, plan, data, steps, params, scratch, sums, update, meeting, thread):
        self.used()
        self.steps += len(steps.bounds)
        on_card = map(seen_from_card, (params, scratch, sums, update))
        definition.train(plan, seen_from_card(data), steps, *on_card, meeting, thread)
        for function in self.after:
            function(params.theta.values)


HOSTS_OWN = {c.Sums: {"loss"}, c.Update: {"solver", "penalised", "frozen", "table", "squares"}}


def seen_from_card(arrays):
    """The named tuple as a kernel sees it; what belongs on the card must be there."""
    values = []
    for name, value in zip(arrays._fields, arrays):
        there = name not in HOSTS_OWN.get(type(arrays), ())
        assert isinstance(value, OnCard) is there, f"{type(arrays).__name__}.{name} is not where it belongs"
        values.append(value.values if there else value)
    return type(arrays)(*values)


def install(setitem=sys.modules.__setitem__, *, reason="", size=1 << 30):
    """Puts a card into this process, or with a `reason` its absence; returns its place."""
    place = Place(size)
    module = types.ModuleType("tsrnn.backends.cuda")
    module.place, module.run, module.train, module.why_not = place, place.run, place.train, lambda: reason
    module.assign_pack, module.kernels, module.pack = definition.assign_pack, definition.kernels, definition.pack
    setitem("tsrnn.backends.cuda", module)
    device._state.clear()
    return place
