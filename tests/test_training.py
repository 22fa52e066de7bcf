"""Floor 3: what a fit does to weights, history and state, on small networks in float64."""

import pickle

import numpy as np
import pytest

from tsrnn import engine, optimizers, training
from tsrnn.data import batches
from tsrnn.layers import GRU, LSTM, Conv1D, Dense, Dropout
from tsrnn.network import Network
from tsrnn.parallel import Team
from tsrnn.progress import Progress
from tsrnn.training import Settings, State, evaluate_network, fit_network, predict_network

STEPS, CHANNELS = 5, 2


def network(*layers, loss="squared_error", **options):
    return Network(layers or (LSTM(5), Dense(1)), (None, CHANNELS), loss, **options)


def data(n=24, lengths=None, weights=None, classes=None, seed=0, dtype=np.float64, targets=None):
    """Sequences and the mean of their first channel, or which of `classes` equal parts of its range that lies in."""
    rng = np.random.default_rng(seed)
    lengths = np.full(n, STEPS) if lengths is None else np.asarray(lengths)
    rows = [rng.normal(size=(length, CHANNELS)) for length in lengths]
    if targets is None:
        targets = np.array([row[:, 0].mean() for row in rows])
        if classes is not None:
            targets = np.searchsorted(np.quantile(targets, np.arange(1, classes) / classes), targets)
    flat = np.concatenate(rows).reshape(-1).astype(dtype)
    return batches.make_data(batches.from_lengths(flat, lengths, CHANNELS), dtype, np.asarray(targets, dtype)[:, None],
                             weights=None if weights is None else np.asarray(weights, float))


def fit(train, epochs=1, net=None, state=None, val=None, on_epoch_end=None, stop_early=True, val_score=None, **settings):
    """A fit of a few epochs, in batches of 10, from the state of seed 0."""
    net = net or network()
    state = state or State.create(net, 0, train.targets.dtype)
    settings = Settings(**{"batch_size": 10, "n_jobs": 1, "learning_rate_init": 0.01, "max_iter": 50, **settings})
    return fit_network(net, state, train, val, settings, epochs, on_epoch_end, stop_early, val_score)


def one_plain_step(train, net=None, theta=None, **settings):
    """One step of steepest descent with rate 1 over all samples: the change of theta (minus the clipped gradient), the loss."""
    net = net or network()
    state = State.create(net, 0, np.float64)
    if theta is not None:
        state.theta[:] = theta
    before = state.theta.copy()
    plain = {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False, "learning_rate_init": 1.0, "clip_norm": None}
    fit(train, 1, net, state, **{**plain, "batch_size": len(train.starts), "shuffle": False, **settings})
    return state.theta - before, state.history["loss"][0]


def record(thetas):
    """An `on_epoch_end` for the state that is made later."""
    return lambda state: lambda epoch, logs: thetas.append(state.theta.copy())


# ------------------------------------------------------------------------------------------------ learning


@pytest.mark.parametrize("solver", ["adam", "adamw", "rmsprop", "sgd"])
def test_loss_falls(solver):
    state = fit(data(60), 40, solver=solver, learning_rate_init=0.02)
    assert state.history["loss"][-1] < 0.3 * state.history["loss"][0]
    assert state.stopped == "max_iter" and state.n_epochs == 40 and state.n_steps == 240 and state.message == ""


def test_slices_stay_short_where_sequences_become_long(monkeypatch):
    """Sorted by length, say; a clock that goes with the work."""
    now, slices, real = [0.0], [], engine.Engine.train

    def train(self, data, batches, keys, first, hyper, update):
        slices.append((len(hyper), int(batches.steps[first]), 1e-3 * len(hyper) * int(batches.steps[first])))
        now[0] += slices[-1][2]
        return real(self, data, batches, keys, first, hyper, update)

    monkeypatch.setattr(engine.Engine, "train", train)
    monkeypatch.setattr(training.time, "perf_counter", lambda: now[0])
    fit(data(1600, lengths=[1] * 800 + [40] * 800), shuffle=False)
    assert max(seconds for *_, seconds in slices) <= 1.5 * training.SLICE_SECONDS
    assert max(n for n, steps, _ in slices if steps == 1) > 40


def test_samples_of_one_length_need_one_plan():
    """A plan with masks would have operations of its own (CLEAR), to be compiled for nothing."""
    net = network(Conv1D(3, 2), LSTM(3), Dropout(0.2), Dense(1))
    fit(data(), net=net)
    assert [(train, masked) for *_, train, masked in net._lowered] == [(True, False)]


@pytest.mark.parametrize("classes, loss, units", [(2, "binary_crossentropy", 1), (3, "categorical_crossentropy", 3)])
def test_history_has_the_keys_of_keras(classes, loss, units):
    train, val = data(40, classes=classes), data(20, classes=classes, seed=1)
    state = fit(train, 30, network(GRU(6), Dense(units), loss=loss), val=val, learning_rate_init=0.03)
    assert list(state.history) == ["loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
    assert {len(values) for values in state.history.values()} == {30}
    assert all(type(value) is float for values in state.history.values() for value in values)
    assert state.history["accuracy"][-1] > 0.85 > state.history["accuracy"][0]
    assert state.validation_scores == state.history["val_accuracy"]
    assert list(fit(data(), 1).history) == ["loss", "seconds"]
    assert list(fit(data(), 1, val=data(6)).history) == ["loss", "val_loss", "seconds"]


def test_an_epoch_reports_what_an_evaluation_finds():
    net = network(LSTM(4), Dense(3), loss="categorical_crossentropy")
    train = data(37, classes=3, weights=np.random.default_rng(3).uniform(0, 2, 37))
    state = fit(train, 1, net, val=train, learning_rate=lambda epoch: 0.0)
    loss, accuracy = evaluate_network(net, state.theta, train)
    np.testing.assert_allclose(state.history["loss"], loss, rtol=1e-12)
    np.testing.assert_allclose(state.history["accuracy"], accuracy, rtol=1e-12)
    assert state.history["val_loss"] == [loss] and state.history["val_accuracy"] == [accuracy]
    logits = predict_network(net, state.theta, train)
    right = logits.argmax(axis=1) == train.targets
    np.testing.assert_allclose(accuracy, np.average(right, weights=train.weights[:, 0]), rtol=1e-12)


@pytest.mark.parametrize("lengths", [None, [5, 1, 3, 2, 5, 4, 1, 2, 3, 5, 2, 2, 4]])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_both_backends_train_alike(lengths, solver):
    train = data(13, lengths=lengths)
    layers = (LSTM(4, return_sequences=True, recurrent_dropout=0.2), Dropout(0.3), GRU(3), Dense(1))
    ours, theirs = (fit(train, 4, network(*layers, backend=name), solver=solver, alpha=0.1, batch_size=5)
                    for name in ("cpu", "numpy"))
    np.testing.assert_allclose(ours.theta, theirs.theta, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.history["loss"], theirs.history["loss"], rtol=1e-9)


def test_logits_are_shaped_like_the_network():
    net = network(LSTM(4, return_sequences=True), Dense(3))
    theta = State.create(net, 0, np.float64).theta
    assert predict_network(net, theta, data(3, lengths=[4, 2, 3])).shape == (3, 4, 3)
    assert predict_network(network(), State.create(network(), 0, np.float64).theta, data(7)).shape == (7, 1)


# ------------------------------------------------------------------------------------------------ order, going on, copies


def test_the_order_is_a_function_of_seed_and_epoch():
    def orders(seed, shuffle=True):
        net = network()
        state = State.create(net, 0, np.float64)
        settings = Settings(seed=seed, shuffle=shuffle)
        with Team(1) as team:
            trainer = training.Trainer(engine.Engine(net, state.theta, team), state, data(30), settings,
                                       optimizers.get_solver("adam"), Progress(False, 1, 1))
            assert np.array_equal(trainer.order(range(1, 3)), np.concatenate([trainer.order(range(i, i + 1)) for i in (1, 2)]))
            return trainer.order(range(3)).reshape(3, 30).tolist()

    first = orders(1)
    assert first[2] == np.random.default_rng([1, training.SHUFFLE, 2]).permutation(30).tolist()
    assert first == orders(1) and all(sorted(order) == list(range(30)) for order in first)
    assert len({tuple(order) for order in first + orders(2)}) == 6
    assert orders(1, shuffle=False) == [list(range(30))] * 3


def test_the_seed_decides_shuffling_and_dropout_and_nothing_else():
    net = network(LSTM(5), Dropout(0.4), Dense(1))
    thetas = {(seed, shuffle): fit(data(), 2, net, seed=seed, shuffle=shuffle).theta for seed in (0, 1) for shuffle in (0, 1)}
    assert len({theta.tobytes() for theta in thetas.values()}) == 4
    assert np.array_equal(fit(data(), 2, net, seed=1, shuffle=True).theta, thetas[1, 1])
    plain = [fit(data(), 2, seed=seed, shuffle=False).theta for seed in (0, 1)]
    assert np.array_equal(*plain)


@pytest.mark.parametrize("schedule", ["constant", "plateau", "cosine"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_resumed_fit_is_the_longer_fit(schedule, solver):
    net = network(LSTM(4, recurrent_dropout=0.2, input_dropout=0.1), Dropout(0.3), Dense(1))
    options = {"net": net, "learning_rate": schedule, "solver": solver, "batch_size": 7, "max_iter": 9, "tol": 0.3,
               "n_iter_no_change": 6, "val": data(9, seed=2), "restore_best": False}
    whole = fit(data(), 9, **options)
    part = fit(data(), 4, **options)
    part = fit(data(), 5, state=pickle.loads(pickle.dumps(part.copy())), **options)
    assert whole.stopped == part.stopped == "converged" and whole.n_epochs == part.n_epochs == 8
    assert np.array_equal(whole.theta, part.theta) and np.array_equal(whole.moments, part.moments)
    del whole.history["seconds"], part.history["seconds"]
    for name in ("history", "validation_scores", "n_steps", "best_epoch", "schedule", "patience"):
        assert getattr(whole, name) == getattr(part, name), name


def test_a_copy_is_independent_and_new_weights_forget_the_old_ones():
    state = fit(data(), 2, val=data(6))
    kept = pickle.dumps(state)
    fit(data(), 2, state=state.copy(), val=data(6))
    other = state.with_theta(np.zeros_like(state.theta))
    other.theta += 1
    assert pickle.dumps(state) == kept
    assert other.moments is None and other.best_theta is None and other.patience is None and other.n_steps == 0
    assert other.n_epochs == 2 and fit(data(), 1, state=other).n_steps == 3


def test_initial_weights_depend_on_seed_and_layers_only():
    a, b, d = (State.create(network(), seed, np.float64).theta for seed in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, d)
    single = State.create(network(), 0, np.float32).theta
    assert single.dtype == np.float32 and np.array_equal(single, a.astype(np.float32))


# ------------------------------------------------------------------------------------------------ rates and stopping


def test_schedules_act():
    def run(learning_rate, **options):
        options = {"solver": "sgd", "learning_rate_init": 0.1, "max_iter": 8, "stop_early": False, **options}
        return fit(data(), 8, learning_rate=learning_rate, **options).theta

    cosine = [0.05 * (1 + np.cos(np.pi * epoch / 8)) for epoch in range(8)]
    assert np.array_equal(run("constant"), run(lambda epoch: 0.1))
    assert np.array_equal(run("cosine"), run(cosine.__getitem__))
    assert np.array_equal(run("plateau", tol=10.0), run(lambda epoch: 0.1 if epoch < 6 else 0.1 * 0.2))
    assert not np.array_equal(run("plateau", tol=10.0), run("constant"))
    assert np.array_equal(run(lambda epoch: 0.0), State.create(network(), 0, np.float64).theta)


def test_patience_counts_as_scikit_learn_does():
    """Against the lines of `MLPClassifier._update_no_improvement_count`, over random walks with many ties."""
    rng = np.random.default_rng(0)
    for watch in (True, False):
        patience, settings = training.Patience(), Settings(early_stopping=watch, tol=0.125)
        state = State(np.zeros(1))
        count, longest, best_score, best_loss = 0, 0, -np.inf, np.inf
        walk = rng.integers(-2, 4, 300).cumsum() / 16
        for score, loss in zip(walk, 100 - walk):
            state.history, state.validation_scores, state.n_epochs = {"loss": [loss]}, [score], state.n_epochs + 1
            if watch:
                count = count + 1 if score < best_score + 0.125 else 0
                best_score = max(best_score, score)
            else:
                count = count + 1 if loss > best_loss - 0.125 else 0
                best_loss = min(best_loss, loss)
            patience.observe(state, settings, has_score=watch)
            longest = max(longest, count)
            assert patience.count == count
        assert longest > 5 and (patience.best_score, patience.best_loss)[not watch] == (best_score, best_loss)[not watch]


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_after_more_than_n_epochs_without_improvement(patience):
    scores = iter([1.0, 2.0] + [2.0] * 50)
    state = fit(data(), 30, val=data(5), val_score=lambda logits: next(scores), early_stopping=True, n_iter_no_change=patience)
    assert state.stopped == "converged" and state.n_epochs == 2 + patience + 1 and state.best_epoch == 2
    standing = fit(data(), 30, n_iter_no_change=patience, tol=10.0)
    assert standing.stopped == "converged" and standing.n_epochs == 1 + patience + 1
    assert fit(data(), 12, n_iter_no_change=patience, tol=10.0, stop_early=False).n_epochs == 12


def test_a_validation_set_stops_nothing_unless_asked():
    options = {"val": data(5), "val_score": lambda logits: 0.0, "n_iter_no_change": 1, "tol": 1e-9, "learning_rate_init": 0.001}
    state = fit(data(), 6, **options)
    assert state.stopped == "max_iter" and len(state.history["val_loss"]) == 6
    assert np.all(np.diff(state.history["val_loss"]) != 0)
    assert fit(data(), 6, early_stopping=True, **options).n_epochs == 3


def test_validation_scores_see_the_logits():
    val, seen = data(7, seed=4), []

    def score(logits):
        seen.append(logits.copy())
        return np.float32(len(seen))

    state = fit(data(), 2, val=val, val_score=score)
    assert state.validation_scores == [1.0, 2.0] and type(state.validation_scores[0]) is float
    np.testing.assert_array_equal(seen[-1], predict_network(network(), state.theta, val).reshape(7, 1))
    plain = fit(data(), 2, val=val, restore_best=False)
    assert plain.validation_scores == [-loss for loss in plain.history["val_loss"]]
    assert np.array_equal(plain.theta, fit(data(), 2).theta)  # looking on changes nothing


@pytest.mark.parametrize("restore", [True, False])
def test_the_best_weights_come_back(restore):
    state, thetas, scores = State.create(network(), 0, np.float64), [], iter([1.0, 5.0, 2.0, 5.0])
    fit(data(), 4, state=state, val=data(5), val_score=lambda logits: next(scores), restore_best=restore,
        on_epoch_end=record(thetas)(state))
    assert np.array_equal(state.theta, thetas[1 if restore else 3]) and not np.array_equal(thetas[1], thetas[3])
    assert state.best_epoch == 2
    without = fit(data(), 4, restore_best=restore)
    assert np.array_equal(without.theta, thetas[3])  # no score, nothing to come back to
    assert without.best_epoch == 1 + int(np.argmin(without.history["loss"]))


def test_on_epoch_end_hears_of_every_epoch_and_may_stop():
    heard = []
    state = fit(data(), 9, on_epoch_end=lambda epoch, logs: heard.append((epoch, logs)) or epoch == 2)
    assert state.stopped == "callback" and state.n_epochs == 3
    assert [epoch for epoch, _ in heard] == [0, 1, 2]
    assert [logs["loss"] for _, logs in heard] == state.history["loss"]
    fit(data(), 1, state=state, on_epoch_end=lambda epoch, logs: heard.append((epoch, logs)))
    assert heard[-1][0] == 3 and state.stopped == "max_iter"


# ------------------------------------------------------------------------------------------------ weights, L2, clipping


def test_l2_acts_on_weights_and_not_on_biases():
    train = data(12, weights=np.linspace(0.5, 2, 12))
    net = network()
    theta = State.create(net, 0, np.float64).theta + 0.1  # biases that are not 0
    plain, loss = one_plain_step(train, net, theta)
    shrunk, penalised_loss = one_plain_step(train, net, theta, alpha=3.0)
    total, squares = train.totals.sum(), 0.0
    difference, old = net.views(shrunk - plain), net.views(theta)
    for name, change in difference.items():
        is_bias = name.split(".")[1].startswith("b")
        np.testing.assert_allclose(change, 0.0 if is_bias else -3.0 / total * old[name], rtol=1e-9, atol=1e-12)
        squares += 0.0 if is_bias else np.square(old[name]).sum()
    np.testing.assert_allclose(penalised_loss - loss, 3.0 / (2 * total) * squares, rtol=1e-10)


def test_weight_two_is_twice_and_weight_zero_is_not_there():
    n, weights = 20, np.tile([1.0, 2.0, 0.0, 3.0], 5)
    rows = np.repeat(np.arange(n), weights.astype(int))
    weighted, repeated = data(n, weights=weights), batches.take(data(n), rows)
    for options in ({}, {"alpha": 0.5}):
        (a, loss), (b, same) = one_plain_step(weighted, **options), one_plain_step(repeated, **options)
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(b).max())
        np.testing.assert_allclose(loss, same, rtol=1e-12)
    without = batches.take(weighted, np.flatnonzero(weights))
    np.testing.assert_allclose(one_plain_step(weighted)[0], one_plain_step(without)[0], rtol=1e-10, atol=1e-14)
    poisoned = weighted._replace(targets=np.where(weights == 0, np.nan, weighted.targets))
    np.testing.assert_array_equal(one_plain_step(poisoned)[0], one_plain_step(weighted)[0])


def test_a_batch_where_nobody_counts_is_skipped():
    weights = np.ones(30)
    weights[10:20] = 0
    train = data(30, weights=weights)
    state = fit(train, 3, shuffle=False)
    assert state.n_steps == 6 and state.stopped == "max_iter"
    rest = fit(batches.take(train, np.r_[0:10, 20:30]), 3, shuffle=False)
    assert np.array_equal(state.theta, rest.theta) and state.history["loss"] == rest.history["loss"]


def test_clipping_acts():
    gradient = -one_plain_step(data())[0]
    norm = np.linalg.norm(gradient)
    by_norm = -one_plain_step(data(), clip_norm=0.1 * norm)[0]
    np.testing.assert_allclose(by_norm, 0.1 * gradient, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(-one_plain_step(data(), clip_norm=2 * norm)[0], gradient, rtol=1e-9, atol=1e-14)
    limit = np.abs(gradient).max() / 3
    by_value = -one_plain_step(data(), clip_value=limit)[0]
    np.testing.assert_allclose(by_value, np.clip(gradient, -limit, limit), rtol=1e-9, atol=1e-14)


def test_ragged_batches_are_as_long_as_their_longest():
    lengths = [1, 2, 3, 2, 1, 5, 5, 4, 1, 1, 1, 1, 2, 2, 2]
    state = fit(data(15, lengths=lengths), 30, batch_size=4, learning_rate_init=0.05)
    assert state.history["loss"][-1] < 0.3 * state.history["loss"][0]
    net, train = network(), data(4, lengths=[2, 1, 2, 2])
    short = one_plain_step(train, net)[0]
    padded = batches.take(data(5, lengths=[2, 1, 2, 2, 5]), np.arange(5))
    padded = padded._replace(weights=np.array([[1.0], [1.0], [1.0], [1.0], [0.0]]), totals=np.array([1.0, 1, 1, 1, 0]))
    np.testing.assert_allclose(one_plain_step(padded, net)[0], short, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("n_jobs", [1, 3])
def test_where_an_epoch_is_cut_into_slices_changes_no_bit(ragged, n_jobs, monkeypatch):
    """A batch where nobody counts, and the last one, a smaller one, among them."""
    monkeypatch.setattr(engine, "PARALLEL_WORK", 0)
    lengths, weights = np.repeat([5, 5, 3], 21)[:61] if ragged else None, np.ones(61)
    weights[12:16] = 0
    train = data(61, lengths=lengths, weights=weights)
    net, rng, results = network(LSTM(4, recurrent_dropout=0.2), Dropout(0.3), Dense(1)), np.random.default_rng(0), []
    for choose in (lambda: 1, lambda: 1000, lambda: int(rng.integers(1, 6)), lambda: int(rng.integers(1, 6))):
        monkeypatch.setattr(training.Trainer, "observe", lambda self, *_, choose=choose: setattr(self, "pace", choose()))
        state = fit(train, 3, net, shuffle=False, batch_size=4, n_jobs=n_jobs, alpha=0.1, clip_norm=0.1)
        assert state.n_steps == 3 * 15
        results.append((state.theta.tobytes(), state.moments.tobytes(), state.history["loss"]))
    assert all(result == results[0] for result in results)


def test_slices_take_the_time_that_they_should():
    net = network()
    state = State.create(net, 0, np.float64)
    with Team(1) as team:
        trainer = training.Trainer(engine.Engine(net, state.theta, team), state, data(30), Settings(),
                                   optimizers.get_solver("adam"), Progress(False, 1, 1))
        paces = []
        for seconds in (2.0, 1e-4, 1e-4, 1e-4, 1e-4, 5e-2, 1.0):  # a step: compiled at first, later on a busy machine
            trainer.observe(trainer.pace, seconds * trainer.pace)
            paces.append(trainer.pace)
    assert paces == [1, 8, 64, 500, 500, 1, 1]


# ------------------------------------------------------------------------------------------------ trouble


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_the_steps_before_one_that_is_not_finite_are_made_and_told(n_jobs, monkeypatch):
    """In one slice: the third batch of the second epoch's first call is the one."""
    monkeypatch.setattr(engine, "PARALLEL_WORK", 0)
    train, n_steps = data(50), []
    train.targets[25] = np.nan
    monkeypatch.setattr(training.Guard, "go_back", lambda self: n_steps.append(self.trainer.state.n_steps) or "gone back")
    monkeypatch.setattr(training.Trainer, "observe", lambda self, *_: setattr(self, "pace", 100))
    state = fit(train, 2, shuffle=False, n_jobs=n_jobs)
    assert "epoch 1, batch 3" in state.message and n_steps == [2] and np.isfinite(state.theta).all()
    two = fit(batches.take(train, np.arange(20)), 1, shuffle=False, n_jobs=n_jobs)
    assert np.array_equal(state.theta, two.theta) and np.array_equal(state.moments, two.moments)


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])  # whose gradient at infinity is 1
def test_a_loss_that_is_not_finite_ends_the_fit(value, loss):
    train, net = data(30), network(loss=loss)
    train.targets[15] = value
    start = State.create(net, 0, np.float64)
    state = fit(train, 5, net, start.copy(), shuffle=False)
    assert state.stopped == "diverged" and state.n_epochs == 0 and state.history == {}
    assert np.array_equal(state.theta, start.theta) and not state.moments.any() and state.n_steps == 0
    assert "epoch 1, batch 2" in state.message and "lower learning_rate_init (the rate was 0.01)" in state.message
    assert "clip_norm" not in state.message
    assert fit(data(), 2, state=state).stopped == "max_iter" and state.n_epochs == 2


def test_a_gradient_that_overflows_ends_the_fit():
    state = fit(data(1, targets=[1.2e154]), 3)  # its square is a number, that of the gradient is none
    assert state.stopped == "diverged" and "epoch 1, batch 1" in state.message


@pytest.mark.parametrize("solver, clip_norm", [("sgd", None), ("adam", 1.0)])
def test_a_rate_that_becomes_far_too_high_restores_the_end_of_the_last_epoch(solver, clip_norm):
    state, thetas = State.create(network(), 0, np.float64), []
    fit(data(), 50, state=state, solver=solver, clip_norm=clip_norm, on_epoch_end=record(thetas)(state),
        learning_rate=lambda epoch: 0.01 if epoch < 3 else 1e6)
    assert state.stopped == "diverged" and len(thetas) == 3 <= state.n_epochs <= 4
    assert np.array_equal(state.theta, thetas[-1]) and len(state.history["loss"]) == state.n_epochs
    assert "the weights from the end of epoch 3 were restored" in state.message
    assert ("set clip_norm=1.0" in state.message) == (clip_norm is None)


def test_harm_done_by_the_last_step_of_an_epoch_goes_back_one_more():
    state, thetas = State.create(network(), 0, np.float64), []
    fit(data(), 50, state=state, batch_size=24, on_epoch_end=record(thetas)(state),
        learning_rate=lambda epoch: 0.01 if epoch != 3 else 1e6)  # the loss of epoch 4 is measured before its only step
    assert state.stopped == "diverged" and state.n_epochs == 5 and np.array_equal(state.theta, thetas[2])
    assert "the weights from the end of epoch 3 were restored" in state.message


def test_weights_that_overflow_in_an_epochs_last_step_are_not_kept():
    train = data()
    state = fit(train._replace(targets=train.targets * 1e3), 3, solver="sgd", learning_rate_init=1e308, clip_norm=None,
                batch_size=24)
    assert state.stopped == "diverged" and state.n_epochs == 0 and np.isfinite(state.theta).all()


@pytest.mark.parametrize("solver", ["adam", "rmsprop", "sgd"])
def test_a_rate_far_too_high_is_told_where_clipping_keeps_all_finite(solver):
    state = fit(data(), 30, solver=solver, learning_rate_init=1e6)
    assert state.stopped == "diverged" and state.history["loss"][-1] > 1e6 and state.n_epochs <= 2
    assert evaluate_network(network(), state.theta, data())[0] < 10 and not state.moments.any()
    assert "that of the first batch was" in state.message and "learning_rate_init (the rate was 1e+06)" in state.message


def test_rare_large_targets_are_no_divergence():
    """The first batch may be harmless by chance; what counts is the scale of all targets."""
    targets = np.zeros(300)
    targets[::50] = 100.0
    for seed in range(6):
        state = fit(data(300, targets=targets), 3, batch_size=8, seed=seed)
        assert state.stopped == "max_iter", state.message


def test_targets_of_steps_that_do_not_count_may_be_missing():
    """They say nothing of the loss's scale, so a rate far too high is still noticed."""
    train = data()
    train = train._replace(targets=np.append(train.targets, np.nan))
    assert fit(train, 30, learning_rate_init=1e6).stopped == "diverged"


def test_a_diverged_fit_keeps_the_best_weights_that_a_validation_set_chose():
    state = State.create(network(), 0, np.float64)
    fit(data(), 3, state=state, val=data(seed=1))
    best, state.schedule = state.theta.copy(), None
    fit(data(), 20, state=state, val=data(seed=1), learning_rate_init=1e6)
    assert state.stopped == "diverged" and np.array_equal(state.theta, best)


def test_history_has_an_entry_an_epoch_whatever_was_validated():
    state = State.create(network(), 0, np.float64)
    for val in (None, data(seed=1), None):
        fit(data(), 2, state=state, val=val)
    assert {len(values) for values in state.history.values()} == {6} == {len(state.validation_scores)}
    assert np.isnan(state.history["val_loss"]).tolist() == [True, True, False, False, True, True]
