"""The loss of each value; the scores are means of these.  Arrays of one shape in, an array of that shape out; NaN stays NaN."""

from __future__ import annotations

import numpy as np


def absolute(y, p):
    """|y - p|."""
    return np.abs(y - p)


def squared(y, p):
    """(y - p)²."""
    return np.square(y - p)


def percentage(y, p):
    """100 |y - p| / |y|; 0 / 0 is 0, all else / 0 infinity."""
    error = absolute(y, p)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error == 0, 0.0, 100 * error / np.abs(y))


def symmetric_percentage(y, p):
    """200 |y - p| / (|y| + |p|); 0 / 0 is 0."""
    total = np.abs(y) + np.abs(p)
    return 200 * absolute(y, p) / np.where(total == 0, 1, total)


def pinball(y, p, quantile):
    """The loss whose mean a quantile makes smallest: q (y - p) above the forecast, (1 - q) (p - y) below it."""
    return np.maximum(quantile * (y - p), (quantile - 1) * (y - p))


def covered(y, lower, upper):
    """1 within the bounds (themselves included), else 0; NaN where a bound or y is."""
    inside = ((lower <= y) & (y <= upper)).astype(np.float64)
    return np.where(np.isnan(y) | np.isnan(lower) | np.isnan(upper), np.nan, inside)


def winkler(y, lower, upper, level):
    """The interval's width, and 2 / α of how far outside of it y lies, for α = 1 - level / 100."""
    outside = np.maximum(lower - y, 0) + np.maximum(y - upper, 0)
    return upper - lower + 2 / (1 - level / 100) * outside
