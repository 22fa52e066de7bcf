"""Time order: the parts of a fit, the cutoffs of a backtest; never a random row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tsrnn.data.panel import Panel

if TYPE_CHECKING:
    import pandas as pd


def has_calendar(panel: Panel) -> bool:
    """Whether equal times of two series are the same moment; numbered rows of a long frame are only counted."""
    return panel.form.dated or panel.form.kind != "long"


def time_parts(panel: Panel, horizon: int, fraction: float, n_held_out: int) -> np.ndarray:
    """Where the parts of each series begin: the training part, and behind it parts that are held out.

    Parameters
    ----------
    panel : Panel
    horizon : int
        Rows that each held-out part has at least.
    fraction : float
        Of the times, in each held-out part.  0: nothing is held out.
    n_held_out : int

    Returns
    -------
    int64 array of shape (n_held_out + 2, S)
        Row numbers; the first and last rows of it are the series' own bounds.  Series with one calendar are cut at the same
        times, others the same share before their own end.
    """
    starts, ends = panel.bounds[:-1], panel.bounds[1:]
    parts = np.tile(ends, (n_held_out + 2, 1))
    parts[0] = starts
    if not fraction or not panel.n_rows:
        return parts
    if panel.n_series > 1 and has_calendar(panel):
        times = panel.times.unique().sort_values()
        size = held_out_rows(len(times), horizon, fraction)
        for part in range(n_held_out):
            first = max(len(times) - (n_held_out - part) * size, 0)
            parts[part + 1] = rows_from(panel, times[first])
        return parts
    sizes = np.array([held_out_rows(n, horizon, fraction) for n in ends - starts])
    for part in range(n_held_out):
        parts[part + 1] = np.maximum(ends - (n_held_out - part) * sizes, starts)
    return parts


def held_out_rows(n_rows: int, horizon: int, fraction: float) -> int:
    """Rows of a held-out part of `n_rows`."""
    return max(horizon, round(fraction * n_rows))


def rows_from(panel: Panel, time, side: str = "left") -> np.ndarray:
    """First row (S,) of each series that is not before `time` (with side="right": that is behind it)."""
    bounds = panel.bounds
    return np.array([start + panel.times[start:end].searchsorted(time, side=side)
                     for start, end in zip(bounds[:-1], bounds[1:])], np.int64)


def origins_of(good: np.ndarray, first: np.ndarray, stop: np.ndarray, horizon: int) -> np.ndarray:
    """Origins whose targets lie in the rows ``first`` (S,) to ``stop - 1`` of their series, where ``good`` (rows,) says yes."""
    rows = [np.arange(max(a - 1, 0), b - horizon) for a, b in zip(first, stop)]
    origins = rows[0] if len(rows) == 1 else np.concatenate([np.empty(0, np.int64), *rows])
    found = good[origins]
    return origins if found.all() else origins[found]


def cutoffs(panel: Panel, n_splits: int, step: int, horizon: int) -> tuple[np.ndarray, pd.Index | None]:
    """Last known rows of a backtest, oldest first.

    Parameters
    ----------
    panel : Panel
    n_splits : int
    step : int
        Times from one cutoff to the next; the last one has `horizon` times behind it.

    Returns
    -------
    rows : int64 array of shape (n_splits, S)
        Of the last value at each cutoff; a series that has not begun yet has the row before its first.
    times : Index of length n_splits, or None
        The cutoffs themselves where series share them: one with a gap has its last value earlier.  None: they are the times of
        these rows.
    """
    back = horizon + step * np.arange(n_splits - 1, -1, -1)
    shared = panel.n_series > 1 and has_calendar(panel)
    times = panel.times.unique().sort_values() if shared else panel.times
    longest = len(times) if shared else int(np.diff(panel.bounds).max())
    if back[0] >= longest:
        raise ValueError(f"n_splits={n_splits}, step={step} and horizon={horizon} need more than {back[0]} rows, y has "
                         f"{longest}; take fewer or closer splits.")
    if shared:
        cuts = times[longest - 1 - back]
        return np.stack([rows_from(panel, cut, side="right") - 1 for cut in cuts]), cuts
    return np.maximum(panel.bounds[1:] - 1 - back[:, None], panel.bounds[:-1] - 1), None


def until(panel: Panel, last: np.ndarray) -> Panel:
    """The rows of each series up to ``last`` (S,); a series may be left without any."""
    if panel.n_series == 1:
        return _rows(panel, slice(int(panel.bounds[0]), int(last[0]) + 1), last + 1 - panel.bounds[:-1])
    counts = last + 1 - panel.bounds[:-1]
    keep = np.concatenate([np.arange(start, end + 1) for start, end in zip(panel.bounds[:-1], last)])
    return _rows(panel, keep, counts)


def _rows(panel: Panel, rows, counts: np.ndarray) -> Panel:
    return replace(panel, values=panel.values[rows], times=panel.times[rows], past=panel.past[rows], known=panel.known[rows],
                   bounds=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def segments(panel: Panel, origins: np.ndarray, reach: int, horizon: int) -> tuple[Panel, np.ndarray, np.ndarray]:
    """A panel with a short series for each origin: `reach` rows up to it, and `horizon` rows whose values are to come.

    Returns
    -------
    panel : Panel
        Values, and covariates known up to the present, are NaN behind the origin; rows that the series does not have are NaN.
    origins : int64 array of shape (n,)
        In that panel.
    series : int64 array of shape (n,)
        Where each segment is from.
    """
    n, length = len(origins), reach + horizon
    series = np.searchsorted(panel.bounds, origins, side="right") - 1
    rows = (origins[:, None] + np.arange(1 - reach, horizon + 1)).ravel()
    start, end = (np.repeat(bounds[series], length) for bounds in (panel.bounds[:-1], panel.bounds[1:]))
    inside = (rows >= start) & (rows < end)
    rows = np.clip(rows, start, end - 1)
    future = np.tile(np.arange(length) >= reach, n)

    def table(columns: np.ndarray, seen: np.ndarray) -> np.ndarray:
        return np.where(seen[:, None], columns[rows], np.nan)

    part = replace(panel, ids=tuple(panel.ids[s] for s in series), values=table(panel.values, inside & ~future),
                   past=table(panel.past, inside & ~future), known=table(panel.known, inside), static=panel.static[series],
                   bounds=np.arange(n + 1) * length, times=panel.times[:0])
    return part, np.arange(n) * length + reach - 1, series
