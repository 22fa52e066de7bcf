"""Dense, convolution, activation, dropout, merge, reshape."""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.numpy.randomness import bits, threshold


def activate(code, a):
    if code == c.TANH:
        return np.tanh(a)
    if code == c.RELU:
        return np.maximum(a, 0)
    if code == c.SIGMOID:
        return sigmoid(a)
    return a


def sigmoid(a):
    return np.exp(-np.logaddexp(0, -a))


def activation_slope(code, y):
    """Derivative of the activation, from its output."""
    if code == c.TANH:
        return 1 - y * y
    if code == c.RELU:
        return (y > 0).astype(y.dtype)
    if code == c.SIGMOID:
        return y * (1 - y)
    return np.ones_like(y)


def dense_forward(chunk, row, rate):
    shape = (row[c.F_IN], row[c.F_OUT])
    W, b = chunk.param(row, shape), chunk.param(row, shape[1:], shape[0] * shape[1])
    chunk.y(row)[...] = activate(row[c.ACT], chunk.x(row) @ W + b)


def dense_backward(chunk, row, rate):
    shape = (row[c.F_IN], row[c.F_OUT])
    da = chunk.y(row, c.DY) * activation_slope(row[c.ACT], chunk.y(row))
    chunk.param(row, shape, grad=True)[...] += np.einsum("tbf,tbk->fk", chunk.x(row), da)
    chunk.param(row, shape[1:], shape[0] * shape[1], grad=True)[...] += da.sum(axis=(0, 1))
    chunk.put_dx(row, da @ chunk.param(row, shape).T)


def _taps(row):
    """For each k of the kernel: the output steps that use it, and the input steps they read."""
    for k in range(row[c.KERNEL]):
        shift = k - row[c.PAD]
        first, stop = max(0, -shift), min(row[c.T_OUT], row[c.T_IN] - shift)
        if first < stop:
            yield k, slice(first, stop), slice(first + shift, stop + shift)


def conv_forward(chunk, row, rate):
    shape = (row[c.KERNEL], row[c.F_IN], row[c.F_OUT])
    W, b = chunk.param(row, shape), chunk.param(row, shape[2:], int(np.prod(shape)))
    x, y = chunk.x(row), chunk.y(row)
    y[...] = b
    for k, out, source in _taps(row):
        y[out] += x[source] @ W[k]
    y[...] = activate(row[c.ACT], y)
    if row[c.MASK_OUT] != c.NONE:  # "valid": real where every step under the kernel is
        mask, real = chunk.mask(row, c.MASK_OUT, c.T_OUT), chunk.mask(row)
        mask[...] = np.all([real[k:k + row[c.T_OUT]] for k in range(row[c.KERNEL])], axis=0)


def conv_backward(chunk, row, rate):
    shape = (row[c.KERNEL], row[c.F_IN], row[c.F_OUT])
    W, dW = chunk.param(row, shape), chunk.param(row, shape, grad=True)
    x, da = chunk.x(row), chunk.y(row, c.DY) * activation_slope(row[c.ACT], chunk.y(row))
    chunk.param(row, shape[2:], int(np.prod(shape)), grad=True)[...] += da.sum(axis=(0, 1))
    dx = np.zeros_like(x)
    for k, out, source in _taps(row):
        dW[k] += np.einsum("tbf,tbk->fk", x[source], da[out])
        dx[source] += da[out] @ W[k].T
    chunk.put_dx(row, dx)


def activation_forward(chunk, row, rate):
    chunk.y(row)[...] = activate(row[c.ACT], chunk.x(row))


def activation_backward(chunk, row, rate):
    if row[c.DX] != c.NONE:
        chunk.put_dx(row, chunk.y(row, c.DY) * activation_slope(row[c.ACT], chunk.y(row)))


def keep_scale(chunk, row, rate, shape, steps_share):
    """Dropout's factors 0 or 1 / (1 - rate) for a (T, rows, F) array; `steps_share`: the same for all steps."""
    steps, rows, features = shape
    samples, subs = np.tile(chunk.samples, row[c.REPEAT]), np.repeat(np.arange(row[c.REPEAT]), chunk.B)
    words = bits(chunk.batch.key, row[c.STREAM], samples, subs, features if steps_share else steps * features)
    words = words.reshape(rows, -1, features).transpose(1, 0, 2)
    dtype = chunk.scratch.mem.dtype.type
    return np.where(words >= threshold(rate), dtype(1 / (1 - rate)), dtype(0))


def dropout_forward(chunk, row, rate):
    x = chunk.x(row)
    chunk.y(row)[...] = x * keep_scale(chunk, row, rate, x.shape, row[c.OPTION])


def dropout_backward(chunk, row, rate):
    if row[c.DX] != c.NONE:
        dy = chunk.y(row, c.DY)
        chunk.put_dx(row, dy * keep_scale(chunk, row, rate, dy.shape, row[c.OPTION]))


def merge_forward(chunk, row, rate):
    first, second = chunk.x(row), chunk.x(row, c.X2)
    total = first * second if row[c.CODE] == c.MERGE_MUL else first + second
    chunk.y(row)[...] = total / 2 if row[c.CODE] == c.MERGE_AVE else total


def merge_backward(chunk, row, rate):
    dy = chunk.y(row, c.DY)
    first, second = chunk.x(row), chunk.x(row, c.X2)
    d_first, d_second = chunk.x(row, c.DX), chunk.x(row, c.DX2)
    if row[c.CODE] == c.MERGE_MUL:
        d_first[...], d_second[...] = dy * second, dy * first
    else:
        d_first[...] = d_second[...] = dy / 2 if row[c.CODE] == c.MERGE_AVE else dy


def _samples_first(values):
    return values.transpose(1, 0, 2).reshape(values.shape[1], -1)


def reshape_forward(chunk, row, rate):
    y = chunk.y(row)
    y[...] = _samples_first(chunk.x(row)).reshape(y.shape[1], y.shape[0], y.shape[2]).transpose(1, 0, 2)


def reshape_backward(chunk, row, rate):
    if row[c.DX] != c.NONE:
        x = chunk.x(row)
        dx = _samples_first(chunk.y(row, c.DY)).reshape(x.shape[1], x.shape[0], x.shape[2])
        chunk.put_dx(row, dx.transpose(1, 0, 2))


def clear_forward(chunk, row, rate):
    chunk.y(row)[...] = chunk.x(row) * chunk.mask(row)[:, :, None]


def clear_backward(chunk, row, rate):
    if row[c.DX] != c.NONE:
        chunk.put_dx(row, chunk.y(row, c.DY) * chunk.mask(row)[:, :, None])
