"""From the flat data of a fit into a chunk, and the embedding."""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cpu.jit import inner


@inner
def gather(row, rate, chunk):
    """Samples → Y (T, B, F), zeros behind their length."""
    B, samples, mem, mask = chunk.B, chunk.samples, chunk.scratch.mem, chunk.scratch.mask
    values, starts, lengths = chunk.data.values, chunk.data.starts, chunk.data.lengths
    T, F, zero = row[c.T_OUT], row[c.F_OUT], mem.dtype.type(0)
    for b in range(B):
        length, start = min(lengths[samples[b]], T), starts[samples[b]]
        for t in range(T):
            y, x = row[c.Y] * B + (t * B + b) * F, start + t * F
            for j in range(F):  # no views: those are counted, and F may be 1
                mem[y + j] = values[x + j] if t < length else zero
        if row[c.MASK_OUT] != c.NONE:
            for t in range(T):
                mask[row[c.MASK_OUT] * B + t * B + b] = t < length


@inner
def gather_ids(row, rate, chunk):
    """Ids → indices (T, B); with OPTION & 1 id 0 is padding, with OPTION & 2 distinct tokens are numbered."""
    B, samples, indices, mask = chunk.B, chunk.samples, chunk.scratch.indices, chunk.scratch.mask
    ids, starts, lengths = chunk.data.ids, chunk.data.starts, chunk.data.lengths
    T = row[c.T_OUT]
    for b in range(B):
        length, start = min(lengths[samples[b]], T), starts[samples[b]]
        for t in range(T):
            token = ids[start + t] if t < length else 0
            indices[row[c.WORK] * B + t * B + b] = token
            if row[c.MASK_OUT] != c.NONE:
                mask[row[c.MASK_OUT] * B + t * B + b] = t < length and not (row[c.OPTION] & 1 and token == 0)
    if row[c.OPTION] & 2:
        _number(row, B, indices)


@inner
def _number(row, B, indices):
    """Ids at WORK → numbers of the distinct tokens, behind them the tokens' ids, and their number."""
    size, at = row[c.T_OUT] * B, row[c.WORK] * B
    place = indices[indices.size - row[c.VOCABULARY]:]  # id → number + 1; zeros before and after
    count = 0
    for b in range(B):
        for t in range(row[c.T_OUT]):
            token = indices[at + t * B + b]
            if place[token] == 0:
                indices[at + size + count] = token
                count += 1
                place[token] = count
            indices[at + t * B + b] = place[token] - 1
    for d in range(count):
        place[indices[at + size + d]] = 0
    indices[at + 2 * size] = count


@inner
def n_tokens(unit, T, B, indices):
    """Number of the chunk's distinct tokens; `unit` is where their numbers begin."""
    return np.int64(indices[(unit + 2 * T) * B])


@inner
def embedding_forward(row, rate, chunk):
    B, indices, theta, mem = chunk.B, chunk.scratch.indices, chunk.params.theta, chunk.scratch.mem
    T, E, ids, y = row[c.T_OUT], row[c.F_OUT], row[c.WORK] * B, row[c.Y] * B
    count = T * B
    if row[c.OPTION] & 2:
        ids, count = ids + T * B, n_tokens(row[c.WORK], T, B, indices)
    for q in range(count):
        at = row[c.PARAM] + indices[ids + q] * E
        source, target = theta[at:at + E], mem[y + q * E:y + (q + 1) * E]
        for j in range(E):
            target[j] = source[j]


@inner
def embedding_backward(row, rate, chunk):
    """Hands the output's gradient and its ids back; the table's own is built once a step, over all chunks."""
    B, mem, indices, tokens, token_ids = chunk.B, chunk.scratch.mem, chunk.scratch.indices, chunk.tokens, chunk.token_ids
    T, E, dy, ids = row[c.T_OUT], row[c.F_OUT], row[c.DY] * B, row[c.WORK] * B
    first = chunk.first * T
    if row[c.DY] == c.NONE:  # the table is not trained
        return
    if row[c.OPTION] & 2:
        count = n_tokens(row[c.WORK], T, B, indices)
        tokens[first * E:(first + count) * E] = mem[dy:dy + count * E]
        token_ids[first:first + count] = indices[ids + T * B:ids + T * B + count]
        token_ids[first + count:first + T * B] = -1
        return
    for b in range(B):
        for t in range(T):
            source, target = t * B + b, first + b * T + t
            token_ids[target] = indices[ids + source]
            tokens[target * E:(target + 1) * E] = mem[dy + source * E:dy + (source + 1) * E]
