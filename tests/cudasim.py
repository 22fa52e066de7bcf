"""Numba's CUDA simulator with greenlets for its threads: thousands of times faster, with shuffles, in an order of choice.

Numba's own simulator starts a Python thread for each thread of a block and polls them; a barrier costs milliseconds.  Here the
threads of a block run one after the other from barrier to barrier.  In which order they do is `order`: a missing barrier gives
one result from the first thread to the last, and another from the last to the first.

``install()`` comes before anything imports `numba`; it does nothing where a GPU is there.
"""

from __future__ import annotations

import os
from types import SimpleNamespace

FIRST_TO_LAST, LAST_TO_FIRST = 1, -1
WARP = 32
order = FIRST_TO_LAST
launches: list[str] = []  # names of the kernels that ran, oldest first, where somebody has cleared it


def has_gpu() -> bool:
    """Whether an NVIDIA driver is loaded."""
    return os.path.exists("/dev/nvidiactl") or os.path.exists("/proc/driver/nvidia/version")


def install() -> None:
    """From here on `numba.cuda` is simulated in this process."""
    if has_gpu() or os.environ.get("NUMBA_ENABLE_CUDASIM") == "0":
        return
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
    from numba import cuda

    simulator = cuda.simulator
    simulator.kernel.BlockManager = Block
    api = simulator.kernelapi
    api.threading = SimpleNamespace(current_thread=_current, Lock=api.threading.Lock)
    fake = api.FakeCUDAModule
    fake.shfl_sync = lambda self, mask, value, lane: _exchange(value, lambda me: lane)
    fake.shfl_xor_sync = lambda self, mask, value, bits: _exchange(value, lambda me: me ^ bits)
    fake.shfl_down_sync = lambda self, mask, value, by: _exchange(value, lambda me: me + by if me + by < WARP else me)
    fake.shfl_up_sync = lambda self, mask, value, by: _exchange(value, lambda me: me - by if me >= by else me)
    fake.ballot_sync = lambda self, mask, value: _ballot(value)
    fake.syncwarp = lambda self, mask=-1: _exchange(None, lambda me: me) and None
    for memory in (api.FakeCUDAShared, api.FakeCUDALocal):
        _allow_alignment(memory)


def _allow_alignment(memory) -> None:
    plain = memory.array

    def array(self, shape, dtype, alignment=None):
        return plain(self, shape, dtype)

    if memory.__name__ == "FakeCUDAShared":  # tells allocations apart by the line that asks for them
        def array(self, shape, dtype, alignment=None):
            import sys

            import numpy as np
            from numba.cuda import types
            from numba.cuda.np import numpy_support

            dtype = numpy_support.as_dtype(dtype) if isinstance(dtype, types.Type) else np.dtype(dtype)
            if isinstance(shape, int) and shape == 0:
                return np.frombuffer(self._dynshared.data, dtype=dtype, count=self._dynshared_size // dtype.itemsize)
            caller = sys._getframe(1)
            key = caller.f_code.co_filename, caller.f_lineno
            if key not in self._allocations:
                self._allocations[key] = np.full(shape, _garbage(dtype), dtype)
            return self._allocations[key]

    memory.array = array


def _garbage(dtype):
    """What uninitialised shared memory holds: nothing that a sum survives."""
    import numpy as np

    return np.nan if np.dtype(dtype).kind == "f" else 1 << 6


class Thread:
    """What a kernel asks of the thread that it runs in."""

    def __init__(self, block, block_index, thread_index, body):
        from greenlet import greenlet
        from numba.cuda.simulator.kernelapi import Dim3

        self.block, self.blockIdx, self.threadIdx = block, Dim3(*block_index), Dim3(*thread_index)
        sizes = block.sizes
        self.thread_id = self.threadIdx.x + sizes[0] * (self.threadIdx.y + sizes[1] * self.threadIdx.z)
        self.green = greenlet(body)
        self.waits = None

    def _wait(self, what):
        self.waits = what
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
        self._wait("block")
        votes = list(self.block.votes.values())
        self._wait("block")
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

    def run(self, block_index, *args):
        global _running
        import numpy as np
        from greenlet import getcurrent

        self.hub = getcurrent()
        if tuple(block_index) == (0, 0, 0):
            launches.append(self.function.__qualname__)
        threads = [Thread(self, block_index, index, lambda: self.function(*args)) for index in np.ndindex(*self.sizes)]
        alive = threads[::order]
        with np.errstate(all="ignore"):
            while alive:
                for thread in alive:
                    if thread.waits is None:
                        _running = thread
                        thread.green.switch()
                        _running = None
                alive = [thread for thread in alive if not thread.green.dead]
                self._release(alive)

    def _release(self, alive):
        """Lets warps go on whose lanes have all come, and else the block."""
        moved = False
        for warp in {thread.thread_id // WARP for thread in alive}:
            lanes = [thread for thread in alive if thread.thread_id // WARP == warp]
            if all(lane.waits == "warp" for lane in lanes):
                self.brought[warp] = {lane.thread_id % WARP: lane.brought for lane in lanes}
                for lane in lanes:
                    lane.waits, moved = None, True
        if alive and not moved:
            waiting = {thread.waits for thread in alive}
            if waiting != {"block"}:
                raise RuntimeError("some threads of a block wait for its barrier, others for their warp: a deadlock")
            for thread in alive:
                thread.waits = None
