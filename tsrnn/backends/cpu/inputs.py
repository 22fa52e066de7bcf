"""From the flat data of a fit into a chunk, and the embedding."""

from __future__ import annotations

from tsrnn.backends import contract as c
from tsrnn.backends.cpu.jit import jit


@jit
def gather(row, rate, chunk):
    """Samples → Y (T, B, F), zeros behind their length."""
    B, samples, mem, mask = chunk.B, chunk.samples, chunk.scratch.mem, chunk.scratch.mask
    values, starts, lengths = chunk.data.values, chunk.data.starts, chunk.data.lengths
    T, F = row[c.T_OUT], row[c.F_OUT]
    for b in range(B):
        length, start = min(lengths[samples[b]], T), starts[samples[b]]
        for t in range(T):
            at = row[c.Y] * B + (t * B + b) * F
            y = mem[at:at + F]
            if t < length:
                x = values[start + t * F:start + (t + 1) * F]
                for j in range(F):
                    y[j] = x[j]
            else:
                y[:] = 0
            if row[c.MASK_OUT] != c.NONE:
                mask[row[c.MASK_OUT] * B + t * B + b] = t < length


@jit
def gather_ids(row, rate, chunk):
    """Ids → indices (T, B); with OPTION id 0 is padding."""
    B, samples, indices, mask = chunk.B, chunk.samples, chunk.scratch.indices, chunk.scratch.mask
    ids, starts, lengths = chunk.data.ids, chunk.data.starts, chunk.data.lengths
    T = row[c.T_OUT]
    for b in range(B):
        length, start = min(lengths[samples[b]], T), starts[samples[b]]
        for t in range(T):
            token = ids[start + t] if t < length else 0
            indices[row[c.WORK] * B + t * B + b] = token
            if row[c.MASK_OUT] != c.NONE:
                mask[row[c.MASK_OUT] * B + t * B + b] = t < length and not (row[c.OPTION] and token == 0)


@jit
def embedding_forward(row, rate, chunk):
    B, indices, theta, mem = chunk.B, chunk.scratch.indices, chunk.params.theta, chunk.scratch.mem
    E, ids, y = row[c.F_OUT], row[c.WORK] * B, row[c.Y] * B
    for q in range(row[c.T_OUT] * B):
        at = row[c.PARAM] + indices[ids + q] * E
        source, target = theta[at:at + E], mem[y + q * E:y + (q + 1) * E]
        for j in range(E):
            target[j] = source[j]


@jit
def embedding_backward(row, rate, chunk):
    """Hands the output's gradient back by row of the batch; the table's own is built once a step, over all chunks."""
    B, first, mem, tokens = chunk.B, chunk.first, chunk.scratch.mem, chunk.tokens
    T, E, dy = row[c.T_OUT], row[c.F_OUT], row[c.DY] * B
    for b in range(B):
        for t in range(T):
            source, target = dy + (t * B + b) * E, ((first + b) * T + t) * E
            tokens[target:target + E] = mem[source:source + E]
