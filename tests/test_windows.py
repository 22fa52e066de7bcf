"""`make_windows`: right values, views with the strides promised, clear errors."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsrnn import make_windows


def naive_windows(series, target, window, horizon, step):
    """The definition, in loops over copies."""
    X, y = [], []
    for start in range(0, len(series) - window - horizon + 1, step):
        X.append([list(row) for row in series[start : start + window]])
        y.append([row[target] for row in series[start + window : start + window + horizon]])
    return np.array(X), np.array(y)


@settings(deadline=None, max_examples=150)
@given(st.data(), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_equals_the_definition(data, window, horizon, step, channels):
    rows = data.draw(st.integers(window + horizon, 25))
    target = data.draw(st.integers(0, channels - 1))
    series = np.arange(rows * channels, dtype=float).reshape(rows, channels) * 1.5
    X, y = make_windows(series, window, horizon, step=step, target=target)
    X_true, y_true = naive_windows(series, target, window, horizon, step)
    assert np.array_equal(X, X_true)
    assert np.array_equal(y if horizon > 1 else y[:, None], y_true)


def test_one_series():
    X, y = make_windows([1, 2, 3, 4, 5], 3)
    assert X.tolist() == [[[1], [2], [3]], [[2], [3], [4]]]
    assert y.tolist() == [4, 5]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("step", [1, 3])
def test_results_are_read_only_views_of_one_array(dtype, step):
    series = np.arange(40, dtype=dtype).reshape(20, 2)
    X, y = make_windows(series, 5, horizon=2, step=step, target=1)
    size = series.itemsize
    assert X.dtype == y.dtype == dtype
    assert X.strides == (2 * size * step, 2 * size, size)
    assert np.shares_memory(X, series) and np.shares_memory(y, series)
    assert not X.flags.writeable and not y.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        X[0, 0, 0] = 1
    series[6] = -1
    assert X[-1].base is not None and (X == -1).any()


def test_frames_need_one_copy_of_the_series_only():
    frame = pd.DataFrame({"a": np.arange(1000.0), "b": 0.0})
    X, y = make_windows(frame, 500, target="a")
    assert X.strides == (16, 16, 8) and X.shape == (500, 500, 2)
    assert y.tolist() == list(range(500, 1000))
    memory = np.lib.array_utils.byte_bounds(X)
    assert memory[1] - memory[0] <= 1000 * 2 * 8


@pytest.mark.parametrize("kind", [list, np.asarray, pd.Series, pd.DataFrame, lambda y: np.array(y)[:, None]])
def test_kinds_of_input_agree(kind):
    X, y = make_windows(kind([1.0, 2.0, 3.0, 4.0]), 2)
    assert X.shape == (2, 2, 1) and X.ravel().tolist() == [1, 2, 2, 3] and y.tolist() == [3, 4]


@pytest.mark.parametrize("dtype, expected", [
    ("int64", "float64"), ("bool", "float64"), ("float16", "float64"), (">f8", "float64"), (">f4", "float32"),
    ("float32", "float32"),
])
def test_float_types(dtype, expected):
    X, y = make_windows(np.arange(6).astype(dtype), 2)
    assert X.dtype == y.dtype == expected and X.dtype.isnative


def test_pandas_types():
    assert make_windows(pd.Series([1, 2, None, 4], dtype="Int64"), 2)[0].dtype == np.float64
    assert np.isnan(make_windows(pd.Series([1, 2, None, 4], dtype="Int64"), 2)[1][0])
    assert make_windows(pd.Series([1, 2, 3], dtype="Float32"), 1)[0].dtype == np.float32
    assert make_windows(pd.DataFrame({"a": [1, 2, 3], "b": [1.5, 2, 3]}), 1, target="a")[0].dtype == np.float64


def test_missing_values_pass_through():
    X, y = make_windows([1.0, np.nan, np.inf, 4.0], 2)
    assert np.isnan(X[0, 1, 0]) and np.isinf(y[0])


def test_views_with_strides_of_their_own():
    X, _ = make_windows(np.arange(20.0)[::-2], 3)
    assert X[0].ravel().tolist() == [19, 17, 15] and X.strides == (8, 8, 8)


class TestFurtherSeries:
    def test_stand_beside_y(self):
        X, y = make_windows([1.0, 2, 3, 4], 2, X=np.array([[10.0, 100], [20, 200], [30, 300], [40, 400]]))
        assert X[0].tolist() == [[1, 10, 100], [2, 20, 200]] and y.tolist() == [3, 4]

    def test_float32_beside_float64_is_float64(self):
        assert make_windows(np.ones(5, "f4"), 2, X=np.ones(5))[0].dtype == np.float64

    def test_rows_must_agree(self):
        with pytest.raises(ValueError, match="X has 3 rows and y has 4"):
            make_windows(np.ones(4), 2, X=np.ones(3))

    def test_indexes_must_agree(self):
        y = pd.Series(1.0, pd.date_range("2024-01-01", periods=5))
        with pytest.raises(ValueError, match=r"different indexes; align them first, as X.reindex\(y.index\)"):
            make_windows(y, 2, X=y.shift(freq="D"))


class TestTarget:
    frame = pd.DataFrame({"open": [1.0, 2, 3], "close": [4.0, 5, 6]})

    @pytest.mark.parametrize("target, expected", [("close", [5, 6]), ("open", [2, 3]), (1, [5, 6]), (-1, [5, 6]), (0, [2, 3])])
    def test_by_name_or_position(self, target, expected):
        assert make_windows(self.frame, 1, target=target)[1].tolist() == expected

    def test_must_be_said(self):
        with pytest.raises(ValueError, match=r"y has 2 columns; .* with target=, one of \['open', 'close'\]"):
            make_windows(self.frame, 1)
        with pytest.raises(ValueError, match="y has 3 columns; .* target=, a position"):
            make_windows(np.ones((4, 3)), 1)

    @pytest.mark.parametrize("target", ["Close", 2, -3, 0.5, True])
    def test_must_exist(self, target):
        with pytest.raises(ValueError, match="is not a column of y; give one of"):
            make_windows(self.frame, 1, target=target)

    def test_must_be_one_column(self):
        with pytest.raises(ValueError, match="names 2 columns of y"):
            make_windows(self.frame.set_axis(["a", "a"], axis=1), 1, target="a")


class TestErrors:
    def test_too_short(self):
        message = r"^window=60 must be smaller than the series \(48 rows\); pass more rows or a smaller window\.$"
        with pytest.raises(ValueError, match=message):
            make_windows(np.ones(48), 60)
        with pytest.raises(ValueError, match="window=48 must be smaller"):
            make_windows(np.ones(48), 48)

    def test_too_short_for_the_horizon(self):
        with pytest.raises(ValueError, match="window=40 and horizon=9 need 49 rows, the series has 48"):
            make_windows(np.ones(48), 40, 9)
        assert make_windows(np.ones(48), 40, 8)[0].shape == (1, 40, 1)

    @pytest.mark.parametrize("name", ["window", "horizon", "step"])
    @pytest.mark.parametrize("value", [0, -1, 2.0, "3", True, None])
    def test_whole_numbers_from_1(self, name, value):
        with pytest.raises(ValueError, match=f"{name}=.* must be a whole number of at least 1"):
            make_windows(np.ones(48), **{"window": 3, name: value})

    def test_numpy_integers_are_integers(self):
        assert make_windows(np.ones(5), np.int64(2))[0].shape == (3, 2, 1)

    @pytest.mark.parametrize("y, match", [
        (["a", "b", "c"], "must hold numbers only"),
        ([[1.0, 2.0], [3.0]], "must hold numbers only, in equal rows"),
        (np.ones((4, 2, 2)), r"must be \(rows,\) or \(rows, columns\), got shape \(4, 2, 2\)"),
        (3.0, "got shape"),
        ([], "is empty"),
        (np.ones((3, 0)), "is empty"),
        (np.ones(4) * 1j, "must hold numbers only, got complex128 values"),
        (pd.Series(["a", "b", "c"]), "must hold numbers only"),
        (pd.Series(pd.date_range("2024-01-01", periods=4)), "must hold numbers only"),
        (np.array(["2024-01-01", "2024-01-02", "2024-01-03"], "M8[D]"), "must hold numbers only"),
    ])
    def test_not_a_series_of_numbers(self, y, match):
        with pytest.raises(ValueError, match=match):
            make_windows(y, 1)

    def test_time_runs_forward(self):
        y = pd.Series(np.arange(5.0), pd.date_range("2024-01-01", periods=5))
        make_windows(y, 2)
        with pytest.raises(ValueError, match="not in time order; sort it first"):
            make_windows(y[::-1], 2)


@pytest.mark.data
def test_real_prices_with_gaps(data_folder):
    frame = pd.read_csv(data_folder / "stocks" / "all_stocks_5yr.csv.gz")
    one = frame[frame.Name == "APTV"].set_index("date")[["open", "close"]]
    X, y = make_windows(one, 10, target="close")
    assert X.shape == (len(one) - 10, 10, 2) and np.array_equal(y, one.close.to_numpy()[10:])
