"""What the card can do, measured: float32 multiply-adds that touch registers only, and copies within its memory."""

from __future__ import annotations

import time

import numpy as np

from tsrnn.backends.cuda.jit import SIMULATED, THREADS, cuda

CHAINS, UNROLLED, ROUNDS = 8, 16, 1 if SIMULATED else 512
COPY = 1 << (10 if SIMULATED else 28)  # floats: many times the caches


def about() -> dict:
    """Name, compute capability, multiprocessors and memory of the card."""
    if SIMULATED:
        return {"name": "Numba's simulator", "multiprocessors": 1}
    card = cuda.get_current_device()
    name = card.name.decode() if isinstance(card.name, bytes) else str(card.name)
    free, total = cuda.current_context().get_memory_info()
    # 128 multiply-adds a cycle and multiprocessor, from compute capability 8.6 on and in 9.0
    return {"name": name, "compute_capability": ".".join(map(str, card.compute_capability)),
            "multiprocessors": card.MULTIPROCESSOR_COUNT, "memory": total, "free": free,
            "fma_peak_of_the_clock": 2e-6 * 128 * card.MULTIPROCESSOR_COUNT * card.CLOCK_RATE}


def _loop(out, x):
    a, b, c, d = x, x + x, x * x, x - x
    e, f, g, h = a + c, b + c, a - c, b - c
    for _ in range(ROUNDS):
        for _ in range(UNROLLED):  # chains that do not wait for each other
            a, b, c, d = cuda.fma(a, x, x), cuda.fma(b, x, x), cuda.fma(c, x, x), cuda.fma(d, x, x)
            e, f, g, h = cuda.fma(e, x, x), cuda.fma(f, x, x), cuda.fma(g, x, x), cuda.fma(h, x, x)
    out[cuda.grid(1)] = a + b + c + d + e + f + g + h  # so that nothing is left out


def fma_peak(multiprocessors: int, turns: int = 10) -> float:
    """GFLOP/s, the best of some turns."""
    blocks = 1 if SIMULATED else 16 * multiprocessors
    out, kernel, x = cuda.device_array(blocks * THREADS, np.float32), cuda.jit(_loop), np.float32(0.5)
    return 1e-9 * 2 * CHAINS * UNROLLED * ROUNDS * blocks * THREADS / _best(lambda: kernel[blocks, THREADS](out, x), turns)


def bandwidth(turns: int = 10) -> float:
    """GB/s, read and written together."""
    there, here = (cuda.device_array(COPY, np.float32) for _ in range(2))
    return 1e-9 * 2 * 4 * COPY / _best(lambda: there.copy_to_device(here), turns)


def _best(call, turns: int) -> float:
    seconds = []
    for _ in range(turns + 1):  # the first one compiles
        cuda.synchronize()
        started = time.perf_counter()
        call()
        cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
