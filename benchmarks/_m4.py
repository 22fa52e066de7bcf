"""The M4 competition's hourly series, its benchmark forecasts and its scores (Makridakis, Spiliotis, Assimakopoulos 2020).

Defined as in "Benchmarks and Evaluation.R" of the competition's repository M4-methods.  The official table says for the
hourly series: sNaive sMAPE 13.912, MASE 1.193, OWA 0.628; Naive2 sMAPE 18.383, MASE 2.395.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from _data import data_folder

from tsrnn import metrics

HORIZON, SEASONALITY = 48, 24
NAIVE2 = {"smape_naive2": 18.383, "mase_naive2": 2.395}  # official means over the 414 series


def hourly() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Name → training series (700 or 960 hours) and name → test series (48 hours), of 414 series, float64."""
    train, test = (pd.read_csv(data_folder() / "m4" / f"Hourly-{part}.csv.gz", index_col=0) for part in ("train", "test"))
    return tuple({name: row[~np.isnan(row)] for name, row in zip(frame.index, frame.to_numpy(np.float64))}
                 for frame in (train, test))


def seasonal_naive(z: np.ndarray, horizon: int = HORIZON, seasonality: int = SEASONALITY) -> np.ndarray:
    """The last season over and over (horizon,)."""
    return np.resize(z[-seasonality:], horizon)


def naive2(z: np.ndarray, horizon: int = HORIZON, seasonality: int = SEASONALITY) -> np.ndarray:
    """The last value of the seasonally adjusted series times the seasonal factors (horizon,); not adjusted without a season."""
    if not is_seasonal(z, seasonality):
        return np.full(horizon, z[-1])
    factors = seasonal_factors(z, seasonality)[(len(z) + np.arange(-1, horizon)) % seasonality]
    return z[-1] / factors[0] * factors[1:]


def is_seasonal(z: np.ndarray, seasonality: int) -> bool:
    """Whether the autocorrelation at one season passes Bartlett's 90 % limit; never for fewer than three seasons."""
    if len(z) < 3 * seasonality:
        return False
    centred = z - z.mean()
    r = np.array([centred[k:] @ centred[:-k] for k in range(1, seasonality + 1)]) / (centred @ centred)
    return bool(abs(r[-1]) > 1.645 * np.sqrt((1 + 2 * np.sum(r[:-1] ** 2)) / len(z)))


def seasonal_factors(z: np.ndarray, seasonality: int) -> np.ndarray:
    """Classical multiplicative decomposition, as R's `decompose`: factors (seasonality,) from the first row on, of mean 1."""
    even = seasonality % 2 == 0
    weights = np.r_[0.5, np.ones(seasonality - 1), 0.5] if even else np.ones(seasonality)
    trend = np.convolve(z, weights / seasonality, mode="valid")
    start = len(weights) // 2
    ratio = np.full(len(z), np.nan)
    ratio[start:start + len(trend)] = z[start:start + len(trend)] / trend
    factors = np.array([np.nanmean(ratio[k::seasonality]) for k in range(seasonality)])
    return factors / factors.mean()


def scores(forecasts: dict[str, np.ndarray]) -> dict[str, float]:
    """sMAPE, MASE and OWA (against the official Naive2) of forecasts name → (48,) of all hourly test series."""
    train, test = hourly()
    smape = float(np.mean([metrics.smape(test[name], forecasts[name]) for name in test]))
    mase = float(np.mean([metrics.mase(test[name], forecasts[name], train[name], SEASONALITY) for name in test]))
    return {"sMAPE": smape, "MASE": mase, "OWA": metrics.owa(smape, mase, **NAIVE2)}
