"""Dense, convolution, activation, merge, reshape, clear."""

from __future__ import annotations

from tsrnn.backends import contract as c
from tsrnn.backends.cpu.activations import fma, sigmoid, tanh
from tsrnn.backends.cpu.calls import column_sums, matmul, matmul_tn
from tsrnn.backends.cpu.jit import inner, jit
from tsrnn.backends.cpu.microkernels import packed_size


@jit
def activate(act, a):
    """In place."""
    if act == c.TANH:
        for j in range(a.size):
            a[j] = tanh(a[j])
    elif act == c.RELU:
        zero = a.dtype.type(0)
        for j in range(a.size):
            a[j] = zero if a[j] < zero else a[j]  # NaN stays
    elif act == c.SIGMOID:
        for j in range(a.size):
            a[j] = sigmoid(a[j])


@inner
def activate_backward(act, y, dy):
    """``dy *= act'``, from the activation's output y."""
    one, zero = y.dtype.type(1), y.dtype.type(0)
    if act == c.TANH:
        for j in range(y.size):
            dy[j] *= fma(-y[j], y[j], one)
    elif act == c.RELU:
        for j in range(y.size):
            dy[j] = dy[j] if y[j] > zero else zero
    elif act == c.SIGMOID:
        for j in range(y.size):
            dy[j] *= y[j] * (one - y[j])


@inner
def span(mem, unit, B, size):
    """The buffer at a unit offset."""
    return mem[unit * B:unit * B + size]


@inner
def fill_rows(mem, at, ld, rows, source, first, width):
    """Every row of mem becomes ``source[first:first + width]``."""
    values = source[first:first + width]
    for r in range(rows):
        target = mem[at + r * ld:at + r * ld + width]
        for j in range(width):
            target[j] = values[j]


@inner
def dense_forward(row, rate, chunk):
    B, mem, theta, packed = chunk.B, chunk.scratch.mem, chunk.params.theta, chunk.params.packed
    F, O = row[c.F_IN], row[c.F_OUT]
    rows = row[c.T_IN] * B * row[c.REPEAT]
    y = row[c.Y] * B
    fill_rows(mem, y, O, rows, theta, row[c.PARAM] + F * O, O)
    matmul(row, mem, row[c.X] * B, F, packed, row[c.PACK], F, O, mem, y, O, rows)
    activate(row[c.ACT], mem[y:y + rows * O])


@inner
def dense_backward(row, rate, chunk):
    B, mem, packed, grads = chunk.B, chunk.scratch.mem, chunk.params.packed, chunk.grads
    F, O = row[c.F_IN], row[c.F_OUT]
    rows = row[c.T_IN] * B * row[c.REPEAT]
    x, dy, param = row[c.X] * B, row[c.DY] * B, row[c.PARAM]
    activate_backward(row[c.ACT], span(mem, row[c.Y], B, rows * O), mem[dy:dy + rows * O])
    matmul_tn(row, mem, x, F, mem, dy, O, grads, param, O, F, O, rows)
    column_sums(row, mem, dy, O, grads, param + F * O, O, rows)
    if row[c.DX] != c.NONE:
        dx = row[c.DX] * B
        mem[dx:dx + rows * F] = 0
        matmul(row, mem, dy, O, packed, row[c.PACK] + packed_size(F, O, mem.itemsize), O, F, mem, dx, F, rows)


@inner
def _tap(row, k):
    """First and stop of the output steps that tap k reaches, and how far behind its input steps are."""
    shift = k - row[c.PAD]
    return max(0, -shift), min(row[c.T_OUT], row[c.T_IN] - shift), shift


@inner
def conv_forward(row, rate, chunk):
    B, mem, mask, theta, packed = chunk.B, chunk.scratch.mem, chunk.scratch.mask, chunk.params.theta, chunk.params.packed
    C, O, K, n = row[c.F_IN], row[c.F_OUT], row[c.KERNEL], B * row[c.REPEAT]
    x, y, rows = row[c.X] * B, row[c.Y] * B, row[c.T_OUT] * B * row[c.REPEAT]
    fill_rows(mem, y, O, rows, theta, row[c.PARAM] + K * C * O, O)
    for k in range(K):
        first, stop, shift = _tap(row, k)
        if first < stop:
            matmul(row, mem, x + (first + shift) * n * C, C, packed, row[c.PACK] + k * packed_size(C, O, mem.itemsize), C, O,
                   mem, y + first * n * O, O, (stop - first) * n)
    activate(row[c.ACT], mem[y:y + rows * O])
    if row[c.MASK_OUT] != c.NONE:
        for q in range(rows):
            real = True
            for k in range(K):
                real = real and mask[row[c.MASK_IN] * B + q + k * n] != 0
            mask[row[c.MASK_OUT] * B + q] = real


@inner
def conv_backward(row, rate, chunk):
    B, mem, packed, grads = chunk.B, chunk.scratch.mem, chunk.params.packed, chunk.grads
    C, O, K, n = row[c.F_IN], row[c.F_OUT], row[c.KERNEL], B * row[c.REPEAT]
    x, dy, rows = row[c.X] * B, row[c.DY] * B, row[c.T_OUT] * B * row[c.REPEAT]
    activate_backward(row[c.ACT], span(mem, row[c.Y], B, rows * O), mem[dy:dy + rows * O])
    column_sums(row, mem, dy, O, grads, row[c.PARAM] + K * C * O, O, rows)
    dx = row[c.DX] * B
    if row[c.DX] != c.NONE:
        mem[dx:dx + row[c.T_IN] * n * C] = 0
    transposed = row[c.PACK] + K * packed_size(C, O, mem.itemsize)
    for k in range(K):
        first, stop, shift = _tap(row, k)
        if first >= stop:
            continue
        source, target, count = (first + shift) * n * C, dy + first * n * O, (stop - first) * n
        matmul_tn(row, mem, x + source, C, mem, target, O, grads, row[c.PARAM] + k * C * O, O, C, O, count)
        if row[c.DX] != c.NONE:
            packed_tap = transposed + k * packed_size(O, C, mem.itemsize)
            matmul(row, mem, target, O, packed, packed_tap, O, C, mem, dx + source, C, count)


@inner
def activation_forward(row, rate, chunk):
    B, mem = chunk.B, chunk.scratch.mem
    size = row[c.T_IN] * row[c.F_IN] * B * row[c.REPEAT]
    y = span(mem, row[c.Y], B, size)
    y[:] = span(mem, row[c.X], B, size)
    activate(row[c.ACT], y)


@inner
def activation_backward(row, rate, chunk):
    B, mem = chunk.B, chunk.scratch.mem
    if row[c.DX] == c.NONE:
        return
    size = row[c.T_IN] * row[c.F_IN] * B * row[c.REPEAT]
    dx = span(mem, row[c.DX], B, size)
    dx[:] = span(mem, row[c.DY], B, size)
    activate_backward(row[c.ACT], span(mem, row[c.Y], B, size), dx)


@inner
def merge_forward(row, rate, chunk):
    B, mem = chunk.B, chunk.scratch.mem
    size = row[c.T_IN] * row[c.F_IN] * B * row[c.REPEAT]
    y, first, second = span(mem, row[c.Y], B, size), span(mem, row[c.X], B, size), span(mem, row[c.X2], B, size)
    half = mem.dtype.type(0.5)
    if row[c.CODE] == c.MERGE_MUL:
        for j in range(size):
            y[j] = first[j] * second[j]
    elif row[c.CODE] == c.MERGE_SUM:
        for j in range(size):
            y[j] = first[j] + second[j]
    else:
        for j in range(size):
            y[j] = (first[j] + second[j]) * half


@inner
def merge_backward(row, rate, chunk):
    B, mem = chunk.B, chunk.scratch.mem
    size = row[c.T_IN] * row[c.F_IN] * B * row[c.REPEAT]
    dy, d_first, d_second = span(mem, row[c.DY], B, size), span(mem, row[c.DX], B, size), span(mem, row[c.DX2], B, size)
    if row[c.CODE] == c.MERGE_MUL:
        first, second = span(mem, row[c.X], B, size), span(mem, row[c.X2], B, size)
        for j in range(size):
            d_first[j] = dy[j] * second[j]
        for j in range(size):
            d_second[j] = dy[j] * first[j]
    else:
        scale = mem.dtype.type(1) if row[c.CODE] == c.MERGE_SUM else mem.dtype.type(0.5)
        for j in range(size):
            d_first[j] = dy[j] * scale
        for j in range(size):
            d_second[j] = dy[j] * scale


@inner
def _reshape(mem, x, T_in, F_in, y, T_out, F_out, rows):
    """Each sample's values in order, time first: runs of the features that stay together are copied at once."""
    run = F_in if F_out % F_in == 0 else F_out if F_in % F_out == 0 else 1
    for q in range(0, T_in * F_in, run):
        t_in, f_in, t_out, f_out = q // F_in, q % F_in, q // F_out, q % F_out
        for r in range(rows):
            source, target = x + (t_in * rows + r) * F_in + f_in, y + (t_out * rows + r) * F_out + f_out
            mem[target:target + run] = mem[source:source + run]


@inner
def reshape_forward(row, rate, chunk):
    B, mem = chunk.B, chunk.scratch.mem
    _reshape(mem, row[c.X] * B, row[c.T_IN], row[c.F_IN], row[c.Y] * B, row[c.T_OUT], row[c.F_OUT], B * row[c.REPEAT])


@inner
def reshape_backward(row, rate, chunk):
    B, mem = chunk.B, chunk.scratch.mem
    if row[c.DX] != c.NONE:
        _reshape(mem, row[c.DY] * B, row[c.T_OUT], row[c.F_OUT], row[c.DX] * B, row[c.T_IN], row[c.F_IN],
                 B * row[c.REPEAT])


@inner
def clear(mem, mask, source, target, rows, F):
    """``target = source`` where the step is real, else 0."""
    for r in range(rows):
        values, out = mem[source + r * F:source + (r + 1) * F], mem[target + r * F:target + (r + 1) * F]
        if mask[r]:
            out[:] = values
        else:
            out[:] = 0


@inner
def clear_forward(row, rate, chunk):
    B, mem, mask = chunk.B, chunk.scratch.mem, chunk.scratch.mask
    rows = row[c.T_IN] * B * row[c.REPEAT]
    clear(mem, mask[row[c.MASK_IN] * B:], row[c.X] * B, row[c.Y] * B, rows, row[c.F_IN])


@inner
def clear_backward(row, rate, chunk):
    B, mem, mask = chunk.B, chunk.scratch.mem, chunk.scratch.mask
    if row[c.DX] != c.NONE:
        rows = row[c.T_IN] * B * row[c.REPEAT]
        clear(mem, mask[row[c.MASK_IN] * B:], row[c.DY] * B, row[c.DX] * B, rows, row[c.F_IN])
