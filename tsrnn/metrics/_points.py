"""Scores of point forecasts."""

from __future__ import annotations

import numpy as np

from tsrnn.metrics import _rows
from tsrnn.metrics._checks import check_values, check_whole, equal_shapes


def mae(y_true, y_pred):
    """Mean absolute error, in the unit of y.

    .. math:: \\mathrm{mean}_t |y_t - \\hat y_t|

    Parameters
    ----------
    y_true, y_pred : array-like of one shape
        What happened and what was forecast.
    """
    return _mean(_rows.absolute, y_true, y_pred)


def rmse(y_true, y_pred):
    """Root of the mean squared error, in the unit of y.

    .. math:: \\sqrt{\\mathrm{mean}_t (y_t - \\hat y_t)^2}

    over all values at once, those of several columns included (scikit-learn averages the roots of the columns).

    Parameters
    ----------
    y_true, y_pred : array-like of one shape
        What happened and what was forecast.
    """
    return float(np.sqrt(_mean(_rows.squared, y_true, y_pred)))


def mape(y_true, y_pred):
    """Mean absolute percentage error, in percent (scikit-learn's is a share: a hundredth of it).

    .. math:: \\mathrm{mean}_t \\frac{100 |y_t - \\hat y_t|}{|y_t|}

    Infinity where the forecast misses a value of 0 (0 / 0 is 0): no score for series that touch 0.

    Parameters
    ----------
    y_true, y_pred : array-like of one shape
        What happened and what was forecast.
    """
    return _mean(_rows.percentage, y_true, y_pred)


def smape(y_true, y_pred):
    """Symmetric mean absolute percentage error, in percent from 0 to 200.

    .. math:: \\mathrm{mean}_t \\frac{200 |y_t - \\hat y_t|}{|y_t| + |\\hat y_t|}

    with 0 / 0 = 0, as in the M4 competition (Makridakis, Spiliotis, Assimakopoulos 2020).

    Parameters
    ----------
    y_true, y_pred : array-like of one shape
        What happened and what was forecast.
    """
    return _mean(_rows.symmetric_percentage, y_true, y_pred)


def mase(y_true, y_pred, y_train, seasonality=1):
    """Mean absolute scaled error: the error in units of the seasonal naive forecast's error within the training series.

    .. math:: \\frac{\\mathrm{mean}_t |y_t - \\hat y_t|}{\\mathrm{mean}_{t > m} |z_t - z_{t-m}|}

    for the training series `z` and seasonality `m`; Hyndman and Koehler (2006), "Another look at measures of forecast
    accuracy".

    Parameters
    ----------
    y_true, y_pred : array-like of one shape
        What happened and what was forecast.
    y_train : array-like of shape (rows,)
        The series before the forecast, in time order.
    seasonality : int, default=1
        Steps of a season; 1 compares with repeating the last value.

    Returns
    -------
    float
        Below 1 where the forecast is better than the naive one was within the training series; NaN for 0 / 0 and infinity
        where only the scale is 0 (a constant training series).
    """
    return _scaled(_rows.absolute, y_true, y_pred, y_train, seasonality)


def rmsse(y_true, y_pred, y_train, seasonality=1):
    """Root mean squared scaled error: as `mase`, of squares.

    .. math:: \\sqrt{\\frac{\\mathrm{mean}_t (y_t - \\hat y_t)^2}{\\mathrm{mean}_{t > m} (z_t - z_{t-m})^2}}

    for the training series `z` and seasonality `m`; with m = 1 the measure of the M5 competition (Makridakis, Spiliotis,
    Assimakopoulos 2022), which leaves out the zeros before a product's first sale: cut them off `y_train` yourself.

    Parameters
    ----------
    y_true, y_pred : array-like of one shape
        What happened and what was forecast.
    y_train : array-like of shape (rows,)
        The series before the forecast, in time order.
    seasonality : int, default=1
        Steps of a season; 1 compares with repeating the last value.

    Returns
    -------
    float
        As of `mase`: NaN for 0 / 0, infinity where only the scale is 0.
    """
    return float(np.sqrt(_scaled(_rows.squared, y_true, y_pred, y_train, seasonality)))


def owa(smape, mase, smape_naive2, mase_naive2):
    """Overall weighted average, the rank of the M4 competition (Makridakis, Spiliotis, Assimakopoulos 2020).

    .. math:: \\frac{\\mathrm{sMAPE}}{2\\,\\mathrm{sMAPE}_{N2}} + \\frac{\\mathrm{MASE}}{2\\,\\mathrm{MASE}_{N2}}

    Takes the four averages, not the forecasts: the competition averages sMAPE and MASE over all series first and divides
    then, which the mean of the series' own ratios is not.

    Parameters
    ----------
    smape, mase : float
        Means over all series of the forecast's scores.
    smape_naive2, mase_naive2 : float
        The same of Naive2, the naive forecast of the seasonally adjusted series (M4 Hourly: 18.383 and 2.395).

    Returns
    -------
    float
        Below 1 where the forecast is better than Naive2.
    """
    given = {"smape": smape, "mase": mase, "smape_naive2": smape_naive2, "mase_naive2": mase_naive2}
    for name, value in given.items():
        if np.ndim(value) or not np.isfinite(value) or value < 0:
            raise ValueError(f"{name}={value!r} must be one finite number of at least 0: the mean over all series.")
    if smape_naive2 == 0 or mase_naive2 == 0:
        raise ValueError("smape_naive2 and mase_naive2 must be above 0: there is no ratio to a perfect forecast.")
    return float((smape / smape_naive2 + mase / mase_naive2) / 2)


def directional_accuracy(y_true, y_pred, y_previous):
    """Share of the moves whose direction was forecast.

    .. math:: \\frac{1}{|M|} \\sum_{t \\in M} [(y_t - y_{t-1}) (\\hat y_t - y_{t-1}) > 0], \\quad M = \\{t: y_t \\ne y_{t-1}\\}

    as in Pesaran and Timmermann (1992), "A simple nonparametric test of predictive performance". Rows that did not move
    have no direction and do not count; a forecast of no move is wrong about a row that did.

    Parameters
    ----------
    y_true, y_pred, y_previous : array-like of one shape
        What happened, what was forecast, and the last value known at the time of the forecast.

    Returns
    -------
    float
        From 0 to 1; NaN where nothing moved. The naive forecast (repeat `y_previous`) forecasts no direction: compare
        with one half, or with the share of rows that rose.
    """
    y_true, y_pred, y_previous = equal_shapes(y_true=y_true, y_pred=y_pred, y_previous=y_previous)
    move = y_true - y_previous
    moved = move != 0
    if not moved.any():
        return float("nan")
    return float(np.mean(np.sign(move[moved]) == np.sign((y_pred - y_previous)[moved])))


def skill(y_true, y_pred, y_naive, error=None):
    """How much of the naive forecast's error is gone: ``1 - error(y_true, y_pred) / error(y_true, y_naive)``.

    Parameters
    ----------
    y_true, y_pred, y_naive : array-like of one shape
        What happened, the forecast, and the one that it has to beat: the last value known, or the value one season before
        (the seasonal naive forecast).
    error : callable ``(y_true, y_pred) -> float``, default=None
        The error, smaller is better and 0 is perfect; None is the mean absolute error.

    Returns
    -------
    float
        1 is perfect, 0 as good as the naive forecast, below 0 worse. Where the naive forecast is perfect: 0 for an equally
        perfect forecast, else minus infinity.
    """
    y_true, y_pred, y_naive = equal_shapes(y_true=y_true, y_pred=y_pred, y_naive=y_naive)
    error = mae if error is None else error
    mine, naive = error(y_true, y_pred), error(y_true, y_naive)
    if naive == 0:
        return 0.0 if mine == 0 else float("-inf")
    return float(1 - mine / naive)


def _mean(loss, y_true, y_pred):
    y_true, y_pred = equal_shapes(y_true=y_true, y_pred=y_pred)
    return float(np.mean(loss(y_true, y_pred)))


def _scaled(loss, y_true, y_pred, y_train, seasonality):
    """Mean loss of the forecast / mean loss of the seasonal naive forecast within the training series."""
    error = _mean(loss, y_true, y_pred)
    z = np.asarray(y_train, dtype=np.float64)
    if z.ndim != 1:
        raise ValueError(f"y_train must be one series (rows,), got shape {z.shape}.")
    m = check_whole("seasonality", seasonality)
    if m >= len(z):
        raise ValueError(f"seasonality={seasonality} must be smaller than the training series ({len(z)} rows).")
    check_values("y_train", z)
    scale = float(np.mean(loss(z[m:], z[:-m])))
    if scale == 0:
        return float("nan") if error == 0 else float("inf")
    return error / scale
