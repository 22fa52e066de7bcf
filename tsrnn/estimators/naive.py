"""The forecasts that every other has to beat."""

from __future__ import annotations

from typing import Any

import numpy as np

from tsrnn.data.panel import Panel
from tsrnn.data.sampling import seasonal_rows
from tsrnn.estimators._declare import param
from tsrnn.estimators._forecaster import BaseForecaster
from tsrnn.estimators._params import POSITIVE_INT
from tsrnn.estimators._repeat import Repeat


class _Repeating(BaseForecaster):
    """A season again; covariates are not looked at."""

    def _read(self, y, X, like: Panel | None = None, follows: bool = False) -> Panel:
        return super()._read(y, None, like, follows)

    def _can_forecast(self, panel: Panel, end: int, s: int) -> bool:
        rows = seasonal_rows(np.array([end]), self.horizon, self._reach)[0]
        return bool((rows >= panel.bounds[s]).all()) and bool(np.isfinite(panel.values[rows]).all())

    def _reason(self, panel: Panel, s: int) -> str:
        rows = int(panel.bounds[s + 1] - panel.bounds[s])
        if rows < self._reach:
            return f"{rows} rows, a season has {self._reach}"
        return "its last value is missing" if self._reach == 1 else "missing values in its last season"


class NaiveForecaster(_Repeating):
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


class SeasonalNaiveForecaster(_Repeating):
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
