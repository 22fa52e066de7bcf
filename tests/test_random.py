"""Counter-based dropout: the same words everywhere, other words for everything that must differ, the right rate and mean."""

import numpy as np
import pytest

from tsrnn.backends import contract as c
from tsrnn.backends.cpu import dropout as cpu_dropout
from tsrnn.backends.numpy import randomness
from tsrnn.layers import LSTM, Dense, Dropout, Flatten, Reshape, TimeDistributed
from tsrnn.network import Network

BACKENDS = pytest.mark.parametrize("backend", ["numpy", "cpu"])
KEY = c.random_key(0, 0)


def dropout_factors(backend, layers=None, shape=(3, 40), order=range(5), key=KEY, rate=0.5, dtype=np.float64, rows=None):
    """What each value was multiplied by in the network's dropouts: a list of arrays (T, rows, F), one a DROPOUT row."""
    layers = [Dropout(rate), Dense(1)] if layers is None else layers
    network = Network(layers, shape, backend=backend)
    order = np.asarray(order, np.int64)
    n, size = order.max() + 1, int(np.prod(shape))
    lowered = network.lower(shape[0], dtype, train=True, masked=False)
    data = c.Data(np.ones(n * size, dtype), np.zeros(1, np.int32), np.arange(n) * size, np.full(n, shape[0]),
                  np.zeros(1, dtype), np.zeros(n, np.int64), np.ones((n, 1), dtype), np.ones(n))
    B = rows or len(order)
    scratch = c.Scratch(np.ones(lowered.mem * B, dtype), np.zeros(1, np.int32), np.zeros(1, np.uint8))
    theta, packed = np.ones(network.n_params, dtype), np.zeros(lowered.pack, dtype)
    network.backend.pack(lowered.plan, theta, packed)
    out = np.zeros((len(order), lowered.out_steps), dtype)
    network.backend.run(c.PREDICT, lowered.plan, data, c.Batch(order, B, key), c.Params(theta, packed, np.zeros((0, 0), dtype)),
                        scratch, c.Sums(np.zeros((9, 2)), np.zeros(1, dtype)), out, 0, -(-len(order) // B), 1)
    factors = []
    B = len(order) - (len(order) - 1) // B * B  # the memory holds the last chunk
    for row in lowered.plan.rows:
        if row[c.OP] == c.DROPOUT:
            size = row[c.T_OUT] * B * row[c.REPEAT] * row[c.F_OUT]
            x, y = (scratch.mem[row[column] * B:row[column] * B + size] for column in (c.X, c.Y))
            with np.errstate(invalid="ignore"):
                factors.append((y / x).reshape(row[c.T_OUT], -1, row[c.F_OUT]))
    return factors


def same(a, b):
    """Share of equal factors."""
    return np.mean(a == b)


@BACKENDS
def test_samples_differ(backend):
    (factors,) = dropout_factors(backend)
    for i in range(5):
        for j in range(i):
            assert 0.3 < same(factors[:, i], factors[:, j]) < 0.7


@BACKENDS
def test_steps_differ_within_a_sample(backend):
    (factors,) = dropout_factors(backend)
    assert 0.3 < same(factors[0], factors[1]) < 0.7 and 0.3 < same(factors[1], factors[2]) < 0.7


@BACKENDS
def test_seeds_and_epochs_differ(backend):
    keys = [c.random_key(seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1), (2**32 - 1, 0))]
    factors = [dropout_factors(backend, key=key)[0] for key in keys]
    for i in range(len(keys)):
        for j in range(i):
            assert 0.4 < same(factors[i], factors[j]) < 0.6


@BACKENDS
def test_layers_differ(backend):
    first, second = dropout_factors(backend, [Dropout(0.5), Dense(40), Dropout(0.5), Dense(1)])
    assert 0.4 < same(first, second) < 0.6


@BACKENDS
def test_sub_sequences_differ(backend):
    layers = [Reshape((3, 4, 10)), TimeDistributed([Dropout(0.5), Flatten()]), Dense(1)]
    (factors,) = dropout_factors(backend, layers)
    factors = factors.reshape(4, 3, 5, 10)  # (steps, sub-sequences, samples, features)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert 0.35 < same(factors[:, a], factors[:, b]) < 0.65


@BACKENDS
def test_input_dropout_has_one_mask_for_all_steps(backend):
    (factors,) = dropout_factors(backend, [LSTM(2, input_dropout=0.5), Dense(1)])
    np.testing.assert_array_equal(factors[0], factors[1])
    np.testing.assert_array_equal(factors[0], factors[2])
    assert 0 < np.mean(factors == 0) < 1


@BACKENDS
def test_a_samples_mask_does_not_depend_on_batch_or_chunk(backend):
    (whole,) = dropout_factors(backend, order=range(9))
    (some,) = dropout_factors(backend, order=[7, 3, 8])
    np.testing.assert_array_equal(some, whole[:, [7, 3, 8]])
    (last_chunk,) = dropout_factors(backend, order=range(9), rows=4)
    np.testing.assert_array_equal(last_chunk, whole[:, 8:])


@BACKENDS
@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.9])
def test_rate_and_mean(backend, rate):
    (factors,) = dropout_factors(backend, shape=(10, 200), order=range(50), rate=rate)
    assert set(np.unique(factors)) == {0.0, 1 / (1 - rate)}
    spread = np.sqrt(rate * (1 - rate) / factors.size)
    assert abs(np.mean(factors == 0) - rate) < 4 * spread
    assert abs(factors.mean() - 1) < 4 * spread / (1 - rate)
    by_feature = np.mean(factors == 0, axis=(0, 1))  # no position is favoured
    assert np.abs(by_feature - rate).max() < 5 * np.sqrt(rate * (1 - rate) / 500)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_backends_drop_the_same(dtype):
    sub = [Dropout(0.2), LSTM(3, input_dropout=0.4), Dropout(0.5)]
    layers = [Dropout(0.3), Reshape((3, 4, 10)), TimeDistributed(sub), Dense(1)]
    order = [0, 6, 3]
    numpy, cpu = (dropout_factors(backend, layers, order=order, dtype=dtype) for backend in ("numpy", "cpu"))
    assert len(numpy) == len(cpu) == 4
    for a, b in zip(numpy, cpu):
        np.testing.assert_array_equal(a == 0, b == 0)


def test_words_are_the_same_in_both_backends():
    for stream, sample, sub in ((1, 0, 0), (2, 0, 0), (1, 5, 0), (1, 5, 3), (9, 2**31, 7)):
        words = randomness.bits(KEY, stream, [sample], [sub], 200)[0]
        key = cpu_dropout.row_key(KEY, stream, sample, sub)
        for rate in (0.1, 0.5, 0.73):
            out = np.empty(150)
            cpu_dropout.keep_scale(np.uint32(key), KEY[1], 50, rate, out)
            np.testing.assert_array_equal(out == 0, words[50:] < randomness.threshold(rate))


def test_words_are_balanced_and_uncorrelated():
    words = randomness.bits(KEY, 1, np.arange(64), np.zeros(64), 1024)
    bits = np.unpackbits(words.view(np.uint8).reshape(64, 1024, 4), axis=2).reshape(-1, 32).astype(float)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(len(bits))
    between = np.corrcoef(bits.T) - np.eye(32)
    assert np.abs(between).max() < 6 / np.sqrt(len(bits))
    assert len(np.unique(words)) > 0.99 * words.size


def test_threshold():
    assert randomness.threshold(0.0) == 0 and randomness.threshold(0.5) == 2**31
    assert randomness.threshold(1 - 1e-12) == 2**32 - 1


def test_keys_depend_on_seed_and_epoch_only():
    np.testing.assert_array_equal(c.random_key(3, 4), c.random_key(3, 4))
    keys = {tuple(c.random_key(seed, epoch)) for seed in range(20) for epoch in range(20)}
    assert len(keys) == 400


@BACKENDS
def test_no_dropout_outside_of_training(backend):
    network = Network([Dropout(0.5), LSTM(2, input_dropout=0.5, recurrent_dropout=0.5), Dropout(0.9), Dense(1)], (3, 2),
                      backend=backend)
    lowered = network.lower(3, np.float64, train=False, masked=False)
    assert c.DROPOUT not in lowered.plan.rows[:, c.OP] and (lowered.plan.rows[:, c.H_DROP] == c.NONE).all()
    assert not lowered.plan.rates.any()
