"""Training from Keras' initial weights on the same batches has Keras' losses: golden numbers, and Keras itself."""

import sys

import numpy as np
import pytest
from conftest import ROOT
from make_keras_golden import CELLS, EMBEDDING, GOLDEN, UNITS, VOCABULARY, batches, keras_model, train_keras

from tsrnn import SequenceClassifier
from tsrnn.layers import GRU, LSTM, Bidirectional, Dense, Embedding

sys.path.append(str(ROOT / "benchmarks"))
try:
    from _imdb import from_keras, imdb
finally:
    sys.path.remove(str(ROOT / "benchmarks"))

TOLERANCE = 1e-4
EPSILON = 1e-7
PER_CELL = pytest.mark.parametrize("cell", CELLS)


def classifier(cell, batch, vocabulary=VOCABULARY, embedding=EMBEDDING, units=UNITS, **options):
    """The tutorial's network without dropout; Keras' LSTM has one bias, its GRU two."""
    inner = LSTM(units, recurrent_bias=False) if cell == "lstm" else GRU(units)
    options = {"dtype": "float64"} | options
    return SequenceClassifier(layers=[Embedding(vocabulary, embedding), Bidirectional(inner), Dense(1)], batch_size=batch,
                              learning_rate_init=1e-3, epsilon=EPSILON, clip_norm=None, shuffle=False, **options)


def train(model, weights, X, y):
    """Losses (n,) of a step on each of n batches, from these weights on.

    Keras adds epsilon to the root of the second moment before its bias is corrected (the "epsilon hat" of Kingma & Ba), we,
    as PyTorch, after.
    """
    model.partial_fit(X[0], y[0], classes=[0, 1])
    model.set_weights(weights)  # the optimizer forgets the step before
    for step, (ids, labels) in enumerate(zip(X, y), start=1):
        model.set_params(epsilon=EPSILON / np.sqrt(1 - model.beta_2**step))
        model.partial_fit(ids, labels)
    return np.array(model.history_["loss"][1:])


def check(got, expected):
    assert len(got) == len(expected) == 50
    assert expected[-1] < expected[0] - 0.01, "the network must learn something, or anything agrees"
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture
def keras(monkeypatch):
    """Keras on JAX (see `make_keras_golden`) in float64: at full size float32 may grow apart by more than the tolerance."""
    jax = pytest.importorskip("jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")  # read when it is imported
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "jax":
        pytest.skip(f"keras was imported before, with the backend {keras.backend.backend()}")
    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")
    jax.config.update("jax_enable_x64", False)


def weights_of(golden, cell):
    return from_keras([golden[f"{cell}.{n}"] for n in range(9)], cell)


@PER_CELL
def test_first_losses_are_those_of_keras(golden, cell):
    X, y = batches()
    got = train(classifier(cell, X.shape[1]), weights_of(golden, cell), X, y)
    check(got, golden[f"{cell}.losses"])


def test_gates_in_another_order_are_noticed(golden):
    """The losses do depend on what is converted."""
    X, y = batches()
    weights = weights_of(golden, "lstm")
    weights["lstm_0.W_ih"] = np.roll(weights["lstm_0.W_ih"], UNITS, axis=0)
    got = train(classifier("lstm", X.shape[1]), weights, X, y)
    assert np.abs(got - golden["lstm.losses"]).max() > TOLERANCE


@PER_CELL
def test_first_losses_beside_keras(keras, cell):
    X, y = batches()
    model = keras_model(cell)
    ours = classifier(cell, X.shape[1])
    got = train(ours, from_keras(model.get_weights(), cell), X, y)
    check(got, train_keras(model, X, y))
    theirs = from_keras(model.get_weights(), cell)
    for name, array in ours.get_weights().items():
        np.testing.assert_allclose(array, theirs[name], rtol=0, atol=TOLERANCE, err_msg=name)


@pytest.mark.data
@pytest.mark.slow
def test_first_losses_on_reviews_beside_keras(keras, data_folder):
    """The tutorial's sizes: vocabulary 10,000, vectors of 128, 64 units, batches of 128 reviews."""
    X, y, _, _ = imdb()
    X, y = X[:50 * 128].reshape(50, 128, -1), y[:50 * 128].reshape(50, 128)
    model = keras_model("lstm", 10_000, 128, 64)
    got = train(classifier("lstm", 128, 10_000, 128, 64), from_keras(model.get_weights()), X, y)
    check(got, train_keras(model, X, y))
