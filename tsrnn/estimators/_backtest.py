"""Forecasts from cutoffs in the past; see `BaseForecaster.backtest`."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import clone

from tsrnn._warn import unwanted
from tsrnn.data.mirror import to_long
from tsrnn.data.panel import Panel
from tsrnn.data.splitting import cutoffs, until
from tsrnn.estimators._calibration import Longer, enough, filled, movement_scale, past_forecasts, quantile_of
from tsrnn.estimators._jobs import run_jobs
from tsrnn.estimators._levels import Wanted
from tsrnn.progress import counter

Columns = dict[str, np.ndarray]


def run_backtest(forecaster: Any, y: Any, X: Any, n_splits: Any, step: Any, refit: bool | int, wanted: list[Wanted]):
    """As `BaseForecaster.backtest` says; `forecaster` does not change."""
    forecaster._validate_params()
    horizon = forecaster.horizon
    step = horizon if step is None else forecaster._whole("step", step)
    n_splits = forecaster._whole("n_splits", n_splits)
    if not isinstance(refit, (bool, np.bool_, Integral)) or refit < 0:
        raise ValueError(f"refit={refit!r} must be True, False, or a number of cutoffs.")
    refit = int(refit)
    panel = forecaster._read(y, X)
    cuts, times = cutoffs(panel, n_splits, step, horizon)
    runs = [cuts[first:first + (refit or n_splits)] for first in range(0, n_splits, refit or n_splits)]
    with unwanted(UserWarning), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a copy's skill is not what was asked for
        found, counts = zip(*run_jobs(lambda run: _run(forecaster, panel, run, wanted), runs, forecaster._n_jobs,
                                      counter(len(runs), "cutoffs", forecaster.verbose and len(runs) > 1)))
    enough(np.min(counts, axis=0), wanted)
    real = cuts >= panel.bounds[:-1]  # the others had not begun
    columns = {name: np.concatenate([part[name] for part in found])[real] for name in found[0]}
    for name, season in {"naive": 1, "seasonal_naive": forecaster.seasonality}.items():
        if name == "seasonal_naive" and season == 1:
            continue
        columns[name] = forecaster._naive(season).outputs(panel, cuts[real], horizon)[..., 0]
    when = None if times is None else times.take(np.nonzero(real)[0])
    return to_long(panel, columns, cuts[real], cutoffs=when)


def _run(forecaster: Any, panel: Panel, cuts: np.ndarray, wanted: list[Wanted]) -> tuple[Columns, np.ndarray]:
    """Columns (n, S, H, C) for cutoffs (n, S), and the fewest errors (H,) behind one: one fit before the first, no more."""
    fitted = clone(forecaster)._fit_panel(until(panel, cuts[0]), ends=False)
    real = cuts >= panel.bounds[:-1]
    found = fitted._model.outputs(panel, cuts[real], forecaster.horizon)
    outputs = np.full((*cuts.shape, *found.shape[1:]), np.nan)
    outputs[real] = found
    corrections = None
    if wanted:
        start = fitted._calibrated(forecaster.horizon)
        keep = start.truth.shape[1] + int((cuts[-1] - cuts[0]).max())
        rolled = fitted._rolled(until(panel, cuts[-1]), start, keep)
        corrections = rolled.corrections([w.q for w in wanted])
    parts, counts = [], []
    for at, forecast in zip(cuts, outputs):
        known = None if corrections is None else corrections.at(cuts[-1] - at)
        columns, count = fitted._columns(forecast, wanted, known, fitted._scale_of(panel))
        parts.append(columns)
        counts.append(count)
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]}, np.min(counts, axis=0)


def mean_scaled_error(fitted: Panel, panel: Panel, model: Any, horizon: int, seasonality: int, longer: Longer | None) -> float:
    """The mean over series of the error of rolling forecasts, in units of the naive forecast's within the fitted rows.

    Parameters
    ----------
    fitted, panel : Panel
        The series without and with the rows that are scored.
    model, longer
        As in `past_forecasts`.
    """
    new = np.diff(panel.bounds) - np.diff(fitted.bounds)
    first, n = np.maximum(panel.bounds[1:] - new - 1, panel.bounds[:-1]), int(new.max()) + 1
    truth, outputs = past_forecasts(panel, model, first, n, horizon, None, longer)
    errors = np.abs(truth - quantile_of(outputs, model.quantiles, None))
    known = np.isfinite(errors)
    if not known.any():
        raise ValueError("no row of y can be forecast; it needs values, the fitted series whole windows at their end, and with "
                         "covariates known ahead y a whole horizon of rows.")
    scale = movement_scale(fitted, fitted.bounds[1:], None, seasonality)
    means = np.where(known, errors, 0).sum(axis=(1, 2)) / np.maximum(known.sum(axis=(1, 2)), 1)
    return float(np.mean((means / filled(scale, scale))[known.any(axis=(1, 2))]))
