"""The sessions to come: weekdays, or those of a calendar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_FEW = 20  # rows that say too little about the days of the week


def sessions(calendar: Any) -> Any:
    """`calendar` as what leads from one session to the next, see `tsrnn.data.calendar.future_times`.

    Parameters
    ----------
    calendar : pandas offset, pandas holiday calendar, dates, or calendar of exchange_calendars or pandas_market_calendars

    Raises
    ------
    TypeError
        For anything else, a class of calendars instead of a calendar among it.
    """
    import pandas as pd
    from pandas.tseries.holiday import AbstractHolidayCalendar

    if isinstance(calendar, type):
        raise TypeError(f"calendar={calendar.__name__} is a class; call it to make a calendar: calendar={calendar.__name__}().")
    if isinstance(calendar, pd.offsets.BaseOffset):
        return calendar
    if isinstance(calendar, AbstractHolidayCalendar):
        return pd.offsets.CustomBusinessDay(calendar=calendar)
    if hasattr(calendar, "valid_days") or hasattr(calendar, "sessions_in_range"):
        return Sessions(calendar)
    try:
        if isinstance(calendar, str):
            raise TypeError("a word says no dates")
        dates = pd.DatetimeIndex(calendar)
    except (TypeError, ValueError) as error:
        raise TypeError(f"calendar={calendar!r} must be a pandas offset or holiday calendar, dates, or a calendar of "
                        f"exchange_calendars or pandas_market_calendars ({error}).") from error
    return Sessions(_naive(dates).dropna().unique().sort_values())


class Sessions:
    """Dates from a calendar or a list, as a function (last, horizon) -> the next ones; it can be pickled.

    They get the time zone and the hour of the last one known.
    """

    def __init__(self, calendar: Any):
        self.calendar = calendar

    def __call__(self, last: pd.Timestamp, horizon: int) -> pd.DatetimeIndex:
        """`horizon` sessions after `last`.

        Raises
        ------
        ValueError
            Where the calendar ends before.
        """
        import pandas as pd

        local = last.tz_localize(None)
        day = local.normalize()
        days = self._between(day + pd.Timedelta(days=1), day + pd.Timedelta(days=3 * horizon + 30))
        days = days[days > day][:horizon]
        if len(days) < horizon:
            raise ValueError(f"calendar has {len(days)} sessions after {last:%Y-%m-%d}, {horizon} are needed; extend it.")
        times = (days + (local - day)).as_unit(last.unit)
        if last.tzinfo is None:
            return times
        return times.tz_localize(last.tzinfo, nonexistent="shift_forward", ambiguous=np.ones(horizon, bool))

    def _between(self, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
        import pandas as pd

        if isinstance(self.calendar, pd.DatetimeIndex):
            return self.calendar[self.calendar >= first]
        if hasattr(self.calendar, "valid_days"):
            return _naive(pd.DatetimeIndex(self.calendar.valid_days(first, last)))
        # exchange_calendars refuses dates outside of its own range, which ends a year from now by default
        start, end = (getattr(self.calendar, name, None) for name in ("first_session", "last_session"))
        if start is not None:
            first = max(first, start.tz_localize(None))
        if end is not None:
            last = min(last, end.tz_localize(None))
        return _naive(pd.DatetimeIndex(self.calendar.sessions_in_range(first, last))) if first <= last else pd.DatetimeIndex([])


def _naive(dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Sessions as days without a zone, whatever zone a calendar writes them in."""
    return dates.tz_localize(None).normalize()


def usual_sessions(times: pd.DatetimeIndex, step: Any) -> Any:
    """What leads on where there is no calendar.

    Parameters
    ----------
    times : DatetimeIndex of length rows
        Of all stocks.
    step : pandas offset
        What was inferred from them.

    Returns
    -------
    pandas offset
        Daily sessions go on from Monday to Friday, or on the days of the week that they were on so far, where these are others
        (Sunday to Thursday; every day).  Holidays are not known.  Other steps (weeks, months, hours) stay as they are.
    """
    import pandas as pd

    if not isinstance(step, (pd.offsets.Day, pd.offsets.BDay)) or step.n != 1:
        return step
    counts = np.bincount(times.day_of_week, minlength=7)
    traded = 2 * counts > counts.max()  # sessions made up on a Saturday are no rule
    if len(times) < _FEW or traded.tolist() == 5 * [True] + 2 * [False]:
        return pd.offsets.BDay()
    return pd.offsets.Day() if traded.all() else pd.offsets.CustomBusinessDay(weekmask="".join(map(str, traded.astype(int))))
