"""Scores of forecasts that scikit-learn lacks; `sklearn.metrics` has the rest (MAE, RMSE, R²)."""

from __future__ import annotations

import numpy as np

__all__ = ["directional_accuracy", "mase", "skill", "smape"]


def _equal_shapes(**named):
    """The arguments as float64 arrays of one shape, not empty and finite."""
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in named.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        said = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"shapes differ: {said}; they must be equal.")
    for name, array in arrays.items():
        _check_values(name, array)
    return tuple(arrays.values())


def _check_values(name, array):
    if array.size == 0:
        raise ValueError(f"{name} is empty; a score needs at least one value.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contains NaN or infinity; drop or fill these rows first.")


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
    y_true, y_pred, y_previous = _equal_shapes(y_true=y_true, y_pred=y_pred, y_previous=y_previous)
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
        What happened, the forecast, and the naive forecast (for one step ahead: the last value known).
    error : callable ``(y_true, y_pred) -> float``, default=None
        The error, smaller is better and 0 is perfect; None is the mean absolute error.

    Returns
    -------
    float
        1 is perfect, 0 as good as the naive forecast, below 0 worse. Where the naive forecast is perfect: 0 for an equally
        perfect forecast, else minus infinity.
    """
    y_true, y_pred, y_naive = _equal_shapes(y_true=y_true, y_pred=y_pred, y_naive=y_naive)
    if error is None:
        error = _mean_absolute
    mine, naive = error(y_true, y_pred), error(y_true, y_naive)
    if naive == 0:
        return 0.0 if mine == 0 else float("-inf")
    return float(1 - mine / naive)


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
    y_true, y_pred = _equal_shapes(y_true=y_true, y_pred=y_pred)
    z = np.asarray(y_train, dtype=np.float64)
    if z.ndim != 1:
        raise ValueError(f"y_train must be one series (rows,), got shape {z.shape}.")
    if seasonality < 1 or seasonality != int(seasonality):
        raise ValueError(f"seasonality={seasonality!r} must be a whole number of at least 1.")
    if seasonality >= len(z):
        raise ValueError(f"seasonality={seasonality} must be smaller than the training series ({len(z)} rows).")
    _check_values("y_train", z)
    m = int(seasonality)
    error, scale = _mean_absolute(y_true, y_pred), _mean_absolute(z[m:], z[:-m])
    if scale == 0:
        return float("nan") if error == 0 else float("inf")
    return error / scale


def smape(y_true, y_pred):
    """Symmetric mean absolute percentage error, in percent from 0 to 200.

    .. math:: \\mathrm{mean}_t \\frac{200 |y_t - \\hat y_t|}{|y_t| + |\\hat y_t|}

    with 0 / 0 = 0, as in the M4 competition (Makridakis, Spiliotis, Assimakopoulos 2020).

    Parameters
    ----------
    y_true, y_pred : array-like of one shape
        What happened and what was forecast.
    """
    y_true, y_pred = _equal_shapes(y_true=y_true, y_pred=y_pred)
    total = np.abs(y_true) + np.abs(y_pred)
    return float(200 * np.mean(np.abs(y_true - y_pred) / np.where(total == 0, 1, total)))


def _mean_absolute(y_true, y_pred):
    return float(np.mean(np.abs(y_true - y_pred)))
