"""Several epochs in one compiled call: the bits, history and messages of epochs made one by one, and who keeps them so."""

import itertools

import numpy as np
import pytest
from sklearn.base import clone
from test_blocks import Windows
from test_training import data, fit, network

from tsrnn import LSTMRegressor, engine, optimizers, training
from tsrnn.data import batches
from tsrnn.layers import GRU, LSTM, Dense, Dropout, Embedding
from tsrnn.network import Network
from tsrnn.training import State


@pytest.fixture
def blocks(monkeypatch):
    """Lengths of the blocks of epochs that are made."""
    made, begin = [], training.Guard.begin
    monkeypatch.setattr(training.Guard, "begin", lambda self, epochs: made.append(epochs) or begin(self, epochs))
    return made


@pytest.fixture
def calls(monkeypatch):
    """Steps of each compiled call."""
    made, train = [], engine.Engine.train
    monkeypatch.setattr(engine.Engine, "train", lambda self, *args: made.append(len(args[4])) or train(self, *args))
    return made


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """On a machine so fast that a call takes whatever may be in it, but for the first."""
    monkeypatch.setattr(training.Trainer, "observe", lambda self, *_: setattr(self, "pace", 10**6))


def all_of(state):
    """A state without its clock."""
    kept = {name: value for name, value in vars(state).items() if name not in ("theta", "moments", "best_theta")}
    kept["history"] = {name: values for name, values in state.history.items() if name != "seconds"}
    return state.theta.tobytes(), state.moments.tobytes(), repr(kept)


def both_ways(blocks, make):
    """What `make()` returns, which is the same one by one; and the blocks that were made."""
    state = make()
    found = blocks.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Trainer, "block", lambda self, limit: 1)
        del blocks[:]
        one_by_one = make()
    assert set(blocks) == {1} and all_of(state) == all_of(one_by_one)
    return state, found


# ------------------------------------------------------------------------------------------------------------ the bits


@pytest.mark.parametrize("schedule", ["constant", "plateau", "cosine"])
@pytest.mark.parametrize("solver", ["adam", "adamw", "rmsprop", "sgd"])
def test_the_bits_of_epochs_made_one_by_one(solver, schedule, blocks):
    """With a smaller last batch, and batches where nobody counts, which differ from epoch to epoch."""
    weights = np.ones(24)
    weights[3:17] = 0
    for clip_norm, alpha in itertools.product([None, 0.1], [0.0, 0.1]):
        del blocks[:]
        options = {"solver": solver, "learning_rate": schedule, "clip_norm": clip_norm, "alpha": alpha, "tol": 0.02}
        state, found = both_ways(blocks, lambda options=options: fit(data(weights=weights), 25, stop_early=False, batch_size=5,
                                                                     **options))
        assert found[0] == 1 and max(found) == (5 if schedule == "plateau" else 24) and sum(found) == 25 == state.n_epochs


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
@pytest.mark.parametrize("n_jobs", [1, 3])
def test_every_epoch_has_masks_of_its_own(backend, n_jobs, blocks, monkeypatch):
    monkeypatch.setattr(engine, "PARALLEL_WORK", 0)
    net = network(LSTM(4, recurrent_dropout=0.2), Dropout(0.3), Dense(3), loss="categorical_crossentropy", backend=backend)
    train = data(40, classes=3)
    state, found = both_ways(blocks, lambda: fit(train, 6, net, n_jobs=n_jobs))
    assert found == [1, 5] and len(set(state.history["loss"])) == 6 == len(state.history["accuracy"])


def test_token_ids_are_sorted_within_each_batch(blocks):
    rng = np.random.default_rng(0)
    net, ids = Network((Embedding(9, 3), GRU(3), Dense(1)), (None,), "squared_error"), rng.integers(0, 9, 23 * 5)
    train = batches.make_data(batches.from_lengths(ids.astype(np.int32), np.full(23, 5), 1), np.float32,
                              rng.normal(size=(23, 1)))
    state, found = both_ways(blocks, lambda: fit(train, 6, net, State.create(net, 0, np.float32), batch_size=4))
    assert found == [1, 5] and state.theta.dtype == np.float32


@pytest.mark.parametrize("tol", [1000.0, 0.02, 0.002])
@pytest.mark.parametrize("patience", [1, 4])
def test_no_block_goes_beyond_the_end_of_patience(patience, tol, blocks):
    """With 1,000 for `tol` the fit never improves: the second block ends where patience does."""
    options = {"n_iter_no_change": patience, "tol": tol, "learning_rate_init": 0.05, "solver": "rmsprop"}
    state, found = both_ways(blocks, lambda: fit(data(), 90, **options))
    assert state.stopped == "converged" and max(found) > 1 and max(found) <= patience + 1
    assert sum(found) == state.n_epochs < 90 and (tol < 1000 or found == [1, patience + 1])


def test_a_fit_that_goes_on_is_the_longer_fit(blocks):
    options = {"tol": 0.01, "n_iter_no_change": 6, "learning_rate": "cosine"}
    whole = fit(data(), 20, **options)
    part = fit(data(), 11, state=fit(data(), 9, **options).copy(), **options)
    assert max(blocks) > 5 and all_of(whole) == all_of(part)


# --------------------------------------------------------------------------------------------------------- who watches


def test_few_calls_where_nobody_watches(calls):
    fit(data(), 30, n_iter_no_change=np.inf)
    assert calls == [1, 2, 87]  # three batches an epoch; the first step tells the pace


def test_the_next_fit_of_a_network_knows_the_pace(calls, monkeypatch):
    monkeypatch.undo()
    net, train = network(), engine.Engine.train
    monkeypatch.setattr(engine.Engine, "train", lambda self, *args: calls.append(len(args[4])) or train(self, *args))
    monkeypatch.setattr(training.time, "perf_counter", itertools.count(0, 1e-3).__next__)
    states = []
    for batch_size in (10, 10, 24):
        del calls[:]
        states.append(fit(data(), 12, net, n_iter_no_change=np.inf, batch_size=batch_size))
        assert (calls == [36]) == (len(states) == 2) and sum(calls) == states[-1].n_steps
    assert states[0].theta.tobytes() == states[1].theta.tobytes()


def test_initial_weights_drawn_before_are_the_same_and_copies():
    net, large = network(), network(LSTM(100), Dense(1))
    drawn = State.create(net, 1, np.float64).theta
    kept = drawn.copy()
    drawn += 1
    again = State.create(net, 1, np.float64).theta
    again += 1
    others = [State.create(*made).theta for made in [(net, 2, np.float64), (net, 1, np.float32), (network(), 1, np.float64)]]
    assert np.array_equal(State.create(net, 1, np.float64).theta, kept) and np.array_equal(others[2], kept)
    assert not np.array_equal(others[0], kept) and np.array_equal(others[1], kept.astype(np.float32))
    State.create(large, 1, np.float64)
    assert large.drawn is None  # too large to be kept


def test_a_block_takes_about_a_slice(monkeypatch):
    now, seconds, train = [0.0], [], engine.Engine.train

    def timed(self, data, batches, keys, first, hyper, update):
        seconds.append(1e-3 * len(hyper))
        now[0] += seconds[-1]
        return train(self, data, batches, keys, first, hyper, update)

    monkeypatch.undo()
    monkeypatch.setattr(engine.Engine, "train", timed)
    monkeypatch.setattr(training.time, "perf_counter", lambda: now[0])
    state = fit(data(), 100, stop_early=False)
    assert max(seconds) <= training.SLICE_SECONDS < 1.1 * max(seconds) and len(seconds) < 15
    np.testing.assert_allclose(state.history["seconds"], 3e-3)  # each has its share


@pytest.mark.parametrize("watch", ["on_epoch_end", "val", "verbose", "rate", "ragged"])
def test_epochs_are_made_one_by_one_where_somebody_watches(watch, blocks):
    train, seen = data(lengths=[5] * 12 + [4] * 12) if watch == "ragged" else data(), []
    options = {"on_epoch_end": {"on_epoch_end": lambda epoch, logs: seen.append(epoch)}, "val": {"val": data(6)},
               "verbose": {"verbose": True}, "rate": {"learning_rate": lambda epoch: seen.append(epoch) or 0.01}}
    fit(train, 5, **options.get(watch, {}))
    assert blocks == [1] * 5 and seen in ([], list(range(5)))


def test_the_epochs_of_a_stream_are_made_one_by_one(blocks, monkeypatch):
    monkeypatch.setattr(batches, "BLOCK_BYTES", 2000)
    LSTMRegressor((2,), max_iter=3, n_iter_no_change=np.inf).fit(Windows())
    assert blocks == [1] * 3


def test_estimators_without_callbacks_have_nobody_who_watches(blocks):
    rng, seen = np.random.default_rng(0), []
    X, y = rng.normal(size=(24, 5, 1)), rng.normal(size=24)
    alone = LSTMRegressor((3,), max_iter=6, batch_size=8, n_iter_no_change=np.inf, random_state=0)
    watched = clone(alone).set_params(on_epoch_end=lambda epoch, logs: seen.append(logs["loss"]))
    alone.fit(X, y)
    assert max(blocks) >= 5 and sum(blocks) == 6  # the pace may be known
    del blocks[:]
    watched.fit(X, y)
    assert blocks == [1] * 6 and seen == alone.loss_curve_ == watched.loss_curve_
    assert np.array_equal(alone._state.theta, watched._state.theta) and alone.n_iter_ == watched.n_iter_ == 6


# -------------------------------------------------------------------------------------------------------------- trouble


@pytest.mark.parametrize("options", [
    {"learning_rate_init": 1e6}, {"learning_rate_init": 1e6, "solver": "sgd"}, {"learning_rate_init": 30.0, "clip_norm": None},
    {"learning_rate_init": 3.0, "solver": "sgd", "clip_norm": None}, {"learning_rate_init": 1e308, "solver": "sgd"},
    {"learning_rate_init": 400.0, "batch_size": 24}, {"learning_rate_init": 30.0, "solver": "sgd", "batch_size": 24}])
def test_a_fit_that_diverges_within_a_block(options, blocks, monkeypatch):
    """Some of these go wrong at once and some epochs later; limits are tight, so that they do."""
    monkeypatch.setattr(training, "EXPLODED", 1.5)
    state, found = both_ways(blocks, lambda: fit(data(), 40, stop_early=False, **options))
    assert state.stopped == "diverged" and "were restored" in state.message and not state.moments.any()


@pytest.mark.parametrize("bad", [1, 2, 3, 4, 8, 9])
@pytest.mark.parametrize("last_step", [False, True])
def test_a_rate_too_high_in_any_epoch_of_a_block(bad, last_step, blocks, monkeypatch):
    """Blocks of 1, 3, 3, ... epochs.  Where an epoch's only step does the harm the next one tells: two blocks are undone."""
    monkeypatch.setattr(training.Trainer, "observe", lambda self, *_: setattr(self, "pace", 3 * self.work))
    monkeypatch.setattr(optimizers.Constant, "rate", lambda self, epoch: 1e6 if epoch == bad else 0.01, raising=True)
    state, found = both_ways(blocks, lambda: fit(data(), 12, batch_size=24 if last_step else 10))
    assert state.stopped == "diverged" and f"from the end of epoch {bad} were restored" in state.message
    assert max(found) == 3 and found[-1] == 1  # in the end one by one


def test_a_gradient_that_is_not_finite_within_a_block(blocks, monkeypatch):
    """From some step on: the steps before are undone and made again, and then the fit ends."""
    monkeypatch.setattr(optimizers.Constant, "rate", lambda self, epoch: 1e308 if epoch == 6 else 0.01)
    state, found = both_ways(blocks, lambda: fit(data(), 12, solver="sgd", clip_norm=None))
    assert state.stopped == "diverged" and "became NaN or infinite in epoch 7" in state.message
    assert found == [1, 11] + [1] * 6 and len(state.history["loss"]) == 6


@pytest.mark.parametrize("where", ["train", "observe", "begin", "rate"])
@pytest.mark.parametrize("after", [False, True])
def test_ctrl_c_within_a_block_leaves_whole_epochs(where, after, blocks, monkeypatch):
    """Blocks of 1, 5, 5, ... epochs.  The epochs that are told are those that the weights have seen, and the fit can go on."""
    owner = {"train": engine.Engine, "observe": training.Patience, "begin": training.Guard, "rate": optimizers.Plateau}[where]
    real, seen = getattr(owner, where), set()
    monkeypatch.setattr(training.Trainer, "observe", lambda self, *_: setattr(self, "pace", 5 * self.work))
    options = {"stop_early": False, "alpha": 0.1, "learning_rate": "plateau", "tol": 1000.0}
    for at in range(1, 14):
        left = itertools.count(1)

        def interrupted(*args, left=left, at=at, **kwargs):
            number = next(left)
            if number == at and not after:
                raise KeyboardInterrupt
            found = real(*args, **kwargs)
            if number == at:
                raise KeyboardInterrupt
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, where, interrupted)
            state = fit(data(), 13, **options)
        if state.stopped != "interrupted":
            break
        seen.add(state.n_epochs)
        assert len(state.history.get("loss", [])) == state.n_epochs
        assert f"interrupted after {state.n_epochs} epochs" in state.message
        part = state.n_steps - 3 * state.n_epochs
        assert ("part of the next" in state.message) == (part > 0) and (part == 0 or state.n_epochs == 0)
        if state.n_epochs > 1:
            rest = fit(data(), 13 - state.n_epochs, state=state, **options)
            assert all_of(rest) == all_of(fit(data(), 13, **options))
    assert {1, 6} <= seen and max(blocks) == 5
