"""The sequence estimators: validation, going on, seeds, callbacks, and life inside scikit-learn."""

import pickle
import warnings

import numpy as np
import pytest
from samples import LABELS, RAGGED, RNG, X, Y, net, ragged_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError, UnsetMetadataPassedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tsrnn import CNNLSTMClassifier, GRURegressor, LSTMRegressor, RNNClassifier, SequenceClassifier, training

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# ----------------------------------------------------------------------------------------------- validation, stopping


def test_a_validation_set_is_recorded_and_does_not_stop():
    estimator = net(max_iter=30, n_iter_no_change=1, tol=0.0).fit(X[:18], Y[:18], X_val=X[18:], y_val=-100 * Y[18:])
    assert estimator.n_iter_ == 30 == len(estimator.history_["val_loss"]) == len(estimator.validation_scores_)
    assert estimator.best_validation_score_ == max(estimator.validation_scores_)
    assert estimator.best_iter_ == 1 + int(np.argmax(estimator.validation_scores_))
    assert estimator.score(X[18:], -100 * Y[18:]) == pytest.approx(estimator.best_validation_score_)  # restored
    last = clone(estimator).set_params(restore_best=False).fit(X[:18], Y[:18], X_val=X[18:], y_val=-100 * Y[18:])
    assert last.score(X[18:], -100 * Y[18:]) == pytest.approx(last.validation_scores_[-1])


def test_early_stopping():
    noise = RNG.normal(size=60)
    estimator = net(max_iter=200, early_stopping=True, n_iter_no_change=3, learning_rate_init=0.02, validation_fraction=0.25)
    estimator.fit(RNG.normal(size=(60, 4, 1)), noise)
    assert estimator.n_iter_ < 200 and len(estimator.validation_scores_) == estimator.n_iter_
    classifier = net(RNNClassifier, early_stopping=True, max_iter=5).fit(X, LABELS)
    assert set(classifier.history_) == {"loss", "accuracy", "val_loss", "val_accuracy", "seconds"}
    assert classifier.validation_scores_ == classifier.history_["val_accuracy"]
    ragged = net(early_stopping=True, return_sequences=True, validation_fraction=0.3).fit(RAGGED, [x[:, 0] for x in RAGGED])
    assert np.isfinite(ragged.validation_scores_).all()


@pytest.mark.parametrize(("estimator", "y", "kwargs", "message"), [
    (net(early_stopping=True), Y[:3], {}, "The validation set is too small"),
    (net(RNNClassifier, early_stopping=True), [0, 1, 1], {}, "least populated class|test_size"),
    (net(), Y[:3], {"X_val": X}, "X_val and y_val belong together"),
    (net(), Y[:3], {"sample_weight_val": Y}, "sample_weight_val is given without X_val"),
    (net(), Y[:3], {"X_val": X[:, :, :1], "y_val": Y}, "^X_val: X has 1 features a step"),
    (net(), Y[:3], {"X_val": np.full((2, 6, 2), np.nan), "y_val": Y[:2]}, "^X_val: Input X contains NaN"),
    (net(), Y[:3], {"X_val": X, "y_val": Y[:3]}, "^y_val: Found input variables with inconsistent numbers"),
    (net(), Y[:3], {"X_val": X, "y_val": np.full(24, np.nan)}, "^y_val: Input y contains NaN"),
    (net(), Y[:3], {"X_val": X, "y_val": Y, "sample_weight_val": -np.ones(24)}, "^sample_weight_val: Negative values"),
    (net(), Y[:3], {"X_val": X, "y_val": np.c_[Y, Y]}, "as many outputs as y"),
    (net(RNNClassifier), [0, 1, 1], {"X_val": X[:1], "y_val": [2]}, "^y_val: .*classes not in"),
    (net(early_stopping=True), Y[:3], {"X_val": X[:1], "y_val": Y[:1]}, "fewer than 2 targets with a positive weight"),
    (net(early_stopping=True), Y[:3], {"X_val": X[:2], "y_val": Y[:2], "sample_weight_val": [0, 1]}, "fewer than 2 targets"),
])
def test_bad_validation(estimator, y, kwargs, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(X[:3], y, **kwargs)


@pytest.mark.filterwarnings("error", "ignore::sklearn.exceptions.ConvergenceWarning")
def test_one_validation_target_has_a_loss_but_no_score():
    estimator = net().fit(X, Y, X_val=X[:1], y_val=Y[:1])
    assert np.isfinite(estimator.history_["val_loss"]).all() and np.isnan(estimator.validation_scores_).tolist() == [True] * 3
    assert np.isnan(estimator.best_validation_score_) and estimator.best_iter_ == 1 + np.argmin(estimator.loss_curve_)
    one = net(RNNClassifier, early_stopping=True).fit(X, LABELS, X_val=X[:1], y_val=LABELS[:1])
    assert set(one.validation_scores_) <= {0.0, 1.0}  # accuracy needs no second


def test_training_loss_that_stands_still_ends_the_fit():
    estimator = net(max_iter=100, tol=10.0, n_iter_no_change=4).fit(X, Y)
    assert estimator.n_iter_ == 6  # the first improves on nothing, five more do not
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        net(max_iter=2).fit(X, Y)


def test_divergence_keeps_the_last_finite_weights():
    estimator = net(solver="sgd", learning_rate=lambda epoch: 1e-3 if epoch < 2 else 1e308, clip_norm=None, max_iter=50)
    with pytest.warns(ConvergenceWarning, match="learning_rate_init"):
        estimator.fit(X, 1e3 * Y)
    assert 2 <= estimator.n_iter_ < 50
    assert np.isfinite(estimator.predict(X)).all() and np.isfinite(estimator.loss_curve_).all()


def test_divergence_before_anything_was_learnt_is_an_error():
    estimator = net()
    before = dict(vars(estimator))
    with pytest.raises(training.NonFiniteLossError, match=r"epoch 1, batch 1.*learning_rate_init"):
        estimator.fit(X, 1e200 * Y)
    assert vars(estimator) == before
    with pytest.raises(training.NonFiniteLossError, match="^Nothing was learnt, and the estimator is what it was before"):
        estimator.fit(X, 1e200 * Y)


def test_interrupt_leaves_a_usable_model():
    def interrupt(epoch, logs):
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match=r"Training interrupted by user\. \(interrupted after 2 epochs"):
        estimator = net(max_iter=50, on_epoch_end=interrupt).fit(X, Y)
    assert estimator.n_iter_ == 2 and estimator.predict(X).shape == (24,)


# ---------------------------------------------------------------------------------------------------------- going on


def test_a_resumed_fit_is_the_longer_fit():
    once = net(max_iter=6, dropout=0.2, batch_size=7).fit(X, Y)
    warm = net(max_iter=3, dropout=0.2, batch_size=7, warm_start=True).fit(X, Y).fit(X, Y)
    parts = net(dropout=0.2, batch_size=7)
    for _ in range(6):
        parts.partial_fit(X, Y)
    for other in (warm, parts):
        np.testing.assert_array_equal(once._state.theta, other._state.theta)
        assert once.loss_curve_ == other.loss_curve_
    assert (once.n_iter_, warm.n_iter_, parts.n_iter_) == (6, 3, 1)


def test_attributes_of_a_resumed_fit_belong_together():
    estimator = net(warm_start=True).fit(X, Y, X_val=X, y_val=Y).fit(X, Y)
    lengths = {len(values) for values in (*estimator.history_.values(), estimator.validation_scores_, estimator.loss_curve_)}
    assert lengths == {6} and np.isnan(estimator.validation_scores_).tolist() == [False] * 3 + [True] * 3
    assert estimator.best_validation_score_ == np.nanmax(estimator.validation_scores_)
    assert estimator.best_iter_ > 3 and estimator.best_loss_ == estimator.loss_curve_[estimator.best_iter_ - 1]


@pytest.mark.parametrize("validated", [True, False])
def test_the_best_epoch_is_one_of_the_present_weights(validated):
    estimator = net(warm_start=True, learning_rate_init=0.02, max_iter=20)
    val = {"X_val": X, "y_val": Y} if validated else {}
    estimator.fit(X, Y, **val)
    estimator.set_weights({name: np.full_like(w, 3.0) for name, w in estimator.get_weights().items()})  # far worse
    estimator.set_params(max_iter=2).fit(X, Y, **val)
    assert estimator.best_iter_ > 20 and estimator.best_loss_ == estimator.loss_curve_[estimator.best_iter_ - 1]
    assert estimator.best_loss_ > min(estimator.loss_curve_)
    if validated:
        assert estimator.best_validation_score_ == estimator.validation_scores_[estimator.best_iter_ - 1]
        assert estimator.score(X, Y) == pytest.approx(estimator.best_validation_score_)


@pytest.mark.parametrize("changes", [{"loss": "absolute_error"}, {"alpha": 1.0}, {"n": 20}, {"val": None}, {}])
def test_another_aim_is_not_measured_against_the_old_one(changes, monkeypatch):
    asked = []
    fit_network = training.fit_network
    monkeypatch.setattr(training, "fit_network",
                        lambda *args, **kwargs: asked.append(kwargs["resume_patience"]) or fit_network(*args, **kwargs))
    parameters = {name: value for name, value in changes.items() if name in ("loss", "alpha")}
    n, val = changes.get("n", 24), {} if "val" in changes else {"X_val": X, "y_val": Y}
    estimator = net(warm_start=True).fit(X, Y, X_val=X, y_val=Y)
    estimator.set_params(**parameters).fit(X[:n], Y[:n], **val)
    estimator.partial_fit(X, Y)
    same = not parameters and n == 24 and bool(val)
    assert asked == [False, same, True]


def test_best_weights_of_a_resumed_fit_survive_worse_epochs():
    settings = {"warm_start": True, "learning_rate_init": 0.02, "max_iter": 8}
    estimator = net(**settings).fit(X, Y, X_val=X, y_val=Y)
    assert estimator._state.best_theta is estimator._state.theta  # stored once
    stored, best = len(pickle.dumps(estimator)), estimator._state.theta.copy()
    estimator._state.best_theta = best
    assert len(pickle.dumps(estimator)) >= stored + best.nbytes
    estimator._state.best_theta = estimator._state.theta
    for other in (estimator, pickle.loads(pickle.dumps(estimator))):
        other.set_params(solver="sgd", learning_rate_init=30.0, clip_norm=None, max_iter=2).fit(X, Y, X_val=X, y_val=Y)
        assert other.best_iter_ == estimator.best_iter_ <= 8
        np.testing.assert_array_equal(other._state.theta, best)


def test_without_warm_start_a_fit_starts_anew():
    estimator = net().fit(X, Y)
    first = estimator.predict(X)
    assert len(estimator.fit(X, Y).loss_curve_) == 3
    np.testing.assert_array_equal(estimator.predict(X), first)


def test_partial_fit_of_classifiers():
    classifier = net(RNNClassifier)
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        classifier.partial_fit(X, LABELS)
    classifier.partial_fit(X[LABELS == "up"], LABELS[LABELS == "up"], classes=["up", "down"])
    assert classifier.classes_.tolist() == ["down", "up"]
    classifier.partial_fit(X, LABELS)
    with pytest.raises(ValueError, match="not the same as on last call"):
        classifier.partial_fit(X, LABELS, classes=["a", "b"])
    with pytest.raises(ValueError, match="classes not in"):
        classifier.partial_fit(X, np.where(Y > 0, "up", "sideways"))
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping"):
        net(early_stopping=True).partial_fit(X, Y)


def test_warm_start_wants_the_same_network():
    estimator = net(warm_start=True).fit(X, Y)
    theta = estimator._state.theta.copy()
    for changes, y in (({"hidden_layer_sizes": (5,)}, Y), ({}, np.c_[Y, Y])):
        with pytest.raises(ValueError, match="to go on they must stay as they were"):
            estimator.set_params(**changes).fit(X, y)
        estimator.set_params(hidden_layer_sizes=(4,))
    with pytest.raises(ValueError, match="X has 1 features a step"):
        estimator.fit(X[:, :, :1], Y)
    np.testing.assert_array_equal(estimator._state.theta, theta)
    estimator.set_params(solver="sgd").fit(X, Y)  # another optimizer is no other network


def test_a_failure_in_training_leaves_the_old_fit():
    estimator = net(warm_start=True).fit(X, Y)
    before, theta = dict(vars(estimator)), estimator._state.theta.copy()
    estimator.on_epoch_end = lambda epoch, logs: 1 / 0
    with pytest.raises(ZeroDivisionError):
        estimator.fit(X, Y)
    estimator.on_epoch_end = None
    assert all(vars(estimator)[name] is before[name] for name in before)
    np.testing.assert_array_equal(estimator._state.theta, theta)


def test_weights():
    estimator = net(LSTMRegressor, warm_start=True)
    with pytest.raises(NotFittedError):
        estimator.get_weights()
    assert not hasattr(estimator, "weights_")
    estimator.fit(X, Y)
    weights = estimator.get_weights()
    assert {name: w.shape for name, w in weights.items()} == {
        "lstm_0.W_ih": (16, 2), "lstm_0.W_hh": (16, 4), "lstm_0.b_ih": (16,), "lstm_0.b_hh": (16,),
        "dense_0.W": (1, 4), "dense_0.b": (1,)}
    with pytest.raises((ValueError, TypeError)):
        estimator.weights_["dense_0.b"][0] = 1.0
    with pytest.raises(TypeError):
        estimator.weights_["dense_0.b"] = 1.0
    predicted = estimator.predict(X)
    other = {**weights, "dense_0.b": weights["dense_0.b"] + 1}
    np.testing.assert_allclose(estimator.set_weights(other).predict(X), predicted + 1)
    np.testing.assert_array_equal(estimator.weights_["dense_0.b"], other["dense_0.b"])
    estimator.fit(X, Y + 1)
    assert abs(estimator.weights_["dense_0.b"] - other["dense_0.b"]) < 0.1  # went on from there


def test_a_fit_leaves_attributes_of_the_user_alone():
    estimator = net()
    estimator.note_, estimator._mark_ = "mine", 1
    assert estimator.fit(X, Y).fit(X, Y).note_ == "mine" and estimator._mark_ == 1


def test_weights_that_do_not_fit():
    estimator = net(LSTMRegressor).fit(X, Y)
    weights, predicted = estimator.get_weights(), estimator.predict(X)
    bad = {**weights, "lstm_0.W_ih": weights["lstm_0.W_ih"].T, "gru_0.W": np.zeros(3), "lstm_0.b_ih": np.full(16, np.nan),
           "lstm_0.b_hh": ["a"] * 16, "dense_0.W": [[1.0], [2.0, 3.0]]}
    del bad["dense_0.b"]
    with pytest.raises(ValueError, match=r"dense_0.b is missing; gru_0.W is not a weight.*shape \(2, 16\) and must have "
                                         r"\(16, 2\); lstm_0.b_ih contains NaN.*; lstm_0.b_hh is no array of numbers; "
                                         r"dense_0.W is no array of numbers"):
        estimator.set_weights(bad)
    np.testing.assert_array_equal(estimator.predict(X), predicted)


# ------------------------------------------------------------------------------------------------- seeds and threads


def test_one_seed_one_result():
    settings = {"dropout": 0.3, "batch_size": 5}
    a, b, other = net(**settings).fit(X, Y), net(**settings).fit(X, Y), net(**settings, random_state=1).fit(X, Y)
    np.testing.assert_array_equal(a.predict(X), b.predict(X))
    assert not np.array_equal(a.predict(X), other.predict(X))
    a, b = (net(random_state=np.random.RandomState(3)).fit(X, Y) for _ in range(2))
    np.testing.assert_array_equal(a.predict(X), b.predict(X))
    assert not np.array_equal(net(random_state=None).fit(X, Y).predict(X), net(random_state=None).fit(X, Y).predict(X))


def test_global_seeds_are_not_touched():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    net(random_state=None, dropout=0.1, early_stopping=True).fit(X, Y)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_threads_and_neighbours_change_nothing():
    rng = np.random.default_rng(1)
    big = rng.normal(size=(300, 20, 4))
    fits = [net(GRURegressor, hidden_layer_sizes=(32,), n_jobs=n, max_iter=2).fit(big, big[:, 0, 0]) for n in (1, 2, 4)]
    for other in fits[1:]:
        np.testing.assert_array_equal(fits[0]._state.theta, other._state.theta)
    together = fits[0].predict(big[:9])
    for b in range(1, 10):
        np.testing.assert_array_equal(fits[0].predict(big[:b]), together[:b])


# --------------------------------------------------------------------------------------------------------- callbacks


def test_on_epoch_end():
    seen = []
    net(RNNClassifier, max_iter=4, on_epoch_end=lambda *a: seen.append(a)).fit(X, LABELS, X_val=X, y_val=LABELS)
    assert [epoch for epoch, _ in seen] == [0, 1, 2, 3]
    assert set(seen[0][1]) == {"loss", "accuracy", "val_loss", "val_accuracy", "seconds"}
    assert net(max_iter=40, on_epoch_end=lambda epoch, logs: epoch == 4).fit(X, Y).n_iter_ == 5


class Recorder:
    """A callback of scikit-learn that writes down what it sees."""

    def __init__(self, stop_after=None):
        self.events, self.losses, self.stop_after = [], [], stop_after

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
        self.events.append(("end", context.task_name, context.task_id))
        if fitted_estimator is not None:
            self.losses.append(fitted_estimator.loss_)
            assert fitted_estimator.predict(X).shape == (24,)
        return self.stop_after is not None and context.task_id + 1 == self.stop_after


@pytest.fixture
def callbacks():
    return pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")


def test_scikit_learn_callbacks_see_epochs(callbacks):
    recorder = Recorder()
    estimator = net().set_callbacks(recorder).fit(X, Y)
    epochs = [(what, "epoch", i) for i in range(3) for what in ("begin", "end")]
    assert recorder.events == ["setup", ("begin", "fit", 0), *epochs, ("end", "fit", 0), "teardown"]
    assert recorder.losses == [*estimator.loss_curve_, estimator.loss_]
    recorder = Recorder(stop_after=2)
    assert net(max_iter=30).set_callbacks(recorder).fit(X, Y).n_iter_ == 2
    np.testing.assert_array_equal(estimator.predict(X), net().fit(X, Y).predict(X))


def test_scikit_learn_callbacks_are_torn_down_after_errors(callbacks):
    recorder = Recorder()
    with pytest.raises(ZeroDivisionError):
        net(on_epoch_end=lambda *a: 1 / 0).set_callbacks(recorder).fit(X, Y)
    assert recorder.events[-1] == "teardown"


def test_scikit_learn_progress_bar(callbacks, capfd):
    pytest.importorskip("rich")
    net().set_callbacks(callbacks.ProgressBar()).fit(X, Y)
    assert "RNNRegressor" in capfd.readouterr().out


def test_scikit_learn_scoring_monitor(callbacks):
    monitor = callbacks.ScoringMonitor(scoring="r2")
    net().set_callbacks(monitor).fit(X, Y)
    assert len(monitor.get_logs().data) >= 3


def test_fit_prints_nothing(capfd):
    net().fit(X, Y)
    assert capfd.readouterr() == ("", "")


# ----------------------------------------------------------------------------------------------- inside scikit-learn


def test_pickle_and_copy():
    estimator = net(RNNClassifier, warm_start=True, learning_rate="plateau").fit(X, LABELS)
    for other in (pickle.loads(pickle.dumps(estimator)), clone(estimator).fit(X, LABELS)):
        np.testing.assert_array_equal(other.predict_proba(X), estimator.predict_proba(X))
    other = pickle.loads(pickle.dumps(estimator)).fit(X, LABELS)
    np.testing.assert_array_equal(other.predict_proba(X), estimator.fit(X, LABELS).predict_proba(X))


@pytest.mark.parametrize("data", [X, ragged_array(RAGGED), RAGGED, X.reshape(24, -1)], ids=["3-D", "object", "list", "2-D"])
def test_grid_search(data):
    search = GridSearchCV(net(), {"hidden_layer_sizes": [(2,), (3,)], "dropout": [0.0, 0.1]}, cv=3, error_score="raise")
    assert search.fit(data, Y).predict(data).shape == (24,)
    assert cross_val_score(net(RNNClassifier), data, LABELS, cv=3, error_score="raise").shape == (3,)
    assert cross_val_predict(net(), data, Y, cv=3).shape == (24,)


def test_grid_search_in_workers_gives_the_same_bits():
    grid = {"hidden_layer_sizes": [(2,), (3,)]}
    one, two = (GridSearchCV(net(), grid, cv=2, n_jobs=n).fit(X, Y).cv_results_["mean_test_score"] for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_pipeline_and_transformed_target():
    flat = 50 + 9 * X.reshape(24, -1)
    inner = net(n_channels=2, max_iter=80, learning_rate_init=0.02)
    pipeline = make_pipeline(StandardScaler(), TransformedTargetRegressor(inner, transformer=StandardScaler()))
    assert pipeline.fit(flat, 1000 + 50 * Y).score(flat, 1000 + 50 * Y) > 0.7
    pipeline.set_params(transformedtargetregressor__regressor__hidden_layer_sizes=(2,))


def test_metadata_routing():
    weights = RNG.random(24)
    with config_context(enable_metadata_routing=True):
        estimator = net().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        routed = cross_validate(estimator, X, Y, cv=2, params={"sample_weight": weights}, return_estimator=True)
        by_hand = net().fit(X[12:], Y[12:], weights[12:])
        np.testing.assert_array_equal(routed["estimator"][0].predict(X), by_hand.predict(X))
        assert routed["test_score"][0] == by_hand.score(X[:12], Y[:12], weights[:12])
        pipeline = make_pipeline(net().set_fit_request(X_val=True, y_val=True))
        pipeline.fit(X, Y, X_val=X, y_val=Y)
        assert len(pipeline[-1].history_["val_loss"]) == 3
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight_val"):
            pipeline.fit(X, Y, sample_weight_val=weights)


def test_fitted_attributes():
    estimator = net(CNNLSTMClassifier).fit(X, LABELS)
    assert estimator.n_features_in_ == 2 and estimator.n_iter_ == 3 and not hasattr(estimator, "feature_names_in_")
    assert estimator.loss_ == estimator.loss_curve_[-1] == estimator.history_["loss"][-1]
    assert estimator.best_loss_ == min(estimator.loss_curve_)
    assert estimator.validation_scores_ is None and estimator.best_validation_score_ is None
    with pytest.raises(NotFittedError):
        net().predict(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.predict(X)
    assert isinstance(estimator, SequenceClassifier)


def test_no_warning_where_all_epochs_are_meant():
    X, y = np.random.default_rng(0).normal(size=(20, 3, 1)), np.arange(20.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LSTMRegressor((2,), max_iter=2, n_iter_no_change=np.inf).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        LSTMRegressor((2,), max_iter=2).fit(X, y)
