"""scikit-learn's own checks over all ten estimators, at full defaults, with no expected failure."""

import warnings

import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import check_param_validation, parametrize_with_checks

import tsrnn

NAMES = ["SequenceRegressor", "SequenceClassifier", "LSTMRegressor", "LSTMClassifier", "GRURegressor", "GRUClassifier",
         "RNNRegressor", "RNNClassifier", "CNNLSTMRegressor", "CNNLSTMClassifier"]

# Over 200 epochs rounding errors grow chaotically, so that two ways to say the same weights drift apart; scikit-learn changes
# its own MLP's settings for this check for the same reason.
SETTINGS = {"check_sample_weight_equivalence_on_dense_data": {"max_iter": 20, "random_state": 0}}


@parametrize_with_checks([getattr(tsrnn, name)() for name in NAMES], xfail_strict=True)
def test_scikit_learn_check(estimator, check):
    settings = SETTINGS.get(check.func.__name__)
    if settings:
        estimator = clone(estimator).set_params(**settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_validated_in_scikit_learns_words(name):
    check_param_validation(name, getattr(tsrnn, name)(max_iter=1))
