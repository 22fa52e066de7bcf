"""From the flat data of a fit into a chunk, and the embedding."""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c


def gather(chunk, row, rate):
    """Samples → Y (T, B, F), zeros behind their length."""
    y, mask = chunk.y(row), chunk.mask(row, c.MASK_OUT, c.T_OUT)
    steps, _, features = y.shape
    for b, sample in enumerate(chunk.samples):
        length = min(chunk.data.lengths[sample], steps)
        start = chunk.data.starts[sample]
        y[:length, b] = chunk.data.values[start:start + length * features].reshape(length, features)
        y[length:, b] = 0
        if mask is not None:
            mask[:, b] = np.arange(steps) < length


def gather_ids(chunk, row, rate):
    """Ids → indices (T, B); with OPTION id 0 is padding."""
    steps = row[c.T_OUT]
    ids, mask = chunk.winners(row, steps, chunk.B), chunk.mask(row, c.MASK_OUT, c.T_OUT)
    for b, sample in enumerate(chunk.samples):
        length = min(chunk.data.lengths[sample], steps)
        start = chunk.data.starts[sample]
        ids[:length, b] = chunk.data.ids[start:start + length]
        ids[length:, b] = 0
        if mask is not None:
            mask[:, b] = np.arange(steps) < length
            if row[c.OPTION]:
                mask[:, b] &= ids[:, b] != 0


def embedding_forward(chunk, row, rate):
    y = chunk.y(row)
    ids = chunk.winners(row, row[c.T_OUT], chunk.B)
    table = chunk.params.theta[row[c.PARAM]:].reshape(-1, row[c.F_OUT])
    y[...] = table[ids]


def embedding_backward(chunk, row, rate):
    """Hands the output's gradient back by row of the batch; the table's own is built once a step, over all chunks."""
    steps, features = row[c.T_OUT], row[c.F_OUT]
    tokens = chunk.sums.tokens[:len(chunk.batch.order) * steps * features].reshape(-1, steps, features)
    tokens[chunk.first:chunk.first + chunk.B] = chunk.y(row, c.DY).transpose(1, 0, 2)
