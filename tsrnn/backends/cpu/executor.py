"""Walks a plan's rows over the chunks of a batch: one call a thread and step."""

from __future__ import annotations

from tsrnn.backends import contract as c
from tsrnn.backends.cpu import dropout, feedforward, inputs, losses, pooling, recurrent
from tsrnn.backends.cpu.denormals import flush_denormals, restore_denormals
from tsrnn.backends.cpu.jit import jit

gather, gather_ids = inputs.gather, inputs.gather_ids
embedding_forward, embedding_backward = inputs.embedding_forward, inputs.embedding_backward
recurrent_forward, recurrent_backward = recurrent.forward, recurrent.backward
dense_forward, dense_backward = feedforward.dense_forward, feedforward.dense_backward
conv_forward, conv_backward = feedforward.conv_forward, feedforward.conv_backward
activation_forward, activation_backward = feedforward.activation_forward, feedforward.activation_backward
merge_forward, merge_backward = feedforward.merge_forward, feedforward.merge_backward
reshape_forward, reshape_backward = feedforward.reshape_forward, feedforward.reshape_backward
clear_forward, clear_backward = feedforward.clear_forward, feedforward.clear_backward
dropout_forward, dropout_backward = dropout.dropout_forward, dropout.dropout_backward
max_forward, max_backward = pooling.max_forward, pooling.max_backward
mean_forward, mean_backward = pooling.mean_forward, pooling.mean_backward
loss, batch_total = losses.loss, losses.batch_total


@jit
def _forward(row, rate, B, samples, key, data, params, scratch):
    mem, mask, indices, op = scratch.mem, scratch.mask, scratch.indices, row[c.OP]
    if op == c.RECURRENT:
        recurrent_forward(row, rate, B, samples, key, mem, mask, params.packed)
    elif op == c.DENSE:
        dense_forward(row, B, mem, params.theta, params.packed)
    elif op == c.INPUT:
        gather(row, B, samples, data.values, data.starts, data.lengths, mem, mask)
    elif op == c.IDS:
        gather_ids(row, B, samples, data.ids, data.starts, data.lengths, indices, mask)
    elif op == c.EMBEDDING:
        embedding_forward(row, B, indices, params.theta, mem)
    elif op == c.CONV:
        conv_forward(row, B, mem, mask, params.theta, params.packed)
    elif op == c.MAX_POOL or op == c.GLOBAL_MAX:
        max_forward(row, B, mem, mask, indices, op == c.GLOBAL_MAX)
    elif op == c.AVERAGE_POOL or op == c.GLOBAL_MEAN:
        mean_forward(row, B, mem, mask, op == c.GLOBAL_MEAN)
    elif op == c.DROPOUT:
        dropout_forward(row, rate, B, samples, key, mem)
    elif op == c.MERGE:
        merge_forward(row, B, mem)
    elif op == c.RESHAPE:
        reshape_forward(row, B, mem)
    elif op == c.CLEAR:
        clear_forward(row, B, mem, mask)
    elif op == c.ACTIVATION:
        activation_forward(row, B, mem)


@jit
def _backward(row, rate, first, B, samples, key, params, grads, scratch, tokens):
    mem, mask, indices, op = scratch.mem, scratch.mask, scratch.indices, row[c.OP]
    if op == c.RECURRENT:
        recurrent_backward(row, B, mem, mask, params.packed, grads)
    elif op == c.DENSE:
        dense_backward(row, B, mem, params.packed, grads)
    elif op == c.EMBEDDING:
        embedding_backward(row, B, first, mem, tokens)
    elif op == c.CONV:
        conv_backward(row, B, mem, params.packed, grads)
    elif op == c.MAX_POOL or op == c.GLOBAL_MAX:
        max_backward(row, B, mem, indices)
    elif op == c.AVERAGE_POOL or op == c.GLOBAL_MEAN:
        mean_backward(row, B, mem, mask, op == c.GLOBAL_MEAN)
    elif op == c.DROPOUT:
        dropout_backward(row, rate, B, samples, key, mem)
    elif op == c.MERGE:
        merge_backward(row, B, mem)
    elif op == c.RESHAPE:
        reshape_backward(row, B, mem)
    elif op == c.CLEAR:
        clear_backward(row, B, mem, mask)
    elif op == c.ACTIVATION:
        activation_backward(row, B, mem)


@jit
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
    total = batch_total(batch.order, data.totals) if mode == c.TRAIN else 1.0
    for number in range(first, stop, step):
        _run_chunk(mode, plan, data, batch, params, scratch, sums, out, number, total)
    restore_denormals(control)


@jit
def _run_chunk(mode, plan, data, batch, params, scratch, sums, out, number, total):
    last, start = plan.rows.shape[0] - 1, number * batch.rows
    B = min(batch.rows, batch.order.size - start)
    samples = batch.order[start:start + B]
    for n in range(last):
        _forward(plan.rows[n], plan.rates[n], B, samples, batch.key, data, params, scratch)
    if mode != c.TRAIN:
        _write_logits(plan.rows[last], B, scratch.mem, out[start:start + B])
    if mode != c.PREDICT:
        loss(plan.rows[last], plan.loss, B, samples, total, data, scratch.mem, scratch.mask, sums.loss[number],
             mode == c.TRAIN)
    if mode == c.TRAIN:
        grads = params.grads[number]
        grads[:] = 0
        for n in range(last - 1, -1, -1):
            _backward(plan.rows[n], plan.rates[n], start, B, samples, batch.key, params, grads, scratch, sums.tokens)
