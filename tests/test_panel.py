"""y and X in all their forms, read, checked, continued, cut."""

import datetime

import numpy as np
import pandas as pd
import pytest

from tsrnn.data.calendar import calendar_matrix
from tsrnn.data.panel import extend, read_panel, select, tail

DATES = pd.date_range("2024-01-01", periods=6)
VALUES = np.arange(6.0)
NAN = np.nan
pytestmark = pytest.mark.filterwarnings("error")


def wide():
    return pd.DataFrame({"a": VALUES, "b": [NAN, NAN, 2.0, NAN, 4.0, NAN]}, index=DATES)


def long():
    """Rows of two series interleave."""
    return pd.DataFrame({"unique_id": ["b", "a", "b", "a", "a"], "ds": DATES[[0, 1, 2, 2, 5]], "y": [1.0, 2, 3, 4, 5]})


# ------------------------------------------------------------------------------------------------- forms of y

def test_an_array_is_used_as_it_is():
    panel = read_panel(VALUES)
    assert panel.form.kind == "array"
    assert (panel.ids, panel.channels, list(panel.bounds), panel.form.step) == (("y",), ("y",), [0, 6], 1)
    assert not panel.form.dated
    assert panel.values.shape == (6, 1)
    assert np.shares_memory(panel.values, VALUES)
    assert panel.past.shape == panel.known.shape == (6, 0)
    assert panel.static.shape == (1, 0)


@pytest.mark.parametrize("y", [
    [1, None, 3], [1, pd.NA, 3], np.array([1, NAN, 3], ">f4"), np.array([1, None, 3], object),
    np.ma.masked_array([1, 2, 3], [0, 1, 0]),
    pd.Series([1, None, 3], dtype="Int64"), pd.Series([1, None, 3], dtype="Float64"), pd.Series([1, None, 3], dtype=object),
    pd.DataFrame({"a": pd.Series([1, None, 3], dtype="Float64")}), pd.DataFrame({"a": [1, None, 3]}, dtype=object),
])
def test_numbers_of_all_types(y):
    panel = read_panel(y)
    assert panel.values.dtype == np.float64
    np.testing.assert_array_equal(panel.values[:, 0], [1, NAN, 3])


@pytest.mark.parametrize("index", [
    DATES, DATES.tz_localize("Asia/Tokyo"), DATES.to_period("D"), DATES.astype(str), DATES.as_unit("ns"),
    list(DATES.date), DATES.astype(object),
    pd.CategoricalIndex(DATES), pd.CategoricalIndex(DATES.astype(str)),
])
def test_dates_of_all_types(index):
    series = pd.Series(VALUES, index=index, name="close")
    panel = read_panel(series)
    assert panel.form.dated
    assert panel.ids == ("close",)
    assert np.shares_memory(panel.values, series.to_numpy())
    assert [str(time)[:10] for time in panel.times] == list(DATES.astype(str))
    frame = read_panel(long().assign(ds=pd.Index(index)[[0, 1, 2, 2, 5]]))
    assert frame.form.dated
    assert frame.times.dtype == panel.times.dtype
    assert [str(time)[:10] for time in frame.times] == list(DATES[[0, 2, 1, 2, 5]].astype(str))


@pytest.mark.parametrize("index", [[3, 4, 5], [3.0, 4.0, 5.0], np.array([3, 4, 5], "u1"), pd.array([3, 4, 5], "Int64"),
                                   pd.RangeIndex(3, 6), np.array([3, 4, 5], object)])
def test_whole_numbers_of_all_types(index):
    panel = read_panel(pd.Series([1.0, 2, 3], index=index))
    assert not panel.form.dated
    assert panel.times.dtype == np.int64
    assert list(panel.times) == [3, 4, 5]


def test_a_wide_frame_starts_where_its_columns_do():
    panel = read_panel(wide())
    assert (panel.form.kind, panel.ids, list(panel.bounds)) == ("wide", ("a", "b"), [0, 6, 10])
    np.testing.assert_array_equal(panel.values[:, 0], [*VALUES, 2, NAN, 4, NAN])
    assert list(panel.times) == [*DATES, *DATES[2:]]
    assert list(panel.series_of_row) == [0] * 6 + [1] * 4
    whole = read_panel(wide(), multivariate=True)
    assert (whole.n_series, whole.channels) == (1, ("a", "b"))
    np.testing.assert_array_equal(whole.values, wide().to_numpy())
    assert whole.values.flags.c_contiguous


def test_a_matrix_in_any_memory():
    matrix = np.arange(12.0).reshape(6, 2)
    matrix[0, 1] = NAN
    matrix.flags.writeable = False
    strided = np.repeat(matrix, 2, axis=0)[::2]
    for array in (matrix, np.asfortranarray(matrix), matrix.tolist(), pd.DataFrame(matrix).to_numpy(), strided):
        panel = read_panel(array)
        assert (panel.form.kind, panel.ids, list(panel.bounds)) == ("matrix", (0, 1), [0, 6, 11])
        np.testing.assert_array_equal(panel.values[:, 0], [*matrix[:, 0], *matrix[1:, 1]])
        assert list(panel.times) == [0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5]
        assert read_panel(array, multivariate=True).values.flags.c_contiguous


def test_columns_of_several_levels_and_types():
    columns = pd.MultiIndex.from_tuples([("Close", "A"), ("Close", "B")], names=["Price", "Ticker"])
    panel = read_panel(pd.DataFrame({0: [1, 2], 1: [1.5, 2.5]}).set_axis(columns, axis=1))
    assert panel.ids == (("Close", "A"), ("Close", "B"))
    assert panel.form.name == ("Price", "Ticker")
    np.testing.assert_array_equal(panel.values[:, 0], [1, 2, 1.5, 2.5])


@pytest.mark.parametrize("dtype", [str, "category", object])
def test_a_long_frame_is_sorted_by_series(dtype):
    panel = read_panel(long().astype({"unique_id": dtype}))
    assert (panel.form.kind, panel.ids, list(panel.bounds)) == ("long", ("b", "a"), [0, 2, 5])
    np.testing.assert_array_equal(panel.values[:, 0], [1, 3, 2, 4, 5])
    assert list(panel.times) == list(DATES[[0, 2, 1, 2, 5]])


def test_a_long_frame_with_numbers():
    panel = read_panel(pd.DataFrame({"unique_id": [7, 7, 3], "ds": [1, 2, 9], "y": [1, 2, 3]}))
    assert (panel.ids, list(panel.times), panel.form.dated, panel.form.step) == ((7, 3), [1, 2, 9], False, 1)


def test_the_longest_series_says_the_step():
    sundays = pd.date_range("2024-01-01", periods=4, freq="W")
    frame = pd.DataFrame({"unique_id": ["a", *"bbbb"], "ds": [DATES[0], *sundays], "y": 1.0})
    assert read_panel(frame).form.step == pd.offsets.Week(weekday=6)


# ------------------------------------------------------------------------------------------------- bad input

def dated(*texts):
    return pd.Series(np.ones(len(texts)), index=list(texts))


BAD = {
    "unsorted": (pd.Series(VALUES, DATES[::-1]), "not in time order: 2024-01-05.* comes after 2024-01-06.*sort_index"),
    "duplicate": (pd.Series(VALUES, DATES[[0, 1, 1, 2, 3, 4]]), "the time 2024-01-02 00:00:00 twice"),
    "unsorted numbers": (pd.Series([1.0, 2], index=[2, 1]), "1 comes after 2"),
    "backwards range": (pd.Series([1.0, 2], index=pd.RangeIndex(2, 0, -1)), "1 comes after 2"),
    "no date": (pd.Series(VALUES, pd.DatetimeIndex([*DATES[:5], pd.NaT])), "no time .NaT. in row 5"),
    "empty date": (dated("2024-01-01", ""), "no time .NaT. in row 1"),
    "zones": (dated(DATES[0].tz_localize("UTC"), DATES[1].tz_localize("Asia/Tokyo")), "one time zone.*utc=True"),
    "zone and none": (dated(DATES[0], DATES[1].tz_localize("UTC")), "one time zone.*utc=True"),
    "zones in text": (dated("2020-01-01T00:00+01:00", "2020-01-02T00:00+02:00"), "Mixed timezones.*utc=True"),
    "no date text": (dated("2020-01-01", "soon"), "cannot be read as dates"),
    "formats": (dated("12/01/2020", "13/01/2020"), "cannot be read as dates"),
    "object index": (dated("2020-01-01", 5), "must hold dates or whole numbers"),
    "date and text": (dated(datetime.date(2020, 1, 1), "x"), "must hold dates or whole numbers"),
    "true": (pd.Series([1.0, 2], index=[False, True]), "whole numbers, got boolean"),
    "timedelta": (pd.Series([1.0, 2], index=pd.to_timedelta([1, 2], unit="h")), "whole numbers, got timedelta64"),
    "half numbers": (pd.Series([1.0, 2], index=[0.5, 1.5]), "whole numbers, got 0.5"),
    "dates as numbers": (pd.Series([1.0, 2], index=[20240131, 20240201]), "looks like dates written as numbers.*%Y%m%d"),
    "levels": (pd.Series(VALUES, pd.MultiIndex.from_product([["a", "b"], [1, 2, 3]])), "2 levels.*long frame"),
    "booleans": ([True, False], "must hold numbers, got bool"),
    "complex": ([1j, 2], "must hold numbers, got complex"),
    "dates": (DATES.to_numpy(), "must hold numbers, got datetime64"),
    "text": (["1", "2"], "must hold numbers"),
    "text in objects": (np.array(["1", 2], object), "must hold numbers"),
    "booleans, nullable": (pd.Series([True, None], dtype="boolean"), "must hold numbers, got boolean"),
    "category": (pd.Series([1, 2], dtype="category"), "must hold numbers, got category"),
    "dates in a column": (pd.DataFrame({"Date": DATES, "a": VALUES}), "'Date' must hold numbers.*make it the index"),
    "text in a column": (pd.DataFrame({"Date": DATES.astype(str), "a": VALUES}), "'Date' must hold numbers.*make it the index"),
    "infinite": ([1, np.inf], "infinite value in row 1"),
    "infinite in a column": (pd.DataFrame({"a": [1, 2.0], "b": [-np.inf, 1]}), "infinite value in row 0"),
    "nothing": ([], "empty"),
    "no row": (pd.DataFrame({"a": []}), r"empty: shape \(0, 1\)"),
    "no column": (pd.DataFrame(index=DATES), r"empty: shape \(6, 0\)"),
    "no series": (pd.Series([], dtype=float), "empty"),
    "no long row": (long()[:0], "empty"),
    "NaN alone": ([NAN, NAN], "holds NaN alone"),
    "NaN columns": (pd.DataFrame({"a": [NAN, NAN], "b": [NAN, NAN]}), "column 'a', 'b' of y holds NaN alone"),
    "NaN columns of a matrix": ([[NAN, NAN], [NAN, NAN]], "column 0, 1 of y holds NaN alone"),
    "same columns": (pd.DataFrame([[1, 2]], columns=["a", "a"]), "column 'a' twice"),
    "ranks": (np.zeros((2, 2, 2)), "shape"),
    "no rank": (np.array(1.0), "shape"),
    "unequal": ([[1.0, 2.0], [1.0]], "columns of equal length; pass series of unequal length as a long frame"),
    "long without y": (long().drop(columns="y"), r"\['y'\] missing"),
    "long by index": (long().set_index("unique_id"), r"'unique_id' is in the index: y.reset_index\(\)"),
    "long and more": (long().assign(price=1), r"pass \['price'\] as covariates"),
    "long, nameless": (long().assign(unique_id=["a", None, "b", "a", "a"]), "'unique_id' has no value in row 1"),
    "long duplicate": (long().assign(ds=DATES[[0, 1, 2, 1, 5]]), "series 'a' of y has the time 2024-01-02 00:00:00 twice"),
    "long unsorted": (long()[::-1], r"series 'a' of y is not in time order.*sort_values\(\['unique_id', 'ds'\]\)"),
    "long NaN": (long().assign(y=NAN), "series 'b', 'a' of y holds NaN alone"),
    "long infinite": (long().assign(y=[NAN, 1, np.inf, 1, 1]), "column 'y' has an infinite value in row 2"),
    "long text": (long().assign(y="1"), "column 'y' must hold numbers"),
    "long zones": (long().assign(ds=[*DATES[:4], DATES[5].tz_localize("UTC")]), "column 'ds' cannot be read.*utc=True"),
    "long, no date": (long().assign(ds=[*DATES[:4], pd.NaT]), "column 'ds' has no time"),
    "long, no number": (long().assign(ds=pd.array([1, 2, 3, 4, None], "Int64")), "column 'ds' has no time"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_series_get_one_clear_error(name):
    y, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=message):
        read_panel(y)


@pytest.mark.parametrize("y", [None, "AAPL", b"AAPL", {"a": [1.0]}, 3.0, {1.0}])
def test_what_is_no_series(y):
    with pytest.raises(TypeError, match="must be an array, a Series or a DataFrame, got"):
        read_panel(y)


def test_channels_need_columns():
    with pytest.raises(ValueError, match="joins columns, but y has one"):
        read_panel(VALUES, multivariate=True)
    with pytest.raises(ValueError, match=r"y.pivot\("):
        read_panel(long(), multivariate=True)
    with pytest.raises(ValueError, match="column 'b' of y holds NaN alone"):
        read_panel(wide().assign(b=NAN), multivariate=True)


def test_what_is_odd_but_fine():
    assert read_panel([5.0, 5.0, 5.0]).n_rows == 3  # constant
    assert read_panel([1e308, 1e308]).n_rows == 2  # whose sum is infinite
    assert read_panel(pd.DataFrame({"y": VALUES})).form.kind == "wide"
    np.testing.assert_array_equal(read_panel([NAN, 1.0]).values[:, 0], [NAN, 1])  # one series keeps its rows


# ------------------------------------------------------------------------------------------------- covariates

def covariates(index):
    return pd.DataFrame({"price": np.arange(len(index)) * 10.0, "holiday": np.arange(len(index)) % 2 == 0,
                         "weight": 2.5}, index=index)


@pytest.mark.parametrize("later", [0, 3])
def test_covariates_of_a_wide_frame_are_shared(later):
    index = pd.date_range(DATES[0], periods=6 + later)
    X = covariates(index).iloc[::-1]
    panel = read_panel(wide(), X, past_covariates=["price"], static_covariates=["weight"], calendar_features=["month", "day"])
    assert (panel.form.past, panel.form.known, panel.form.static) == (("price",), ("holiday",), ("weight",))
    np.testing.assert_array_equal(panel.past[:, 0], [0, 10, 20, 30, 40, 50, 20, 30, 40, 50])
    np.testing.assert_array_equal(panel.known[:, 0], [1, 0, 1, 0, 1, 0, 1, 0, 1, 0])
    np.testing.assert_array_equal(panel.known[:, 1:], calendar_matrix(panel.times, ["month", "day"]))
    np.testing.assert_array_equal(panel.static, [[2.5], [2.5]])


@pytest.mark.parametrize("X", [VALUES, VALUES[:, None], VALUES.tolist(), pd.Series(VALUES, DATES),
                               pd.DataFrame({0: VALUES}, index=DATES)])
def test_covariates_in_all_forms(X):
    for y in (VALUES, pd.Series(VALUES, DATES), wide()[["a"]], wide()[["a"]].to_numpy()):
        panel = read_panel(y, X)
        np.testing.assert_array_equal(panel.known[:, 0], VALUES)
        assert panel.form.known == (0,)
    assert read_panel(VALUES, np.zeros((6, 2)), past_covariates=[1]).form.known == (0,)


def test_rows_of_covariates_are_found_by_number():
    y = pd.Series(VALUES[3:], index=[3, 4, 5])
    np.testing.assert_array_equal(read_panel(y, pd.DataFrame({"x": VALUES})).known[:, 0], VALUES[3:])


def long_covariates(seed=None):
    """Of both series at all dates, and of one more."""
    pairs = pd.MultiIndex.from_product([["c", "a", "b"], pd.date_range(DATES[0], periods=8)], names=["unique_id", "ds"])
    frame = pairs.to_frame(index=False)
    frame["x"] = np.arange(24.0)
    frame["sector"] = frame["unique_id"].map({"a": "tech", "b": "bank", "c": "oil"})
    frame["size"] = frame["unique_id"].map({"a": 1, "b": 2, "c": 3})
    return frame if seed is None else frame.sample(frac=1, random_state=seed)


@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.parametrize("form", ["plain", "text dates", "category"])
def test_long_covariates_are_found_by_series_and_date(seed, form):
    X = long_covariates(seed)
    if form == "text dates":
        X["ds"] = X["ds"].astype(str)
    if form == "category":
        X = X.astype({"unique_id": "category", "sector": "category"})
    panel = read_panel(long(), X, static_covariates=["size", "sector"])
    np.testing.assert_array_equal(panel.known[:, 0], [16, 18, 9, 10, 13])
    np.testing.assert_array_equal(panel.static, [[2, 1, 0], [1, 0, 1]])
    assert panel.form.categories == {"sector": ("bank", "tech")}


def test_long_covariates_of_the_same_rows():
    frame = long().assign(x=[1.0, 2, NAN, 4, 5])
    panel = read_panel(frame[["unique_id", "ds", "y"]], frame.drop(columns="y"))
    np.testing.assert_array_equal(panel.known[:, 0], [1, NAN, 2, 4, 5])  # NaN stay


def test_a_static_number_may_be_missing():
    X = long_covariates()
    X.loc[X["unique_id"] == "b", "size"] = NAN
    np.testing.assert_array_equal(read_panel(long(), X.drop(columns="sector"), static_covariates=["size"]).static, [[NAN], [1]])


def bad_covariates():
    series, frame, many = pd.Series(VALUES, DATES), covariates(DATES), long_covariates()
    changes = many.assign(size=np.arange(24))
    return {
        "rows": (VALUES, np.zeros((5, 2)), {}, "X has 5 rows and y has 6"),
        "rows of a Series": (series, np.zeros(7), {}, "X has 7 rows and y has 6"),
        "dates": (series, frame[1:], {}, "X has no row for 2024-01-01 00:00:00;"),
        "more dates": (series, frame[2:], {}, r"X has no row for 2024-01-01 00:00:00 \(and 1 more\)"),
        "numbers for dates": (series, frame.reset_index(drop=True), {}, "times of X are whole numbers, those of y are dates"),
        "zone": (series, frame.tz_localize("UTC"), {}, "the times of X are dates in UTC, those of y are dates without"),
        "date twice": (series, pd.concat([frame, frame[:1]]), {}, "X has the time 2024-01-01 00:00:00 twice"),
        "column twice": (series, frame[["price", "price"]], {}, "X has the column 'price' twice"),
        "unknown name": (series, frame, {"past_covariates": ["prize"]},
                         r"'prize' is not a column of X.*\['price', 'holiday', 'weight'\]"),
        "one name": (series, frame, {"past_covariates": "price"}, r"past_covariates=\['price'\]"),
        "both": (series, frame, {"past_covariates": ["price"], "static_covariates": ["price"]}, "it can be in one of them"),
        "no X": (series, None, {"past_covariates": ["price"]}, r"\['price'\] need X, got X=None"),
        "no column": (series, frame[[]], {}, "no covariate column"),
        "text": (series, frame.assign(price="high"), {}, r"'price' holds text; .* static_covariates=\['price'\]"),
        "infinite": (series, frame.assign(price=np.inf), {}, "X has an infinite value in row 0"),
        "rank": (VALUES, np.zeros((6, 1, 1)), {}, "got shape"),
        "not long": (long(), frame, {}, r"must be a long frame.*\['unique_id', 'ds'\] missing"),
        "missing pair": (long(), many[many["x"] != 9], {}, "X has no row for series 'a' at 2024-01-02"),
        "pair twice": (long(), pd.concat([many, many[9:10]]), {}, r"X has the row \('a', 2024-01-02 00:00:00\) twice"),
        "static changes": (long(), changes.drop(columns="sector"), {"static_covariates": ["size"]},
                           "'size' changes within series 'b'.*2024-01-03"),
        "static text changes": (long(), many.assign(sector=many["ds"].astype(str)), {"static_covariates": ["sector"]},
                                "'sector' changes within series 'b'"),
        "no static text": (long(), many.assign(sector=many["sector"].where(many["unique_id"] != "b")),
                           {"static_covariates": ["sector"]}, "'sector' has no value for series 'b'"),
        "unknown feature": (series, None, {"calendar_features": ["year"]}, "'year'; known names are"),
        "feature of numbers": (VALUES, None, {"calendar_features": ["month"]}, "need dates"),
    }


@pytest.mark.parametrize("name", bad_covariates())
def test_bad_covariates_get_one_clear_error(name):
    y, X, options, message = bad_covariates()[name]
    with pytest.raises(ValueError, match=message):
        read_panel(y, X, **options)


# ------------------------------------------------------------------------------------------------- like, extend

def test_like_holds_y_and_X_to_the_fit():
    fitted = read_panel(long(), long_covariates(), past_covariates=["x"], static_covariates=["sector", "size"])
    X = long_covariates().assign(unique_id=lambda f: f["unique_id"] + "2")
    other = read_panel(long().assign(unique_id=lambda f: f["unique_id"] + "2"), X, like=fitted)
    assert other.ids == ("b2", "a2")
    assert other.form == fitted.form
    np.testing.assert_array_equal(other.static, fitted.static)
    np.testing.assert_array_equal(other.past, fitted.past)
    oil = X.assign(sector="oil")
    with pytest.raises(ValueError, match="the value 'oil', which the fit did not see; it knows 'bank', 'tech'"):
        read_panel(long().assign(unique_id="a2", ds=DATES[:5]), oil, like=fitted)
    with pytest.raises(ValueError, match="'sector' held text in the fit and holds numbers now"):
        read_panel(long(), long_covariates().assign(sector=1), like=fitted)
    with pytest.raises(ValueError, match="'size' held numbers in the fit and holds text now"):
        read_panel(long(), long_covariates().assign(size="1"), like=fitted)
    with pytest.raises(ValueError, match=r"missing: \['size'\], unknown: \['z'\]"):
        read_panel(long(), long_covariates().rename(columns={"size": "z"}), like=fitted)
    with pytest.raises(ValueError, match="need X, got X=None"):
        read_panel(long(), like=fitted)
    with pytest.raises(ValueError, match="the fit had no X"):
        read_panel(long(), long_covariates(), like=read_panel(long()))


def test_like_holds_the_kind():
    series = read_panel(pd.Series(VALUES, DATES))
    with pytest.raises(ValueError, match="y is a 1-D array, the fit had a Series"):
        read_panel(VALUES, like=series)
    with pytest.raises(ValueError, match="the times of y are dates in UTC, those of the fit were dates without a time zone"):
        read_panel(pd.Series(VALUES, DATES.tz_localize("UTC")), like=series)
    with pytest.raises(ValueError, match="are whole numbers, those of the fit were dates"):
        read_panel(pd.Series(VALUES), like=series)
    with pytest.raises(ValueError, match=r"are periods \(D\)"):
        read_panel(pd.Series(VALUES, DATES.to_period("D")), like=series)
    other = read_panel(pd.Series(VALUES, DATES, name="other"), like=series)
    assert other.form.name == "other"


def test_like_holds_the_channels_in_their_order():
    fitted = read_panel(wide(), multivariate=True)
    other = read_panel(wide()[["b", "a"]], multivariate=True, like=fitted)
    assert other.channels == ("a", "b")
    np.testing.assert_array_equal(other.values, fitted.values)
    with pytest.raises(ValueError, match=r"2 channels of the fit; missing: \['b'\], unknown: \['c'\]"):
        read_panel(wide().rename(columns={"b": "c"}), multivariate=True, like=fitted)
    with pytest.raises(ValueError, match="3 channels|2 channels"):
        read_panel(np.zeros((4, 3)), multivariate=True, like=read_panel(np.zeros((4, 2)), multivariate=True))


def test_rows_that_continue_keep_their_missing_values():
    fitted = read_panel(wide())
    later = pd.DataFrame({"a": [1.0, 2], "b": [NAN, NAN]}, index=DATES[:2] + pd.Timedelta(days=6))
    assert list(np.diff(read_panel(later, like=fitted).bounds)) == [2, 2]


@pytest.mark.parametrize("cut", [1, 3, 5])
@pytest.mark.parametrize("y", [
    VALUES, np.arange(18.0).reshape(6, 3), pd.Series(VALUES, DATES), pd.Series(VALUES), pd.Series(VALUES, DATES.to_period("D")),
    pd.Series(VALUES, DATES.tz_localize("Asia/Tokyo")), pd.DataFrame(np.arange(18.0).reshape(6, 3), DATES, list("abc")),
], ids=["array", "matrix", "series", "numbered", "periods", "zone", "wide"])
def test_extend_is_as_if_it_had_been_one(y, cut):
    whole, first = read_panel(y), read_panel(y[:cut])
    both = extend(first, read_panel(y[cut:], like=first))
    np.testing.assert_array_equal(both.values, whole.values)
    np.testing.assert_array_equal(both.bounds, whole.bounds)
    assert both.times.equals(whole.times)
    assert both.times.dtype == whole.times.dtype


def test_extend_channels_and_covariates():
    X = covariates(DATES)
    for multivariate in (False, True):
        options = {"multivariate": multivariate, "past_covariates": ["price"], "calendar_features": ["day"]}
        y = wide().bfill().ffill()
        whole, first = read_panel(y, X, **options), read_panel(y[:4], X, **options)
        both = extend(first, read_panel(y[4:].iloc[:, ::-1], X, like=first, **options))  # columns in another order
        for name in ("values", "past", "known", "bounds"):
            np.testing.assert_array_equal(getattr(both, name), getattr(whole, name))


def test_extend_some_series_of_a_long_frame():
    fitted = read_panel(long(), long_covariates(), static_covariates=["size", "sector"])
    new = pd.DataFrame({"unique_id": ["b", "b"], "ds": DATES[[4, 5]], "y": [8.0, 9]})
    both = extend(fitted, read_panel(new, long_covariates(), like=fitted))
    assert (both.ids, list(both.bounds)) == (("b", "a"), [0, 4, 7])
    np.testing.assert_array_equal(both.values[:, 0], [1, 3, 8, 9, 2, 4, 5])
    np.testing.assert_array_equal(both.known[:, 0], [16, 18, 20, 21, 9, 10, 13])
    assert list(both.times) == list(DATES[[0, 2, 4, 5, 1, 2, 5]])
    with pytest.raises(ValueError, match="static covariates differ"):
        extend(fitted, read_panel(new, long_covariates().assign(size=7), like=fitted))


def test_extend_over_a_change_of_units_and_gaps():
    fitted = read_panel(pd.Series(VALUES, DATES.as_unit("ns")))
    new = pd.Series([7.0], DATES.as_unit("us")[:1] + pd.Timedelta(days=30))
    both = extend(fitted, read_panel(new, like=fitted))
    assert both.times[-1] == pd.Timestamp("2024-01-31")
    assert both.form.step == fitted.form.step


def test_extend_refuses():
    series = read_panel(pd.Series(VALUES, DATES))
    with pytest.raises(ValueError, match="begin at 2024-01-06 00:00:00, but the fitted series ends at 2024-01-06 00:00:00"):
        extend(series, read_panel(pd.Series([1.0], DATES[5:]), like=series))
    panel = read_panel(long())
    with pytest.raises(ValueError, match="rows of y of series 'b' begin at 2024-01-02.* use PanelTimeSeriesSplit"):
        extend(panel, read_panel(pd.DataFrame({"unique_id": ["b"], "ds": DATES[1:2], "y": [1.0]}), like=panel))
    with pytest.raises(ValueError, match="series 'z', which the fit did not have; a splitter"):
        extend(panel, read_panel(pd.DataFrame({"unique_id": ["z"], "ds": DATES[1:2], "y": [1.0]}), like=panel))
    table = read_panel(wide())
    later = wide().set_axis(DATES + pd.Timedelta(days=6))
    with pytest.raises(ValueError, match="1 of the 2 series of the fit: 'b' is missing"):
        extend(table, read_panel(later[["a"]], like=table))
    with pytest.raises(ValueError, match="'c', which the fit did not have"):
        extend(table, read_panel(later.assign(c=1.0), like=table))
    matrix = read_panel(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="1 of the 2 series"):
        extend(matrix, read_panel(np.zeros((4, 1)), like=matrix))


# ------------------------------------------------------------------------------------------------- select, tail

def test_select():
    panel = read_panel(long(), long_covariates(), static_covariates=["size", "sector"])
    for series in ([1], [1, 0], [0, 1], [0]):
        part = select(panel, series)
        rows = np.concatenate([np.arange(panel.bounds[s], panel.bounds[s + 1]) for s in series])
        assert part.ids == tuple(panel.ids[s] for s in series)
        np.testing.assert_array_equal(part.values, panel.values[rows])
        np.testing.assert_array_equal(part.known, panel.known[rows])
        np.testing.assert_array_equal(part.static, panel.static[series])
        np.testing.assert_array_equal(np.diff(part.bounds), np.diff(panel.bounds)[series])
        assert list(part.times) == list(panel.times[rows])
    assert np.shares_memory(select(panel, [1]).values, panel.values)


def test_tail_is_the_end_and_what_follows():
    panel = read_panel(wide(), covariates(DATES), past_covariates=["price"], calendar_features=["day"])
    ahead = np.arange(2 * 2 * 4.0).reshape(2, 2, 4)
    for known in (None, ahead):
        end, origins = tail(panel, 5, 2, known)
        assert list(end.bounds) == [0, 7, 13]
        assert list(origins) == [4, 10]
        np.testing.assert_array_equal(end.values[:, 0], [1, 2, 3, 4, 5, NAN, NAN, 2, NAN, 4, NAN, NAN, NAN])
        np.testing.assert_array_equal(end.past[:, 0], [10, 20, 30, 40, 50, NAN, NAN, 20, 30, 40, 50, NAN, NAN])
        np.testing.assert_array_equal(end.known[[5, 6, 11, 12]], np.full((4, 4), NAN) if known is None else ahead.reshape(4, 4))
        np.testing.assert_array_equal(end.known[:5], panel.known[1:6])
        future = pd.date_range("2024-01-07", periods=2)
        assert list(end.times) == [*DATES[1:], *future, *DATES[2:], *future]
    end, origins = tail(panel, 2, 0)
    assert list(origins) == [1, 3]
    np.testing.assert_array_equal(end.values[:, 0], [4, 5, 4, NAN])


def test_tail_of_series_that_end_apart():
    end, origins = tail(read_panel(long()), 1, 2)
    assert list(origins) == [0, 3]
    assert list(end.times) == list(pd.date_range("2024-01-03", periods=6))  # b ends on the third, a on the sixth


def test_nothing_writes_to_the_users_memory():
    y, X = np.arange(6.0), np.arange(6.0)[:, None]
    y.flags.writeable = X.flags.writeable = False
    panel = read_panel(y, X)
    assert np.shares_memory(panel.known, X)
    extend(panel, read_panel(y, X, like=panel))
    tail(select(panel, [0]), 3, 2)
    np.testing.assert_array_equal(y, np.arange(6.0))
