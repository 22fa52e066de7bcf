"""Dropout from counter-based random bits; the words are those of `tsrnn.backends.numpy.randomness`."""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cpu.jit import jit
from tsrnn.backends.numpy.randomness import GOLDEN, M1, M2

S15, S16 = np.uint32(15), np.uint32(16)


@jit(inline="always")
def mix(x):
    """lowbias32 of a uint32.  Numba widens products to 64 bits, hence the casts."""
    x = np.uint32(np.uint32(x ^ (x >> S16)) * M1)
    x = np.uint32(np.uint32(x ^ (x >> S15)) * M2)
    return np.uint32(x ^ (x >> S16))


@jit
def row_key(key, stream, sample, sub):
    """Key of one sample's (and sub-sequence's) words."""
    k = mix(np.uint32(key[0] ^ mix(np.uint32(stream))))
    k = mix(np.uint32(k ^ np.uint32(np.uint32(sample) * GOLDEN)))
    return mix(np.uint32(k ^ np.uint32(np.uint32(sub) + key[1])))


@jit
def keep_scale(key0, key1, first, rate, out):
    """``out[j]``: 0 or 1 / (1 - rate), for the positions ``first + j`` of the row key `key0`."""
    limit = np.uint32(min(round(rate * 4294967296.0), 4294967295.0))
    scale, zero = out.dtype.type(1 / (1 - rate)), out.dtype.type(0)
    for j in range(out.size):
        position = np.uint32(np.uint32(first + j) * GOLDEN)
        word = mix(np.uint32(mix(np.uint32(position ^ key0)) + key1))
        out[j] = scale if word >= limit else zero


@jit
def _apply(row, rate, chunk, source, target):
    """``target = source * keep / (1 - rate)``, a row (step, sample) at a time."""
    B, samples, key, mem = chunk.B, chunk.samples, chunk.key, chunk.scratch.mem
    rows, F = B * row[c.REPEAT], row[c.F_IN]
    for r in range(rows):
        word_key = row_key(key, row[c.STREAM], samples[r % B], r // B)
        for t in range(row[c.T_IN]):
            at = (t * rows + r) * F
            x, y = mem[source + at:source + at + F], mem[target + at:target + at + F]
            keep_scale(word_key, key[1], 0 if row[c.OPTION] else t * F, rate, y)
            for j in range(F):
                y[j] *= x[j]


@jit
def dropout_forward(row, rate, chunk):
    _apply(row, rate, chunk, row[c.X] * chunk.B, row[c.Y] * chunk.B)


@jit
def dropout_backward(row, rate, chunk):
    if row[c.DX] != c.NONE:
        _apply(row, rate, chunk, row[c.DY] * chunk.B, row[c.DX] * chunk.B)
