"""Pooling of the CUDA backend against the NumPy backend: windows and whole sequences, with and without masks."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_rows import compare, make_memory, make_row, run_rows

from tsrnn.backends import contract as c
from tsrnn.backends.cuda import pooling
from tsrnn.backends.cuda.jit import SIMULATED

DTYPES = [np.float32, np.float64]
LONG = 200 if not SIMULATED else 11  # steps that a block shares out
WINDOWS = [(6, 2), (7, 3), (2, 3), (1, 1), (LONG + 2, LONG // 2), (2 * LONG + 1, LONG), (25, 5)]  # T, KERNEL
MEMBERS = [(1, 1, 1), (3, 2, 1), (2, 4, 2)]  # F, B, REPEAT


def pool_row(op, T, kernel, F, repeat, masked, **columns):
    whole = op in (c.GLOBAL_MAX, c.GLOBAL_MEAN)
    T_out = 1 if whole else max(T // kernel, 1)
    return make_row(op, T, F, T_out, repeat=repeat, masked=masked, mask_out=not whole, KERNEL=0 if whole else kernel,
                    indices=T_out * F if op in (c.MAX_POOL, c.GLOBAL_MAX) else 0, **columns)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [c.MAX_POOL, c.AVERAGE_POOL])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("T", "kernel"), WINDOWS)
def test_windows(dtype, op, masked, T, kernel):
    for number, (F, B, repeat) in enumerate(MEMBERS):
        row, sizes = pool_row(op, T, kernel, F, repeat, masked, ADD_DX=number % 2)
        compare(row, sizes, B, dtype, seed=number)


@pytest.mark.parametrize("op", [c.MAX_POOL, c.AVERAGE_POOL])
@pytest.mark.parametrize(("T", "kernel"), [(6, 2), (7, 3), (5, 1)])
def test_which_windows_count(op, T, kernel):
    row, sizes = pool_row(op, T, kernel, 1, 2, True, DX=c.NONE)
    found = compare(row, sizes, 12, np.float32)
    real = found.mask[row[c.MASK_IN] * 12:][:T * 24].reshape(T, 24)[:T // kernel * kernel].reshape(-1, kernel, 24)
    counts = found.mask[row[c.MASK_OUT] * 12:][:T // kernel * 24].reshape(-1, 24)
    whole = real.all(axis=1).any(axis=0)
    assert 3 < whole.sum() < 24
    assert (counts[:, whole] == real.all(axis=1)[:, whole]).all() and counts[:, ~whole].sum(axis=0).max() <= 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [c.GLOBAL_MAX, c.GLOBAL_MEAN])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("T", [1, 3, LONG, 2 * LONG])
@pytest.mark.parametrize("add", [0, 1])
def test_whole_sequences(dtype, op, masked, T, add):
    for number, (F, B, repeat) in enumerate(MEMBERS):
        row, sizes = pool_row(op, T, 0, F, repeat, masked, ADD_DX=add)
        compare(row, sizes, B, dtype, seed=number)


@pytest.mark.parametrize("op", [c.MAX_POOL, c.GLOBAL_MAX])
@pytest.mark.parametrize("kernel", [2, LONG])
def test_the_first_of_equals_wins(op, kernel):
    row, sizes = pool_row(op, 2 * kernel, kernel, 2, 1, False)
    memory = make_memory(row, sizes, 2, np.float64)
    memory.mem[row[c.X] * 2:][:2 * kernel * 4] = 1.5
    found = compare(row, sizes, 2, np.float64, memory=memory)
    winners = found.indices[2:][:row[c.T_OUT] * 4].reshape(-1, 4)
    assert (winners == np.arange(row[c.T_OUT])[:, None] * kernel).all()


@pytest.mark.parametrize("op", [c.MAX_POOL, c.AVERAGE_POOL, c.GLOBAL_MAX, c.GLOBAL_MEAN])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("T", [4, LONG])
def test_what_is_not_finite_goes_through(op, value, T):
    row, sizes = pool_row(op, T, T, 1, 1, False)
    for steps in ([0], [T - 1], [1, T - 1]):
        memory = make_memory(row, sizes, 2, np.float64)
        memory.mem[row[c.X] * 2:][:2 * T:2][steps] = value
        found = compare(row, sizes, 2, np.float64, memory=memory)
        y = found.mem[row[c.Y] * 2:][:2]
        assert np.isfinite(y).tolist() == [value == -np.inf and op in (c.MAX_POOL, c.GLOBAL_MAX), True]


@pytest.mark.parametrize("op", [c.MAX_POOL, c.AVERAGE_POOL, c.GLOBAL_MAX, c.GLOBAL_MEAN])
def test_nothing_is_written_where_nobody_needs_the_gradient(op):
    row, sizes = pool_row(op, 4, 2, 2, 1, True, DX=c.NONE)
    memory = make_memory(row, sizes, 2, np.float64)
    forward, _ = run_rows(row, 0.0, memory, 2, backward=(False,))
    both, _ = run_rows(row, 0.0, memory, 2)
    np.testing.assert_array_equal(forward.mem, both.mem)


@pytest.mark.parametrize("op", [c.GLOBAL_MAX, c.GLOBAL_MEAN])
def test_a_sample_does_not_depend_on_those_beside_it(op):
    T, F = 2 * LONG, 3
    row, sizes = pool_row(op, T, 0, F, 1, False)
    x = np.random.default_rng(0).normal(size=(T, 5, F)).astype(np.float32)
    alone, together = [], None
    for members in ([0], [3], range(5)):
        B = len(members)
        memory = make_memory(row, sizes, B, np.float32)
        memory.mem[row[c.X] * B:][:x[:, members].size] = x[:, members].ravel()
        found, _ = run_rows(row, 0.0, memory, B, backward=(False,))
        y = found.mem[row[c.Y] * B:][:B * F].reshape(B, F)
        alone, together = (alone + [y[0]], together) if B == 1 else (alone, y[[0, 3]])
    np.testing.assert_array_equal(alone, together)


def test_long_windows_are_shared_out():
    assert pooling.LONG < LONG and pooling.PARTS > 1
