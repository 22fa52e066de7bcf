"""Scores: by hand, by their limits, against scikit-learn and SciPy, and against published figures."""

import math
import time

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_pinball_loss,
    mean_squared_error,
    root_mean_squared_error,
)

from tsrnn import metrics
from tsrnn.metrics import (
    coverage,
    crps,
    diebold_mariano,
    directional_accuracy,
    mae,
    mape,
    mase,
    mean_width,
    owa,
    pinball_loss,
    rmse,
    rmsse,
    skill,
    smape,
    winkler_score,
)

VALUES = st.lists(st.tuples(*[st.floats(-1e6, 1e6).filter(lambda v: v == 0 or abs(v) > 1e-6)] * 2), min_size=1, max_size=20)


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


class TestMape:
    def test_by_hand(self):
        assert mape([2, -4], [3, -4]) == pytest.approx(25)

    def test_zeros(self):
        assert mape([0, 2], [0, 3]) == pytest.approx(25)
        assert mape([0, 2], [1, 2]) == math.inf


@settings(max_examples=50, deadline=None)
@given(VALUES, st.floats(0.01, 0.99))
def test_as_scikit_learn(pairs, quantile):
    y, p = np.array(pairs).T
    assert mae(y, p) == pytest.approx(mean_absolute_error(y, p), rel=1e-12)
    assert rmse(y, p) == pytest.approx(root_mean_squared_error(y, p), rel=1e-12)
    assert pinball_loss(y, p, quantile) == pytest.approx(mean_pinball_loss(y, p, alpha=quantile), rel=1e-12)
    if (y != 0).all():
        assert mape(y, p) == pytest.approx(100 * mean_absolute_percentage_error(y, p), rel=1e-12)


class TestRmsse:
    def test_by_hand(self):
        assert rmsse([5, 7], [6, 5], [1, 2, 4]) == pytest.approx(math.sqrt(2.5 / 2.5))
        assert rmsse([5, 7], [6, 5], [1, 2, 4, 6], seasonality=2) == pytest.approx(math.sqrt(2.5 / 12.5))

    def test_constant_training_series(self):
        assert rmsse([5], [6], [1, 1]) == math.inf
        assert math.isnan(rmsse([5], [5], [1, 1]))

    def test_training_series_is_checked(self):
        with pytest.raises(ValueError, match="seasonality=3 must be smaller"):
            rmsse([5], [6], [1, 2, 3], 3)


class TestOwa:
    def test_by_hand(self):
        assert owa(10, 1, 20, 4) == pytest.approx((0.5 + 0.25) / 2)
        assert owa(18.383, 2.395, 18.383, 2.395) == 1

    @pytest.mark.parametrize("given, match", [
        (([1, 2], 1, 1, 1), r"smape=\[1, 2\] must be one finite number"), ((1, math.nan, 1, 1), "mase=nan"),
        ((1, 1, -1, 1), "smape_naive2=-1"), ((1, 1, 1, 0), "must be above 0"),
    ])
    def test_bad_values(self, given, match):
        with pytest.raises(ValueError, match=match):
            owa(*given)


class TestIntervals:
    def test_by_hand(self):
        y, lower, upper = [1, 5, 9, 3], [1, 6, 0, 2], [2, 8, 5, 4]  # on the end; 1 below; 4 above; inside
        assert coverage(y, lower, upper) == 0.5
        assert mean_width(lower, upper) == pytest.approx((1 + 2 + 5 + 2) / 4)
        assert winkler_score(y, lower, upper, 80) == pytest.approx((1 + (2 + 10 * 1) + (5 + 10 * 4) + 2) / 4)

    @pytest.mark.parametrize("level", [50, 80, 95.5])
    def test_winkler_is_a_sum_of_pinball_losses(self, level):
        y, a, b = np.random.default_rng(0).normal(size=(3, 50))
        lower, upper, alpha = np.minimum(a, b), np.maximum(a, b), 1 - level / 100
        ends = pinball_loss(y, lower, alpha / 2) + pinball_loss(y, upper, 1 - alpha / 2)
        assert winkler_score(y, lower, upper, level) == pytest.approx(2 / alpha * ends)

    def test_smallest_at_the_true_quantiles(self):
        y = np.random.default_rng(0).normal(size=20_000)
        scores = [winkler_score(y, *np.full((2, len(y)), z) * [[-1], [1]], 80) for z in (1.0, 1.2816, 1.6)]
        assert np.argmin(scores) == 1
        assert coverage(y, np.full(len(y), -1.2816), np.full(len(y), 1.2816)) == pytest.approx(0.8, abs=0.01)

    @pytest.mark.parametrize("score", [lambda lo, hi: coverage([1, 2], lo, hi), mean_width,
                                       lambda lo, hi: winkler_score([1, 2], lo, hi, 80)])
    def test_upside_down(self, score):
        with pytest.raises(ValueError, match="lower is above upper in 1 of 2 rows; pass the lower bound first"):
            score([1, 3], [2, 2])

    @pytest.mark.parametrize("level", [0, 100, -5, "80", True, math.nan])
    def test_bad_level(self, level):
        with pytest.raises(ValueError, match="level=.* must be a number between 0 and 100"):
            winkler_score([1], [0], [2], level)

    @pytest.mark.parametrize("quantile", [0, 1, 80, None])
    def test_bad_quantile(self, quantile):
        with pytest.raises(ValueError, match="quantile=.* must be a number between 0 and 1"):
            pinball_loss([1], [0], quantile)


class TestCrps:
    def test_median_alone_is_the_absolute_error(self):
        assert crps([1, 2], [[3], [2.5]], [0.5]) == pytest.approx(mae([1, 2], [3, 2.5]))

    def test_by_hand(self):
        # shares of (0, 1): 0.3, 0.4, 0.3; losses: 0.1 * 2, 0.5 * 1, (1 - 0.9) * 1
        assert crps(3, [1, 2, 4], [0.1, 0.5, 0.9]) == pytest.approx(2 * (0.3 * 0.2 + 0.4 * 0.5 + 0.3 * 0.1))

    @pytest.mark.parametrize("y", [-1.5, 0.0, 0.7])
    def test_normal_distribution_in_closed_form(self, y):
        """Gneiting and Raftery (2007), equation 21."""
        q = (np.arange(2000) + 0.5) / 2000
        exact = y * (2 * stats.norm.cdf(y) - 1) + 2 * stats.norm.pdf(y) - 1 / math.sqrt(math.pi)
        assert crps([[y]], stats.norm.ppf(q)[None, None], q) == pytest.approx(exact, rel=1e-3)

    @pytest.mark.parametrize("given, match", [
        (([1], [[1, 2]], [0.9, 0.1]), "ascending order"), (([1], [[1, 2]], [0.1, 1]), "between 0 and 1"),
        (([1], [[1, 2, 3]], [0.1, 0.9]), r"y_quantiles has shape \(1, 3\); 2 quantiles of y_true \(1,\) need \(1, 2\)"),
        (([np.nan], [[1]], [0.5]), "y_true contains NaN"), (([], np.zeros((0, 1)), [0.5]), "y_true is empty"),
    ])
    def test_bad_input(self, given, match):
        with pytest.raises(ValueError, match=match):
            crps(*given)


class TestDieboldMariano:
    y, a, b = np.random.default_rng(1).normal(size=(3, 40)).cumsum(axis=1)

    @pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
    @pytest.mark.parametrize("loss, power", [("absolute", 1), ("squared", 2), (lambda y, p: np.abs(y - p) ** 3, 3)])
    def test_one_step_ahead_is_students_test(self, loss, power, alternative):
        """For h = 1 the corrected statistic is that of the t-test of mean 0, term by term."""
        d = np.abs(self.y - self.a) ** power - np.abs(self.y - self.b) ** power
        expected = stats.ttest_1samp(d, 0, alternative=alternative)
        result = diebold_mariano(self.y, self.a, self.b, loss=loss, alternative=alternative)
        assert result == pytest.approx((expected.statistic, expected.pvalue), rel=1e-10)
        assert result.statistic == result[0] and result.pvalue == result[1]

    @pytest.mark.parametrize("h", [2, 4])
    def test_farther_ahead_by_the_formula(self, h):
        d = np.abs(self.y - self.a) - np.abs(self.y - self.b)
        n, mean = len(d), d.mean()
        variance = sum((d[t] - mean) * (d[s] - mean) for t in range(n) for s in range(n) if abs(t - s) < h) / n**2
        assert variance > 0
        expected = mean / math.sqrt(variance) * math.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
        result = diebold_mariano(self.y, self.a, self.b, horizon=h)
        assert result == pytest.approx((expected, 2 * stats.t.cdf(-abs(expected), n - 1)), rel=1e-10)

    def test_negative_variance_takes_bartletts_weights(self):
        d = np.tile([1.0, -1.0], 5) + 0.25
        g0, g1 = np.mean((d - 0.25) ** 2), np.sum((d - 0.25)[1:] * (d - 0.25)[:-1]) / 10
        assert g0 + 2 * g1 < 0
        expected = 0.25 / math.sqrt((g0 + g1) / 10) * math.sqrt((11 - 4 + 2 / 10) / 10)
        result = diebold_mariano(np.zeros(10), d, np.zeros(10), horizon=2, loss=lambda y, p: p)
        assert result.statistic == pytest.approx(expected)

    def test_sign_and_swap(self):
        y = np.random.default_rng(0).normal(size=200)
        better, worse = y + 0.1 * self.noise(1), y + self.noise(2)
        less = diebold_mariano(y, better, worse, alternative="less")
        assert less.statistic < 0 and less.pvalue < 1e-6
        greater = diebold_mariano(y, worse, better, alternative="greater")
        assert greater == pytest.approx((-less.statistic, less.pvalue))
        assert diebold_mariano(y, better, worse, alternative="greater").pvalue == pytest.approx(1 - less.pvalue)

    @staticmethod
    def noise(seed):
        return np.random.default_rng(seed).normal(size=200)

    def test_equal_forecasts(self):
        assert diebold_mariano([1, 2, 3], [1, 1, 1], [1, 1, 1]) == (0, 1)
        assert diebold_mariano([0, 0, 0], [2, 2, 2], [1, 1, 1], alternative="greater") == (math.inf, 0)

    def test_rejects_as_often_as_it_says(self):
        """Losses correlated over h - 1 steps and no difference in expectation; without the correlation 5 % would be 20 %."""
        rng, h = np.random.default_rng(0), 4
        noise = np.lib.stride_tricks.sliding_window_view(rng.normal(size=(1500, 2, 203)), h, axis=2).sum(axis=-1)
        pvalues = [[diebold_mariano(np.zeros(200), *pair, horizon=k).pvalue for pair in noise] for k in (h, 1)]
        right, naive = np.mean(np.array(pvalues) < 0.05, axis=1)
        assert 0.03 < right < 0.08 < 0.12 < naive

    def test_steps_of_one_origin_are_averaged(self):
        y, a, b = (x.reshape(20, 2) for x in (self.y, self.a, self.b))
        d = (np.abs(y - a) - np.abs(y - b)).mean(axis=1)
        assert diebold_mariano(y, a, b).statistic == pytest.approx(stats.ttest_1samp(d, 0).statistic)

    @pytest.mark.parametrize("options, match", [
        ({"horizon": 3}, r"horizon=3 must be smaller than the number of rows \(3\)"), ({"horizon": 0}, "horizon=0"),
        ({"loss": "cubic"}, "loss='cubic' must be one of absolute, squared, or a callable"),
        ({"loss": mean_squared_error}, r"loss gave shape \(\) for rows \(3,\)"),
        ({"alternative": "two.sided"}, "alternative='two.sided' must be one of two-sided, less, greater"),
    ])
    def test_bad_options(self, options, match):
        with pytest.raises(ValueError, match=match):
            diebold_mariano([1, 2, 3], [1, 2, 4], [2, 2, 2], **options)

    @pytest.mark.parametrize("y", [[1.0], 1.0, np.zeros((3, 2, 2))])
    def test_bad_shapes(self, y):
        with pytest.raises(ValueError, match="must have shape"):
            diebold_mariano(y, y, y)


@pytest.mark.parametrize("score", [
    lambda a, b: directional_accuracy(a, b, a), lambda a, b: skill(a, b, a), lambda a, b: mase(a, b, [1, 2, 3]),
    lambda a, b: rmsse(a, b, [1, 2, 3]), lambda a, b: pinball_loss(a, b, 0.5), lambda a, b: diebold_mariano(a, b, a),
    mae, rmse, mape, smape,
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


    def test_what_is_not_a_number(self, score):
        with pytest.raises((ValueError, TypeError)):
            score([1, 2], ["a", "b"])


@pytest.mark.parametrize("score", [coverage, lambda y, lo, hi: mean_width(lo, hi),
                                   lambda y, lo, hi: winkler_score(y, lo, hi, 80)])
class TestBadBounds:
    def test_shapes_differ(self, score):
        with pytest.raises(ValueError, match=r"shapes differ: .*upper \(3,\)"):
            score([1, 2], [1, 2], [1, 2, 3])

    def test_empty_and_not_finite(self, score):
        with pytest.raises(ValueError, match="empty"):
            score([], [], [])
        with pytest.raises(ValueError, match="upper contains NaN or infinity"):
            score([1, 2], [1, 2], [1, np.inf])


def backtest_frame(seed=0, dates=True):
    """Forecasts of three series at three cutoffs, rows shuffled, with gaps; and the whole series."""
    rng = np.random.default_rng(seed)
    rows, history = [], []
    for name, size, n in (("b", 1.0, 60), ("a", 1e9, 50), ("c", 1e-6, 70)):
        z = size * (10 + rng.normal(size=n).cumsum())
        history += [(name, t, value) for t, value in enumerate(z)]
        for cut in (30, 40, 45):
            for t in range(cut + 1, min(cut + 9, n)):
                p = z[t] + size * rng.normal()
                rows.append((name, t, cut, z[t], p, z[cut], p - size, p + size, p - 2 * size, p + 2 * size, p - size / 2))
    frame = pd.DataFrame(rows, columns=["unique_id", "ds", "cutoff", "y", "Net", "naive", "Net-lo-80", "Net-hi-80",
                                        "Net-lo-97.5", "Net-hi-97.5", "Net-q-0.25"])
    frame["Other"] = frame["naive"] + 0.1 * frame["Net"]
    frame = frame.sample(frac=1, random_state=seed)
    frame.iloc[[3, 20], frame.columns.get_loc("y")] = np.nan
    frame.iloc[[5, 20], frame.columns.get_loc("Net")] = np.nan
    frame.iloc[[7], frame.columns.get_loc("naive")] = np.nan
    frame.iloc[[9], frame.columns.get_loc("Net-lo-80")] = np.nan
    history = pd.DataFrame(history, columns=["unique_id", "ds", "y"])
    if dates:
        for table, column in ((frame, "ds"), (frame, "cutoff"), (history, "ds")):
            table[column] = pd.Timestamp("2024-03-30", tz="Europe/Berlin") + pd.to_timedelta(table[column], unit="h")
    return frame, history


def expected_scores(group, history, model, m):
    """The row of the table by the single functions, and MASE forecast by forecast."""
    g = group.dropna(subset=["y", model])
    both = g.dropna(subset=["naive"])
    scaled = {}
    for _, row in g.iterrows():
        z = history[(history["unique_id"] == row["unique_id"]) & (history["ds"] <= row["cutoff"])]["y"]
        scaled.setdefault(row["unique_id"], []).append(mase([row["y"]], [row[model]], z, m))
    scores = {"n": len(g), "mae": mae(g["y"], g[model]), "rmse": rmse(g["y"], g[model]), "mape": mape(g["y"], g[model]),
              "smape": smape(g["y"], g[model]), "mase": np.mean([np.mean(values) for values in scaled.values()]),
              "skill": skill(both["y"], both[model], both["naive"])}
    for level in ("80", "97.5") if model == "Net" else ():
        ends = [f"Net-lo-{level}", f"Net-hi-{level}"]
        y, lower, upper = (group.dropna(subset=["y", *ends])[c] for c in ("y", *ends))
        scores |= {f"coverage-{level}": coverage(y, lower, upper), f"width-{level}": mean_width(lower, upper),
                   f"winkler-{level}": winkler_score(y, lower, upper, float(level))}
    if model == "Net":
        g = group.dropna(subset=["y"])
        scores["pinball-0.25"] = pinball_loss(g["y"], g["Net-q-0.25"], 0.25)
    return scores


class TestEvaluate:
    @pytest.mark.parametrize("by", [None, "unique_id", "cutoff", "horizon"])
    @pytest.mark.parametrize("dates", [True, False])
    def test_every_group_by_the_single_functions(self, by, dates):
        frame, history = backtest_frame(dates=dates)
        table = metrics.evaluate(frame, y_train=history, seasonality=2, by=by)
        keys = {None: np.zeros(len(frame)), "horizon": frame["ds"] - frame["cutoff"]}
        keys["horizon"] = keys["horizon"] // pd.Timedelta(hours=1) if dates else keys["horizon"]
        assert set(table.columns) == set(expected_scores(frame, history, "Net", 2))
        groups = 0
        for name, group in frame.groupby(keys.get(by, by)):
            for model in ("Net", "Other", "naive"):
                row = table.loc[model] if by is None else table.loc[(model, name)]
                expected = expected_scores(group, history, model, 2)
                assert row[list(expected)].to_dict() == pytest.approx(expected, rel=1e-9)
                assert row.drop(list(expected)).isna().all()
                groups += 1
        assert len(table) == groups and table.index.names == (["model"] if by is None else ["model", by])

    def test_models_can_be_chosen(self):
        frame, _ = backtest_frame()
        assert list(metrics.evaluate(frame).index) == ["Net", "naive", "Other"]
        assert list(metrics.evaluate(frame, "Other").index) == ["Other"]
        other = metrics.evaluate(frame, ["Other", "Net"], naive="Other")
        assert list(other.index) == ["Other", "Net"] and other.loc["Other", "skill"] == 0
        assert "skill" not in metrics.evaluate(frame.drop(columns="naive"))
        assert "mase" not in other and "coverage-80" not in metrics.evaluate(frame, "Other")

    def test_columns_stand_in_order(self):
        frame, history = backtest_frame()
        assert list(metrics.evaluate(frame, ["Other", "Net"], y_train=history)) == [
            "n", "mae", "rmse", "mape", "smape", "mase", "skill", "coverage-80", "width-80", "winkler-80",
            "coverage-97.5", "width-97.5", "winkler-97.5", "pinball-0.25"]

    def test_times_are_read_as_the_forecasters_do(self):
        frame, history = backtest_frame()
        frame, history = (table.assign(ds=table["ds"].dt.tz_localize(None)) for table in (frame, history))
        frame["cutoff"] = frame["cutoff"].dt.tz_localize(None)
        expected = metrics.evaluate(frame, y_train=history)
        text = history.assign(ds=history["ds"].astype(str))
        pd.testing.assert_frame_equal(metrics.evaluate(frame, y_train=text), expected)
        for wrong in (history.assign(ds=range(len(history))), history.assign(ds=history["ds"].dt.tz_localize("UTC"))):
            with pytest.raises(TypeError, match="the times of y_train are .*, the cutoffs of frame are dates without"):
                metrics.evaluate(frame, y_train=wrong)

    def test_order_of_rows_and_later_history_do_not_matter(self):
        frame, history = backtest_frame()
        table = metrics.evaluate(frame, y_train=history, by="cutoff")
        again = metrics.evaluate(frame[::-1], y_train=history[history["ds"] <= frame["cutoff"].max()][::-1], by="cutoff")
        pd.testing.assert_frame_equal(table, again)

    def test_kinds_of_history(self):
        frame, history = backtest_frame(dates=False)
        wide = history.pivot(index="ds", columns="unique_id", values="y")
        expected = metrics.evaluate(frame, y_train=history, by="unique_id")
        pd.testing.assert_frame_equal(metrics.evaluate(frame, y_train=wide, by="unique_id"), expected)
        single, z = frame[frame["unique_id"] == "b"], wide["b"].dropna()
        for y in (z, z.to_numpy(), z.tolist()):
            table = metrics.evaluate(single, y_train=y, by="unique_id")
            pd.testing.assert_frame_equal(table, expected.loc[pd.IndexSlice[:, ["b"]], :])

    @pytest.mark.parametrize("name", ["y", "ds", "unique_id", 0, None])
    def test_series_may_have_any_name(self, name):
        ids = ["y" if name is None else name] * 2
        frame = pd.DataFrame({"unique_id": ids, "ds": [3, 4], "y": [5.0, 7], "Net": [6.0, 5]})
        for y in (pd.Series([1.0, 2, 4], name=name), pd.DataFrame({ids[0]: [1.0, 2, 4]})):
            assert metrics.evaluate(frame, y_train=y).loc["Net", "mase"] == pytest.approx(1)

    def test_without_a_cutoff_all_history_counts(self):
        frame = pd.DataFrame({"unique_id": "a", "y": [5.0, 7], "Net": [6.0, 5]})
        assert metrics.evaluate(frame, y_train=[1, 2, 4]).loc["Net", "mase"] == pytest.approx(1)

    def test_history_without_a_scale_is_left_out(self):
        """A constant one, one of a single value, one that begins after the cutoff; other series in y_train do not matter."""
        frame = pd.DataFrame({"unique_id": ["a", "b", "c", "d"], "ds": 4, "cutoff": 3, "y": 5.0, "Net": 6.0})
        history = pd.DataFrame({"unique_id": list("aaabbbcxxd"), "ds": [1, 2, 3, 1, 2, 3, 3, 1, 2, 4],
                                "y": [1.0, 3, 5, 2, 2, 2, 1, 7, 9, 5]})
        assert metrics.evaluate(frame, y_train=history).loc["Net", "mase"] == 0.5
        for rows in (frame, frame.iloc[[3, 0, 2, 1]]):
            by_id = metrics.evaluate(rows, y_train=history, by="unique_id")["mase"]
            assert by_id.isna().tolist() == [False, True, True, True]

    def test_series_that_could_not_be_forecast(self):
        frame = pd.DataFrame({"unique_id": ["a", "b"], "ds": 4, "cutoff": 3, "y": 5.0, "Net": [6.0, np.nan], "naive": 5.0})
        table = metrics.evaluate(frame, by="unique_id")
        assert table["n"].to_dict() == {("Net", "a"): 1, ("Net", "b"): 0, ("naive", "a"): 1, ("naive", "b"): 1}
        assert table.loc[("Net", "a"), "skill"] == -math.inf and table.loc[("Net", "b")].drop("n").isna().all()

    def test_frame_is_not_changed(self):
        frame, history = backtest_frame()
        before = frame.copy(), history.copy()
        metrics.evaluate(frame, y_train=history, by="horizon")
        pd.testing.assert_frame_equal(frame, before[0])
        pd.testing.assert_frame_equal(history, before[1])

    def test_many_rows(self):
        """A Python loop over 400,000 rows or 20,000 groups would take minutes."""
        ids, rows = 20_000, 400_000
        frame = pd.DataFrame({"unique_id": np.repeat(np.arange(ids), 20), "ds": np.tile(np.arange(20), ids), "cutoff": 0,
                              "y": np.sin(np.arange(rows)), "Net": 0.0, "naive": 1.0})
        history = frame[["unique_id", "ds", "y"]].assign(ds=frame["ds"] - 20)
        start = time.perf_counter()
        table = metrics.evaluate(frame, "Net", y_train=history, by="unique_id")
        assert time.perf_counter() - start < 10 and table.shape == (ids, 7)

    @pytest.mark.parametrize("options, match", [
        ({"by": "month"}, "by='month' must be one of None, 'unique_id', 'cutoff', 'horizon'"),
        ({"model": "LSTM"}, "frame has no forecasts called 'LSTM'; its columns beside .* are Net, naive, Other"),
        ({"model": "Net-lo-80"}, "no forecasts called 'Net-lo-80'"), ({"model": []}, "no column of forecasts"),
        ({"naive": "last"}, "naive='last' is no column of forecasts"),
        ({"y_train": [1.0, 2]}, "y_train is one series and frame has 3"),
        ({"y_train": pd.DataFrame({"a": [1.0]})}, "y_train lacks 2 series of frame, the first is '[bc]'"),
        ({"y_train": pd.DataFrame({"a": [1.0]}), "seasonality": 0}, "seasonality=0 must be a whole number"),
    ])
    def test_bad_options(self, options, match):
        with pytest.raises(ValueError, match=match):
            metrics.evaluate(backtest_frame(dates=False)[0], **options)

    @pytest.mark.parametrize("spoil, options, error, match", [
        (lambda f: f.drop(columns="y"), {}, ValueError, "frame lacks the column y; it has unique_id, ds"),
        (lambda f: f.drop(columns="cutoff"), {"by": "horizon"}, ValueError, "frame lacks the column cutoff"),
        (lambda f: f[["unique_id", "ds", "y"]], {}, ValueError, "has no column of forecasts"),
        (lambda f: f.drop(columns="Net-hi-80"), {}, ValueError, "has 'Net-lo-80' and lacks 'Net-hi-80'"),
        (lambda f: f.rename(columns={"Net-lo-80": "Net-hi-80", "Net-hi-80": "Net-lo-80"}), {}, ValueError,
         "Net-lo-80 is above Net-hi-80 in .* rows"),
        (lambda f: f.assign(group="x"), {}, TypeError, r"column 'group' of frame is not numeric .*name the models' columns"),
        (lambda f: f[:0], {}, ValueError, "frame is empty"), (lambda f: f["y"], {}, TypeError, "frame must be a DataFrame"),
        (lambda f: f.assign(cutoff=f["cutoff"].where(f["cutoff"] > f["cutoff"].min())), {"by": "horizon"}, ValueError,
         "rows lack unique_id, ds or cutoff"),
    ])
    def test_bad_frames(self, spoil, options, error, match):
        with pytest.raises(error, match=match):
            metrics.evaluate(spoil(backtest_frame()[0]), **options)


def test_names():
    assert sorted(metrics.__all__) == metrics.__all__
    assert all(callable(getattr(metrics, name)) for name in metrics.__all__)


@pytest.mark.data
def test_official_figures_of_m4_hourly(data_folder, monkeypatch):
    """The competition's table: sNaive 13.912, 1.193, OWA 0.628; Naive2 18.383, 2.395."""
    monkeypatch.setenv("TSRNN_DATA", str(data_folder))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import _m4

    train, _ = _m4.hourly()
    results = {f.__name__: _m4.scores({name: f(z) for name, z in train.items()}) for f in (_m4.seasonal_naive, _m4.naive2)}
    rounded = {name: tuple(round(v, 3) for v in score.values()) for name, score in results.items()}
    assert rounded == {"seasonal_naive": (13.912, 1.193, 0.628), "naive2": (18.383, 2.395, 1.0)}


@pytest.mark.data
def test_table_of_m4_hourly(data_folder, monkeypatch):
    """The official figures from a long frame; by series as the single functions."""
    monkeypatch.setenv("TSRNN_DATA", str(data_folder))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import _m4

    train, test = _m4.hourly()
    frame = pd.concat([pd.DataFrame({"unique_id": name, "ds": len(train[name]) + np.arange(48), "cutoff": len(train[name]) - 1,
                                     "y": y, "sNaive": _m4.seasonal_naive(train[name]), "naive": train[name][-1]})
                       for name, y in test.items()])
    history = pd.DataFrame({name: pd.Series(z) for name, z in train.items()})
    table = metrics.evaluate(frame, "sNaive", y_train=history, seasonality=24)
    assert table.loc["sNaive", ["smape", "mase"]].round(3).tolist() == [13.912, 1.193]
    h7 = metrics.evaluate(frame, "sNaive", y_train=history, seasonality=24, by="unique_id").loc[("sNaive", "H7")]
    forecast = _m4.seasonal_naive(train["H7"])
    assert h7["mase"] == pytest.approx(mase(test["H7"], forecast, train["H7"], 24))
    assert h7["skill"] == pytest.approx(skill(test["H7"], forecast, np.full(48, train["H7"][-1])))


@pytest.mark.data
def test_repeating_the_close_of_the_shanghai_composite(data_folder):
    import pandas as pd

    close = pd.read_csv(data_folder / "stocks" / "sse_composite_1991_2020.csv.gz")["Closing price"].to_numpy()
    assert skill(close[-500:], close[-501:-1], close[-501:-1]) == 0
    assert np.abs(close[-500:] - close[-501:-1]).mean() == pytest.approx(26.07, abs=0.01)
