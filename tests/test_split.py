"""Cuts by date: against the definition row by row, against scikit-learn's splitter, and inside GridSearchCV."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, check_cv

from tsrnn.estimators._split import PanelTimeSeriesSplit


def panel(lengths, starts=None, seed=None, times="dates"):
    """A long frame of series of these lengths that start at these days; shuffled where a seed is given."""
    starts = [0] * len(lengths) if starts is None else starts
    days = np.concatenate([np.arange(s, s + n) for s, n in zip(starts, lengths)])
    ds = pd.Timestamp("2024-02-26") + pd.to_timedelta(days, unit="D") if times == "dates" else days
    frame = pd.DataFrame({"unique_id": np.repeat([f"s{i}" for i in range(len(lengths))], lengths), "ds": ds,
                          "y": np.arange(len(days), dtype=float)})
    return frame if seed is None else frame.sample(frac=1, random_state=seed)


class TestParts:
    def test_by_hand(self):
        y = panel([4, 3], [0, 1])
        parts = [(train.tolist(), test.tolist()) for train, test in PanelTimeSeriesSplit(2, test_size=1).split(y)]
        assert parts == [([0, 1, 4], [2, 5]), ([0, 1, 2, 4, 5], [3, 6])]

    def test_longest_training_part(self):
        split = PanelTimeSeriesSplit(1, test_size=2, max_train_size=2)
        [(train, test)] = split.split(panel([8, 8]))
        assert train.tolist() == [4, 5, 12, 13] and test.tolist() == [6, 7, 14, 15]

    def test_series_that_starts_in_the_test_part_is_in_no_part(self):
        [(train, test)] = PanelTimeSeriesSplit(1, test_size=2).split(panel([6, 2, 3], [0, 4, 3]))
        assert train.tolist() == [0, 1, 2, 3, 8] and test.tolist() == [4, 5, 9, 10]

    def test_whole_numbers_are_cut_by_value(self):
        [(train, test)] = PanelTimeSeriesSplit(1, test_size=2).split(panel([6, 3], times="numbers"))
        assert train.tolist() == [0, 1, 2, 3, 6, 7, 8] and test.tolist() == [4, 5]

    @pytest.mark.parametrize("convert", [
        lambda ds: ds.dt.tz_localize("Europe/Berlin"), lambda ds: ds.dt.to_period("D"), lambda ds: ds.astype(str),
        lambda ds: ds.astype("datetime64[ns]")])
    def test_kinds_of_dates(self, convert):
        y = panel([9, 7], [0, 1], seed=1)
        expected = list(PanelTimeSeriesSplit(3).split(y))
        for ours, theirs in zip(PanelTimeSeriesSplit(3).split(y.assign(ds=convert(y["ds"]))), expected, strict=True):
            assert all(map(np.array_equal, ours, theirs))

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 8)), min_size=1, max_size=5), st.integers(1, 3),
           st.integers(1, 3) | st.none(), st.integers(1, 5) | st.none(), st.integers(0, 9))
    def test_any_panel(self, series, n_splits, test_size, max_train_size, seed):
        lengths, starts = zip(*series)
        y = panel(lengths, starts, seed)
        split = PanelTimeSeriesSplit(n_splits, test_size=test_size, max_train_size=max_train_size)
        try:
            parts = list(split.split(y))
        except ValueError:
            return
        dates = np.sort(y["ds"].unique())
        assert len(parts) == n_splits == split.get_n_splits(y)
        for train, test in parts:
            assert train.dtype.kind == "i" and (np.diff(train) > 0).all() and (np.diff(test) > 0).all()
            before, after = y.iloc[train], y.iloc[test]
            cut, first = before["ds"].max(), after["ds"].min()
            assert np.searchsorted(dates, first) - np.searchsorted(dates, cut) == 1
            assert before["ds"].nunique() <= (max_train_size or len(dates))
            assert set(after["unique_id"]) <= set(before["unique_id"])
            # nothing is left out that belongs to a part
            kept = y["unique_id"].isin(before["unique_id"]) & y["ds"].between(first, after["ds"].max())
            assert np.array_equal(np.flatnonzero(kept), test)
            assert np.array_equal(np.flatnonzero(y["ds"].between(before["ds"].min(), cut)), train)
        assert y.iloc[parts[-1][1]]["ds"].max() <= dates[-1]

    @pytest.mark.parametrize("options", [{}, {"test_size": 2}, {"test_size": 3, "max_train_size": 4}])
    @pytest.mark.parametrize("kind", ["array", "matrix", "series", "wide", "list", "long"])
    def test_rows_of_one_calendar_as_scikit_learn(self, kind, options):
        rows = np.arange(37.0)
        days = pd.date_range("2024-01-01", periods=37)
        X = {"array": rows, "matrix": rows[:, None], "series": pd.Series(rows, days), "list": list(rows),
             "wide": pd.DataFrame({"a": rows, "b": rows}, days), "long": panel([37])}[kind]
        for n_splits in (2, 5):
            ours = PanelTimeSeriesSplit(n_splits, **options).split(X)
            for (train, test), (other_train, other_test) in zip(
                    ours, TimeSeriesSplit(n_splits, **options).split(rows), strict=True):
                assert np.array_equal(train, other_train) and np.array_equal(test, other_test)


class TestAsASplitter:
    def test_repr_equality_and_copies(self):
        split = PanelTimeSeriesSplit(3, test_size=48)
        assert repr(split) == "PanelTimeSeriesSplit(max_train_size=None, n_splits=3, test_size=48)"
        copy = clone(split, safe=False)
        assert split == copy == pickle.loads(pickle.dumps(split)) and hash(split) == hash(copy)
        assert split != PanelTimeSeriesSplit(3) and split != TimeSeriesSplit(3, test_size=48)
        assert check_cv(split) is split

    def test_groups_are_ignored_aloud(self):
        with pytest.warns(UserWarning, match="groups parameter is ignored by PanelTimeSeriesSplit"):
            list(PanelTimeSeriesSplit(2).split(panel([6]), groups=np.zeros(6)))

    def test_grid_search_over_a_long_frame(self):
        y = panel([40, 30, 3], [0, 10, 37], seed=0)
        search = GridSearchCV(LastValue(), {"shift": [0.0, 1.0, 3.0]}, cv=PanelTimeSeriesSplit(3, test_size=4),
                              error_score="raise")
        search.fit(y)
        assert search.best_params_ == {"shift": 3.0}  # y rises by 1 a day; the test days are 1 to 4 days ahead
        assert search.n_splits_ == 3 and search.best_estimator_.rows_ == 73


class LastValue(BaseEstimator):
    """Forecasts the last value plus a shift; checks that it gets long frames whose dates follow each other."""

    def __init__(self, shift=0.0):
        self.shift = shift

    def fit(self, y, X=None):
        assert list(y.columns) == ["unique_id", "ds", "y"]
        self.rows_, self.end_ = len(y), y["ds"].max()
        self.last_ = y.sort_values("ds").groupby("unique_id")["y"].last()
        return self

    def score(self, y, X=None):
        assert (y["ds"] > self.end_).all()
        return -float((y["y"] - y["unique_id"].map(self.last_) - self.shift).abs().mean())


class TestErrors:
    @pytest.mark.parametrize("options, match", [
        ({"n_splits": 0}, "n_splits=0 must be a whole number of at least 1"), ({"n_splits": 2.5}, "n_splits=2.5"),
        ({"n_splits": True}, "n_splits=True"), ({"test_size": 0}, "test_size=0 must be .* of at least 1, or None"),
        ({"max_train_size": 0}, "max_train_size=0"),
    ])
    def test_parameters(self, options, match):
        with pytest.raises(ValueError, match=match):
            PanelTimeSeriesSplit(**options)

    @pytest.mark.parametrize("options, match", [
        ({"n_splits": 5}, "Cannot have number of folds=6 greater than the number of dates=5"),
        ({"n_splits": 2, "test_size": 3}, "Too many splits=2 for number of dates=5 with test_size=3"),
    ])
    def test_too_few_dates(self, options, match):
        with pytest.raises(ValueError, match=match):
            list(PanelTimeSeriesSplit(**options).split(panel([5, 4])))

    def test_no_series_spans_the_cut(self):
        with pytest.raises(ValueError, match="No series has rows both in the dates 0 to 2 and in 3 to 4"):
            list(PanelTimeSeriesSplit(1, test_size=2).split(panel([3, 2], [0, 3])))

    @pytest.mark.parametrize("spoil, error, match", [
        (lambda y: y.drop(columns="ds"), ValueError, "lacks the column ds"),
        (lambda y: y.drop(columns="unique_id"), ValueError, "lacks the column unique_id"),
        (lambda y: y.assign(ds=y["ds"].where(y["y"] != 2)), ValueError, "ds of X contains missing values"),
        (lambda y: y.assign(ds=0.5), ValueError, "column 'ds' must hold dates or whole numbers, got 0.5"),
        (lambda y: y.assign(ds="soon"), ValueError, "column 'ds' cannot be read as dates"),
        (lambda y: y.set_index("ds")[["y"]][::-1], ValueError, "out of order or twice"),
    ])
    def test_bad_frames(self, spoil, error, match):
        with pytest.raises(error, match=match):
            list(PanelTimeSeriesSplit(2).split(spoil(panel([9]))))
