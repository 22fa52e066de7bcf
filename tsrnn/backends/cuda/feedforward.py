"""Dense, convolution, activation, merge, reshape."""

from __future__ import annotations

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.activations import activation, slope
from tsrnn.backends.cuda.jit import cuda, family
from tsrnn.backends.cuda.products import Matrix, Taps, nn, nt, tn


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
