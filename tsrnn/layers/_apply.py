"""`Recurrent.apply`: one layer with its states, outside of any network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tsrnn import backends
from tsrnn.backends import contract as c
from tsrnn.layers.base import Builder, Value
from tsrnn.layers.cells import CELLS


def apply_recurrent(layer, weights, x, state, lengths, backend="cpu"):
    """See `Recurrent.apply`."""
    from tsrnn.layers.recurrent import lower_directions

    x, lengths = _check_input(x, lengths)
    n, T, F = x.shape
    H, cell = layer.units, CELLS[layer.cell]
    theta = _check_weights(layer, weights, (T, F), x.dtype)
    before = _check_state(state, n, H, cell.has_cell_state, x.dtype)

    builder = Builder(train=False, masked=True, offsets=[0])
    value = Value((T, F), mask=builder.mask_buffer(T))
    value = builder.output(value, value.shape, grad=False)
    every_step = replace(layer, return_sequences=True)
    out = lower_directions(every_step, builder, value, (False,), ld=H, keep_state=True)[0][0]
    builder.row(c.LOSS, out, out, MASK_OUT=c.NONE)
    rows = np.array(builder.rows)
    run = backends.get(backend)
    packed = np.zeros(run.assign_pack(rows, x.itemsize), x.dtype)
    plan = c.Plan(rows, np.array(builder.rates), np.ones(1), run.kernels(rows, x.dtype, False))
    run.pack(plan, theta, packed)

    row = rows[0]
    scratch = c.Scratch(np.zeros(builder.mem * n, x.dtype), np.zeros(1, np.int32), np.zeros(builder.mask * n, np.uint8))
    mem = scratch.mem
    mem[value.y * n:][:T * n * F] = x.transpose(1, 0, 2).ravel()
    scratch.mask[:T * n] = (np.arange(T)[:, None] < lengths).ravel()
    states = [mem[row[column] * n:][:(T + 2) * n * H].reshape(T + 2, n, H) for column in (c.H_SEQ, c.C_SEQ)[:len(before)]]
    for array, start in zip(states, before):
        array[0] = start
    params = c.Params(theta, packed, np.zeros((0, 0), x.dtype))
    data = c.Data(np.zeros(1, x.dtype), np.zeros(1, np.int32), np.zeros(n, np.int64), lengths, np.zeros(1, x.dtype),
                  np.zeros(n, np.int64), np.ones((n, 1), x.dtype), np.ones(n))
    logits = np.zeros((n, T * H), x.dtype)
    run.run(c.PREDICT, plan, data, c.Batch(np.arange(n), n, np.zeros(2, np.uint32)), params, scratch,
            c.Sums(np.zeros((1, 2)), np.zeros(1, x.dtype)), logits, 0, 1, 1)
    after = tuple(array[T].copy() for array in states)
    return logits.reshape(n, T, H), after if cell.has_cell_state else after[0]


def _check_input(x, lengths):
    x = np.asarray(x)
    dtype = np.float32 if x.dtype == np.float32 else np.float64
    x = np.ascontiguousarray(x, dtype)
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"x has shape {x.shape}; it must be (n, T, F) with at least one of each.")
    n, T, _ = x.shape
    lengths = np.full(n, T) if lengths is None else np.asarray(lengths)
    if lengths.shape != (n,) or lengths.dtype.kind not in "iu" or (lengths < 0).any() or (lengths > T).any():
        raise ValueError(f"lengths={lengths!r} must be {n} integers from 0 to T={T}.")
    return x, lengths.astype(np.int64)


def _check_weights(layer, weights, shape, dtype):
    params = layer.direction_params(shape)
    if set(weights) != {p.name for p in params}:
        raise ValueError(f"weights has {sorted(weights)}; {layer!r} needs {', '.join(p.name for p in params)}.")
    theta = np.empty(sum(p.size for p in params), dtype)
    at = 0
    for param in params:
        array = np.asarray(weights[param.name])
        if array.shape != param.shape:
            raise ValueError(f"{param.name} has shape {array.shape}; {layer!r} on {shape[1]} features needs {param.shape}.")
        param.public(theta, at)[...] = array
        at += param.size
    return theta


def _check_state(state, n, H, pair, dtype):
    """The starting states (h,) or (h, c)."""
    if state is None:
        return tuple(np.zeros((n, H), dtype) for _ in range(2 if pair else 1))
    if pair and (not isinstance(state, (tuple, list)) or len(state) != 2):
        raise ValueError("state must be a pair (h, c) of arrays for an LSTM.")
    arrays = tuple(np.asarray(s, dtype) for s in (state if pair else (state,)))
    for array in arrays:
        if array.shape != (n, H):
            raise ValueError(f"state has shape {array.shape}; it must be (n, H) = {(n, H)}.")
    return arrays
