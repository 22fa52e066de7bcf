"""Sums over the threads of a block, in an order that is always the same, and how threads share out rows and columns."""

from __future__ import annotations

import math

import numpy as np

from tsrnn.backends.cuda.jit import SIMULATED, THREADS, cuda, device

LANES = min(32, THREADS)  # threads of a warp
# Python's functions raise where the card's give inf or NaN
exp, log, log1p, sqrt = (np.exp, np.log, np.log1p, np.sqrt) if SIMULATED else (math.exp, math.log, math.log1p, math.sqrt)
MAX_GRID_Y = 3 if SIMULATED else 65535  # a card's limit is 65535; simulated, so small that blocks take several rows or windows


def tile(columns: int, rows: int) -> tuple[int, int]:
    """Threads of a block along columns (a warp at most) and rows, as many as there are or the next power of two."""
    across = min(LANES, power_of_two(columns))
    return across, min(THREADS // across, power_of_two(rows))


def power_of_two(n: int) -> int:
    """The first that is no less than n."""
    return 1 << max(0, int(n) - 1).bit_length()


@device
def sum_pairs(n):
    """Sums both columns of ``parts (n, 2)`` in shared memory into its row 0; n threads, a power of two."""
    def function(parts, thread):
        width = n // 2
        cuda.syncthreads()
        while width > 0:
            if thread < width:
                parts[thread, 0] += parts[thread + width, 0]
                parts[thread, 1] += parts[thread + width, 1]
            cuda.syncthreads()
            width //= 2
    return function


@device
def running_sums(n):
    """Element i of ``parts (n,)`` in shared memory becomes the sum of the elements 0 to i; n threads."""
    def function(parts, thread):
        step = 1
        cuda.syncthreads()
        while step < n:
            value = parts[thread]
            if thread >= step:
                value += parts[thread - step]
            cuda.syncthreads()
            parts[thread] = value
            cuda.syncthreads()
            step *= 2
    return function
