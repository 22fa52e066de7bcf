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
    """Ids → indices (T, B); with OPTION & 1 id 0 is padding, with OPTION & 2 distinct tokens are numbered."""
    steps = row[c.T_OUT]
    ids, mask = chunk.winners(row, steps, chunk.B), chunk.mask(row, c.MASK_OUT, c.T_OUT)
    for b, sample in enumerate(chunk.samples):
        length = min(chunk.data.lengths[sample], steps)
        start = chunk.data.starts[sample]
        ids[:length, b] = chunk.data.ids[start:start + length]
        ids[length:, b] = 0
        if mask is not None:
            mask[:, b] = np.arange(steps) < length
            if row[c.OPTION] & 1:
                mask[:, b] &= ids[:, b] != 0
    if row[c.OPTION] & 2:
        found, first, number = np.unique(ids.T.ravel(), return_index=True, return_inverse=True)
        order = np.argsort(first)
        at = (row[c.WORK] + steps) * chunk.B
        chunk.scratch.indices[at:at + len(found)] = found[order]
        chunk.scratch.indices[at + steps * chunk.B] = len(found)
        ids[...] = np.argsort(order)[number].reshape(chunk.B, steps).T


def embedding_forward(chunk, row, rate):
    table = chunk.params.theta[row[c.PARAM]:].reshape(-1, row[c.F_OUT])
    if row[c.OPTION] & 2:
        ids = chunk.tokens(row)[1]
        chunk.y(row).reshape(-1, row[c.F_OUT])[:len(ids)] = table[ids]
    else:
        chunk.y(row)[...] = table[chunk.winners(row, row[c.T_OUT], chunk.B)]


def embedding_backward(chunk, row, rate):
    """Hands the output's gradient and its ids back; the table's own is built once a step, over all chunks."""
    steps, features = row[c.T_OUT], row[c.F_OUT]
    if row[c.DY] == c.NONE:  # the table is not trained
        return
    part = slice(chunk.first * steps, (chunk.first + chunk.B) * steps)
    tokens, token_ids = chunk.sums.tokens.reshape(-1)[:chunk.sums.token_ids.size * features], chunk.sums.token_ids[part]
    tokens = tokens[part.start * features:part.stop * features].reshape(-1, features)
    if row[c.OPTION] & 2:
        ids = chunk.tokens(row)[1]
        token_ids[...] = -1
        token_ids[:len(ids)], tokens[:len(ids)] = ids, chunk.y(row, c.DY).reshape(-1, features)[:len(ids)]
    else:
        token_ids[...] = chunk.winners(row, steps, chunk.B).T.ravel()
        tokens[...] = chunk.y(row, c.DY).transpose(1, 0, 2).reshape(-1, features)
