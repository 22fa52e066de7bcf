"""What comes after the last date, and where in its cycles a date lies."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

# name → (pandas' field, positions in the cycle, first position)
_CYCLES = {
    "minute": ("minute", 60, 0), "hour": ("hour", 24, 0), "dayofweek": ("day_of_week", 7, 0), "day": ("day", 31, 1),
    "week": ("week", 53, 1), "month": ("month", 12, 1), "quarter": ("quarter", 4, 1), "dayofyear": ("day_of_year", 366, 1),
}
CALENDAR = tuple(_CYCLES)


def ordinals(times: pd.Index) -> np.ndarray:
    """Times as int64 in time order: ticks of dates, ordinals of periods, whole numbers as they are (rows,)."""
    import pandas as pd

    return times.asi8 if isinstance(times, (pd.DatetimeIndex, pd.PeriodIndex)) else times.to_numpy()


def infer_step(times: pd.Index):
    """Find what leads from one time to the next.

    Parameters
    ----------
    times : pandas.Index of length rows
        Ascending dates, periods or whole numbers.

    Returns
    -------
    pandas offset or int
        The index's own `freq` or what `pandas.infer_freq` finds. Where it finds nothing: business days if no Saturday or
        Sunday occurs and the most frequent distance is one day; months if all dates lie at a month's start, end or one day of
        it; else the most frequent distance. A single row: one day. Whole numbers and periods: their most frequent distance
        (daily periods without weekends: business days); a single row: 1.
    """
    import pandas as pd

    if isinstance(times, pd.RangeIndex):
        return int(times.step)
    if not isinstance(times, pd.DatetimeIndex):
        distance = _usual_distance(ordinals(times)) or 1
        daily = isinstance(times, pd.PeriodIndex) and times.freqstr == "D" and distance == 1
        return pd.offsets.BDay() if daily and _skips_weekends(times.to_timestamp()) else distance
    if times.freq is not None:
        return times.freq
    if len(times) < 2:
        return pd.offsets.Day()
    found = None
    if len(times) > 2:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas announces that it will return an offset; both will do
            found = pd.infer_freq(times)
    return pd.tseries.frequencies.to_offset(found) if found else _irregular_step(times)


def _irregular_step(times):
    """Dates with gaps, which `pandas.infer_freq` gives up on."""
    import pandas as pd

    usual = pd.Timedelta(_usual_distance(ordinals(times)), times.unit)
    if usual == pd.Timedelta(days=1) and _skips_weekends(times):
        return pd.offsets.BDay()
    months = _usual_distance(12 * times.year.to_numpy(dtype=np.int64) + times.month.to_numpy(dtype=np.int64))
    if months and usual >= pd.Timedelta(days=28):
        day, left = times.day, times.days_in_month - times.day
        if day.max() == day.min() > 1:
            return pd.DateOffset(months=months)
        # up to four days off: the first or last session of a month
        if day.max() <= 5:
            return (pd.offsets.MonthBegin if day.max() == 1 else pd.offsets.BMonthBegin)(months)
        if left.max() <= 4:
            return (pd.offsets.MonthEnd if left.max() == 0 else pd.offsets.BMonthEnd)(months)
    days = usual // pd.Timedelta(days=1)
    # days of the calendar: 23 or 25 hours where the clock changes
    return pd.offsets.Day(days) if usual == pd.Timedelta(days=days) else pd.tseries.frequencies.to_offset(usual)


def _skips_weekends(times):
    """Whether there was a weekend, and no row on it."""
    return times.day_of_week.max() < 5 and times[0].day_of_week + (times[-1].normalize() - times[0].normalize()).days > 6


def _usual_distance(numbers):
    """The most frequent difference, the smallest of equally frequent ones; 0 for a single number."""
    import pandas as pd

    return int(pd.Series(np.diff(numbers)).mode().iloc[0]) if len(numbers) > 1 else 0


def holes(panel) -> tuple[int, Any] | None:
    """How many times a regular index lacks between its rows, and the time before the first; None where it lacks none.

    Regular is what goes on by a fixed time, such as hours or all days of the week: sessions and months are not.

    Parameters
    ----------
    panel : tsrnn.data.panel.Panel
    """
    import pandas as pd

    step, times = panel.form.step, panel.times
    if not isinstance(times, pd.DatetimeIndex) or not isinstance(step, (pd.offsets.Tick, pd.offsets.Day)):
        return None
    distance = pd.Timedelta(days=step.n) if isinstance(step, pd.offsets.Day) else pd.Timedelta(step)
    if times.tz is not None and distance % pd.Timedelta(days=1) == pd.Timedelta(0):
        times = times.tz_localize(None)  # there are days of 23 hours
    missing = np.diff(ordinals(times)) // max(1, distance // pd.Timedelta(1, times.unit)) - 1
    missing[panel.bounds[1:-1] - 1] = 0  # between series
    first = np.flatnonzero(missing > 0)
    return (int(missing[first].sum()), panel.times[int(first[0])]) if len(first) else None


def future_times(last, step, horizon: int) -> pd.Index:
    """The times that follow.

    Parameters
    ----------
    last : pandas.Timestamp, pandas.Period or int
        The last time of a series.
    step : pandas offset, int or callable
        As `infer_step` finds it; or a function of (last, horizon) that returns the index itself, say of a stock exchange's
        sessions.
    horizon : int
        How many times.

    Returns
    -------
    pandas.Index of length horizon
        Of the kind of `last`, in its time zone.

    Raises
    ------
    ValueError
        Where a function returns other than `horizon` times after `last`.
    """
    import pandas as pd

    if callable(step):
        times = pd.Index(step(last, horizon))
        if len(times) != horizon or (horizon and (times[0] <= last or not times.is_monotonic_increasing)):
            raise ValueError(f"the calendar must return {horizon} ascending times after {last}, "
                             f"got {len(times)}: {list(times[:3])}.")
        return times
    if isinstance(last, pd.Period):
        if isinstance(step, (int, np.integer)):
            numbers = np.arange(1, horizon + 1) * step + last.ordinal
            return pd.PeriodIndex.from_ordinals(numbers, freq=last.freq)
        return future_times(last.to_timestamp(), step, horizon).to_period(last.freq)
    if not isinstance(last, pd.Timestamp):
        return pd.RangeIndex(int(last) + step, int(last) + step * (horizon + 1), step)
    # not date_range(last, ...)[1:]: that starts at `last` only where it lies on the step
    return pd.date_range(last + step, periods=horizon, freq=step).as_unit(last.unit)


def future_of_each(lasts: pd.Index, step, horizon: int) -> pd.Index:
    """`future_times` of many series, one behind the other.

    Parameters
    ----------
    lasts : pandas.Index of length S
        Last time of each series.
    step : pandas offset, int or callable
    horizon : int

    Returns
    -------
    pandas.Index of length S * horizon
        Named as `lasts`.
    """
    import pandas as pd

    codes, distinct = lasts.factorize()
    if isinstance(step, (int, np.integer)) and not isinstance(lasts, pd.PeriodIndex) and len(distinct) > 1:
        times = pd.Index((lasts.to_numpy()[:, None] + step * np.arange(1, horizon + 1)).ravel())
    else:
        parts = [future_times(last, step, horizon) for last in distinct]
        times = parts[0].append(parts[1:]) if len(parts) > 1 else parts[0]
        if len(parts) < len(lasts):
            times = times.take((codes[:, None] * horizon + np.arange(horizon)).ravel())
    return times.rename(lasts.name)


def check_calendar(names) -> tuple:
    """The names as a tuple, once they are known ones.

    Raises
    ------
    ValueError
        For a name that is not in `CALENDAR`, or a string in place of a list.
    """
    if isinstance(names, str):
        raise ValueError(f"calendar_features={names!r} must be a list of names: calendar_features=[{names!r}].")
    unknown = [name for name in names if name not in CALENDAR]
    if unknown:
        raise ValueError(f"calendar_features has {unknown[0]!r}; known names are {', '.join(CALENDAR)}.")
    return tuple(names)


def calendar_matrix(times: pd.Index, names) -> np.ndarray:
    """Sine and cosine of each date's position in its cycles, so that December lies beside January.

    Parameters
    ----------
    times : pandas.DatetimeIndex or PeriodIndex of length rows
        Fields are those of the clock in the times' own zone.
    names : sequence of str
        Of `CALENDAR`: "minute" of the hour, "hour" of the day, "dayofweek", "day" of the month (of 31), ISO "week" of the
        year (of 53), "month", "quarter", "dayofyear" (of 366).

    Returns
    -------
    float64 array of shape (rows, 2 * len(names))
        Sine and cosine of the first name, then of the next.

    Raises
    ------
    ValueError
        For unknown names, or times that are no dates.
    """
    import pandas as pd

    names = check_calendar(names)
    if names and not isinstance(times, (pd.DatetimeIndex, pd.PeriodIndex)):
        raise ValueError(f"calendar_features={list(names)} need dates, but the rows of y are numbered; "
                         "pass y with a DatetimeIndex.")
    if times.is_monotonic_increasing:
        return _positions(times, names)
    codes, distinct = times.factorize()  # many series share their dates
    return _positions(distinct, names)[codes]


def _positions(times, names):
    """`calendar_matrix` of dates."""
    import pandas as pd

    matrix = np.empty((len(times), 2 * len(names)))
    for column, name in enumerate(names):
        attribute, length, first = _CYCLES[name]
        angle = 2 * np.pi * np.arange(length) / length
        if name == "week" and isinstance(times, pd.DatetimeIndex):
            field = times.isocalendar().week
        else:
            field = getattr(times, attribute)
        position = field.to_numpy(dtype=np.int64) - first
        matrix[:, 2 * column:2 * column + 2] = np.stack([np.sin(angle), np.cos(angle)], axis=1)[position]
    return matrix
