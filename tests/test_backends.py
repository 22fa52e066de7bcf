"""Both backends against the plain equations, against each other buffer by buffer, and against themselves: bits."""

import os
import subprocess
import sys

import naive
import numpy as np
import pytest
from gradcheck import KEY, analytic, make_data, make_engine, make_layer_run
from networks import CELL_IDS, CELLS, DIRECTIONS, FIXED, LENGTHS, LOSSES, MASKABLE, PADDING, recurrent, with_mask

from tsrnn import engine as engine_module
from tsrnn.backends import contract as c
from tsrnn.backends import get
from tsrnn.backends.place import HOST
from tsrnn.engine import Engine
from tsrnn.layers import GRU, LSTM, RNN, Bidirectional, Conv1D, Dense, Dropout, Embedding, GlobalAveragePooling1D, MaxPooling1D
from tsrnn.network import Network
from tsrnn.parallel import Team

MASKS = ("none", "right", "left")
PER_CELL = pytest.mark.parametrize("cell, options", CELLS, ids=CELL_IDS)
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "cpu"])


def all_networks():
    """name → layers, input shape, data options."""
    for (cell, options), cell_id in zip(CELLS, CELL_IDS):
        for direction in DIRECTIONS:
            for mask in MASKS:
                layer = recurrent(cell, options, direction, sequences=mask != "none", recurrent_dropout=0.3)
                yield f"{cell_id}, {direction}, {mask}", with_mask([layer, Dense(2)], mask)
    for name, layers in MASKABLE.items():
        for mask in MASKS:
            yield f"{name}, {mask}", with_mask(layers, mask)
    for name, (layers, shape) in FIXED.items():
        yield name, (layers, shape, {})


NETWORKS = dict(all_networks())


def engines(layers, shape, options, dtype=np.float64, loss="squared_error", loss_params=(1.0,)):
    """The same network on both backends, and its data."""
    networks = [Network(layers, shape, loss, loss_params, backend=backend) for backend in ("numpy", "cpu")]
    data = make_data(networks[0], steps=shape[0], dtype=dtype, **options)
    return [make_engine(network, dtype) for network in networks], data


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_and_losses_are_those_of_the_plain_equations(name):
    layers, shape, options = NETWORKS[name]
    pair, data = engines(layers, shape, options)
    for engine in pair:
        naive.check_engine(engine, data)


@pytest.mark.parametrize("loss, params, outputs", LOSSES, ids=[loss for loss, *_ in LOSSES])
def test_losses_are_those_of_the_plain_equations(loss, params, outputs):
    for mask in MASKS:
        for sequences in (False, True):
            layers, shape, options = with_mask([GRU(3, return_sequences=sequences), Dense(outputs)], mask)
            pair, data = engines(layers, shape, options, loss=loss, loss_params=params)
            for engine in pair:
                naive.check_engine(engine, data)


@pytest.mark.parametrize("name", NETWORKS)
def test_backends_agree(name):
    layers, shape, options = NETWORKS[name]
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-5)):
        (numpy, cpu), data = engines(layers, shape, options, dtype)
        np.testing.assert_allclose(cpu.predict(data), numpy.predict(data), rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(cpu.evaluate(data)[:2], numpy.evaluate(data)[:2], rtol=tolerance)
        (loss, gradient), (expected_loss, expected) = analytic(cpu, data), analytic(numpy, data)
        assert gradient.dtype == dtype
        np.testing.assert_allclose(loss, expected_loss, rtol=tolerance)
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=tolerance * np.abs(expected).max())
        check_buffers(numpy, cpu, data, tolerance)


def check_buffers(numpy, cpu, data, tolerance):
    """Outputs, masks and winners after a training step, and the first gradients that are left of it."""
    lengths = data.lengths
    masked = numpy.network.mask_zero or lengths.min() < lengths.max()
    rows = numpy.network.lower(lengths.max(), numpy.dtype, train=True, masked=masked).plan.rows
    B = len(lengths)  # one chunk or two: the last one's memory
    B = B - (B - 1) // HOST.chunk_rows(B) * HOST.chunk_rows(B)
    expected, got = numpy._scratch[0], cpu._scratch[0]
    close = {"rtol": tolerance, "atol": tolerance * max(1.0, np.abs(numpy.theta).max())}
    for row in rows[:-1]:
        n = B * row[c.REPEAT]
        if row[c.OP] == c.RECURRENT:
            compared = {c.H_SEQ: (row[c.T_IN] + 2) * row[c.LD]} if row[c.LD] == row[c.F_OUT] else {}
            compared |= {c.DH: row[c.F_OUT], c.DC: row[c.F_OUT]}
            if compared.get(c.H_SEQ):  # the unused row of states at the far end is nobody's business
                first = 0 if not row[c.REVERSE] else 1
                at, size = row[c.H_SEQ] * B + first * n * row[c.LD], (row[c.T_IN] + 1) * n * row[c.LD]
                np.testing.assert_allclose(got.mem[at:at + size], expected.mem[at:at + size], **close)
                del compared[c.H_SEQ]
        elif row[c.OP] == c.IDS:
            compared = {}
        else:
            compared = {c.Y: row[c.T_OUT] * row[c.F_OUT]}
        for column, size in compared.items():
            if row[column] != c.NONE:
                span = slice(row[column] * B, row[column] * B + size * n)
                np.testing.assert_allclose(got.mem[span], expected.mem[span], **close)
        if row[c.MASK_OUT] != c.NONE:
            span = slice(row[c.MASK_OUT] * B, row[c.MASK_OUT] * B + row[c.T_OUT] * n)
            np.testing.assert_array_equal(got.mask[span], expected.mask[span])
        if row[c.OP] in (c.MAX_POOL, c.GLOBAL_MAX, c.IDS):
            span = slice(row[c.WORK] * B, row[c.WORK] * B + row[c.T_OUT] * row[c.F_OUT] * n)
            np.testing.assert_array_equal(got.indices[span], expected.indices[span])


@pytest.mark.parametrize("loss, params, outputs", LOSSES, ids=[loss for loss, *_ in LOSSES])
def test_losses_and_right_answers_agree(loss, params, outputs):
    for mask in MASKS:
        for sequences in (False, True):
            layers, shape, options = with_mask([GRU(3, return_sequences=sequences), Dense(outputs)], mask)
            (numpy, cpu), data = engines(layers, shape, options, loss=loss, loss_params=params)
            np.testing.assert_allclose(cpu.evaluate(data)[:2], numpy.evaluate(data)[:2], rtol=1e-12)
            order, gradients = np.array([4, 0, 2]), [np.empty(cpu.network.n_params) for _ in range(2)]
            sums = [engine.gradient(data, order, KEY, gradient) for engine, gradient in zip((numpy, cpu), gradients)]
            np.testing.assert_allclose(sums[1], sums[0], rtol=1e-12)
            np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3, 17), (33, 4, 8), (2, 40, 65), (16, 64, 33)], ids=str)
@PER_CELL
def test_sizes_beside_and_between_the_tiles_agree(cell, options, shape):
    n, features, units = shape
    layers = [recurrent(cell, options, "concat", units=units), Dense(3)]
    (numpy, cpu), data = engines(layers, (3, features), {"n": n})
    np.testing.assert_allclose(cpu.predict(data), numpy.predict(data), rtol=1e-12, atol=1e-12)
    (_, gradient), (_, expected) = analytic(cpu, data), analytic(numpy, data)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@BACKENDS
def test_more_chunks_are_predicted_than_gradients_have_room_for(backend):
    network = Network([LSTM(2), Dense(1)], (3, 1), backend=backend)
    engine, data = make_engine(network, np.float64), make_data(network, n=300)
    before = engine.predict(data), *engine.evaluate(data)
    engine.gradient(data, np.arange(300), KEY, np.zeros(network.n_params))
    for got, expected in zip((engine.predict(data), *engine.evaluate(data)), before):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("directions", [(False,), (True,), (False, True)], ids=["forward", "reverse", "both"])
@PER_CELL
def test_layers_with_given_states_agree_with_the_plain_equations(cell, options, directions):
    lengths = np.array([5, 2, 1, 4])
    for sequences in (False, True):
        layer = recurrent(cell, options, sequences=sequences)
        runs = [make_layer_run(layer, backend, directions=directions, lengths=lengths) for backend in ("numpy", "cpu")]
        for expected, got in zip(runs[0].gradient(), runs[1].gradient()):
            if expected is not None:
                np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
        for run in runs:
            check_states(run, layer, lengths, directions)


def check_states(run, layer, lengths, directions):
    params = layer.direction_params(run.x.shape[1:])
    size = sum(p.size for p in params)
    for d, reverse in enumerate(directions):
        offsets = np.cumsum([d * size] + [p.size for p in params])
        weights = [p.public(run.theta, at) for p, at in zip(params, offsets)]
        for b, length in enumerate(lengths):
            x = run.x[b, :length]
            states, cell = naive.recurrent(layer, weights, x[::-1] if reverse else x, None, run.h0[d, b], run.c0[d, b])
            got = run.state(d, c.H_SEQ)[1:length + 1, b]
            np.testing.assert_allclose(got, states[::-1] if reverse else states, rtol=1e-12, atol=1e-13)
            end = 1 if reverse else run.x.shape[1]
            np.testing.assert_allclose(run.state(d, c.H_SEQ)[end, b], states[-1], rtol=1e-12, atol=1e-13)
            if run.rows[d][c.C_SEQ] != c.NONE:
                np.testing.assert_allclose(run.state(d, c.C_SEQ)[end, b], cell, rtol=1e-12, atol=1e-13)


# --------------------------------------------------------------------------------------------------------------- bits


def rows_of(data, rows):
    return data._replace(**{name: getattr(data, name)[rows] for name in ("starts", "lengths", "target_starts", "weights",
                                                                         "totals")})


ALONE = {
    "lstm": ([LSTM(19), Dense(3)], (5, 7)),
    "bidirectional": ([Bidirectional(GRU(9, return_sequences=True)), RNN(5), Dense(1)], (5, 3)),
    "cnn-lstm": ([Conv1D(11, 3, activation="relu"), MaxPooling1D(2), LSTM(6), Dense(2)], (6, 5)),
    "pooled": ([Conv1D(5, 3, activation="tanh"), GlobalAveragePooling1D(), Dense(4, "sigmoid"), Dense(2)], (6, 5)),
    "embedding": ([Embedding(9, 5, mask_zero=True), Bidirectional(LSTM(6)), Dense(2)], (6,)),
    "steps": ([GRU(7, return_sequences=True), Dense(2)], (5, 3)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ALONE)
def test_a_row_is_the_same_alone_and_in_any_batch(name, dtype):
    layers, shape = ALONE[name]
    network = Network(layers, shape)
    data, engine = make_data(network, n=41, steps=shape[0], dtype=dtype), make_engine(network, dtype)
    together = engine.predict(data)
    for B in (*range(1, 10), 16, 17, 33):
        np.testing.assert_array_equal(engine.predict(rows_of(data, slice(0, B))), together[:B])
        np.testing.assert_array_equal(engine.predict(rows_of(data, slice(40 - B, 41))), together[40 - B:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ALONE)
def test_a_row_is_the_same_alone_and_padded_beside_longer_ones(name, dtype):
    layers, shape = ALONE[name]
    network = Network(layers, (None, *shape[1:]))
    steps = 9
    lengths = np.random.default_rng(0).integers(3, steps + 1, 37)
    data, engine = make_data(network, steps=steps, lengths=lengths, dtype=dtype), make_engine(network, dtype)
    together = engine.predict(data)
    for i, length in enumerate(lengths):
        alone = engine.predict(rows_of(data, slice(i, i + 1)))[0]
        np.testing.assert_array_equal(alone, together[i, :alone.size], err_msg=f"row {i} of length {length}")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ALONE)
def test_threads_do_not_change_a_bit(name, dtype, monkeypatch):
    monkeypatch.setattr(engine_module, "PARALLEL_WORK", 0)
    layers, shape = ALONE[name]
    network = Network([*layers[:-1], Dropout(0.3), layers[-1]], shape)
    data = make_data(network, n=75, steps=shape[0], dtype=dtype)
    results = []
    for n_threads in (1, 2, 4):
        with Team(n_threads) as team:
            engine = make_engine(network, dtype, team=team)
            loss, gradient = analytic(engine, data)
            results.append((loss, gradient, engine.predict(data), engine.evaluate(data)[:2]))
            assert len(engine._scratch) == n_threads
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)


@BACKENDS
def test_the_memory_of_an_earlier_batch_does_not_show(backend):
    network = Network([Conv1D(4, 3), Bidirectional(LSTM(3, recurrent_dropout=0.2)), Dropout(0.2), Dense(2)], (None, 2),
                      backend=backend)
    ragged = make_data(network, steps=8, lengths=[8, 3, 1, 5, 2, 7, 7])
    short = make_data(network, steps=4, n=3, seed=1)
    fresh = analytic(make_engine(network), short), make_engine(network).predict(short)
    engine = make_engine(network)
    analytic(engine, ragged)
    for scratch in engine._scratch:
        scratch.mem[:], scratch.mask[:], scratch.indices[:] = np.nan, 1, 77
    engine._params.grads[:] = np.nan
    again = analytic(engine, short), engine.predict(short)
    np.testing.assert_array_equal(again[0][1], fresh[0][1])
    np.testing.assert_array_equal(again[1], fresh[1])
    assert again[0][0] == fresh[0][0]


@BACKENDS
def test_nan_inputs_reach_the_loss(backend):
    for layers in ([LSTM(3), Dense(1)], [Conv1D(3, activation="relu"), MaxPooling1D(2), GRU(2), Dense(1)]):
        network = Network(layers, (4, 2), backend=backend)
        data = make_data(network, steps=4)
        data.values[9] = np.nan
        with np.errstate(invalid="ignore"):
            assert np.isnan(make_engine(network).evaluate(data)[0])


# ------------------------------------------------------------------------------------------------------------- contract


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_short_sequences_survive_window_pooling(backend):
    """Shorter than the pool, padded on the left: no window is full, and yet what they say must count."""
    layers = [Embedding(999, 3, mask_zero=True), MaxPooling1D(4), LSTM(3), Dense(1)]
    engine = make_engine(Network(layers, (8,), backend=backend))
    data = make_data(engine.network, n=8, steps=8, padding=[7, 7, 6, 6, 5, 5, 2, 0])
    naive.check_engine(engine, data)
    predictions = engine.predict(data)[:, 0]
    assert len(np.unique(predictions.round(12))) == 8


def test_every_backend_offers_what_the_contract_says():
    names = {"assign_pack", "kernels", "pack", "place", "run", "train"}
    for name in ("numpy", "cpu"):
        assert set(get(name).__all__) == names
    with pytest.raises(ValueError, match=r"backend='gpu' must be one of 'cpu', 'cuda', 'numpy'"):
        get("gpu")


def test_operations_and_columns_are_numbered_without_gaps():
    from tsrnn.backends.numpy.executor import FORWARD

    assert set(FORWARD) == set(range(c.N_OPS)) - {c.LOSS}
    row = [c.OP, c.REPEAT, c.T_IN, c.F_IN, c.T_OUT, c.F_OUT, c.X, c.Y, c.DX, c.DY, c.ADD_DX, c.X2, c.DX2, c.MASK_IN,
           c.MASK_OUT, c.PARAM, c.PACK, c.WORK, c.H_SEQ, c.C_SEQ, c.H_DROP, c.DH, c.DC, c.LD, c.COL, c.REVERSE, c.SEQUENCE,
           c.CODE, c.KERNEL, c.PAD, c.STREAM, c.OPTION, c.ACT, c.SLOTS, c.TABLE, c.VOCABULARY,
           c.KEEP, c.SLICE, c.SLICE_STEPS]
    assert row == list(range(c.ADDRESSES)) and c.ADDRESSES < c.N_COLUMNS
    assert [cell.code for cell in c.CELLS] == list(range(len(c.CELLS)))


@pytest.mark.parametrize("n, rows", [(1, 4), (5, 4), (9, 8), (31, 16), (32, 16), (200, 16), (256, 16), (257, 32), (5000, 320)])
def test_chunks_follow_from_the_batch_alone(n, rows):
    assert HOST.chunk_rows(n) == rows
    assert -(-n // rows) <= 16


def test_run_takes_any_share_of_the_chunks():
    """Threads call `run` with first, stop and step: each chunk's results lie in its own rows."""
    network = Network([LSTM(3), Dense(2)], (4, 2))
    data = make_data(network, n=45, steps=4)
    engine = make_engine(network)
    whole = engine.predict(data)
    lowered = network.lower(4, np.float64, train=False, masked=False)
    batch = c.Batch(np.arange(45), 16, KEY)
    out = np.full_like(whole, np.nan)
    get("cpu").run(c.PREDICT, lowered.plan, data, batch, engine._params, engine._scratch[0], engine._sums, out, 1, 3, 2)
    np.testing.assert_array_equal(out[16:32], whole[16:32])
    assert np.isnan(out[:16]).all() and np.isnan(out[32:]).all()


SIGNATURES = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
from networks import LENGTHS, PADDING
from gradcheck import make_data
from tsrnn import engine, layers as L, training
from numba import types
from tsrnn.backends.cpu.jit import all_kernels
from tsrnn.network import Network
engine.PARALLEL_WORK = 0
for dtype in (np.float32, np.float64):
    nets = [([L.LSTM(3), L.Dense(1)], (6, 2), dict(n=40)),
            ([L.GRU(3, return_sequences=True), L.Dense(1)], (6, 2), dict(lengths=LENGTHS)),
            ([L.Embedding(7, 2, mask_zero=True), L.LSTM(3), L.Dense(1)], (6,), dict(padding=PADDING))]
    for layers, shape, options in nets:
        network = Network(layers, shape)
        data = make_data(network, dtype=dtype, **options)
        for solver in ("adam", "sgd"):
            state = training.State.create(network, 0, dtype)
            settings = training.Settings(solver=solver, alpha=0.1, batch_size=32, n_jobs=2)
            training.fit_network(network, state, data, data, settings, 2)
        training.predict_network(network, state.theta, data)
        training.predict_network(network, np.ascontiguousarray(state.theta), data._replace(targets=np.zeros(1, dtype)))
    weights = {{p.name: np.ones(p.shape) for p in L.LSTM(3).direction_params((6, 2))}}
    L.LSTM(3).apply(weights, np.ones((2, 6, 2), dtype))
for kernel in all_kernels():  # a number that is known at compile time makes no other type
    signatures = {{tuple(map(types.unliteral, one)) for one in kernel.signatures}}
    if signatures:
        print(kernel.py_func.__qualname__, len(signatures))
"""


def test_kernels_compile_once_a_dtype():
    script = SIGNATURES.format(tests=os.path.dirname(__file__))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    counts = {name: int(count) for name, count in map(str.split, done.stdout.splitlines())}
    assert counts["run"] == counts["pack"] == counts["train"] == 2
    assert max(counts.values()) == 2, {name: count for name, count in counts.items() if count > 2}


def test_engine_reads_only_its_own_theta():
    """What an optimizer does to theta shows after `refresh`, in both backends alike."""
    for backend in ("numpy", "cpu"):
        network = Network([LSTM(3), Dense(1)], (4, 2), backend=backend)
        data, engine = make_data(network, steps=4), make_engine(network)
        engine.predict(data)
        engine.theta *= 1.5
        engine.refresh()
        expected = Engine(network, engine.theta.copy(), Team(1)).predict(data)
        np.testing.assert_array_equal(engine.predict(data), expected)


def test_tables_of_cases_are_not_degenerate():
    assert len(NETWORKS) > 150 and min(LENGTHS) == 1 and max(PADDING) == max(LENGTHS) == 6
