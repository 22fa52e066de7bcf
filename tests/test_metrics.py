"""Scores: by hand, by their limits, and against published figures."""

import gzip
import math

import numpy as np
import pytest
from sklearn.metrics import mean_squared_error

from tsrnn.metrics import directional_accuracy, mase, skill, smape


class TestDirectionalAccuracy:
    def test_by_hand(self):
        #              up, right; down, wrong; no move: does not count; up, forecast of no move: wrong
        assert directional_accuracy([2, 1, 5, 4], [3, 9, 9, 3], [1, 2, 5, 3]) == pytest.approx(1 / 3)

    def test_perfect_and_inverted(self):
        y, previous = np.array([1.0, 3, 2, 5]), np.array([2.0, 1, 3, 2])
        assert directional_accuracy(y, y, previous) == 1
        assert directional_accuracy(y, 2 * previous - y, previous) == 0

    def test_nothing_moved(self):
        assert math.isnan(directional_accuracy([1, 1], [2, 0], [1, 1]))


class TestSkill:
    def test_by_hand(self):
        assert skill([1, 2], [1, 3], [3, 4]) == pytest.approx(1 - 0.5 / 2)

    def test_limits(self):
        assert skill([1, 2], [1, 2], [3, 4]) == 1
        assert skill([1, 2], [3, 4], [3, 4]) == 0
        assert skill([1, 2], [9, 9], [3, 4]) < 0
        assert skill([1, 2], [1, 2], [1, 2]) == 0
        assert skill([1, 2], [1, 3], [1, 2]) == -math.inf

    def test_error_can_be_chosen(self):
        assert skill([1, 2], [1, 3], [3, 4], error=mean_squared_error) == pytest.approx(1 - 0.5 / 4)


class TestMase:
    def test_by_hand(self):
        assert mase([5, 7], [6, 5], [1, 2, 4]) == pytest.approx(1.5 / 1.5)
        assert mase([5, 7], [6, 5], [1, 2, 4, 6], seasonality=2) == pytest.approx(1.5 / 3.5)

    def test_constant_training_series(self):
        assert mase([5, 7], [6, 5], [1, 1, 1]) == math.inf
        assert math.isnan(mase([5, 7], [5, 7], [1, 1, 1]))

    def test_does_not_depend_on_the_unit(self):
        y, p, z = np.array([5.0, 7]), np.array([6.0, 5]), np.array([1.0, 2, 4])
        assert mase(1e6 * y, 1e6 * p, 1e6 * z) == pytest.approx(mase(y, p, z))

    @pytest.mark.parametrize("train, seasonality, match", [
        ([1, 2], 2, r"seasonality=2 must be smaller than the training series \(2 rows\)"),
        ([1, 2], 0, "seasonality=0 must be a whole number"), ([1, 2, 3], 1.5, "whole number"),
        ([[1, 2]], 1, "one series"), ([1, np.nan, 2], 1, "y_train contains NaN"),
    ])
    def test_bad_training_series(self, train, seasonality, match):
        with pytest.raises(ValueError, match=match):
            mase([1], [1], train, seasonality)


class TestSmape:
    def test_by_hand(self):
        assert smape([1, 3], [3, 3]) == pytest.approx((200 * 2 / 4 + 0) / 2)

    def test_limits(self):
        assert smape([0, 1], [0, 1]) == 0
        assert smape([0, -1], [5, 1]) == 200


@pytest.mark.parametrize("score", [
    lambda a, b: directional_accuracy(a, b, a), lambda a, b: skill(a, b, a), lambda a, b: mase(a, b, [1, 2, 3]), smape,
])
class TestBadInput:
    def test_shapes_differ(self, score):
        with pytest.raises(ValueError, match=r"shapes differ: y_true \(2,\), y_pred \(3,\)"):
            score([1, 2], [1, 2, 3])

    def test_empty(self, score):
        with pytest.raises(ValueError, match="empty"):
            score([], [])

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, score, value):
        with pytest.raises(ValueError, match="y_pred contains NaN or infinity"):
            score([1, 2], [1, value])


@pytest.mark.data
def test_seasonal_naive_on_m4_hourly(data_folder):
    """The official table: sMAPE 13.912, MASE 1.193."""
    train, test = (_m4(data_folder / "m4" / f"Hourly-{part}.csv.gz") for part in ("train", "test"))
    naive = [np.tile(z[-24:], 2) for z in train]
    assert np.mean([smape(y, p) for y, p in zip(test, naive, strict=True)]) == pytest.approx(13.912, abs=1e-3)
    assert np.mean([mase(y, p, z, 24) for y, p, z in zip(test, naive, train, strict=True)]) == pytest.approx(1.193, abs=1e-3)


@pytest.mark.data
def test_repeating_the_close_of_the_shanghai_composite(data_folder):
    import pandas as pd

    close = pd.read_csv(data_folder / "stocks" / "sse_composite_1991_2020.csv.gz")["Closing price"].to_numpy()
    assert skill(close[-500:], close[-501:-1], close[-501:-1]) == 0
    assert np.abs(close[-500:] - close[-501:-1]).mean() == pytest.approx(26.07, abs=0.01)


def _m4(path):
    with gzip.open(path, "rt") as file:
        rows = [line.replace('"', "").strip().split(",")[1:] for line in file][1:]
    return [np.array([float(cell) for cell in row if cell]) for row in rows]
