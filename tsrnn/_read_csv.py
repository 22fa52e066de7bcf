"""Prices from CSV files as data vendors write them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Hashable
from contextlib import suppress
from typing import TYPE_CHECKING

from tsrnn.data.stocks import DATES, tidy_name

if TYPE_CHECKING:
    import pandas as pd

_SEPARATORS = ",;\t|"
_OFFSET = r"(:\d{2}(?:\.\d+)?)\s*(?:Z|[+-]\d{2}(?::?\d{2})?)$"  # a zone after a time of day; the year of 10-03-2023 is none
_NUMERIC = r"^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}|\d{2})(?!\d)"  # a date of numbers alone, the year last
_QUARTER = r"(\d{4})[- ]?[Qq]([1-4])"
_MONTHS = ("%b %Y", "%B %Y", "%b-%Y", "%B-%Y", "%m/%Y", "%m-%Y", "%m.%Y")  # which pandas does not guess
_REMEDY = 'say how they are written, for example --date-format="%d/%m/%Y"'
_MANY = 8  # choices that an error lists


def read_table(path, column, date_format=None) -> pd.DataFrame:
    """A CSV file (also compressed; separated by commas, semicolons, tabs or bars) as a frame.

    A column called date, datetime, timestamp, time or ds, in any case, or else a first column of dates in words, becomes the
    index, and the rows are put in time order; without one they are taken as they stand, and a warning says so. Dates with a
    time zone keep their local time and lose the zone; numbers are read by their size, as seconds, milli-, micro- or
    nanoseconds since 1970 (UTC), as 20240131, or else as plain steps, which are counted where they are no whole numbers.
    Days and months that could be exchanged are an error, unless `date_format` says which is which (as strptime has it).
    Where several header lines name fields and tickers, as ``yfinance.download`` returns them, the columns are "Close", or
    "Close AAPL" where there are several tickers; `column` must say which one then.
    """
    name = str(path)
    frame = _read_csv(path, name, column, date_format)
    dates = _date_column(frame.columns)
    if dates is None and (date_format is not None or _holds_dates(frame.iloc[:, 0])):
        dates = frame.columns[0]
    if dates is None:
        warnings.warn(f"{name} has no column of dates: rows are numbered.", UserWarning, stacklevel=2)
        return frame
    return _by_date(frame, dates, name, date_format)


def _date_column(columns):
    return next((label for label in columns if tidy_name(label) in DATES), None)


def _holds_dates(column):
    """Whether text, all of it, is dates, or may be once their format is known."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) or column.isna().all():
        return False
    try:
        return bool(_parse_dates(column).notna().all())
    except _AmbiguousError:
        return True
    except (ValueError, TypeError):
        return False


class _AmbiguousError(ValueError):
    """Dates that can be read in two ways."""


def pick(frame: pd.DataFrame, column: str, name: str) -> pd.Series:
    """One column of numbers, whose name may differ in case; `name` is the frame's, for messages."""
    import pandas as pd

    label = find_column(frame.columns, column)
    if label is None:
        shown = ", ".join(map(str, frame.columns[:_MANY * 4])) + (", ..." if len(frame.columns) > _MANY * 4 else "")
        raise ValueError(f"{name} has no column {column!r}; choose one of: {shown}.")
    prices = frame[label]
    if not pd.api.types.is_numeric_dtype(prices) or pd.api.types.is_bool_dtype(prices):
        wrong = prices[pd.to_numeric(prices, errors="coerce").isna() & prices.notna()]
        found = f"{prices.dtype} values" if wrong.empty else f"{str(wrong.iloc[0])!r} in row {_row_text(wrong.index[0])}"
        raise ValueError(f"column {label!r} of {name} holds {found}, not numbers; write them as 1234.5, and leave missing ones "
                         "empty.")
    return prices


def _row_text(label):
    return label + 1 if isinstance(label, int) else time_text(label)


def find_column(columns, column) -> Hashable | None:
    """The label that is `column`, else the first that differs in case, else in spelling (Close/Last) only, else None."""
    if column in columns:
        return column
    for spelling in (lambda label: str(label).lower(), tidy_name):
        found = next((label for label in columns if spelling(label) == spelling(column)), None)
        if found is not None:
            return found
    return None


def _read_csv(path, name, column, date_format):
    import pandas as pd

    check_file(path, "a CSV file with a header line")
    try:
        how = {"sep": find_separator(path), "skipinitialspace": True}
        head = pd.read_csv(path, nrows=2, dtype=str, **how)
        tickers = _has_tickers(head)
        if date_format is not None:  # 01022000 must keep its 0
            dates = _date_column(head.columns)
            how["dtype"] = {head.columns[0] if dates is None or tickers else dates: str}
        frame = pd.read_csv(path, header=[0, 1], index_col=0, **how) if tickers else pd.read_csv(path, **how)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{name} is empty; give a CSV file with a header line and a row for each price.") from None
    except (MemoryError, ImportError):
        raise
    except Exception as error:  # each way of packing files has errors of its own, without a common base
        raise ValueError(f"{name} cannot be read as a CSV file: {error or type(error).__name__}") from error
    if frame.empty:
        raise ValueError(f"{name} has a header and no rows; give a CSV file with a row for each price.")
    return _one_header(frame, name, column) if tickers else frame


def check_file(path, remedy) -> None:
    """Raises where there is no file; `remedy` says what to give."""
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder; give the path of {remedy}.")
    if not os.path.exists(path):
        raise ValueError(f"there is no file {path}; give the path of {remedy}.")
    if not os.path.isfile(path):
        raise ValueError(f"{path} is a pipe or a device, which can be read only once; save it as a file, and give its path.")


def find_separator(path, **how) -> str:
    """What makes most columns of the header; `how` it is read, as pandas has it."""
    import pandas as pd

    return max(_SEPARATORS, key=lambda separator: pd.read_csv(path, nrows=0, sep=separator, **how).shape[1])


def _has_tickers(head):
    """Whether two header lines, fields and tickers, stand above a third that names the dates alone, as yfinance has it."""
    if len(head) < 2 or head.shape[1] < 2:
        return False
    first, *others = head.iloc[1]
    return tidy_name(first) in DATES and all(value != value for value in others)


def _one_header(frame, name, column):
    """The frame with its dates as a column, and one name for each column; an error where `column` leaves the ticker open."""
    tickers, fields = (frame.columns.get_level_values(level) for level in (1, 0))
    if frame.columns.names[0] == "Ticker" or "Close" in tickers:  # group_by="ticker"
        tickers, fields = fields, tickers
    if tickers.nunique() == 1:
        labels = list(fields)
    else:
        labels = [f"{field} {ticker}" for field, ticker in zip(fields, tickers)]
        if find_column(labels, column) is None:
            choices = [label for label, field in zip(labels, fields) if field.lower() == column.lower()] or labels
            shown = ", ".join(repr(label) for label in choices[:_MANY]) + (", ..." if len(choices) > _MANY else "")
            raise ValueError(
                f"{name} holds {tickers.nunique()} tickers and no column {column!r}; set --column to one of: {shown}."
            )
    return frame.set_axis(labels, axis=1).reset_index()


def _by_date(frame, dates, name, date_format):
    try:
        times = _parse_dates(frame[dates], date_format)
        frame = frame.assign(**{dates: times}).set_index(dates).sort_index(kind="stable")
    except _AmbiguousError as error:
        raise ValueError(f"column {dates!r} of {name} holds {error}; {_REMEDY}.") from None
    except (ValueError, TypeError) as error:
        remedy = "" if date_format is None else f", as --date-format={date_format} has them"
        raise ValueError(f"column {dates!r} of {name} does not hold dates{remedy}: {_reason(error)}"
                         + (f"; if it does, {_REMEDY}." if date_format is None else ".")) from error
    if frame.index.hasnans:
        raise ValueError(f"column {dates!r} of {name} has missing dates; drop these rows first.")
    if frame.index.has_duplicates:
        twice = frame.index[frame.index.duplicated()][0]
        raise ValueError(f"{name} has several rows for {time_text(twice)}; give one series, one row a date.")
    return frame


def _reason(error):
    """The first sentence: what follows is advice on pandas' parameters."""
    return str(error).split(". ")[0].split(", at position")[0].split("\n")[0].rstrip(".")


def _parse_dates(column, date_format=None):
    """Dates without a zone: the local time, or UTC where the clock, set back, would put local times out of order."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column) and date_format is None:
        return _parse_numbers(column)
    text = column.astype("string").str.strip()
    how = {"dayfirst": _day_first(text)} if date_format is None else {"format": date_format}
    bare = text if date_format is not None else text.str.replace(_OFFSET, r"\1", regex=True)
    if (bare == text).all():
        parsed = _to_dates(text, how)
        return parsed if parsed.dt.tz is None else parsed.dt.tz_localize(None)
    instants, local = _to_dates(text, how | {"utc": True}).dt.tz_localize(None), _to_dates(bare, how)
    ordered = local[instants.sort_values(kind="stable").index]
    return local if ordered.is_monotonic_increasing and local.nunique() == instants.nunique() else instants


def _to_dates(text, how):
    import pandas as pd

    quarters = text.str.fullmatch(_QUARTER)
    if quarters.fillna(True).all() and quarters.any():
        return pd.PeriodIndex(text.str.replace(_QUARTER, r"\1Q\2", regex=True), freq="Q").to_timestamp().to_series(text.index)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # where pandas would guess the format row by row
        try:
            return pd.to_datetime(text, **how)
        except UserWarning:
            for written in _MONTHS:
                with suppress(ValueError):
                    return pd.to_datetime(text, format=written)
    raise ValueError(f"{text.dropna().iloc[0]!r} is written in no known way")


def _day_first(text):
    """Whether 13/12/2000 stands for what 2000-12-13 is; False for dates that do not leave that open."""
    fields = text.dropna().str.extract(_NUMERIC).dropna()
    if fields.empty:
        return False
    first, second = (fields[number].astype(int) for number in (0, 1))
    if (first > 12).any() and (second > 12).any():
        raise ValueError(f"{text[(first > 12).idxmax()]!r} has the day first, {text[(second > 12).idxmax()]!r} the month")
    if fields[2].str.len().min() == 2:
        raise _AmbiguousError(f"dates such as {text[fields.index[0]]!r}, whose day could be the month or the year")
    if not ((first > 12).any() or (second > 12).any() or (first == second).all()):
        raise _AmbiguousError(f"dates such as {text[fields.index[0]]!r}, whose day could be the month")
    return bool((first > 12).any())


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


def tell_irregular(times, name):
    """Warn where less than half of the times follow the one before by the step that the future times have."""
    import pandas as pd

    from tsrnn.data.calendar import infer_step

    step = infer_step(times)
    if len(times) < 3 or (times[:-1] + step == times[1:]).mean() >= 0.5:
        return
    if isinstance(step, pd.offsets.Day):
        text = f"{step.n} day{'s' * (step.n > 1)}"
    elif isinstance(step, pd.offsets.Tick):
        text = str(pd.Timedelta(step)).removeprefix("0 days ")
    else:
        text = getattr(step, "freqstr", str(step))
    warnings.warn(f"the times of {name} are irregular: rows are counted, and the times that are forecast go on by the most "
                  f"frequent step ({text}).", UserWarning, stacklevel=3)


def time_text(label) -> str:
    """A date without the hours of midnight; a number as it is."""
    return f"{label:%Y-%m-%d}" if hasattr(label, "strftime") and label == label.normalize() else str(label)
