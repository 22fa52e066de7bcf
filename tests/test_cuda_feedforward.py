"""Merge, reshape, clear and activations of the CUDA backend against the NumPy backend."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_rows import compare, make_row, run_rows

from tsrnn.backends import contract as c
from tsrnn.backends.cuda import activations
from tsrnn.backends.cuda.feedforward import activate
from tsrnn.backends.cuda.jit import THREADS
from tsrnn.backends.cuda.place import CARD

DTYPES = [np.float32, np.float64]
SIZES = [(5, 3, 2, 1), (1, 5, 3, 2), (3, 1, 1, 3), (7, 4, 2, 2)]  # T, F, B, REPEAT
CODES = [c.LINEAR, c.TANH, c.RELU, c.SIGMOID]
wide = np.longdouble


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("code", [c.MERGE_SUM, c.MERGE_MUL, c.MERGE_AVE])
@pytest.mark.parametrize(("T", "F", "B", "repeat"), SIZES)
def test_merge(dtype, code, T, F, B, repeat):
    row, sizes = make_row(c.MERGE, T, F, repeat=repeat, CODE=code)
    compare(row, sizes, B, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("add", [0, 1])
@pytest.mark.parametrize(("shape", "to"), [((4, 3), (1, 12)), ((6, 2), (4, 3)), ((4, 3), (6, 2)), ((1, 6), (6, 1)),
                                           ((3, 3), (3, 3))])
@pytest.mark.parametrize(("B", "repeat"), [(1, 1), (2, 3)])
def test_reshape(dtype, add, shape, to, B, repeat):
    row, sizes = make_row(c.RESHAPE, *shape, *to, repeat=repeat, ADD_DX=add)
    compare(row, sizes, B, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("add", [0, 1])
@pytest.mark.parametrize(("T", "F", "B", "repeat"), SIZES)
def test_clear(dtype, add, T, F, B, repeat):
    row, sizes = make_row(c.CLEAR, T, F, repeat=repeat, masked=True, ADD_DX=add)
    compare(row, sizes, B, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("add", [0, 1])
def test_activation(dtype, code, add):
    row, sizes = make_row(c.ACTIVATION, 3, 5, repeat=2, ACT=code, ADD_DX=add)
    compare(row, sizes, 2, dtype)


@pytest.mark.parametrize("op", [c.RESHAPE, c.CLEAR, c.ACTIVATION])
def test_nothing_is_written_where_nobody_needs_the_gradient(op):
    row, sizes = make_row(op, 3, 2, masked=op == c.CLEAR, ACT=c.TANH, DX=c.NONE)
    compare(row, sizes, 2, np.float64)


def test_the_comparison_can_fail():
    row, sizes = make_row(c.MERGE, 3, 2, CODE=c.MERGE_SUM)
    rng = np.random.default_rng(0)
    memory = c.Scratch(rng.normal(size=sizes[0] * 2), np.zeros(2, np.int32), np.zeros(2, np.uint8))
    found, _ = run_rows(row, 0.0, memory, 2)
    row[c.CODE] = c.MERGE_MUL
    _, other = run_rows(row, 0.0, memory, 2)
    assert not np.allclose(found.mem, other.mem)


def on_card(dtype, code, x):
    """act(x) by the kernel of a layer `Activation`."""
    mem = CARD.put(np.concatenate([x, np.zeros_like(x)]).astype(dtype))
    activate(dtype, code)[-(-len(x) // THREADS), THREADS](len(x), mem, 0, len(x))
    found = np.empty(2 * len(x), dtype)
    CARD.get(mem, found)
    return found[len(x):]


def points(dtype):
    end = 88 if dtype == np.float32 else 708
    small = np.logspace(-30, 0, 101)
    return np.concatenate([np.linspace(-end, end, 401), np.linspace(-4, 4, 601), small, -small]).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_are_accurate(dtype):
    x, single = points(dtype), dtype == np.float32
    for code, expected in ((c.TANH, np.tanh(x.astype(wide))), (c.SIGMOID, 1 / (1 + np.exp(-x.astype(wide))))):
        error = np.abs(on_card(dtype, code, x).astype(wide) - expected)
        assert error.max() <= (3e-7 if single else 5e-16)
        near = np.abs(x) <= 1  # small values keep their digits
        assert (error[near] / np.abs(expected[near]).clip(np.finfo(dtype).tiny)).max() <= (3e-7 if single else 7e-16)


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_at_the_ends(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0, 1000, -1000, -0.0])
    np.testing.assert_array_equal(on_card(dtype, c.TANH, x), [np.nan, 1, -1, 0, 1, -1, 0])
    np.testing.assert_array_equal(on_card(dtype, c.SIGMOID, x), [np.nan, 1, 0, 0.5, 1, 0, 0.5])
    np.testing.assert_array_equal(on_card(dtype, c.RELU, x), [np.nan, np.inf, 0, 0, 1000, 0, 0])
    np.testing.assert_array_equal(on_card(dtype, c.LINEAR, x), x)
    assert np.signbit(on_card(dtype, c.TANH, x)[-1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "expm1", "tanh", "log1p", "log", "sqrt"])
def test_simulated_functions_keep_the_type(dtype, name):
    with np.errstate(all="ignore"):
        for x in (0.3, 1000, np.inf, np.nan):
            assert isinstance(getattr(activations, name)(dtype(x)), dtype)
