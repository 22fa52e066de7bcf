"""Dropout of the CUDA backend: the words of the NumPy backend."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_rows import KEY, compare, make_memory, make_row, run_rows

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.dropout import constants, scale_of
from tsrnn.backends.cuda.jit import cuda, family
from tsrnn.backends.cuda.place import CARD
from tsrnn.backends.numpy.randomness import bits

DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("steps_share", [0, 1])
@pytest.mark.parametrize("add", [0, 1])
@pytest.mark.parametrize(("T", "F", "B", "repeat"), [(5, 3, 2, 1), (1, 5, 3, 2), (3, 1, 1, 3)])
def test_dropout(dtype, steps_share, add, T, F, B, repeat):
    row, sizes = make_row(c.DROPOUT, T, F, repeat=repeat, OPTION=steps_share, ADD_DX=add)
    compare(row, sizes, B, dtype, rate=0.4)


@pytest.mark.parametrize("rate", [0.0, 1e-9, 0.5, 0.999999])
def test_rates(rate):
    row, sizes = make_row(c.DROPOUT, 4, 5)
    found = compare(row, sizes, 3, np.float64, rate=rate)
    y = found.mem[row[c.Y] * 3:][:60]
    assert (y == 0).mean() == pytest.approx(rate, abs=0.25)


def test_streams_differ():
    row, sizes = make_row(c.DROPOUT, 4, 5)
    memory = make_memory(row, sizes, 3, np.float64)
    first, _ = run_rows(row, 0.5, memory, 3)
    row[c.STREAM] += 1
    second, _ = run_rows(row, 0.5, memory, 3)
    assert (first.mem != second.mem).any()


def test_nothing_is_written_where_nobody_needs_the_gradient():
    row, sizes = make_row(c.DROPOUT, 3, 2, DX=c.NONE)
    compare(row, sizes, 2, np.float64, rate=0.5)


@family
def words(dtype):
    """Which positions of a sample are kept, by a kernel as recurrent layers have it."""
    scale_at = scale_of(dtype)

    def kernel(key, sample, sub, limit, scale, out):
        i = cuda.grid(1)
        if i < out.size:
            out[i] = scale_at(key[0], key[1], 5, sample, sub, i, limit, scale)
    return kernel


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("sample", "sub"), [(0, 0), (2**31 + 5, 3), (2**32 - 1, 2**20)])
def test_words_of_large_numbers(dtype, sample, sub):
    out, rate = CARD.zeros(40, dtype), 0.3
    words(dtype)[10, 4](CARD.put(KEY), sample, sub, *constants(dtype, rate), out)
    found = np.empty(40, dtype)
    CARD.get(out, found)
    with np.errstate(over="ignore"):
        expected = np.where(bits(KEY, 5, [sample], [sub], 40)[0] >= round(rate * 2**32), dtype(1 / 0.7), dtype(0))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == dtype and 0 < (found > 0).mean() < 1
