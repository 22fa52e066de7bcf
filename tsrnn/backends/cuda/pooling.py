"""Pooling over windows of steps and over the whole sequence, which is one window.

A block takes neighbouring columns (rows and features) of a window; long windows are cut into `PARTS` parts, one a row of
threads, which are combined in order.
"""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.jit import SIMULATED, THREADS, cuda, device, family
from tsrnn.backends.cuda.reductions import MAX_GRID_Y

LONG = 4 if SIMULATED else 64    # steps from which on a window is cut
PARTS = 2 if SIMULATED else 16  # of 32, float64 spills
LANES = 2 if SIMULATED else 32   # columns of a block where windows are cut


@device
def share(parts):
    """First and stop of a part of the steps of window t."""
    def function(t, size, T, part):
        first, stop = t * size, min((t + 1) * size, T)
        each = (stop - first + parts - 1) // parts
        return min(first + part * each, stop), min(first + (part + 1) * each, stop)
    return function


@family
def largest(dtype, parts, masked):
    zero, none, lanes, own = dtype(0), c.NONE, LANES, share(parts)

    def kernel(mem, indices, mask, T, windows, size, rows, F, x, y, real, winners):
        values = cuda.shared.array((parts, lanes), dtype)
        steps = cuda.shared.array((parts, lanes), np.int32)
        lane, part, columns = cuda.threadIdx.x, cuda.threadIdx.y, rows * F
        q = cuda.grid(1)
        r = q // F
        for t in range(cuda.blockIdx.y, windows, cuda.gridDim.y):
            first, stop = own(t, size, T, part)
            best, winner = zero, none
            if q < columns:
                for s in range(first, stop):
                    value = mem[x + s * columns + q]
                    if not masked or mask[real + s * rows + r] != 0:
                        if winner == none or value > best or (value != value and best == best):  # NaN wins
                            best, winner = value, s
            if parts > 1:
                values[part, lane], steps[part, lane] = best, winner
                cuda.syncthreads()
                if part == 0:
                    for other in range(1, parts):
                        value = values[other, lane]
                        if steps[other, lane] != none:
                            if winner == none or value > best or (value != value and best == best):
                                best, winner = value, np.int64(steps[other, lane])
                cuda.syncthreads()
            if part == 0 and q < columns:
                mem[y + t * columns + q] = best
                indices[winners + t * columns + q] = winner
    return kernel


@family
def give_winners(dtype, parts, add):
    zero, own = dtype(0), share(parts)

    def kernel(mem, indices, T, windows, size, columns, dy, dx, winners):
        q, part = cuda.grid(1), cuda.threadIdx.y
        if q < columns:
            for t in range(cuda.blockIdx.y, windows, cuda.gridDim.y):
                first, stop = own(t, size, T, part)
                winner, d = indices[winners + t * columns + q], mem[dy + t * columns + q]
                for s in range(first, stop):
                    i = dx + s * columns + q
                    if add:
                        if s == winner:
                            mem[i] += d
                    else:
                        mem[i] = d if s == winner else zero
                if t == windows - 1 and not add:
                    for s in range(windows * size + part, T, parts):  # steps behind the last window
                        mem[dx + s * columns + q] = zero
    return kernel


@device
def count_real(parts, masked):
    """How many of a thread's own steps are real."""
    def function(mask, real, rows, r, first, stop):
        count = stop - first
        if masked:
            count = 0
            for s in range(first, stop):
                if mask[real + s * rows + r] != 0:
                    count += 1
        return count
    return function


@family
def mean(dtype, parts, masked):
    zero, lanes, own = dtype(0), LANES, share(parts)

    def kernel(mem, mask, T, windows, size, rows, F, x, y, real):
        totals = cuda.shared.array((parts, lanes), dtype)
        counts = cuda.shared.array((parts, lanes), np.int32)
        lane, part, columns = cuda.threadIdx.x, cuda.threadIdx.y, rows * F
        q = cuda.grid(1)
        r = q // F
        for t in range(cuda.blockIdx.y, windows, cuda.gridDim.y):
            first, stop = own(t, size, T, part)
            total, count = zero, 0
            if q < columns:
                for s in range(first, stop):
                    value = mem[x + s * columns + q]
                    if not masked or mask[real + s * rows + r] != 0:
                        total += value
                        count += 1
            if parts > 1:
                totals[part, lane], counts[part, lane] = total, count
                cuda.syncthreads()
                if part == 0:
                    for other in range(1, parts):
                        total += totals[other, lane]
                        count += np.int64(counts[other, lane])
                cuda.syncthreads()
            if part == 0 and q < columns:
                mem[y + t * columns + q] = total / dtype(max(count, 1))
    return kernel


@family
def spread_mean(dtype, parts, masked, add):
    zero, lanes, own, counted = dtype(0), LANES, share(parts), count_real(parts, masked)

    def kernel(mem, mask, T, windows, size, rows, F, dy, dx, real):
        counts = cuda.shared.array((parts, lanes), np.int32)
        lane, part, columns = cuda.threadIdx.x, cuda.threadIdx.y, rows * F
        q = cuda.grid(1)
        r = min(q, columns - 1) // F
        for t in range(cuda.blockIdx.y, windows, cuda.gridDim.y):
            first, stop = own(t, size, T, part)
            count = counted(mask, real, rows, r, first, stop)
            if parts > 1:
                counts[part, lane] = count
                cuda.syncthreads()
                count = 0
                for other in range(parts):
                    count += np.int64(counts[other, lane])
                cuda.syncthreads()
            if q < columns:
                d = mem[dy + t * columns + q] / dtype(max(count, 1))
                for s in range(first, stop):
                    i = dx + s * columns + q
                    value = d if not masked or mask[real + s * rows + r] != 0 else zero
                    mem[i] = mem[i] + value if add else value
                if t == windows - 1 and not add:
                    for s in range(windows * size + part, T, parts):
                        mem[dx + s * columns + q] = zero
    return kernel


@family
def window_mask():
    """A window counts where all its steps are real; for a sample without such a window, the last one with a real step."""
    parts, lanes, none = PARTS, LANES, c.NONE

    def kernel(mask, T, windows, size, rows, real, out):
        found = cuda.shared.array((parts, lanes), np.int32)
        last = cuda.shared.array((parts, lanes), np.int32)
        lane, part, r = cuda.threadIdx.x, cuda.threadIdx.y, cuda.grid(1)
        some, whole = none, 0
        if r < rows:
            for t in range(part, windows, parts):
                first, stop = t * size, min((t + 1) * size, T)
                count = 0
                for s in range(first, stop):
                    if mask[real + s * rows + r] != 0:
                        count += 1
                full = 1 if count == stop - first else 0
                mask[out + t * rows + r] = full
                whole |= full
                some = t if count > 0 else some
        found[part, lane], last[part, lane] = whole, some
        cuda.syncthreads()
        if part == 0 and r < rows:
            for other in range(1, parts):
                whole |= found[other, lane]
                some = max(some, np.int64(last[other, lane]))
            if whole == 0 and some != none:
                mask[out + some * rows + r] = 1
    return kernel


class _Pool:
    """The windows of a plan's row, and how blocks share them."""

    def __init__(self, recorder, row):
        whole = row[c.OP] in (c.GLOBAL_MAX, c.GLOBAL_MEAN)
        self.recorder, self.row, self.masked = recorder, row, bool(row[c.MASK_IN] != c.NONE)
        self.T, self.windows, self.F = int(row[c.T_IN]), 1 if whole else int(row[c.T_OUT]), int(row[c.F_IN])
        self.size = self.T if whole else int(row[c.KERNEL])
        self.parts = PARTS if min(self.size, self.T) >= LONG else 1  # by the window alone: B must not change a prediction
        self.rows = recorder.rows(row)

    def launch(self, kernel, *args):
        block = (LANES, PARTS) if self.parts > 1 else (THREADS, 1)
        grid = -(-self.rows * self.F // block[0]), min(self.windows, MAX_GRID_Y)
        self.recorder.launch(kernel, grid, block, *args)

    def at(self, *columns):
        """Where the buffers begin; unused masks are at 0."""
        return [max(0, self.recorder.at(self.row[column])) for column in columns]

    def put_mask(self):
        if self.row[c.MASK_OUT] != c.NONE:
            self.recorder.launch(window_mask(), -(-self.rows // LANES), (LANES, PARTS), self.recorder.mask, self.T,
                                 self.windows, self.size, self.rows, *self.at(c.MASK_IN, c.MASK_OUT))


def max_forward(recorder, row, rate):
    """The winner is the first real step with the largest value."""
    pool = _Pool(recorder, row)
    pool.launch(largest(recorder.dtype, pool.parts, pool.masked), recorder.mem, recorder.indices, recorder.mask, pool.T,
                pool.windows, pool.size, pool.rows, pool.F, *pool.at(c.X, c.Y, c.MASK_IN, c.WORK))
    pool.put_mask()


def max_backward(recorder, row, rate):
    if row[c.DX] != c.NONE:
        pool = _Pool(recorder, row)
        pool.launch(give_winners(recorder.dtype, pool.parts, bool(row[c.ADD_DX])), recorder.mem, recorder.indices, pool.T,
                    pool.windows, pool.size, pool.rows * pool.F, *pool.at(c.DY, c.DX, c.WORK))


def average_forward(recorder, row, rate):
    pool = _Pool(recorder, row)
    pool.launch(mean(recorder.dtype, pool.parts, pool.masked), recorder.mem, recorder.mask, pool.T, pool.windows, pool.size,
                pool.rows, pool.F, *pool.at(c.X, c.Y, c.MASK_IN))
    pool.put_mask()


def average_backward(recorder, row, rate):
    if row[c.DX] != c.NONE:
        pool = _Pool(recorder, row)
        pool.launch(spread_mean(recorder.dtype, pool.parts, pool.masked, bool(row[c.ADD_DX])), recorder.mem, recorder.mask,
                    pool.T, pool.windows, pool.size, pool.rows, pool.F, *pool.at(c.DY, c.DX, c.MASK_IN))
