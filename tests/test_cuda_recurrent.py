"""Recurrent layers on the CUDA backend against the NumPy backend: each cell, forward and backward, by both kinds of kernels."""

import cudasim
import numpy as np
import pytest

cudasim.install()

from dataclasses import replace  # noqa: E402

from tsrnn.backends import contract as c  # noqa: E402
from tsrnn.backends.cuda import executor as card_executor  # noqa: E402
from tsrnn.backends.cuda import sequence  # noqa: E402
from tsrnn.backends.cuda.place import CARD  # noqa: E402
from tsrnn.backends.cuda.recorder import Recorder, Turn  # noqa: E402
from tsrnn.backends.numpy import executor  # noqa: E402
from tsrnn.layers import GRU, LSTM, RNN  # noqa: E402
from tsrnn.layers.base import Builder, Value  # noqa: E402
from tsrnn.layers.recurrent import lower_directions  # noqa: E402

KEY = c.random_key(7, 3)
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


def run(lowered, B, dtype, real=None, cut=None):
    """Runs the rows forward and backward on NumPy and on the card: (expected, found), each (mem, grads)."""
    rows, rates, units, mask_units = lowered
    rng = np.random.default_rng(0)
    mem = rng.normal(size=units * B).astype(dtype)
    mask = np.ones(max(1, mask_units * B), np.uint8)
    if real is not None:
        mask[:real.size] = real.ravel()
    n_params = parameters(rows)
    theta = rng.normal(scale=0.5, size=n_params).astype(dtype)
    samples = rng.permutation(3 * B)[:B]
    plan = c.Plan(rows, rates, np.ones(1), np.zeros((len(rows) + 1, 2), np.int64))
    data, nothing = c.Data(*[np.zeros(1, dtype)] * 8), np.zeros(1, dtype)
    scratch = c.Scratch(mem.copy(), np.zeros(1, np.int32), mask)
    chunk = executor.Chunk(0, plan, data, c.Batch(samples, B, KEY), c.Params(theta, nothing, None), scratch, None)
    chunk.grads = np.zeros(n_params, dtype)
    for row, rate in zip(rows, rates):
        executor.FORWARD[int(row[c.OP])](chunk, row, rate)
    for row, rate in zip(rows[::-1], rates[::-1]):
        executor.BACKWARD[int(row[c.OP])](chunk, row, rate)
    card = CARD.scratch(units * B, 1, mask.size, dtype)
    CARD.put(mem, card.mem)
    CARD.put(mask, card.mask)
    turn = Turn(B, 1)
    CARD.put(KEY, turn.key)
    grads = CARD.put(np.full(n_params, np.nan, dtype))
    recorder = Recorder(plan, B, c.TRAIN, data, c.Params(CARD.put(theta), nothing, grads), card, turn)
    CARD.put(samples, recorder.samples)
    for table, order in ((card_executor.FORWARD, 1), (card_executor.BACKWARD, -1)):
        for row, rate in zip(rows[::order], rates[::order]):
            recorder.operation_begins()
            table[int(row[c.OP])](recorder, row, rate)
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
    for row in rows:
        n, T, H, ld = B * row[c.REPEAT], row[c.T_IN], row[c.F_OUT], row[c.LD]
        sizes = {"H_DROP": T * n * H, "DH": n * H, "DC": n * H, "DX": T * n * row[c.F_IN],
                 "Y": (T if row[c.SEQUENCE] else 1) * n * ld}
        for name, size in sizes.items():
            if row[getattr(c, name)] != c.NONE:
                yield name, int(row[getattr(c, name)] * B), int(row[getattr(c, name)] * B + size)
        first, last = (1, T + 2) if row[c.REVERSE] else (0, T + 1)
        if ld == H:
            yield "H_SEQ", int(row[c.H_SEQ] * B + first * n * H), int(row[c.H_SEQ] * B + last * n * H)
        if row[c.C_SEQ] != c.NONE:
            yield "C_SEQ", int(row[c.C_SEQ] * B + first * n * H), int(row[c.C_SEQ] * B + last * n * H)


def check(lowered, B, dtype, real=None, orders=(cudasim.FIRST_TO_LAST,)):
    """Asserts that both give the same; returns what the card gave."""
    for order in orders:
        with cudasim.checked(order):
            expected, found = run(lowered, B, dtype, real)
        for name, start, stop in buffers(lowered[0], B):
            np.testing.assert_allclose(found[0][start:stop], expected[0][start:stop], rtol=TOLERANCE[dtype],
                                       atol=TOLERANCE[dtype], err_msg=name)
        scale = max(1, np.abs(expected[1]).max())
        np.testing.assert_allclose(found[1] / scale, expected[1] / scale, rtol=0, atol=TOLERANCE[dtype], err_msg="grads")
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cell", CELLS)
def test_simple(cell, dtype):
    check(lower(CELLS[cell](3), 3, 2), 2, dtype)


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
