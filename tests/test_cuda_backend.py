"""The CUDA backend as a whole, on the card or in the simulator, against the NumPy backend and the plain equations."""

import cudasim

cudasim.install()

import naive  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from gradcheck import KEY, analytic, check_gradients, make_data, make_engine  # noqa: E402
from networks import CELL_IDS, CELLS, LOSSES, recurrent, with_mask  # noqa: E402
from test_backends import NETWORKS  # noqa: E402

from tsrnn.backends import contract as c  # noqa: E402
from tsrnn.backends.solvers import SOLVERS  # noqa: E402
from tsrnn.layers import GRU, LSTM, Bidirectional, Conv1D, Dense, Dropout, Embedding, MaxPooling1D  # noqa: E402
from tsrnn.network import Network  # noqa: E402
from tsrnn.optimizers import make_hyper, start_steps  # noqa: E402

PER_CELL = pytest.mark.parametrize("cell, options", CELLS, ids=CELL_IDS)
SOME = sorted(NETWORKS)[::5]


@pytest.fixture(params=[cudasim.FIRST_TO_LAST, cudasim.LAST_TO_FIRST], ids=["first to last", "last to first"])
def order(request, monkeypatch):
    monkeypatch.setattr(cudasim, "order", request.param)


def engines(layers, shape, options, dtype=np.float64, loss="squared_error", loss_params=(1.0,)):
    networks = [Network(layers, shape, loss, loss_params, backend=backend) for backend in ("numpy", "cuda")]
    data = make_data(networks[0], steps=shape[0], dtype=dtype, **options)
    return [make_engine(network, dtype) for network in networks], data


def assert_agree(pair, data, tolerance):
    """Predictions, losses and gradients of the card are those of the definition, with dropout masks and all."""
    numpy, cuda = pair
    np.testing.assert_allclose(cuda.predict(data), numpy.predict(data), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(cuda.evaluate(data)[:2], numpy.evaluate(data)[:2], rtol=tolerance)
    (loss, gradient), (expected_loss, expected) = analytic(cuda, data), analytic(numpy, data)
    assert gradient.dtype == numpy.dtype
    np.testing.assert_allclose(loss, expected_loss, rtol=tolerance)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_it_agrees_with_the_definition(name):
    layers, shape, options = NETWORKS[name]
    assert_agree(*engines(layers, shape, options), 1e-12)


@pytest.mark.parametrize("name", SOME)
def test_in_float32_and_whatever_thread_comes_first(name, order):
    layers, shape, options = NETWORKS[name]
    assert_agree(*engines(layers, shape, options, np.float32), 2e-5)


@pytest.mark.parametrize("name", SOME)
def test_outputs_and_losses_are_those_of_the_plain_equations(name):
    layers, shape, options = NETWORKS[name]
    (_, cuda), data = engines(layers, shape, options)
    naive.check_engine(cuda, data)


@pytest.mark.parametrize("loss, params, outputs", LOSSES, ids=[loss for loss, *_ in LOSSES])
def test_losses_and_right_answers_agree(loss, params, outputs):
    for mask, sequences in (("none", False), ("right", True), ("left", True)):
        layers, shape, options = with_mask([GRU(3, return_sequences=sequences), Dense(outputs)], mask)
        (numpy, cuda), data = engines(layers, shape, options, loss=loss, loss_params=params)
        np.testing.assert_allclose(cuda.evaluate(data)[:2], numpy.evaluate(data)[:2], rtol=1e-12)
        chosen, gradients = np.array([4, 0, 2]), [np.empty(cuda.network.n_params) for _ in range(2)]
        sums = [engine.gradient(data, chosen, KEY, gradient) for engine, gradient in zip((numpy, cuda), gradients)]
        np.testing.assert_allclose(sums[1], sums[0], rtol=1e-12)
        np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-9, atol=1e-13)


@PER_CELL
def test_central_differences(cell, options):
    """The gradient by itself, not beside another backend's."""
    check_gradients([recurrent(cell, options, "concat", units=2), Dense(1)], (3, 2), backend="cuda", n=2, entries=1)


def test_central_differences_of_a_text_network():
    layers = [Embedding(5, 2, mask_zero=True), Dropout(0.3), Conv1D(2, 3), MaxPooling1D(2), LSTM(2), Dense(1)]
    check_gradients(layers, (4,), backend="cuda", loss="binary_crossentropy", n=2, entries=1)


@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 4, 8), (2, 10, 33)], ids=str)
@PER_CELL
def test_sizes_beside_and_between_the_tiles_agree(cell, options, shape):
    n, features, units = shape
    assert_agree(*engines([recurrent(cell, options, "concat", units=units), Dense(3)], (3, features), {"n": n}), 1e-12)


@PER_CELL
def test_a_row_does_not_depend_on_those_beside_it(cell, options):
    network = Network([recurrent(cell, options, "concat", units=5), Dense(2)], (4, 3), backend="cuda")
    engine, data = make_engine(network, np.float32), make_data(network, n=9, steps=4, dtype=np.float32)
    together = engine.predict(data)
    for n in range(1, 9):
        part = data._replace(**{name: getattr(data, name)[:n] for name in
                                ("starts", "lengths", "target_starts", "weights", "totals")})
        np.testing.assert_array_equal(engine.predict(part), together[:n])


@pytest.mark.parametrize("solver", SOLVERS)
def test_steps_of_a_solver_agree(solver):
    """Batches of two sizes, several steps a call, as an epoch has them."""
    layers = [Embedding(7, 3), Bidirectional(GRU(3)), Dropout(0.4), Dense(2)]
    pair, data = engines(layers, (5,), {"n": 10}, loss="categorical_crossentropy")
    for engine in pair:
        moments = np.zeros((SOLVERS[solver].n_moments, engine.network.n_trained))
        update = engine.update(SOLVERS[solver].code, moments)
        for epoch in range(2):
            batches = engine.batches(data, np.arange(10), 4)
            hyper = np.tile(make_hyper(clip_norm=0.5, weight_decay=0.1, momentum=0.9), (3, 1))
            start_steps(hyper, 1 + 3 * epoch, 0.05)
            losses = engine.train(data, batches, np.tile(c.random_key(1, epoch), (3, 1)), 0, hyper, update)
            assert engine.take_done() == 3
        engine.collect()
        engine.found = losses, engine.theta, moments
    for got, expected in zip(pair[1].found, pair[0].found):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_a_loss_that_is_not_finite_changes_nothing():
    network = Network([LSTM(2), Dense(1)], (3, 1), backend="cuda")
    engine, data = make_engine(network), make_data(network, n=6, steps=3)
    data.targets[data.target_starts[4]] = np.inf
    update = engine.update(SOLVERS["adam"].code, np.zeros((2, network.n_params)))
    hyper = np.tile(make_hyper(), (3, 1))
    start_steps(hyper, 1, 0.1)
    engine.train(data, engine.batches(data, np.arange(6), 2), np.tile(KEY, (3, 1)), 0, hyper, update)
    assert engine.take_done() == 2
    engine.collect()
    after = engine.theta.copy()
    engine.train(data, engine.batches(data, np.arange(6), 2), KEY[None], 2, hyper[2:], update)
    engine.collect()
    assert engine.take_done() == 0 and np.array_equal(after, engine.theta) and np.isfinite(after).all()


def test_twice_the_same_bits():
    layers, shape, options = NETWORKS[SOME[1]]
    found = []
    for _ in range(2):
        (_, cuda), data = engines(layers, shape, options, np.float32)
        found.append(analytic(cuda, data)[1])
    np.testing.assert_array_equal(*found)


def test_nan_inputs_reach_the_loss():
    for layers in ([LSTM(2), Dense(1)], [Conv1D(2, 2), MaxPooling1D(2), GRU(2), Dense(1)]):
        network = Network(layers, (4, 2), backend="cuda")
        engine, data = make_engine(network), make_data(network, n=3, steps=4)
        data.values[3] = np.nan
        assert np.isnan(engine.evaluate(data)[0]) and np.isnan(engine.predict(data)).any()
