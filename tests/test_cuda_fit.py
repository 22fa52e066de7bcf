"""Whole fits on the card, or on the simulated one, beside the CPU's: weights, losses, predictions; and the same bits twice."""

import os

import cudasim

cudasim.install()

import numpy as np  # noqa: E402
import pytest  # noqa: E402

from tsrnn import SequenceClassifier, SequenceRegressor  # noqa: E402
from tsrnn.backends.cuda.jit import SIMULATED  # noqa: E402
from tsrnn.layers import GRU, LSTM, RNN, Bidirectional, Conv1D, Dense, Dropout, Embedding, MaxPooling1D  # noqa: E402

# simulated cards are slow, and so are cards whose every access is checked
SMALL = {"N": 40, "STEPS": 6, "UNITS": 40, "BATCH": 16, "WORDS": 50} if os.environ.get("TSRNN_SMALL_FITS") else {}
SIZES = {"N": 5, "STEPS": 4, "UNITS": 2, "BATCH": 3, "WORDS": 9} if SIMULATED else SMALL
N, STEPS, UNITS, BATCH, WORDS = (SIZES or {"N": 1000, "STEPS": 30, "UNITS": 64, "BATCH": 128, "WORDS": 2000}).values()
NETWORKS = {
    "lstm": [LSTM(UNITS), Dense(1)],
    "gru": [GRU(UNITS, return_sequences=True), GRU(UNITS), Dense(1)],
    "rnn": [RNN(UNITS), Dense(1)],
    "cnn-lstm": [Conv1D(UNITS, 3, activation="relu"), MaxPooling1D(2), LSTM(UNITS), Dense(1)],
    "imdb": [Embedding(WORDS, UNITS), Bidirectional(LSTM(UNITS)), Dropout(0.5), Dense(1)],
}
TOLERANCE = 1e-4  # of weights after an epoch


def fitted(name, device, **options):
    """An epoch of training, from the same seed; the epsilon is above the noise of gradients, which Adam would scale up."""
    rng = np.random.default_rng(0)
    ids = name == "imdb"
    X = rng.integers(1, WORDS, (N, STEPS)).astype(np.int32) if ids else rng.normal(size=(N, STEPS, 3)).astype(np.float32)
    if ids:
        X[np.arange(STEPS) < rng.integers(0, STEPS, N)[:, None]] = 0
        y = (X == 1 + np.arange(STEPS) % 7).sum(axis=1) % 2
        y[:2] = 0, 1
    else:
        y = np.tanh(X[:, -2:].sum(axis=(1, 2))).astype(np.float32)
    model = (SequenceClassifier if ids else SequenceRegressor)(
        layers=NETWORKS[name], device=device, batch_size=BATCH, max_iter=1, epsilon=1e-5, tol=0, n_iter_no_change=np.inf,
        random_state=0, n_jobs=1, **options)
    return model.fit(X, y), X, y


@pytest.mark.filterwarnings("ignore:.*max_iter.*")
@pytest.mark.parametrize("name", NETWORKS)
def test_an_epoch_is_that_of_the_cpu(name):
    (card, X, y), (cpu, _, _) = fitted(name, "cuda"), fitted(name, "cpu")
    ours, theirs = card.get_weights(), cpu.get_weights()
    away = {weight: float(abs(ours[weight] - theirs[weight]).max()) for weight in theirs}
    assert max(away.values()) < TOLERANCE, away
    moved = {weight: float(abs(theirs[weight] - before).max()) for weight, before in started(name).items()}
    assert max(moved.values()) > 5 * TOLERANCE, "else nothing has been learnt, and all weights are equal"
    assert card.loss_ == pytest.approx(cpu.loss_, abs=TOLERANCE)
    np.testing.assert_allclose(card.predict_proba(X) if name == "imdb" else card.predict(X),
                               cpu.predict_proba(X) if name == "imdb" else cpu.predict(X), atol=1e-3)
    assert card.score(X, y) == pytest.approx(cpu.score(X, y), abs=0.005)


def started(name):
    """The weights before the first step."""
    return fitted(name, "cpu", learning_rate_init=1e-30)[0].get_weights()


@pytest.mark.filterwarnings("ignore:.*max_iter.*")
@pytest.mark.parametrize("name", ["cnn-lstm", "imdb"][SIMULATED:])
def test_two_fits_give_the_same_bits(name):
    first, second = (fitted(name, "cuda")[0] for _ in range(2))
    for weight, array in first.get_weights().items():
        np.testing.assert_array_equal(array, second.get_weights()[weight], err_msg=weight)
    assert first.loss_curve_ == second.loss_curve_
