"""Central differences in float64 for every layer, cell, direction, mask and loss."""

import numpy as np
import pytest
from gradcheck import analytic, check_gradients, check_layer_gradients, make_data, make_engine, make_layer_run
from networks import CELL_IDS, CELLS, DIRECTIONS, FIXED, LENGTHS, LOSSES, MASKABLE, recurrent, with_mask

from tsrnn.backends.place import HOST
from tsrnn.layers import GRU, LSTM, Bidirectional, Conv1D, Dense, Dropout, Embedding, GlobalMaxPooling1D
from tsrnn.network import Network

MASKS = ("none", "right", "left")
PER_CELL = pytest.mark.parametrize("cell, options", CELLS, ids=CELL_IDS)
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "cpu"])


@pytest.mark.parametrize("sequences", [False, True], ids=["last", "steps"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("direction", DIRECTIONS)
@PER_CELL
def test_every_cell_direction_mask_and_loss(cell, options, direction, mask, sequences):
    for loss, params, outputs in LOSSES:
        layers, shape, data = with_mask([recurrent(cell, options, direction, sequences), Dense(outputs)], mask)
        check_gradients(layers, shape, loss, params, backend="cpu", entries=2, **data)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", MASKABLE)
def test_every_layer_under_every_mask(name, mask):
    layers, shape, data = with_mask(MASKABLE[name], mask)
    check_gradients(layers, shape, backend="cpu", entries=12, **data)


@pytest.mark.parametrize("name", FIXED)
def test_every_layer_on_a_fixed_number_of_steps(name):
    layers, shape = FIXED[name]
    check_gradients(layers, shape, backend="cpu", entries=12)


@pytest.mark.parametrize("loss, params, outputs", LOSSES, ids=[loss for loss, *_ in LOSSES])
def test_every_loss_pooled_and_by_steps_behind_a_convolution(loss, params, outputs):
    for layers in ([Conv1D(3), GlobalMaxPooling1D(), Dense(outputs)], [Conv1D(3, activation="tanh"), Dense(outputs)]):
        check_gradients(layers, (6, 2), loss, params, backend="cpu", lengths=LENGTHS)


# ------------------------------------------------------------------------------------------- the definition, by itself


@pytest.mark.parametrize("direction, mask, sequences",
                         [("forward", "right", True), ("concat", "left", False), ("mul", "none", True)])
@PER_CELL
def test_numpy_cells(cell, options, direction, mask, sequences):
    layers, shape, data = with_mask([recurrent(cell, options, direction, sequences, units=2), Dense(1)], mask)
    check_gradients(layers, shape, backend="numpy", entries=2, **data)


@pytest.mark.parametrize("loss, params, outputs", LOSSES, ids=[loss for loss, *_ in LOSSES])
def test_numpy_losses(loss, params, outputs):
    check_gradients([GRU(2, return_sequences=True), Dense(outputs)], (6, 2), loss, params, entries=2, lengths=LENGTHS)


@pytest.mark.parametrize("name", ["conv same even", "max pooling of states", "average pooling", "all dropout, both directions"])
def test_numpy_layers(name):
    layers, shape, data = with_mask(MASKABLE[name], "right")
    check_gradients(layers, shape, entries=2, **data)


@pytest.mark.parametrize("name", ["cnn-lstm", "hierarchical dropout", "distributed global", "embedding, dropout",
                                  "reshape odd"])
def test_numpy_fixed(name):
    layers, shape = FIXED[name]
    check_gradients(layers, shape, entries=2)


# ------------------------------------------------------------------------------------------- initial states, input


@pytest.mark.parametrize("directions", [(False,), (True,), (False, True)], ids=["forward", "reverse", "both"])
@PER_CELL
def test_initial_states_and_input(cell, options, directions):
    for sequences in (False, True):
        for lengths in (None, [5, 2, 1, 4]):
            layer = recurrent(cell, options, sequences=sequences)
            check_layer_gradients(make_layer_run(layer, "cpu", directions=directions, lengths=lengths))


@PER_CELL
def test_initial_states_and_input_with_recurrent_dropout(cell, options):
    layer = recurrent(cell, options, sequences=True, recurrent_dropout=0.4)
    check_layer_gradients(make_layer_run(layer, "cpu", directions=(False, True), lengths=[5, 2, 1, 4]))


@PER_CELL
def test_numpy_initial_states_and_input(cell, options):
    layer = recurrent(cell, options, sequences=True, units=2)
    check_layer_gradients(make_layer_run(layer, "numpy", n=3, steps=3, features=2, directions=(True,), lengths=[3, 1, 2]))


# ------------------------------------------------------------------------------------------- batches, weights


@BACKENDS
def test_more_than_one_chunk_with_a_remainder(backend):
    layers = [LSTM(2, recurrent_dropout=0.3), Dropout(0.3), Dense(1)]
    engine, _, _ = check_gradients(layers, (3, 2), backend=backend, n=35, entries=2)
    assert 35 % HOST.chunk_rows(35) and len(engine._params.grads) == 3


@BACKENDS
def test_more_than_one_chunk_of_an_embedding(backend):
    layers = [Embedding(5, 2, mask_zero=True), Bidirectional(GRU(2)), Dense(1)]
    check_gradients(layers, (4,), backend=backend, n=37, entries=3, padding=np.arange(37) % 5)


@BACKENDS
def test_a_batch_is_any_choice_of_samples_in_any_order(backend):
    network = Network([Embedding(6, 2), LSTM(2, recurrent_dropout=0.4), Dense(1)], (4,), backend=backend)
    data, engine = make_data(network, n=40, steps=4), make_engine(network)
    order = np.array([31, 2, 2, 17, 39, 0, 8])
    loss, gradient = analytic(engine, data, order)
    each = [analytic(engine, data, np.array([i])) for i in order]
    weights = data.totals[order] / data.totals[order].sum()
    assert loss == pytest.approx(sum(w * part for w, (part, _) in zip(weights, each)), rel=1e-13)
    np.testing.assert_allclose(gradient, sum(w * part for w, (_, part) in zip(weights, each)), rtol=1e-10, atol=1e-14)


@BACKENDS
def test_a_sample_without_weight_does_not_count(backend):
    network = Network([GRU(3, return_sequences=True), Dense(2)], (4, 2), backend=backend)
    weights = np.ones((5, 4))
    weights[1], weights[3, 2:] = 0, 0
    data, engine = make_data(network, steps=4, weights=weights), make_engine(network)
    loss, gradient = analytic(engine, data)
    values = data.values.reshape(5, 4, 2).copy()
    values[1], values[3, 2:] = 7, -3  # nobody looks at them, nor at what comes of them
    targets = np.where(weights.ravel().repeat(2), data.targets, 99)
    again = analytic(engine, data._replace(values=values.ravel(), targets=targets))
    assert loss == again[0]
    np.testing.assert_array_equal(gradient, again[1])


@BACKENDS
def test_weights_count_as_repetitions(backend):
    network = Network([LSTM(3), Dense(2)], (4, 2), "huber", backend=backend)
    data, engine = make_data(network, steps=4, weights=np.array([[1.0], [3], [0], [2], [1]])), make_engine(network)
    repeated = make_data(network, steps=4, weights=np.ones((5, 1)))
    loss, gradient = analytic(engine, data)
    again = analytic(engine, repeated, np.array([0, 1, 1, 1, 3, 3, 4]))
    assert loss == pytest.approx(again[0], rel=1e-14)
    np.testing.assert_allclose(gradient, again[1], rtol=1e-10, atol=1e-15)


@BACKENDS
def test_garbage_behind_the_length_is_never_read(backend):
    network = Network([Conv1D(3, 3), LSTM(3, return_sequences=True), Dense(1)], (6, 2), backend=backend)
    data, engine = make_data(network, lengths=LENGTHS), make_engine(network)
    loss, gradient = analytic(engine, data)
    values, targets = data.values.reshape(5, 6, 2).copy(), data.targets.reshape(5, 6).copy()
    for i, length in enumerate(LENGTHS):
        values[i, length:] = targets[i, length:] = np.nan
    again = analytic(engine, data._replace(values=values.ravel(), targets=targets.ravel()))
    assert loss == again[0]
    np.testing.assert_array_equal(gradient, again[1])


@BACKENDS
def test_the_gradient_is_written_not_added(backend):
    network = Network([Embedding(5, 2), Bidirectional(LSTM(2)), Dense(1)], (4,), backend=backend)
    data, engine = make_data(network, steps=4), make_engine(network)
    np.testing.assert_array_equal(analytic(engine, data)[1], analytic(engine, data)[1])
