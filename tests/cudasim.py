"""Numba's CUDA simulator with greenlets for its threads: thousands of times faster, with shuffles, in an order of choice.

Numba's own simulator starts a Python thread for each thread of a block and polls them; a barrier costs milliseconds.  Here the
threads of a block run one after the other from barrier to barrier.  In which order they do is `order`: a missing barrier gives
one result from the first thread to the last, and another from the last to the first.

``install()`` comes before anything imports `numba`; it does nothing where a GPU is there.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from copy import copy
from types import SimpleNamespace

FIRST_TO_LAST, LAST_TO_FIRST = 1, -1
WARP = 32
order = FIRST_TO_LAST
detect_races = False
installed = False
launches: list[str] = []  # names of the kernels that ran, oldest first, where somebody has cleared it
ATOMICS = ("add", "sub", "and_", "or_", "xor", "inc", "dec", "exch", "max", "min", "nanmax", "nanmin", "compare_and_swap",
           "cas")


class RaceError(RuntimeError):
    """Two threads use one place of memory, one of them writes, and no barrier says which comes first."""


def has_gpu() -> bool:
    """Whether an NVIDIA driver is loaded."""
    return os.path.exists("/dev/nvidiactl") or os.path.exists("/proc/driver/nvidia/version")


def install() -> None:
    """From here on `numba.cuda` is simulated in this process."""
    global installed
    if installed or has_gpu() or os.environ.get("NUMBA_ENABLE_CUDASIM") == "0":
        return
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"  # Numba reads it again before it compiles anything: it has to stay
    from numba import cuda

    installed, simulator = True, cuda.simulator
    simulator.kernel.BlockManager = Block
    simulator.kernel.FakeWithinKernelCUDAArray = Array
    simulator.kernel.FakeCUDAKernel.__getitem__ = _configured(simulator.kernel.FakeCUDAKernel.__getitem__)
    api = simulator.kernelapi
    api.threading = SimpleNamespace(current_thread=_current, Lock=api.threading.Lock)
    fake = api.FakeCUDAModule
    fake.shfl_sync = lambda self, mask, value, lane: _exchange(value, lambda me: lane % WARP)
    fake.shfl_xor_sync = lambda self, mask, value, bits: _exchange(value, lambda me: me ^ bits)
    fake.shfl_down_sync = lambda self, mask, value, by: _exchange(value, lambda me: me + by if me + by < WARP else me)
    fake.shfl_up_sync = lambda self, mask, value, by: _exchange(value, lambda me: me - by if me >= by else me)
    fake.ballot_sync = lambda self, mask, value: _ballot(value)
    fake.any_sync = lambda self, mask, value: _ballot(value) != 0
    fake.all_sync = lambda self, mask, value: all(_current().exchange(value).values())
    fake.syncwarp = lambda self, mask=-1: _exchange(None, lambda me: me) and None
    for name in ATOMICS:
        setattr(api.FakeCUDAAtomic, name, _atomic(getattr(api.FakeCUDAAtomic, name)))
    for memory in (api.FakeCUDAShared, api.FakeCUDALocal):
        _allow_alignment(memory)


@contextmanager
def checked(threads=FIRST_TO_LAST):
    """Kernels in this block run with threads in that order, and may not race."""
    global order, detect_races
    before = order, detect_races
    order, detect_races = threads, True
    try:
        yield
    finally:
        order, detect_races = before


def _configured(plain):
    """``kernel[grid, block]`` is a thing of its own: the simulator's is the kernel itself, with the latest grid and block."""
    def function(self, configuration):
        return plain(copy(self), configuration)
    return function


def _allow_alignment(memory) -> None:
    plain = memory.array

    def array(self, shape, dtype, alignment=None):
        found = plain(self, shape, dtype)
        found[...] = _garbage(found.dtype)
        return Array(found, "local")

    if memory.__name__ == "FakeCUDAShared":  # tells allocations apart by the line that asks for them
        def array(self, shape, dtype, alignment=None):
            import numpy as np
            from numba.cuda import types
            from numba.cuda.np import numpy_support

            dtype = numpy_support.as_dtype(dtype) if isinstance(dtype, types.Type) else np.dtype(dtype)
            if isinstance(shape, int) and shape == 0:
                whole = np.frombuffer(self._dynshared.data, dtype=dtype, count=self._dynshared_size // dtype.itemsize)
                return Array(whole, "shared")
            caller = sys._getframe(1)
            key = caller.f_code.co_filename, caller.f_lineno
            allocations = _current().block.allocations
            if key not in allocations:
                allocations[key] = Array(np.full(shape, _garbage(dtype), dtype), "shared")
            return allocations[key]

    memory.array = array


def _garbage(dtype):
    """What uninitialised shared memory holds: nothing that a sum survives."""
    import numpy as np

    return np.nan if np.dtype(dtype).kind == "f" else 1 << 6


class Array:
    """An array in a kernel: an index outside of it is an error, a negative one too; who uses what is noted, see `Accesses`."""

    __slots__ = ("plain", "address", "strides", "kind")

    def __init__(self, array, kind="global"):
        self.plain, self.kind = getattr(array, "_ary", array), kind
        self.address, self.strides = self.plain.__array_interface__["data"][0], self.plain.strides

    def __getattr__(self, name):
        return getattr(self.plain, name)

    def __len__(self):
        return len(self.plain)

    def __getitem__(self, index):
        self._check(index, False)
        found = self.plain[index]
        return Array(found, self.kind) if getattr(found, "shape", ()) else found

    def __setitem__(self, index, value):
        self._check(index, True)
        self.plain[index] = value

    def reshape(self, *shape):
        return Array(self.plain.reshape(*shape), self.kind)

    def view(self, dtype):
        return Array(self.plain.view(dtype), self.kind)

    def _check(self, index, writes):
        place, whole = self.address, False
        for i, size, stride in zip(index if isinstance(index, tuple) else (index,), self.plain.shape, self.strides):
            if isinstance(i, slice):
                whole, i, size = True, i.start or 0, size + 1
            if not 0 <= i < size:
                raise IndexError(f"index {index} is out of bounds of an array {self.plain.shape}")
            place += int(i) * stride
        if detect_races and not whole and self.kind != "local":  # the elements of a slice are noted when they are used
            thread = _current()
            if not thread.in_atomic:
                thread.block.accesses.note(thread, place, writes, self.kind == "global")


class Accesses:
    """Who has used what since the block's last barrier, and in the blocks before.

    Lanes of a warp are in order where the warp has met in between.  Atomic operations are not noted.  Other blocks are never in
    order, and share global memory alone.
    """

    def __init__(self, earlier):
        self.now: dict[int, dict] = {}    # place -> (thread, writes) -> how often its warp had met
        self.block: dict[int, bool] = {}  # place -> whether this block has written it
        self.earlier = earlier            # the same of the launch's earlier blocks

    def note(self, thread, place, writes, shared_by_blocks):
        number, met = thread.thread_id, thread.block.met
        users = self.now.setdefault(place, {})
        for (other, wrote), when in users.items():
            if other != number and (writes or wrote):
                if other // WARP != number // WARP or when == met.get(number // WARP, 0):
                    raise RaceError(f"threads {other} and {number} of a block use one place without a barrier between them")
        users[number, writes] = met.get(number // WARP, 0)
        if not shared_by_blocks:
            return
        if place in self.earlier and (writes or self.earlier[place]):
            raise RaceError(f"thread {number} of block {tuple(thread.blockIdx)} uses a place that another block uses, too")
        self.block[place] = self.block.get(place, False) or writes


def _atomic(operation):
    def function(self, *args):
        thread = _current()
        thread.in_atomic = True
        try:
            return operation(self, *args)
        finally:
            thread.in_atomic = False
    return function


class Thread:
    """What a kernel asks of the thread that it runs in."""

    def __init__(self, block, block_index, thread_index, body):
        from contextvars import copy_context

        from greenlet import greenlet
        from numba.cuda.simulator.kernelapi import Dim3

        self.block, self.blockIdx, self.threadIdx = block, Dim3(*block_index), Dim3(*thread_index)
        sizes = block.sizes
        self.thread_id = self.threadIdx.x + sizes[0] * (self.threadIdx.y + sizes[1] * self.threadIdx.z)
        self.green = greenlet(body)
        self.green.gr_context = copy_context()  # NumPy's errstate
        self.waits, self.in_atomic = None, False

    def _wait(self, what, depth=3):
        self.waits = what
        if what == "block":
            caller = sys._getframe(depth)  # the line of the kernel
            self.line = caller.f_code.co_filename, caller.f_lineno
        self.block.hub.switch()

    def syncthreads(self):
        self._wait("block")

    def exchange(self, value):
        """Waits until all of the warp are here; returns what they brought, by lane."""
        self.brought = value
        self._wait("warp")
        return self.block.brought[self.thread_id // WARP]

    def _count(self, value):
        self.block.votes[self.thread_id] = bool(value)
        self._wait("block", 4)
        votes = list(self.block.votes.values())
        self._wait("block", 4)
        return votes

    def syncthreads_count(self, value):
        return sum(self._count(value))

    def syncthreads_and(self, value):
        return int(all(self._count(value)))

    def syncthreads_or(self, value):
        return int(any(self._count(value)))


_running: Thread | None = None


def _current() -> Thread:
    assert _running is not None
    return _running


def _exchange(value, lane_of):
    thread = _current()
    brought = thread.exchange(value)
    return brought[lane_of(thread.thread_id % WARP)]


def _ballot(value):
    return sum(bool(vote) << lane for lane, vote in _current().exchange(value).items())


class Block:
    """Runs the threads of a block; takes the place of the simulator's `BlockManager`."""

    def __init__(self, function, grid_size, block_size, debug):
        self.function, self.sizes = function, (*block_size, 1, 1)[:3]
        self.votes: dict[int, bool] = {}
        self.brought: dict[int, dict] = {}
        self.met: dict[int, int] = {}       # how often each warp has met
        self.allocations: dict[tuple, Array] = {}  # shared arrays: each block finds garbage in them

    def run(self, block_index, *args):
        global _running
        import numpy as np
        from greenlet import GreenletExit, getcurrent
        from numba.cuda.simulator import kernel

        self.hub = getcurrent()
        if tuple(block_index) == (0, 0, 0):
            launches.append(self.function.__qualname__)
        launch = kernel._kernel_context
        launch.__dict__.setdefault("touched", {})
        self.accesses = Accesses(launch.touched)
        with np.errstate(all="ignore"):
            threads = [Thread(self, block_index, index[::-1], lambda: self.function(*args))
                       for index in np.ndindex(*self.sizes[::-1])]
            alive = threads[::order]
            try:
                while alive:
                    for thread in alive:
                        if thread.waits is None:
                            _running = thread
                            thread.green.switch()
                    alive = [thread for thread in alive if not thread.green.dead]
                    self._release(alive)
            finally:
                _running = None
                for thread in threads:  # of a block that has failed: their `finally` has work to do
                    if thread.green:
                        thread.green.throw(GreenletExit)
        for place, wrote in self.accesses.block.items():
            launch.touched[place] = launch.touched.get(place, False) or wrote

    def _release(self, alive):
        """Lets warps go on whose lanes have all come, and else the block."""
        moved = False
        for warp in {thread.thread_id // WARP for thread in alive}:
            lanes = [thread for thread in alive if thread.thread_id // WARP == warp]
            if all(lane.waits == "warp" for lane in lanes):
                self.brought[warp] = {lane.thread_id % WARP: lane.brought for lane in lanes}
                self.met[warp] = self.met.get(warp, 0) + 1
                for lane in lanes:
                    lane.waits, moved = None, True
        if alive and not moved:
            waiting = {thread.waits for thread in alive}
            if waiting != {"block"}:
                raise RuntimeError("some threads of a block wait for its barrier, others for their warp: a deadlock")
            if len({thread.line for thread in alive}) > 1:
                raise RuntimeError("the threads of a block wait at different barriers, which CUDA leaves undefined")
            self.accesses.now.clear()
            for thread in alive:
                thread.waits = None
