"""A short version of `benchmarks/bench_accuracy.py`: the real data where they are at hand, fewer rows, epochs and seeds."""

import importlib
import sys

import pytest
from conftest import ROOT

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def bench(data_folder):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield importlib.import_module("bench_accuracy")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.mark.parametrize(("cell", "bar"), [("lstm", 0.93), ("gru", 0.93), ("rnn", 0.90)])
def test_mnist_rows(bench, cell, bar):
    """A third of the images, three epochs; the full run is held to 98.2 %."""
    result = bench.mnist(cell, [0], n_train=20_000, epochs=3)
    assert result.mean >= bar, bench.describe(result)


def test_vowels(bench):
    result = bench.vowels([0])
    assert result.passed, bench.describe(result)


def test_airline(bench):
    result = bench.airline([0])
    assert set(result.bars) == {"naive", "seasonal naive"}
    assert result.passed, bench.describe(result)


@pytest.mark.parametrize("horizon", [1, 84])
def test_mackey_glass(bench, horizon):
    result = bench.mackey_glass(horizon, [0], n_train=2000)
    assert result.passed, bench.describe(result)
