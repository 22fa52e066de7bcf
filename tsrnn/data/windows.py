"""Sliding windows over a series, as views."""

from __future__ import annotations

from numbers import Integral

import numpy as np


def make_windows(y, window, horizon=1, X=None, step=1, *, target=None):
    """Cut a series into overlapping windows and what follows each of them.

    Sample `i` reads rows ``i * step`` to ``i * step + window - 1`` and predicts the `horizon` rows after them. The
    result are read-only views: however many windows overlap, the series is held in memory once.

    Parameters
    ----------
    y : array-like of shape (rows,) or (rows, C), Series or DataFrame
        The series in time order, one row a step. A pandas object with a date index out of order is an error.
    window : int
        Steps that a sample reads, at least 1.
    horizon : int, default=1
        Steps to predict, at least 1.
    X : array-like of shape (rows, k), Series or DataFrame, default=None
        Further series of the same rows that a sample reads beside `y` (their values up to the window's last step).
    step : int, default=1
        Rows from one window's start to the next.
    target : str or int, default=None
        The column of a `y` with several columns that is predicted: its name or its position. All columns are read.

    Returns
    -------
    X : ndarray of shape (n, window, C + k)
        Read-only view, time before channels: the columns of `y`, then those of `X`. Its strides are
        ``(step * (C + k), C + k, 1)`` elements.
    y : ndarray of shape (n,), or (n, horizon) for horizon > 1
        Read-only view of the target's values after each window; n = (rows - window - horizon) // step + 1.

    Raises
    ------
    ValueError
        Where the series is too short, empty or not numeric, ranks or rows do not fit, or the target is unknown.

    Notes
    -----
    float32 and float64 stay what they are; all other numbers become float64. NaN and infinity pass through: what they
    mean is for the caller to say. Copy the result before you write to it.

    Examples
    --------
    >>> from tsrnn import make_windows
    >>> X, y = make_windows([1., 2., 3., 4., 5.], window=3)
    >>> X[:, :, 0]
    array([[1., 2., 3.],
           [2., 3., 4.]])
    >>> y
    array([4., 5.])
    """
    window, horizon, step = (_positive(name, v) for name, v in (("window", window), ("horizon", horizon), ("step", step)))
    _check_time_order(y)
    series = _table("y", y)
    predicted = series[:, _target_column(y, series.shape[1], target)]
    if X is not None:
        series = _beside(y, series, X)
    rows = len(series)
    if window >= rows:
        raise ValueError(f"window={window} must be smaller than the series ({rows} rows); pass more rows or a smaller window.")
    if window + horizon > rows:
        raise ValueError(
            f"window={window} and horizon={horizon} need {window + horizon} rows, the series has {rows}; "
            "pass more rows, a smaller window or a shorter horizon."
        )
    starts = slice(None, rows - window - horizon + 1, step)
    views = np.lib.stride_tricks.sliding_window_view(series, window, axis=0)[starts].transpose(0, 2, 1)
    after = np.lib.stride_tricks.sliding_window_view(predicted[window:], horizon)[::step]
    return views, after[:, 0] if horizon == 1 else after


def _positive(name, value):
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}={value!r} must be a whole number of at least 1.")
    return int(value)


def _table(name, values):
    """(rows, C) in C order, float32 or float64: the layout that makes windows views with the strides promised."""
    types = _types(values)
    wrong = [text for text in types if text.startswith(("complex", "datetime", "timedelta", "period"))]
    if wrong:
        raise ValueError(f"{name} must hold numbers only, got {wrong[0]} values.")  # NumPy would convert them
    dtype = np.float32 if types and all(text.endswith(("float32", "f4")) for text in types) else np.float64
    try:
        # na_value: pandas' own missing marks become NaN
        array = values.to_numpy(dtype=dtype, na_value=np.nan) if hasattr(values, "to_numpy") else np.asarray(values, dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers only, in equal rows: {error}") from error
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"{name} must be (rows,) or (rows, columns), got shape {np.shape(values)}.")
    if array.size == 0:
        raise ValueError(f"{name} is empty: shape {np.shape(values)}; pass at least one row and one column.")
    return np.ascontiguousarray(array)


def _types(values):
    """Names of the columns' types, in lower case; empty for lists."""
    dtypes = values.dtypes if hasattr(values, "columns") else [values.dtype] if hasattr(values, "dtype") else []
    return [str(dtype).lower() for dtype in dtypes]


def _target_column(y, n_columns, target):
    names = list(getattr(y, "columns", ()))
    if target is None:
        if n_columns > 1:
            known = f", one of {names}" if names else ""
            raise ValueError(f"y has {n_columns} columns; say which one to predict with target={known or ', a position'}.")
        return 0
    if target in names:
        if names.count(target) > 1:
            raise ValueError(f"target={target!r} names {names.count(target)} columns of y; give its position.")
        return names.index(target)
    if isinstance(target, Integral) and not isinstance(target, bool) and -n_columns <= target < n_columns:
        return int(target)
    what = f"one of {names}" if names else f"a position from 0 to {n_columns - 1}"
    raise ValueError(f"target={target!r} is not a column of y; give {what}.")


def _beside(y, series, X):
    more = _table("X", X)
    if len(more) != len(series):
        raise ValueError(f"X has {len(more)} rows and y has {len(series)}; both must hold the same steps.")
    index, other = getattr(y, "index", None), getattr(X, "index", None)
    if hasattr(index, "equals") and hasattr(other, "equals") and not index.equals(other):
        raise ValueError("X and y have different indexes; align them first, as X.reindex(y.index) does.")
    return np.concatenate([series, more], axis=1)


def _check_time_order(y):
    index = getattr(y, "index", None)
    is_dates = type(index).__name__ in ("DatetimeIndex", "PeriodIndex")  # by name: arrays need no pandas
    if is_dates and not index.is_monotonic_increasing:
        raise ValueError("the index of y is not in time order; sort it first: y.sort_index().")
