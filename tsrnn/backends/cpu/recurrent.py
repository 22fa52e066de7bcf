"""One direction of a recurrent layer: the time loop that all cells share.

Products that need no recurrence (x W_ih, the weight gradients, dx) are taken over slices of several steps that stay in the
second-level cache; the slices depend on shapes only, so sums keep one order.

Padding is left out where that changes nothing: rows behind the last one that is real at a step (samples of like length lie
together, the longest first), and without a mask the steps at which all rows of a chunk have seen the same tokens so far.
"""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cpu import gru, lstm, rnn
from tsrnn.backends.cpu.dropout import keep_scale, row_key
from tsrnn.backends.cpu.feedforward import fill_rows
from tsrnn.backends.cpu.inputs import n_tokens
from tsrnn.backends.cpu.jit import jit
from tsrnn.backends.cpu.microkernels import column_sums, matmul, matmul_tn
from tsrnn.backends.cpu.packing import gates, recurrent_offsets

SLICE_BYTES = 1 << 18

lstm_forward, lstm_backward = lstm.forward, lstm.backward
gru_forward, gru_backward = gru.forward, gru.backward
rnn_forward, rnn_backward = rnn.forward, rnn.backward


@jit
def _slice_steps(row, n, itemsize):
    """Steps whose gates fit into a slice."""
    G, shared = gates(row[c.CODE])
    return min(max(1, SLICE_BYTES // (n * (2 * G - shared) * row[c.F_OUT] * itemsize)), row[c.T_IN])


@jit
def _project(row, mem, packed, x, z, rows):
    """x parts (and all biases) of the gates for `rows` rows of X at `x`, to `z`."""
    F, H = row[c.F_IN], row[c.F_OUT]
    G, shared = gates(row[c.CODE])
    bias, ih, ih_apart = recurrent_offsets(row, mem.itemsize)[:3]
    width = (2 * G - shared) * H
    fill_rows(mem, z, width, rows, packed, bias, width)
    matmul(mem, x, F, packed, ih, F, shared * H, mem, z, width, rows)
    if G > shared:
        matmul(mem, x, F, packed, ih_apart, F, (G - shared) * H, mem, z + G * H, width, rows)


@jit
def _same_steps(row, B, indices):
    """Steps from the first on at which all rows have the same tokens, and so the same state: the padding in front."""
    if row[c.SLOTS] == c.NONE or row[c.REVERSE] or row[c.H_DROP] != c.NONE or row[c.MASK_IN] != c.NONE or row[c.OPTION]:
        return 0
    for t in range(row[c.T_IN]):
        at = (row[c.SLOTS] + t) * B
        for b in range(1, B):
            if indices[at + b] != indices[at]:
                return t
    return row[c.T_IN]


@jit
def _active_rows(row, n, B, t, same, mask):
    """Rows of step t that something has to be computed for: those behind them are masked, or as the first."""
    if t < same:
        return 1
    if row[c.MASK_IN] != c.NONE:
        at = row[c.MASK_IN] * B + t * n
        while n and not mask[at + n - 1]:
            n -= 1
    return n


@jit
def _is_padding(row, n, B, first, steps, mask):
    """Whether all rows are masked at `steps` steps from `first` on."""
    if row[c.MASK_IN] == c.NONE:
        return False
    at = row[c.MASK_IN] * B + first * n
    for i in range(at, at + steps * n):
        if mask[i]:
            return False
    return True


@jit
def _gather(row, B, t, active, width, mem, indices):
    """x parts of step t from those of the distinct tokens."""
    for b in range(active):
        token = np.int64(indices[(row[c.SLOTS] + t) * B + b])
        _copy(mem, row[c.TABLE] * B + token * width, row[c.WORK] * B + (t * B + b) * width, width)


@jit
def _cell_forward(row, mem, z, h_before, h_now, c_before, c_now, width):
    """One sample's step; all places are offsets in mem."""
    H = row[c.F_OUT]
    work, h = mem[z:z + width], mem[h_now:h_now + H]
    if row[c.CODE] == c.LSTM:
        lstm_forward(work, mem[c_before:c_before + H], mem[c_now:c_now + H], h)
    elif row[c.CODE] == c.GRU:
        gru_forward(work, mem[h_before:h_before + H], h)
    else:
        rnn_forward(row[c.ACT], work, h)


@jit
def _copy(mem, source, target, size):
    a, b = mem[source:source + size], mem[target:target + size]
    for j in range(size):
        b[j] = a[j]


@jit
def _fill_zero(mem, at, size):
    a = mem[at:at + size]
    for j in range(size):
        a[j] = 0


@jit
def _start_state(row, B, mem):
    n, H = B * row[c.REPEAT], row[c.F_OUT]
    first = row[c.T_IN] + 1 if row[c.REVERSE] else 0
    for b in range(n):
        _fill_zero(mem, row[c.H_SEQ] * B + (first * n + b) * row[c.LD] + row[c.COL], H)
        if row[c.CODE] == c.LSTM:
            _fill_zero(mem, row[c.C_SEQ] * B + (first * n + b) * H, H)


@jit
def _recurrent_mask(row, rate, chunk):
    """The mask of recurrent dropout, (rows, H), behind the last step of H_DROP; returns where it is."""
    B, samples, key, mem = chunk.B, chunk.samples, chunk.key, chunk.scratch.mem
    n, H = B * row[c.REPEAT], row[c.F_OUT]
    at = row[c.H_DROP] * B + row[c.T_IN] * n * H
    for b in range(n):
        k = row_key(key, row[c.STREAM], samples[b % B], b // B)
        keep_scale(k, key[1], 0, rate, mem[at + b * H:at + (b + 1) * H])
    return at


@jit
def _drop(mem, source, ld, scale, target, n, H):
    """``target = source * scale`` for n rows."""
    for b in range(n):
        x, s = mem[source + b * ld:source + b * ld + H], mem[scale + b * H:scale + (b + 1) * H]
        y = mem[target + b * H:target + (b + 1) * H]
        for j in range(H):
            y[j] = x[j] * s[j]


@jit
def forward(row, rate, chunk):
    B, mem, mask, packed = chunk.B, chunk.scratch.mem, chunk.scratch.mask, chunk.params.packed
    n, T, H, ld = B * row[c.REPEAT], row[c.T_IN], row[c.F_OUT], row[c.LD]
    G, shared = gates(row[c.CODE])
    width = (2 * G - shared) * H
    hh = recurrent_offsets(row, mem.itemsize)[3]
    h_seq, c_seq, reverse = row[c.H_SEQ] * B + row[c.COL], row[c.C_SEQ] * B, row[c.REVERSE] != 0
    if not row[c.OPTION]:
        _start_state(row, B, mem)
    drop = _recurrent_mask(row, rate, chunk) if row[c.H_DROP] != c.NONE else c.NONE
    steps, has_tokens, indices = _slice_steps(row, n, mem.itemsize), row[c.SLOTS] != c.NONE, chunk.scratch.indices
    same = _same_steps(row, B, indices)
    if has_tokens:
        _project(row, mem, packed, row[c.X] * B, row[c.TABLE] * B, n_tokens(row[c.SLOTS], T, B, indices))
    for s in range(T):
        t = T - 1 - s if reverse else s
        active = _active_rows(row, n, B, t, same, mask)
        if has_tokens:
            _gather(row, B, t, active, width, mem, indices)
        elif s % steps == 0:
            count = min(steps, T - s)
            first = T - s - count if reverse else s
            if not _is_padding(row, n, B, first, count, mask):
                _project(row, mem, packed, row[c.X] * B + first * n * row[c.F_IN], row[c.WORK] * B + first * n * width,
                         count * n)
        before, now = (t + 2 if reverse else t), t + 1
        z, h_before, h_ld = row[c.WORK] * B + t * n * width, h_seq + before * n * ld, ld
        if drop != c.NONE:
            h_in, h_ld = row[c.H_DROP] * B + t * n * H, H
            _drop(mem, h_before, ld, drop, h_in, n, H)
        else:
            h_in = h_before
        matmul(mem, h_in, h_ld, packed, hh, H, G * H, mem, z, width, active)
        for b in range(n):
            from_h, to_h = h_before + b * ld, h_seq + (now * n + b) * ld
            from_c, to_c = c_seq + (before * n + b) * H, c_seq + (now * n + b) * H
            if b < active and (row[c.MASK_IN] == c.NONE or mask[row[c.MASK_IN] * B + t * n + b]):
                _cell_forward(row, mem, z + b * width, from_h, to_h, from_c, to_c, width)
            else:  # a masked step changes nothing; what all rows have in common is in the first
                if t < same:
                    from_h, from_c = h_seq + now * n * ld, c_seq + now * n * H
                _copy(mem, from_h, to_h, H)
                if row[c.CODE] == c.LSTM:
                    _copy(mem, from_c, to_c, H)
    if not row[c.SEQUENCE]:
        last = 1 if reverse else T
        for b in range(n):
            _copy(mem, h_seq + (last * n + b) * ld, row[c.Y] * B + b * ld + row[c.COL], H)


@jit
def _cell_backward(row, mem, z, h_before, c_before, c_now, dh, dc, spare, width):
    """One sample's step; all places are offsets in mem."""
    H = row[c.F_OUT]
    work, d = mem[z:z + width], mem[dh:dh + H]
    if row[c.CODE] == c.LSTM:
        lstm_backward(work, mem[c_before:c_before + H], mem[c_now:c_now + H], d, mem[dc:dc + H], mem[spare:spare + H])
    elif row[c.CODE] == c.GRU:
        gru_backward(work, mem[h_before:h_before + H], d)
    else:
        rnn_backward(row[c.ACT], work, d)


@jit
def _add(mem, source, target, size):
    a, b = mem[source:source + size], mem[target:target + size]
    for j in range(size):
        b[j] += a[j]


@jit
def _move(mem, source, target, size):
    """Adds, and leaves nothing."""
    _add(mem, source, target, size)
    _fill_zero(mem, source, size)


@jit
def _step_back(row, B, t, active, same, drop, mem, mask, packed, hh_t):
    """Gate gradients of step t in place of its gates; dh and dc one step back.

    The gradients of all rows at a step that they have in common are the first one's.
    """
    n, H, ld = B * row[c.REPEAT], row[c.F_OUT], row[c.LD]
    G, shared = gates(row[c.CODE])
    width = (2 * G - shared) * H
    before = t + 2 if row[c.REVERSE] else t
    z, dh, dc = row[c.WORK] * B + t * n * width, row[c.DH] * B, row[c.DC] * B
    for b in range(n):
        if row[c.SEQUENCE]:
            _add(mem, row[c.DY] * B + (t * n + b) * ld + row[c.COL], dh + b * H, H)
    if t < same:
        for b in range(1, n):
            _move(mem, dh + b * H, dh, H)
            if row[c.CODE] == c.LSTM:
                _move(mem, dc + b * H, dc, H)
    for b in range(n):
        if b < active and (row[c.MASK_IN] == c.NONE or mask[row[c.MASK_IN] * B + t * n + b]):
            from_c, to_c = row[c.C_SEQ] * B + (before * n + b) * H, row[c.C_SEQ] * B + ((t + 1) * n + b) * H
            _cell_backward(row, mem, z + b * width, row[c.H_SEQ] * B + (before * n + b) * ld + row[c.COL], from_c, to_c,
                           dh + b * H, dc + b * H, dc + n * H, width)
        else:
            _fill_zero(mem, z + b * width, width)
    if drop == c.NONE:
        matmul(mem, z, width, packed, hh_t, G * H, H, mem, dh, H, active)
    else:
        spare = dh + n * H
        _fill_zero(mem, spare, n * H)
        matmul(mem, z, width, packed, hh_t, G * H, H, mem, spare, H, n)
        _drop(mem, spare, H, drop, spare, n, H)
        _add(mem, spare, dh, n * H)


@jit
def _input_gradients(row, mem, packed, grads, x, dx, z, rows):
    """Gradients of W_ih, of both biases and of X, from the gate gradients `z` of `rows` rows of X at `x`."""
    F, H = row[c.F_IN], row[c.F_OUT]
    G, shared = gates(row[c.CODE])
    columns, width, apart = G * H, (2 * G - shared) * H, (G - shared) * H
    w_ih = row[c.PARAM]
    b_ih = w_ih + (F + H) * columns
    b_hh = b_ih + columns
    matmul_tn(mem, x, F, mem, z, width, grads, w_ih, columns, F, shared * H, rows)
    column_sums(mem, z, width, grads, b_ih, shared * H, rows)
    column_sums(mem, z, width, grads, b_hh, columns, rows)
    if apart:
        matmul_tn(mem, x, F, mem, z + columns, width, grads, w_ih + shared * H, columns, F, apart, rows)
        column_sums(mem, z + columns, width, grads, b_ih + shared * H, apart, rows)
    if row[c.DX] != c.NONE:
        ih_t, ih_apart_t = recurrent_offsets(row, mem.itemsize)[4:6]
        if not row[c.ADD_DX]:
            _fill_zero(mem, dx, rows * F)
        matmul(mem, z, width, packed, ih_t, shared * H, F, mem, dx, F, rows)
        if apart:
            matmul(mem, z + columns, width, packed, ih_apart_t, apart, F, mem, dx, F, rows)


@jit
def _slice_gradients(row, B, first, steps, active, drop, mem, packed, grads):
    """Weight and input gradients of `steps` steps from `first` on, from the gate gradients of at most `active` rows each."""
    n, F, H = B * row[c.REPEAT], row[c.F_IN], row[c.F_OUT]
    G, shared = gates(row[c.CODE])
    columns, width, rows = G * H, (2 * G - shared) * H, steps * n
    z = row[c.WORK] * B + first * n * width
    if drop == c.NONE:
        h, h_ld = row[c.H_SEQ] * B + (first + 2 if row[c.REVERSE] else first) * n * row[c.LD] + row[c.COL], row[c.LD]
    else:
        h, h_ld = row[c.H_DROP] * B + first * n * H, H
    if active == 1:  # the first row of each step
        matmul_tn(mem, h, n * h_ld, mem, z, n * width, grads, row[c.PARAM] + F * columns, columns, H, columns, steps)
    elif active:
        matmul_tn(mem, h, h_ld, mem, z, width, grads, row[c.PARAM] + F * columns, columns, H, columns, rows)
    if row[c.SLOTS] == c.NONE:
        x = first * n * F
        if active:
            _input_gradients(row, mem, packed, grads, row[c.X] * B + x, row[c.DX] * B + x, z, rows)
        elif row[c.DX] != c.NONE and not row[c.ADD_DX]:
            _fill_zero(mem, row[c.DX] * B + x, rows * F)


@jit
def _sum_by_token(row, B, t, active, mem, mask, indices):
    """Adds the gate gradients of step t to those of their tokens."""
    G, shared = gates(row[c.CODE])
    width = (2 * G - shared) * row[c.F_OUT]
    for b in range(active):
        if row[c.MASK_IN] == c.NONE or mask[row[c.MASK_IN] * B + t * B + b]:
            token = np.int64(indices[(row[c.SLOTS] + t) * B + b])
            _add(mem, row[c.WORK] * B + (t * B + b) * width, row[c.TABLE] * B + token * width, width)


@jit
def backward(row, rate, chunk):
    B, mem, mask, packed, grads = chunk.B, chunk.scratch.mem, chunk.scratch.mask, chunk.params.packed, chunk.grads
    n, T, H = B * row[c.REPEAT], row[c.T_IN], row[c.F_OUT]
    hh_t = recurrent_offsets(row, mem.itemsize)[6]
    drop = row[c.H_DROP] * B + T * n * H if row[c.H_DROP] != c.NONE else c.NONE
    _fill_zero(mem, row[c.DH] * B, n * H)
    if row[c.CODE] == c.LSTM:
        _fill_zero(mem, row[c.DC] * B, n * H)
    if not row[c.SEQUENCE]:
        for b in range(n):
            _copy(mem, row[c.DY] * B + b * row[c.LD] + row[c.COL], row[c.DH] * B + b * H, H)
    steps, tokens, table, indices = _slice_steps(row, n, mem.itemsize), 0, row[c.TABLE] * B, chunk.scratch.indices
    same, most = _same_steps(row, B, indices), 0
    if row[c.SLOTS] != c.NONE:
        tokens = n_tokens(row[c.SLOTS], T, B, indices)
        G, shared = gates(row[c.CODE])
        _fill_zero(mem, table, tokens * (2 * G - shared) * H)
    for s in range(T):
        t = s if row[c.REVERSE] else T - 1 - s
        active = _active_rows(row, n, B, t, same, mask)
        _step_back(row, B, t, active, same, drop, mem, mask, packed, hh_t)
        if tokens:
            _sum_by_token(row, B, t, active, mem, mask, indices)
        done, most = s % steps + 1, max(most, active)
        if done == steps or s == T - 1:
            _slice_gradients(row, B, t - done + 1 if row[c.REVERSE] else t, done, most, drop, mem, packed, grads)
            most = 0
    if tokens:
        _input_gradients(row, mem, packed, grads, row[c.X] * B, row[c.DX] * B, table, tokens)
