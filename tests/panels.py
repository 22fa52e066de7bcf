"""Random panels for tests, built by hand: no reader stands between a test and the arrays that it means."""

from dataclasses import replace

import numpy as np
import pandas as pd

from tsrnn.data.panel import Form, Panel

DAYS = pd.date_range("2024-01-01", periods=2000)


def make_panel(lengths=(40,), channels=1, past=0, known=0, static=0, missing=0.0, seed=0, kind="long", dated=True, ends=None):
    """Positive walks of unequal length.

    `missing` is the share of values and of covariates that are NaN, `ends` the place in the calendar where each series ends (by
    default they begin together).
    """
    rng = np.random.default_rng(seed)
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = int(bounds[-1])
    values = 50 + np.concatenate([rng.normal(size=(n, channels)).cumsum(axis=0) for n in lengths])
    columns = [rng.normal(3, 2, size=(rows, k)) for k in (past, known)]
    for table in (values, *columns):
        table[rng.random(table.shape) < missing] = np.nan
    places = np.concatenate([np.arange(end - n, end) for n, end in zip(lengths, ends or lengths)])
    times = DAYS[places] if dated else pd.Index(places)
    form = Form(kind, None, dated, pd.offsets.Day() if dated else 1)
    return Panel(tuple(f"s{s}" for s in range(len(lengths))), tuple(f"c{c}" for c in range(channels)), values, bounds, times,
                 *columns, rng.normal(size=(len(lengths), static)), form)


def walk(n=400, seed=0, start=0.0):
    """A random walk (n,)."""
    return start + np.random.default_rng(seed).normal(size=n).cumsum()


def after(panel, rows, value):
    """`panel` with `value` in everything behind the row numbers ``rows`` (S,) that is not known ahead."""
    behind = np.arange(panel.n_rows) > np.asarray(rows)[panel.series_of_row]
    tables = [table.copy() for table in (panel.values, panel.past)]
    for table in tables:
        table[behind] = value
    return replace(panel, values=tables[0], past=tables[1])
