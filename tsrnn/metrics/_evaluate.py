"""The scores of a long frame of forecasts, as a backtest gives it."""

from __future__ import annotations

import re

import numpy as np

from tsrnn.metrics import _rows
from tsrnn.metrics._checks import check_bounds, check_whole

KEYS = ("unique_id", "ds", "cutoff", "y")
BY = (None, "unique_id", "cutoff", "horizon")
_BAND = re.compile(r"(?P<model>.+)-(?P<kind>lo|hi|q)-(?P<number>\d+(\.\d+)?)$")


def evaluate(frame, model=None, *, y_train=None, seasonality=1, naive="naive", by=None):
    """Scores of every forecast in a long frame, for all rows or group by group.

    Parameters
    ----------
    frame : DataFrame
        With the columns `unique_id`, `ds`, `cutoff` (time of the last value that the forecast could see), `y`, a column for
        each model, and where there are intervals or quantiles ``<model>-lo-<level>``, ``<model>-hi-<level>``,
        ``<model>-q-<quantile>``. Rows in any order.
    model : str or list of str, default=None
        The models' columns; None: all columns that are none of the above.
    y_train : Series, DataFrame or array, default=None
        The series themselves, long (`unique_id`, `ds`, `y`), wide (a column a series) or a single one, for `mase`: each
        forecast is scaled by what the seasonal naive forecast missed in that series' rows up to the cutoff. Later rows do
        not count, so the whole history will do. Without a column `cutoff` in the frame all rows count.
    seasonality : int, default=1
        Steps of a season, for `mase`.
    naive : str, default="naive"
        Column of the forecast that `skill` compares with; without it there is no skill.
    by : {None, "unique_id", "cutoff", "horizon"}, default=None
        Groups; horizon 1 is the first `ds` of a series after a cutoff.

    Returns
    -------
    DataFrame
        Indexed by `model`, or by `model` and the group. `n` is the number of values that were scored; rows without y or
        without the model's forecast (NaN) are left out, and so are rows without bounds from the columns of intervals. Then
        `mae`, `rmse`, `mape`, `smape`, `mase`, `skill` as the functions of these names define them (`skill` by the mean
        absolute error, over rows that have both forecasts; `mase` the mean over series, each the mean of its own rows, as in
        `owa`), and for each level `coverage-<level>`, `width-<level>`,
        `winkler-<level>`, for each quantile `pinball-<quantile>`. `mase` leaves out rows whose history has no scale: it is
        constant, or no longer than a season.

    Raises
    ------
    TypeError, ValueError
        Where columns are missing, not numeric or upside down, or y_train lacks a series.

    Examples
    --------
    >>> import pandas as pd
    >>> from tsrnn import metrics
    >>> frame = pd.DataFrame({"unique_id": "a", "ds": [4, 5], "cutoff": 3, "y": [10., 12.], "LSTM": [10., 11.], "naive": 8.})
    >>> metrics.evaluate(frame)["mae"].to_dict()
    {'LSTM': 0.5, 'naive': 3.0}
    >>> metrics.evaluate(frame, by="horizon").loc["LSTM", "skill"].round(2).to_dict()
    {1: 1.0, 2: 0.75}
    """
    import pandas as pd

    models = _models(frame, model, naive, by)
    codes, groups = _groups(frame, by)
    y, series = _values(frame, "y"), pd.factorize(frame["unique_id"])[0]
    scale = None if y_train is None else _scale(frame, y_train, check_whole("seasonality", seasonality))
    tables = {}
    for name in models:
        columns = {}
        for score, losses in _losses(frame, name, y, scale):
            columns[score] = (_means_of_series if score == "mase" else _group_means)(losses, codes, len(groups), series)
        count = np.bincount(codes[~np.isnan(y + _values(frame, name))], minlength=len(groups))
        columns = {"n": count, **columns, "rmse": np.sqrt(columns["rmse"])}
        if naive in frame:
            columns["skill"] = _skill(y, _values(frame, name), _values(frame, naive), codes, len(groups))
        tables[name] = pd.DataFrame(columns, index=groups)
    result = pd.concat(tables, names=["model"])
    first = [c for c in ("n", "mae", "rmse", "mape", "smape", "mase", "skill") if c in result]
    result = result[[*first, *(c for c in result if c not in first)]]
    return result.droplevel(1) if by is None else result


def _models(frame, model, naive, by):
    """Names of the models' columns; refuses a frame that lacks what is asked for."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame must be a DataFrame with the columns {', '.join(KEYS)} and a model's; "
                        f"got {type(frame).__name__}.")
    if by not in BY:
        raise ValueError(f"by={by!r} must be one of {', '.join(map(repr, BY))}.")
    needed = {"unique_id", "y"} | ({"ds", "cutoff"} if by == "horizon" else {by} - {None})
    missing = [key for key in KEYS if key in needed and key not in frame]
    if missing:
        raise ValueError(f"frame lacks the column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}.")
    if frame.empty:
        raise ValueError("frame is empty; a score needs at least one value.")
    found = [c for c in frame if c not in KEYS and not _is_band(frame, c)]
    names = found if model is None else [model] if isinstance(model, str) else list(model)
    unknown = [name for name in names if name not in found]
    if unknown or not names:
        asked = f"has no forecasts called {', '.join(map(repr, unknown))}" if unknown else "has no column of forecasts"
        raise ValueError(f"frame {asked}; its columns beside {', '.join(KEYS)} are {', '.join(map(str, found)) or 'none'}.")
    if naive != "naive" and naive not in found:
        raise ValueError(f"naive={naive!r} is no column of forecasts; there are {', '.join(map(str, found))}.")
    return names


def _is_band(frame, column):
    """Whether a column is the bound or quantile of another one."""
    match = _BAND.match(str(column))
    return bool(match) and match["model"] in frame


def _bands(frame, model, kind):
    """Levels or quantiles of a model, ascending, as they are written in the columns' names."""
    found = (_BAND.match(str(column)) for column in frame)
    return sorted((m["number"] for m in found if m and m["model"] == model and m["kind"] == kind), key=float)


def _values(frame, column):
    """A column as float64, missing values as NaN."""
    try:
        return frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise TypeError(f"column {column!r} of frame is not numeric ({frame[column].dtype}); "
                        f"name the models' columns by model=[...].") from error


def _losses(frame, model, y, scale):
    """Name and loss of each row, one after the other, so that a single one is in memory."""
    p = _values(frame, model)
    yield "mae", _rows.absolute(y, p)
    yield "rmse", _rows.squared(y, p)
    yield "mape", _rows.percentage(y, p)
    yield "smape", _rows.symmetric_percentage(y, p)
    if scale is not None:
        yield "mase", _rows.absolute(y, p) / scale
    for level in _bands(frame, model, "lo"):
        bounds = [f"{model}-{side}-{level}" for side in ("lo", "hi")]
        if bounds[1] not in frame:
            raise ValueError(f"frame has {bounds[0]!r} and lacks {bounds[1]!r}; an interval has two ends.")
        lower, upper = (_values(frame, column) for column in bounds)
        check_bounds(lower, upper, *bounds)
        yield f"coverage-{level}", _rows.covered(y, lower, upper)
        yield f"width-{level}", upper - lower + 0 * y
        yield f"winkler-{level}", _rows.winkler(y, lower, upper, float(level))
    for quantile in _bands(frame, model, "q"):
        yield f"pinball-{quantile}", _rows.pinball(y, _values(frame, f"{model}-q-{quantile}"), float(quantile))


def _means_of_series(losses, codes, n_groups, series):
    """Mean over series of their means in each group (n_groups,)."""
    n_series = int(series.max()) + 1
    pairs, pair = np.unique(codes * n_series + series, return_inverse=True)
    return _group_means(_group_means(losses, pair, len(pairs)), pairs // n_series, n_groups)


def _group_means(losses, codes, n_groups, series=None):
    """Mean of the losses that are not NaN in each group (n_groups,); NaN where there is none."""
    known = ~np.isnan(losses)
    if not known.all():
        losses, codes = losses[known], codes[known]
    with np.errstate(invalid="ignore"):
        return np.bincount(codes, losses, n_groups) / np.bincount(codes, minlength=n_groups)


def _skill(y, p, naive, codes, n_groups):
    """`skill` of each group (n_groups,), over the rows that have both forecasts."""
    both = np.where(np.isnan(y + p + naive), np.nan, 1)
    mine, other = (_group_means(_rows.absolute(y, forecast) * both, codes, n_groups) for forecast in (p, naive))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((mine == 0) & (other == 0), 0.0, 1 - mine / other)


def _groups(frame, by):
    """Number of the group of each row, and the groups in ascending order."""
    import pandas as pd

    if by is None:
        return np.zeros(len(frame), np.int64), pd.RangeIndex(1)
    keys = frame[by] if by != "horizon" else (
        frame.groupby(["unique_id", "cutoff"], sort=False, observed=True)["ds"].rank(method="dense"))
    codes, groups = pd.factorize(keys, sort=True)
    if (codes < 0).any():
        raise ValueError(f"by={by!r}: {int((codes < 0).sum())} rows lack unique_id, ds or cutoff; drop these rows first.")
    groups = pd.Index(groups, name=by)
    return codes, groups.astype(np.int64) if by == "horizon" else groups


def _scale(frame, y_train, m):
    """Mean absolute error of the seasonal naive forecast up to each row's cutoff (rows,); NaN where there is none."""
    import pandas as pd

    from tsrnn.data.covariates import describe_times
    from tsrnn.data.reading import read_times

    history = _long_history(y_train, frame["unique_id"])
    history = history.assign(ds=read_times(history["ds"], "the times of y_train"))
    if "cutoff" in frame:
        frame = frame.assign(cutoff=read_times(frame["cutoff"], "column 'cutoff'"))
        now, then = describe_times(pd.Index(history["ds"])), describe_times(pd.Index(frame["cutoff"]))
        if now != then:
            raise TypeError(f"the times of y_train are {now}, the cutoffs of frame are {then}; make them alike.")
    series, ids = pd.factorize(frame["unique_id"])
    ids = pd.Index(ids)
    known = ids.get_indexer(history["unique_id"])
    missing = np.setdiff1d(np.arange(len(ids)), known)
    if len(missing):
        raise ValueError(f"y_train lacks {len(missing)} series of frame, the first is {ids[missing[0]]!r}; pass them too.")
    # series and times as whole numbers, so that one sorted key finds the last row up to each cutoff
    cut, cutoffs = pd.factorize(frame["cutoff"]) if "cutoff" in frame else (0, history["ds"].max())
    times = pd.concat([history["ds"], pd.Series(cutoffs)], ignore_index=True)
    rank, distinct = pd.factorize(times, sort=True)
    key = known * len(distinct) + rank[:len(history)]
    order = np.argsort(key, kind="stable")
    key, known, y = key[order], known[order], history["y"].to_numpy(np.float64)[order]
    error = pd.Series(np.full(len(y), np.nan))
    error[m:] = np.where(known[m:] == known[:-m], np.abs(y[m:] - y[:-m]), np.nan)
    # of each series by itself: in one sum over all of them the large would drown the small
    total, count = (part.groupby(known).cumsum().to_numpy() for part in (error.fillna(0), error.notna()))
    last = np.searchsorted(key, series * len(distinct) + rank[len(history):][cut], side="right") - 1
    with np.errstate(invalid="ignore"):
        scale = (total / count)[last]
    return np.where((last >= 0) & (known[last] == series) & (scale > 0), scale, np.nan)


def _long_history(y_train, ids):
    """The series as a frame unique_id, ds, y, whatever they came as."""
    import pandas as pd

    if isinstance(y_train, pd.DataFrame) and {"unique_id", "ds", "y"} <= set(y_train.columns):
        return y_train
    if np.ndim(y_train) == 1:
        names = ids.unique()
        if len(names) != 1:
            raise ValueError(f"y_train is one series and frame has {len(names)}; pass a long or a wide frame of them all.")
        y_train = pd.Series(y_train).to_frame(names[0])
    wide = pd.DataFrame(y_train)  # its columns may have any name, "y" too
    rows, n_series = wide.shape
    times = wide.index[np.tile(np.arange(rows), n_series)]
    return pd.DataFrame({"unique_id": wide.columns.to_numpy().repeat(rows), "ds": times,
                         "y": wide.to_numpy(np.float64, na_value=np.nan).T.ravel()})
