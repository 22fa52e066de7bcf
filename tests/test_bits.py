"""Same bits: for any number of threads, in any process, for a row alone or in a batch."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tsrnn import engine
from tsrnn.backends.place import HOST
from tsrnn.data import batches
from tsrnn.layers import GRU, LSTM, RNN, Bidirectional, Conv1D, Dense, Dropout, Embedding, GlobalMaxPooling1D
from tsrnn.network import Network
from tsrnn.parallel import Team
from tsrnn.training import Settings, State, evaluate_network, fit_network, predict_network

HERE = Path(__file__).resolve()
N, STEPS, CHANNELS, WORDS = 150, 7, 3, 40
SEQUENCES = {"return_sequences": True}
NETWORKS = {
    "bidirectional": [Bidirectional(LSTM(12, **SEQUENCES, recurrent_dropout=0.2, input_dropout=0.1)), Dropout(0.3), GRU(9),
                      Dropout(0.2), Dense(2)],
    "convolution": [Conv1D(10, 3, activation="relu"), Dropout(0.2), RNN(7, **SEQUENCES), GlobalMaxPooling1D(), Dense(2)],
    "words": [Embedding(WORDS, 6, mask_zero=True), GRU(11, recurrent_dropout=0.25), Dropout(0.5), Dense(2)],
}
CASES = [(name, ragged, dtype) for name in NETWORKS for ragged in (False, True) for dtype in ("float32", "float64")]


@pytest.fixture
def threads(monkeypatch):
    """Threads are used however small the work; the list holds how many in each fork-join."""
    used, run = [], Team.run

    def spy(self, function, per_thread_args, meeting=None):
        n_threads = min(len(per_thread_args), self.n_threads)
        if n_threads > 1:
            used.append(n_threads)
        run(self, function, per_thread_args, meeting)

    monkeypatch.setattr(engine, "PARALLEL_WORK", 0)
    monkeypatch.setattr(Team, "run", spy)
    return used


def make(name, ragged, dtype, n=N, outputs=None):
    """A network of `NETWORKS` and random samples for it."""
    rng = np.random.default_rng(7)
    lengths = rng.integers(1, STEPS + 1, n) if ragged else np.full(n, STEPS)
    if name == "words":
        flat = rng.integers(0, WORDS, lengths.sum()).astype(np.int32)
        sequences = batches.from_lengths(flat, lengths, 1)
    else:
        sequences = batches.from_lengths(rng.normal(size=lengths.sum() * CHANNELS).astype(dtype), lengths, CHANNELS)
    data = batches.make_data(sequences, np.dtype(dtype).type, rng.normal(size=(n, 2)), weights=rng.uniform(0.5, 2, n))
    return Network(NETWORKS[name], (None,) if name == "words" else (None, CHANNELS)), data


def fit(name, ragged, dtype, n_jobs):
    """Two epochs, four chunks a batch, the last batch smaller."""
    network, data = make(name, ragged, dtype)
    state = State.create(network, 3, np.dtype(dtype).type)
    settings = Settings(batch_size=64, alpha=0.1, n_jobs=n_jobs, seed=3, learning_rate_init=0.01, solver="adam")
    val = batches.take(data, np.arange(70))
    return fit_network(network, state, data, val, settings, 2)


def digest(state):
    return hashlib.sha256(state.theta.tobytes() + state.moments.tobytes() + repr(state.history["loss"]).encode()
                          + repr(state.history["val_loss"]).encode()).hexdigest()


def test_the_work_is_cut_by_the_size_of_the_batch_alone():
    assert [HOST.chunk_rows(n) for n in (1, 7, 31, 32, 64, 200, 256, 257, 1000)] == [4, 4, 16, 16, 16, 16, 16, 32, 64]


@pytest.mark.parametrize("name, ragged, dtype", CASES)
def test_weights_are_the_same_for_any_number_of_threads(name, ragged, dtype, threads):
    alone = fit(name, ragged, dtype, 1)
    assert not threads and np.isfinite(alone.theta).all()
    for n_jobs in (2, 4):
        threads.clear()
        other = fit(name, ragged, dtype, n_jobs)
        assert max(threads) == n_jobs
        assert np.array_equal(alone.theta, other.theta) and digest(alone) == digest(other)


def test_weights_are_the_same_in_two_processes_and_in_this_one(threads):
    """Other hashes of strings, other numbers of threads, other addresses in memory."""
    lines, path = [], os.pathsep.join([str(HERE.parents[1]), str(HERE.parent)])
    for hash_seed, n_jobs in (("0", 1), ("4711", 2)):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        code = f"import test_bits; test_bits.engine.PARALLEL_WORK = 0; test_bits.print_digests({n_jobs})"
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240,
                              check=True)
        lines.append(done.stdout.split())
    assert lines[0] == lines[1] == [digest(fit(*case, 2)) for case in CASES]
    assert len(set(lines[0])) == len(CASES)


def print_digests(n_jobs):
    for case in CASES:
        print(digest(fit(*case, n_jobs)))


@pytest.mark.parametrize("name, ragged, dtype", CASES)
def test_a_row_is_predicted_the_same_alone_and_in_a_batch(name, ragged, dtype, threads):
    network, data = make(name, ragged, dtype, n=70)
    theta = State.create(network, 0, np.dtype(dtype).type).theta
    together = predict_network(network, theta, data, n_jobs=1)
    for n_jobs in (2, 4):
        assert np.array_equal(together, predict_network(network, theta, data, n_jobs=n_jobs))
    assert max(threads) == 4
    for n in range(1, 10):
        rows = np.random.default_rng(n).permutation(70)[:n]
        assert np.array_equal(together[rows], predict_network(network, theta, batches.take(data, rows), n_jobs=1)), n
    assert len(np.unique(together)) > 100


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_is_predicted_the_same_alone_and_in_a_batch(dtype):
    """One output a step: real steps do not depend on longer neighbours, nor on more than one call's worth of them."""
    network = Network([Conv1D(4, 3), Bidirectional(GRU(5, **SEQUENCES)), Dense(1)], (None, CHANNELS))
    _, data = make("bidirectional", True, dtype, n=engine.PREDICT_CALL + 9)
    theta = State.create(network, 0, np.dtype(dtype).type).theta
    together = predict_network(network, theta, data, n_jobs=1)
    for row in range(0, len(data.starts), 173):
        alone = predict_network(network, theta, batches.take(data, np.array([row])), n_jobs=1)
        assert np.array_equal(together[row, :data.lengths[row]], alone[0])


def test_an_evaluation_is_the_same_for_any_number_of_threads(threads):
    network, data = make("bidirectional", True, "float32")
    theta = State.create(network, 0, np.float32).theta
    first = evaluate_network(network, theta, data, n_jobs=1)
    assert all(evaluate_network(network, theta, data, n_jobs=n) == first for n in (2, 3, 4)) and max(threads) == 4
