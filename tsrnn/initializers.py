"""Initial weights, Keras' choices: Glorot uniform, orthogonal recurrent kernels, a forget bias of 1.

Each function takes ``(rng, shape)``, the shape as it is stored (``(in, out)``; ``(K, C, O)`` for a convolution) and
returns float64, so that float32 and float64 networks start from the same numbers.  All draws come from `rng`; no BLAS or
LAPACK is used, because the bits of its results may change with the number of its threads.
"""

from __future__ import annotations

import math

import numpy as np


def zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Zeros; `rng` is not used."""
    return np.zeros(shape)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], limit: float = 0.05) -> np.ndarray:
    """Uniform in ``[-limit, limit)``: Keras' embeddings."""
    return rng.uniform(-limit, limit, shape)


def glorot_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform with variance ``2 / (fan_in + fan_out)`` (Glorot and Bengio, 2010).

    The fans of ``(in, out)`` are its sizes, stacked gates counted as they stand (as Keras does); those of a convolution
    ``(K, C, O)`` are ``K C`` and ``K O``.
    """
    *window, fan_in, fan_out = shape
    limit = math.sqrt(6.0 / (math.prod(window) * (fan_in + fan_out)))
    return rng.uniform(-limit, limit, shape)


def orthogonal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A matrix with orthonormal rows (or columns, if there are fewer), uniformly distributed (Saxe et al., 2013).

    The kernel ``(H, G H)`` of G stacked gates is one such matrix, as in Keras: its rows are orthonormal.

    It is the Q of a Gaussian matrix's QR decomposition with positive diagonal of R, made by Gram-Schmidt with every vector
    cleared twice ("twice is enough": orthogonal to rounding), which needs nothing of LAPACK.
    """
    rows, columns = min(shape), max(shape)
    q = rng.standard_normal((rows, columns))
    for j in range(rows):
        for _ in range(2):
            q[j] -= np.einsum("i,ik->k", np.einsum("ik,k->i", q[:j], q[j]), q[:j])
        q[j] /= math.sqrt(np.square(q[j]).sum())
    return q if shape[0] == rows else np.ascontiguousarray(q.T)


def lstm_bias(rng: np.random.Generator, shape: tuple[int]) -> np.ndarray:
    """``b_ih`` of an LSTM, ``(4 H,)`` in the order i, f, g, o: 1 for the forget gate, else 0 (Jozefowicz et al., 2015)."""
    bias = np.zeros(shape)
    units = shape[0] // 4
    bias[units : 2 * units] = 1.0
    return bias
