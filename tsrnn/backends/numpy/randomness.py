"""Counter-based random bits: a hash of (seed, epoch), stream, sample, sub-sequence and position.

No state, so the mask of a sample is the same in whatever batch, chunk, thread or resumed fit it is computed.  The mixing
function is Wellons' "lowbias32" (public domain, nullprogram.com/blog/2018/07/31): full avalanche on 32 bits.
"""

from __future__ import annotations

import numpy as np

GOLDEN = np.uint32(0x9E3779B9)
M1, M2 = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)


def mix(x):
    """lowbias32 of an array of uint32."""
    x = np.asarray(x, np.uint32)
    x = (x ^ (x >> np.uint32(16))) * M1
    x = (x ^ (x >> np.uint32(15))) * M2
    return x ^ (x >> np.uint32(16))


def bits(key, stream, samples, subs, n):
    """(len(samples), n) uint32: the words of stream `stream` for each (sample, sub-sequence) at positions 0..n-1."""
    samples, subs = np.asarray(samples, np.uint32)[:, None], np.asarray(subs, np.uint32)[:, None]
    stream_key = mix(np.asarray([key[0] ^ mix([stream])[0]], np.uint32))
    row_key = mix(mix(stream_key ^ samples * GOLDEN) ^ subs + key[1])
    positions = np.arange(n, dtype=np.uint32)[None, :]
    return mix(mix(positions * GOLDEN ^ row_key) + key[1])


def threshold(rate):
    """Words below it are dropped."""
    return np.uint32(min(round(rate * 2.0**32), 2**32 - 1))
