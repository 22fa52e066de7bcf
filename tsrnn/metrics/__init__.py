"""Scores of forecasts: points, intervals, the table of a backtest, and a test of which of two forecasts is better.

Every score takes what happened first and what was forecast second, computes in float64 and returns a float.  Percentages
(`mape`, `smape`) run to 100 and 200, shares (`coverage`, `directional_accuracy`) from 0 to 1.
"""

from tsrnn.metrics._evaluate import evaluate
from tsrnn.metrics._intervals import coverage, crps, mean_width, pinball_loss, winkler_score
from tsrnn.metrics._points import directional_accuracy, mae, mape, mase, owa, rmse, rmsse, skill, smape
from tsrnn.metrics._significance import DieboldMariano, diebold_mariano

__all__ = [
    "DieboldMariano",
    "coverage",
    "crps",
    "diebold_mariano",
    "directional_accuracy",
    "evaluate",
    "mae",
    "mape",
    "mase",
    "mean_width",
    "owa",
    "pinball_loss",
    "rmse",
    "rmsse",
    "skill",
    "smape",
    "winkler_score",
]
