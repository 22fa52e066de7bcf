"""Recurrent layers on the CUDA backend against the NumPy backend: each cell, forward and backward, by both kinds of kernels."""

import cudasim
import numpy as np
import pytest

cudasim.install()

from dataclasses import replace  # noqa: E402
from types import SimpleNamespace  # noqa: E402

from tsrnn.backends import contract as c  # noqa: E402
from tsrnn.backends.cuda import executor as card_executor  # noqa: E402
from tsrnn.backends.cuda import recurrent, resident, sequence  # noqa: E402
from tsrnn.backends.cuda.jit import family  # noqa: E402
from tsrnn.backends.cuda.place import CARD  # noqa: E402
from tsrnn.backends.cuda.recorder import Recorder, Turn  # noqa: E402
from tsrnn.backends.numpy import executor  # noqa: E402
from tsrnn.layers import GRU, LSTM, RNN, Bidirectional, Dense, Embedding  # noqa: E402
from tsrnn.layers.base import Builder, Value  # noqa: E402
from tsrnn.layers.recurrent import lower_directions  # noqa: E402
from tsrnn.network import Network  # noqa: E402

KEY = c.random_key(7, 3)
N_TOKENS = 5  # distinct ones
TOLERANCE = {np.float32: 3e-5, np.float64: 1e-12}
CELLS = {"lstm": LSTM, "gru": GRU, "rnn": RNN, "relu": lambda *a, **k: RNN(*a, activation="relu", **k)}


def lower(layer, T, F, directions=(False,), ld=None, masked=False, repeat=1, given=False):
    """The layer's rows, and units of mem and mask."""
    builder = Builder(train=True, masked=masked, offsets=[0], keeps_gates=True)
    value = Value((T, F), mask=builder.mask_buffer(T * repeat) if masked else c.NONE)
    value = builder.output(replace(value, repeat=repeat), value.shape)
    lower_directions(layer, builder, value, directions, ld=ld or layer.units, keep_state=given)
    return np.array(builder.rows), np.array(builder.rates), builder.mem, builder.mask


def masks(T, n):
    """Right and left padding, holes, nothing real, all real: (T, n)."""
    rng = np.random.default_rng(3)
    t, real = np.arange(T)[:, None], rng.random((T, n)) < 0.6
    real[:, 0::5] = t < rng.integers(1, T + 1, real[:, 0::5].shape[1])
    real[:, 1::5] = t >= rng.integers(0, T, real[:, 1::5].shape[1])
    real[:, 2::5] = False
    real[:, 3::5] = True
    return real


def run(lowered, B, dtype, real=None, ids=None):
    """Runs the rows forward and backward on NumPy and on the card: (expected, found), each (mem, grads)."""
    rows, rates, units, mask_units = lowered[:4]
    rng = np.random.default_rng(0)
    mem = rng.normal(size=units * B).astype(dtype)
    mask = np.ones(max(1, mask_units * B), np.uint8)
    if real is not None:
        mask[:real.size] = real.ravel()
    n_params = parameters(rows)
    theta = rng.normal(scale=0.5, size=n_params + 100).astype(dtype)  # a table of tokens lies behind
    samples = rng.permutation(3 * B)[:B]
    plan = c.Plan(rows, rates, np.ones(1), np.zeros((len(rows) + 1, 2), np.int64))
    data, nothing = c.Data(*[np.zeros(1, dtype)] * 8), np.zeros(1, dtype)
    n_indices = 1
    if ids is not None:
        samples, steps, n_indices = np.arange(B), ids.shape[1], (2 * ids.shape[1] + 1) * B + 100
        data = data._replace(ids=ids.ravel(), starts=np.arange(B) * steps, lengths=np.full(B, steps))
    scratch = c.Scratch(mem.copy(), np.zeros(n_indices, np.int32), mask)
    chunk = executor.Chunk(0, plan, data, c.Batch(samples, B, KEY), c.Params(theta, nothing, None), scratch, None)
    chunk.grads = np.zeros(n_params, dtype)
    for row, rate in zip(rows, rates):
        executor.FORWARD[int(row[c.OP])](chunk, row, rate)
    layers = [n for n in range(len(rows)) if rows[n][c.OP] == c.RECURRENT]
    for n in layers[::-1]:
        executor.BACKWARD[c.RECURRENT](chunk, rows[n], rates[n])
    card = CARD.scratch(units * B, n_indices, mask.size, dtype)
    CARD.put(mem, card.mem)
    CARD.put(mask, card.mask)
    turn = Turn(B, 1)
    grads = CARD.put(np.full(n_params, np.nan, dtype))
    recorder = Recorder(plan, B, c.TRAIN, c.Data(*map(CARD.put, data)), c.Params(CARD.put(theta), nothing, grads), card, turn)
    CARD.put(KEY, recorder.key)
    CARD.put(samples, recorder.samples)
    for table, order in ((card_executor.FORWARD, range(len(rows))), (card_executor.BACKWARD, layers[::-1])):
        for n in order:
            recorder.operation_begins()
            table[int(rows[n][c.OP])](recorder, rows[n], rates[n])
    card_executor._replay(recorder)
    found, found_grads = np.empty_like(mem), np.empty(n_params, dtype)
    CARD.get(card.mem, found)
    CARD.get(grads, found_grads)
    return (scratch.mem, chunk.grads), (found, found_grads)


def parameters(rows):
    row = rows[-1]
    G = c.CELLS[row[c.CODE]].gates * row[c.F_OUT]
    return int(row[c.PARAM] + (row[c.F_IN] + row[c.F_OUT] + 2) * G)


def buffers(rows, B):
    """(name, start, stop) of all that somebody reads afterwards."""
    for row in rows[rows[:, c.OP] == c.RECURRENT]:
        n, T, H, ld = B * row[c.REPEAT], row[c.T_IN], row[c.F_OUT], row[c.LD]
        inputs = T * n if row[c.SLOTS] == c.NONE else N_TOKENS
        sizes = {"H_DROP": T * n * H, "DH": n * H, "DC": n * H, "DX": inputs * row[c.F_IN],
                 "Y": (T if row[c.SEQUENCE] else 1) * n * ld}
        for name, size in sizes.items():
            if row[getattr(c, name)] != c.NONE:
                yield name, int(row[getattr(c, name)] * B), int(row[getattr(c, name)] * B + size)
        first, last = (1, T + 2) if row[c.REVERSE] else (0, T + 1)
        if ld == H:
            yield "H_SEQ", int(row[c.H_SEQ] * B + first * n * H), int(row[c.H_SEQ] * B + last * n * H)
        if row[c.C_SEQ] != c.NONE:
            yield "C_SEQ", int(row[c.C_SEQ] * B + first * n * H), int(row[c.C_SEQ] * B + last * n * H)


def check(lowered, B, dtype, real=None, orders=(cudasim.FIRST_TO_LAST,), ids=None):
    """Asserts that both give the same; returns what the card gave."""
    for order in orders:
        with cudasim.checked(order):
            expected, found = run(lowered, B, dtype, real, ids)
        for name, start, stop in buffers(lowered[0], B):
            np.testing.assert_allclose(found[0][start:stop], expected[0][start:stop], rtol=TOLERANCE[dtype],
                                       atol=TOLERANCE[dtype], err_msg=name)
        scale = max(1, np.abs(expected[1]).max())
        np.testing.assert_allclose(found[1] / scale, expected[1] / scale, rtol=0, atol=TOLERANCE[dtype], err_msg="grads")
    return found


KINDS = ["plain", "masked", "given", "dropped", "concat", "all"]


def make_case(cell, kind, sequences, units=3):
    """A lowered layer of one of the kinds, and its number of samples and mask."""
    every = kind == "all"
    more = {"recurrent_dropout": 0.4} if kind == "dropped" or every else {}
    layer = CELLS[cell](units, return_sequences=sequences, **more)
    repeat, both = 2 if every else 1, kind == "concat" or every
    lowered = lower(layer, 5, 2, (False, True) if both else (False,), 2 * units if both else units, kind == "masked" or every,
                    repeat, kind == "given" or every)
    B = 5 if kind == "masked" else 3
    return lowered, B, masks(5, B * repeat) if kind == "masked" or every else None


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["sequence", "steps"])
def test_cells(cell, kind, way, monkeypatch):
    if way == "steps":
        monkeypatch.setattr(sequence, "LARGEST", {np.float32: 0, np.float64: 0})
    sequences = (KINDS.index(kind) + list(CELLS).index(cell)) % 2 == 0
    lowered, B, real = make_case(cell, kind, sequences)
    check(lowered, B, np.float64, real)


@pytest.mark.parametrize("way", ["sequence", "steps"])
@pytest.mark.parametrize("cell", CELLS)
def test_float32_in_both_orders_of_threads(cell, way, monkeypatch):
    if way == "steps":
        monkeypatch.setattr(sequence, "LARGEST", {np.float32: 0, np.float64: 0})
    lowered, B, real = make_case(cell, "masked", True)
    first, last = (check(lowered, B, np.float32, real, (order,)) for order in (cudasim.FIRST_TO_LAST, cudasim.LAST_TO_FIRST))
    for one, other in zip(first, last):
        np.testing.assert_array_equal(one, other)


def test_a_card_with_little_shared_memory(monkeypatch):
    """99 KiB a block: a layer that has no room goes step by step, whatever the batch; smaller ones do not."""
    monkeypatch.setattr(sequence, "SIZES", (8, 16, 32, 48, 64, 96, 128))
    monkeypatch.setattr(sequence, "LARGEST", {np.float32: 128, np.float64: 64})
    fits = recurrent.fits_a_block
    for room, largest in ((227 << 10, 128), (99 << 10, 96), (48 << 10, 64)):
        monkeypatch.setattr(recurrent, "most_shared", lambda room=room: room)
        for H in (8, 64, 96, 97, 128, 129):
            layer = SimpleNamespace(H=H, code=c.LSTM)
            assert fits(SimpleNamespace(dtype=np.float32), layer) == (H <= largest)


def test_a_layer_without_room_goes_step_by_step(monkeypatch):
    monkeypatch.setattr(recurrent, "most_shared", lambda: 0)
    for name in ("forward", "backward"):
        monkeypatch.setattr(sequence, name, None)
    lowered, B, real = make_case("lstm", "masked", True)
    check(lowered, B, np.float64, real)


@pytest.mark.parametrize("units", [1, 4, 5, 8, 9])
def test_units_below_at_and_above_the_sizes(units):
    """9 units are more than a simulated block has room for: they go step by step."""
    check(lower(GRU(units), 2, 3), 2, np.float64)
    check(lower(LSTM(units, return_sequences=True), 2, 3, (True,)), 2, np.float64)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_rows_of_a_block_change_no_bit(cell, monkeypatch):
    lowered, B, real = make_case(cell, "masked", True)
    found = []
    for R in (1, 2, 4):
        monkeypatch.setattr(sequence, "rows_of_block", lambda dtype, size, n_rows, R=R: R)
        found.append(check(lowered, B, np.float32, real))
    for start, stop in [span[1:] for span in buffers(lowered[0], B)]:
        for other in found[1:]:
            np.testing.assert_array_equal(found[0][0][start:stop], other[0][start:stop])


@pytest.mark.parametrize("n_rows, R", [(1, 1), (132, 1), (264, 1), (265, 4), (5000, 4)])
def test_rows_of_a_block(n_rows, R):
    assert sequence.rows_of_block(np.float32, 64, n_rows) == R
    assert sequence.rows_of_block(np.float32, 128, n_rows) == (1 if n_rows <= 132 else 2)


def test_what_does_not_fit_into_registers_lies_in_shared_memory(monkeypatch):
    monkeypatch.setattr(resident, "REGISTERS", 0)
    for name in ("forward", "backward"):  # without the kernels that other tests have made
        monkeypatch.setattr(sequence, name, family(getattr(sequence, name).__wrapped__))
    monkeypatch.setattr(sequence, "SIZES", (16,))
    assert sequence.forward_tile(np.float64, c.LSTM, 16, 1).shared > 0
    for cell in ("lstm", "gru"):
        check(lower(CELLS[cell](5), 2, 2), 3, np.float64)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("way", ["sequence", "steps"])
def test_distinct_tokens(cell, way, monkeypatch):
    """Numbers of tokens in `indices`, and their rows' products, against the same layer on the gathered rows."""
    if way == "steps":
        monkeypatch.setattr(sequence, "LARGEST", {np.float32: 0, np.float64: 0})
    rows = Network([Embedding(9, 3, mask_zero=True), Bidirectional(CELLS[cell](3)), Dense(1)], (5,), "squared_error", (1.0,),
                   backend="numpy").lower(5, np.dtype(np.float64), train=True, masked=True)
    ids = np.random.default_rng(0).choice([0, 2, 3, 7, 8], (4, 5)).astype(np.int32)
    ids[0] = 0, 2, 3, 7, 8  # numbers by first appearance are those by id: a backend may take either
    assert (rows.plan.rows[2:-2, c.SLOTS] != c.NONE).all()
    check((rows.plan.rows[:-2], rows.plan.rates[:-2], rows.mem, rows.mask), 4, np.float64, ids=ids)
