"""Pooling over windows of steps and over the whole sequence."""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c


def _windows(row):
    """Input steps of each output step; the only window of a sequence shorter than the kernel is short."""
    for t in range(row[c.T_OUT]):
        yield t, slice(t * row[c.KERNEL], min((t + 1) * row[c.KERNEL], row[c.T_IN]))


def _real(chunk, row):
    mask = chunk.mask(row)
    return np.ones((row[c.T_IN], chunk.rows(row)), np.bool_) if mask is None else mask


def _put_mask(chunk, row, real):
    """A window counts where all its steps are real; for a sample without such a window, the last one with a real step."""
    mask = chunk.mask(row, c.MASK_OUT, c.T_OUT)
    if mask is not None:
        some = np.array([real[window].any(axis=0) for _, window in _windows(row)])
        mask[...] = [real[window].all(axis=0) for _, window in _windows(row)]
        last = len(some) - 1 - some[::-1].argmax(axis=0)
        short = ~mask.any(axis=0) & some.any(axis=0)
        mask[last[short], np.flatnonzero(short)] = True


def _winner(x, real):
    """First real step with the largest value, NONE where no step is real; and that value (0 there)."""
    steps = np.where(real[:, :, None], x, -np.inf).argmax(axis=0)
    value = np.take_along_axis(x, steps[None], axis=0)[0]
    some = real.any(axis=0)[:, None]
    return np.where(some, steps, c.NONE), np.where(some, value, 0)


def max_forward(chunk, row, rate):
    x, y, real = chunk.x(row), chunk.y(row), _real(chunk, row)
    winners = chunk.winners(row, *y.shape)
    for t, window in _windows(row):
        steps, y[t] = _winner(x[window], real[window])
        winners[t] = np.where(steps == c.NONE, c.NONE, steps + window.start)
    _put_mask(chunk, row, real)


def max_backward(chunk, row, rate):
    if row[c.DX] == c.NONE:
        return
    dy = chunk.y(row, c.DY)
    winners = chunk.winners(row, *dy.shape)
    steps = np.arange(row[c.T_IN])[:, None, None]
    dx = np.zeros_like(chunk.x(row))
    for t, _ in _windows(row):
        dx += (winners[t][None] == steps) * dy[t]
    chunk.put_dx(row, dx)


def average_forward(chunk, row, rate):
    x, y, real = chunk.x(row), chunk.y(row), _real(chunk, row)
    for t, window in _windows(row):
        y[t] = _mean(x[window], real[window])
    _put_mask(chunk, row, real)


def _mean(x, real):
    count = np.maximum(real.sum(axis=0), 1)[:, None]
    return (x * real[:, :, None]).sum(axis=0) / count


def average_backward(chunk, row, rate):
    dy, real = chunk.y(row, c.DY), _real(chunk, row)
    dx = np.zeros_like(chunk.x(row))
    for t, window in _windows(row):
        dx[window] = _spread(dy[t], real[window])
    chunk.put_dx(row, dx)


def _spread(dy, real):
    count = np.maximum(real.sum(axis=0), 1)[:, None]
    return real[:, :, None] * (dy / count)


def global_max_forward(chunk, row, rate):
    y = chunk.y(row)[0]
    chunk.winners(row, *y.shape)[...], y[...] = _winner(chunk.x(row), _real(chunk, row))


def global_max_backward(chunk, row, rate):
    dy = chunk.y(row, c.DY)[0]
    steps = np.arange(row[c.T_IN])[:, None, None]
    chunk.put_dx(row, (chunk.winners(row, *dy.shape)[None] == steps) * dy)


def global_mean_forward(chunk, row, rate):
    chunk.y(row)[0] = _mean(chunk.x(row), _real(chunk, row))


def global_mean_backward(chunk, row, rate):
    chunk.put_dx(row, _spread(chunk.y(row, c.DY)[0], _real(chunk, row)))
