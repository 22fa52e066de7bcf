"""What stands behind `tsrnn forecast` and `tsrnn backtest`: where prices come from, what is compared with what, the words."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from tsrnn import metrics
from tsrnn._forecast import Settings, backtest, forecast, make_forecaster, plan_cutoffs, read_source
from tsrnn._report import number_writer

pytestmark = pytest.mark.filterwarnings("ignore:level=", "ignore:Stochastic Optimizer")

QUICK = {"window": 8, "hidden": 4, "most_epochs": 3}


def walk(n=240, persistence=0.0, seed=0):
    """Prices whose returns follow an AR(1) process: forecastable for persistence != 0."""
    noise = np.random.default_rng(seed).normal(0, 0.01, n)
    returns = np.zeros(n)
    for t in range(1, n):
        returns[t] = persistence * returns[t - 1] + noise[t]
    return pd.Series(100 * np.exp(returns.cumsum()), pd.bdate_range("2020-01-01", periods=n, name="date"), name="close")


def source(folder, series, column="close"):
    series.to_csv(folder / "prices.csv")
    return read_source(str(folder / "prices.csv"), Settings(column))


class TestForecast:
    @pytest.fixture(scope="class")
    @classmethod
    def result(cls, tmp_path_factory):
        return forecast(source(tmp_path_factory.mktemp("a"), walk()), Settings(horizon=3, **QUICK))

    def test_is_what_the_forecaster_says(self, result):
        """The command adds nothing of its own to the numbers."""
        forecaster, y = make_forecaster(result.source, result.settings)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *_, **__: None)
            own = forecaster.fit(y).predict(level=[80, 95])
        assert np.array_equal(own["LSTMRegressor"], result.table["forecast"])
        assert np.array_equal(own["LSTMRegressor-hi-95"], result.table["hi-95"])
        assert list(result.table.index) == list(pd.bdate_range(y.index[-1], periods=4)[1:])
        assert (result.table["naive"] == y.iloc[-1]).all() and forecaster.transform == "log_return"

    def test_verdict(self, result):
        gain = result.forecaster.skill_
        assert f"{abs(gain):.1%} {'below' if gain > 0 else 'above'} the naive forecast's on the last 24 rows" in result.verdict
        assert result.verdict.startswith("The model is better" if gain > 0 else "Repeating the last value is better")

    def test_as_dict_is_json(self, result):
        facts = result.as_dict()
        assert json.loads(json.dumps(facts, allow_nan=False)) == facts
        assert facts["source"] == {"kind": "file", "name": result.source.name, "column": "close", "rows": 240,
                                   "from": "2020-01-01", "to": "2020-12-01"}
        assert facts["forecast"]["ds"] == ["2020-12-02", "2020-12-03", "2020-12-04"] and facts["most_epochs"] == 3
        assert set(facts["forecast"]) == {"ds", "forecast", "naive", "lo-80", "hi-80", "lo-95", "hi-95"}
        assert 1 <= facts["epochs"] <= 3 and facts["horizon"] == 3

    def test_constant_prices(self, tmp_path):
        result = forecast(source(tmp_path, walk() * 0 + 5), Settings(**QUICK))
        assert "they say nothing about the model" in result.verdict and result.as_dict()["skill"] is None

    @pytest.mark.parametrize("spellings", [("log", "log"), ("log-return", "log_return"), ("log_return", "log_return")])
    def test_transforms(self, result, spellings):
        forecaster, _ = make_forecaster(result.source, Settings(transform=spellings[0], **QUICK))
        assert forecaster.transform == spellings[1]

    def test_values_that_are_no_prices(self, tmp_path):
        """Differences where logarithms are not there; times that are numbers."""
        waves = pd.Series(np.sin(np.arange(120) / 3), name="level").rename_axis("time")
        result = forecast(source(tmp_path, waves, "level"), Settings("level", 2, level=(), **QUICK))
        assert result.forecaster.transform == "diff" and result.as_dict()["forecast"]["ds"] == [120, 121]
        assert list(result.table) == ["forecast", "naive"]
        with pytest.raises(ValueError, match="log"):
            forecast(result.source, Settings("level", transform="log-return", **QUICK))

    def test_features(self, prices):
        embedded = read_source(None, Settings(), start="2007-01-01")
        assert len(embedded.series) == len(prices["2007":]) and embedded.as_dict()["kind"] == "embedded"
        result = forecast(embedded, Settings(features=("volume", "rsi_14"), horizon=2, **QUICK))
        volume, rsi = result.forecaster.history_.form.past
        assert volume.startswith("volume") and rsi == "rsi_14"
        assert [f"{time:%a}" for time in result.table.index] == ["Wed", "Thu"]


class TestBacktest:
    @pytest.fixture(scope="class")
    @classmethod
    def result(cls, tmp_path_factory):
        return backtest(source(tmp_path_factory.mktemp("b"), walk()), Settings(horizon=3, **QUICK))

    def test_forecasts_the_last_fifth_from_every_row(self, result):
        frame, series = result.frame, result.source.series
        assert frame["cutoff"].unique().tolist() == series.index[-49:-3].tolist() and result.n_cutoffs == 46
        assert np.array_equal(frame["y"], series[frame["ds"]]) and frame["ds"].max() == series.index[-1]
        assert np.array_equal(frame["naive"], series[frame["cutoff"]])

    def test_scores(self, result):
        frame = result.frame
        for name, row in result.scores.iterrows():
            assert row["mae"] == pytest.approx(metrics.mae(frame["y"], frame[name]))
            bounds = frame["y"].between(frame[f"{name}-lo-80"], frame[f"{name}-hi-80"])
            assert row["coverage-80"] == pytest.approx(bounds.mean())
        mae = result.scores["mae"]
        assert result.scores["skill"].to_list() == pytest.approx([1 - mae.iloc[0] / mae["naive"], 0])
        first = frame[::3]
        assert result.share_up == pytest.approx((first["y"] > first["naive"]).mean())
        expected = metrics.directional_accuracy(first["y"], first["LSTMRegressor"], first["naive"])
        assert result.scores["directional_accuracy"].iloc[0] == pytest.approx(expected)
        tables = [frame[name].to_numpy().reshape(-1, 3) for name in ("y", "LSTMRegressor", "naive")]
        assert result.test == metrics.diebold_mariano(*tables, horizon=3)

    def test_as_dict_is_json(self, result):
        facts = result.as_dict()
        assert json.loads(json.dumps(facts, allow_nan=False)) == facts
        assert facts["scores"]["naive"]["directional_accuracy"] is None and facts["n_cutoffs"] == 46
        assert [row["horizon"] for row in facts["by_horizon"]["model"]] == [1, 2, 3]
        assert len(facts["forecasts"]["ds"]) == 138 and facts["forecasts"]["cutoff"][0] == "2020-09-24"

    def test_finds_what_can_be_forecast(self, tmp_path):
        one = backtest(source(tmp_path, walk(1000, 0.8)), Settings(horizon=1, window=5, hidden=8, most_epochs=40))
        assert one.scores["skill"].iloc[0] > 0.15 and one.test.pvalue < 0.001
        assert one.verdict.startswith("The model is better: the model's mean absolute error is")
        assert "Chance alone hardly explains that" in one.verdict
        assert one.scores["directional_accuracy"].iloc[0] > 0.65

    def test_few_cutoffs_say_so(self, tmp_path):
        few = backtest(source(tmp_path, walk()), Settings(horizon=2, **QUICK), n_splits=2)
        assert few.n_cutoffs == 2 and "too few cutoffs" in few.verdict and math.isnan(few.test.pvalue)
        json.dumps(few.as_dict(), allow_nan=False)

    def test_constant_prices(self, tmp_path):
        """Rounding is no error, and no bound misses by it."""
        result = backtest(source(tmp_path, walk() * 0 + 5.1), Settings(horizon=2, **QUICK))
        assert result.verdict == "Nothing moved in the rows that were forecast; they say nothing about the model."
        facts = json.loads(json.dumps(result.as_dict(), allow_nan=False))
        assert facts["scores"]["model"]["coverage-80"] is None is facts["scores"]["model"]["skill"]
        assert facts["scores"]["model"]["mae"] < 1e-3 and facts["diebold_mariano"]["p_value"] is None

    def test_missing_values_are_left_out_of_both(self, tmp_path):
        series = walk()
        series.iloc[[40, -10]] = np.nan
        result = backtest(source(tmp_path, series), Settings(horizon=2, **QUICK))
        counts = result.scores["n"]
        assert counts.iloc[0] == counts["naive"] < len(result.frame)
        assert np.isfinite(result.scores[["mae", "skill", "coverage-80"]]).all(axis=None)
        series = walk()
        series.iloc[-2:] = np.nan
        with pytest.raises(ValueError, match="no forecast can be scored: at each of the 1 cutoffs"):
            backtest(source(tmp_path, series), Settings(horizon=2, **QUICK), n_splits=1)

    def test_no_leakage(self, tmp_path):
        """Other prices after a cutoff change no forecast from it."""
        before, after = walk(), walk()
        after.iloc[-20:] *= np.linspace(2, 5, 20)
        one, two = (backtest(source(tmp_path, series), Settings(horizon=2, **QUICK)).frame for series in (before, after))
        early = one["cutoff"] < before.index[-20]
        forecasts = one.columns.drop(["ds", "cutoff", "y", "unique_id"])
        assert early.sum() > 40 and one.loc[early, forecasts].equals(two.loc[early, forecasts])
        assert not one.loc[~early, forecasts].equals(two.loc[~early, forecasts])


@pytest.mark.parametrize("arguments, expected", [
    ((1047, 5, None, None), (205, 1)), ((1047, 1, None, None), (209, 1)), ((100_000, 1, None, None), (1000, 20)),
    ((1047, 5, None, 5), (41, 5)), ((1047, 5, 3, None), (3, 69)), ((1047, 5, 3, 7), (3, 7)), ((10, 5, None, None), (1, 1)),
])
def test_plan_of_cutoffs(arguments, expected):
    assert plan_cutoffs(*arguments) == expected


@pytest.mark.filterwarnings("ignore:.*has no column of dates")
@pytest.mark.parametrize("factor, text", [
    (1, "3.14"), (1e-3, "0.00314"), (1e3, "3142"), (1e12, "3.14159e+12"), (1e-12, "3.14159e-12"),
])
def test_digits_follow_the_steps(factor, text, tmp_path):
    prices = source(tmp_path, pd.Series([1.0, 2.5, 3.5], name="close") * factor)
    assert number_writer(prices)(3.14159265 * factor) == text
