"""Forecasts given back in the form that y had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tsrnn.data.calendar import calendar_matrix, check_calendar, future_of_each
from tsrnn.data.covariates import find_future

if TYPE_CHECKING:
    import pandas as pd

    from tsrnn.data.panel import Panel


def panel_future(panel: Panel, horizon: int) -> pd.Index:
    """The `horizon` times after the last one of each series (S * horizon,), one series behind the other."""
    return future_of_each(panel.times.take(panel.bounds[1:] - 1), panel.form.step, horizon)


def read_future(panel: Panel, X, horizon: int, calendar_features=()) -> np.ndarray | None:
    """Read what is known ahead of the rows that a forecast is for.

    Parameters
    ----------
    panel : Panel
        What was seen.
    X : array-like, Series, DataFrame or None
        Future rows of the covariates. Rows are found by their times where y and X have them (a long X by unique_id and ds,
        else by its index) and may be anywhere in X; where they have none, X has `horizon` rows. An array must have all columns
        of the fit's X, a frame the known ones.
    horizon : int
        Rows a series.
    calendar_features : sequence of str
        Of `tsrnn.data.calendar.CALENDAR`; computed, never asked for.

    Returns
    -------
    float64 array of shape (S, horizon, F), or None
        Columns as in `Panel.known`; None where there are none.

    Raises
    ------
    ValueError
        Where X is missing, or rows, columns or values in it.
    """
    names = check_calendar(calendar_features)
    known = panel.form.known
    if known and X is None:
        raise ValueError(f"the fit had the covariates {list(known)}; pass X with their values for the {horizon} rows to "
                         "forecast, or declare them in past_covariates if they are not known ahead.")
    if not known and not names:
        return None
    times = panel_future(panel, horizon)
    blocks = []
    if known:
        blocks.append(find_future(X, panel.form, panel.ids, times, horizon))
    if names:
        blocks.append(calendar_matrix(times, names).reshape(panel.n_series, horizon, -1))
    return np.concatenate(blocks, axis=2)


def to_output(panel: Panel, columns: dict[str, np.ndarray], horizon: int, *, times=None):
    """Forecasts in the form that y had.

    Parameters
    ----------
    panel : Panel
        What was seen; forecasts follow each series' last row.
    columns : dict of str to array of shape (S, horizon, C)
        The point forecast under its model's name, then bounds and quantiles, ``"<model>-lo-80"``.
    horizon : int
    times : Index of length S * horizon, default=None
        Times of the forecasts if others than those that `Form.step` leads to.

    Returns
    -------
    array, Series or DataFrame
        One column: (H,) for an array, (H, S) for a matrix (channels for S), a Series for a Series, a wide frame for a wide
        frame, a frame unique_id, ds, <model> for a long frame. Several columns: frames; of a matrix or a wide frame with the
        columns ``<series>``, ``<series>-lo-80``, ...
    """
    import pandas as pd

    kind = panel.form.kind
    model, *_ = columns
    if len(columns) == 1 and kind in ("array", "matrix"):
        table = _by_time(columns[model])
        return table[:, 0] if kind == "array" else table
    if times is None:
        times = panel_future(panel, horizon)
    if kind == "long":
        frame = {"unique_id": labels(panel.ids).repeat(horizon), "ds": times}
        return pd.DataFrame(frame | {name: values.reshape(-1) for name, values in columns.items()})
    index = times[:horizon]
    if kind in ("array", "series"):
        if len(columns) == 1:
            return pd.Series(columns[model].reshape(-1), index=index, name=panel.form.name)
        return pd.DataFrame({name: values.reshape(-1) for name, values in columns.items()}, index=index)
    series = panel.channels if len(panel.channels) > 1 else panel.ids
    if len(columns) == 1:
        return pd.DataFrame(_by_time(columns[model]), index=index, columns=pd.Index(series).set_names(panel.form.name))
    tables = [_by_time(values) for values in columns.values()]
    names = [_text(one) + ("" if name == model else "-" + name.removeprefix(model + "-")) for one in series for name in columns]
    # series by series, its columns side by side
    return pd.DataFrame(np.stack(tables, axis=2).reshape(horizon, -1), index=index, columns=names)


def to_long(panel: Panel, columns: dict[str, np.ndarray], origins: np.ndarray, truth=None, cutoffs=None) -> pd.DataFrame:
    """Forecasts from many origins beside what came.

    Parameters
    ----------
    panel : Panel
        Everything, the forecast rows too.
    columns : dict of str to array of shape (n, H, C)
        Forecasts of each origin; first the point forecast, under its model's name.
    origins : int array of shape (n,)
        Row of the last value that each forecast saw.
    truth : array of shape (n, H, C), default=None
        What came, if other than the panel's values.
    cutoffs : Index of length n, default=None
        Times of the cutoffs, if other than those of the origins.

    Returns
    -------
    DataFrame
        unique_id (a channel's name where there are several), ds, cutoff, y and the columns, in the order of origins,
        channels, horizons.  Rows beyond a series' end are left out.
    """
    import pandas as pd

    origins = np.asarray(origins)
    n, horizon, n_channels = next(iter(columns.values())).shape
    rows = origins[:, None] + np.arange(1, horizon + 1)
    series = np.searchsorted(panel.bounds, origins, side="right") - 1
    # (n, C, H): which forecasts have a row
    there = np.broadcast_to((rows < panel.bounds[series + 1][:, None])[:, None, :], (n, n_channels, horizon))

    def pick(values):
        return np.broadcast_to(values, there.shape)[there]

    target = pick(rows[:, None, :])
    if n_channels > 1:
        names = labels(panel.channels).take(pick(np.arange(n_channels)[None, :, None]))
    else:
        names = labels(panel.ids).take(pick(series[:, None, None]))
    if truth is None:
        came = panel.values[target, pick(np.arange(n_channels)[None, :, None])]
    else:
        came = pick(np.asarray(truth).transpose(0, 2, 1))
    cutoffs = panel.times.take(origins) if cutoffs is None else cutoffs
    cutoff = cutoffs.take(pick(np.arange(n)[:, None, None]))
    frame = {"unique_id": names, "ds": panel.times.take(target), "cutoff": cutoff, "y": came}
    return pd.DataFrame(frame | {name: pick(values.transpose(0, 2, 1)) for name, values in columns.items()})


def labels(names) -> pd.Index:
    """Names of series as an index of one level, tuples too."""
    import pandas as pd

    return pd.Index(list(names), tupleize_cols=False)


def _by_time(values):
    """(S, H, C) as (H, S * C)."""
    return values.transpose(1, 0, 2).reshape(values.shape[1], -1)


def _text(name):
    return "-".join(map(str, name)) if isinstance(name, tuple) else str(name)
