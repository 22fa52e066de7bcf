"""Dense, convolution, activation, merge, reshape."""

from __future__ import annotations

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.activations import activation, slope
from tsrnn.backends.cuda.jit import cuda, family
from tsrnn.backends.cuda.products import Matrix, Taps, nn, nt, tn


def merge_forward(recorder, row, rate):
    raise NotImplementedError


def merge_backward(recorder, row, rate):
    raise NotImplementedError


def _dense(recorder, row):
    """X, W and Y of the row, as matrices, and their sizes."""
    F, O = int(row[c.F_IN]), int(row[c.F_OUT])
    return (Matrix(recorder.mem, recorder.at(row[c.X]), F), Matrix(recorder.theta, int(row[c.PARAM]), O),
            Matrix(recorder.mem, recorder.at(row[c.Y]), O), (int(row[c.T_OUT]) * recorder.rows(row), F, O))


def _da(recorder, row):
    """DY becomes the gradient before the activation: nothing else needs it."""
    O, act, dy = int(row[c.F_OUT]), int(row[c.ACT]), recorder.at(row[c.DY])
    if act != c.LINEAR:
        recorder.each(activate_backward(recorder.dtype, act, False), row[c.T_OUT] * recorder.rows(row) * O, recorder.mem,
                      recorder.at(row[c.Y]), dy, dy)
    return Matrix(recorder.mem, dy, O)


def dense_forward(recorder, row, rate):
    X, W, Y, (M, F, O) = _dense(recorder, row)
    nn(recorder, X, W, Y, M, F, O, biases=(W.at + F * O,), act=int(row[c.ACT]))


def dense_backward(recorder, row, rate):
    X, W, _, (M, F, O) = _dense(recorder, row)
    DY = _da(recorder, row)
    tn(recorder, X, DY, W._replace(array=recorder.grads), M, F, O, biases=(W.at + F * O,))
    if row[c.DX] != c.NONE:
        nt(recorder, DY, W, X._replace(at=recorder.at(row[c.DX])), M, O, F, add=bool(row[c.ADD_DX]))


@family
def all_real(width):
    """A step behind a "valid" convolution is real where all the steps are that it sees."""
    def kernel(n, rows, mask, source, target):
        i = cuda.grid(1)
        if i < n:
            real = mask[source + i]
            for k in range(1, width):
                real &= mask[source + i + k * rows]
            mask[target + i] = real
    return kernel


def conv_forward(recorder, row, rate):
    X, W, Y, (M, C, O) = _dense(recorder, row)
    K, rows = int(row[c.KERNEL]), recorder.rows(row)
    taps = Taps(K, -int(row[c.PAD]) * rows, rows, int(row[c.T_IN]) * rows)
    nn(recorder, X, W, Y, M, C, O, biases=(W.at + K * C * O,), act=int(row[c.ACT]), taps=taps)
    if row[c.MASK_OUT] != c.NONE:
        recorder.each(all_real(K), M, rows, recorder.mask, recorder.at(row[c.MASK_IN]), recorder.at(row[c.MASK_OUT]))


def conv_backward(recorder, row, rate):
    X, W, _, (M, C, O) = _dense(recorder, row)
    K, rows = int(row[c.KERNEL]), recorder.rows(row)
    M_in, shift, DY = int(row[c.T_IN]) * rows, int(row[c.PAD]) * rows, _da(recorder, row)
    tn(recorder, X, DY, W._replace(array=recorder.grads), M, C, O, biases=(W.at + K * C * O,), taps=Taps(K, -shift, rows, M_in))
    if row[c.DX] != c.NONE:
        nt(recorder, DY, W, X._replace(at=recorder.at(row[c.DX])), M_in, O, C, add=bool(row[c.ADD_DX]),
           taps=Taps(K, shift, -rows, M))


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
