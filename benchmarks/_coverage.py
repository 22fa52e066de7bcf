"""Whether intervals cover what they promise: on simulated series, on ETTh1 and on the M4 competition's hourly series."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable

import _data
import numpy as np
import pandas as pd
from _results import Result
from sklearn.linear_model import Ridge

from tsrnn import GRURegressor, WindowForecaster, metrics

LEVELS = (80, 95)


def results(task: str, frames: list[pd.DataFrame], bars: dict[str, float], seconds: Iterable[float] = (),
            unit: str = "") -> list[Result]:
    """Two results a level: points off the level averaged over the horizon, and at the worst fifth of the horizon.

    Parameters
    ----------
    task : str
    frames : list of DataFrame
        With intervals, as `WindowForecaster.backtest` gives them; one a seed.
    bars : dict
        "mean" and "fifth": most points off; either may be absent.
    seconds : of each fit
    unit : str
        Of the mean width.
    """
    found = []
    model = next(column.removesuffix("-lo-80") for column in frames[0] if column.endswith("-lo-80"))
    tables = [metrics.evaluate(frame, model, by="horizon") for frame in frames]
    for level in LEVELS:
        by_horizon = np.array([100 * table[f"coverage-{level}"] for table in tables])
        fifths = np.array([[part.mean() for part in np.array_split(row, min(5, len(row)))] for row in by_horizon])
        width = np.mean([table[f"width-{level}"].mean() for table in tables])
        found += [
            Result(f"{task}, {level} %", "points off", list(abs(by_horizon.mean(axis=1) - level)), _bar(bars, "mean"),
                   list(seconds), f"covers {by_horizon.mean():.1f} %, mean width {width:.3g}{unit and ' ' + unit}, "
                                  f"{len(frames[0]):,} forecasts a seed"),
            Result(f"{task}, {level} %, worst fifth", "points off", list(abs(fifths - level).max(axis=1)), _bar(bars, "fifth"),
                   note="fifths cover " + ", ".join(f"{share:.1f}" for share in fifths.mean(axis=0)))]
    return found


def _bar(bars: dict[str, float], name: str) -> dict[str, float]:
    return {"bar": bars[name]} if name in bars else {}


def timed_backtest(forecaster: WindowForecaster, y, **cutoffs) -> tuple[pd.DataFrame, float]:
    """The long frame with intervals, and seconds."""
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the number of epochs is meant
        frame = forecaster.backtest(y, level=LEVELS, **cutoffs)
    return frame, time.perf_counter() - started


# ---------------------------------------------------------------------------------------------------------------- simulated


def simulated(seeds: Iterable[int]) -> list[Result]:
    """Ridge on series whose law is known: AR(1), a forecaster a series; and a panel of seasonal ones of very different size."""
    singles, panels, seconds = [], [], []
    single = WindowForecaster(Ridge(), window=8, horizon=5, scaler=None, validation_fraction=0.2)
    panel = WindowForecaster(Ridge(), window=48, horizon=24, seasonality=24, baseline="seasonal")
    for seed in seeds:
        rng, started = np.random.default_rng(seed), time.perf_counter()
        frames = [timed_backtest(single, series, n_splits=20, step=5)[0] for series in ar1(rng, n_series=240, rows=1_000)]
        singles.append(pd.concat([frame.assign(unique_id=i) for i, frame in enumerate(frames)]))
        panels.append(timed_backtest(panel, seasonal(rng, n_series=100, rows=600), n_splits=10)[0])
        seconds.append(time.perf_counter() - started)
    return [*results("simulated AR(1), Ridge", singles, {"mean": 1.5}, seconds),
            *results("simulated seasonal panel, Ridge", panels, {"mean": 1.5})]


def ar1(rng: np.random.Generator, n_series: int, rows: int, coefficient: float = 0.8) -> np.ndarray:
    """Stationary AR(1) series (n_series, rows) with standard normal shocks."""
    series = rng.standard_normal((n_series, rows))
    series[:, 0] /= np.sqrt(1 - coefficient**2)
    for t in range(1, rows):
        series[:, t] += coefficient * series[:, t - 1]
    return series


def seasonal(rng: np.random.Generator, n_series: int, rows: int, period: int = 24) -> np.ndarray:
    """Series (rows, n_series): a daily profile each plus AR(1) noise, all of it in a size of its own between 0.1 and 10,000."""
    profile = rng.standard_normal((n_series, period))
    size = 10 ** rng.uniform(-1, 4, (n_series, 1))
    daily = np.tile(profile, (1, -(-rows // period)))[:, :rows]
    return (size * (10 + 2 * daily + ar1(rng, n_series, rows, 0.5))).T


# ------------------------------------------------------------------------------------------------------------------- ETTh1


def etth1(seeds: Iterable[int], *, first: int = 11_520, stop: int = 14_400, step: int = 5) -> list[Result]:
    """Seven channels as series of one GRU, 96 hours ahead from every fifth hour of the test part, whose truths roll in.

    On the validation part 80 and 95 % cover 78.4 and 94.3 with a fifth of the rows held out, 77.6 and 94.1 with a tenth.
    """
    table = _data.etth1()[:stop]
    train = table[:8_640]
    y, frames, seconds = (table - train.mean()) / train.std(ddof=0), [], []
    for seed in seeds:
        regressor = GRURegressor((64,), loss="absolute_error", dropout=0.2, batch_size=256, max_iter=5, learning_rate="cosine",
                                 learning_rate_init=2e-3, random_state=seed)
        forecaster = WindowForecaster(regressor, window=336, horizon=96, patch=24, scaler=None, baseline="last", seasonality=24,
                                      validation_fraction=0.2)
        frame, took = timed_backtest(forecaster, y, n_splits=(stop - first - 96) // step + 1, step=step)
        frames.append(frame)
        seconds.append(took)
    return results("ETTh1, 96 hours, GRU", frames, {"mean": 3, "fifth": 6}, seconds, "deviations of the channel")
