"""Pooling over windows of steps and over the whole sequence."""

from __future__ import annotations

from tsrnn.backends import contract as c
from tsrnn.backends.cpu.jit import inner


@inner
def _is_real(row, B, mask, q):
    return row[c.MASK_IN] == c.NONE or mask[row[c.MASK_IN] * B + q] != 0


@inner
def _window(row, t, whole):
    """First and stop of the input steps of output step t."""
    if whole:
        return 0, row[c.T_IN]
    return t * row[c.KERNEL], min((t + 1) * row[c.KERNEL], row[c.T_IN])


@inner
def max_forward(row, rate, chunk):
    """The winner is the first real step with the largest value."""
    B, mem, mask, indices = chunk.B, chunk.scratch.mem, chunk.scratch.mask, chunk.scratch.indices
    whole = row[c.OP] == c.GLOBAL_MAX
    n, F = B * row[c.REPEAT], row[c.F_IN]
    for t in range(row[c.T_OUT]):
        first, stop = _window(row, t, whole)
        for r in range(n):
            at, won = row[c.Y] * B + (t * n + r) * F, row[c.WORK] * B + (t * n + r) * F
            y, winner = mem[at:at + F], indices[won:won + F]
            y[:] = 0
            winner[:] = c.NONE
            for s in range(first, stop):
                if _is_real(row, B, mask, s * n + r):
                    source = row[c.X] * B + (s * n + r) * F
                    x = mem[source:source + F]
                    for j in range(F):
                        if winner[j] == c.NONE or x[j] > y[j] or (x[j] != x[j] and y[j] == y[j]):  # NaN wins
                            y[j] = x[j]
                            winner[j] = s
    if not whole:
        _window_mask(row, B, mask)


@inner
def max_backward(row, rate, chunk):
    B, mem, indices = chunk.B, chunk.scratch.mem, chunk.scratch.indices
    if row[c.DX] == c.NONE:
        return
    n, F = B * row[c.REPEAT], row[c.F_IN]
    mem[row[c.DX] * B:row[c.DX] * B + row[c.T_IN] * n * F] = 0
    for q in range(row[c.T_OUT] * n):
        for j in range(F):
            step = indices[row[c.WORK] * B + q * F + j]
            if step != c.NONE:
                mem[row[c.DX] * B + (step * n + q % n) * F + j] = mem[row[c.DY] * B + q * F + j]


@inner
def _window_mask(row, B, mask):
    """A window counts where all its steps are real; for a sample without such a window, the last one with a real step."""
    if row[c.MASK_OUT] == c.NONE:
        return
    n, out = B * row[c.REPEAT], row[c.MASK_OUT] * B
    for r in range(n):
        last, found = c.NONE, False
        for t in range(row[c.T_OUT]):
            first, stop = _window(row, t, False)
            count = 0
            for s in range(first, stop):
                count += mask[row[c.MASK_IN] * B + s * n + r] != 0
            mask[out + t * n + r] = count == stop - first
            found = found or count == stop - first
            last = t if count > 0 else last
        if last != c.NONE and not found:
            mask[out + last * n + r] = 1


@inner
def mean_forward(row, rate, chunk):
    B, mem, mask, whole = chunk.B, chunk.scratch.mem, chunk.scratch.mask, row[c.OP] == c.GLOBAL_MEAN
    n, F = B * row[c.REPEAT], row[c.F_IN]
    for t in range(row[c.T_OUT]):
        first, stop = _window(row, t, whole)
        for r in range(n):
            at, count = row[c.Y] * B + (t * n + r) * F, 0
            y = mem[at:at + F]
            y[:] = 0
            for s in range(first, stop):
                if _is_real(row, B, mask, s * n + r):
                    count += 1
                    source = row[c.X] * B + (s * n + r) * F
                    x = mem[source:source + F]
                    for j in range(F):
                        y[j] += x[j]
            scale = mem.dtype.type(1) / mem.dtype.type(max(count, 1))
            for j in range(F):
                y[j] *= scale
    if not whole:
        _window_mask(row, B, mask)


@inner
def mean_backward(row, rate, chunk):
    B, mem, mask, whole = chunk.B, chunk.scratch.mem, chunk.scratch.mask, row[c.OP] == c.GLOBAL_MEAN
    if row[c.DX] == c.NONE:
        return
    n, F = B * row[c.REPEAT], row[c.F_IN]
    mem[row[c.DX] * B:row[c.DX] * B + row[c.T_IN] * n * F] = 0
    for t in range(row[c.T_OUT]):
        first, stop = _window(row, t, whole)
        for r in range(n):
            count = 0
            for s in range(first, stop):
                count += _is_real(row, B, mask, s * n + r)
            scale = mem.dtype.type(1) / mem.dtype.type(max(count, 1))
            source = row[c.DY] * B + (t * n + r) * F
            dy = mem[source:source + F]
            for s in range(first, stop):
                if _is_real(row, B, mask, s * n + r):
                    target = row[c.DX] * B + (s * n + r) * F
                    dx = mem[target:target + F]
                    for j in range(F):
                        dx[j] = dy[j] * scale
