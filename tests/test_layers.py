"""Layers as specifications: shapes, repr, equality, pickling, errors; and one layer alone with its states."""

import pickle

import naive
import numpy as np
import pytest
from networks import CELL_IDS, CELLS, FIXED, MASKABLE, recurrent

from tsrnn import layers as public
from tsrnn.layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    AveragePooling1D,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    MaxPooling1D,
    Reshape,
    TimeDistributed,
)
from tsrnn.network import Network

PER_CELL = pytest.mark.parametrize("cell, options", CELLS, ids=CELL_IDS)
ONE_OF_EACH = [
    LSTM(3), GRU(4, return_sequences=True), RNN(2, activation="relu"), LSTM(3, input_dropout=0.1, recurrent_dropout=0.2),
    Bidirectional(GRU(3), merge="ave"), Dense(3, "relu"), Activation("tanh"), Conv1D(4, 2, "valid", "sigmoid"), MaxPooling1D(3),
    AveragePooling1D(2), GlobalMaxPooling1D(), GlobalAveragePooling1D(), Dropout(0.5), Embedding(9, 4, mask_zero=True),
    Flatten(), Reshape((2, -1)), TimeDistributed([Conv1D(3), Flatten()]), TimeDistributed(Dense(2)),
]


def test_one_of_each_is_complete():
    assert {type(layer).__name__ for layer in ONE_OF_EACH} == set(public.__all__) - {"Layer"}


@pytest.mark.parametrize("layer", ONE_OF_EACH, ids=repr)
def test_a_layer_is_a_value(layer):
    again = eval(repr(layer), vars(public))
    assert again == layer and hash(again) == hash(layer) and repr(again) == repr(layer)
    assert pickle.loads(pickle.dumps(layer)) == layer
    assert [other == layer for other in ONE_OF_EACH].count(True) == 1
    with pytest.raises(AttributeError):
        layer.units = 3


def test_equality_looks_at_everything():
    assert LSTM(3) != GRU(3) and LSTM(3) != LSTM(4) and LSTM(3) != LSTM(3, return_sequences=True)
    assert Bidirectional(LSTM(3)) != Bidirectional(LSTM(3), "sum") and Dense(1) != "Dense(1)"
    assert TimeDistributed(Dense(2)) == TimeDistributed([Dense(2)]) and Reshape([2, 3]) == Reshape((2, 3))
    assert MaxPooling1D(2) != AveragePooling1D(2) and LSTM(np.int64(3)) == LSTM(3)


@pytest.mark.parametrize("shape", [(True, 3), (2, np.True_), True])
def test_a_bool_is_no_size(shape):
    with pytest.raises(ValueError, match=r"Reshape: shape=.*True.* must be a tuple of 1 to 3 positive integers"):
        Reshape(shape)


def test_numbers_become_python_numbers():
    layer = LSTM(np.int32(3), return_sequences=np.True_, input_dropout=np.float32(0.5))
    assert repr(layer) == ("LSTM(units=3, return_sequences=True, input_dropout=0.5, recurrent_dropout=0.0, "
                           "recurrent_bias=True)")
    assert repr(Reshape((np.int64(2), 3))) == "Reshape(shape=(2, 3))"


@pytest.mark.parametrize("layer, shape, expected", [
    (LSTM(5), (6, 2), (5,)), (GRU(5, return_sequences=True), (6, 2), (6, 5)),
    (RNN(5, return_sequences=True), (None, 2), (None, 5)),
    (Bidirectional(LSTM(5)), (6, 2), (10,)), (Bidirectional(LSTM(5, return_sequences=True)), (6, 2), (6, 10)),
    (Bidirectional(LSTM(5), "sum"), (6, 2), (5,)), (Bidirectional(GRU(5, return_sequences=True), "mul"), (6, 2), (6, 5)),
    (Dense(3), (2,), (3,)), (Dense(3), (6, 2), (6, 3)), (Activation("relu"), (6, 2), (6, 2)), (Dropout(0.5), (2,), (2,)),
    (Conv1D(4, 3), (6, 2), (6, 4)), (Conv1D(4, 3, "valid"), (6, 2), (4, 4)), (Conv1D(4, 3, "valid"), (None, 2), (None, 4)),
    (MaxPooling1D(2), (6, 2), (3, 2)), (MaxPooling1D(4), (7, 2), (1, 2)), (AveragePooling1D(9), (6, 2), (1, 2)),
    (MaxPooling1D(2), (None, 2), (None, 2)), (GlobalMaxPooling1D(), (6, 2), (2,)), (GlobalAveragePooling1D(), (None, 2), (2,)),
    (Embedding(9, 4), (6,), (6, 4)), (Embedding(9, 4), (None,), (None, 4)), (Flatten(), (6, 2), (12,)),
    (Flatten(), (3, 4, 2), (24,)),
    (Reshape((3, 4, 1)), (6, 2), (3, 4, 1)), (Reshape((-1,)), (6, 2), (12,)), (Reshape((-1, 3)), (6, 2), (4, 3)),
    (TimeDistributed(Dense(3)), (6, 2), (6, 3)), (TimeDistributed([Conv1D(4), Flatten()]), (3, 4, 2), (3, 16)),
    (TimeDistributed(Conv1D(4)), (3, 5, 2), (3, 5, 4)), (TimeDistributed(LSTM(4)), (3, 5, 2), (3, 4)),
], ids=str)
def test_output_shapes(layer, shape, expected):
    assert layer.output_shape(shape) == expected


BAD_ARGUMENTS = [
    (lambda: LSTM(0), "LSTM: units=0 must be a positive integer."),
    (lambda: GRU(True), "GRU: units=True must be a positive integer."),
    (lambda: RNN(2.5), "RNN: units=2.5 must be a positive integer."),
    (lambda: LSTM("3"), "LSTM: units='3' must be a positive integer."),
    (lambda: LSTM(-1), "LSTM: units=-1 must be a positive integer."),
    (lambda: LSTM(3, return_sequences="yes"), "LSTM: return_sequences='yes' must be True or False."),
    (lambda: LSTM(3, input_dropout=1.0), "LSTM: input_dropout=1.0 must be a number in [0, 1)."),
    (lambda: GRU(3, recurrent_dropout=-0.1), "GRU: recurrent_dropout=-0.1 must be a number in [0, 1)."),
    (lambda: GRU(3, recurrent_dropout=None), "GRU: recurrent_dropout=None must be a number in [0, 1)."),
    (lambda: Dropout(float("nan")), "Dropout: rate=nan must be a number in [0, 1)."),
    (lambda: Dropout("0.5"), "Dropout: rate='0.5' must be a number in [0, 1)."),
    (lambda: Dropout([0.5]), "Dropout: rate=[0.5] must be a number in [0, 1)."),
    (lambda: RNN(3, activation="sigmoid"), "RNN: activation='sigmoid' must be one of 'tanh', 'relu'."),
    (lambda: Bidirectional(Dense(3)), "Bidirectional: layer=Dense(units=3, activation='linear') must be an LSTM, GRU or RNN."),
    (lambda: Bidirectional(LSTM(3), "avg"), "Bidirectional: merge='avg' must be one of 'concat', 'sum', 'mul', 'ave'."),
    (lambda: Dense(0), "Dense: units=0 must be a positive integer."),
    (lambda: Dense(2, "softmax"), "Dense: activation='softmax' must be one of 'linear', 'tanh', 'relu', 'sigmoid'."),
    (lambda: Activation("gelu"), "Activation: name='gelu' must be one of 'linear', 'tanh', 'relu', 'sigmoid'."),
    (lambda: Activation(["tanh"]), "Activation: name=['tanh'] must be one of"),
    (lambda: Conv1D(0), "Conv1D: filters=0 must be a positive integer."),
    (lambda: Conv1D(3, 0), "Conv1D: kernel_size=0 must be a positive integer."),
    (lambda: Conv1D(3, padding="causal"), "Conv1D: padding='causal' must be one of 'same', 'valid'."),
    (lambda: Conv1D(3, activation=None), "Conv1D: activation=None must be one of"),
    (lambda: MaxPooling1D(0), "MaxPooling1D: pool_size=0 must be a positive integer."),
    (lambda: AveragePooling1D(1.5), "AveragePooling1D: pool_size=1.5 must be a positive integer."),
    (lambda: Embedding(0, 3), "Embedding: vocabulary_size=0 must be a positive integer."),
    (lambda: Embedding(3, 0), "Embedding: embedding_dim=0 must be a positive integer."),
    (lambda: Embedding(3, 3, mask_zero="yes"), "Embedding: mask_zero='yes' must be True or False."),
    (lambda: Reshape(3), "Reshape: shape=3 must be a tuple of 1 to 3 positive integers"),
    (lambda: Reshape(()), "Reshape: shape=() must be a tuple of 1 to 3 positive integers"),
    (lambda: Reshape((-1, -1)), "Reshape: shape=(-1, -1) must be"),
    (lambda: Reshape((0, 2)), "Reshape: shape=(0, 2) must be"),
    (lambda: Reshape((1, 2, 3, 4)), "Reshape: shape=(1, 2, 3, 4) must be"),
    (lambda: Reshape((2.0, 3)), "Reshape: shape=(2.0, 3) must be"),
    (lambda: TimeDistributed([]), "TimeDistributed: layers=[] must be a layer or a list of layers."),
    (lambda: TimeDistributed("Dense"), "TimeDistributed: layers='Dense' must be a layer or a list of layers."),
    (lambda: TimeDistributed(3), "TimeDistributed: layers=3 must be a layer or a list of layers."),
]


@pytest.mark.parametrize("make, message", BAD_ARGUMENTS, ids=[message for _, message in BAD_ARGUMENTS])
def test_bad_arguments_are_refused_with_value_and_rule(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).startswith(message)


BAD_SHAPES = [
    (LSTM(2), (3,), "needs (steps, features) a sample but gets (3,); give the recurrent layer before it return_sequences"),
    (GlobalMaxPooling1D(), (3,), "give the recurrent layer before it return_sequences=True."),
    (Conv1D(2), (3,), "give the recurrent layer before it return_sequences=True."),
    (MaxPooling1D(2), (2, 3, 1), "needs (steps, features) a sample but gets (2, 3, 1); wrap it in TimeDistributed."),
    (LSTM(2), (2, 3, 1), "wrap it in TimeDistributed."),
    (Dense(2), (2, 3, 1), "gets (2, 3, 1) a sample; wrap it in TimeDistributed or put Flatten() before it."),
    (Reshape((4, 1)), (6, 1), "does not fit (6, 1), which has 6 values a sample."),
    (Reshape((-1, 4)), (6, 1), "does not fit (6, 1), which has 6 values a sample."),
    (Reshape((-1, 1)), (None, 1), "needs sequences of a fixed length, not ragged ones."),
    (Flatten(), (None, 1), "Flatten() needs sequences of a fixed length, not ragged ones."),
    (Conv1D(2, 4, "valid"), (3, 1), "kernel_size=4 must not be larger than the number of steps (3); take a smaller kernel or"),
    (Embedding(3, 2), (6, 1), "takes token ids and must be the first layer; it gets values of shape (6, 1)."),
    (TimeDistributed(Dense(1)), (6,), "needs at least (steps, features) a sample but gets (6,)."),
    (TimeDistributed(Reshape((3, 1, 1))), (2, 3), "makes (2, 3, 1, 1) a sample; at most 3 axes are supported."),
]


@pytest.mark.parametrize("layer, shape, message", BAD_SHAPES, ids=[message for *_, message in BAD_SHAPES])
def test_shapes_that_do_not_fit_are_refused_with_a_remedy(layer, shape, message):
    with pytest.raises(ValueError) as error:
        layer.output_shape(shape)
    assert message in str(error.value) and type(layer).__name__ in str(error.value)


@pytest.mark.parametrize("name", [*MASKABLE, *FIXED])
def test_specified_shapes_are_those_of_the_plan(name):
    layers, shape = FIXED[name] if name in FIXED else (MASKABLE[name], (6, 3))
    network = Network(layers, shape)
    lowered = network.lower(shape[0], np.float64, train=True, masked=False)
    out = network.output_shape(shape[0])
    assert (lowered.out_steps, lowered.out_features) == ((1, *out) if len(out) == 1 else out)


# ---------------------------------------------------------------------------------------------------- one layer alone


def weights_of(layer, features, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return {p.name: rng.normal(scale=0.5, size=p.shape).astype(dtype) for p in layer.direction_params((None, features))}


def random_input(layer, n=4, T=7, F=3, seed=1):
    rng = np.random.default_rng(seed)
    state = tuple(rng.normal(size=(2, n, layer.units)))
    return rng.normal(size=(n, T, F)), state if isinstance(layer, LSTM) else state[0]


def flat(state):
    return np.concatenate([np.ravel(part) for part in (state if isinstance(state, tuple) else (state,))])


@pytest.mark.parametrize("given", [False, True], ids=["from zero", "from a state"])
@pytest.mark.parametrize("lengths", [None, [7, 0, 3, 1]], ids=["whole", "ragged"])
@PER_CELL
def test_apply_follows_the_equations(cell, options, lengths, given):
    layer = recurrent(cell, options, units=5)
    weights = weights_of(layer, 3)
    x, state = random_input(layer)
    y, after = layer.apply(weights, x, state if given else None, lengths)
    assert y.shape == (4, 7, 5) and y.dtype == np.float64
    for b in range(4):
        h, c = (state if isinstance(state, tuple) else (state, None)) if given else (None, None)
        h, c = None if h is None else h[b], None if c is None else c[b]
        mask = None if lengths is None else np.arange(7) < lengths[b]
        states, cell_state = naive.recurrent(layer, list(weights.values()), x[b], mask, h, c)
        np.testing.assert_allclose(y[b], states, rtol=1e-12, atol=1e-13)
        if isinstance(layer, LSTM):
            np.testing.assert_allclose(after[0][b], states[-1], rtol=1e-12, atol=1e-13)
            np.testing.assert_allclose(after[1][b], cell_state, rtol=1e-12, atol=1e-13)
        else:
            np.testing.assert_allclose(after[b], states[-1], rtol=1e-12, atol=1e-13)


@PER_CELL
def test_apply_goes_on_from_its_own_state(cell, options):
    layer = recurrent(cell, options, units=5)
    weights = weights_of(layer, 3)
    x, state = random_input(layer)
    y, after = layer.apply(weights, x, state)
    first, between = layer.apply(weights, x[:, :3], state)
    second, end = layer.apply(weights, x[:, 3:], between)
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), y)
    np.testing.assert_array_equal(flat(end), flat(after))


@PER_CELL
def test_apply_does_not_look_at_padding_or_at_other_rows(cell, options):
    layer = recurrent(cell, options, units=5)
    weights = weights_of(layer, 3)
    x, state = random_input(layer)
    lengths = np.array([7, 2, 5, 1])
    _, whole = layer.apply(weights, x, state, lengths)
    x[1, 2:], x[3, 1:] = 1e3, -1e3
    _, again = layer.apply(weights, x, state, lengths)
    np.testing.assert_array_equal(flat(again), flat(whole))
    one = tuple(part[1:2] for part in state) if isinstance(state, tuple) else state[1:2]
    _, alone = layer.apply(weights, x[1:2, :2], one)
    row = tuple(part[1:2] for part in (whole if isinstance(whole, tuple) else (whole,)))
    np.testing.assert_array_equal(flat(alone), flat(row))


def test_apply_changes_nothing_that_it_was_given():
    layer = LSTM(5, return_sequences=False, input_dropout=0.5, recurrent_dropout=0.5)  # no dropout outside of training
    weights = weights_of(layer, 3)
    x, state = random_input(layer)
    copies = [array.copy() for array in (x, *state, *weights.values())]
    y, _ = layer.apply(weights, x, state)
    for array, copy in zip((x, *state, *weights.values()), copies):
        np.testing.assert_array_equal(array, copy)
    np.testing.assert_array_equal(LSTM(5).apply(weights, x, state)[0], y)


@pytest.mark.parametrize("make", [np.asfortranarray, lambda x: x.astype(">f8"), lambda x: x[::-1][::-1], lambda x: x.tolist()],
                         ids=["Fortran", "big-endian", "strided", "list"])
def test_apply_takes_arrays_of_every_kind(make):
    layer = GRU(4)
    weights = weights_of(layer, 3)
    x, _ = random_input(layer)
    np.testing.assert_array_equal(layer.apply(weights, make(x))[0], layer.apply(weights, x)[0])
    x.flags.writeable = False
    np.testing.assert_array_equal(layer.apply(weights, x)[0], layer.apply(weights, x.copy())[0])


def test_apply_computes_in_the_type_of_x():
    layer = LSTM(4)
    x, state = random_input(layer)
    y, (h, c) = layer.apply(weights_of(layer, 3), x.astype(np.float32), state)
    assert y.dtype == h.dtype == c.dtype == np.float32
    np.testing.assert_allclose(y, layer.apply(weights_of(layer, 3), x, state)[0], rtol=1e-4, atol=1e-5)
    assert layer.apply(weights_of(layer, 3), np.ones((1, 2, 3), np.int64))[0].dtype == np.float64


ONES = np.ones((2, 5, 2))
STATE = np.ones((2, 3))
W = weights_of(LSTM(3), 2)
BAD_APPLY = [
    ((ONES[0],), {}, "x has shape (5, 2); it must be (n, T, F) with at least one of each."),
    ((ONES[:0],), {}, "x has shape (0, 5, 2); it must be (n, T, F)"),
    ((ONES,), {"state": STATE}, "state must be a pair (h, c) of arrays for an LSTM."),
    ((ONES,), {"state": (STATE,)}, "state must be a pair (h, c) of arrays for an LSTM."),
    ((ONES,), {"state": (STATE, STATE[:1])}, "state has shape (1, 3); it must be (n, H) = (2, 3)."),
    ((ONES,), {"lengths": [1, 6]}, "lengths=array([1, 6]) must be 2 integers from 0 to T=5."),
    ((ONES,), {"lengths": [-1, 5]}, "lengths=array([-1,  5]) must be 2 integers from 0 to T=5."),
    ((ONES,), {"lengths": [1.0, 5.0]}, "lengths=array([1., 5.]) must be 2 integers from 0 to T=5."),
    ((ONES,), {"lengths": [1]}, "lengths=array([1]) must be 2 integers from 0 to T=5."),
]


@pytest.mark.parametrize("arguments, named, message", BAD_APPLY, ids=[message for *_, message in BAD_APPLY])
def test_apply_refuses_what_does_not_fit(arguments, named, message):
    with pytest.raises(ValueError) as error:
        LSTM(3).apply(W, *arguments, **named)
    assert str(error.value).startswith(message)


def test_apply_refuses_weights_that_do_not_fit():
    with pytest.raises(ValueError, match=r"weights has \['W_ih'\]; LSTM.* needs W_ih, W_hh, b_ih, b_hh\."):
        LSTM(3).apply({"W_ih": W["W_ih"]}, ONES)
    with pytest.raises(ValueError, match=r"W_ih has shape \(12, 2\); LSTM.* on 4 features needs \(12, 4\)\."):
        LSTM(3).apply(W, np.ones((2, 5, 4)))
    with pytest.raises(ValueError, match=r"W_ih has shape \(12, 2\); GRU.* on 2 features needs \(9, 2\)\."):
        GRU(3).apply(W, ONES)
