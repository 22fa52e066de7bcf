"""Walks a plan's rows over the chunks of a batch."""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.numpy import feedforward, finish, inputs, losses, pooling, recurrent
from tsrnn.backends.solvers import NO_SOLVER

FORWARD = {
    c.INPUT: inputs.gather, c.IDS: inputs.gather_ids, c.EMBEDDING: inputs.embedding_forward,
    c.RECURRENT: recurrent.forward, c.MERGE: feedforward.merge_forward, c.DENSE: feedforward.dense_forward,
    c.CONV: feedforward.conv_forward, c.MAX_POOL: pooling.max_forward, c.AVERAGE_POOL: pooling.average_forward,
    c.GLOBAL_MAX: pooling.global_max_forward, c.GLOBAL_MEAN: pooling.global_mean_forward,
    c.DROPOUT: feedforward.dropout_forward, c.RESHAPE: feedforward.reshape_forward, c.CLEAR: feedforward.clear_forward,
    c.ACTIVATION: feedforward.activation_forward,
}
BACKWARD = {
    c.EMBEDDING: inputs.embedding_backward, c.RECURRENT: recurrent.backward, c.MERGE: feedforward.merge_backward,
    c.DENSE: feedforward.dense_backward, c.CONV: feedforward.conv_backward, c.MAX_POOL: pooling.max_backward,
    c.AVERAGE_POOL: pooling.average_backward, c.GLOBAL_MAX: pooling.global_max_backward,
    c.GLOBAL_MEAN: pooling.global_mean_backward, c.DROPOUT: feedforward.dropout_backward,
    c.RESHAPE: feedforward.reshape_backward, c.CLEAR: feedforward.clear_backward,
    c.ACTIVATION: feedforward.activation_backward,
}


class Chunk:
    """One chunk of a batch: the arrays, and views of them by the columns of a row."""

    def __init__(self, number, plan, data, batch, params, scratch, sums):
        self.number, self.plan, self.data, self.batch = number, plan, data, batch
        self.params, self.scratch, self.sums = params, scratch, sums
        self.first = number * batch.rows
        self.B = min(batch.rows, len(batch.order) - self.first)
        self.samples = batch.order[self.first:self.first + self.B]
        self.grads = None  # of this chunk, in training alone: the other modes have more chunks than there is room for

    def rows(self, row):
        return self.B * row[c.REPEAT]

    def view(self, unit, *shape):
        at = unit * self.B
        return self.scratch.mem[at:at + int(np.prod(shape))].reshape(shape)

    def x(self, row, column=c.X):
        return self.view(row[column], row[c.T_IN], self.rows(row), row[c.F_IN])

    def y(self, row, column=c.Y):
        return self.view(row[column], row[c.T_OUT], self.rows(row), row[c.F_OUT])

    def mask(self, row, column=c.MASK_IN, steps=c.T_IN):
        """(T, B) booleans, or None where every step is real."""
        if row[column] == c.NONE:
            return None
        at, shape = row[column] * self.B, (row[steps], self.rows(row))
        return self.scratch.mask[at:at + shape[0] * shape[1]].reshape(shape).view(np.bool_)

    def winners(self, row, *shape):
        at = row[c.WORK] * self.B
        return self.scratch.indices[at:at + int(np.prod(shape))].reshape(shape)

    def tokens(self, row, column=c.WORK):
        """Numbers of the positions' tokens (T, B), ids of the distinct tokens (D,)."""
        at, size = row[column] * self.B, row[c.T_IN] * self.B
        numbers, ids, (count,) = np.split(self.scratch.indices[at:at + 2 * size + 1], [size, 2 * size])
        return numbers.reshape(-1, self.B), ids[:count]

    def put_dx(self, row, dx):
        """Writes or adds the gradient of the row's input, where somebody needs it."""
        if row[c.DX] == c.NONE:
            return
        target = self.x(row, c.DX) if dx.ndim == 3 else self.view(row[c.DX], row[c.T_IN] * self.B, row[c.F_IN])[:len(dx)]
        target[...] = target + dx if row[c.ADD_DX] else dx

    def param(self, row, shape, offset=0, grad=False):
        """A stored parameter of the row, or its gradient, and the offset behind it."""
        source = self.grads if grad else self.params.theta
        at, size = row[c.PARAM] + offset, int(np.prod(shape))
        return source[at:at + size].reshape(shape)


def kernels(rows, dtype, train):
    """Nothing to make ready: `FORWARD` and `BACKWARD` are the table."""
    return np.zeros((len(rows) + 1, 2), np.int64)


def assign_pack(rows, itemsize):
    """This backend rearranges nothing."""
    return 1


def pack(plan, theta, packed):
    """This backend rearranges nothing."""


def run(mode, plan, data, batch, params, scratch, sums, out, first, stop, step):
    """See the contract."""
    for number in range(first, stop, step):
        chunk = Chunk(number, plan, data, batch, params, scratch, sums)
        _forward(chunk)
        last = plan.rows[-1]
        logits = chunk.x(last).transpose(1, 0, 2)
        out[chunk.first:chunk.first + chunk.B] = logits.reshape(chunk.B, -1)
        if mode == c.EVALUATE:
            losses.loss(chunk, last, False)


def train(plan, data, steps, params, scratch, sums, update, meeting, thread):
    """See the contract.  The first thread does it all: Python runs one at a time anyway."""
    if thread > 0:
        return
    for (first, stop), rows, key, hyper, result in zip(steps.bounds, steps.rows, steps.keys, steps.hyper, steps.losses):
        batch = c.Batch(steps.order[first:stop], rows, key)
        n_chunks = -(-len(batch.order) // rows)
        for number in range(n_chunks):
            _gradient(Chunk(number, plan, data, batch, params, scratch, sums))
        result[0], result[1] = sums.loss[:n_chunks].sum(axis=0)
        positions = len(batch.order) * plan.rows[0, c.T_OUT] if update.table[1] else 0
        norm, result[2] = finish.finish_gradient(params.theta, params.grads[:n_chunks], sums.tokens, sums.token_ids[:positions],
                                                 update, hyper)
        if update.solver != NO_SOLVER:
            if not (np.isfinite(result[0]) and np.isfinite(norm)):
                return
            finish.apply_update(params.theta, update, hyper, norm)
        meeting[c.DONE] += 1


def _forward(chunk):
    for row, rate in zip(chunk.plan.rows[:-1], chunk.plan.rates):
        FORWARD[int(row[c.OP])](chunk, row, rate)


def _gradient(chunk):
    """Loss and gradient of a chunk."""
    plan = chunk.plan
    _forward(chunk)
    losses.loss(chunk, plan.rows[-1], True)
    chunk.grads = chunk.params.grads[chunk.number]
    chunk.grads[:] = 0
    for row, rate in zip(plan.rows[-2::-1], plan.rates[-2::-1]):
        backward = BACKWARD.get(int(row[c.OP]))
        if backward is not None:
            backward(chunk, row, rate)
