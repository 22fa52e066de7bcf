"""What the operations of a batch are recorded on: launches with their arguments, replayed for each batch of that size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.graph import Replay
from tsrnn.backends.cuda.jit import SIMULATED, THREADS, allow_shared, number_type
from tsrnn.backends.cuda.place import CARD
from tsrnn.backends.solvers import N_HYPER

ENOUGH_BLOCKS = 4 if SIMULATED else 4096  # as many fill any card


class Turn:
    """What differs from step to step lies on the card, at places of its own: so the launches of all steps are the same.

    Attributes
    ----------
    order, bounds, keys, hyper, losses
        Those of `contract.Steps`, on the card.
    clock : int64 of shape (2,)
        Number of the step that is under way, and 1 where a loss or gradient was not finite: then no step changes anything.
    """

    def __init__(self, n_samples: int, n_steps: int):
        self.order, self.bounds = CARD.zeros(n_samples, np.int64), CARD.zeros((n_steps, 2), np.int64)
        self.hyper, self.losses = CARD.zeros((n_steps, N_HYPER), np.float64), CARD.zeros((n_steps, 3), np.float64)
        self.clock, self.keys = CARD.zeros(2, np.int64), CARD.zeros((n_steps, 2), np.uint32)

    def fits(self, n_samples: int, n_steps: int) -> bool:
        return n_samples <= self.order.size and n_steps <= len(self.bounds)


class Launch(NamedTuple):
    kernel: object
    grid: tuple
    block: tuple
    args: tuple
    shared: int  # bytes of dynamic shared memory


class Recorder:
    """A batch of B samples on the card, and the launches that its operations ask for.

    Attributes
    ----------
    B, mode : int
    dtype : type
        np.float32 or np.float64.
    mem, indices, mask, theta, grads, data
        Flat arrays on the card, see the contract; `grads (P_dense,)`, written and not added to.
    samples : int64 of shape (B,)
        Numbers of the batch's samples.
    total : float64 of shape (1,)
        Sum of the batch's weights.
    hyper : float64 of shape (N_HYPER,)
    key : uint32 of shape (2,)
    sums : float64 of shape (2,)
        For the loss to write: sum of w l and of w [right] of the batch.
    turn : Turn
    replay : Replay
        Starts the launches.
    loss : host float64 array
        The plan's.
    """

    def __init__(self, plan, B, mode, data, params, scratch, turn):
        self.plan, self.B, self.mode, self.data, self.turn = plan, int(B), mode, data, turn
        self.mem, self.indices, self.mask = scratch
        self.theta, self.grads, self.dtype = params.theta, params.grads.reshape(params.grads.size), number_type(params.theta)
        self.loss, self.key = plan.loss, CARD.zeros(2, np.uint32)
        self.samples, self.total = CARD.zeros(B, np.int64), CARD.zeros(1, np.float64)
        self.hyper, self.sums = CARD.zeros(N_HYPER, np.float64), CARD.zeros(2, np.float64)
        self.launches: list[Launch] = []
        self.replay = Replay(self.launches)
        self._workspaces, self._taken = scratch.workspaces, 0

    def rows(self, row) -> int:
        """Rows that an operation sees: B * REPEAT."""
        return self.B * int(row[c.REPEAT])

    def at(self, unit) -> int:
        """Where a buffer with this unit offset begins."""
        return int(unit) * self.B

    def launch(self, kernel, grid, block, *args, shared=0) -> None:
        """Records a launch of `grid` blocks of `block` threads: ints or tuples, x first."""
        grid, block = (size if isinstance(size, tuple) else (size,) for size in (grid, block))
        if min(grid) > 0:
            allow_shared(kernel, args, shared)
            self.launches.append(Launch(kernel, grid, block, args, shared))

    def each(self, kernel, n: int, *args) -> None:
        """Records a launch of one thread for each of n elements: the kernel gets n as its first argument."""
        self.launch(kernel, -(-int(n) // THREADS), THREADS, int(n), *args)

    def each_step(self, kernel, steps: int, columns: int, *args) -> None:
        """Records a launch over a (steps, columns) buffer: the kernel gets these two as its first arguments.

        A thread has the column ``cuda.grid(1)`` and the steps ``range(cuda.blockIdx.y, steps, cuda.gridDim.y)``: what depends
        on the column alone, divisions above all, it does once.
        """
        wide = -(-int(columns) // THREADS)
        self.launch(kernel, (wide, min(int(steps), max(1, ENOUGH_BLOCKS // max(1, wide)))), THREADS, int(steps), int(columns),
                    *args)

    def workspace(self, shape, dtype):
        """An array that belongs to the operation until the next one: all operations of all recordings share them.

        The k-th array of an operation is never the same as its j-th.  See `operation_begins`.
        """
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self._taken == len(self._workspaces):
            self._workspaces.append(CARD.empty(0, np.uint8))
        if self._workspaces[self._taken].size < size:  # what was recorded before keeps the smaller one
            self._workspaces[self._taken] = CARD.empty(1 << (size - 1).bit_length(), np.uint8)
        found = self._workspaces[self._taken][:size].view(np.dtype(dtype)).reshape(shape)
        self._taken += 1
        return found

    def operation_begins(self) -> None:
        """All workspaces are free again."""
        self._taken = 0
