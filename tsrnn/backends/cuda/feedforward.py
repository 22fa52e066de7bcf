"""Dense, convolution, activation, merge, reshape."""

from __future__ import annotations

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.activations import activation, slope
from tsrnn.backends.cuda.jit import cuda, family


def merge_forward(recorder, row, rate):
    raise NotImplementedError


def merge_backward(recorder, row, rate):
    raise NotImplementedError


def dense_forward(recorder, row, rate):
    raise NotImplementedError


def dense_backward(recorder, row, rate):
    raise NotImplementedError


def conv_forward(recorder, row, rate):
    raise NotImplementedError


def conv_backward(recorder, row, rate):
    raise NotImplementedError


def reshape_forward(recorder, row, rate):
    raise NotImplementedError


def reshape_backward(recorder, row, rate):
    raise NotImplementedError


def clear_forward(recorder, row, rate):
    raise NotImplementedError


def clear_backward(recorder, row, rate):
    raise NotImplementedError


@family
def activate(dtype, code):
    act = activation(dtype, code)

    def kernel(n, mem, x, y):
        i = cuda.grid(1)
        if i < n:
            mem[y + i] = act(mem[x + i])
    return kernel


def activation_forward(recorder, row, rate):
    n = row[c.T_IN] * recorder.rows(row) * row[c.F_IN]
    recorder.each(activate(recorder.dtype, int(row[c.ACT])), n, recorder.mem, recorder.at(row[c.X]), recorder.at(row[c.Y]))


@family
def activate_backward(dtype, code, add):
    derivative = slope(dtype, code)

    def kernel(n, mem, y, dy, dx):
        i = cuda.grid(1)
        if i < n:
            d = mem[dy + i] * derivative(mem[y + i])
            mem[dx + i] = mem[dx + i] + d if add else d
    return kernel


def activation_backward(recorder, row, rate):
    if row[c.DX] != c.NONE:
        n = row[c.T_IN] * recorder.rows(row) * row[c.F_IN]
        recorder.each(activate_backward(recorder.dtype, int(row[c.ACT]), bool(row[c.ADD_DX])), n, recorder.mem,
                      recorder.at(row[c.Y]), recorder.at(row[c.DY]), recorder.at(row[c.DX]))
