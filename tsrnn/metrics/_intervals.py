"""Scores of quantiles and intervals."""

from __future__ import annotations

import numpy as np

from tsrnn.metrics import _rows
from tsrnn.metrics._checks import check_between, check_bounds, check_values, equal_shapes


def pinball_loss(y_true, y_pred, quantile):
    """Pinball (quantile) loss of a forecast of one quantile, in the unit of y.

    .. math:: \\mathrm{mean}_t \\max(q (y_t - \\hat y_t), (q - 1) (y_t - \\hat y_t))

    Koenker and Bassett (1978), "Regression quantiles".

    Parameters
    ----------
    y_true, y_pred : array-like of one shape
        What happened, and the forecast of its quantile.
    quantile : float
        Between 0 and 1; at 0.5 the loss is half the mean absolute error.
    """
    y_true, y_pred = equal_shapes(y_true=y_true, y_pred=y_pred)
    return float(np.mean(_rows.pinball(y_true, y_pred, check_between("quantile", quantile, 1))))


def crps(y_true, y_quantiles, quantiles):
    """Continuous ranked probability score of a forecast that is known at some quantiles, in the unit of y.

    .. math:: 2 \\int_0^1 \\rho_q(y - \\hat y_q) \\, dq \\approx 2 \\sum_k w_k \\, \\rho_{q_k}(y - \\hat y_{q_k})

    for the pinball loss ρ, each quantile with the share w of (0, 1) that lies nearest to it; Gneiting and Raftery (2007),
    "Strictly proper scoring rules, prediction, and estimation".

    Parameters
    ----------
    y_true : array-like of any shape
        What happened.
    y_quantiles : array-like of shape y_true.shape + (Q,)
        Forecasts of the quantiles, the quantiles last.
    quantiles : array-like of shape (Q,)
        Between 0 and 1, ascending.

    Returns
    -------
    float
        The median alone (Q = 1) gives the mean absolute error.
    """
    q, y = np.asarray(quantiles, dtype=np.float64), np.asarray(y_true, dtype=np.float64)
    forecast = np.asarray(y_quantiles, dtype=np.float64)
    if q.ndim != 1 or q.size == 0 or not ((q > 0) & (q < 1)).all() or not (np.diff(q) > 0).all():
        raise ValueError(f"quantiles={quantiles!r} must be numbers between 0 and 1, both excluded, in ascending order.")
    if forecast.shape != (*y.shape, len(q)):
        raise ValueError(f"y_quantiles has shape {forecast.shape}; {len(q)} quantiles of y_true {y.shape} "
                         f"need {(*y.shape, len(q))}.")
    check_values("y_true", y)
    check_values("y_quantiles", forecast)
    weights = np.diff([0, *(q[1:] + q[:-1]) / 2, 1])
    return float(2 * np.mean(_rows.pinball(y[..., None], forecast, q) @ weights))


def coverage(y_true, lower, upper):
    """Share of the values that lie within the interval, its ends included.

    .. math:: \\mathrm{mean}_t [l_t \\le y_t \\le u_t]

    Parameters
    ----------
    y_true, lower, upper : array-like of one shape
        What happened, and the interval's ends.

    Returns
    -------
    float
        From 0 to 1; to be held against ``level / 100``.
    """
    return float(np.mean(_rows.covered(*_interval(y_true, lower, upper))))


def mean_width(lower, upper):
    """Mean width of the intervals, in the unit of y.

    .. math:: \\mathrm{mean}_t (u_t - l_t)

    Of two forecasts with the same coverage the narrower one knows more.

    Parameters
    ----------
    lower, upper : array-like of one shape
        The interval's ends.
    """
    lower, upper = equal_shapes(lower=lower, upper=upper)
    check_bounds(lower, upper)
    return float(np.mean(upper - lower))


def winkler_score(y_true, lower, upper, level):
    """Winkler (interval) score, in the unit of y: width and coverage in one figure, smaller is better.

    .. math:: \\mathrm{mean}_t \\, (u_t - l_t) + \\frac2\\alpha \\max(l_t - y_t, 0) + \\frac2\\alpha \\max(y_t - u_t, 0),
        \\quad \\alpha = 1 - \\frac{\\mathrm{level}}{100}

    Winkler (1972), "A decision-theoretic approach to interval estimation". It is 2 / α times the sum of the pinball losses
    of the two ends.

    Parameters
    ----------
    y_true, lower, upper : array-like of one shape
        What happened, and the interval's ends.
    level : float
        Percent that the interval should cover, between 0 and 100.
    """
    level = check_between("level", level, 100)
    return float(np.mean(_rows.winkler(*_interval(y_true, lower, upper), level)))


def _interval(y_true, lower, upper):
    y_true, lower, upper = equal_shapes(y_true=y_true, lower=lower, upper=upper)
    check_bounds(lower, upper)
    return y_true, lower, upper
