"""The step of dates, the dates that follow, and where dates lie in their cycles."""

import numpy as np
import pandas as pd
import pytest
from pandas.tseries.holiday import USFederalHolidayCalendar

from tsrnn.data.calendar import CALENDAR, calendar_matrix, future_of_each, future_times, infer_step
from tsrnn.data.sessions import sessions

FREQS = ["h", "15min", "D", "B", "W-WED", "MS", "ME", "QS", "YE", "2D", "3h", "BME", "BMS"]


def bare(index):
    """Without `freq`, as dates from a file are."""
    return pd.DatetimeIndex(index.to_numpy())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("gap", [False, True])
@pytest.mark.parametrize("freq", FREQS)
def test_dates_go_on_as_they_came(freq, gap):
    dates = pd.date_range("2020-01-02 03:00", periods=43, freq=freq)
    seen = bare(dates[:40].delete([5, 11]) if gap else dates[:40])
    found = future_times(seen[-1], infer_step(seen), 3)
    assert list(found) == list(dates[40:])
    assert found.dtype == dates.dtype


def test_business_days_need_a_weekend_that_was_left_out():
    sessions = pd.bdate_range("2024-01-01", periods=60).delete([0, 14])  # holidays: infer_freq finds nothing
    assert infer_step(sessions) == pd.offsets.BDay()
    thursday, friday, tuesday = pd.Timestamp("2024-01-04"), pd.Timestamp("2024-01-05"), pd.Timestamp("2024-01-09")
    assert infer_step(pd.DatetimeIndex([thursday, friday])) == pd.offsets.Day()
    assert infer_step(pd.DatetimeIndex([thursday, friday, tuesday])) == pd.offsets.BDay()
    every_day = pd.date_range("2024-01-01", periods=60).delete([3, 14])
    assert infer_step(every_day) == pd.offsets.Day()


def test_the_last_session_of_each_month_is_a_step_of_months():
    sessions = pd.date_range("2020-01-02", periods=60, freq="BME").map(lambda day: day - pd.offsets.BDay(int(day.month == 3)))
    step = infer_step(bare(sessions.delete(7)))
    assert step == pd.offsets.BMonthEnd()
    same_day = pd.DatetimeIndex(["2020-01-15", "2020-02-15", "2020-03-15", "2020-05-15"])
    assert list(future_times(same_day[-1], infer_step(same_day), 2).month) == [6, 7]


def test_own_freq_comes_first():
    holidays = pd.offsets.CustomBusinessDay(holidays=["2024-01-08"])
    dates = pd.date_range("2024-01-01", periods=5, freq=holidays)
    assert future_times(dates[-1], infer_step(dates), 1)[0] == pd.Timestamp("2024-01-09")


def test_numbers_and_single_rows():
    assert infer_step(pd.RangeIndex(0, 100, 5)) == 5
    assert infer_step(pd.Index([1, 3, 5, 6, 8])) == 2
    assert infer_step(pd.Index([7])) == 1
    assert infer_step(pd.DatetimeIndex(["2024-01-01"])) == pd.offsets.Day()
    assert infer_step(pd.PeriodIndex(["2024"], freq="Y")) == 1
    assert list(future_times(7, 2, 3)) == [9, 11, 13]


def test_periods_stay_periods():
    months = pd.period_range("2020-01", periods=12, freq="M")
    found = future_times(months[-1], infer_step(months), 2)
    pd.testing.assert_index_equal(found, pd.period_range("2021-01", periods=2, freq="M"))
    quarters = months[::3]
    assert list(future_times(quarters[-1], infer_step(quarters), 2).astype(str)) == ["2021-01", "2021-04"]
    days = pd.bdate_range("2024-01-01", periods=5).to_period("D")
    assert infer_step(days) == 1  # Monday to Friday: nothing is known of weekends
    days = pd.bdate_range("2024-01-01", periods=10).to_period("D")
    assert list(future_times(days[-1], infer_step(days), 2).astype(str)) == ["2024-01-15", "2024-01-16"]


def test_time_zone_and_clock_change():
    days = pd.date_range("2024-03-28", periods=6, tz="Europe/Berlin")  # 31 March has 23 hours
    pd.testing.assert_index_equal(future_times(days[1], infer_step(days[:2]), 4), days[2:])
    seen = pd.DatetimeIndex(days.delete(1))
    assert infer_step(seen) == pd.offsets.Day()
    saturday = pd.Timestamp("2024-01-06 16:00", tz="America/New_York")
    ahead = future_times(saturday, pd.offsets.BDay(), 2)
    assert list(ahead) == [saturday + pd.Timedelta(days=2), saturday + pd.Timedelta(days=3)]
    assert ahead.tz == saturday.tz


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_the_unit_stays(unit):
    dates = pd.date_range("2024-01-01", periods=4).as_unit(unit)
    assert future_times(dates[-1], infer_step(dates), 2).unit == unit


def test_a_calendar_of_ones_own():
    sessions = pd.DatetimeIndex(["2024-01-03", "2024-01-05", "2024-01-10"])
    calendar = lambda last, horizon: sessions[sessions > last][:horizon]  # noqa: E731
    assert list(future_times(pd.Timestamp("2024-01-03"), calendar, 2)) == list(sessions[1:])
    with pytest.raises(ValueError, match="must return 3 ascending times after 2024-01-03"):
        future_times(pd.Timestamp("2024-01-03"), calendar, 3)
    with pytest.raises(ValueError, match="must return 1 ascending"):
        future_times(pd.Timestamp("2024-01-03"), lambda last, horizon: sessions[:1], 1)


@pytest.mark.parametrize("calendar", [USFederalHolidayCalendar, pd.offsets.BDay])
def test_a_class_is_no_calendar(calendar):
    name = calendar.__name__
    with pytest.raises(TypeError, match=rf"calendar={name} is a class; call it .*calendar={name}\(\)"):
        sessions(calendar)
    assert sessions(calendar())


@pytest.mark.parametrize(("lasts", "step"), [
    (pd.Index([3, 5, 5], name="row"), 2),
    (pd.DatetimeIndex(["2024-01-05", "2024-02-01", "2024-01-05"], name="date"), pd.offsets.BDay()),
    (pd.DatetimeIndex(["2024-01-05", "2024-01-05"]), pd.offsets.Hour()), (pd.PeriodIndex(["2024-01", "2023-05"], freq="M"), 1),
    (pd.DatetimeIndex(["2024-01-05", "2023-01-05"], tz="UTC"), pd.offsets.Day()),
])
def test_future_of_many_series(lasts, step):
    found = future_of_each(lasts, step, 3)
    assert list(found) == [time for last in lasts for time in future_times(last, step, 3)]
    assert found.dtype == lasts.dtype
    assert found.name == lasts.name


def test_calendar_matrix_is_the_position_in_the_cycle():
    dates = pd.DatetimeIndex(["2024-01-01 06:15", "2024-12-30 18:45", "2023-07-31 00:00"])
    matrix = calendar_matrix(dates, CALENDAR)
    assert matrix.shape == (3, 2 * len(CALENDAR))
    positions = {
        "minute": [15 / 60, 45 / 60, 0], "hour": [6 / 24, 18 / 24, 0], "dayofweek": [0, 0, 0], "day": [0, 29 / 31, 30 / 31],
        "week": [0, 0, 30 / 53], "month": [0, 11 / 12, 6 / 12], "quarter": [0, 3 / 4, 2 / 4],
        "dayofyear": [0, 364 / 366, 211 / 366],
    }
    for column, name in enumerate(CALENDAR):
        angle = 2 * np.pi * np.array(positions[name])
        np.testing.assert_allclose(matrix[:, 2 * column], np.sin(angle), atol=1e-12, err_msg=name)
        np.testing.assert_allclose(matrix[:, 2 * column + 1], np.cos(angle), atol=1e-12, err_msg=name)


@pytest.mark.filterwarnings("error")
def test_calendar_matrix_of_shared_dates_periods_and_zones():
    dates = pd.date_range("2023-01-01", periods=500, freq="7h")
    single = calendar_matrix(dates, CALENDAR)
    twice = calendar_matrix(dates[100:].append(dates), CALENDAR)
    np.testing.assert_array_equal(twice, np.concatenate([single[100:], single]))
    np.testing.assert_array_equal(calendar_matrix(dates.to_period("h"), CALENDAR), single)
    zoned = dates.tz_localize("Asia/Tokyo")
    np.testing.assert_array_equal(calendar_matrix(zoned, CALENDAR), single)  # the clock on the wall counts


def test_calendar_matrix_refuses():
    dates = pd.date_range("2023-01-01", periods=3)
    with pytest.raises(ValueError, match="'weekday'; known names are minute"):
        calendar_matrix(dates, ["weekday"])
    with pytest.raises(ValueError, match=r"must be a list of names: calendar_features=\['month'\]"):
        calendar_matrix(dates, "month")
    with pytest.raises(ValueError, match="need dates, but the rows of y are numbered"):
        calendar_matrix(pd.RangeIndex(3), ["month"])
    assert calendar_matrix(pd.RangeIndex(3), ()).shape == (3, 0)
