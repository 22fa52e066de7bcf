"""Changes of a series' steps, and scalers a series; both invertible, both free of the future."""

from __future__ import annotations

import numpy as np

CHANGES = ("diff", "log_return")  # transforms that lose the level; one row is needed to get it back
LOGARITHMS = ("log", "log_return")
TRANSFORMS = ("diff", "log", "log_return")
SCALERS = ("standard", "minmax", "robust")
MOST_LOG = 700.0  # the exponential of more is no float
FLAT = 1e-9  # a spread below this share of the values' size is rounding, not movement


def to_steps(values: np.ndarray, bounds: np.ndarray, transform: str | None) -> np.ndarray:
    """What a regressor sees of the levels: these or their logarithms, or the change that leads to each row.

    Parameters
    ----------
    values : float64 array of shape (rows, C)
    bounds : int64 array of shape (S + 1,)
        Series s has the rows ``bounds[s]`` to ``bounds[s + 1] - 1``.
    transform : {None, "diff", "log", "log_return"}

    Returns
    -------
    array of shape (rows, C)
        Changes are NaN in each series' first row; without a transform `values` itself, not a copy.

    Raises
    ------
    ValueError
        For logarithms of values that are not positive.
    """
    if transform not in CHANGES:
        return to_space(values, transform)
    space, steps = to_space(values, transform), np.full(values.shape, np.nan)
    np.subtract(space[1:], space[:-1], out=steps[1:])
    steps[bounds[:-1][bounds[:-1] < len(steps)]] = np.nan
    return steps


def to_space(values: np.ndarray, transform: str | None) -> np.ndarray:
    """Levels in the units in which forecasts err: logarithms where the transform takes them, else as they are."""
    if transform not in LOGARITHMS:
        return values
    if (values <= 0).any():
        raise ValueError(f"transform={transform!r} needs values above 0, y holds {np.nanmin(values):g}; use transform='diff' "
                         "or None, or drop these rows first.")
    return np.log(values)


def from_space(values: np.ndarray, transform: str | None) -> np.ndarray:
    """The reverse of `to_space`; a forecast that ran off stays a positive number."""
    return np.exp(np.clip(values, -MOST_LOG, MOST_LOG)) if transform in LOGARITHMS else values


def from_steps(steps: np.ndarray, last: np.ndarray, transform: str | None) -> np.ndarray:
    """Levels from forecast steps: the reverse of `to_steps`.

    Parameters
    ----------
    steps : array of shape (n, H, ...)
    last : array of shape (n, ...)
        The level before the first step; its trailing axes must broadcast.
    transform : {None, "diff", "log", "log_return"}
    """
    if transform not in CHANGES:
        return from_space(steps, transform)
    return from_space(to_space(last, transform)[:, None] + np.cumsum(steps, axis=1), transform)


def fit_scalers(steps: np.ndarray, bounds: np.ndarray, ends: np.ndarray, scaler: str) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale of each series, from its rows before `ends`.

    Parameters
    ----------
    steps : array of shape (rows, C)
    bounds : int64 array of shape (S + 1,)
    ends : int64 array of shape (S,)
        Row behind the last one that may be looked at.
    scaler : {"standard", "minmax", "robust"}

    Returns
    -------
    center, scale : arrays of shape (S, C)
        Scale 1 where a series does not move; NaN where it has no value before its end.
    """
    center, scale = np.full((2, len(ends), steps.shape[1]), np.nan)
    for s, (start, end) in enumerate(zip(bounds[:-1], ends)):
        for channel, values in enumerate(steps[start:end].T):
            known = np.isfinite(values)
            if known.any():
                center[s, channel], scale[s, channel] = spread(values if known.all() else values[known], scaler)
    return center, scale


def spread(values: np.ndarray, scaler: str, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale along an axis: mean and deviation, smallest value and range, or median and quartiles' distance."""
    if scaler == "standard":
        center, scale = values.mean(axis=axis), values.std(axis=axis)
    else:
        low, middle, high = np.quantile(values, (0, 0.5, 1) if scaler == "minmax" else (0.25, 0.5, 0.75), axis=axis)
        center, scale = low if scaler == "minmax" else middle, high - low
    return center, safe_scale(scale, np.abs(values).max(axis=axis))


def safe_scale(scale: np.ndarray, size: np.ndarray, otherwise: np.ndarray | float = 1.0) -> np.ndarray:
    """`scale`, or `otherwise` where it is nothing but rounding beside values of that `size`."""
    return np.where(scale > FLAT * np.maximum(size, np.finfo(np.float64).tiny), scale, otherwise)


def standardise(columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation (columns,) of covariates (rows, columns) over some rows; NaN do not count."""
    mean, deviation = np.zeros(columns.shape[1]), np.ones(columns.shape[1])
    for i, column in enumerate(columns.T):
        values = column[rows]
        values = values[np.isfinite(values)]
        if len(values):
            mean[i], deviation[i] = spread(values, "standard")
    return mean, deviation
