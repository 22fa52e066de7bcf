"""Future covariates are found, and forecasts come back as y came."""

import numpy as np
import pandas as pd
import pytest

from tsrnn.data.calendar import calendar_matrix
from tsrnn.data.mirror import read_future, to_long, to_output
from tsrnn.data.panel import read_panel

DATES = pd.date_range("2024-01-01", periods=8, name="date")
VALUES = np.arange(8.0)
AHEAD = pd.date_range("2024-01-09", periods=3, name="date")
MODEL = "LSTMRegressor"
pytestmark = pytest.mark.filterwarnings("error")


def columns(n_series, n_channels=1, bounds=False, horizon=3):
    """Value s * 100 + c * 10 + h; the lower bound 1000 less."""
    point = np.arange(n_series)[:, None, None] * 100.0 + np.arange(horizon)[:, None] + np.arange(n_channels) * 10
    return {MODEL: point, f"{MODEL}-lo-80": point - 1000} if bounds else {MODEL: point}


def frame(names=("a", "b")):
    return pd.DataFrame({name: VALUES + number for number, name in enumerate(names)}, index=DATES)


def long():
    return pd.DataFrame({"unique_id": ["b", "a", "b", "a", "a"], "ds": DATES[[0, 1, 2, 2, 3]], "y": [1.0, 2, 3, 4, 5]})


# ------------------------------------------------------------------------------------------------- one column

def test_array_and_matrix():
    assert to_output(read_panel(VALUES), columns(1), 3).tolist() == [0, 1, 2]
    matrix = frame().to_numpy()
    assert to_output(read_panel(matrix), columns(2), 3).tolist() == [[0, 100], [1, 101], [2, 102]]
    assert to_output(read_panel(matrix, multivariate=True), columns(1, 2), 3).tolist() == [[0, 10], [1, 11], [2, 12]]


def test_series():
    series = pd.Series(VALUES, DATES, name="close")
    pd.testing.assert_series_equal(to_output(read_panel(series), columns(1), 3), pd.Series([0.0, 1, 2], AHEAD, name="close"))
    nameless = to_output(read_panel(pd.Series(VALUES)), columns(1), 3)
    pd.testing.assert_series_equal(nameless, pd.Series([0.0, 1, 2], pd.RangeIndex(8, 11)))


@pytest.mark.parametrize("names", [["a", "b"], [0, 1], [("Close", "A"), ("Close", "B")]])
def test_wide(names):
    y = frame().set_axis(pd.Index(names), axis=1)
    y.columns.names = [f"level{number}" for number in range(y.columns.nlevels)]
    expected = pd.DataFrame([[0.0, 100], [1, 101], [2, 102]], AHEAD, y.columns, dtype=float)
    pd.testing.assert_frame_equal(to_output(read_panel(y), columns(2), 3), expected, check_freq=False)
    expected = pd.DataFrame([[0.0, 10], [1, 11], [2, 12]], AHEAD, y.columns, dtype=float)
    pd.testing.assert_frame_equal(to_output(read_panel(y, multivariate=True), columns(1, 2), 3), expected, check_freq=False)


def test_one_column_joined_keeps_its_name():
    y = frame(["a"])
    assert list(to_output(read_panel(y, multivariate=True), columns(1), 3).columns) == ["a"]


def test_long_follows_each_series():
    found = to_output(read_panel(long()), columns(2), 2 + 1)
    assert list(found.columns) == ["unique_id", "ds", MODEL]
    assert list(found["unique_id"]) == list("bbbaaa")
    assert list(found["ds"]) == [*DATES[3:6], *DATES[4:7]]
    assert list(found[MODEL]) == [0, 1, 2, 100, 101, 102]
    assert found["unique_id"].dtype == long()["unique_id"].dtype
    numbers = pd.DataFrame({"unique_id": [7, 7, 3], "ds": [1, 2, 9], "y": 1.0})
    found = to_output(read_panel(numbers), columns(2), 3)
    assert found["unique_id"].tolist() == [7, 7, 7, 3, 3, 3]
    assert found["ds"].tolist() == [3, 4, 5, 10, 11, 12]


def test_zones_and_periods_stay():
    for index in (DATES.tz_localize("Asia/Tokyo"), DATES.to_period("D")):
        found = to_output(read_panel(pd.Series(VALUES, index)), columns(1), 3)
        assert found.index.dtype == index.dtype
        assert found.index.name == "date"
        found = to_output(read_panel(long().assign(ds=index[[0, 1, 2, 2, 3]])), columns(2), 3)
        assert found["ds"].dtype == index.dtype


def test_other_times():
    sessions = AHEAD + pd.Timedelta(days=2)
    found = to_output(read_panel(pd.Series(VALUES, DATES)), columns(1), 3, times=sessions)
    assert list(found.index) == list(sessions)


def test_missing_forecasts_stay_missing():
    forecasts = columns(2)
    forecasts[MODEL][1] = np.nan
    assert to_output(read_panel(frame()), forecasts, 3)["b"].isna().all()


# ------------------------------------------------------------------------------------------------- several columns

@pytest.mark.parametrize("y", [VALUES, pd.Series(VALUES, DATES, name="close")], ids=["array", "series"])
def test_bounds_beside_one_series(y):
    found = to_output(read_panel(y), columns(1, bounds=True), 3)
    assert list(found.columns) == [MODEL, f"{MODEL}-lo-80"]
    assert list(found.index) == ([8, 9, 10] if isinstance(y, np.ndarray) else list(AHEAD))
    assert found[f"{MODEL}-lo-80"].tolist() == [-1000, -999, -998]


@pytest.mark.parametrize("multivariate", [False, True])
@pytest.mark.parametrize("kind", ["wide", "matrix", "levels"])
def test_bounds_beside_each_series(kind, multivariate):
    levels = pd.MultiIndex.from_product([["C"], ["a", "b"]])
    y = {"wide": frame(), "matrix": frame().to_numpy(), "levels": frame().set_axis(levels, axis=1)}
    a, b = {"wide": ("a", "b"), "matrix": ("0", "1"), "levels": ("C-a", "C-b")}[kind]
    values = columns(1, 2, bounds=True) if multivariate else columns(2, bounds=True)
    found = to_output(read_panel(y[kind], multivariate=multivariate), values, 3)
    assert list(found.columns) == [a, f"{a}-lo-80", b, f"{b}-lo-80"]
    step = 10 if multivariate else 100
    assert found[b].tolist() == [step, step + 1, step + 2]
    assert found[f"{b}-lo-80"].tolist() == [step - 1000, step - 999, step - 998]
    assert found[f"{a}-lo-80"].tolist() == [-1000, -999, -998]


def test_quantiles_are_named_so():
    point = columns(1)[MODEL]
    found = to_output(read_panel(frame(["a"])), {MODEL: point, f"{MODEL}-q-0.1": point}, 3)
    assert list(found.columns) == ["a", "a-q-0.1"]


def test_bounds_in_a_long_frame():
    found = to_output(read_panel(long()), columns(2, bounds=True), 3)
    assert list(found.columns) == ["unique_id", "ds", MODEL, f"{MODEL}-lo-80"]
    assert found[f"{MODEL}-lo-80"].tolist() == [-1000, -999, -998, -900, -899, -898]


# ------------------------------------------------------------------------------------------------- backtests

def test_long_result_of_a_backtest():
    panel = read_panel(frame())
    found = to_long(panel, columns(4, bounds=True, horizon=2), np.array([3, 6, 8, 14]))
    assert list(found.columns) == ["unique_id", "ds", "cutoff", "y", MODEL, f"{MODEL}-lo-80"]
    assert list(found["unique_id"]) == ["a", "a", "a", "b", "b", "b"]
    assert list(found["cutoff"]) == list(DATES[[3, 3, 6, 0, 0, 6]])
    assert list(found["ds"]) == list(DATES[[4, 5, 7, 1, 2, 7]])  # beyond the end of a series there is nothing to compare
    assert list(found["y"]) == [4, 5, 7, 2, 3, 8]
    assert list(found[MODEL]) == [0, 1, 100, 200, 201, 300]
    assert list(found[f"{MODEL}-lo-80"]) == [-1000, -999, -900, -800, -799, -700]


def test_long_result_of_channels_and_other_truths():
    panel = read_panel(frame(), multivariate=True)
    forecasts = columns(2, 2, horizon=2)
    found = to_long(panel, forecasts, np.array([3, 6]))
    assert list(found["unique_id"]) == ["a", "a", "b", "b", "a", "b"]
    assert list(found["ds"]) == list(DATES[[4, 5, 4, 5, 7, 7]])
    assert list(found["y"]) == [4, 5, 5, 6, 7, 8]
    assert list(found[MODEL]) == [0, 1, 10, 11, 100, 110]
    truth = to_long(panel, forecasts, np.array([3, 6]), truth=-forecasts[MODEL])
    assert list(truth["y"]) == [0, -1, -10, -11, -100, -110]


def test_long_result_of_one_array():
    found = to_long(read_panel(VALUES), columns(1), np.array([2]))
    assert found["unique_id"].tolist() == ["y", "y", "y"]
    assert found["cutoff"].tolist() == [2, 2, 2]
    assert found["ds"].tolist() == [3, 4, 5]


# ------------------------------------------------------------------------------------------------- future covariates

def covariates(periods=11):
    return pd.DataFrame({"x": np.arange(periods) * 1.0, "past": np.nan, "open": np.arange(periods) % 2 == 0},
                        index=pd.date_range(DATES[0], periods=periods))


def test_nothing_known_ahead():
    assert read_future(read_panel(frame()), None, 3) is None
    panel = read_panel(frame(), covariates(), past_covariates=["x", "past", "open"])
    assert read_future(panel, None, 3) is None


@pytest.mark.parametrize("X", [covariates(), covariates()[8:], covariates(20).iloc[::-1], covariates()[["x", "open"]]],
                         ids=["all", "future", "shuffled", "known"])
def test_future_rows_are_found_by_date(X):
    panel = read_panel(frame(), covariates(), past_covariates=["past"], calendar_features=["day"])
    found = read_future(panel, X, 3, ["day"])
    assert found.shape == (2, 3, 4)
    for series in range(2):
        np.testing.assert_array_equal(found[series, :, :2], [[8, 1], [9, 0], [10, 1]])
        np.testing.assert_array_equal(found[series, :, 2:], calendar_matrix(AHEAD, ["day"]))


def test_calendar_alone():
    panel = read_panel(frame(), calendar_features=["month"])
    np.testing.assert_array_equal(read_future(panel, None, 3, ["month"])[1], calendar_matrix(AHEAD, ["month"]))


def test_future_rows_of_arrays():
    panel = read_panel(VALUES, np.zeros((8, 2)), past_covariates=[0])
    found = read_future(panel, np.array([[np.nan, 1], [np.nan, 2]]), 2)
    np.testing.assert_array_equal(found, [[[1], [2]]])
    np.testing.assert_array_equal(read_future(panel, pd.DataFrame({1: [1.0, 2]}), 2), [[[1], [2]]])
    with pytest.raises(ValueError, match="X has 1 rows, horizon=2 needs 2"):
        read_future(panel, np.zeros((1, 2)), 2)
    with pytest.raises(ValueError, match="X has 10 rows, horizon=2 needs 2: those right after the end of y"):
        read_future(panel, np.zeros((10, 2)), 2)
    with pytest.raises(ValueError, match=r"X lacks the covariates \[1\]"):
        read_future(panel, np.zeros(2), 2)


def long_covariates():
    pairs = pd.MultiIndex.from_product([["a", "b", "c"], DATES], names=["unique_id", "ds"]).to_frame(index=False)
    return pairs.assign(x=np.arange(24.0), sector=pairs["unique_id"]).sample(frac=1, random_state=0)


def test_future_rows_of_a_long_frame():
    panel = read_panel(long(), long_covariates(), static_covariates=["sector"])
    found = read_future(panel, long_covariates(), 2)
    np.testing.assert_array_equal(found[:, :, 0], [[11, 12], [4, 5]])  # b ends on the third day, a on the fourth
    X = long_covariates()
    with pytest.raises(ValueError, match="X has no row for series 'a' at 2024-01-05"):
        read_future(panel, X[X["x"] != 4], 2)
    with pytest.raises(ValueError, match=r"must be a long frame.*\['unique_id'\] missing"):
        read_future(panel, X.drop(columns="unique_id"), 2)


def test_missing_future_covariates():
    panel = read_panel(frame(), covariates(), past_covariates=["past"])
    with pytest.raises(ValueError, match=r"the fit had the covariates \['x', 'open'\]; pass X with their values"):
        read_future(panel, None, 3)
    with pytest.raises(ValueError, match=r"X has no row for 2024-01-11 00:00:00;"):
        read_future(panel, covariates(10), 3)
    with pytest.raises(ValueError, match=r"X lacks the covariates \['open'\]"):
        read_future(panel, covariates()[["x", "past"]], 3)
    X = covariates()
    X.loc[X.index[9], "x"] = np.nan
    with pytest.raises(ValueError, match="X has no value of 'x' at 2024-01-10 00:00:00"):
        read_future(panel, X, 3)
