"""A vendor's frame made tidy: checked, flat lower-case columns, dates without a zone; nothing is filled."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from tsrnn.datasets._errors import EmptyPricesError, HalfFilledError, SourceError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("open", "high", "low", "close", "volume")
_SHOWN = 5


def tidy(raw: Any, ticker: str, adjust: bool) -> pd.DataFrame:
    """Check a vendor's frame and give it the documented form.

    Parameters
    ----------
    raw : pandas.DataFrame
        DatetimeIndex (a zone is dropped, the local date kept) and columns Open, High, Low, Close, Volume in any case; "Adj
        Close" is kept unless prices are adjusted; others are ignored.
    ticker : str
        For messages.
    adjust : bool
        Whether open to close are adjusted.

    Returns
    -------
    pandas.DataFrame
        Index `date`, ascending; columns open, high, low, close, volume and perhaps adj_close, float64. Missing stays NaN.

    Raises
    ------
    EmptyPricesError
        No row, or none with a value.
    SourceError
        No such frame, duplicate dates, values that are no numbers.
    """
    import pandas as pd

    if not isinstance(raw, pd.DataFrame):
        raise SourceError(f"{ticker}: the source gave {type(raw).__name__}; it must return a pandas.DataFrame.")
    if raw.empty:
        raise EmptyPricesError(f"{ticker}: the source has no prices; check the ticker and the range from start to end.")
    if not isinstance(raw.index, pd.DatetimeIndex) or raw.index.hasnans:
        raise SourceError(f"{ticker}: the source's frame has no DatetimeIndex that is complete; it must have one row a date.")
    frame = raw.set_axis([str(column).strip().lower().replace(" ", "_") for column in raw.columns], axis=1)
    wanted = [*COLUMNS, "adj_close"] if not adjust and "adj_close" in frame.columns else list(COLUMNS)
    missing = [column for column in wanted if column not in frame.columns]
    if missing or not frame.columns.is_unique:
        problem = f"lacks {', '.join(missing)}" if missing else "has two columns of one name"
        raise SourceError(f"{ticker}: the source's frame {problem}; it has {', '.join(map(str, raw.columns))}, and must have "
                          "Open, High, Low, Close and Volume.")
    try:
        frame = frame[wanted].astype("float64")
    except (TypeError, ValueError) as error:
        raise SourceError(f"{ticker}: the source's frame holds values that are no numbers: {error}") from error
    if frame.isna().all(axis=None):
        raise EmptyPricesError(f"{ticker}: the source lists {len(frame)} dates from {raw.index.min():%Y-%m-%d} to "
                               f"{raw.index.max():%Y-%m-%d} without one price; choose another range, or try again later.")
    if np.isinf(frame.to_numpy()).any():
        raise SourceError(f"{ticker}: the source's frame holds infinite values on {_days(np.isinf(frame).any(axis=1))}.")
    local = frame.index.tz_localize(None).normalize().as_unit("us")
    frame.index = pd.DatetimeIndex(local.to_numpy(), name="date")  # without a frequency, as from disk
    frame = frame.sort_index(kind="stable")
    twice = frame.index.duplicated()
    if twice.any():
        raise SourceError(f"{ticker}: the source gave several rows for {_days(pd.Series(twice, frame.index))}; it must give "
                          "one row a date.")
    return frame


def part(frame: pd.DataFrame, start: date | None, end: date | None, ticker: str) -> pd.DataFrame:
    """Rows from `start` to the day before `end`.

    Raises
    ------
    EmptyPricesError
        Where there is none.
    """
    import pandas as pd

    inside = np.ones(len(frame), bool)
    if start is not None:
        inside &= frame.index >= pd.Timestamp(start)
    if end is not None:
        inside &= frame.index < pd.Timestamp(end)
    if not inside.any():
        has = f"those known run from {frame.index[0]:%Y-%m-%d} to {frame.index[-1]:%Y-%m-%d}" if len(frame) else "none at all"
        raise EmptyPricesError(f"{ticker} has no prices from {start or 'its first day'} to before {end or 'now'} ({has}); "
                               "choose another range (weekends and holidays have none).")
    return frame[inside]


def check_filled(frame: pd.DataFrame, ticker: str) -> None:
    """Raise where a price or a whole date is missing.

    Raises
    ------
    HalfFilledError
        With columns and dates.
    """
    missing = frame.isna()
    if not missing.any(axis=None):
        return
    nothing = missing.all(axis=1)
    parts = [f"every value on {_days(nothing)}"] if nothing.any() else []
    missing = missing[~nothing]
    whole = [column for column in frame.columns if len(missing) and missing[column].all()]
    parts += [f"{column} on all {len(missing)} {'other ' if nothing.any() else ''}dates" for column in whole]
    some = missing.drop(columns=whole)
    parts += [f"{column} on {_days(some[column])}" for column in some.columns if some[column].any()]
    raise HalfFilledError(f"{ticker} is half-filled: the source lacks {'; '.join(parts)}. Try again later, choose a range "
                          "without these dates, or take the gaps with missing=\"keep\".")


def _days(marked: pd.Series) -> str:
    """The dates that are marked, the first few of them, as text."""
    days = [f"{day:%Y-%m-%d}" for day in marked.index[marked.to_numpy()]]
    more = f" and {len(days) - _SHOWN} more" if len(days) > _SHOWN else ""
    return ", ".join(days[:_SHOWN]) + more
