"""One direction of a recurrent layer: the time loop that all cells share.

Products that need no recurrence (x W_ih, the weight gradients, dx) are taken over slices of several steps that stay in the
second-level cache; the slices depend on shapes only, so sums keep one order.

Padding is left out where that changes nothing: rows behind the last one that is real at a step (samples of like length lie
together, the longest first), and without a mask the steps at which all rows of a chunk have seen the same tokens so far.
"""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cpu.calls import cell_backward, cell_forward, column_sums, matmul, matmul_tn
from tsrnn.backends.cpu.dropout import keep_scale, row_key
from tsrnn.backends.cpu.feedforward import fill_rows
from tsrnn.backends.cpu.inputs import n_tokens
from tsrnn.backends.cpu.jit import inner, jit
from tsrnn.backends.cpu.packing import gates, recurrent_offsets
from tsrnn.backends.cpu.pointwise import PLACES

X_ROWS = 16  # of which x parts are made at a time: a product's tiles are full, and sums wait in the first-level cache


@inner
def _project(row, mem, packed, x, z, rows):
    """x parts (and all biases) of the gates for `rows` rows of X at `x`, to `z`."""
    F, H = row[c.F_IN], row[c.F_OUT]
    G, shared = gates(row[c.CODE])
    bias, ih, ih_apart = recurrent_offsets(row, mem.itemsize)[:3]
    width = (2 * G - shared) * H
    ld = width + c.GAP
    fill_rows(mem, z, ld, rows, packed, bias, width)
    matmul(row, mem, x, F, packed, ih, F, shared * H, mem, z, ld, rows)
    if G > shared:
        matmul(row, mem, x, F, packed, ih_apart, F, (G - shared) * H, mem, z + G * H, ld, rows)


@inner
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


@inner
def _active_rows(row, n, B, t, same, mask):
    """Rows of step t that something has to be computed for: those behind them are masked, or as the first."""
    if t < same:
        return 1
    if row[c.MASK_IN] != c.NONE:
        at = row[c.MASK_IN] * B + t * n
        while n and not mask[at + n - 1]:
            n -= 1
    return n


@inner
def _is_padding(row, n, B, first, steps, mask):
    """Whether all rows are masked at `steps` steps from `first` on."""
    if row[c.MASK_IN] == c.NONE:
        return False
    at = row[c.MASK_IN] * B + first * n
    for i in range(at, at + steps * n):
        if mask[i]:
            return False
    return True


@inner
def _note(places, k, a, b, c_, d, e, f, g, h):
    """The places of sample number k, see `pointwise`."""
    k *= PLACES  # not a view: those are counted
    places[k], places[k + 1], places[k + 2], places[k + 3] = a, b, c_, d
    places[k + 4], places[k + 5], places[k + 6], places[k + 7] = e, f, g, h


@inner
def _copy(mem, source, target, size):
    a, b = mem[source:source + size], mem[target:target + size]
    for j in range(size):
        b[j] = a[j]


@inner
def _fill_zero(mem, at, size):
    a = mem[at:at + size]
    for j in range(size):
        a[j] = 0


@jit(inline="always")
def _start_state(row, B, mem):
    n, H = B * row[c.REPEAT], row[c.F_OUT]
    first = row[c.T_IN] + 1 if row[c.REVERSE] else 0
    for b in range(n):
        _fill_zero(mem, row[c.H_SEQ] * B + (first * n + b) * row[c.LD] + row[c.COL], H)
        if row[c.CODE] == c.LSTM:
            _fill_zero(mem, row[c.C_SEQ] * B + (first * n + b) * H, H)


@jit(inline="always")
def _recurrent_mask(row, rate, chunk):
    """The mask of recurrent dropout, (rows, H), behind the last step of H_DROP; returns where it is."""
    B, samples, key, mem = chunk.B, chunk.samples, chunk.key, chunk.scratch.mem
    n, H = B * row[c.REPEAT], row[c.F_OUT]
    at = row[c.H_DROP] * B + row[c.T_IN] * n * H
    for b in range(n):
        k = row_key(key, row[c.STREAM], samples[b % B], b // B)
        keep_scale(k, key[1], 0, rate, mem[at + b * H:at + (b + 1) * H])
    return at


@inner
def _drop(mem, source, ld, scale, target, n, H):
    """``target = source * scale`` for n rows."""
    for b in range(n):
        x, s = mem[source + b * ld:source + b * ld + H], mem[scale + b * H:scale + (b + 1) * H]
        y = mem[target + b * H:target + (b + 1) * H]
        for j in range(H):
            y[j] = x[j] * s[j]


@inner
def _stand_still(row, B, t, before, active, same, mem, mask):
    """The states of the rows for which step t has computed nothing: a masked step changes nothing, and what all rows have in
    common is in the first."""
    n, H, ld = B * row[c.REPEAT], row[c.F_OUT], row[c.LD]
    h_seq, c_seq = row[c.H_SEQ] * B + row[c.COL], row[c.C_SEQ] * B
    for b in range(n):
        if b < active and (row[c.MASK_IN] == c.NONE or mask[row[c.MASK_IN] * B + t * n + b]):
            continue
        source = (t + 1) * n if t < same else before * n + b
        _copy(mem, h_seq + source * ld, h_seq + ((t + 1) * n + b) * ld, H)
        if row[c.CODE] == c.LSTM:
            _copy(mem, c_seq + source * H, c_seq + ((t + 1) * n + b) * H, H)


@jit(inline="always")
def _copy_by_token(row, B, t, sums, active, mem, mask, indices):
    """The x parts of the tokens of step t, to `sums`."""
    G, shared = gates(row[c.CODE])
    width = (2 * G - shared) * row[c.F_OUT]
    for b in range(active):
        if row[c.MASK_IN] == c.NONE or mask[row[c.MASK_IN] * B + t * B + b]:
            token = np.int64(indices[(row[c.SLOTS] + t) * B + b])
            _copy(mem, row[c.TABLE] * B + token * (width + c.GAP), sums + b * (width + c.GAP), width)


@inner
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
    has_tokens, indices = row[c.SLOTS] != c.NONE, chunk.scratch.indices
    steps = max(1, min(row[c.SLICE_STEPS], X_ROWS // n))
    same, first, masked = _same_steps(row, B, indices), 0, row[c.MASK_IN]
    sums_ld, kept, places = width + c.GAP, row[c.KEEP] * width, np.empty(n * PLACES, np.int64)
    if has_tokens:
        _project(row, mem, packed, row[c.X] * B, row[c.TABLE] * B, n_tokens(row[c.SLOTS], T, B, indices))
    for s in range(T):
        t = T - 1 - s if reverse else s
        active = _active_rows(row, n, B, t, same, mask)
        if not has_tokens and s % steps == 0:
            count = min(steps, T - s)
            first = T - s - count if reverse else s
            if not _is_padding(row, n, B, first, count, mask):
                _project(row, mem, packed, row[c.X] * B + first * n * row[c.F_IN], row[c.SLICE] * B, count * n)
        before, now = (t + 2 if reverse else t), t + 1
        h_before, h_in, h_ld = h_seq + before * n * ld, h_seq + before * n * ld, ld
        if drop != c.NONE:
            h_in, h_ld = row[c.H_DROP] * B + t * n * H, H
            _drop(mem, h_before, ld, drop, h_in, n, H)
        work, sums, real = row[c.WORK] * B + t * n * kept, row[c.SLICE] * B + (t - first) * n * sums_ld, 0
        if has_tokens:
            sums = row[c.SLICE] * B
            _copy_by_token(row, B, t, sums, active, mem, mask, indices)
        matmul(row, mem, h_in, h_ld, packed, hh, H, G * H, mem, sums, sums_ld, active)
        for b in range(active):
            if masked != c.NONE and not mask[masked * B + t * n + b]:
                continue
            at = work + b * width
            _note(places, real, at, sums + b * sums_ld, h_before + b * ld, h_seq + (now * n + b) * ld,
                  c_seq + (before * n + b) * H, c_seq + (now * n + b) * H, at + (-n if reverse else n) * kept, 0)
            real += 1
        cell_forward(row, mem, places, real, H)
        if real < n:
            _stand_still(row, B, t, before, active, same, mem, mask)
    if not row[c.SEQUENCE]:
        last = 1 if reverse else T
        for b in range(n):
            _copy(mem, h_seq + (last * n + b) * ld, row[c.Y] * B + b * ld + row[c.COL], H)


@inner
def _add(mem, source, target, size):
    a, b = mem[source:source + size], mem[target:target + size]
    for j in range(size):
        b[j] += a[j]


@inner
def _move(mem, source, target, size):
    """Adds, and leaves nothing."""
    _add(mem, source, target, size)
    _fill_zero(mem, source, size)


@jit(inline="always")
def _step_back(row, B, t, z, active, same, drop, mem, mask, packed, hh_t, places):
    """Gate gradients of step t, to `z`; dh and dc one step back.

    The gradients of all rows at a step that they have in common are the first one's.
    """
    n, H, ld = B * row[c.REPEAT], row[c.F_OUT], row[c.LD]
    G, shared = gates(row[c.CODE])
    width = (2 * G - shared) * H
    z_ld = width + c.GAP
    before = t + 2 if row[c.REVERSE] else t
    work, dh, dc = row[c.WORK] * B + t * n * width, row[c.DH] * B, row[c.DC] * B
    for b in range(n):
        if row[c.SEQUENCE]:
            _add(mem, row[c.DY] * B + (t * n + b) * ld + row[c.COL], dh + b * H, H)
    if t < same:
        for b in range(1, n):
            _move(mem, dh + b * H, dh, H)
            if row[c.CODE] == c.LSTM:
                _move(mem, dc + b * H, dc, H)
    h_seq, c_seq, masked, real = row[c.H_SEQ] * B + row[c.COL], row[c.C_SEQ] * B, row[c.MASK_IN], 0
    for b in range(n):
        if b >= active or masked != c.NONE and not mask[masked * B + t * n + b]:
            _fill_zero(mem, z + b * z_ld, width)
            continue
        _note(places, real, work + b * width, z + b * z_ld, h_seq + (before * n + b) * ld, c_seq + (before * n + b) * H,
              c_seq + ((t + 1) * n + b) * H, dh + b * H, dc + b * H, work + (b + n if row[c.REVERSE] else b - n) * width)
        real += 1
    cell_backward(row, mem, places, real, H)
    if drop == c.NONE:
        matmul(row, mem, z, z_ld, packed, hh_t, G * H, H, mem, dh, H, active)
    else:
        spare = dh + n * H
        _fill_zero(mem, spare, n * H)
        matmul(row, mem, z, z_ld, packed, hh_t, G * H, H, mem, spare, H, n)
        _drop(mem, spare, H, drop, spare, n, H)
        _add(mem, spare, dh, n * H)


@inner
def _input_gradients(row, mem, packed, grads, x, dx, z, rows):
    """Gradients of W_ih, of both biases and of X, from the gate gradients `z` of `rows` rows of X at `x`."""
    F, H = row[c.F_IN], row[c.F_OUT]
    G, shared = gates(row[c.CODE])
    columns, ld, apart = G * H, (2 * G - shared) * H + c.GAP, (G - shared) * H
    w_ih = row[c.PARAM]
    b_ih = w_ih + (F + H) * columns
    b_hh = b_ih + columns
    matmul_tn(row, mem, x, F, mem, z, ld, grads, w_ih, columns, F, shared * H, rows)
    column_sums(row, mem, z, ld, grads, b_hh, columns, rows)  # b_ih's are the same for the shared gates: see `backward`
    if apart:
        matmul_tn(row, mem, x, F, mem, z + columns, ld, grads, w_ih + shared * H, columns, F, apart, rows)
        column_sums(row, mem, z + columns, ld, grads, b_ih + shared * H, apart, rows)
    if row[c.DX] != c.NONE:
        ih_t, ih_apart_t = recurrent_offsets(row, mem.itemsize)[4:6]
        if not row[c.ADD_DX]:
            _fill_zero(mem, dx, rows * F)
        matmul(row, mem, z, ld, packed, ih_t, shared * H, F, mem, dx, F, rows)
        if apart:
            matmul(row, mem, z + columns, ld, packed, ih_apart_t, apart, F, mem, dx, F, rows)


@jit(inline="always")
def _slice_gradients(row, B, first, z, steps, active, drop, mem, packed, grads):
    """Weight and input gradients of `steps` steps from `first` on, from their gate gradients (at `z`) of at most `active` rows
    each."""
    n, F, H = B * row[c.REPEAT], row[c.F_IN], row[c.F_OUT]
    G, shared = gates(row[c.CODE])
    columns, ld, rows = G * H, (2 * G - shared) * H + c.GAP, steps * n
    if drop == c.NONE:
        h, h_ld = row[c.H_SEQ] * B + (first + 2 if row[c.REVERSE] else first) * n * row[c.LD] + row[c.COL], row[c.LD]
    else:
        h, h_ld = row[c.H_DROP] * B + first * n * H, H
    if active == 1:  # the first row of each step
        matmul_tn(row, mem, h, n * h_ld, mem, z, n * ld, grads, row[c.PARAM] + F * columns, columns, H, columns, steps)
    elif active:
        matmul_tn(row, mem, h, h_ld, mem, z, ld, grads, row[c.PARAM] + F * columns, columns, H, columns, rows)
    if row[c.SLOTS] == c.NONE:
        x = first * n * F
        if active:
            _input_gradients(row, mem, packed, grads, row[c.X] * B + x, row[c.DX] * B + x, z, rows)
        elif row[c.DX] != c.NONE and not row[c.ADD_DX]:
            _fill_zero(mem, row[c.DX] * B + x, rows * F)


@jit(inline="always")
def _sum_by_token(row, B, t, z, active, mem, mask, indices):
    """Adds the gate gradients of step t, at `z`, to those of their tokens."""
    G, shared = gates(row[c.CODE])
    width = (2 * G - shared) * row[c.F_OUT]
    for b in range(active):
        if row[c.MASK_IN] == c.NONE or mask[row[c.MASK_IN] * B + t * B + b]:
            token = np.int64(indices[(row[c.SLOTS] + t) * B + b])
            _add(mem, z + b * (width + c.GAP), row[c.TABLE] * B + token * (width + c.GAP), width)


@inner
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
    steps, tokens, table, indices = row[c.SLICE_STEPS], 0, row[c.TABLE] * B, chunk.scratch.indices
    same, most, places = _same_steps(row, B, indices), 0, np.empty(n * PLACES, np.int64)
    G, shared = gates(row[c.CODE])
    z_ld = (2 * G - shared) * H + c.GAP
    if row[c.SLOTS] != c.NONE:
        tokens = n_tokens(row[c.SLOTS], T, B, indices)
        _fill_zero(mem, table, tokens * z_ld)
    for s in range(T):
        t, done = s if row[c.REVERSE] else T - 1 - s, s % steps + 1
        active = _active_rows(row, n, B, t, same, mask)
        # the steps of a slice lie in their order in time
        z = row[c.SLICE] * B + (done - 1 if row[c.REVERSE] else steps - done) * n * z_ld
        _step_back(row, B, t, z, active, same, drop, mem, mask, packed, hh_t, places)
        if tokens:
            _sum_by_token(row, B, t, z, active, mem, mask, indices)
        most = max(most, active)
        if done == steps or s == T - 1:
            if row[c.REVERSE]:
                _slice_gradients(row, B, t - done + 1, row[c.SLICE] * B, done, most, drop, mem, packed, grads)
            else:
                _slice_gradients(row, B, t, z, done, most, drop, mem, packed, grads)
            most = 0
    if tokens:
        _input_gradients(row, mem, packed, grads, row[c.X] * B, row[c.DX] * B, table, tokens)
    b_ih = row[c.PARAM] + (row[c.F_IN] + H) * G * H
    for j in range(shared * H):
        grads[b_ih + j] = grads[b_ih + G * H + j]
