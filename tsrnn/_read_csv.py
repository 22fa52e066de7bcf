"""Prices from CSV files as data vendors write them."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_DATE_NAMES = ("date", "datetime", "timestamp", "time", "ds")
_OFFSET = r"(:\d{2}(?:\.\d+)?)\s*(?:Z|[+-]\d{2}(?::?\d{2})?)$"  # a zone after a time of day; the year of 10-03-2023 is none
_MANY = 8  # choices that an error lists


def read_table(path, column) -> pd.DataFrame:
    """A CSV file (also compressed) as a frame.

    A column called date, datetime, timestamp, time or ds, in any case, becomes the index, and the rows are put in time order;
    without one they are taken as they stand. Dates with a time zone keep their local time and lose the zone; numbers are
    read by their size, as seconds, milli-, micro- or nanoseconds since 1970 (UTC), as 20240131, or else as plain steps,
    which are counted where they are no whole numbers.
    Where several header lines name fields and tickers, as ``yfinance.download`` returns them, the columns are "Close", or
    "Close AAPL" where there are several tickers; `column` must say which one then.
    """
    name = str(path)
    frame = _read_csv(path, name, column)
    dates = next((label for label in frame.columns if str(label).lower() in _DATE_NAMES), None)
    return frame if dates is None else _by_date(frame, dates, name)


def pick(frame: pd.DataFrame, column: str, name: str) -> pd.Series:
    """One column of numbers, whose name may differ in case; `name` is the frame's, for messages."""
    import pandas as pd

    label = _find(frame.columns, column)
    if label is None:
        shown = ", ".join(map(str, frame.columns[:_MANY * 4])) + (", ..." if len(frame.columns) > _MANY * 4 else "")
        raise ValueError(f"{name} has no column {column!r}; choose one of: {shown}.")
    prices = frame[label]
    if not pd.api.types.is_numeric_dtype(prices) or pd.api.types.is_bool_dtype(prices):
        raise ValueError(f"column {label!r} of {name} holds {prices.dtype} values, not numbers.")
    return prices


def _find(columns, column):
    """The label that is `column`, else the first that differs from it in case only, else None."""
    folded = {str(label).lower(): label for label in reversed(columns)}
    return column if column in columns else folded.get(column.lower())


def _read_csv(path, name, column):
    import pandas as pd

    if os.path.isdir(path):
        raise ValueError(f"{name} is a folder; give the path of a CSV file with a header line.")
    if not os.path.isfile(path):
        raise ValueError(f"there is no file {name}; give the path of a CSV file with a header line.")
    try:
        tickers = _has_tickers(pd.read_csv(path, nrows=2, dtype=str))
        frame = pd.read_csv(path, header=[0, 1], index_col=0) if tickers else pd.read_csv(path)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{name} is empty; give a CSV file with a header line and a row for each price.") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{name} cannot be read as a CSV file: {error}") from error
    if frame.empty:
        raise ValueError(f"{name} has a header and no rows; give a CSV file with a row for each price.")
    return _one_header(frame, name, column) if tickers else frame


def _has_tickers(head):
    """Whether two header lines, fields and tickers, stand above a third that names the dates alone, as yfinance has it."""
    if len(head) < 2 or head.shape[1] < 2:
        return False
    first, *others = head.iloc[1]
    return str(first).lower() in _DATE_NAMES and all(value != value for value in others)


def _one_header(frame, name, column):
    """The frame with its dates as a column, and one name for each column; an error where `column` leaves the ticker open."""
    tickers, fields = (frame.columns.get_level_values(level) for level in (1, 0))
    if frame.columns.names[0] == "Ticker" or "Close" in tickers:  # group_by="ticker"
        tickers, fields = fields, tickers
    if tickers.nunique() == 1:
        labels = list(fields)
    else:
        labels = [f"{field} {ticker}" for field, ticker in zip(fields, tickers)]
        if _find(labels, column) is None:
            choices = [label for label, field in zip(labels, fields) if field.lower() == column.lower()] or labels
            shown = ", ".join(repr(label) for label in choices[:_MANY]) + (", ..." if len(choices) > _MANY else "")
            raise ValueError(
                f"{name} holds {tickers.nunique()} tickers and no column {column!r}; set --column to one of: {shown}."
            )
    return frame.set_axis(labels, axis=1).reset_index()


def _by_date(frame, dates, name):
    try:
        frame = frame.assign(**{dates: _parse_dates(frame[dates])}).set_index(dates).sort_index(kind="stable")
    except (ValueError, TypeError) as error:
        raise ValueError(f"column {dates!r} of {name} does not hold dates: {error}") from error
    if frame.index.hasnans:
        raise ValueError(f"column {dates!r} of {name} has missing dates; drop these rows first.")
    if frame.index.has_duplicates:
        twice = frame.index[frame.index.duplicated()][0]
        raise ValueError(f"{name} has several rows for {time_text(twice)}; give one series, one row a date.")
    return frame


def _parse_dates(column):
    """Dates without a zone: the local time, or UTC where the clock, set back, would put local times out of order."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return _parse_numbers(column)
    text = column.astype("string").str.strip()
    bare = text.str.replace(_OFFSET, r"\1", regex=True)
    if (bare == text).all():
        parsed = pd.to_datetime(column)
        return parsed if parsed.dt.tz is None else parsed.dt.tz_localize(None)
    instants, local = pd.to_datetime(text, utc=True).dt.tz_localize(None), pd.to_datetime(bare)
    ordered = local[instants.sort_values(kind="stable").index]
    return local if ordered.is_monotonic_increasing and local.nunique() == instants.nunique() else instants


def _parse_numbers(numbers):
    """Epochs by their size (each unit from 1973 to 5138), 20240131 as a date; smaller numbers are steps, kept as they are."""
    import pandas as pd

    low, high = numbers.abs().min(), numbers.abs().max()
    if 1e7 <= low and high < 1e8:
        return pd.to_datetime(numbers.astype("Int64").astype("string"), format="%Y%m%d")
    if not high >= 1e8:  # NaN as well: no date at all
        return numbers if (numbers % 1 == 0).all() or numbers.hasnans else numbers.rank(method="dense").astype(int) - 1
    unit = "s" if high < 1e11 else "ms" if high < 1e14 else "us" if high < 1e17 else "ns"
    return pd.to_datetime(numbers, unit=unit)


def time_text(label) -> str:
    """A date without the hours of midnight; a number as it is."""
    return f"{label:%Y-%m-%d}" if hasattr(label, "strftime") and label == label.normalize() else str(label)
