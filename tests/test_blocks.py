"""X as `Blocks`: samples that are put together when they are needed."""

import pickle
import tracemalloc

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from tsrnn import CNNLSTMRegressor, GRUClassifier, LSTMRegressor, SequenceRegressor, engine, training
from tsrnn.data import batches
from tsrnn.data.batches import Blocks
from tsrnn.estimators._inputs import is_blocks
from tsrnn.layers import Dense, GlobalAveragePooling1D

N, STEPS, CHANNELS, OUTPUTS = 150, 6, 2, 3
BATCH = 16
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Windows:
    """Windows of a series; `asked` holds how many samples each call wanted."""

    def __init__(self, n=N, steps=STEPS, channels=CHANNELS, n_outputs=OUTPUTS, seed=0, targets=True):
        rng = np.random.default_rng(seed)
        self.series = rng.normal(size=(n + steps + n_outputs, channels)).astype(np.float32)
        self.n, self.steps, self.channels, self.n_outputs, self.targets, self.asked = n, steps, channels, n_outputs, targets, []

    def __len__(self):
        return self.n

    def block(self, rows):
        assert rows.dtype == np.int64
        self.asked.append(len(rows))
        X = self.series[rows[:, None] + np.arange(self.steps)]
        y = self.series[rows[:, None] + np.arange(self.n_outputs), 0] if self.targets else None
        return X, y

    def arrays(self):
        """All samples; the wish is forgotten."""
        found = self.block(np.arange(self.n))
        self.asked.pop()
        return found


@pytest.fixture
def small(monkeypatch):
    """Blocks of one batch of 16, or of a few: samples have 60 bytes."""
    monkeypatch.setattr(batches, "BLOCK_BYTES", 2 * BATCH * 60)


def net(cls=LSTMRegressor, **kwargs):
    """An estimator that fits in a few milliseconds."""
    return cls(**{"hidden_layer_sizes": (5,), "batch_size": BATCH, "max_iter": 4, "random_state": 0, "n_jobs": 1, **kwargs})


def same(one, other):
    """Whether two fits went the same way, bit by bit."""
    assert one.history_.keys() == other.history_.keys()
    for key in set(one.history_) - {"seconds"}:
        assert one.history_[key] == other.history_[key], key
    return np.array_equal(one._state.theta, other._state.theta) and np.array_equal(one._state.moments, other._state.moments)


# ------------------------------------------------------------------------------------------------------ what Blocks are


def test_what_is_blocks():
    import pandas as pd

    assert is_blocks(Windows()) and isinstance(Windows(), Blocks)
    frame = pd.DataFrame({name: [1.0, 2.0] for name in ("block", "steps", "channels", "n_outputs")})
    for X in (frame, np.zeros((3, 2)), [[1.0, 2.0]], None, "text", Windows):
        assert not is_blocks(X)


@pytest.mark.parametrize("multiple, rows", [(1, 139810), (200, 139800), (256, 139776), (10**6, 10**6)])
def test_a_part_is_a_whole_number_of_batches(multiple, rows):
    stream = batches.Stream(Windows(), None)
    assert stream.part_rows(multiple) == rows == multiple * max(1, 2**23 // (60 * multiple))


# ------------------------------------------------------------------------------------------------------ the same bits


@pytest.mark.parametrize("kwargs", [
    {}, {"dropout": 0.3, "recurrent_dropout": 0.2}, {"shuffle": False},
    {"alpha": 0.1, "learning_rate": "plateau", "solver": "sgd"}, {"loss": "quantile", "quantiles": (0.1, 0.5, 0.9)},
    {"dtype": "float64"}, {"batch_size": "auto"}, {"batch_size": 1000},
], ids=str)
def test_few_samples_are_the_arrays(kwargs):
    """One block, asked for once: the arrays' bits in everything."""
    windows = Windows()
    X, y = windows.arrays()
    ours, theirs = net(**kwargs).fit(windows), net(**kwargs).fit(X, y)
    assert same(ours, theirs) and windows.asked == [N]
    assert ours.n_features_in_ == CHANNELS and ours.n_outputs_ == OUTPUTS and ours._kind == "steps"
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_array_equal(ours.predict(windows), theirs.predict(X))
    assert ours.predict(windows).dtype == np.float32 and ours._state.theta.dtype == kwargs.get("dtype", "float32")


@pytest.mark.parametrize("kwargs", [
    {}, {"shuffle": False}, {"alpha": 0.1, "learning_rate": "plateau", "solver": "sgd"}, {"learning_rate": "cosine"},
    {"loss": "quantile", "quantiles": (0.1, 0.5, 0.9)}, {"dtype": "float64"}, {"batch_size": 37}, {"batch_size": 1000},
], ids=str)
def test_many_blocks_have_the_bits_of_the_arrays(kwargs, small):
    windows, val = Windows(), Windows(700, seed=1)
    (X, y), (X_val, y_val) = windows.arrays(), val.arrays()
    ours = net(restore_best=False, **kwargs).fit(windows, X_val=val)
    theirs = net(restore_best=False, **kwargs).fit(X, y, X_val=X_val, y_val=y_val)
    assert same(ours, theirs) and len(windows.asked) > (1 + 4 * 4 if kwargs.get("batch_size", 0) < 1000 else 4)
    val.asked.clear()
    np.testing.assert_array_equal(ours.predict(val), theirs.predict(X_val))
    assert len(val.asked) > 1


def test_masks_of_dropout_are_others_in_each_block(small):
    """Samples of a block have the numbers of the block before, and not their masks; the fit is another but as good a one."""
    keys, train = [], engine.Engine.train

    def spy(self, data, batches, made, first, hyper, update):
        keys.extend(map(tuple, made.tolist()))
        return train(self, data, batches, made, first, hyper, update)

    windows = Windows()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.Engine, "train", spy)
        first = net(dropout=0.3).fit(windows)
    assert len(keys) == 4 * 10 and len(set(keys)) == 4 * 5  # blocks of two batches
    assert same(first, net(dropout=0.3).fit(windows))
    assert not same_weights(first, net(dropout=0.3).fit(*windows.arrays()))
    assert not same_weights(first, net(dropout=0.3, random_state=1).fit(windows))


def same_weights(one, other):
    """Whether two fits have the same weights."""
    return np.array_equal(one._state.theta, other._state.theta)


def test_any_number_of_threads(small, monkeypatch):
    monkeypatch.setattr(engine, "PARALLEL_WORK", 0)
    windows = Windows()
    fits = [net(CNNLSTMRegressor, conv_filters=4, dropout=0.2, batch_size=64, n_jobs=n_jobs).fit(windows, X_val=windows)
            for n_jobs in (1, 2, 4)]
    for other in fits[1:]:
        assert same(fits[0], other)
        np.testing.assert_array_equal(fits[0].predict(windows), other.predict(windows))


# ------------------------------------------------------------------------------------------------------ validation


def test_early_stopping_goes_by_the_loss(small):
    windows, val = Windows(), Windows(60, seed=1)
    estimator = net(early_stopping=True, n_iter_no_change=2, tol=1e-3, max_iter=200, learning_rate_init=0.05)
    estimator.fit(windows, X_val=val)
    losses = np.array(estimator.history_["val_loss"])
    assert estimator.n_iter_ < 200 and estimator.validation_scores_ == (-losses).tolist()
    assert estimator.best_iter_ == 1 + losses.argmin() and estimator.best_validation_score_ == -losses.min()
    X_val, y_val = val.arrays()
    assert np.mean((estimator.predict(X_val) - y_val) ** 2, dtype=float) == pytest.approx(losses.min(), rel=1e-5)


def test_blocks_validate_arrays_and_arrays_validate_blocks(small):
    windows, val = Windows(), Windows(60, seed=1)
    (X, y), (X_val, y_val) = windows.arrays(), val.arrays()
    fits = [net(restore_best=False).fit(*train, **kwargs)
            for train in ((windows,), (X, y)) for kwargs in ({"X_val": val}, {"X_val": X_val, "y_val": y_val})]
    assert all(same(fits[0], other) for other in fits[1:])
    assert fits[0].validation_scores_ == fits[2].validation_scores_ != fits[1].validation_scores_ == fits[3].validation_scores_


def test_scores_of_two_kinds_are_not_measured_against_each_other():
    """A resumed fit with the negative loss for a score does not look back at R²."""
    windows, val = Windows(), Windows(60, seed=1)
    estimator = net(warm_start=True).fit(windows, X_val=val.arrays()[0], y_val=val.arrays()[1])
    estimator.fit(windows, X_val=val)
    assert estimator._state.patience.best_score == max(estimator.validation_scores_[4:])


# ------------------------------------------------------------------------------------------------------ shapes


def test_predictions_always_have_an_axis_of_outputs():
    one, X = Windows(n_outputs=1), Windows().arrays()[0]
    estimator = net().fit(one)
    assert estimator.predict(one).shape == (N, 1) and estimator.predict(X).shape == (N, 1)
    levels = net(loss="quantile", quantiles=(0.1, 0.5, 0.9)).fit(one)
    assert levels.predict(one).shape == (N, 1, 3)
    assert net(loss="quantile", quantiles=(0.1, 0.9)).fit(Windows()).predict(Windows()).shape == (N, OUTPUTS, 2)
    plain = net().fit(one.arrays()[0], one.arrays()[1][:, 0])
    assert plain.predict(one.arrays()[0]).shape == (N,) and plain.predict(one).shape == (N, 1)
    assert estimator.predict(Windows(n_outputs=1, targets=False)).tobytes() == estimator.predict(one).tobytes()
    assert estimator.predict(Windows(steps=9, n_outputs=1)).shape == (N, 1)  # the number of steps is free
    assert np.isfinite(estimator.score(one, one.arrays()[1][:, 0]))


# ------------------------------------------------------------------------------------------------------ going on


def test_a_resumed_fit_is_the_longer_fit(small):
    windows, settings = Windows(), {"dropout": 0.2}
    once = net(max_iter=6, **settings).fit(windows)
    warm = net(max_iter=3, warm_start=True, **settings).fit(windows).fit(windows)
    parts = net(**settings)
    for _ in range(6):
        parts.partial_fit(windows)
    assert same(once, warm) and same(once, parts) and parts.n_iter_ == 1


def test_arrays_and_blocks_take_turns(small):
    windows = Windows()
    mixed = net().partial_fit(windows).partial_fit(*windows.arrays()).partial_fit(windows)
    assert same(mixed, net(max_iter=3).fit(windows))


def test_a_fitted_estimator_is_pickled_without_the_blocks(small):
    windows = Windows()
    estimator = net().fit(windows, X_val=windows)
    other = pickle.loads(pickle.dumps(estimator))
    assert len(pickle.dumps(estimator)) < 20_000
    np.testing.assert_array_equal(other.partial_fit(windows).predict(windows), estimator.partial_fit(windows).predict(windows))


# ------------------------------------------------------------------------------------------------------ memory


def test_never_more_than_a_block(small):
    windows, val = Windows(1000), Windows(777, seed=1)
    net().fit(windows, X_val=val).predict(windows)
    stream = batches.Stream(windows, None)
    assert stream.part_rows(BATCH) == 32 and stream.part_rows(engine.STREAM_ROWS) == 256
    glance, epochs, prediction = windows.asked[0], windows.asked[1:-4], windows.asked[-4:]
    assert glance <= 32 and epochs == 4 * [*[32] * 31, 8] and prediction == [256, 256, 256, 232]
    assert val.asked == 4 * [256, 256, 256, 9]


def test_memory_does_not_grow_with_the_samples():
    windows = Windows(200_000, steps=100, channels=1, n_outputs=1)  # 80 MB
    estimator = SequenceRegressor(layers=[GlobalAveragePooling1D(), Dense(1)], max_iter=1, batch_size=2000, n_jobs=1)
    tracemalloc.start()
    try:
        estimator.fit(windows, X_val=windows).predict(windows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # two blocks, the indices of one (int64, so twice its size), and 8 bytes a sample for the epoch's order and some more
    assert peak < 5 * batches.BLOCK_BYTES + 200_000 * 40 < 200_000 * 100 * 4 * 0.65


# ------------------------------------------------------------------------------------------------------ stopping


def test_divergence_goes_back_to_sound_weights(small):
    estimator = net(solver="sgd", learning_rate=lambda epoch: 1e-3 if epoch < 2 else 1e30, clip_norm=None, max_iter=50)
    windows = Windows()
    with pytest.warns(ConvergenceWarning, match="learning_rate_init"):
        estimator.fit(windows)
    assert 2 <= estimator.n_iter_ < 50
    assert np.isfinite(estimator.predict(windows)).all() and np.isfinite(estimator.loss_curve_).all()
    before = dict(vars(estimator))
    windows.series = windows.series * np.float32(1e30)
    with pytest.raises(training.NonFiniteLossError, match="Nothing was learnt.*epoch 3, batch"):
        estimator.set_params(learning_rate="constant", warm_start=True).fit(windows)
    assert vars(estimator)["_state"] is before["_state"]


def test_the_scale_of_targets_is_that_of_samples_from_all_over(small):
    """Targets rise with the number of the sample; the guard must have seen the late ones too."""
    windows = Windows(1000)
    windows.series[:, 0] = np.arange(len(windows.series))
    stream = batches.Stream(windows, lambda rows: batches.make_data(batches.from_array(windows.block(rows)[0]), np.float32,
                                                                     windows.block(rows)[1]))
    data = training._glance(stream)
    assert data.targets.min() < 50 and data.targets.max() > 950 and len(data.starts) <= 32


def test_interruption_while_a_block_is_made(small):
    class Interrupted(Windows):
        def block(self, rows):
            if len(self.asked) == 10:
                raise KeyboardInterrupt
            return super().block(rows)

    with pytest.warns(UserWarning, match=r"Training interrupted by user\. \(interrupted after 1 epochs"):
        estimator = net(max_iter=50).fit(Interrupted())
    assert estimator.n_iter_ == 1 and estimator.predict(Windows()).shape == (N, OUTPUTS)


def test_callbacks(small):
    windows, epochs = Windows(), []
    estimator = net(max_iter=50, on_epoch_end=lambda epoch, logs: epochs.append(logs) or epoch == 2).fit(windows, X_val=windows)
    assert estimator.n_iter_ == 3 and [logs["val_loss"] for logs in epochs] == estimator.history_["val_loss"]


def test_scikit_learn_callbacks(small):
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")
    seen, windows = [], Windows()

    class Recorder:
        def setup(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            seen.append((fitted_estimator.loss_, X is windows, y, fitted_estimator.predict(X).shape))

        def teardown(self, estimator, context):
            pass

    estimator = net().set_callbacks(Recorder()).fit(windows)
    assert seen == [(loss, True, None, (N, OUTPUTS)) for loss in [*estimator.loss_curve_, estimator.loss_]]


def test_an_error_in_a_block_changes_nothing(small):
    class Broken(Windows):
        def block(self, rows):
            if len(self.asked) == 7:
                raise OSError("the disk is gone")
            return super().block(rows)

    estimator = net(warm_start=True).fit(Windows())
    theta, before = estimator._state.theta.copy(), dict(vars(estimator))
    with pytest.raises(OSError, match="the disk is gone"):
        estimator.fit(Broken())
    assert vars(estimator) == before and np.array_equal(theta, estimator._state.theta)


# ------------------------------------------------------------------------------------------------------ errors


def broken(**attributes):
    """Windows with other attributes or another `block`."""
    windows = Windows()
    for name, value in attributes.items():
        setattr(windows, name, value)
    return windows


def block(change):
    """Windows whose blocks are `change`d."""
    windows = Windows()
    plain = windows.block
    windows.block = lambda rows: change(*plain(rows))
    return windows


def with_value(array, value):
    array.flat[5] = value
    return array


Y = np.zeros((N, OUTPUTS))


@pytest.mark.parametrize("estimator, X, kwargs, error, message", [
    (net(), Windows(), {"y": Y}, ValueError, r"y is given, but X makes .*\(Windows\); leave y out"),
    (net(), Windows(), {"sample_weight": np.ones(N)}, ValueError, "sample_weight is given, but X makes"),
    (net(), Windows(), {"X_val": Windows(), "y_val": Y}, ValueError, "y_val is given, but X_val makes"),
    (net(), Windows(), {"X_val": Windows(), "sample_weight_val": Y}, ValueError, "sample_weight_val is given, but X_val makes"),
    (net(), Windows(), {"y_val": Y}, ValueError, "X_val and y_val belong together"),
    (net(), Windows(), {"sample_weight_val": Y}, ValueError, "X_val and y_val belong together"),
    (net(), Windows(), {"X_val": Windows(n_outputs=2)}, ValueError, "X_val.n_outputs=2 must be 3"),
    (net(), Windows(), {"X_val": Windows(channels=3)}, ValueError, "X_val: X has 3 features a step.*expecting 2"),
    (net(early_stopping=True), Windows(), {}, ValueError, "early_stopping=True needs X_val"),
    (net(GRUClassifier), Windows(), {"y": None}, TypeError, "GRUClassifier needs all labels at once; pass arrays"),
    (net(return_sequences=True), Windows(), {}, ValueError, "one output a step, but Windows"),
    (net(embedding_dim=4, vocabulary_size=9), Windows(), {}, ValueError, "token ids, but Windows makes values"),
    (net(n_channels=3), Windows(), {}, ValueError, "X has 2 features a step, but n_channels=3"),
    (net(), broken(n=0), {}, ValueError, r"Windows with 0 sample\(s\) \(shape=\(0, 6, 2\)\) while a minimum of 1"),
    (net(), broken(steps=0), {}, ValueError, r"Windows with 0 step\(s\)"),
    (net(), broken(n_outputs=0), {}, ValueError, "X.n_outputs=0 must be at least 1"),
    (net(), broken(targets=False), {}, ValueError, r"X.block\(rows\): the targets are missing; they must have shape"),
    (net(), block(lambda X, y: (X[:, 1:], y)), {}, ValueError, r"the samples have shape \(\d+, 5, 2\); they must have"),
    (net(), block(lambda X, y: (X, y[:, 1:])), {}, ValueError, r"the targets have shape \(\d+, 2\); they must have"),
    (net(), block(lambda X, y: (with_value(X, np.nan), y)), {}, ValueError, r"X.block\(rows\): Input X contains NaN"),
    (net(), block(lambda X, y: (X, with_value(y, np.inf))), {}, ValueError, r"X.block\(rows\): Input y contains infinity"),
    (net(loss="poisson"), Windows(), {}, ValueError, r"X.block\(rows\): y contains -.* needs y >= 0"),
    (net(), Windows(), {"X_val": broken(targets=False)}, ValueError, r"X_val.block\(rows\): the targets are missing"),
])
def test_errors(estimator, X, kwargs, error, message):
    before = dict(vars(estimator))
    with pytest.raises(error, match=message):
        estimator.fit(X, **kwargs)
    assert vars(estimator) == before


def test_errors_after_a_fit():
    estimator = net().fit(Windows())
    for X, message in ((Windows(channels=3), "X has 3 features a step.*expecting 2"), (broken(n=0), "0 sample"),
                       (block(lambda X, y: (with_value(X, np.nan), y)), r"X.block\(rows\): Input X contains NaN")):
        with pytest.raises(ValueError, match=message):
            estimator.predict(X)
    with pytest.raises(ValueError, match="to go on they must stay as they were"):
        estimator.partial_fit(Windows(n_outputs=2))
    flat = net().fit(np.zeros((9, 4)) + np.arange(9.0)[:, None], np.arange(9.0))
    for use in (flat.predict, flat.partial_fit):
        with pytest.raises(ValueError, match="was fitted with 2-D X"):
            use(Windows(channels=1))
