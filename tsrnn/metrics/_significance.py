"""Whether one forecast is better than another, or was lucky."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tsrnn.metrics import _rows
from tsrnn.metrics._checks import check_values, check_whole, equal_shapes

LOSSES = {"absolute": _rows.absolute, "squared": _rows.squared}
ALTERNATIVES = ("two-sided", "less", "greater")


class DieboldMariano(NamedTuple):
    """Result of `diebold_mariano`: below 0 the first forecast lost less."""

    statistic: float
    pvalue: float


def diebold_mariano(y_true, y_pred, y_other, *, horizon=1, loss="absolute", alternative="two-sided"):
    """Diebold-Mariano test of equal expected loss of two forecasts, as corrected by Harvey, Leybourne and Newbold.

    .. math:: S = \\bar d \\left(\\frac{1}{n} \\Big[\\gamma_0 + 2 \\sum_{k=1}^{h-1} \\gamma_k\\Big]\\right)^{-1/2}
        \\left(\\frac{n + 1 - 2h + h(h-1)/n}{n}\\right)^{1/2}

    for the differences d of the losses, first forecast minus second, and their autocovariances γ; S is held against
    Student's t with n - 1 degrees of freedom. Where the sum in brackets is not positive, which happens in short samples,
    γ_k takes Bartlett's weights 1 - k / h. Diebold and Mariano (1995), "Comparing predictive accuracy"; Harvey, Leybourne,
    Newbold (1997), "Testing the equality of prediction mean squared errors".

    Parameters
    ----------
    y_true, y_pred, y_other : array-like of shape (n,) or (n, k)
        What happened and the two forecasts of it: a row is an origin, in time order. Losses are averaged over the second
        axis (several steps or channels of one origin).
    horizon : int, default=1
        Steps ahead (the farthest, of several): forecasts of h steps from neighbouring origins share h - 1 steps, so their
        losses are correlated up to this lag. Smaller than n.
    loss : {"absolute", "squared"} or callable ``(y_true, y_pred) -> losses of that shape``, default="absolute"
    alternative : {"two-sided", "less", "greater"}, default="two-sided"
        What is claimed of the first forecast's loss against the second's: "less" is "the first one is better".

    Returns
    -------
    DieboldMariano
        `statistic` and `pvalue`. Equal losses in every row: statistic 0.

    Raises
    ------
    ValueError
        For NaN, unequal shapes, fewer than two rows, a horizon that is not smaller than n, an unknown loss or alternative.
    """
    y_true, y_pred, y_other = equal_shapes(y_true=y_true, y_pred=y_pred, y_other=y_other)
    h, n = check_whole("horizon", horizon), len(y_true) if y_true.ndim else 0
    if y_true.ndim not in (1, 2) or n < 2:
        raise ValueError(f"y_true must have shape (n,) or (n, k) with at least two rows, got {y_true.shape}.")
    if h >= n:
        raise ValueError(f"horizon={horizon} must be smaller than the number of rows ({n}); pass more origins.")
    if alternative not in ALTERNATIVES:
        raise ValueError(f"alternative={alternative!r} must be one of {', '.join(ALTERNATIVES)}.")
    d = _losses(loss, y_true, y_pred) - _losses(loss, y_true, y_other)
    d = d.reshape(n, -1).mean(axis=1)
    variance = _long_run_variance(d, h) / n
    correction = np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    if variance > 0:
        statistic = d.mean() / np.sqrt(variance) * correction
    else:  # every row has the same difference
        statistic = np.sign(d.mean()) * np.inf if d.mean() else 0.0
    return DieboldMariano(float(statistic), _pvalue(statistic, n - 1, alternative))


def _losses(loss, y_true, y_pred):
    if not callable(loss) and loss not in LOSSES:
        raise ValueError(f"loss={loss!r} must be one of {', '.join(LOSSES)}, or a callable.")
    losses = np.asarray((loss if callable(loss) else LOSSES[loss])(y_true, y_pred), dtype=np.float64)
    if losses.shape != y_true.shape:
        raise ValueError(f"loss gave shape {losses.shape} for rows {y_true.shape}; it must give one loss for each value.")
    check_values("loss", losses)
    return losses


def _long_run_variance(d, h):
    """γ_0 + 2 (γ_1 + … + γ_{h-1}); with Bartlett's weights, which cannot make it negative, where that is not positive."""
    n, centred = len(d), d - d.mean()
    gamma = np.array([centred[k:] @ centred[:n - k] for k in range(h)]) / n
    plain = gamma[0] + 2 * gamma[1:].sum()
    return plain if plain > 0 else gamma[0] + 2 * (1 - np.arange(1, h) / h) @ gamma[1:]


def _pvalue(statistic, freedom, alternative):
    from scipy.stats import t

    if alternative == "two-sided":
        return float(2 * t.sf(abs(statistic), freedom))
    return float(t.cdf(statistic, freedom) if alternative == "less" else t.sf(statistic, freedom))
