"""The forecasts that every other has to beat."""

from __future__ import annotations

from typing import Any

import numpy as np

from tsrnn.data.panel import Panel
from tsrnn.estimators._declare import param
from tsrnn.estimators._forecaster import BaseForecaster
from tsrnn.estimators._params import POSITIVE_INT
from tsrnn.estimators._repeat import Repeat


class NaiveForecaster(BaseForecaster):
    """Repeats the last value.

    On prices, and whatever else moves by chance, nothing is better on average.

    {parameters}

    Attributes
    ----------
    skill_ : float
        0: it is the naive forecast.
    seasonal_skill_ : float
        1 - error / error of the seasonal naive forecast, on the rows held out.
    skipped_ : dict
        Series that cannot be forecast, and why.
    history_ : Panel
        The series.
    """

    _positional = ("horizon",)

    def _train(self, panel: Panel, parts: np.ndarray) -> Any:
        return Repeat(1)


class SeasonalNaiveForecaster(BaseForecaster):
    """Repeats the last season.

    {parameters}

    Attributes
    ----------
    skill_ : float
        1 - error / error of repeating the last value, on the rows held out.
    seasonal_skill_ : float
        0: it is the seasonal naive forecast.
    skipped_ : dict
        Series that cannot be forecast, and why.
    history_ : Panel
        The series.
    """

    _positional = ("seasonality",)
    seasonality: int = param(24, [POSITIVE_INT], "Rows of a season, 24 for hours of a day.")

    def _train(self, panel: Panel, parts: np.ndarray) -> Any:
        return Repeat(self.seasonality)

    @property
    def _reach(self) -> int:
        return self.seasonality
