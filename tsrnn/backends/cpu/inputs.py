"""From the flat data of a fit into a chunk, and the embedding."""

from __future__ import annotations

from tsrnn.backends import contract as c
from tsrnn.backends.cpu.jit import jit


@jit
def gather(row, B, samples, values, starts, lengths, mem, mask):
    """Samples → Y (T, B, F), zeros behind their length."""
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
def gather_ids(row, B, samples, ids, starts, lengths, indices, mask):
    """Ids → indices (T, B); with OPTION id 0 is padding."""
    T = row[c.T_OUT]
    for b in range(B):
        length, start = min(lengths[samples[b]], T), starts[samples[b]]
        for t in range(T):
            token = ids[start + t] if t < length else 0
            indices[row[c.WORK] * B + t * B + b] = token
            if row[c.MASK_OUT] != c.NONE:
                mask[row[c.MASK_OUT] * B + t * B + b] = t < length and not (row[c.OPTION] and token == 0)


@jit
def embedding_forward(row, B, indices, theta, mem):
    E, ids, y = row[c.F_OUT], row[c.WORK] * B, row[c.Y] * B
    for q in range(row[c.T_OUT] * B):
        at = row[c.PARAM] + indices[ids + q] * E
        source, target = theta[at:at + E], mem[y + q * E:y + (q + 1) * E]
        for j in range(E):
            target[j] = source[j]


@jit
def embedding_backward(row, B, first, mem, tokens):
    """Hands the output's gradient back by row of the batch; the table's own is built once a step, over all chunks."""
    T, E, dy = row[c.T_OUT], row[c.F_OUT], row[c.DY] * B
    for b in range(B):
        for t in range(T):
            source, target = dy + (t * B + b) * E, ((first + b) * T + t) * E
            tokens[target:target + E] = mem[source:source + E]
