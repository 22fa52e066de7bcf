"""The M4 competition's hourly series: one global model, its accuracy beside the competition's, and what its intervals cover.

Settings were chosen on the last 48 training hours, by OWA against the official Naive2's errors (seasonal naive: 0.653).
Five epochs over every fourth window: logarithms 0.522 against 0.561 without, squared error 0.534, Huber 0.529, a rate of
5e-3 in place of 2e-3 0.478; without logarithms a window of one week 0.576, three weeks 0.578.  Ten epochs: measured from
the seasonal naive forecast 0.496, from the weekly one 0.512, from none 0.504.  Twenty: 0.447; with dropout 0.457, a dense
layer 0.456.  All windows: five epochs 0.447, ten at 1e-2 0.434, five with 256 units 0.436 in twice the time.
"""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Iterable

import _coverage
import _m4
import numpy as np
import pandas as pd
from _results import Result

from tsrnn import GRURegressor, WindowForecaster

MODEL = GRURegressor.__name__
OFFICIAL = {"sNaive": (_m4.seasonal_naive, 13.912, 1.193), "Naive2": (_m4.naive2, 18.383, 2.395)}
ORIGINS = 8  # a week of days, and the competition's own origin: a single one says little, for all series share its weekday


def forecaster(seed: int) -> WindowForecaster:
    """The preset."""
    regressor = GRURegressor((128,), loss="absolute_error", batch_size=256, max_iter=10, learning_rate="cosine",
                             learning_rate_init=1e-2, n_iter_no_change=np.inf, restore_best=False, random_state=seed)
    return WindowForecaster(regressor, window=336, horizon=_m4.HORIZON, patch=24, transform="log", baseline="seasonal",
                            seasonality=_m4.SEASONALITY)


def hourly(seeds: Iterable[int]) -> list[Result]:
    """The competition's scores of the 414 series, 48 hours from the end of the training part; first the benchmarks'."""
    fits = [_fitted(seed) for seed in seeds]
    points = [_points(frame) for frame, _ in fits]
    scores = [_m4.scores(forecasts) for forecasts in points]
    together = _m4.scores({name: np.mean([forecasts[name] for forecasts in points], axis=0) for name in points[0]})
    return [*(_official(name) for name in OFFICIAL), *(
        Result("M4 Hourly, one GRU for 414 series", name, [s[name] for s in scores], {"bar": 0.55} if name == "OWA" else {},
               [seconds for _, seconds in fits], f"the mean of these forecasts: {together[name]:.4g}") for name in together)]


def _official(name: str) -> Result:
    """How far a benchmark's sMAPE and MASE are from the official table, which has three digits behind the point."""
    forecast, smape, mase = OFFICIAL[name]
    ours = _m4.scores({series: forecast(z) for series, z in _m4.hourly()[0].items()})
    off = max(abs(ours["sMAPE"] - smape), abs(ours["MASE"] - mase))
    note = "sMAPE {sMAPE:.4f}, MASE {MASE:.4f}, OWA {OWA:.4f}".format(**ours)
    return Result(f"M4 Hourly, {name}", "off table", [off], {"rounding": 6e-4}, note=f"{note}; official {smape}, {mase}")


def coverage(seeds: Iterable[int]) -> list[Result]:
    """At the competition's origin, and over a week of origins; for each of them the truths before it have rolled in."""
    own, week, seconds = [], [], []
    for seed in seeds:
        own.append(_with_truth(_fitted(seed)[0]))
        frame, took = _coverage.timed_backtest(forecaster(seed), _long(*_m4.hourly()), n_splits=ORIGINS, step=24)
        week.append(_in_naive_errors(frame))
        seconds.append(took)
    unit = "seasonal naive errors"
    return [*_coverage.results(f"M4 Hourly, {ORIGINS} origins", week, {"mean": 3, "fifth": 6}, seconds, unit),
            *_coverage.results("M4 Hourly, the competition's origin", own, {}, unit=unit)]


@functools.cache
def _fitted(seed: int) -> tuple[pd.DataFrame, float]:
    """Forecasts and intervals from the end of the training part (long), and seconds of the fit."""
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the number of epochs is meant
        model = forecaster(seed).fit(_long(_m4.hourly()[0]))
    seconds = time.perf_counter() - started
    return model.predict(level=_coverage.LEVELS), seconds


def _long(*parts: dict[str, np.ndarray]) -> pd.DataFrame:
    """The series, whose rows are numbered from 0; later parts follow earlier ones."""
    series = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return pd.concat([pd.DataFrame({"unique_id": name, "ds": np.arange(len(z)), "y": z}) for name, z in series.items()],
                     ignore_index=True)


def _points(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Point forecasts (48,) by series."""
    return {name: part.to_numpy() for name, part in frame.groupby("unique_id")[MODEL]}


def _with_truth(frame: pd.DataFrame) -> pd.DataFrame:
    """Forecasts of the test part as a backtest's frame, in units of `_in_naive_errors`."""
    test = _m4.hourly()[1]
    parts = [part.assign(y=test[name], cutoff=part["ds"].min() - 1) for name, part in frame.groupby("unique_id")]
    return _in_naive_errors(pd.concat(parts, ignore_index=True))


def _in_naive_errors(frame: pd.DataFrame) -> pd.DataFrame:
    """In units of each series' seasonal naive error within the training part: so the widths of all are comparable."""
    m = _m4.SEASONALITY
    scale = frame["unique_id"].map({name: np.abs(z[m:] - z[:-m]).mean() for name, z in _m4.hourly()[0].items()})
    columns = frame.columns.difference(["unique_id", "ds", "cutoff"])
    return frame.assign(**{column: frame[column] / scale for column in columns})
