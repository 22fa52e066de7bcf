"""A card that is not there: what the backend launches is compiled by the real compiler, and its PTX runs on NumPy (`ptx`).

``install()`` comes before anything imports `numba`.  Real sizes of blocks and tiles, the compiler's own arithmetic; slower than
a card by some six orders of magnitude, so small networks only.
"""

from __future__ import annotations

import os
from types import SimpleNamespace

os.environ["NUMBA_ENABLE_CUDASIM"] = "0"

import numpy as np
import ptx

CC = (9, 0)
OPTIONS = ("launch_bounds", "lineinfo")  # of `cuda.jit` that change the code
_compiled: dict[tuple, tuple] = {}


def compile_ptx(kernel, args) -> str:
    """The compiler's PTX of a kernel for arguments like these."""
    from numba import cuda, typeof, types
    from numba.cuda import dispatcher

    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=CC)  # device functions that NVVM inlines ask
    options = {name: kernel.targetoptions[name] for name in OPTIONS if kernel.targetoptions.get(name)}
    signature = types.void(*(typeof(arg) for arg in args))
    return cuda.compile(kernel.py_func, signature, cc=CC, device=False, abi="numba", output="ptx", **options)[0]


def launch(kernel, grid, block, args, shared) -> None:
    """Runs a launch of `Recorder.launches`."""
    from numba import typeof

    memory, values = ptx.Memory(), []
    key = id(kernel), tuple((arg.dtype.str, arg.ndim) if isinstance(arg, np.ndarray) else typeof(arg) for arg in args)
    if key not in _compiled:
        _compiled[key] = kernel, ptx.parse(compile_ptx(kernel, args))
    for arg in args:
        values += _values(memory, arg)
    with np.errstate(all="ignore"):
        ptx.Launch(_compiled[key][1], memory, grid, block, values, shared).run()


def _values(memory, arg) -> list:
    """As numba's launcher lays arguments out; an array is meminfo, parent, items, size of one, pointer, shape, strides."""
    if isinstance(arg, np.ndarray):
        return [0, 0, arg.size, arg.itemsize, memory.address(arg), *arg.shape, *arg.strides]
    if isinstance(arg, tuple):
        return [value for part in arg for value in _values(memory, part)]
    return [arg]


def install() -> None:
    """From here on the backend's card is this one."""
    from tsrnn.backends.cuda import executor, recorder, recurrent

    card = type(executor.CARD)

    def empty(self, shape, dtype):
        shape = shape if isinstance(shape, tuple) else (shape,)
        array = np.empty(tuple(max(1, int(n)) for n in shape), dtype)
        array.view(np.uint8)[...] = 0xFF  # NaN
        return array

    card.empty = empty
    card.zeros = lambda self, shape, dtype: np.zeros_like(empty(self, shape, dtype))

    def put(self, array, there=None):
        there = empty(self, np.shape(array), array.dtype) if there is None else there
        if array.size:
            there[...] = array
        return there

    def get(self, there, array):
        if array.size:
            array[...] = there

    card.put, card.get = put, get
    executor.why_not, recorder.allow_shared = lambda: "", lambda *launch: None
    recurrent.most_shared = lambda: 227 << 10  # of compute capability 9.0
    executor._replay = lambda recorder: [launch(*one) for one in recorder.launches]
