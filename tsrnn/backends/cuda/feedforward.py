"""Dense, convolution, activation, merge, reshape."""

from __future__ import annotations

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.activations import activation, slope
from tsrnn.backends.cuda.jit import cuda, family


@family
def merge(dtype, code):
    half = dtype(0.5)

    def kernel(n, mem, x, x2, y):
        i = cuda.grid(1)
        if i < n:
            first, second = mem[x + i], mem[x2 + i]
            if code == c.MERGE_MUL:
                mem[y + i] = first * second
            elif code == c.MERGE_AVE:
                mem[y + i] = (first + second) * half
            else:
                mem[y + i] = first + second
    return kernel


@family
def merge_gradient(dtype, code):
    half = dtype(0.5)

    def kernel(n, mem, x, x2, dy, dx, dx2):
        i = cuda.grid(1)
        if i < n:
            d = mem[dy + i]
            if code == c.MERGE_MUL:
                first, second = mem[x + i], mem[x2 + i]
                mem[dx + i] = d * second
                mem[dx2 + i] = d * first
            else:
                share = d * half if code == c.MERGE_AVE else d
                mem[dx + i] = share
                mem[dx2 + i] = share
    return kernel


def merge_forward(recorder, row, rate):
    n = row[c.T_IN] * recorder.rows(row) * row[c.F_IN]
    recorder.each(merge(recorder.dtype, int(row[c.CODE])), n, recorder.mem,
                  *(recorder.at(row[column]) for column in (c.X, c.X2, c.Y)))


def merge_backward(recorder, row, rate):
    n = row[c.T_IN] * recorder.rows(row) * row[c.F_IN]
    recorder.each(merge_gradient(recorder.dtype, int(row[c.CODE])), n, recorder.mem,
                  *(recorder.at(row[column]) for column in (c.X, c.X2, c.DY, c.DX, c.DX2)))


def dense_forward(recorder, row, rate):
    raise NotImplementedError


def dense_backward(recorder, row, rate):
    raise NotImplementedError


def conv_forward(recorder, row, rate):
    raise NotImplementedError


def conv_backward(recorder, row, rate):
    raise NotImplementedError


@family
def reorder(dtype, add):
    """``(T_from, B, F_from) -> (steps, B, F)``: every sample's values in order, time first."""
    def kernel(steps, columns, mem, rows, F, F_from, source, target):
        q = cuda.grid(1)
        if q < columns:
            row = q // F
            feature = q - row * F
            for t in range(cuda.blockIdx.y, steps, cuda.gridDim.y):
                position = t * F + feature
                step = position // F_from
                value = mem[source + (step * rows + row) * F_from + position - step * F_from]
                i = target + t * columns + q
                mem[i] = mem[i] + value if add else value
    return kernel


def reshape_forward(recorder, row, rate):
    rows, F = recorder.rows(row), int(row[c.F_OUT])
    recorder.each_step(reorder(recorder.dtype, False), row[c.T_OUT], rows * F, recorder.mem, rows, F, int(row[c.F_IN]),
                       recorder.at(row[c.X]), recorder.at(row[c.Y]))


def reshape_backward(recorder, row, rate):
    if row[c.DX] != c.NONE:
        rows, F = recorder.rows(row), int(row[c.F_IN])
        recorder.each_step(reorder(recorder.dtype, bool(row[c.ADD_DX])), row[c.T_IN], rows * F, recorder.mem, rows, F,
                           int(row[c.F_OUT]), recorder.at(row[c.DY]), recorder.at(row[c.DX]))


@family
def clear(dtype, add):
    zero = dtype(0)

    def kernel(steps, columns, mem, mask, rows, F, source, target, real):
        q = cuda.grid(1)
        if q < columns:
            row = q // F
            for t in range(cuda.blockIdx.y, steps, cuda.gridDim.y):
                i = t * columns + q
                value = mem[source + i] if mask[real + t * rows + row] != 0 else zero
                mem[target + i] = mem[target + i] + value if add else value
    return kernel


def _clear(recorder, row, source, target, add):
    rows, F = recorder.rows(row), int(row[c.F_IN])
    recorder.each_step(clear(recorder.dtype, add), row[c.T_IN], rows * F, recorder.mem, recorder.mask, rows, F,
                       recorder.at(row[source]), recorder.at(row[target]), recorder.at(row[c.MASK_IN]))


def clear_forward(recorder, row, rate):
    _clear(recorder, row, c.X, c.Y, False)


def clear_backward(recorder, row, rate):
    if row[c.DX] != c.NONE:
        _clear(recorder, row, c.DY, c.DX, bool(row[c.ADD_DX]))


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
