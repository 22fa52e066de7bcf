"""Walks a plan's rows over the chunks of a batch: forward in one call a thread, training in one call for many steps.

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
from tsrnn.backends.cpu import dropout, feedforward, inputs, losses, packing, pooling, recurrent
from tsrnn.backends.cpu.ahead import other_half
from tsrnn.backends.cpu.barrier import draw, meet
from tsrnn.backends.cpu.calls import address, borrowed, call, compile_callees, fill_in_cell, fill_in_products
from tsrnn.backends.cpu.denormals import flush_denormals, restore_denormals
from tsrnn.backends.cpu.finish import apply_update, finish_gradient, norm_and_penalty
from tsrnn.backends.cpu.jit import inner, is_compiled, jit
from tsrnn.backends.solvers import L2, NO_SOLVER

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


class _Types:
    """Numba's types of what the kernels get, for an element type."""

    def __init__(self, dtype):
        floats, ints = types.Array(numba.from_dtype(dtype), 1, "C"), types.Array(types.int64, 1, "C")
        doubles, int32s, words = (types.Array(kind, 1, "C") for kind in (types.float64, types.int32, types.uint32))
        matrix, table, double_table, word_table = (types.Array(kind, 2, "C") for kind in (
            floats.dtype, types.int64, types.float64, types.uint32))
        number = types.int64
        data = types.NamedTuple((floats, int32s, ints, ints, floats, ints, matrix, doubles), c.Data)
        params = types.NamedTuple((floats, floats, matrix), c.Params)
        scratch = types.NamedTuple((floats, int32s, types.Array(types.uint8, 1, "C")), c.Scratch)
        chunk = types.NamedTuple((number, number, number, types.float64, ints, words, doubles, data, params, floats,
                                  scratch, floats, int32s, doubles), Chunk)
        plan = types.NamedTuple((table, doubles, doubles, table), c.Plan)
        steps = types.NamedTuple((ints, table, ints, word_table, double_table, double_table), c.Steps)
        sums = types.NamedTuple((double_table, floats, int32s), c.Sums)
        update = types.NamedTuple((number, floats, matrix, table, table, ints, double_table), c.Update)
        self.operation = ints, types.float64, chunk
        self.pack = plan, floats, floats
        self.train = plan, data, steps, params, scratch, sums, update, ints, number


_types = functools.cache(_Types)


def kernels(rows, dtype, train):
    """Addresses of the operations of a plan, (n_ops + 1, 2): forward and backward (0 where there is none); last, of `pack`."""
    dtype, table = np.dtype(dtype), np.zeros((len(rows) + 1, 2), np.int64)
    kinds = _types(dtype)
    with other_half(dtype, not train or _is_trainable(kinds)):
        for n, op in enumerate(rows[:, c.OP].tolist()):
            table[n, 0] = address(FORWARD[op], kinds.operation)
            if train and op in BACKWARD:
                table[n, 1] = address(BACKWARD[op], kinds.operation)
        for row in rows:
            fill_in_cell(row, dtype, train)
        if train:
            table[-1, 0] = address(packing.pack, kinds.pack)
    for row in rows:  # the other half
        fill_in_products(row, dtype, train)
    return table


def _is_trainable(kinds):
    return is_compiled(train, kinds.train)


def compile_training(dtype):
    """Compiles what every training needs, whatever the network, but for its operations."""
    compile_callees(c.DENSE, dtype)
    train.compile(_types(np.dtype(dtype)).train)


# the global poolings share their kernels with those of windows
OPERATIONS = ("INPUT", "IDS", "EMBEDDING", "RECURRENT", "MERGE", "DENSE", "CONV", "MAX_POOL", "AVERAGE_POOL", "DROPOUT",
              "RESHAPE", "CLEAR", "ACTIVATION", "LOSS")


def compile_operation(name, dtype):
    """Compiles one of `OPERATIONS`, forward and backward, unless it is compiled already."""
    compile_callees(getattr(c, name), dtype)
    for table in (FORWARD, BACKWARD):
        if getattr(c, name) in table:
            address(table[getattr(c, name)], _types(np.dtype(dtype)).operation)


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


@inner
def _forward(plan, chunk):
    for n in range(plan.rows.shape[0] - 1):
        call(plan.kernels[n, 0], plan.rows[n], plan.rates[n], chunk)


@inner
def _loss(plan, chunk):
    last = plan.rows.shape[0] - 1
    call(plan.kernels[last, 0], plan.rows[last], plan.rates[last], chunk)


@jit
def run(mode, plan, data, batch, params, scratch, sums, out, first, stop, step):
    """See the contract."""
    control = flush_denormals()
    plan, data, batch, params = borrowed(plan), borrowed(data), borrowed(batch), borrowed(params)
    scratch, sums, out = borrowed(scratch), borrowed(sums), borrowed(out)
    for number in range(first, stop, step):
        start = number * batch.rows
        B = min(batch.rows, batch.order.size - start)
        chunk = Chunk(start, B, mode, 1.0, batch.order[start:start + B], batch.key, plan.loss, data, params, scratch.mem,
                      scratch, sums.tokens, sums.token_ids, sums.loss[number])
        _forward(plan, chunk)
        _write_logits(plan.rows[-1], B, scratch.mem, out[start:start + B])
        if mode == c.EVALUATE:
            _loss(plan, chunk)
    restore_denormals(control)


# ------------------------------------------------------------------------------------------------------------- training


@jit
def train(plan, data, steps, params, scratch, sums, update, meeting, thread):
    """See the contract."""
    control = flush_denormals()
    plan, data, steps, params = borrowed(plan), borrowed(data), borrowed(steps), borrowed(params)
    scratch, sums, update, meeting = borrowed(scratch), borrowed(sums), borrowed(update), borrowed(meeting)
    for step in range(steps.bounds.shape[0]):
        if not _train_step(plan, data, steps, step, params, scratch, sums, update, meeting, thread):
            break
        if thread == 0:
            meeting[c.DONE] += 1
    restore_denormals(control)


@jit(inline="always")
def _train_step(plan, data, steps, step, params, scratch, sums, update, meeting, thread):
    """One thread's part of a training step; false where the step was not made, and no other shall be."""
    order, rows, hyper = steps.order[steps.bounds[step, 0]:steps.bounds[step, 1]], steps.rows[step], steps.hyper[step]
    n_chunks, n_threads = (order.size + rows - 1) // rows, meeting[c.N_THREADS]
    _pack(plan, params, meeting)
    if not meet(meeting):
        return False
    total = _batch_total(order, data.totals)
    number = draw(meeting)
    while number < n_chunks:
        _gradient(plan, data, order, rows, number, total, steps.keys[step], params, scratch, sums)
        number = draw(meeting)
    if not meet(meeting):
        return False
    positions = order.size * plan.rows[0, c.T_OUT] if update.table[1] > 0 else 0
    finish_gradient(params.theta, params.grads[:n_chunks], sums.tokens, sums.token_ids[:positions], update, hyper, thread,
                    n_threads)
    if not meet(meeting):
        return False
    loss = right = 0.0
    for number in range(n_chunks):
        loss += sums.loss[number, 0]
        right += sums.loss[number, 1]
    norm, penalty = norm_and_penalty(update.squares, hyper[L2])
    if thread == 0:
        steps.losses[step, 0], steps.losses[step, 1], steps.losses[step, 2] = loss, right, penalty
    if update.solver != NO_SOLVER:
        if not (np.isfinite(loss) and np.isfinite(norm)):  # all threads see the same numbers, and leave
            return False
        apply_update(params.theta, params.grads.shape[1], update, hyper, norm, thread, n_threads)
    return meet(meeting)


@inner
def _pack(plan, params, meeting):
    """Rows of the plan, drawn one by one."""
    n_ops = plan.rows.shape[0]
    n = draw(meeting)
    while n < n_ops:
        row = c.Plan(plan.rows[n:n + 1], plan.rates, plan.loss, plan.kernels)
        call(plan.kernels[n_ops, 0], row, params.theta, params.packed)
        n = draw(meeting)


@inner
def _gradient(plan, data, order, rows, number, total, key, params, scratch, sums):
    """Loss and gradient of a chunk."""
    start = number * rows
    B = min(rows, order.size - start)
    grads = params.grads[number]
    chunk = Chunk(start, B, c.TRAIN, total, order[start:start + B], key, plan.loss, data, params, grads, scratch, sums.tokens,
                  sums.token_ids, sums.loss[number])
    _forward(plan, chunk)
    _loss(plan, chunk)
    grads[:] = 0
    for n in range(plan.rows.shape[0] - 2, -1, -1):
        if plan.kernels[n, 1]:
            call(plan.kernels[n, 1], plan.rows[n], plan.rates[n], chunk)
