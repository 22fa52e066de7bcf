"""Prices of one or many stocks, however a vendor names and arranges them, as tidy frames; nothing is filled."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tsrnn._warn import warn
from tsrnn.data.indicators import indicator_table
from tsrnn.data.reading import read_numbers, read_times

if TYPE_CHECKING:
    import pandas as pd

PRICES = ("open", "high", "low", "close")
OHLCV = (*PRICES, "volume")
IDS = ("unique_id", "ticker", "symbol", "name")
DATES = ("ds", "date", "datetime", "timestamp", "time")
_SPELLINGS = {
    "opening_price": "open", "open_price": "open", "highest_price": "high", "high_price": "high", "lowest_price": "low",
    "low_price": "low", "closing_price": "close", "close_price": "close", "close_last": "close", "vol": "volume",
    "adjusted_close": "adj_close", "adj_close_price": "adj_close",
}
ALONE = "the frame"  # what a stock without a name is called in messages


class Stocks(NamedTuple):
    """Prices by stock.

    Attributes
    ----------
    frames : dict of name to DataFrame
        float64 columns, named as `tidy_name` has it: open, high, low, close and volume as far as they are there, and the
        features that were asked for.  Index: dates, ascending.
    single : bool
        Whether it was one stock by itself; else forecasts are a long frame.
    """

    frames: dict[Any, pd.DataFrame]
    single: bool


def tidy_name(name: Any) -> str:
    """A column's name in lower case, words joined by "_", without units in brackets: "Volume(share)" is "volume"."""
    text = re.sub(r"\(.*?\)", " ", str(name).lower())
    text = re.sub(r"^\s*\d+\.\s", "", text)  # "4. close", as Alpha Vantage numbers them
    text = re.sub(r"\W+", "_", text).strip("_")
    return _SPELLINGS.get(text, text)


def read_stocks(y: Any, features: Sequence[str] = ()) -> Stocks:
    """Read prices and check them.

    Parameters
    ----------
    y : DataFrame, or dict of DataFrame
        One stock, with dates as index or in a column; several below each other with a column (or index level) unique_id,
        ticker, symbol or name; columns of two levels as ``yfinance.download`` returns them, whose rows without any value are
        no sessions of that stock; frames by name.
    features : sequence of str
        Tidy names of columns or indicators.

    Returns
    -------
    Stocks
        Prices of 0 and below, and volumes below 0, are missing: one warning says where.

    Raises
    ------
    ValueError, TypeError
        For what is no such frame; for columns that are missing, repeated or no numbers; for unknown features; for dates that
        are missing, out of order, repeated or of several time zones.
    """
    import pandas as pd

    if isinstance(y, pd.DataFrame) and y.columns.nlevels > 1:
        y = _by_ticker(y)
        y = next(iter(y.values())) if len(y) == 1 else y
    single = False
    if isinstance(y, Mapping):
        frames = {name: _read_one(frame, name, features) for name, frame in y.items()}
    elif isinstance(y, pd.DataFrame):
        y = y.reset_index() if y.index.nlevels > 1 else y
        ids = next((column for column in y.columns if tidy_name(column) in IDS), None)
        single = ids is None
        frames = {ALONE: _read_one(y, ALONE, features)} if single else _read_long(y, ids, features)
    else:
        raise TypeError("y must be a ticker symbol or a list of them, a frame of prices, a long frame or a dict of frames, "
                        f"not {type(y).__name__}.")
    if not frames:
        raise ValueError("y has no stock; pass at least one frame of prices.")
    _check_zones(frames)
    return Stocks(_mend(frames), single)


def _by_ticker(y: pd.DataFrame) -> dict[Any, pd.DataFrame]:
    """Frames of columns that have two levels, fields and tickers, whichever comes first."""
    levels = [{tidy_name(label) for label in y.columns.get_level_values(level)} for level in range(y.columns.nlevels)]
    fields = next((number for number, labels in enumerate(levels) if "close" in labels), None)
    if y.columns.nlevels != 2 or fields is None:
        raise ValueError(f"the columns have {y.columns.nlevels} levels such as {y.columns[0]}; pass one frame a stock, or "
                         "fields (open, high, low, close, volume) in one level and tickers in the other.")
    tickers = y.columns.get_level_values(1 - fields).unique()
    # where calendars were joined, a row may hold no session of this stock
    return {ticker: y.xs(ticker, axis=1, level=1 - fields).dropna(how="all") for ticker in tickers}


def _read_one(frame: Any, name: Any, features: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"{name} must be a frame with the columns {', '.join(OHLCV)}, not {type(frame).__name__}.")
    table = _table(frame, name, features)
    _check_dates(table.index, name)
    return table


def _read_long(y: pd.DataFrame, ids: Any, features: Sequence[str]) -> dict[Any, pd.DataFrame]:
    """Parts of a long frame, stocks in the order of their first rows."""
    import pandas as pd

    codes, names = pd.factorize(y[ids])
    if len(codes) and codes.min() < 0:
        raise ValueError(f"column {ids!r} has no value in row {int(np.argmin(codes))}; every row needs its stock's name.")
    table = _table(y.drop(columns=ids), ALONE, features)
    if (codes[1:] < codes[:-1]).any():
        order = np.argsort(codes, kind="stable")
        codes, table = codes[order], table.iloc[order]
    ends = np.cumsum(np.bincount(codes, minlength=len(names)))
    frames = {name: table.iloc[end - rows:end] for name, end, rows in zip(names.tolist(), ends, np.diff(ends, prepend=0))}
    for name, frame in frames.items():
        _check_dates(frame.index, name)
    return frames


def _table(frame: pd.DataFrame, name: Any, features: Sequence[str]) -> pd.DataFrame:
    """The columns that are needed, as numbers by their dates."""
    import pandas as pd

    if not len(frame):
        raise ValueError(f"{name} has no row; pass prices.")
    tidy = [tidy_name(column) for column in frame.columns]
    place = {column: number for number, column in reversed(list(enumerate(tidy)))}
    unknown = [feature for feature in features if feature not in place]
    _check_features(unknown, frame.columns, name)
    if "close" not in place:
        raise ValueError(f"{name} has no column close; its columns are {_list(frame.columns)}.")
    wanted = [column for column in dict.fromkeys((*OHLCV, *features)) if column in place]
    twice = next((column for column in wanted if tidy.count(column) > 1), None)
    if twice is not None:
        raise ValueError(f"{name} has several columns {twice!r}: "
                         f"{_list(c for c, t in zip(frame.columns, tidy) if t == twice)}; drop all but one.")
    columns = {column: read_numbers(frame.iloc[:, place[column]], f"column {frame.columns[place[column]]!r} of {name}")
               for column in wanted}
    return pd.DataFrame(columns, index=_dates(frame, place, name))


def _dates(frame: pd.DataFrame, place: dict[str, int], name: Any) -> pd.DatetimeIndex:
    """Those of a column, else of the index."""
    import pandas as pd

    column = next((place[date] for date in DATES if date in place), None)
    times: Any = frame.index if column is None else frame.iloc[:, column]
    if column is None and pd.api.types.is_integer_dtype(times.dtype):
        raise ValueError(f"{name} has no dates; make them its index (a DatetimeIndex), or a column date.")
    times = read_times(times, f"the index of {name}" if column is None else f"column {frame.columns[column]!r} of {name}")
    if not isinstance(times, pd.DatetimeIndex):
        raise ValueError(f"{name} must have dates, not {times.dtype} values; convert its index with pandas.to_datetime, or "
                         "periods with to_timestamp().")
    return times


def _check_dates(dates: pd.DatetimeIndex, name: Any) -> None:
    if dates.is_monotonic_increasing and dates.is_unique:
        return
    backwards = np.flatnonzero(dates[1:] < dates[:-1])
    if len(backwards):
        first, then = dates[backwards[0]], dates[backwards[0] + 1]
        raise ValueError(f"{name}: the sessions are not in time order, {then:%Y-%m-%d} comes after {first:%Y-%m-%d}; sort them "
                         "by date.")
    raise ValueError(f"{name} has the session {dates[dates.duplicated()][0]} twice; keep one of its rows.")


def _check_features(unknown: Sequence[str], columns: Any, name: Any) -> None:
    """Those that are no columns are indicators."""
    import pandas as pd

    for feature in unknown:
        problem = "" if feature in OHLCV else "; as an indicator: "
        try:
            if feature not in OHLCV:
                indicator_table(pd.DataFrame(columns=list(OHLCV), dtype=np.float64), [feature])
                continue
        except ValueError as error:
            problem += str(error)
        raise ValueError(f"feature {feature!r} is no column of {name}, which has {_list(columns)}{problem.rstrip('.')}.")


def _check_zones(frames: dict[Any, pd.DataFrame]) -> None:
    zones = {str(frame.index.tz): name for name, frame in frames.items()}
    if len(zones) > 1:
        (zone, name), (other_zone, other), *_ = zones.items()
        raise ValueError(f"the dates of {name} have the time zone {zone}, those of {other} {other_zone}; make all of them "
                         "local dates without a zone: frame.tz_localize(None).")


def _mend(frames: dict[Any, pd.DataFrame]) -> dict[Any, pd.DataFrame]:
    """Prices of 0 and below, and volumes below 0, are none."""
    found, mended = {}, {}
    for name, frame in frames.items():
        values = frame.to_numpy()
        least = np.array([0.0 if column in PRICES else -np.finfo(np.float64).tiny if column == "volume" else -np.inf
                          for column in frame.columns])
        wrong = values <= least
        if wrong.any():
            found[name] = int(wrong.sum())
            frame = frame.mask(wrong)
        mended[name] = frame
    if found:
        shown = ", ".join(f"{name}: {count}" for name, count in list(found.items())[:3])
        warn(f"{sum(found.values())} prices of 0 or below, or volumes below 0, count as missing ({shown}"
             f"{', ...' if len(found) > 3 else ''}).")
    return mended


def _list(columns: Any) -> str:
    return ", ".join(map(str, columns))


# ------------------------------------------------------------------------------------------------------------ features

def feature_matrix(frame: pd.DataFrame, features: Sequence[str], as_changes: bool) -> np.ndarray:
    """Features of one stock.

    Parameters
    ----------
    frame : DataFrame of shape (rows, columns)
        Of `Stocks`.
    features : sequence of str
        Its columns, or indicators.
    as_changes : bool
        Whether prices and volume enter as changes, free of their level: open against the close before, high and low against
        the close, the volume against the one before, an adjusted close against the one before.

    Returns
    -------
    float64 array of shape (rows, len(features))
        A row depends on itself and earlier ones only.

    Raises
    ------
    ValueError
        For an indicator of columns that are not there.
    """
    indicators = [feature for feature in features if feature not in frame.columns]
    table = _indicators(frame, indicators) if indicators else {}
    matrix = np.empty((len(frame), len(features)))
    for number, feature in enumerate(features):
        if feature in table:
            matrix[:, number] = table[feature]
        else:
            matrix[:, number] = _change(frame, feature) if as_changes else frame[feature]
    return matrix


def _change(frame: pd.DataFrame, feature: str) -> np.ndarray:
    """A column free of its level: price levels of ten years ago say nothing of today."""
    column, close = frame[feature].to_numpy(), frame["close"].to_numpy()
    if feature == "open":
        return np.log(column) - _before(np.log(close))
    if feature in ("high", "low"):
        return np.log(column / close)
    if feature == "volume":
        change, both = column - _before(column), column + _before(column)
        return np.where(both == 0, 0.0, change / np.where(both == 0, 1.0, both))
    if feature == "adj_close":
        logs = np.log(np.where(column > 0, column, np.nan))
        return logs - _before(logs)
    return column


def _before(column: np.ndarray) -> np.ndarray:
    """The value of the row before; NaN in the first row."""
    return np.concatenate([[np.nan], column[:-1]])


def _indicators(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    lacking = [column for column in OHLCV if column not in frame.columns]
    table = indicator_table(frame.reindex(columns=[*OHLCV]) if lacking else frame, names)
    empty = [name for name in names if lacking and table[name].isna().all()]
    if empty:  # for want of rows, or of columns?
        would = indicator_table(frame.assign(**dict.fromkeys(lacking, frame["close"])), empty)
        needy = [name for name in empty if would[name].notna().any()]
        if needy:
            raise ValueError(f"indicator {needy[0]!r} needs columns that are not there: {_list(lacking)}.")
    return table
