"""scikit-learn estimators: the only place that knows scikit-learn."""

from tsrnn.estimators.presets import (
    CNNLSTMClassifier,
    CNNLSTMRegressor,
    GRUClassifier,
    GRURegressor,
    LSTMClassifier,
    LSTMRegressor,
    RNNClassifier,
    RNNRegressor,
)
from tsrnn.estimators.sequence import SequenceClassifier, SequenceRegressor

__all__ = ["CNNLSTMClassifier", "CNNLSTMRegressor", "GRUClassifier", "GRURegressor", "LSTMClassifier", "LSTMRegressor",
           "RNNClassifier", "RNNRegressor", "SequenceClassifier", "SequenceRegressor"]
