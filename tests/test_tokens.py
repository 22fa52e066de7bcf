"""Distinct tokens are projected once: the same numbers as with every position by itself; frozen parameters stay as they are."""

import itertools

import numpy as np
import pytest
from gradcheck import analytic, central_difference, make_engine

from tsrnn import SequenceClassifier, SequenceRegressor
from tsrnn.backends import contract as c
from tsrnn.engine import Engine
from tsrnn.layers import GRU, LSTM, RNN, Activation, Bidirectional, Dense, Dropout, Embedding, GlobalMaxPooling1D
from tsrnn.layers.recurrent import SLICE
from tsrnn.network import Network
from tsrnn.parallel import Team

V, E, T = 23, 5, 9
CELLS = {"lstm": LSTM, "gru": GRU, "rnn": RNN}
PADDINGS = ("none", "pre", "post", "only padding", "inside")


def make_ids(n, padding, seed=0):
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, V, (n, T)).astype(np.int32)
    lengths = rng.integers(0, T + 1, n)
    lengths[:2] = 0, T
    steps = np.arange(T)
    if padding == "pre":
        ids[steps < T - lengths[:, None]] = 0
    elif padding == "post":
        ids[steps >= lengths[:, None]] = 0
    elif padding == "inside":
        ids[rng.random((n, T)) < 0.3] = 0
    elif padding == "only padding":
        ids[:] = 0
    return ids


def make_data(ids, outputs, dtype, lengths=None):
    n = len(ids)
    rng = np.random.default_rng(1)
    return c.Data(np.zeros(1, dtype), ids.ravel().copy(), np.arange(n) * T, np.full(n, T) if lengths is None else lengths,
                  rng.normal(size=n * outputs).astype(dtype), np.arange(n) * outputs, np.ones((n, 1), dtype),
                  np.ones(n) * (outputs // 2))


def results(layers, data, dtype, backend="cpu", threads=1):
    """Loss, gradient by name and predictions of 37 samples: three chunks."""
    network = Network(layers, (T,), backend=backend)
    theta = network.init(np.random.default_rng(2), dtype)
    theta += np.random.default_rng(3).normal(0, 0.1, theta.size).astype(dtype)
    gradient = np.zeros(network.n_trained, dtype)
    with Team(threads) as team:
        engine = Engine(network, theta, team)
        loss = engine.gradient(data, np.arange(len(data.starts)), c.random_key(0, 0), gradient)[0]
        return loss, gradient, engine.predict(data)


def numbered(layers):
    """Whether the network numbers its tokens."""
    rows = Network(layers, (T,)).lower(T, np.float64, train=True, masked=False).plan.rows
    return [bool(row[c.OPTION] & 2) for row in rows if row[c.OP] == c.EMBEDDING] == [True]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mask", [False, True], ids=["plain", "mask"])
@pytest.mark.parametrize("cell", CELLS)
def test_as_every_position_by_itself(cell, mask, padding):
    data_of = {seq: make_data(make_ids(37, padding), 2 * (T if seq else 1), np.float64) for seq in (False, True)}
    for seq, both in itertools.product((False, True), repeat=2):
        layer = CELLS[cell](6, return_sequences=seq)
        layer = Bidirectional(layer) if both else layer
        together = [Embedding(V, E, mask), layer, Dense(2)]
        apart = [Embedding(V, E, mask), Activation("linear"), layer, Dense(2)]
        assert numbered(together) and not numbered(apart)
        ours = results(together, data_of[seq], np.float64)
        for theirs in (results(apart, data_of[seq], np.float64), results(together, data_of[seq], np.float64, "numpy")):
            for a, b in zip(ours, theirs):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
        for a, b in zip(ours, results(together, data_of[seq], np.float64, threads=2)):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_prediction_does_not_depend_on_its_neighbours(dtype):
    ids = make_ids(40, "pre")
    layers = [Embedding(V, E), Bidirectional(LSTM(6)), Dense(1)]
    network = Network(layers, (T,))
    theta = network.init(np.random.default_rng(0), dtype)
    with Team(1) as team:
        engine = Engine(network, theta, team)
        together = engine.predict(make_data(ids, 1, dtype))
        for rows in ([5], [5, 0, 1], range(5, 22), range(39, -1, -1)):
            np.testing.assert_array_equal(engine.predict(make_data(ids[list(rows)], 1, dtype)), together[list(rows)])


def test_dropout_between_keeps_positions_apart():
    assert not numbered([Embedding(V, E), LSTM(3, input_dropout=0.5), Dense(1)])
    assert not numbered([Embedding(V, E), Dropout(0.5), LSTM(3), Dense(1)])
    assert numbered([Embedding(V, E), LSTM(3, recurrent_dropout=0.5), Dense(1)])


@pytest.mark.parametrize("mask", [False, True])
def test_recurrent_dropout_on_padding(mask):
    """States of padded steps differ by sample then, and nothing of them is shared."""
    data = make_data(make_ids(37, "pre"), 2, np.float64)
    layers = [Embedding(V, E, mask), GRU(4, recurrent_dropout=0.5), Dense(2)]
    for a, b in zip(results(layers, data, np.float64)[:2], results(layers, data, np.float64, "numpy")[:2]):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_a_ragged_batch():
    lengths = np.random.default_rng(4).integers(1, T + 1, 37)
    data = make_data(make_ids(37, "none"), 2, np.float64, lengths)
    layers = [Embedding(V, E), Bidirectional(LSTM(4)), Dense(2)]
    for a, b in zip(results(layers, data, np.float64), results(layers, data, np.float64, "numpy")):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_the_numbering_leaves_its_memory_clean():
    """Two plans of one network take turns on the same memory; small and large batches, too."""
    network = Network([Embedding(V, E), LSTM(3), Dense(2)], (T,))
    theta = network.init(np.random.default_rng(0))
    data, gradient = make_data(make_ids(300, "pre"), 2, np.float64), np.zeros(network.n_params)
    with Team(1) as team:
        engine, fresh = Engine(network, theta, team), []
        for n in (300, 3, 150, 300):
            engine.gradient(data, np.arange(n), c.random_key(0, 0), gradient)
            engine.predict(data)
            fresh.append(gradient.copy())
        np.testing.assert_array_equal(fresh[0], fresh[3])
        alone = np.zeros_like(gradient)
        Engine(network, theta, team).gradient(data, np.arange(3), c.random_key(0, 0), alone)
        np.testing.assert_array_equal(fresh[1], alone)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_what_training_leaves_changes_no_prediction(rate):
    """Dropout on the input numbers no tokens in training, and prediction does; both use one memory."""
    network = Network([Embedding(V, E, mask_zero=True), GRU(3, return_sequences=True, input_dropout=rate),
                       GlobalMaxPooling1D(), Dense(2)], (None,))
    theta = network.init(np.random.default_rng(0))
    long = make_data(make_ids(600, "pre"), 2, np.float64)
    short = long._replace(starts=long.starts + T - 4, lengths=np.full(600, 4))
    with Team(1) as team:
        engine = Engine(network, theta, team)
        for n in (600, 40):
            engine.gradient(long, np.arange(n), c.random_key(0, 0), np.zeros(network.n_params))
            for data in (short, long):
                np.testing.assert_array_equal(engine.predict(data), Engine(network, theta, team).predict(data))


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("both", [False, True], ids=["one", "both"])
@pytest.mark.parametrize("cell", CELLS)
def test_slices_of_padding_add_nothing(cell, both, padding):
    """Long enough for several slices, the first or last of which are padding in every row: as the same tokens alone."""
    steps, long = 12, 1100
    layer = CELLS[cell](8, return_sequences=True)
    stack = [Bidirectional(layer) if both else layer, CELLS[cell](4)]
    network = Network([Embedding(V, E, True), Activation("linear"), *stack, Dense(2)], (None,))
    assert 8 * long > 2 * SLICE, "even the narrowest cell has more than two slices"
    alone = make_ids(20, "none")[:, np.arange(steps) % T]
    padded = np.zeros((20, long), np.int32)
    padded[:, slice(long - steps, None) if padding == "pre" else slice(steps)] = alone
    found = []
    for ids in (alone, padded):
        shape = {"starts": np.arange(20) * ids.shape[1], "lengths": np.full(20, ids.shape[1])}
        data = make_data(ids, 2, np.float64)._replace(**shape)
        engine = make_engine(network)
        analytic(engine, data._replace(ids=np.full(ids.size, 7, np.int32)))  # leaves something everywhere in the memory
        loss, gradient = analytic(engine, data)
        found.append((loss, gradient, engine.predict(data)))
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)
    direction = np.random.default_rng(1).normal(size=network.n_params)
    slope = central_difference(lambda: analytic(engine, data)[0], engine.theta, direction)
    assert slope == pytest.approx(gradient @ direction, rel=1e-6)


# ----------------------------------------------------------------------------------------------------------------- frozen


def fit(**parameters):
    X = make_ids(40, "pre")
    model = SequenceClassifier(max_iter=3, batch_size=8, random_state=0, **parameters)
    return model.fit(X, np.arange(40) % 2), X


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
class TestFrozen:
    @pytest.mark.parametrize("solver", ["adam", "adamw"])
    def test_an_embedding_that_is_not_trained(self, solver):
        table = np.random.default_rng(0).normal(size=(V, E))
        settings = {"hidden_layer_sizes": (4,), "embedding_dim": E, "vocabulary_size": V, "embedding_weights": table,
                    "solver": solver, "alpha": 0.1, "weight_decay": 0.1 if solver == "adamw" else 0.0, "dtype": "float64"}
        frozen, X = fit(train_embedding=False, **settings)
        np.testing.assert_array_equal(frozen.weights_["embedding_0.W"], table)
        trained, _ = fit(**settings)
        assert np.abs(trained.weights_["embedding_0.W"] - table).max() > 1e-4
        assert np.abs(frozen.weights_["lstm_0.W_ih"] - trained.weights_["lstm_0.W_ih"]).max() > 0
        again = frozen.partial_fit(X, np.arange(40) % 2)
        np.testing.assert_array_equal(again.weights_["embedding_0.W"], table)

    def test_gradients_of_what_is_trained_do_not_change(self):
        data = make_data(make_ids(37, "pre"), 2, np.float64)
        for backend, first in itertools.product(("cpu", "numpy"), ([], [Activation("tanh")])):
            nets = [[Embedding(V, E, trainable=trainable), *first, LSTM(4), Dense(2)] for trainable in (True, False)]
            (_, whole, _), (_, part, _) = (results(net, data, np.float64, backend) for net in nets)
            assert len(whole) == len(part) + V * E
            np.testing.assert_allclose(part, whole[:len(part)], rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize("cell", CELLS)
    def test_one_bias(self, cell):
        model = SequenceRegressor(layers=[CELLS[cell](3, recurrent_bias=False), Dense(1)], max_iter=3, random_state=0)
        model.fit(np.random.default_rng(0).normal(size=(20, 4, 2)), np.arange(20.0))
        name = f"{cell}_0.b_"
        assert (model.weights_[name + "hh"] == 0).all() and (np.abs(model.weights_[name + "ih"]) > 0).any()

    @pytest.mark.parametrize("parameters, match", [
        ({"embedding_weights": np.zeros((V, E))}, "embedding_weights needs an embedding|token ids"),
        ({"embedding_weights": np.zeros((V, 2)), "embedding_dim": E, "vocabulary_size": V}, r"= \(23, 5\), got float64 values"),
        ({"embedding_weights": np.full((V, E), np.nan), "embedding_dim": E, "vocabulary_size": V}, "must be finite numbers"),
        ({"train_embedding": False}, "train_embedding=False needs an embedding"),
    ])
    def test_bad_parameters(self, parameters, match):
        with pytest.raises(ValueError, match=match):
            fit(**parameters)
