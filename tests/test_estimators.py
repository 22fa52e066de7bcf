"""The sequence estimators: parameters, targets, objectives."""

import inspect
from numbers import Integral

import numpy as np
import pytest
from samples import LABELS, RAGGED, RNG, X, Y, net
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

import tsrnn
from tsrnn import (
    CNNLSTMClassifier,
    CNNLSTMRegressor,
    LSTMClassifier,
    LSTMRegressor,
    RNNClassifier,
    RNNRegressor,
    SequenceRegressor,
)
from tsrnn import layers as L
from tsrnn.estimators._build import layers_from_parameters
from tsrnn.estimators._declare import Parameterised

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# -------------------------------------------------------------------------------------------------------- parameters


def test_presets_differ_from_the_open_estimator_by_what_they_fix():
    for kind, unlike in (("Regressor", {"class_weight"}), ("Classifier", {"loss", "quantiles", "huber_delta"})):
        everything = set(inspect.signature(getattr(tsrnn, f"Sequence{kind}")).parameters)
        assert "cell" in everything and not everything & unlike
        for preset, cell in (("LSTM", "lstm"), ("GRU", "gru"), ("RNN", "rnn"), ("CNNLSTM", "lstm")):
            cls = getattr(tsrnn, preset + kind)
            assert set(inspect.signature(cls).parameters) == everything - {"cell"} == set(cls().get_params())
            assert cls().cell == cell
            assert f"{next(iter(everything))} : " in cls.__doc__ and "{" + "attributes}" not in cls.__doc__
    assert CNNLSTMRegressor().conv_filters == (32,) and CNNLSTMRegressor().pool_size == 2
    assert LSTMRegressor().conv_filters is None


@pytest.mark.parametrize("name", [name for name in tsrnn.__all__ if isinstance(getattr(tsrnn, name), type)])
def test_all_defaults_are_valid(name):
    cls = getattr(tsrnn, name)
    if issubclass(cls, Parameterised):  # `_validate_params` does not look at them
        validate_parameter_constraints(cls._parameter_constraints, cls().get_params(deep=False), name)


def test_what_a_subclass_declares_is_checked():
    class Narrow(LSTMRegressor):
        _parameter_constraints = {**LSTMRegressor._parameter_constraints, "max_iter": [Interval(Integral, 1, 9, closed="both")]}

    class Wider(LSTMRegressor):
        def __init__(self, more=1, *, max_iter=5):
            super().__init__(max_iter=max_iter)
            self.more = more

    with pytest.raises(ValueError, match="'max_iter' parameter of Narrow must be an int in the range .1, 9."):
        Narrow()._validate_params()
    assert sorted(Wider().get_params()) == ["max_iter", "more"] and clone(Wider(3, max_iter=2)).more == 3


def test_signature_repr_and_unknown_parameters():
    assert repr(LSTMRegressor((8, 4), dropout=0.5)) == "LSTMRegressor(dropout=0.5, hidden_layer_sizes=(8, 4))"
    with pytest.raises(TypeError, match=r"LSTMRegressor.__init__\(\) got an unexpected keyword argument 'cell'"):
        LSTMRegressor(cell="gru")
    with pytest.raises(ValueError, match="Invalid parameter 'cell'"):
        LSTMRegressor().set_params(cell="gru")
    estimator = clone(SequenceRegressor(layers=[L.LSTM(3), L.Dense(1)]))
    assert estimator.layers == [L.LSTM(3), L.Dense(1)]


@pytest.mark.parametrize(("parameters", "message"), [
    ({"hidden_layer_sizes": (0,)}, r"hidden_layer_sizes=\(0,\) must hold integers >= 1"),
    ({"hidden_layer_sizes": (3.5,)}, r"hidden_layer_sizes=\(3.5,\) must hold integers >= 1"),
    ({"hidden_layer_sizes": -3}, "The 'hidden_layer_sizes' parameter of RNNRegressor must be"),
    ({"hidden_layer_sizes": ()}, "must hold at least 1 layer size"),
    ({"conv_filters": (-1,)}, r"conv_filters=\(-1,\) must hold"),
    ({"dropout": 1.0}, "The 'dropout' parameter of RNNRegressor must be a float in the range"),
    ({"solver": "lbfgs"}, "The 'solver' parameter of RNNRegressor must be a str among"),
    ({"device": "gpu"}, "The 'device' parameter of RNNRegressor must be a str among {."),
    ({"n_jobs": 0}, "The 'n_jobs' parameter"),
    ({"max_iter": 0}, "The 'max_iter' parameter"),
    ({"batch_size": 0}, "The 'batch_size' parameter"),
    ({"dtype": "float16"}, "The 'dtype' parameter"),
    ({"vocabulary_size": 4}, "vocabulary_size=4 is about an embedding; give embedding_dim"),
    ({"mask_zero": True}, "mask_zero=True is about token ids"),
    ({"pooling": "max", "return_sequences": True}, "leave one of them at its default"),
    ({"loss": "quantile", "quantiles": (0.5, 1.5)}, "must hold numbers between 0 and 1"),
    ({"layers": [L.LSTM(3), L.Dense(1)], "dropout": 0.5, "hidden_layer_sizes": (3,)},
     "but hidden_layer_sizes, dropout are set as well"),
    ({"layers": [L.LSTM(3), L.Dense(2)]}, r"the last layer is Dense\(units=2.*these targets need Dense\(1\)"),
    ({"layers": [L.LSTM(3)]}, "must be a linear Dense"),
    ({"layers": []}, "must be a linear Dense"),
    ({"layers": ["LSTM"]}, "not a layer"),
    ({"validation_fraction": 0.0, "early_stopping": True}, "The 'validation_fraction' parameter of"),
])
def test_bad_parameters_are_named_before_any_work(parameters, message):
    estimator = RNNRegressor(**parameters)
    with pytest.raises(ValueError, match="(?i)" + message):
        estimator.fit(X, Y)
    assert not hasattr(estimator, "n_features_in_")


def test_unknown_cell_and_activation_of_another_cell():
    with pytest.raises(ValueError, match="The 'cell' parameter of SequenceRegressor must be a str among"):
        SequenceRegressor(cell="transformer").fit(X, Y)
    with pytest.raises(ValueError, match="activation='relu' is for cell='rnn' only"):
        LSTMRegressor(activation="relu").fit(X, Y)


def test_layers_from_parameters():
    estimator = SequenceRegressor((8, 4), cell="gru", bidirectional=True, merge="sum", conv_filters=(5, 6), conv_kernel_size=2,
                                  conv_padding="valid", conv_activation="tanh", pool_size=2, pool="average", pooling="max",
                                  dropout=0.5, input_dropout=0.25, dense_layer_sizes=(7,))
    gru = {"return_sequences": True, "input_dropout": 0.25}
    assert layers_from_parameters(estimator, 3) == [
        L.Conv1D(5, 2, "valid", "tanh"), L.AveragePooling1D(2), L.Conv1D(6, 2, "valid", "tanh"), L.AveragePooling1D(2),
        L.Bidirectional(L.GRU(8, **gru), "sum"), L.Dropout(0.5), L.Bidirectional(L.GRU(4, **gru), "sum"), L.Dropout(0.5),
        L.GlobalMaxPooling1D(), L.Dense(7, "relu"), L.Dense(3)]
    estimator = RNNRegressor((8, 4), activation="relu", embedding_dim=3, vocabulary_size=9, mask_zero=True)
    assert layers_from_parameters(estimator, 1) == [
        L.Embedding(9, 3, True), L.RNN(8, True, activation="relu"), L.RNN(4, activation="relu"), L.Dense(1)]
    assert layers_from_parameters(LSTMRegressor(return_sequences=True), 1) == [L.LSTM(64, True), L.Dense(1)]


def test_layers_replace_the_architecture():
    by_parameters = net(LSTMRegressor, dense_layer_sizes=(3,)).fit(X, Y)
    by_layers = SequenceRegressor(layers=[L.LSTM(4), L.Dense(3, "relu"), L.Dense(1)], max_iter=3, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(by_parameters.predict(X), by_layers.predict(X))


def test_flatten_fixes_the_number_of_steps():
    estimator = SequenceRegressor(layers=[L.Flatten(), L.Dense(1)], max_iter=2).fit(X, Y)
    assert estimator.predict(X).shape == Y.shape
    with pytest.raises(ValueError, match="X has 5 steps a sample, but the network was built for 6"):
        estimator.predict(X[:, :5])
    with pytest.raises(ValueError, match="fixed length"):
        clone(estimator).fit(RAGGED, Y)


# ---------------------------------------------------------------------------------------------------------- targets


def test_shapes_of_regression():
    assert net().fit(X, Y).predict(X).shape == (24,)
    assert net().fit(X, np.column_stack([Y, -Y])).predict(X).shape == (24, 2)
    with pytest.warns(UserWarning, match="column-vector"):
        assert net().fit(X, Y[:, None]).predict(X).shape == (24,)


def test_shapes_of_one_output_a_step():
    estimator = net(return_sequences=True).fit(X, X[:, :, 0])
    assert estimator.predict(X).shape == (24, 6) and estimator.predict(X[:, :4]).shape == (24, 4)
    assert net(return_sequences=True).fit(X, X).predict(X).shape == (24, 6, 2)
    found = net(return_sequences=True).fit(RAGGED, [x[:, 0] for x in RAGGED]).predict(RAGGED)
    assert found.dtype == object and [len(p) for p in found] == [len(x) for x in RAGGED]
    labels = net(RNNClassifier, return_sequences=True).fit(X, np.where(X[:, :, 0] > 0, "a", "b"))
    assert labels.predict(X).shape == (24, 6) and labels.predict_proba(X).shape == (24, 6, 2)


@pytest.mark.parametrize(("y", "message"), [
    (Y, "must be \\(24, 6\\)"), (X[:, :5, 0], "must be \\(24, 6\\)"), (X[:5, :, 0], "inconsistent numbers"),
    ([x[:, 0] for x in RAGGED], "one entry a step"),
])
def test_one_output_a_step_wants_one_target_a_step(y, message):
    with pytest.raises(ValueError, match=message):
        net(return_sequences=True).fit(X, y)


def test_steps_of_ragged_sequences_are_those_of_padded_targets():
    y = [x[:, 0] for x in RAGGED]
    padded = np.full((24, 5), np.nan)  # what lies behind a sequence's end is nobody's business
    for i, row in enumerate(y):
        padded[i, :len(row)] = row
    a, b = net(return_sequences=True).fit(RAGGED, y), net(return_sequences=True).fit(RAGGED, padded)
    np.testing.assert_array_equal(a._state.theta, b._state.theta)
    expected = r2_score(np.concatenate(y), np.concatenate(list(a.predict(RAGGED))))
    assert a.score(RAGGED, y) == pytest.approx(expected)


@pytest.mark.parametrize("y", [X[:, :, 0], list(X[:, :, 0]), np.where(X[:, :, 0] > 0, "a", "b")], ids=["array", "list", "text"])
def test_targets_for_steps_that_are_pooled_away_get_a_remedy(y):
    cls = CNNLSTMRegressor if np.asarray(y).dtype.kind == "f" else CNNLSTMClassifier
    with pytest.raises(ValueError, match="makes 3 steps of X's 6; .*pool_size=1 and conv_padding=\"same\""):
        net(cls, return_sequences=True).fit(X, y)
    assert net(cls, return_sequences=True, pool_size=1).fit(X, y).predict(X).shape == (24, 6)
    with pytest.raises(ValueError) as error:
        net(return_sequences=True).fit(X, X[:, :5, 0])
    assert "pool_size" not in str(error.value)  # nothing is pooled there


@pytest.mark.parametrize("cls", [RNNRegressor, RNNClassifier])
def test_targets_of_masked_steps_may_be_missing(cls):
    ids = np.tile([[1, 2, 3, 0], [2, 0, 0, 0]], (6, 1))
    y = (ids % 2).astype(float)
    missing = np.where(ids == 0, np.nan, y)
    settings = {"embedding_dim": 2, "vocabulary_size": 5, "mask_zero": True, "return_sequences": True, "restore_best": False}
    a, b = net(cls, **settings).fit(ids, y), net(cls, **settings).fit(ids, missing, X_val=ids, y_val=missing)
    np.testing.assert_array_equal(a._state.theta, b._state.theta)
    assert a.score(ids, y) == b.score(ids, missing) and np.isnan(missing).sum() == 24  # the user's y is as it was
    missing[0, 0] = np.nan
    with pytest.raises(ValueError, match="Input y contains NaN"):
        net(cls, **settings).fit(ids, missing)


def test_scores_and_losses_skip_masked_steps():
    ids = RNG.integers(1, 5, size=(20, 6))
    ids[::2, 4:] = 0
    y = ids % 2
    wrong = np.where(ids == 0, 7, y)  # a label that is nowhere else
    settings = {"embedding_dim": 2, "vocabulary_size": 5, "mask_zero": True, "return_sequences": True, "max_iter": 60,
                "learning_rate_init": 0.05}
    a, b = net(RNNClassifier, **settings).fit(ids, y), net(RNNClassifier, **settings).fit(ids, wrong)
    assert b.classes_.tolist() == [0, 1]
    np.testing.assert_array_equal(a._state.theta, b._state.theta)
    assert a.score(ids, y) == a.score(ids, wrong) == accuracy_score(y[ids > 0], a.predict(ids)[ids > 0]) > 0.9


def test_classes():
    three = np.where(Y > 1, "up", np.where(Y < -1, "down", "flat"))
    for y, units in ((LABELS, 1), (three, 3), (three == "up", 1), (np.searchsorted(np.unique(three), three) * 10, 3)):
        classifier = net(RNNClassifier, max_iter=60, learning_rate_init=0.03).fit(X, y)
        assert classifier.n_outputs_ == units and classifier.classes_.tolist() == np.unique(y).tolist()
        proba = classifier.predict_proba(X)
        np.testing.assert_allclose(proba.sum(axis=1), 1)
        np.testing.assert_array_equal(classifier.classes_[proba.argmax(axis=1)], classifier.predict(X))
        np.testing.assert_allclose(classifier.predict_log_proba(X), np.log(proba))
        assert classifier.score(X, y) > 0.85


@pytest.mark.parametrize("weight", [None, "second class weighs nothing"])
def test_one_class_is_refused(weight):
    y = np.ones(24) if weight is None else (Y > 0).astype(int)
    with pytest.raises(ValueError, match="a minimum of 2 classes is required by LSTMClassifier"):
        LSTMClassifier().fit(X, y, None if weight is None else y)


# -------------------------------------------------------------------------------------------------------- objectives


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "poisson", "quantile"])
def test_every_loss_learns(loss):
    y = np.exp(0.3 * Y) if loss == "poisson" else Y
    estimator = net(loss=loss, max_iter=150, learning_rate_init=0.02).fit(X, y)
    assert estimator.loss_curve_[-1] < estimator.loss_curve_[0]
    assert r2_score(y, estimator.predict(X)) > 0.5
    if loss == "poisson":
        assert (estimator.predict(X) > 0).all()
        with pytest.raises(ValueError, match="needs y >= 0"):
            estimator.fit(X, -y)


def test_quantiles():
    y = np.column_stack([Y, -Y])
    levels = [0.1, 0.5, 0.9]
    estimator = net(loss="quantile", quantiles=levels, max_iter=150, learning_rate_init=0.02)
    one = estimator.fit(X, Y).predict(X)
    assert one.shape == (24, 3) and (one[:, 0] <= one[:, 2]).mean() > 0.9
    assert estimator.score(X, Y) > 0.3
    two = estimator.fit(X, y).predict(X)
    assert two.shape == (24, 2, 3)
    assert np.corrcoef(two[:, 0, 1], Y)[0, 1] > 0.8 and np.corrcoef(two[:, 1, 1], Y)[0, 1] < -0.8
    assert net(loss="quantile", quantiles=[0.3]).fit(X, Y).predict(X).shape == (24,)


def test_weights_are_repetitions():
    weights = RNG.integers(0, 3, size=24)
    a = net(max_iter=10).fit(X, Y, sample_weight=weights)
    b = net(max_iter=10).fit(X.repeat(weights, axis=0), Y.repeat(weights))
    np.testing.assert_allclose(a.predict(X), b.predict(X), rtol=1e-9)
    a = net(RNNClassifier, max_iter=10, class_weight="balanced").fit(X, LABELS, weights)
    b = net(RNNClassifier, max_iter=10, class_weight="balanced").fit(X.repeat(weights, axis=0), LABELS.repeat(weights))
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), rtol=1e-9)


def test_weights_of_steps():
    weights = np.ones((24, 6))
    weights[:, 4:] = 0
    y = X[:, :, 0]
    a = net(return_sequences=True, max_iter=5).fit(X, y, weights)
    b = net(return_sequences=True, max_iter=5).fit(X[:, :4], y[:, :4])
    np.testing.assert_allclose(a.predict(X), b.predict(X), rtol=1e-9)
    assert a.score(X, y, weights) == pytest.approx(a.score(X[:, :4], y[:, :4]))
    ragged = [np.ones(len(x)) for x in RAGGED]
    a = net(return_sequences=True).fit(RAGGED, [x[:, 0] for x in RAGGED], ragged)
    b = net(return_sequences=True).fit(RAGGED, [x[:, 0] for x in RAGGED])
    np.testing.assert_array_equal(a._state.theta, b._state.theta)


@pytest.mark.parametrize(("weights", "message"), [
    (np.zeros(24), "at least one non-zero"), (-np.ones(24), "Negative values in data passed to `sample_weight`"),
    (np.ones(5), "sample_weight.shape == "), (np.ones((24, 6)), "Sample weights must be 1D array or scalar"),
    (np.full(24, np.nan), "Input sample_weight contains NaN"),
])
def test_bad_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        net().fit(X, Y, weights)


def test_class_weight():
    rare = np.where(np.arange(24) < 4, "rare", "common")
    plain = net(RNNClassifier, max_iter=40).fit(X, rare)
    balanced = clone(plain).set_params(class_weight="balanced").fit(X, rare)
    by_hand = clone(plain).fit(X, rare, np.where(rare == "rare", 24 / 8, 24 / 40))
    by_dict = clone(plain).set_params(class_weight={"rare": 3.0, "common": 0.6}).fit(X, rare)
    np.testing.assert_allclose(balanced.predict_proba(X), by_hand.predict_proba(X), rtol=1e-9)
    np.testing.assert_allclose(balanced.predict_proba(X), by_dict.predict_proba(X), rtol=1e-9)
    assert balanced.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean()


@pytest.mark.parametrize("weight", [np.nan, np.inf, -1.0, "2", None])
def test_class_weights_must_be_weights(weight):
    classifier = RNNClassifier(class_weight={"down": 1.0, "up": weight})
    before = dict(vars(classifier))
    with pytest.raises(ValueError, match=f"class_weight gives the class 'up' the weight {weight!r}; .* finite numbers >= 0"):
        classifier.fit(X, LABELS)
    assert vars(classifier) == before
    net(RNNClassifier, class_weight={"down": np.float32(1), "up": 2}).fit(X, LABELS)


def test_class_weights_do_not_count_in_validation():
    y = np.where(np.arange(60) % 4 == 0, "rare", "common")
    data = RNG.normal(size=(60, 4, 1))
    settings = {"early_stopping": True, "validation_fraction": 0.4, "restore_best": False, "max_iter": 2}
    classifier = net(RNNClassifier, class_weight={"rare": 9.0, "common": 0.1}, **settings).fit(data, y)
    _, rows = train_test_split(np.arange(60), test_size=0.4, stratify=y, random_state=np.random.RandomState(0))
    expected = accuracy_score(y[rows], classifier.predict(data[rows]))
    assert classifier.validation_scores_[-1] == pytest.approx(expected)
    assert classifier.validation_scores_[-1] != pytest.approx(
        accuracy_score(y[rows], classifier.predict(data[rows]), sample_weight=np.where(y[rows] == "rare", 9.0, 0.1)))
    # weight 0 leaves a class out of training alone
    only = net(RNNClassifier, class_weight={"rare": 0.0, "common": 1.0}, **settings).fit(data, y)
    assert only.validation_scores_[-1] == pytest.approx(accuracy_score(y[rows], only.predict(data[rows]))) and (
        0 < only.validation_scores_[-1] < 1)
