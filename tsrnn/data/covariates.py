"""X: the covariates, found at the rows of y and at those of the future."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tsrnn.data.calendar import ordinals
from tsrnn.data.reading import Reading, read_numbers, read_times


class Covariates(NamedTuple):
    """`past` (rows, P), `known` (rows, F), `static` (S, Q) and the names that lead to them."""

    past: np.ndarray
    known: np.ndarray
    static: np.ndarray
    names: tuple[tuple, tuple, tuple]
    categories: Any


def read_covariates(X, reading: Reading, past=(), static=(), like=None) -> Covariates:
    """Read X at the rows of y.

    Parameters
    ----------
    X : array-like, Series, DataFrame or None
        See `tsrnn.data.panel.read_panel`.
    reading : Reading
        What was read of y.
    past, static : sequence of names
    like : Form or None
        Of the fit, whose columns X must have.

    Raises
    ------
    ValueError, TypeError
    """
    rows, n_series = len(reading.values), len(reading.ids)
    if X is None:
        expected = list(past) + list(static) if like is None else [*like.past, *like.known, *like.static]
        if expected:
            raise ValueError(f"the covariates {expected} need X, got X=None.")
        return Covariates(np.empty((rows, 0)), np.empty((rows, 0)), np.empty((n_series, 0)), ((), (), ()), {})
    frame, indexed = as_frame(X)
    names = _sort_names(frame, reading.kind, past, static, like)
    found = _rows_of_history(frame, indexed, reading)
    past_values, known = (_numbers_at(frame, part, found, rows) for part in names[:2])
    blocks, categories = [np.empty((n_series, 0))], {}
    for name in names[2]:
        block, values = _read_static(frame, name, found, reading, like)
        blocks.append(block)
        if values is not None:
            categories[name] = values
    return Covariates(past_values, known, np.concatenate(blocks, axis=1), names, categories)


def as_frame(X):
    """X as a frame, and whether its rows have labels (an array's columns are numbered and its rows have none)."""
    import pandas as pd

    if isinstance(X, pd.DataFrame):
        frame = X
    elif isinstance(X, pd.Series):
        frame = X.to_frame(0 if X.name is None else X.name)
    else:
        array = np.asarray(X)
        if array.ndim not in (1, 2):
            raise ValueError(f"X must be (rows,) or (rows, covariates), a Series or a DataFrame, got shape {array.shape}.")
        return pd.DataFrame(array.reshape(len(array), -1), copy=False), False
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise ValueError(f"X has the column {repeated[0]!r} twice.")
    return frame, True


def _sort_names(frame, kind, past, static, like):
    """(past, known, static) names of the columns of X."""
    for word, names in (("past_covariates", past), ("static_covariates", static)):
        if isinstance(names, str):
            raise ValueError(f"{word}={names!r} must be a list of column names: {word}=[{names!r}].")
    if kind == "long":
        missing = [name for name in ("unique_id", "ds") if name not in frame.columns]
        if missing:
            raise ValueError(f"X must be a long frame as y is, with unique_id, ds and covariates; {missing} missing from "
                             f"{list(frame.columns)}.")
    columns = [name for name in frame.columns if kind != "long" or name not in ("unique_id", "ds")]
    if not columns:
        raise ValueError("X has no covariate column; leave X out.")
    if like is not None:
        expected = [*like.past, *like.known, *like.static]
        if not expected:
            raise ValueError("the fit had no X; leave X out, or fit with it.")
        lacking, more = ([name for name in a if name not in b] for a, b in ((expected, columns), (columns, expected)))
        if lacking or more:
            raise ValueError(f"X must have the covariates of the fit, {expected}; missing: {lacking}, unknown: {more}.")
        return like.past, like.known, like.static
    unknown = [name for name in (*past, *static) if name not in columns]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not a column of X; its covariates are {columns}.")
    both = [name for name in past if name in static]
    if both:
        raise ValueError(f"{both[0]!r} is in past_covariates and in static_covariates; it can be in one of them.")
    return tuple(past), tuple(name for name in columns if name not in past and name not in static), tuple(static)


def _numbers_at(frame, names, found, rows):
    """Columns at the rows found, as (rows, columns); found None: the rows are as they lie."""
    if not names:
        return np.empty((rows, 0))
    for name in names:
        if _is_text(frame[name]):
            raise ValueError(f"covariate {name!r} holds text; turn it into numbers, or, if it never changes within a series, "
                             f"declare it: static_covariates=[{name!r}].")
    matrix = read_numbers(frame[list(names)], "X", flags=True)
    return np.ascontiguousarray(matrix if found is None else matrix[found])


def _rows_of_history(frame, indexed, reading):
    """Row of X for each row of the panel; None: the same rows."""
    if reading.kind == "long":
        of_series = np.repeat(np.arange(len(reading.ids)), np.diff(reading.bounds))
        return find_long(frame, reading.ids, of_series, reading.times)
    if indexed and reading.index is not None:
        own = find_times(frame.index, reading.index)
        if own is None:
            return reading.source
        return own if reading.source is None else own[reading.source]
    n_rows = len(reading.values) if reading.source is None else int(reading.source.max()) + 1
    if len(frame) != n_rows:
        raise ValueError(f"X has {len(frame)} rows and y has {n_rows}; both must hold the same steps.")
    return reading.source


def find_times(index, times):
    """Row of the index at each of the times; None where both are the same."""
    if index.equals(times):
        return None
    own = read_times(index, "the index of X")
    check_same_dates(own, times)
    if not own.is_unique:
        raise ValueError(f"X has the time {own[own.duplicated()][0]} twice; keep one of its rows.")
    found = own.get_indexer(times)
    if (found < 0).any():
        missing = times[found < 0]
        raise ValueError(f"X has no row for {missing[0]}{_and_more(missing)}; it must hold every time of y and of the "
                         "forecast: X.reindex(...).")
    return found


def find_long(frame, ids, of_series, times):
    """Row of a long X for each (series, time).

    Parameters
    ----------
    frame : DataFrame with unique_id and ds
    ids : tuple of length S
    of_series : int array of shape (rows,)
    times : Index of length rows

    Returns
    -------
    int64 array of shape (rows,), or None where both have the same rows
    """
    import pandas as pd

    own_times = read_times(frame["ds"], "column 'ds' of X")
    check_same_dates(own_times, times)
    # one number for each pair: time codes below the number of distinct times
    codes, distinct = pd.factorize(times)
    own_codes = codes if own_times.equals(times) else distinct.get_indexer(own_times)
    series_codes, own_ids = pd.factorize(frame["unique_id"])
    number_of = {name: number for number, name in enumerate(ids)}
    lookup = np.array([number_of.get(name, -1) for name in own_ids.tolist()] + [-1])
    own_series = lookup[series_codes]
    keys = of_series * len(distinct) + codes
    own_keys = np.where((own_series < 0) | (own_codes < 0), -1, own_series * len(distinct) + own_codes)
    if np.array_equal(keys, own_keys):
        return None
    kept = np.flatnonzero(own_keys >= 0)
    table = pd.Index(own_keys[kept])
    if not table.is_unique:
        row = int(kept[np.argmax(table.duplicated())])
        raise ValueError(f"X has the row ({frame['unique_id'].iloc[row]!r}, {own_times[row]}) twice; keep one of them.")
    found = table.get_indexer(keys)
    if (found < 0).any():
        missing = np.flatnonzero(found < 0)
        raise ValueError(f"X has no row for series {ids[of_series[missing[0]]]!r} at {times[missing[0]]}{_and_more(missing)}; "
                         "it must hold every (unique_id, ds) of y and of the forecast.")
    return kept[found]


def check_same_dates(own, times):
    """Both are dates of one time zone, periods of one length, or numbers."""
    own_kind, kind = describe_times(own), describe_times(times)
    if own_kind != kind:
        raise ValueError(f"the times of X are {own_kind}, those of y are {kind}; make them alike.")


def describe_times(times) -> str:
    """What kind of times they are, in words."""
    import pandas as pd

    if isinstance(times, pd.PeriodIndex):
        return f"periods ({times.freqstr})"
    if not isinstance(times, pd.DatetimeIndex):
        return "whole numbers"
    return "dates without a time zone" if times.tz is None else f"dates in {times.tz}"


def _and_more(missing):
    return f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""


def _read_static(frame, name, found, reading, like):
    """(S, columns) block of a covariate that never changes, and the values of its columns where it holds text."""
    import pandas as pd

    column = frame[name]
    is_text = _is_text(column)
    if like is not None and is_text != (name in like.categories):
        words = ("numbers", "text") if is_text else ("text", "numbers")
        raise ValueError(f"static covariate {name!r} held {words[0]} in the fit and holds {words[1]} now.")
    if is_text:
        codes, values = pd.factorize(column)
        numbers = codes.astype(np.float64)
    else:
        numbers = read_numbers(column, f"static covariate {name!r}", flags=True)
    numbers = numbers if found is None else numbers[found]
    first = numbers[reading.bounds[:-1]]
    spread = np.repeat(first, np.diff(reading.bounds))
    changed = (numbers != spread) & ~(np.isnan(numbers) & np.isnan(spread))
    if changed.any():
        row = int(changed.argmax())
        series = int(np.searchsorted(reading.bounds, row, side="right")) - 1
        raise ValueError(f"static covariate {name!r} changes within series {reading.ids[series]!r} (at {reading.times[row]}); "
                         "leave it out of static_covariates.")
    if not is_text:
        return first[:, None], None
    if (first < 0).any():
        which = reading.ids[int(np.argmin(first))]
        raise ValueError(f"static covariate {name!r} has no value for series {which!r}; give it one.")
    return _one_hot(name, [values[int(code)] for code in first], None if like is None else like.categories[name])


def _one_hot(name, texts, known):
    """One column of zeros and ones a value."""
    values = tuple(sorted(set(texts), key=str)) if known is None else known
    unknown = [text for text in texts if text not in values]
    if unknown:
        raise ValueError(f"static covariate {name!r} has the value {unknown[0]!r}, which the fit did not see; "
                         f"it knows {', '.join(map(repr, values))}.")
    place = {value: column for column, value in enumerate(values)}
    return np.eye(len(values))[[place[text] for text in texts]], values


def _is_text(column):
    import pandas as pd

    if column.dtype == object:
        return pd.api.types.infer_dtype(column, skipna=True) in ("string", "mixed")
    return isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_string_dtype(column.dtype)


def find_future(X, form, ids, times, horizon: int) -> np.ndarray:
    """The covariates that are known ahead, at the times of a forecast.

    Parameters
    ----------
    X : array-like, Series or DataFrame
    form : Form
    ids : tuple of length S
    times : Index of length S * horizon
        One series behind the other.
    horizon : int

    Returns
    -------
    float64 array of shape (S, horizon, F)

    Raises
    ------
    ValueError
        For rows, columns or values that are missing.
    """
    frame, indexed = as_frame(X)
    missing = [name for name in form.known if name not in frame.columns]
    if missing:
        raise ValueError(f"X lacks the covariates {missing} that the fit had; their future values are needed.")
    n_series = len(ids)
    if form.kind == "long":
        lacking = [name for name in ("unique_id", "ds") if name not in frame.columns]
        if lacking:
            raise ValueError(f"X must be a long frame as y was, with unique_id and ds; {lacking} missing from "
                             f"{list(frame.columns)}.")
        found = find_long(frame, ids, np.repeat(np.arange(n_series), horizon), times)
    elif indexed and form.kind in ("series", "wide"):
        found = _find_shared(frame, times, n_series, horizon)
    else:
        if len(frame) != horizon:
            raise ValueError(f"X has {len(frame)} rows, horizon={horizon} needs {horizon}: those right after "
                             "the end of y, no fewer than the fitted horizon has.")
        found = np.tile(np.arange(horizon), n_series)
    known = _numbers_at(frame, form.known, found, n_series * horizon)
    if np.isnan(known).any():
        row, column = np.argwhere(np.isnan(known))[0]
        raise ValueError(f"X has no value of {form.known[column]!r} at {times[row]}; future covariates must be complete.")
    return known.reshape(n_series, horizon, -1)


def _find_shared(frame, times, n_series, horizon):
    """Rows of an X that all series of a wide frame share; they end at the same time unless they were selected otherwise."""
    first = times[:horizon]
    numbers = ordinals(times).reshape(n_series, horizon)
    if (numbers == numbers[0]).all():
        found = find_times(frame.index, first)
        return np.tile(np.arange(horizon) if found is None else found, n_series)
    return find_times(frame.index, times)
