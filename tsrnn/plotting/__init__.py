"""Pictures of forecasts, backtests and training; need matplotlib (``pip install "tsrnn[plot]"``), imported when one is drawn.

The displays work as scikit-learn's: a class method computes and draws, the object keeps data and artists, `plot` draws again.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

_NAMES = {
    "BacktestDisplay": "backtest", "ForecastDisplay": "forecast", "HistoryDisplay": "history",
    "require_matplotlib": "_axes",
}

__all__ = ["BacktestDisplay", "ForecastDisplay", "HistoryDisplay", "require_matplotlib"]

if TYPE_CHECKING:
    from tsrnn.plotting._axes import require_matplotlib
    from tsrnn.plotting.backtest import BacktestDisplay
    from tsrnn.plotting.forecast import ForecastDisplay
    from tsrnn.plotting.history import HistoryDisplay


def __getattr__(name: str):
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
