"""What all forecasters share: the time order of a fit, intervals, new rows, backtests, scores, sample paths."""

from __future__ import annotations

import copy
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from tsrnn.data.mirror import read_future, to_output
from tsrnn.data.panel import Panel, extend, read_panel, tail, unshared
from tsrnn.data.scaling import from_space, to_space
from tsrnn.data.splitting import time_parts
from tsrnn.estimators._backtest import mean_scaled_error, run_backtest
from tsrnn.estimators._calibration import (
    Calibration,
    Corrections,
    Longer,
    calibrate,
    enough,
    movement_scale,
    past_forecasts,
    quantile_of,
    scale_of,
    skill,
    whole_errors,
)
from tsrnn.estimators._declare import Parameterised, param
from tsrnn.estimators._levels import Wanted, read_levels
from tsrnn.estimators._params import POSITIVE_INT
from tsrnn.estimators._repeat import Repeat
from tsrnn.estimators._telling import check_ends, check_unchanged, tell_holes, tell_skill, tell_skipped


class BaseForecaster(Parameterised):
    """Forecasts of one or many series; a subclass says how they are made.

    It has ``_train(panel, parts) -> model`` and ``_train_again(panel, model)``, `model` having ``outputs(panel, origins,
    horizon) -> (n, H, C, Q)`` in levels and ``quantiles``.
    """

    horizon: int = param(1, [POSITIVE_INT], "Rows to forecast.")
    seasonality: int = param(
        1, [POSITIVE_INT], "Rows of a season, 24 for hours of a day; 1 is none.  `seasonal_skill_`, `score` and the scale of a "
        "panel's errors go by it.")
    multivariate: bool = param(
        False, ["boolean"], "Joins the columns of a wide frame as channels of one series; else they are series of one model.")
    validation_fraction: float = param(
        0.1, [Interval(Real, 0, 0.5, closed="left")],
        "Share of the rows in each part that is held out at the end, at least `horizon` rows.  With 0 there are no intervals "
        "and no `skill_`.")
    verbose: bool | int = param(False, ["verbose"], "Shows progress.")

    history_: Panel
    _model: Any
    _calibration: Calibration | None
    _held_out = 1          # parts behind the training part; the last one calibrates and scores
    _transform: str | None = None
    _past: tuple = ()
    _static: tuple = ()
    _calendar: tuple = ()
    _n_jobs: int | None = 1  # threads of independent fits

    # ---------------------------------------------------------------------------------------------------------- fit

    def fit(self, y, X=None):
        """Learns from series.

        Parameters
        ----------
        y : array-like of shape (rows,) or (rows, S), Series, wide frame or long frame
            In time order.  A wide frame has a column a series and dates or numbers as index; a long frame the columns
            unique_id, ds and y.  Missing values (NaN) stay missing: windows that would hold one are left out.  Rows are
            counted, not hours: times that are missing in a regular index are no rows, and a warning says so.
        X : array-like of shape (rows, k), frame or long frame, default=None
            Covariates of the same rows; for a long `y` with the columns unique_id and ds.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError
            For dates that are unsorted or occur twice, for series without values, for rows that are too few; nothing is
            changed then.  Of several series those that cannot be used are left out with a warning (`skipped_`).
        """
        self._validate_params()
        return self._fit_panel(unshared(self._read(y, X), y, X))._report()

    def _read(self, y, X, like: Panel | None = None, follows: bool = False) -> Panel:
        """y and X as a panel; `like` that of the fit, `follows`: these are the rows behind it."""
        return read_panel(y, X, multivariate=self.multivariate, past_covariates=self._past, static_covariates=self._static,
                          calendar_features=self._calendar, like=like)

    def _fit_panel(self, panel: Panel, ends: bool = True):
        """`ends`: whether something must be there to forecast from at the end."""
        self._check_parameters(panel)
        if ends:
            check_ends(self._unable(panel), panel.n_series)
        parts = time_parts(panel, self.horizon, self.validation_fraction, self._held_out)
        model = self._train(panel, parts)
        fitted: dict[str, Any] = {"_calibration": None, "skill_": np.nan, "seasonal_skill_": np.nan}
        if self.validation_fraction:
            scale = movement_scale(panel, parts[-2], self._transform, self.seasonality)
            fitted["_calibration"] = calibrate(panel, model, parts[-2], scale, self.horizon, self._transform,
                                               self._longer(panel))
            for name, season in (("skill_", 1), ("seasonal_skill_", self.seasonality)):
                fitted[name] = skill(panel, fitted["_calibration"], self._naive(season), self._transform)
        fitted["_model"] = self._train_again(panel, model)
        if fitted["_model"] is not model and fitted["_calibration"] is not None:
            fitted["_calibration"] = fitted["_calibration"].after_learning()
        fitted["history_"], fitted["skipped_"] = panel, self._unable(panel, fitted["_model"])
        if ends:
            check_ends(fitted["skipped_"], panel.n_series)
        fitted["_fitted_with"] = self._meaning()
        self.__dict__.update(fitted)
        return self

    def _meaning(self) -> dict[str, Any]:
        """The parameters that say what the fitted weights mean."""
        kept = ("regressor", "n_ensembles", "refit", "verbose", "validation_fraction")
        return {name: value for name, value in self.get_params(deep=False).items() if name not in kept}

    def _check_fitted(self) -> None:
        check_is_fitted(self)
        check_unchanged(self._fitted_with, self._meaning())

    def _check_parameters(self, panel: Panel) -> None:
        self._validate_params()

    def _train(self, panel: Panel, parts: np.ndarray) -> Any:
        raise NotImplementedError

    def _train_again(self, panel: Panel, model: Any) -> Any:
        """The model for forecasts, once the held-out parts have told what they can."""
        return model

    def _longer(self, panel: Panel) -> Longer | None:
        """The calendar of the rows to come, where nothing else is known ahead."""
        if not panel.known.shape[1] or panel.form.known:
            return None
        rows = int(np.diff(panel.bounds).max())
        longer, origins = tail(panel, rows, self.horizon, read_future(panel, None, self.horizon, self._calendar))
        return Longer(longer, origins + 1 - panel.bounds[1:])

    def _naive(self, season: int) -> Any:
        """What this one is held against, as a model."""
        return Repeat(season)

    def _unable(self, panel: Panel, model: Any = None) -> dict[Any, str]:
        """Series that cannot be forecast at their end, and why."""
        known = getattr(model, "skipped", {})
        ends = panel.bounds[1:] - 1
        return {name: known.get(name) or self._reason(panel, s) for s, name in enumerate(panel.ids)
                if name in known or not self._can_forecast(panel, int(ends[s]), s)}

    def _can_forecast(self, panel: Panel, end: int, s: int) -> bool:
        return end >= panel.bounds[s] and bool(np.isfinite(panel.values[end]).all())

    def _reason(self, panel: Panel, s: int) -> str:
        return "its last value is missing"

    def _report(self):
        """What a user should hear about the fit."""
        tell_skipped(self.skipped_, self.history_.n_series)
        self._tell_holes(self.history_)
        tell_skill(self.skill_, self._name)
        return self

    _tell_holes = staticmethod(tell_holes)

    @property
    def _name(self) -> str:
        """The column of the forecasts."""
        return type(self).__name__

    # ------------------------------------------------------------------------------------------------------ predict

    def predict(self, horizon=None, X=None, level=None, *, quantiles=None, y=None):
        """Forecasts the rows behind the end of each series.

        Parameters
        ----------
        horizon : int, default=None
            Rows; None is the fitted `horizon`.  A longer one is reached by forecasting from forecasts, and has no intervals.
        X : array-like, frame or long frame, default=None
            Covariates of these rows, where the fit had some that are known ahead.  With `y` those of its rows come first.
        level : float or sequence of float, default=None
            Intervals, in percent: ``level=[80, 95]``.
        quantiles : sequence of float, default=None
            Quantiles between 0 and 1; ``level=80`` are those of 0.1 and 0.9.
        y : as in `fit`, default=None
            Other histories to forecast from, those of series never seen too; default: the fitted series and what `update`
            brought.  Series are known by their names; an array, or a Series without a name, is taken for the fitted one.

        Returns
        -------
        forecast : of the kind of the fitted y
            ndarray (horizon,) or (horizon, S), Series, wide frame or long frame.  With `level` or `quantiles` arrays and Series
            become frames; the columns ``<model>-lo-80`` and ``<model>-hi-80`` (``<model>-q-0.1``) stand beside ``<model>``.
            NaN for series in `skipped_`.
        """
        self._check_fitted()
        horizon, wanted = self._check_horizon(horizon), read_levels(level, quantiles)
        panel, X = self._histories(y, X)
        if y is not None:
            unable = self._unable(panel, self._model)
            check_ends(unable, panel.n_series)
            tell_skipped(unable, panel.n_series)
        short, origins = self._ahead(panel, X, horizon)
        outputs = self._model.outputs(short, origins, horizon)
        corrections = self._calibrated(horizon).corrections([w.q for w in wanted]) if wanted else None
        columns, counts = self._columns(outputs, wanted, corrections, self._scale_of(panel))
        enough(counts, wanted)
        return to_output(panel, columns, horizon)

    def _histories(self, y, X) -> tuple[Panel, Any]:
        """What to forecast from, and the covariates that are left for the future."""
        if y is None:
            return self.history_, X
        if X is None or hasattr(X, "index"):  # rows are found by their times
            return self._read(y, X, like=self.history_), X
        n = len(y)
        return self._read(y, X[:n], like=self.history_), X[n:]

    def _ahead(self, panel: Panel, X, horizon: int) -> tuple[Panel, np.ndarray]:
        """The last rows of each series and those to come."""
        rows = max(self._reach, self.seasonality)
        known = read_future(panel, X, max(horizon, self._known_horizon), self._calendar)
        return tail(panel, rows, max(horizon, self._known_horizon), known)

    @property
    def _reach(self) -> int:
        return 1

    @property
    def _known_horizon(self) -> int:
        """Rows ahead whose covariates are read, whatever the horizon."""
        return 1

    def _check_horizon(self, horizon) -> int:
        horizon = self.horizon if horizon is None else self._whole("horizon", horizon)
        if horizon > self._known_horizon and self.history_.past.shape[1]:
            raise ValueError(f"horizon={horizon} goes beyond the fitted {self._known_horizon}, but the covariates "
                             f"{list(self.history_.form.past)} are known up to the present only; fit with horizon={horizon}.")
        return horizon

    @staticmethod
    def _whole(name: str, value: Any, least: int = 1) -> int:
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name}={value!r} must be a whole number of at least {least}.")
        return int(value)

    def _calibrated(self, horizon: int) -> Calibration:
        if self._calibration is None:
            raise ValueError("level and quantiles need errors of held-out rows, but validation_fraction=0; fit with a larger "
                             "one.")
        if horizon > self._calibration.horizon:
            raise ValueError(f"horizon={horizon} has no intervals beyond the fitted horizon={self._calibration.horizon}; fit "
                             "with a longer one, or leave out level and quantiles.")
        return self._calibration

    def _scale_of(self, panel: Panel) -> np.ndarray:
        """Size of the movements (S, C) of the series of `panel`: the fitted one, or for new series that of their history."""
        return scale_of(panel, self.history_, self._calibration, self._transform, self.seasonality)

    def _columns(self, outputs: np.ndarray, wanted: list[Wanted], corrections: Corrections | None, scale: np.ndarray,
                 ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Columns (S, H, C) by name from outputs (S, H, C, Q) in levels, all of one moment; and the errors (H,) behind them."""
        columns = {self._name: quantile_of(outputs, self._model.quantiles, None)}
        if corrections is None:
            return columns, np.zeros(outputs.shape[1], np.int64)
        space = to_space(outputs, self._transform)
        bands, counts = corrections.bands(space, self._model.quantiles, wanted, scale)
        bands = from_space(bands, self._transform)
        return columns | {f"{self._name}-{w.label}": bands[..., i] for i, w in enumerate(wanted)}, counts

    # ------------------------------------------------------------------------------------------------ after the fit

    def update(self, y_new, X=None, epochs: int = 0):
        """Appends new rows; forecasts go on from them, and their truths enter the calibration of the intervals.

        Parameters
        ----------
        y_new, X : as in `fit`
            Rows behind the end of the fitted series.
        epochs : int, default=0
            Passes over all windows, new ones included, that the regressor goes on learning for; 0 leaves it as it is.

        Returns
        -------
        self : object
        """
        self._check_fitted()
        epochs = self._whole("epochs", epochs, least=0)
        panel = self._continued_by(y_new, X)
        calibration = None if self._calibration is None else self._rolled(panel, self._calibration)
        model = copy.deepcopy(self._model) if epochs else self._model  # where one of several networks fails, none has learnt
        if epochs:
            model.learn(panel, epochs)
            calibration = None if calibration is None else calibration.after_learning()
        self.history_, self._calibration, self._model, self.skipped_ = panel, calibration, model, self._unable(panel, model)
        tell_skipped(self.skipped_, panel.n_series)
        self._tell_holes(panel)
        return self

    def _continued_by(self, y_new, X) -> Panel:
        """The history with new rows."""
        new = self._read(y_new, X, like=self.history_, follows=True)
        to_space(new.values, self._transform)  # values that have no logarithm are told now
        return extend(self.history_, new)

    def _rolled(self, panel: Panel, calibration: Calibration, keep: int | None = None) -> Calibration:
        """The calibration set after all rows of `panel`, the fitted history and more."""
        new = np.diff(panel.bounds) - np.diff(self.history_.bounds)
        first = panel.bounds[1:] - new - self.horizon
        n = int(new.max()) + self.horizon
        past = past_forecasts(panel, self._model, np.maximum(first, panel.bounds[:-1]), n, self.horizon, self._transform,
                              self._longer(panel))
        return calibration.roll(*past, new, keep)

    def simulate(self, n_paths: int, horizon=None, X=None, *, random_state=None):
        """Draws paths that the series may take: the forecast, and a past one's errors over the whole horizon.

        Parameters
        ----------
        n_paths : int
        horizon : int, default=None
            At most the fitted one.
        X : default=None
            As in `predict`.
        random_state : int, RandomState or None

        Returns
        -------
        paths : ndarray of shape (n_paths, horizon) for one series
            Else (n_paths, horizon, S), or (n_paths, horizon, C) with joined channels; in the order of ``history_.ids``.
        """
        self._check_fitted()
        n_paths, horizon = self._whole("n_paths", n_paths), self._check_horizon(horizon)
        calibration = self._calibrated(horizon)
        errors = whole_errors(calibration, horizon)
        short, origins = self._ahead(self.history_, X, horizon)
        outputs = self._model.outputs(short, origins, horizon)
        point = to_space(quantile_of(outputs, self._model.quantiles, None), self._transform)
        draws = check_random_state(random_state).randint(len(errors), size=(n_paths, len(point)))
        moved = point + errors[draws] * self._scale_of(self.history_)[:, None]  # (n_paths, S, horizon, C)
        paths = from_space(moved, self._transform)
        paths = np.moveaxis(paths, 1, 2).reshape(n_paths, horizon, -1)
        return paths[..., 0] if paths.shape[2] == 1 else paths

    def score(self, y, X=None) -> float:
        """Minus the mean absolute scaled error of the rolling forecasts of `y`, rows that follow the fitted ones.

        Parameters
        ----------
        y, X : as in `fit`
            The last fitted row, and each row of y, forecasts the `horizon` rows behind it as far as they are in y.  With
            covariates known ahead the last rows of y forecast nothing: what comes after them is not in X.

        Returns
        -------
        score : float
            The mean over series of the error divided by the (seasonal) naive forecast's within the fitted rows; 0 is perfect.
        """
        self._check_fitted()
        panel = self._continued_by(y, X)
        self._tell_holes(panel)
        return -mean_scaled_error(self.history_, panel, self._model, self.horizon, self.seasonality, self._longer(panel))

    def backtest(self, y, X=None, *, n_splits: int = 5, step: int | None = None, refit: bool | int = False, level=None,
                 quantiles=None):
        """Forecasts from several cutoffs in the past, each from what was known then.

        Parameters
        ----------
        y, X : as in `fit`
        n_splits : int, default=5
            Cutoffs; the last one has `horizon` rows behind it.
        step : int, default=None
            Rows between cutoffs; None is `horizon`, so that every row is forecast once.
        refit : bool or int, default=False
            Whether scalers and regressor are fitted anew for each cutoff (for every so many); else once, before the first
            one.  In between the new truths roll through the calibration of the intervals.
        level, quantiles
            As in `predict`.

        Returns
        -------
        frame : DataFrame
            Long: unique_id, ds, cutoff (the last date that was known), y (what came), <model>, <model>-lo-80, ...,
            naive (the last value again) and with a `seasonality` seasonal_naive: ready for `tsrnn.metrics.evaluate`.  Copies
            are fitted; the forecaster itself does not change.
        """
        return run_backtest(self, y, X, n_splits, step, refit, read_levels(level, quantiles))
