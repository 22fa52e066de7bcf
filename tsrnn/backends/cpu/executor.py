"""Walks a plan's rows over the chunks of a batch: one call a thread and step.

The operations of a plan are called by address.  So a network compiles the operations that it has and no others, each of
them once, where a dispatching function would compile all of them into itself.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numba
import numpy as np
from numba import types

from tsrnn.backends import contract as c
from tsrnn.backends.cpu import dropout, feedforward, inputs, losses, pooling, recurrent
from tsrnn.backends.cpu.calls import address, borrowed, call, fill_in
from tsrnn.backends.cpu.denormals import flush_denormals, restore_denormals
from tsrnn.backends.cpu.jit import inner, jit

FORWARD = {
    c.INPUT: inputs.gather, c.IDS: inputs.gather_ids, c.EMBEDDING: inputs.embedding_forward,
    c.RECURRENT: recurrent.forward, c.MERGE: feedforward.merge_forward, c.DENSE: feedforward.dense_forward,
    c.CONV: feedforward.conv_forward, c.MAX_POOL: pooling.max_forward, c.AVERAGE_POOL: pooling.mean_forward,
    c.GLOBAL_MAX: pooling.max_forward, c.GLOBAL_MEAN: pooling.mean_forward, c.DROPOUT: dropout.dropout_forward,
    c.RESHAPE: feedforward.reshape_forward, c.CLEAR: feedforward.clear_forward,
    c.ACTIVATION: feedforward.activation_forward, c.LOSS: losses.loss,
}
BACKWARD = {
    c.EMBEDDING: inputs.embedding_backward, c.RECURRENT: recurrent.backward, c.MERGE: feedforward.merge_backward,
    c.DENSE: feedforward.dense_backward, c.CONV: feedforward.conv_backward, c.MAX_POOL: pooling.max_backward,
    c.AVERAGE_POOL: pooling.mean_backward, c.GLOBAL_MAX: pooling.max_backward, c.GLOBAL_MEAN: pooling.mean_backward,
    c.DROPOUT: dropout.dropout_backward, c.RESHAPE: feedforward.reshape_backward, c.CLEAR: feedforward.clear_backward,
    c.ACTIVATION: feedforward.activation_backward,
}


class Chunk(NamedTuple):
    """What an operation gets beside its row: a chunk of a batch."""

    first: int               # its first row in the batch
    B: int
    mode: int
    total: float             # sum of the batch's weights
    samples: np.ndarray      # (B,) int64
    key: np.ndarray
    loss_params: np.ndarray
    data: c.Data
    params: c.Params
    grads: np.ndarray        # (P_dense,)
    scratch: c.Scratch
    tokens: np.ndarray
    token_ids: np.ndarray
    result: np.ndarray       # (2,) float64: see Sums.loss


@functools.cache
def _signature(dtype):
    """Argument types of every operation."""
    floats, ints = types.Array(numba.from_dtype(dtype), 1, "C"), types.Array(types.int64, 1, "C")
    doubles, int32s = types.Array(types.float64, 1, "C"), types.Array(types.int32, 1, "C")
    matrix = types.Array(floats.dtype, 2, "C")
    data = types.NamedTuple((floats, int32s, ints, ints, floats, ints, matrix, doubles), c.Data)
    params = types.NamedTuple((floats, floats, matrix), c.Params)
    scratch = types.NamedTuple((floats, int32s, types.Array(types.uint8, 1, "C")), c.Scratch)
    chunk = types.NamedTuple((types.int64, types.int64, types.int64, types.float64, ints, types.Array(types.uint32, 1, "C"),
                              doubles, data, params, floats, scratch, floats, int32s, doubles), Chunk)
    return ints, types.float64, chunk


def _address(kernel, dtype):
    return address(kernel, _signature(np.dtype(dtype)))


def kernels(rows, dtype, train):
    """Addresses of the operations of a plan, (n_ops, 2): forward and backward (0 where there is none)."""
    table = np.zeros((len(rows), 2), np.int64)
    for n, op in enumerate(rows[:, c.OP].tolist()):
        fill_in(rows[n], dtype, train)
        table[n, 0] = _address(FORWARD[op], dtype)
        if train and op in BACKWARD:
            table[n, 1] = _address(BACKWARD[op], dtype)
    return table


# the global poolings share their kernels with those of windows
OPERATIONS = ("INPUT", "IDS", "EMBEDDING", "RECURRENT", "MERGE", "DENSE", "CONV", "MAX_POOL", "AVERAGE_POOL", "DROPOUT",
              "RESHAPE", "CLEAR", "ACTIVATION", "LOSS")


def compile_operation(name, dtype):
    """Compiles one of `OPERATIONS`, forward and backward, unless it is compiled already."""
    for table in (FORWARD, BACKWARD):
        if getattr(c, name) in table:
            _address(table[getattr(c, name)], dtype)


@inner
def _batch_total(order, totals):
    """Sum of the weights of a batch's real steps."""
    total = 0.0
    for i in order:
        total += totals[i]
    return total


@inner
def _write_logits(row, B, mem, out):
    """(T, B, K) in memory → (B, T * K)."""
    T, K = row[c.T_IN], row[c.F_IN]
    for b in range(B):
        for t in range(T):
            for k in range(K):
                out[b, t * K + k] = mem[row[c.X] * B + (t * B + b) * K + k]


@jit
def run(mode, plan, data, batch, params, scratch, sums, out, first, stop, step):
    """See the contract."""
    control = flush_denormals()
    plan, data, batch, params = borrowed(plan), borrowed(data), borrowed(batch), borrowed(params)
    scratch, sums, out = borrowed(scratch), borrowed(sums), borrowed(out)
    last = plan.rows.shape[0] - 1
    total = _batch_total(batch.order, data.totals) if mode == c.TRAIN else 1.0
    for number in range(first, stop, step):
        start = number * batch.rows
        B = min(batch.rows, batch.order.size - start)
        grads = params.grads[number] if mode == c.TRAIN else scratch.mem
        chunk = Chunk(start, B, mode, total, batch.order[start:start + B], batch.key, plan.loss, data, params, grads,
                      scratch, sums.tokens, sums.token_ids, sums.loss[number])
        for n in range(last):
            call(plan.kernels[n, 0], plan.rows[n], plan.rates[n], chunk)
        if mode != c.TRAIN:
            _write_logits(plan.rows[last], B, scratch.mem, out[start:start + B])
        if mode != c.PREDICT:
            call(plan.kernels[last, 0], plan.rows[last], plan.rates[last], chunk)
        if mode == c.TRAIN:
            grads[:] = 0
            for n in range(last - 1, -1, -1):
                if plan.kernels[n, 1]:
                    call(plan.kernels[n, 1], plan.rows[n], plan.rates[n], chunk)
    restore_denormals(control)
