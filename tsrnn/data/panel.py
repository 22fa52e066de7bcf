"""One or many series in one form, whatever they came as.

Rows of all series lie one behind the other; a *row number* therefore says series and time, and a forecast's origin is the
row number of the last value that it may see.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tsrnn.data.calendar import calendar_matrix, check_calendar, future_of_each, ordinals
from tsrnn.data.covariates import describe_times, read_covariates
from tsrnn.data.reading import read_series

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Form:
    """What y was, so that forecasts can be given back in the same form.

    Attributes
    ----------
    kind : str
        "array" (1-D), "matrix" (2-D array), "series", "wide" or "long".
    name : object
        Of a Series, or a tuple of the names of a wide frame's column levels.
    dated : bool
        Whether times are dates; else they are whole numbers.
    step : object
        What leads from one time to the next: a pandas offset, or an int.
    past, known, static : tuple of str
        Columns of X by what is known of them at the time of a forecast. `known` has no calendar features: `Panel.known`
        holds those behind the columns named here.
    categories : dict of str to tuple
        Values of each static column that holds text; each is a column of zeros and ones in `Panel.static`.
    """

    kind: str
    name: Any
    dated: bool
    step: Any
    past: tuple = ()
    known: tuple = ()
    static: tuple = ()
    categories: Any = None


@dataclass(frozen=True)
class Panel:
    """Series in time order.  `values` may be the user's own memory: it is never written to.

    Attributes
    ----------
    ids : tuple of length S
        Names of the series.  With joined channels S is 1.
    channels : tuple of length C
        Names of the channels; C is 1 unless the columns of a wide frame were joined.
    values : float64 array of shape (rows, C)
        NaN where a value is missing.
    bounds : int64 array of shape (S + 1,)
        Series s has the rows ``bounds[s]`` to ``bounds[s + 1] - 1``.
    times : pandas.Index of length rows
        Dates, or whole numbers.
    past : float64 array of shape (rows, P)
        Covariates that are known up to the present.
    known : float64 array of shape (rows, F)
        Covariates that are known ahead.
    static : float64 array of shape (S, Q)
        Covariates that never change.
    form : Form
    """

    ids: tuple
    channels: tuple
    values: np.ndarray
    bounds: np.ndarray
    times: pd.Index
    past: np.ndarray
    known: np.ndarray
    static: np.ndarray
    form: Form

    @property
    def n_series(self) -> int:
        """S."""
        return len(self.ids)

    @property
    def n_rows(self) -> int:
        """Of all series."""
        return len(self.values)

    @property
    def series_of_row(self) -> np.ndarray:
        """Number of the series of each row (rows,)."""
        return np.repeat(np.arange(self.n_series), np.diff(self.bounds))


def read_panel(y, X=None, *, multivariate: bool = False, past_covariates=(), static_covariates=(), calendar_features=(),
               like: Panel | None = None) -> Panel:
    """Read series and covariates, whatever they come as; check everything, fill nothing.

    Parameters
    ----------
    y : array-like of shape (rows,) or (rows, S), Series or DataFrame
        An array; a Series indexed by dates, periods or whole numbers; a frame of one column a series ("wide"); or a long frame
        with the columns unique_id, ds and y, where the rows of a series are in time order. NaN are values that are missing;
        leading ones of a column are cut off, since that series starts later. Dates written as text are parsed.
    X : array-like, Series or DataFrame, default=None
        Covariates. For an array: of the same rows. For a Series or wide frame: an array of the same rows, or a frame whose
        index holds every time of y; all series share it. For a long y: a long frame with unique_id, ds and covariates. Where
        rows have times, those that y does not have are left alone.
    multivariate : bool
        The columns of y are the channels of one series; nothing is cut off.
    past_covariates, static_covariates : sequence of names
        Columns of X that are known up to the present, and those that never change within a series (text becomes a column of
        zeros and ones a value). All others are known ahead. Columns of an array are numbered.
    calendar_features : sequence of str
        Of `tsrnn.data.calendar.CALENDAR`: further columns of `Panel.known`.
    like : Panel, default=None
        What was fitted: y and X must be of the same kind, with the same channels and covariates; series may be others. A Series
        without a name is the fitted one. Nothing is cut off, and series may hold NaN alone, since the rows may continue others.

    Returns
    -------
    Panel

    Raises
    ------
    ValueError, TypeError
        For times that are out of order, repeated, missing or of several zones, values that are no finite numbers, nothing at
        all, columns that are repeated or missing, a y (or a channel) of NaN alone, and an X that does not fit.
    """
    calendar_features = check_calendar(calendar_features)
    reading = read_series(y, multivariate, whole=like is not None)
    order = None if like is None else _order_like(reading, like)
    found = read_covariates(X, reading, past_covariates, static_covariates, None if like is None else like.form)
    known = found.known
    if calendar_features:
        features = calendar_matrix(reading.times, calendar_features)
        known = np.concatenate([known, features], axis=1) if known.shape[1] else features
    dated = describe_times(reading.times) != "whole numbers"
    form = Form(reading.kind, reading.name, dated, reading.step, *found.names, found.categories)
    values, channels, ids = reading.values, reading.channels, reading.ids
    if like is not None:
        ids = like.ids if reading.kind == "series" and reading.name is None else ids
        form = replace(like.form, name=reading.name)
        if order is not None:
            values, channels = np.ascontiguousarray(values[:, order]), like.channels
    return Panel(ids, channels, values, reading.bounds.astype(np.int64), reading.times, found.past, known, found.static,
                 form)


def _order_like(reading, like):
    """Check that y is of the fit's kind; the order that brings its channels into that of the fit, None: it is the same."""
    if reading.kind != like.form.kind:
        words = {"array": "a 1-D array", "matrix": "a 2-D array", "series": "a Series", "wide": "a wide frame",
                 "long": "a long frame"}
        raise ValueError(f"y is {words[reading.kind]}, the fit had {words[like.form.kind]}; pass the same kind.")
    now, then = describe_times(reading.times), describe_times(like.times)
    if now != then:
        raise ValueError(f"the times of y are {now}, those of the fit were {then}; make them alike.")
    if reading.channels == like.channels:
        return None
    lacking, more = ([name for name in a if name not in b]
                     for a, b in ((like.channels, reading.channels), (reading.channels, like.channels)))
    if lacking or more:
        raise ValueError(f"y must have the {len(like.channels)} channels of the fit; missing: {lacking[:3]}, "
                         f"unknown: {more[:3]}.")
    return [reading.channels.index(name) for name in like.channels]


def extend(panel: Panel, new: Panel) -> Panel:
    """Put the rows of `new` behind those of `panel`.

    Parameters
    ----------
    panel : Panel
    new : Panel
        Read with ``like=panel``. Rows of arrays continue; all others must begin after the end of their series, where gaps are
        allowed (holidays). Of a long frame series may be absent.

    Returns
    -------
    Panel
        With the series, in their order, of `panel`.

    Raises
    ------
    ValueError
        For series that `panel` does not have, rows that do not come after its end, static covariates that are others.
    """
    number = _match_series(panel, new)
    times = new.times
    lasts = panel.bounds[1:] - 1
    if panel.form.kind in ("array", "matrix"):
        # numbered on from each series' end
        ends = ordinals(panel.times.take(lasts))[number]
        times = _number_on(ends, np.diff(new.bounds), times.name)
    else:
        _check_begins_after(panel, new, number)
    if panel.static.shape[1] and not np.array_equal(panel.static[number], new.static, equal_nan=True):
        raise ValueError("static covariates differ from those of the fit; they must not change.")
    lengths = np.diff(panel.bounds)
    lengths[number] += np.diff(new.bounds)
    order = None
    if panel.n_series > 1:
        order = np.argsort(np.concatenate([panel.series_of_row, number[new.series_of_row]]), kind="stable")

    def join(first, second):
        both = np.concatenate([first, second])
        return both if order is None else both[order]

    joined = panel.times.append(times)
    return replace(panel, values=join(panel.values, new.values), bounds=np.concatenate([[0], np.cumsum(lengths)]),
                   times=joined if order is None else joined.take(order), past=join(panel.past, new.past),
                   known=join(panel.known, new.known))


def _match_series(panel, new):
    """Number in `panel` of each series of `new` (S_new,)."""
    kind = panel.form.kind
    if kind in ("array", "series") or len(panel.channels) > 1:
        return np.zeros(1, np.int64)
    number_of = {name: number for number, name in enumerate(panel.ids)}
    unknown = [name for name in new.ids if name not in number_of]
    if unknown:
        hint = ("; a splitter that cuts a long frame by rows gives series to one side alone: use PanelTimeSeriesSplit"
                if kind == "long" else "")
        raise ValueError(f"y has the series {', '.join(map(repr, unknown[:3]))}, which the fit did not have{hint}.")
    if kind != "long" and len(new.ids) < panel.n_series:
        lacking = next(name for name in panel.ids if name not in new.ids)
        raise ValueError(f"y has {len(new.ids)} of the {panel.n_series} series of the fit: {lacking!r} is missing; "
                         "pass all columns, with NaN where values are missing.")
    return np.array([number_of[name] for name in new.ids])


def _number_on(ends, lengths, name):
    """Row numbers behind each end."""
    import pandas as pd

    if len(ends) == 1:
        return pd.RangeIndex(int(ends[0]) + 1, int(ends[0]) + 1 + int(lengths[0]), name=name)
    return pd.Index(np.repeat(ends + 1, lengths) + _positions(lengths), name=name)


def _check_begins_after(panel, new, number):
    """Every series of `new` begins after the end that `panel` has."""
    ends, begins = panel.times.take(panel.bounds[1:][number] - 1), new.times.take(new.bounds[:-1])
    late = np.asarray(begins > ends)
    if late.all():
        return
    which = int(np.argmin(late))
    name = f"of series {new.ids[which]!r} " if panel.n_series > 1 else ""
    hint = ("; a splitter that cuts a long frame by rows does that: use PanelTimeSeriesSplit" if panel.form.kind == "long"
            else "; pass the rows that follow it")
    raise ValueError(f"rows of y {name}begin at {begins[which]}, but the fitted series ends at {ends[which]}{hint}.")


def select(panel: Panel, series) -> Panel:
    """Some of the series.

    Parameters
    ----------
    panel : Panel
    series : sequence of int
        Their numbers, in the order wanted.
    """
    series = np.asarray(series, dtype=np.int64)
    starts, lengths = panel.bounds[:-1][series], np.diff(panel.bounds)[series]
    return _take(replace(panel, ids=tuple(panel.ids[s] for s in series), static=panel.static[series]), starts, lengths)


def _take(panel, starts, lengths):
    """Rows ``starts[s]`` to ``starts[s] + lengths[s] - 1`` of each series."""
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    if len(starts) and (starts[1:] == (starts + lengths)[:-1]).all():  # one stretch: views
        rows = slice(int(starts[0]), int(starts[0] + bounds[-1]))
    else:
        rows = np.repeat(starts, lengths) + _positions(lengths)
    return replace(panel, values=panel.values[rows], bounds=bounds, times=panel.times[rows], past=panel.past[rows],
                   known=panel.known[rows])


def _positions(lengths):
    """0 to lengths[s] - 1 for each s, one behind the other."""
    return np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def tail(panel: Panel, rows: int, horizon: int, known_future: np.ndarray | None = None) -> tuple[Panel, np.ndarray]:
    """The last rows of every series and the future rows behind them.

    Parameters
    ----------
    panel : Panel
    rows : int
        How many rows of a series, fewer where it has fewer.
    horizon : int
        How many future rows: their values and past covariates are NaN.
    known_future : array of shape (S, horizon, F), default=None
        Covariates known ahead, calendar features included; NaN if None.

    Returns
    -------
    panel : Panel
        `rows` + `horizon` rows a series.
    origins : int64 array of shape (S,)
        Its rows that lie before the future ones.
    """
    seen = np.minimum(np.diff(panel.bounds), rows)
    recent = _take(panel, panel.bounds[1:] - seen, seen)
    if not horizon:
        return recent, recent.bounds[1:] - 1
    n_series = panel.n_series
    order = np.argsort(np.concatenate([recent.series_of_row, np.repeat(np.arange(n_series), horizon)]), kind="stable")
    future = future_of_each(panel.times.take(panel.bounds[1:] - 1), panel.form.step, horizon)

    def join(first, second=None):
        missing = np.full((n_series * horizon, first.shape[1]), np.nan)
        return np.concatenate([first, missing if second is None else second.reshape(missing.shape)])[order]

    bounds = recent.bounds + horizon * np.arange(n_series + 1)
    longer = replace(recent, values=join(recent.values), bounds=bounds, times=recent.times.append(future).take(order),
                     past=join(recent.past), known=join(recent.known, known_future))
    return longer, bounds[1:] - horizon - 1


def unshared(panel: Panel, *sources) -> Panel:
    """The panel with copies of what it shares with the user's data `sources`: they may change later."""
    parts = []
    for source in sources:  # a frame has an array a column, or several columns in one
        parts += [source] if not hasattr(source, "columns") else [source.iloc[:, i] for i in range(source.shape[1])]
    arrays = [part.to_numpy() if hasattr(part, "to_numpy") else part for part in parts]

    def own(table):
        shared = (isinstance(array, np.ndarray) and np.may_share_memory(table, array) for array in arrays)
        return table.copy() if any(shared) else table

    return replace(panel, values=own(panel.values), past=own(panel.past), known=own(panel.known))
