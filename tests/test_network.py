"""Networks: layout of theta, names and views, initial weights, lowering and its cache, errors."""

import pickle

import numpy as np
import pytest
from gradcheck import make_data, make_engine
from networks import FIXED, MASKABLE

from tsrnn.backends import contract as c
from tsrnn.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalMaxPooling1D,
    MaxPooling1D,
    Reshape,
    TimeDistributed,
)
from tsrnn.network import Network, forward_work

LAYERS = [Embedding(11, 5), Conv1D(6, 3), Bidirectional(LSTM(4, return_sequences=True)), GRU(3, return_sequences=True), LSTM(2),
          Dense(7), Dropout(0.5), Dense(1)]
SHAPES = {
    "embedding_0.W": (11, 5), "conv1d_0.W": (6, 5, 3), "conv1d_0.b": (6,),
    "lstm_0.W_ih": (16, 6), "lstm_0.W_hh": (16, 4), "lstm_0.b_ih": (16,), "lstm_0.b_hh": (16,),
    "lstm_0.W_ih_reverse": (16, 6), "lstm_0.W_hh_reverse": (16, 4), "lstm_0.b_ih_reverse": (16,), "lstm_0.b_hh_reverse": (16,),
    "gru_0.W_ih": (9, 8), "gru_0.W_hh": (9, 3), "gru_0.b_ih": (9,), "gru_0.b_hh": (9,),
    "lstm_1.W_ih": (8, 3), "lstm_1.W_hh": (8, 2), "lstm_1.b_ih": (8,), "lstm_1.b_hh": (8,),
    "dense_0.W": (7, 2), "dense_0.b": (7,), "dense_1.W": (1, 7), "dense_1.b": (1,),
}


@pytest.fixture(scope="module")
def network():
    return Network(LAYERS, (None,))


def test_names_and_shapes_are_pytorchs(network):
    assert {spec.name: spec.shape for spec in network.specs} == SHAPES
    assert {name: view.shape for name, view in network.views(np.zeros(network.n_params)).items()} == SHAPES


def test_theta_is_covered_once_and_tables_lie_last(network):
    owner = np.zeros(network.n_params, int)
    for n, spec in enumerate(network.specs, start=1):
        span = owner[spec.offset:spec.offset + spec.param.size]
        assert not span.any()
        span[:] = n
    assert owner.all()
    table = network.specs[0]
    assert (table.offset, table.offset + table.param.size) == (network.n_dense, network.n_params)
    assert network.n_params == sum(np.prod(shape) for shape in SHAPES.values())


def test_views_share_memory_and_matrices_lie_in_by_out(network):
    theta = np.arange(network.n_params, dtype=float)
    views = network.views(theta)
    assert all(np.shares_memory(view, theta) for view in views.values())
    spec = {spec.name: spec for spec in network.specs}
    W = views["dense_0.W"]
    np.testing.assert_array_equal(W.T.ravel(), theta[spec["dense_0.W"].offset:][:14])  # stored (in, out)
    table = views["embedding_0.W"]
    np.testing.assert_array_equal(table.ravel(), theta[network.n_dense:])  # a token a row
    conv = views["conv1d_0.W"]
    np.testing.assert_array_equal(conv.transpose(2, 1, 0).ravel(), theta[spec["conv1d_0.W"].offset:][:90])  # (K, C, filters)
    views["lstm_1.b_hh"][3] = -1
    assert theta[spec["lstm_1.b_hh"].offset + 3] == -1


def test_l2_acts_on_weights_and_not_on_biases(network):
    marked = np.zeros(network.n_params, bool)
    for first, stop in network.penalised:
        marked[first:stop] = True
    for name, view in network.views(marked).items():
        assert view.all() if ".W" in name else not view.any()


def test_initial_weights(network):
    network = Network([Embedding(50, 8), LSTM(16, return_sequences=True), GRU(12, return_sequences=True), Conv1D(10, 3), RNN(6),
                       Dense(30, "relu"), Dense(1)], (5,))
    views = network.views(network.init(np.random.default_rng(0)))
    np.testing.assert_array_equal(views["lstm_0.b_ih"], np.repeat([0.0, 1, 0, 0], 16))  # forget gate
    for name, view in views.items():
        if ".b" in name and name != "lstm_0.b_ih":
            assert not view.any(), name
        if ".W_hh" in name:  # orthonormal rows of the stored (H, G H)
            np.testing.assert_allclose(view.T @ view, np.eye(view.shape[1]), atol=1e-13)
    for name, limit in (("lstm_0.W_ih", np.sqrt(6 / (8 + 64))), ("gru_0.W_ih", np.sqrt(6 / (16 + 36))),
                        ("conv1d_0.W", np.sqrt(6 / (3 * (12 + 10)))), ("dense_0.W", np.sqrt(6 / 36)), ("embedding_0.W", 0.05)):
        assert 0.9 * limit < np.abs(views[name]).max() <= limit, name
        assert abs(views[name].mean()) < 0.2 * limit


def test_initial_weights_are_the_same_for_every_dtype_and_differ_by_seed(network):
    double, single = (network.init(np.random.default_rng(3), dtype) for dtype in (np.float64, np.float32))
    np.testing.assert_array_equal(double.astype(np.float32), single)
    assert not np.array_equal(double, network.init(np.random.default_rng(4)))


def test_initial_weights_do_not_depend_on_the_number_of_steps():
    layers = [LSTM(4), Dense(1)]
    np.testing.assert_array_equal(Network(layers, (3, 2)).init(np.random.default_rng(0)),
                                  Network(layers, (300, 2)).init(np.random.default_rng(0)))


def test_names_count_within_time_distributed():
    layers = [Reshape((3, 4, 2)), TimeDistributed([Conv1D(4), MaxPooling1D(2), Flatten(), Dense(3)]), LSTM(3), Dense(1)]
    names = {spec.name.partition(".")[0] for spec in Network(layers, (12, 2)).specs}
    assert names == {"conv1d_0", "dense_0", "lstm_0", "dense_1"}


def test_output_shapes():
    assert Network([LSTM(3), Dense(2)], (None, 4)).output_shape(9) == (2,)
    by_steps = Network([Conv1D(3, 2, "valid"), GRU(3, return_sequences=True), Dense(2)], (None, 4))
    assert by_steps.output_shape(9) == (8, 2) and by_steps.output_shape(None) == (None, 2)


@pytest.mark.parametrize("name", [*FIXED, *MASKABLE])
def test_a_network_pickles(name):
    layers, shape = FIXED[name] if name in FIXED else (MASKABLE[name], (6, 3))
    network = Network(layers, shape, "huber", (0.7,))
    network.lower(shape[0], np.float64, train=False, masked=False)
    again = pickle.loads(pickle.dumps(network))
    for name in ("layers", "input_shape", "loss", "loss_params"):
        assert getattr(again, name) == getattr(network, name)
    assert [spec[:2] for spec in again.specs] == [spec[:2] for spec in network.specs] and again.backend_name == "cpu"
    np.testing.assert_array_equal(again.lower(shape[0], np.float64, train=True, masked=True).plan.rows,
                                  network.lower(shape[0], np.float64, train=True, masked=True).plan.rows)


# ------------------------------------------------------------------------------------------------------------- plans


def test_plans_are_cached_by_length_type_mode_and_mask(network):
    def lower(steps=5, dtype=np.float64, train=True, masked=False):
        return network.lower(steps, dtype, train=train, masked=masked)
    base = lower()
    assert lower() is base and lower(np.int64(5)) is base and lower(dtype=np.dtype("f8")) is base
    others = [lower(steps=6), lower(dtype=np.float32), lower(train=False), lower(masked=True)]
    assert all(other is not base for other in others) and len({id(other) for other in others}) == 4
    assert lower(masked=True).mask > base.mask == 0
    assert lower(train=False).mem < base.mem and lower(train=False).tokens == 0 < base.tokens


def test_the_cache_of_plans_is_bounded():
    network = Network([LSTM(2), Dense(1)], (None, 1))
    for steps in range(1, 700):
        network.lower(steps, np.float64, train=False, masked=False)
    assert len(network._lowered) <= 257


@pytest.mark.parametrize("name", [*FIXED, *MASKABLE])
def test_packed_parameters_serve_every_plan_of_a_network(name):
    layers, shape = FIXED[name] if name in FIXED else (MASKABLE[name], (6, 3))
    network = Network(layers, shape)
    for dtype in (np.float32, np.float64):
        plans = [network.lower(shape[0], dtype, train=train, masked=masked)
                 for train in (False, True) for masked in (False, True)]
        assert len({plan.pack for plan in plans}) == 1
        where = [plan.plan.rows[np.isin(plan.plan.rows[:, c.OP], (c.RECURRENT, c.DENSE, c.CONV))][:, [c.PARAM, c.PACK]]
                 for plan in plans]
        assert all(np.array_equal(where[0], other) for other in where)


@pytest.mark.parametrize("name", [*FIXED, *MASKABLE])
def test_buffers_lie_inside_the_memory_and_do_not_overlap(name):
    layers, shape = FIXED[name] if name in FIXED else (MASKABLE[name], (6, 3))
    lowered = Network(layers, shape).lower(shape[0], np.float64, train=True, masked=True)
    owner = np.zeros(lowered.mem, int)

    def claim(at, size, who):
        assert 0 <= at and at + size <= lowered.mem
        assert not owner[at:at + size].any(), f"overlap at {who}"
        owner[at:at + size] = 1
    claimed = set()
    for n, row in enumerate(lowered.plan.rows[:-1].tolist()):
        r, T, H = row[c.REPEAT], row[c.T_IN], row[c.F_OUT]
        y = row[c.T_OUT] * (row[c.LD] or row[c.F_OUT]) * r
        buffers = {c.DY: y}
        if row[c.OP] == c.RECURRENT:
            cell = c.CELLS[row[c.CODE]]
            buffers |= {c.H_SEQ: (T + 2) * row[c.LD] * r, c.C_SEQ: (T + 2) * H * r, c.WORK: T * cell.slots * H * r,
                        c.H_DROP: (T + 1) * H * r, c.DH: 2 * H * r, c.DC: H * r,
                        c.SLICE: row[c.SLICE_STEPS] * (cell.slots * H + c.GAP) * r}
            if row[c.SEQUENCE]:
                assert row[c.Y] == row[c.H_SEQ] + row[c.LD] * r
            else:
                buffers[c.Y] = y
        elif row[c.OP] != c.IDS:
            buffers[c.Y] = y
        for column, size in buffers.items():
            if row[column] != c.NONE and (row[column], size) not in claimed:  # a concatenated pair shares its output
                claim(row[column], size, (n, column))
                claimed.add((row[column], size))


def test_nobody_computes_gradients_that_nobody_needs():
    rows = Network([Dropout(0.5), LSTM(3), Dense(1)], (4, 2)).lower(4, np.float64, train=True, masked=False).plan.rows
    assert list(rows[:, c.OP]) == [c.INPUT, c.DROPOUT, c.RECURRENT, c.DENSE, c.LOSS]
    assert list(rows[:, c.DX] == c.NONE) == [True, True, True, False, False]
    predict = Network([Dropout(0.5), LSTM(3), Dense(1)], (4, 2)).lower(4, np.float64, train=False, masked=False).plan.rows
    assert (predict[:, [c.DX, c.DY, c.DX2, c.DH, c.DC]] == c.NONE).all()
    assert not predict[:, c.KEEP].any()


def test_streams_of_random_numbers_do_not_depend_on_other_rates():
    def streams(rate):
        layers = [Dropout(rate), LSTM(3, recurrent_dropout=0.2), Dropout(0.5), Dense(1)]
        rows = Network(layers, (4, 2)).lower(4, np.float64, train=True, masked=False).plan.rows
        return [row[c.STREAM] for row in rows if row[c.OP] in (c.RECURRENT, c.DROPOUT)][-2:]
    assert streams(0.0) == streams(0.5) and len(set(streams(0.5))) == 2


def test_work_counts_multiply_adds():
    network = Network([LSTM(5), Dense(2)], (7, 3))
    rows = network.lower(7, np.float64, train=False, masked=False).plan.rows
    assert forward_work(rows[1:2]) == 7 * 4 * 5 * (3 + 5) and forward_work(rows[2:3]) == 5 * 2


# ------------------------------------------------------------------------------------------------------------- errors


BAD = [
    ([], (3, 2), "The last layer is nothing; it must be a linear Dense(n_outputs)"),
    ([LSTM(2)], (3, 2), "The last layer is LSTM(units=2"),
    ([Dense(1, "tanh")], (3, 2), "The last layer is Dense(units=1, activation='tanh'); it must be a linear Dense"),
    (["LSTM", Dense(1)], (3, 2), "layers holds 'LSTM', which is not a layer of tsrnn.layers."),
    (Dense(1), (3, 2), "layers=Dense(units=1, activation='linear') must be a list of layers."),
    ("dense", (3, 2), "layers='dense' must be a list of layers."),
    ([LSTM(2), LSTM(2), Dense(1)], (3, 2), "LSTM(units=2, return_sequences=False"),
    ([LSTM(2), GlobalMaxPooling1D(), Dense(1)], (3, 2), "GlobalMaxPooling1D() needs (steps, features) a sample but gets (2,)"),
    ([LSTM(2), Embedding(3, 2), Dense(1)], (3, 2), f"{Embedding(3, 2)!r}: an "),
    ([TimeDistributed(Embedding(3, 2)), Flatten(), Dense(1)], (3, 2), "TimeDistributed(layers=(Embedding("),
    ([Embedding(3, 2), Dense(1)], (3, 2), f"{Embedding(3, 2)!r} takes token ids"),
    ([Reshape((2, 3, 1)), Dense(1)], (6, 1), "Dense(units=1, activation='linear') gets (2, 3, 1) a sample"),
]


@pytest.mark.parametrize("layers, shape, message", BAD, ids=[message for *_, message in BAD])
def test_layers_that_make_no_network_are_refused(layers, shape, message):
    with pytest.raises(ValueError) as error:
        Network(layers, shape)
    assert str(error.value).startswith(message)


def test_ragged_rows_behind_a_valid_convolution_need_its_kernel():
    network = Network([Conv1D(2, 4, "valid"), GlobalMaxPooling1D(), Dense(1)], (None, 1))
    data = make_data(network, steps=6, lengths=[6, 5, 4])
    assert np.isfinite(make_engine(network).predict(data)).all()
    with pytest.raises(ValueError, match=r"kernel_size=4 must not be larger than the number of steps \(3\)"):
        make_engine(network).predict(make_data(network, steps=3))
