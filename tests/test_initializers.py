"""Initial weights: ranges and variances, orthogonality, determinism."""

import numpy as np
import pytest

from tsrnn import initializers


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape, fans", [((80, 200), 280), ((5, 40, 60), 5 * 100), ((1, 64, 256), 320)])
def test_glorot_uniform_has_its_range_and_variance(shape, fans):
    w = initializers.glorot_uniform(rng(), shape)
    limit = np.sqrt(6 / fans)
    assert w.shape == shape and w.dtype == np.float64
    assert 0.99 * limit < np.abs(w).max() <= limit
    assert abs(w.mean()) < 0.03 * limit
    np.testing.assert_allclose(w.var(), 2 / fans, rtol=0.03)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (64, 256), (50, 50), (30, 7), (128, 384)])
def test_orthogonal_has_orthonormal_rows_or_columns(shape):
    w = initializers.orthogonal(rng(), shape)
    assert w.shape == shape and w.flags.c_contiguous
    gram = w @ w.T if shape[0] <= shape[1] else w.T @ w
    np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-14)


def test_orthogonal_is_the_q_of_a_qr_decomposition_with_positive_diagonal():
    q, r = np.linalg.qr(rng(3).standard_normal((12, 48)).T)
    np.testing.assert_allclose(initializers.orthogonal(rng(3), (12, 48)), (q * np.sign(np.diag(r))).T, atol=1e-13)


def test_orthogonal_is_uniformly_distributed():
    first = np.array([initializers.orthogonal(rng(seed), (3, 3))[0, 0] for seed in range(2000)])
    # One coordinate of a uniform point of the sphere in three dimensions is uniform in [-1, 1].
    assert abs(first.mean()) < 0.05
    np.testing.assert_allclose(first.var(), 1 / 3, rtol=0.08)


def test_uniform_has_keras_range():
    w = initializers.uniform(rng(), (1000, 16))
    assert w.shape == (1000, 16) and 0.0499 < np.abs(w).max() <= 0.05 and abs(w.mean()) < 1e-3


def test_biases():
    bias = initializers.lstm_bias(rng(), (12,))
    np.testing.assert_array_equal(bias, [0] * 3 + [1] * 3 + [0] * 6)
    assert not initializers.zeros(rng(), (5,)).any()


@pytest.mark.parametrize("name", ["glorot_uniform", "orthogonal", "uniform"])
def test_the_generator_alone_decides(name):
    make = getattr(initializers, name)
    np.testing.assert_array_equal(make(rng(7), (8, 24)), make(rng(7), (8, 24)))
    assert not np.array_equal(make(rng(7), (8, 24)), make(rng(8), (8, 24)))
