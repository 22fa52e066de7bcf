"""Dropout from counter-based random bits; the words are those of `tsrnn.backends.numpy.randomness`."""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.jit import cuda, device, family
from tsrnn.backends.numpy.randomness import GOLDEN, M1, M2, threshold

S15, S16 = np.uint32(15), np.uint32(16)


@device
def mix():
    """lowbias32 of a uint32.  Numba widens products to 64 bits, hence the casts."""
    def function(x):
        x = np.uint32(np.uint32(x ^ (x >> S16)) * M1)
        x = np.uint32(np.uint32(x ^ (x >> S15)) * M2)
        return np.uint32(x ^ (x >> S16))
    return function


@device
def scale_of(dtype):
    """What dropout multiplies with: `scale`, or 0 where the position's word is below `limit`, see `constants`.

    Of a sample's words (and a sub-sequence's) only the last two mixes depend on the position: in a loop over positions the
    compiler takes the rest out of it.
    """
    zero, mixed = dtype(0), mix()

    def function(key0, key1, stream, sample, sub, position, limit, scale):
        word = mixed(np.uint32(key0 ^ mixed(np.uint32(stream))))
        word = mixed(np.uint32(word ^ np.uint32(np.uint32(sample) * GOLDEN)))
        word = mixed(np.uint32(word ^ np.uint32(np.uint32(sub) + key1)))
        word = mixed(np.uint32(np.uint32(np.uint32(position) * GOLDEN) ^ word))
        word = mixed(np.uint32(word + key1))
        return scale if word >= limit else zero
    return function


def constants(dtype, rate):
    """`limit` and `scale` of a dropout rate, as kernels take them."""
    return threshold(rate), dtype(1 / (1 - rate))


@family
def drop(dtype, steps_share, add):
    scale_at = scale_of(dtype)

    def kernel(steps, columns, mem, samples, key, F, stream, source, target, limit, scale):
        q = cuda.grid(1)
        if q < columns:
            row = q // F
            feature, sub = q - row * F, row // samples.size
            sample = samples[row - sub * samples.size]
            for t in range(cuda.blockIdx.y, steps, cuda.gridDim.y):
                position = feature if steps_share else t * F + feature
                factor = scale_at(key[0], key[1], stream, sample, sub, position, limit, scale)
                i = t * columns + q
                value = mem[source + i] * factor
                mem[target + i] = mem[target + i] + value if add else value
    return kernel


def _record(recorder, row, rate, source, target, add):
    kernel = drop(recorder.dtype, bool(row[c.OPTION]), add)
    recorder.each_step(kernel, row[c.T_IN], recorder.rows(row) * row[c.F_IN], recorder.mem, recorder.samples, recorder.key,
                       int(row[c.F_IN]), int(row[c.STREAM]), recorder.at(row[source]), recorder.at(row[target]),
                       *constants(recorder.dtype, rate))


def dropout_forward(recorder, row, rate):
    _record(recorder, row, rate, c.X, c.Y, False)


def dropout_backward(recorder, row, rate):
    if row[c.DX] != c.NONE:
        _record(recorder, row, rate, c.DY, c.DX, bool(row[c.ADD_DX]))
