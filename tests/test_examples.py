"""Every example runs, does what it says, and stays short."""

import importlib.util

import numpy as np
import pytest
from conftest import ROOT

FILES = sorted((ROOT / "examples").glob("*.py"))


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_is_short_and_tested(path):
    assert len(path.read_text().splitlines()) <= 60
    assert f"test_{path.stem}" in globals(), f"{path.name} is run by no test here"


def test_mnist_rows():
    assert load("mnist_rows").main(epochs=20, units=32, verbose=False) > 0.8  # scikit-learn's digits


@pytest.mark.data
def test_mnist_rows_on_mnist(data_folder):
    assert load("mnist_rows").main(data_folder / "mnist", epochs=2, units=32, n_train=4000, verbose=False) > 0.5


def test_vanishing_gradient(tmp_path):
    pytest.importorskip("matplotlib")
    steps, path = 40, tmp_path / "picture.png"
    norms, curves = load("vanishing_gradient").main(path, steps=steps, updates=100)
    assert path.read_bytes().startswith(b"\x89PNG")
    left = {name: norm[0] / norm[-1] for name, norm in norms.items()}
    assert max(left["RNN"], left["LSTM"], left["GRU"]) < 1e-2  # forgotten
    assert min(left["LSTM, bias + 4"], left["GRU, bias + 4"]) > 0.1  # kept
    assert curves["clip_norm=1.0"][-20:].mean() < 0.5 < curves["clip_norm=None"][-20:].mean()


def test_states():
    out, one_by_one, (h, c), (h_last, c_last), h_short = load("states").main()
    np.testing.assert_array_equal(one_by_one, out)
    np.testing.assert_array_equal(h_last, h)
    np.testing.assert_array_equal(c_last, c)
    np.testing.assert_array_equal(h, out[:, -1])
    np.testing.assert_array_equal(h_short[-1], out[-1, 1])


def test_pipeline():
    search, score = load("pipeline").main(n=300, max_iter=20, units=(16,))
    assert score > 0.7
    assert len(search.cv_results_["params"]) == 2
