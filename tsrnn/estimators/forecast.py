"""`WindowForecaster`: any scikit-learn regressor on sliding windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import has_fit_parameter

from tsrnn.data.panel import Panel
from tsrnn.data.sampling import WindowSettings
from tsrnn.data.scaling import CHANGES, SCALERS, TRANSFORMS, to_space
from tsrnn.estimators._declare import param
from tsrnn.estimators._forecaster import BaseForecaster
from tsrnn.estimators._params import POSITIVE_INT
from tsrnn.estimators._several import LocalModel, Model, check_device, check_seeds, n_jobs_of, network_of, single_model
from tsrnn.estimators.presets import LSTMRegressor


class WindowForecaster(BaseForecaster):
    """Forecasts series from sliding windows, with any scikit-learn regressor.

    In time order the rows of each series are the training part, a part that decides when a sequence estimator stops (it gets
    it as `X_val`), and a part that gives `skill_` and the errors behind the intervals.  No target belongs to two of them.
    With ``refit=True`` the regressor then learns from all rows, for as many epochs as were best.

    Windows are put together when they are needed: with tsrnn's estimators no array of all windows is ever made.  Other
    regressors get one, X (n, window * columns).

    {parameters}

    Attributes
    ----------
    regressor_ : regressor, or dict of series name to regressor
        Fitted; with `n_ensembles` a list in the place of each regressor.
    skill_ : float
        1 - mean absolute error / that of repeating the last value, on the rows held out, each series in units of the latter.
        Below 0 repeating the last value does better, and a warning says so; NaN where nothing was held out, or nothing moved
        there.
    seasonal_skill_ : float
        The same against repeating the last season.
    skipped_ : dict
        Series that cannot be forecast, and why; their forecasts are NaN.
    history_ : Panel
        The series, with the rows that `update` brought.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from tsrnn import WindowForecaster
    >>> forecaster = WindowForecaster(Ridge(), window=24, horizon=3).fit(np.sin(np.arange(300) / 4))
    >>> forecaster.predict().shape
    (3,)
    """

    _positional = ("regressor",)

    regressor: Any = param(
        None, [HasMethods(["fit"]), None], "The regressor; None is an `LSTMRegressor` that stops early.")
    window: int = param(60, [POSITIVE_INT], "Rows that a forecast sees.")
    horizon: int = param(1, [POSITIVE_INT], "Rows to forecast.")
    patch: int = param(
        1, [POSITIVE_INT], "Rows in one step of a sequence: with 24 a window of 336 hours is 14 steps.  It divides `window`.")
    strategy: str = param(
        "direct", [StrOptions({"direct", "recursive"})], '"direct" forecasts all rows at once, "recursive" one at a time, each '
        'from the ones before.')
    transform: str | None = param(
        None, [StrOptions(set(TRANSFORMS)), None], "What the regressor sees and forecasts in place of the levels: "
        'their logarithm ("log"), or the changes from row to row, plain ("diff") or of the logarithm ("log_return").  '
        "Forecasts are levels again.")
    scaler: str | None = param(
        "window", [StrOptions({"window", *SCALERS}), None], '"window" scales each window by its own mean and deviation '
        "(changes by their deviation from 0); the others scale each series, by its training rows alone.  Covariates are "
        "standardised unless it is None.")
    baseline: str | None = param(
        None, [StrOptions({"last", "seasonal"}), None], "The naive forecast that the regressor learns the deviation from: of "
        "the last value, or the last `seasonality`.")
    local: bool = param(False, ["boolean"], "One regressor a series, in place of one for all.")
    n_ensembles: int = param(
        1, [POSITIVE_INT], "Regressors that differ in their `random_state` alone; a forecast is their mean (of logarithms "
        "where `transform` takes them).  The first is the one that there would be alone.")
    calendar_features: Sequence[str] = param(
        (), ["array-like", str], 'Of the dates, as sine and cosine: "minute", "hour", "dayofweek", "day", "week", "month", '
        '"quarter", "dayofyear".')
    past_covariates: Sequence[Any] = param((), ["array-like", str], "Columns of X that are known up to the present; others are "
                                                               "known ahead.")
    static_covariates: Sequence[Any] = param((), ["array-like", str], "Columns of X that never change within a series; text "
                                                                 "becomes one-hot.")
    refit: bool = param(True, ["boolean"], "Ends with a fit on all rows, those that were held out too.")

    _model: Model

    # ------------------------------------------------------------------------------------------ what the base asks for

    def _check_parameters(self, panel: Panel) -> None:
        self._validate_params()
        check_device(self._regressor)
        for wrong, message in (
            (self.window % self.patch, f"patch={self.patch} must divide window={self.window}; a step is {self.patch} rows."),
            (self.window == 1 and self.scaler == "window",
             "window=1 has no mean and deviation of its own; take a larger window, or another scaler."),
            (self.baseline == "last" and self._transform in CHANGES, f"baseline='last' and transform={self.transform!r} both "
             "measure from the last value; leave one of them at None."),
            (self.baseline == "seasonal" and not 1 < self.seasonality <= self.window,
             f"baseline='seasonal' needs a seasonality from 2 to window={self.window}, it is {self.seasonality}."),
            (self.strategy == "recursive" and self.horizon > 1 and panel.past.shape[1],
             f"strategy='recursive' needs covariates known ahead, but {list(panel.form.past)} are known up to the present "
             "only; use strategy='direct'."),
        ):
            if wrong:
                raise ValueError(message)
        _check_middle(self._regressor)
        if self.n_ensembles > 1:
            check_seeds(self._regressor, self.n_ensembles)
        to_space(panel.values, self._transform)
        longest = int(np.diff(panel.bounds).max(initial=0))
        if self.window >= longest:
            raise ValueError(f"window={self.window} must be smaller than the series ({longest} rows); pass more rows or a "
                             "smaller window.")

    def _train(self, panel: Panel, parts: np.ndarray) -> Model:
        return self._model_of(panel, parts, None)

    def _train_again(self, panel: Panel, model: Model) -> Model:
        if not self.refit or not self.validation_fraction:
            return model
        again = self._model_of(panel, np.stack([panel.bounds[:-1], panel.bounds[1:]]), model.epochs)
        if isinstance(model, LocalModel) and isinstance(again, LocalModel):
            for name in model.skipped:  # nothing is known of how well it would do
                again.models.pop(name, None)
            again.skipped = model.skipped
        return again

    def _model_of(self, panel: Panel, parts: np.ndarray, epochs: Any) -> Model:
        kind = LocalModel if self.local else single_model
        extra = {"verbose": bool(self.verbose)} if self.local else {}
        return kind(self._regressor, self._settings, panel, parts, epochs, self.n_ensembles, **extra)

    @property
    def _settings(self) -> WindowSettings:
        horizon = 1 if self.strategy == "recursive" else self.horizon
        return WindowSettings(self.window, horizon, self.patch, self.transform, self.scaler, self.baseline, self.seasonality)

    @property
    def _regressor(self) -> Any:
        return LSTMRegressor(early_stopping=True, max_iter=100, batch_size=64) if self.regressor is None else self.regressor

    @property
    def regressor_(self) -> Any:
        """The fitted regressor; with ``local=True`` a dict of them."""
        if "_model" not in vars(self):
            raise AttributeError(f"This {type(self).__name__} is not fitted yet: it has no regressor_.")
        return self._model.regressor

    @property
    def _held_out(self) -> int:  # type: ignore[override]
        """A part to stop by is set aside for regressors that know what to do with it."""
        return 1 + has_fit_parameter(self._regressor, "X_val")

    @property
    def _n_jobs(self) -> int | None:  # type: ignore[override]
        return n_jobs_of(self._regressor)

    @property
    def _name(self) -> str:
        return type(self._regressor).__name__

    @property
    def _transform(self) -> str | None:  # type: ignore[override]
        return self.transform

    @property
    def _past(self) -> tuple:  # type: ignore[override]
        return _names(self.past_covariates)

    @property
    def _static(self) -> tuple:  # type: ignore[override]
        return _names(self.static_covariates)

    @property
    def _calendar(self) -> tuple | Callable:  # type: ignore[override]
        return _names(self.calendar_features)

    @property
    def _reach(self) -> int:
        return self._settings.reach

    @property
    def _known_horizon(self) -> int:
        return self._settings.horizon

    def _can_forecast(self, panel: Panel, end: int, s: int) -> bool:
        rows = slice(max(end + 1 - self._reach, int(panel.bounds[s])), end + 1)
        read = (panel.values[rows], panel.past[rows], panel.known[rows], panel.static[s])
        return end + 1 - panel.bounds[s] >= self._reach and all(np.isfinite(part).all() for part in read)

    def _reason(self, panel: Panel, s: int) -> str:
        rows = int(panel.bounds[s + 1] - panel.bounds[s])
        if rows < self._reach:
            return f"{rows} rows, a window needs {self._reach}"
        if not np.isfinite(panel.static[s]).all():
            return "a static covariate is missing"
        return f"missing values in its last {self._reach} rows"


def _names(names: Any) -> tuple:
    """A single name is meant as such."""
    return (names,) if isinstance(names, str) else tuple(names)


def _check_middle(regressor: Any) -> None:
    """A forecast stands in the middle of its quantiles."""
    inner = network_of(regressor)
    if inner is not None and getattr(inner, "loss", None) == "quantile":
        if inner is not regressor:
            raise ValueError("a network of several quantiles must be the regressor itself, not the last step of a pipeline; "
                             "scaler and covariates are WindowForecaster's own.")
        quantiles = sorted(np.atleast_1d(inner.quantiles))
        if not quantiles[0] <= 0.5 <= quantiles[-1]:
            raise ValueError(f"quantiles={list(map(float, quantiles))} of the regressor must lie on both sides of 0.5, or hold "
                             "it: that one is the forecast.")


