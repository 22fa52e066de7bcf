"""Activations of the CPU backend against NumPy in higher precision, and their bits."""

from __future__ import annotations

import re

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from tsrnn.backends.cpu import activations, lstm, vectors
from tsrnn.backends.cpu.jit import OPTIONS

DTYPES = [np.float32, np.float64]
njit = numba.njit(**OPTIONS)


@njit
def scalar_fma(a, b, c):
    return activations.fma(a, b, c)


@njit
def exp_all(x, y):
    for i in range(x.size):
        y[i] = activations.exp(x[i])


@njit
def tanh_all(x, y):
    for i in range(x.size):
        y[i] = activations.tanh(x[i])


@njit
def sigmoid_all(x, y):
    for i in range(x.size):
        y[i] = activations.sigmoid(x[i])


@njit
def softplus_all(x, y):
    for i in range(x.size):
        y[i] = activations.log1p_exp(x[i])


def apply(function, x):
    y = np.empty_like(x)
    function(x, y)
    return y


def points(dtype):
    """Everywhere: dense near 0, up to where exp overflows, and very small numbers."""
    end = 88 if dtype == np.float32 else 708
    small = np.logspace(-30, 0, 3001)
    parts = [np.linspace(-end, end, 50001), np.linspace(-25, 25, 50001), np.linspace(-1, 1, 50001), small, -small]
    return np.concatenate(parts).astype(dtype)


wide = np.longdouble
REFERENCES = {
    "exp": (exp_all, np.exp),
    "tanh": (tanh_all, np.tanh),
    "sigmoid": (sigmoid_all, lambda x: 1 / (1 + np.exp(-x))),
    "log1p_exp": (softplus_all, lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))),
}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_are_accurate(dtype, name):
    function, reference = REFERENCES[name]
    x = points(dtype)
    expected = reference(x.astype(wide))
    error = np.abs(apply(function, x).astype(wide) - expected)
    single = dtype == np.float32
    if name in ("tanh", "sigmoid"):
        assert error.max() <= (3e-7 if single else 4e-16)
        near = np.abs(x) <= 1  # small values keep their digits
        assert (error[near] / np.abs(expected[near]).clip(np.finfo(dtype).tiny)).max() <= (2.5e-7 if single else 6e-16)
    else:
        assert (error / expected).max() <= (2e-7 if single else 4e-16)


@njit
def lstm_step(mem, places, H):
    lstm.forward(mem, places, 1, H)


def in_a_cell(x):
    """Sigmoid and tanh of `x` as cells take them: whole vectors, the last one masked."""
    H = x.size
    gates, sums, h_before, h_now, c_before, c_now = (k * H for k in (0, 4, 8, 9, 10, 11))
    mem = np.zeros(12 * H, x.dtype)
    mem[sums:h_before] = np.tile(x, 4)
    lstm_step(mem, np.array([gates, sums, h_before, h_now, c_before, c_now, gates, 0]), H)
    i, f, g, o = mem[:sums].reshape(4, H)
    assert np.array_equal(i, f, equal_nan=True) and np.array_equal(i, o, equal_nan=True)
    return i, g


def everywhere(dtype):
    """`points` and far beyond them: where functions saturate, the largest numbers, and subnormal ones."""
    info, (low, high) = np.finfo(dtype), ((85, 90) if dtype == np.float32 else (700, 746))
    large = np.geomspace(1, info.max, 2001, dtype=wide)
    small = np.geomspace(info.smallest_subnormal, info.tiny, 501, dtype=wide)
    saturated = np.linspace(low, high, 20001)
    parts = [points(dtype), saturated, -saturated, large, -large, small, -small, [info.max, -info.max]]
    return np.concatenate(parts).clip(-info.max, info.max).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_in_cells_are_accurate_everywhere(dtype):
    x, info = everywhere(dtype), np.finfo(dtype)
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-x.astype(wide))), np.tanh(x.astype(wide))
    single = dtype == np.float32
    for got, wanted in zip(in_a_cell(x), expected, strict=True):
        error = np.abs(got.astype(wide) - wanted)
        assert error.max() <= (3e-7 if single else 4e-16)
        digits = np.abs(wanted) > 16 * info.tiny
        assert (error[digits] / np.abs(wanted[digits])).max() <= (2.5e-7 if single else 6e-16)
        assert error[~digits].max() <= info.tiny  # where sigmoid's exponential leaves the range
        assert np.abs(got).max() <= 1 and (got[x > 0] >= 0).all()
    rising = np.linspace(-30, 30, 100001).astype(dtype)
    assert (np.diff(in_a_cell(rising)[0]) >= -info.eps).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_in_cells_at_the_ends_and_in_rests_of_vectors(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0, 1e30, -1e30, 0.5, -3, 88.5], dtype)
    sigmoid, tanh = in_a_cell(np.resize(x, 41))
    np.testing.assert_allclose(sigmoid[:6], [np.nan, 1, 0, 0.5, 1, 0], rtol=0, atol=1e-38)
    np.testing.assert_array_equal(tanh[:6], [np.nan, 1, -1, 0, 1, -1])
    for H in range(1, 41):
        shorter = in_a_cell(np.resize(x, H))
        np.testing.assert_array_equal(shorter[0], sigmoid[:H])
        np.testing.assert_array_equal(shorter[1], tanh[:H])


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_at_the_ends(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1000.0, -1000.0], dtype)
    half, log2 = dtype(0.5), dtype(np.log(2.0))
    inf, nan = dtype(np.inf), dtype(np.nan)
    np.testing.assert_array_equal(apply(exp_all, x), np.array([nan, inf, 0, 1, 1, inf, 0], dtype))
    np.testing.assert_array_equal(apply(tanh_all, x), np.array([nan, 1, -1, 0, -0.0, 1, -1], dtype))
    assert np.signbit(apply(tanh_all, x)[4])
    np.testing.assert_allclose(apply(sigmoid_all, x), np.array([nan, 1, 0, half, half, 1, 0], dtype), rtol=0, atol=1e-38)
    np.testing.assert_array_equal(apply(softplus_all, x), np.array([nan, inf, 0, log2, log2, 1000, 0], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_reaches_the_largest_and_the_subnormal_numbers(dtype):
    info = np.finfo(dtype)
    x = np.log(np.array([info.max, info.tiny, info.tiny / 1024], dtype).astype(wide)).astype(dtype)
    x[0] = np.nextafter(x[0], dtype(0))
    rtol = 1e-3 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(apply(exp_all, x).astype(wide), np.exp(x.astype(wide)), rtol=rtol)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_keep_the_type_and_the_bits_of_each_element(dtype, name):
    function, _ = REFERENCES[name]
    x = np.random.default_rng(7).normal(scale=3, size=67).astype(dtype)
    together = apply(function, x)
    alone = np.concatenate([apply(function, x[i : i + 1]) for i in range(x.size)])
    assert np.array_equal(together, alone)
    shifted = np.concatenate([apply(function, x[:3]), apply(function, x[3:])])
    assert np.array_equal(together, shifted)
    one = numba.njit(**OPTIONS)(returns[name])
    one(dtype(0.3))
    assert [signature.return_type for signature in one.nopython_signatures] == [numba.from_dtype(np.dtype(dtype))]


returns = {
    "exp": lambda x: activations.exp(x),
    "tanh": lambda x: activations.tanh(x),
    "sigmoid": lambda x: activations.sigmoid(x),
    "log1p_exp": lambda x: activations.log1p_exp(x),
}


@pytest.mark.parametrize("function", [exp_all, tanh_all, sigmoid_all])
@pytest.mark.parametrize(("dtype", "letter"), [(np.float32, "s"), (np.float64, "d")])
def test_activation_loops_become_vector_code(function, dtype, letter):
    if "+fma" not in vectors.FEATURES:
        pytest.skip("this processor has no x86 FMA instructions")
    apply(function, np.ones(1, dtype))
    array = numba.from_dtype(np.dtype(dtype))[::1]
    assembly = function.inspect_asm((array, array))
    assert re.search(rf"vf(n)?madd\d+p{letter}\s.*[yz]mm", assembly)
    assert not re.search(r"cvtt?[ps][sd]2|\b(expf?|tanhf?|fmaf?)\b", assembly)


@pytest.mark.parametrize("dtype", DTYPES)
def test_fma_rounds_once(dtype):
    eps = np.finfo(dtype).eps
    a = dtype(1) + eps
    assert scalar_fma(a, a, dtype(-1) - 2 * eps) == eps * eps


def test_values_of_different_types_are_refused():
    with pytest.raises(TypingError, match="one type"):
        scalar_fma(np.float32(1), 2.0, np.float32(3))
