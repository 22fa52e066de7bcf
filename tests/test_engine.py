"""The engine: buffers that fit whatever comes, and what the Python around the kernels costs."""

import sys

import numpy as np
from test_training import data, fit, network

from tsrnn import engine, training
from tsrnn.backends import contract as c
from tsrnn.backends.place import HOST
from tsrnn.layers import GRU, LSTM, Dense
from tsrnn.parallel import Team
from tsrnn.training import State


def calls(train, monkeypatch):
    """Python and C functions that a fit of two epochs calls, in slices as long as an epoch from the third on."""
    count = 0

    def observe(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    monkeypatch.setattr(training, "SLICE_SECONDS", 1e9)  # whatever the machine does meanwhile
    net = network(LSTM(2), Dense(1))
    fit(train, 2, net, batch_size=4)
    sys.setprofile(observe)
    try:
        fit(train, 2, net, batch_size=4)
    finally:
        sys.setprofile(None)
    return count


def test_steps_cost_no_python(monkeypatch):
    few, many = (calls(data(4 * n), monkeypatch) for n in (300, 900))
    assert few < 1500 and many - few < 150, (few, many)  # for 1,200 steps more: they make another slice in the first epoch


def test_buffers_begin_at_cache_lines():
    for shape in (1, 7, (3, 5), (0, 4)):
        for dtype in (np.float32, np.float64, np.int32, np.uint8):
            array = HOST.zeros(shape, dtype)
            assert array.ctypes.data % 64 == 0 or array.size == 0
            assert array.dtype == dtype and array.shape == np.empty(shape).shape and not array.any()
            assert array.flags.c_contiguous and array.flags.writeable and array.flags.aligned


def test_buffers_grow_with_the_work():
    """One engine, batches of all sizes and lengths in any order: the same gradients as from a fresh one."""
    lengths = np.random.default_rng(0).integers(1, 9, 50)
    net, train = network(GRU(4), Dense(1)), data(50, lengths=lengths)
    theta, key = State.create(net, 0, np.float64).theta, c.random_key(0, 0)
    with Team(1) as team:
        used = engine.Engine(net, theta, team)
        used.evaluate(data(4))
        for n in (3, 50, 1, 17, 50, 33, 3):
            order, ours, fresh = np.arange(50)[-n:].copy(), np.empty_like(theta), np.empty_like(theta)
            losses = used.gradient(train, order, key, ours)
            assert losses == engine.Engine(net, theta, team).gradient(train, order, key, fresh)
            assert np.array_equal(ours, fresh)
            used.evaluate(data(4, lengths=[n] * 4))


def test_batches_leave_out_those_where_nobody_counts_and_know_their_plans():
    lengths = np.array([5, 5, 3, 2, 4, 4, 4, 4, 1])
    weights = np.array([1, 1, 0, 0, 1, 2, 1, 1, 1.0])
    net, train = network(GRU(2), Dense(1)), data(9, lengths=lengths, weights=weights)
    with Team(1) as team:
        batches = engine.Engine(net, State.create(net, 0, np.float64).theta, team).batches(train, np.arange(9), 2)
    assert batches.bounds.tolist() == [[0, 2], [4, 6], [6, 8], [8, 9]] and batches.numbers.tolist() == [1, 3, 4, 5]
    assert batches.weights.tolist() == [2, 3, 2, 1] and batches.steps.tolist() == [5, 4, 4, 1] and not batches.masked.any()
    assert [batches.same_plan(first) for first in range(4)] == [1, 3, 3, 4]


def test_batches_of_several_sizes_share_a_call(monkeypatch):
    """Of 257 samples a chunk has 32 rows, of 256 samples 16, and there are more of them: room for both, for all threads."""
    monkeypatch.setattr(engine, "PARALLEL_WORK", 0)
    states = [fit(data(513), 2, network(LSTM(3), Dense(1)), batch_size=257, n_jobs=n, shuffle=False) for n in (1, 12)]
    assert np.array_equal(states[0].theta, states[1].theta)
