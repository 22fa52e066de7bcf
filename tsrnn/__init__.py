"""Recurrent networks (LSTM, GRU, vanilla RNN, CNN-LSTM) behind scikit-learn estimators, with kernels in Numba.

Importing compiles nothing and loads neither Numba nor scikit-learn: every public name is looked up at its first use
(PEP 562).
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_SUBMODULES = frozenset({"datasets", "layers", "metrics", "plotting"})
_NAMES = {
    "SequenceRegressor": "tsrnn.estimators.sequence",
    "SequenceClassifier": "tsrnn.estimators.sequence",
    "LSTMRegressor": "tsrnn.estimators.presets",
    "LSTMClassifier": "tsrnn.estimators.presets",
    "GRURegressor": "tsrnn.estimators.presets",
    "GRUClassifier": "tsrnn.estimators.presets",
    "RNNRegressor": "tsrnn.estimators.presets",
    "RNNClassifier": "tsrnn.estimators.presets",
    "CNNLSTMRegressor": "tsrnn.estimators.presets",
    "CNNLSTMClassifier": "tsrnn.estimators.presets",
    "WindowForecaster": "tsrnn.estimators.forecast",
    "NaiveForecaster": "tsrnn.estimators.naive",
    "SeasonalNaiveForecaster": "tsrnn.estimators.naive",
    "StockForecaster": "tsrnn.estimators.stock",
    "PanelTimeSeriesSplit": "tsrnn.estimators._split",
    "SequenceVectorizer": "tsrnn.estimators.vectorizer",
    "TextClassifier": "tsrnn.estimators.text",
    "fit_many": "tsrnn.estimators.many",
    "make_windows": "tsrnn.data.windows",
    "show_versions": "tsrnn._info",
    "warmup": "tsrnn._warmup",
}

__all__ = [
    "CNNLSTMClassifier",
    "CNNLSTMRegressor",
    "GRUClassifier",
    "GRURegressor",
    "LSTMClassifier",
    "LSTMRegressor",
    "NaiveForecaster",
    "PanelTimeSeriesSplit",
    "RNNClassifier",
    "RNNRegressor",
    "SeasonalNaiveForecaster",
    "SequenceClassifier",
    "SequenceRegressor",
    "SequenceVectorizer",
    "StockForecaster",
    "TextClassifier",
    "WindowForecaster",
    "datasets",
    "fit_many",
    "layers",
    "make_windows",
    "metrics",
    "plotting",
    "show_versions",
    "warmup",
]

if TYPE_CHECKING:
    from tsrnn import datasets, layers, metrics, plotting
    from tsrnn._info import show_versions
    from tsrnn._warmup import warmup
    from tsrnn.data.windows import make_windows
    from tsrnn.estimators._split import PanelTimeSeriesSplit
    from tsrnn.estimators.forecast import WindowForecaster
    from tsrnn.estimators.many import fit_many
    from tsrnn.estimators.naive import NaiveForecaster, SeasonalNaiveForecaster
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
    from tsrnn.estimators.stock import StockForecaster
    from tsrnn.estimators.text import TextClassifier
    from tsrnn.estimators.vectorizer import SequenceVectorizer


def __getattr__(name):
    if name in _SUBMODULES:
        return _import_module(f"tsrnn.{name}")
    if name not in _NAMES:
        raise AttributeError(f"module 'tsrnn' has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(_NAMES[name]), name)
    return value


def __dir__():
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING"})
