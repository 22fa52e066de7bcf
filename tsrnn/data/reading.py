"""y in any of its forms, read into rows of numbers and times and checked at the door."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tsrnn.data.calendar import infer_step, ordinals

if TYPE_CHECKING:
    import pandas as pd

LONG = ("unique_id", "ds", "y")
_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal", "empty")


class Reading(NamedTuple):
    """What was read of y; `tsrnn.data.panel.Panel` says what the fields hold.

    `index` are the times of the user's own rows (None for arrays and long frames), `source` the user's row that each row came
    from (None: the rows are as they were).
    """

    kind: str
    name: Any
    ids: tuple
    channels: tuple
    values: np.ndarray
    bounds: np.ndarray
    times: pd.Index
    step: Any
    index: Any = None
    source: Any = None


def read_series(y, multivariate=False, whole=False) -> Reading:
    """Read y.

    Parameters
    ----------
    y : array-like, Series or DataFrame
        See `tsrnn.data.panel.read_panel`.
    multivariate : bool
        Columns are channels of one series.
    whole : bool
        Rows that continue others: leading NaN are kept, and NaN alone are allowed.

    Raises
    ------
    ValueError, TypeError
    """
    import pandas as pd

    if isinstance(y, pd.DataFrame):
        if y.columns.nlevels == 1 and ("unique_id" in y.columns or "ds" in y.columns):
            reading = _read_long(y, multivariate)
        else:
            reading = _read_columns(_wide(y), multivariate, whole)
    elif isinstance(y, pd.Series):
        reading = _read_one(y, "series", y.name, multivariate)
    else:
        array = _array(y)
        if array.ndim == 1:
            reading = _read_one(array, "array", None, multivariate)
        else:
            names = range(array.shape[1])
            reading = _read_columns(("matrix", None, names, array, pd.RangeIndex(len(array))), multivariate, whole)
    if not whole:
        _check_some_value(reading)
    return reading


def _read_one(y, kind, name, multivariate):
    import pandas as pd

    if multivariate:
        raise ValueError("multivariate=True joins columns, but y has one; pass a wide frame or a 2-D array.")
    values = read_numbers(y, "y")
    index = read_times(y.index, "the index of y") if kind == "series" else None
    times = pd.RangeIndex(len(values)) if index is None else index
    bounds = np.array([0, len(values)])
    _check_ascending(times, bounds, None)
    return Reading(kind, name, ("y" if name is None else name,), ("y",), values.reshape(-1, 1), bounds, times,
                   infer_step(times), index)


def _wide(y):
    """A wide frame as `_read_columns` takes it."""
    repeated = y.columns[y.columns.duplicated()]
    if len(repeated):
        raise ValueError(f"y has the column {repeated[0]!r} twice; every series needs a name of its own.")
    _check_not_empty(y, "y")
    return "wide", tuple(y.columns.names), y.columns, y, read_times(y.index, "the index of y")


def _read_columns(table, multivariate, whole):
    """Columns are series one behind the other, or channels."""
    kind, name, labels, y, index = table
    labels, matrix = tuple(labels), read_numbers(y, "y")
    rows, n_series = matrix.shape
    step, kept = infer_step(index), None if kind == "matrix" else index
    _check_ascending(index, np.array([0, rows]), None)
    if multivariate and n_series > 1:
        values = np.ascontiguousarray(matrix)
        return Reading(kind, name, ("y",), labels, values, np.array([0, rows]), index, step, kept)
    first = np.zeros(n_series, np.int64)
    if not (whole or multivariate):
        there = ~np.isnan(matrix)
        # a column without any value keeps its rows until it is reported
        first = np.where(there.any(axis=0), there.argmax(axis=0), 0)
    bounds = np.concatenate([[0], np.cumsum(rows - first)])
    if n_series == 1 and not first[0]:
        return Reading(kind, name, labels, ("y",), matrix.reshape(-1, 1), bounds, index, step, kept)
    if first.any():
        started = np.arange(rows) >= first[:, None]
        values, source = matrix.T[started], np.nonzero(started)[1]
    else:
        values, source = matrix.T.reshape(-1), np.tile(np.arange(rows), n_series)
    return Reading(kind, name, labels, ("y",), values[:, None], bounds, index.take(source), step, kept, source)


def _read_long(y, multivariate):
    import pandas as pd

    if multivariate:
        raise ValueError("multivariate=True joins the columns of a wide frame; y is a long frame: "
                         "y.pivot(index='ds', columns='unique_id', values='y').")
    _check_long_columns(y)
    values, times = read_numbers(y["y"], "column 'y'"), read_times(y["ds"], "column 'ds'")
    codes, ids = pd.factorize(y["unique_id"])
    if codes.min() < 0:
        raise ValueError(f"column 'unique_id' has no value in row {int(np.argmin(codes))}; every row needs its series' name.")
    source = None
    if (codes[1:] < codes[:-1]).any():
        source = np.argsort(codes, kind="stable")
        values, times = values[source], times.take(source)
    lengths = np.bincount(codes)
    bounds, ids = np.concatenate([[0], np.cumsum(lengths)]), tuple(ids.tolist())
    _check_ascending(times, bounds, ids)
    longest = int(lengths.argmax())
    step = infer_step(times[bounds[longest]:bounds[longest + 1]])
    return Reading("long", None, ids, ("y",), values.reshape(-1, 1), bounds, times, step, None, source)


def _check_long_columns(y):
    missing = [name for name in LONG if name not in y.columns]
    if missing:
        hint = f"; {missing[0]!r} is in the index: y.reset_index()" if missing[0] in y.index.names else ""
        raise ValueError(f"a long frame has the columns unique_id, ds and y; {missing} missing from {list(y.columns)}{hint}.")
    repeated = y.columns[y.columns.duplicated()]
    if len(repeated):
        raise ValueError(f"y has the column {repeated[0]!r} twice.")
    others = [name for name in y.columns if name not in LONG]
    if others:
        raise ValueError(f"a long y has the columns unique_id, ds and y alone; pass {others} as covariates: "
                         f"X=y.drop(columns='y'), y=y[['unique_id', 'ds', 'y']].")


def _check_some_value(reading):
    """Some series has a value, and every channel."""
    there = ~np.isnan(reading.values)
    if len(reading.channels) > 1:
        names, some = reading.channels, there.any(axis=0)
    else:
        names, some = reading.ids, np.logical_or.reduceat(there[:, 0], reading.bounds[:-1])
    if some.all() or (some.any() and len(reading.channels) == 1):
        return
    if len(names) == 1 and reading.kind in ("array", "series"):
        raise ValueError("y holds NaN alone; pass a series with values.")
    empty = [name for name, has in zip(names, some) if not has]
    more = f" and {len(empty) - 3} more" if len(empty) > 3 else ""
    raise ValueError(f"{'column' if reading.kind != 'long' else 'series'} {', '.join(map(repr, empty[:3]))}{more} of y "
                     "holds NaN alone; drop it.")


def _check_ascending(times, bounds, ids):
    """Times of each series ascend; ids None: there is one index."""
    import pandas as pd

    if isinstance(times, pd.RangeIndex) and times.step > 0 and len(bounds) == 2:
        return
    numbers = ordinals(times)
    wrong = numbers[1:] <= numbers[:-1]
    wrong[bounds[1:-1] - 1] = False
    if not wrong.any():
        return
    row = int(wrong.argmax())
    where = "y" if ids is None else f"series {ids[np.searchsorted(bounds, row, side='right') - 1]!r} of y"
    remedy = "y.sort_index()" if ids is None else "y.sort_values(['unique_id', 'ds'])"
    if numbers[row] == numbers[row + 1]:
        raise ValueError(f"{where} has the time {times[row]} twice; keep one of its rows.")
    raise ValueError(f"{where} is not in time order: {times[row + 1]} comes after {times[row]}; sort it first: {remedy}.")


def read_times(index, what: str) -> pd.Index:
    """Times as dates (text is parsed), periods or whole numbers (int64).

    Parameters
    ----------
    index : Index or Series of length rows
    what : str
        Its name in messages.

    Raises
    ------
    ValueError, TypeError
        For anything else, several time zones, missing times.
    """
    import pandas as pd

    if isinstance(index, pd.MultiIndex):
        raise ValueError(f"{what} has {index.nlevels} levels; pass one level, or a long frame with the columns unique_id, ds "
                         "and y.")
    times = pd.Index(index)
    if isinstance(times.dtype, pd.CategoricalDtype):
        times = times.astype(times.categories.dtype)
    if times.dtype == object:
        times = times.infer_objects()
    if times.hasnans:
        raise ValueError(f"{what} has no time (NaT) in row {int(np.argmax(times.isna()))}; drop or repair such rows.")
    if isinstance(times, (pd.RangeIndex, pd.DatetimeIndex, pd.PeriodIndex)):
        return times
    if pd.api.types.is_numeric_dtype(times.dtype) and not pd.api.types.is_bool_dtype(times.dtype):
        return _whole_numbers(times, what)
    kind = pd.api.types.infer_dtype(times, skipna=False)
    if kind not in ("string", "date", "datetime", "datetime64"):
        raise TypeError(f"{what} must hold dates or whole numbers, got {kind} values such as {times[0]!r}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # where pandas guesses the format row by row
            parsed = pd.DatetimeIndex(pd.to_datetime(times))
    except (TypeError, ValueError, Warning) as error:
        text = str(error).split(". ")[0].rstrip(".")
        raise ValueError(f"{what} cannot be read as dates of one time zone and format ({text}); "
                         "convert it with pandas.to_datetime, with utc=True where time zones differ.") from error
    if parsed.hasnans:  # text such as "" or "NaN"
        raise ValueError(f"{what} has no time (NaT) in row {int(np.argmax(parsed.isna()))}; drop or repair such rows.")
    return parsed


def _whole_numbers(times, what):
    import pandas as pd

    raw = times.to_numpy(dtype=None if isinstance(times.dtype, np.dtype) else np.float64)
    numbers = raw.astype(np.int64)
    if (numbers != raw).any():
        raise ValueError(f"{what} must hold dates or whole numbers, got {raw[numbers != raw][0]}.")
    year, month, day = numbers // 10000, numbers // 100 % 100, numbers % 100
    if ((year >= 1800) & (year < 2200) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all():
        raise ValueError(f"{what} looks like dates written as numbers ({numbers[0]}, ...); "
                         "convert it with pandas.to_datetime(..., format='%Y%m%d').")
    return pd.Index(numbers, name=times.name)


def _array(y):
    if isinstance(y, (str, bytes, dict, set)) or np.isscalar(y) or y is None:
        raise TypeError(f"y must be an array, a Series or a DataFrame, got {type(y).__name__}.")
    if isinstance(y, np.ma.MaskedArray):
        y = np.ma.filled(y.astype(np.float64), np.nan)
    try:
        array = np.asarray(y)
    except ValueError as error:
        raise ValueError("y must be one series or columns of equal length; pass series of unequal length as a long frame "
                         "(unique_id, ds, y), or pad their starts with NaN.") from error
    if array.ndim not in (1, 2):
        raise ValueError(f"y must be (rows,) or (rows, series), got shape {array.shape}.")
    return array


def read_numbers(values, what: str, *, flags: bool = False) -> np.ndarray:
    """Numbers as float64, missing ones as NaN; not copied where they are float64 already.

    Parameters
    ----------
    values : array, Series or DataFrame
    what : str
        Its name in messages.
    flags : bool
        Whether truth values are allowed, as 0 and 1.

    Raises
    ------
    ValueError
        For other than numbers, for infinite values, and where there are none.
    """
    import pandas as pd

    _check_not_empty(values, what)
    if isinstance(values, pd.DataFrame):
        one, *others = set(values.dtypes)
        if not others and isinstance(one, np.dtype) and one.kind != "O":
            array = _as_floats(values.to_numpy(), what, flags, values.columns)
        else:
            array = np.empty(values.shape, order="F")
            for column, name in enumerate(values.columns):
                array[:, column] = _column(values.iloc[:, column], f"column {name!r}", flags)
    elif isinstance(values, pd.Series):
        array = _column(values, what, flags)
    else:
        array = _as_floats(values, what, flags)
    # the sum of all is not finite where one is infinite: no array of flags for the usual case
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum()
    if not np.isfinite(total) and np.isinf(array).any():
        row = int(np.argmax(np.isinf(array).reshape(len(array), -1).any(axis=1)))
        raise ValueError(f"{what} has an infinite value in row {row}; make it NaN or drop the row.")
    return array


def _check_not_empty(values, what):
    if 0 in values.shape:
        raise ValueError(f"{what} is empty: shape {values.shape}; pass at least one row and one column.")


def _column(series, what, flags):
    import pandas as pd

    if isinstance(series.dtype, np.dtype):
        return _as_floats(series.to_numpy(), what, flags)
    numeric = pd.api.types.is_numeric_dtype(series.dtype) and not pd.api.types.is_complex_dtype(series.dtype)
    if not numeric or (pd.api.types.is_bool_dtype(series.dtype) and not flags):
        raise ValueError(_not_numbers(what, series.dtype))
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def _as_floats(array, what, flags, names=None):
    import pandas as pd

    if array.dtype == object:
        kind = pd.api.types.infer_dtype(array.ravel(), skipna=True)
        if kind not in (*_NUMBERS, *(("boolean",) if flags else ())):
            raise ValueError(_not_numbers(what, kind))
        return pd.Series(array.ravel()).to_numpy(dtype=np.float64, na_value=np.nan).reshape(array.shape)
    if array.dtype.kind not in ("fiub" if flags else "fiu"):
        raise ValueError(_not_numbers(what if names is None else f"column {names[0]!r}", array.dtype))
    return array.astype(np.float64, copy=False)


def _not_numbers(what, dtype):
    return f"{what} must hold numbers, got {dtype} values; convert or drop it, or, if it holds dates, make it the index."
