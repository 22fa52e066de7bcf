"""The thin next-day forecast: split in time, no leakage, honest scores.  A linear model stands in for the network."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from tsrnn._forecast import forecast_prices, read_prices, verdict


def walk(n=400, persistence=0.0, seed=0):
    """Prices whose returns follow an AR(1) process: forecastable for persistence != 0."""
    noise = np.random.default_rng(seed).normal(0, 0.01, n)
    returns = np.zeros(n)
    for t in range(1, n):
        returns[t] = persistence * returns[t - 1] + noise[t]
    return pd.Series(100 * np.exp(returns.cumsum()), pd.date_range("2020-01-01", periods=n), name="close")


class Recorder(Ridge):
    """Remembers what it was fitted on; takes a validation set, as the sequence estimators do."""

    def fit(self, X, y, X_val=None, y_val=None):
        self.seen_ = [np.array(a) for a in (X, y, X_val, y_val)]
        return super().fit(X[:, :, 0], y)

    def predict(self, X):
        return super().predict(X[:, :, 0])


def test_test_part_is_the_latest_and_naive_is_yesterday(prices):
    result = forecast_prices(prices["close"], Ridge(), window=10, test_fraction=0.2)
    close = prices["close"]
    pd.testing.assert_series_equal(result.y_true, close[-209:])
    assert np.array_equal(result.y_naive, close.to_numpy()[-210:-1])
    assert result.n_train == 1047 - 1 - 209 - 10
    assert result.scores["naive"]["mae"] == pytest.approx(np.abs(close.diff()[-209:]).mean())


def test_finds_what_can_be_forecast():
    result = forecast_prices(walk(1000, persistence=0.8), Ridge(), window=5)
    assert result.skill > 0.2 and result.p_value < 0.001
    assert result.scores["model"]["directional_accuracy"] > 0.7
    assert verdict(result).startswith("The model is better: the model's mean absolute error is")
    assert "Chance alone hardly explains that" in verdict(result)


def test_admits_that_a_random_walk_cannot_be_forecast():
    result = forecast_prices(walk(), Ridge(), window=20)
    assert result.skill < 0.02 and result.p_value > 0.05
    assert "may well be chance" in verdict(result)


def test_a_worse_model_is_called_worse():
    class Wrong(Ridge):
        def predict(self, X):
            return super().predict(X) + 3

    result = forecast_prices(walk(), Wrong(), window=5)
    assert result.skill < -0.5
    assert verdict(result).startswith("Repeating the last price is better: the model's mean absolute error is")
    assert "above the naive forecast's. Chance alone hardly explains that" in verdict(result)


def test_no_leakage():
    """Changing every price from a day on changes no forecast up to that day, nor anything that the model was fitted on."""
    before = walk()
    for day in (-80, -40, -1):
        after = before.copy()
        after.iloc[day:] *= np.linspace(2, 5, -day)
        one, two = (forecast_prices(series, Recorder(), window=7, test_fraction=0.2) for series in (before, after))
        for seen_one, seen_two in zip(one.regressor.seen_, two.regressor.seen_, strict=True):
            assert np.array_equal(seen_one, seen_two)
        changed = len(one.y_pred) + day + 1  # the forecast of the first changed day was made the day before
        assert np.array_equal(one.y_pred[:changed], two.y_pred[:changed])
        if day < -1:
            assert not np.array_equal(one.y_pred[changed:], two.y_pred[changed:])


def test_sequence_regressors_get_the_latest_windows_to_stop_on():
    result = forecast_prices(walk(), Recorder(), window=7)
    X, y, X_val, y_val = result.regressor.seen_
    assert X.shape[1:] == X_val.shape[1:] == (7, 1) and X.dtype == y.dtype == np.float32
    assert len(X) + len(X_val) == result.n_train and len(X_val) == int(0.15 * result.n_train)
    returns = np.diff(np.log(walk().to_numpy()))[: -len(result.y_true)]
    scaled = ((returns - returns.mean()) / returns.std()).astype("f4")
    assert np.array_equal(np.concatenate([y, y_val]), scaled[7:])


def test_as_dict_is_json(prices):
    facts = forecast_prices(prices["close"], Ridge(), window=10).as_dict()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["test_to"] == "2008-10-14" and facts["scores"]["naive"]["directional_accuracy"] is None


def test_short_test_part_says_so():
    result = forecast_prices(walk(), Ridge(), window=5, test_fraction=0.02)
    assert math.isnan(result.p_value) and "too short to tell" in verdict(result)
    json.dumps(result.as_dict(), allow_nan=False)


@pytest.mark.parametrize("change, parameters, match", [
    (lambda s: s[:20], {}, "window=30 leaves 0 windows to learn from in 20 rows"),
    (lambda s: s[:60], {"window": 40}, "leaves 7 windows .* pass more rows, a smaller window"),
    (lambda s: s.mask(s.index == s.index[3]), {}, "close has 1 missing or infinite values"),
    (lambda s: s - s.min(), {}, "close has a value of 0; log-returns need prices above 0"),
    (lambda s: s * 0 + 5, {}, "constant"),
    (lambda s: s[::-1], {"test_fraction": 0.0}, "test_fraction=0.0 must lie between 0 and 1"),
    (lambda s: s, {"test_fraction": 1.0}, "test_fraction=1.0 must lie"),
    (lambda s: s, {"window": 0}, "window=0 must be a whole number"),
])
def test_bad_input(change, parameters, match):
    with pytest.raises(ValueError, match=match):
        forecast_prices(change(walk()), Ridge(), **parameters)


class TestReadPrices:
    def write(self, folder, text):
        (folder / "prices.csv").write_text(text)
        return folder / "prices.csv"

    def test_embedded(self, prices):
        pd.testing.assert_series_equal(read_prices(None, "close"), prices["close"])

    def test_dates_are_put_in_order_and_case_does_not_matter(self, tmp_path):
        path = self.write(tmp_path, "Date,Close\n2024-01-03,3\n2024-01-01,1\n2024-01-02,2\n")
        series = read_prices(path, "close")
        assert series.tolist() == [1, 2, 3] and series.name == "Close"
        assert series.index.is_monotonic_increasing

    def test_exact_name_wins(self, tmp_path):
        path = self.write(tmp_path, "Close,close\n1,2\n")
        assert read_prices(path, "close").tolist() == [2] and read_prices(path, "CLOSE").tolist() == [1]

    def test_without_dates_rows_stay(self, tmp_path):
        assert read_prices(self.write(tmp_path, "close\n3\n1\n"), "close").tolist() == [3, 1]

    @pytest.mark.parametrize("text, match", [
        ("date,close\n2024-01-01,1\n2024-01-01,2\n", "several rows for 2024-01-01; give one series"),
        ("date,close\nyesterday,1\n", "column 'date' of .* does not hold dates"),
        ("date,close\n,1\n2024-01-01,2\n", "missing dates"),
        ("date,close\n2024-01-01,abc\n", "column 'close' of .* not numbers"),
        ("date,open\n2024-01-01,1\n", "has no column 'close'; choose one of: open"),
        ("date,close\n,1\n,2\n", "missing dates"),
        ("", r"prices\.csv is empty; give a CSV file with a header line"),
        ("date,close\n", r"prices\.csv has a header and no rows; give a CSV file"),
        ("Price,Close\nTicker,AAPL\nDate,\n", r"prices\.csv has a header and no rows; give a CSV file"),
        ("date,close\n2024-01-01,1\n2024-01-02,2,3\n", r"prices\.csv cannot be read as a CSV file: .*line 3"),
    ])
    def test_bad_files(self, tmp_path, text, match):
        with pytest.raises(ValueError, match=match):
            read_prices(self.write(tmp_path, text), "close")

    def test_missing_file(self, tmp_path):
        with pytest.raises(ValueError, match="there is no file .*none.csv"):
            read_prices(tmp_path / "none.csv", "close")

    def test_broken_archive(self, tmp_path):
        (tmp_path / "prices.zip").write_text("no archive")
        with pytest.raises(ValueError, match=r"prices\.zip cannot be read as a CSV file"):
            read_prices(tmp_path / "prices.zip", "close")


class TestDates:
    """Dates as vendors write them; the index has no time zone."""

    def read(self, folder, dates, name="Date"):
        (folder / "prices.csv").write_text(f"{name},Close\n" + "".join(f"{date},{i}\n" for i, date in enumerate(dates)))
        series = read_prices(folder / "prices.csv", "close")
        return series, [str(label) for label in series.index]

    def test_local_dates_across_daylight_saving(self, tmp_path):
        """What `Ticker.history().to_csv()` writes."""
        dates = ["2023-03-14 00:00:00-04:00", "2023-03-13 00:00:00-04:00", "2023-03-10 00:00:00-05:00"]
        series, labels = self.read(tmp_path, dates)
        assert labels == ["2023-03-10 00:00:00", "2023-03-13 00:00:00", "2023-03-14 00:00:00"]
        assert series.tolist() == [2, 1, 0] and series.index.tz is None

    @pytest.mark.parametrize("date, label", [
        ("2023-03-10 00:00:00-05:00", "2023-03-10 00:00:00"),
        ("2023-03-10T09:30:00.500+0100", "2023-03-10 09:30:00.500000"),
        ("2023-03-10T09:30:00Z", "2023-03-10 09:30:00"),
        ("2023-03-10 09:30:00 UTC", "2023-03-10 09:30:00"),
        ("10-03-2023", "2023-10-03 00:00:00"),
    ])
    def test_zones_are_dropped(self, tmp_path, date, label):
        assert self.read(tmp_path, [date])[1] == [label]

    def test_the_hour_that_comes_twice_stands_in_utc(self, tmp_path):
        dates = ["2023-11-05 00:30:00-04:00", "2023-11-05 01:30:00-04:00", "2023-11-05 01:30:00-05:00"]
        series, labels = self.read(tmp_path, dates, "Datetime")
        assert labels == ["2023-11-05 04:30:00", "2023-11-05 05:30:00", "2023-11-05 06:30:00"]

    @pytest.mark.parametrize("factor", [1, 10**3, 10**6, 10**9])
    def test_epochs_by_their_size(self, tmp_path, factor):
        series, labels = self.read(tmp_path, [1704326400 * factor, 1704240000 * factor], "time")
        assert labels == ["2024-01-03 00:00:00", "2024-01-04 00:00:00"] and series.tolist() == [1, 0]

    def test_numbers_that_are_no_epochs(self, tmp_path):
        assert self.read(tmp_path, [20240103, 20240102])[1] == ["2024-01-02 00:00:00", "2024-01-03 00:00:00"]
        series, labels = self.read(tmp_path, [8, 7, 10], "time")
        assert labels == ["7", "8", "10"] and series.tolist() == [1, 0, 2]


class TestSeveralHeaderLines:
    """What `yfinance.download().to_csv()` writes."""

    def write(self, folder, header):
        width = header.splitlines()[0].count(",")
        rows = "".join(f"2024-01-0{day}" + "".join(f",{10 * day + i}.5" for i in range(width)) + "\n" for day in (2, 3))
        (folder / "prices.csv").write_text(header + "Date" + "," * width + "\n" + rows)
        return folder / "prices.csv"

    @pytest.mark.parametrize("header", [
        "Price,Close,High\nTicker,AAPL,AAPL\n", "Ticker,AAPL,AAPL\nPrice,Close,High\n", ",Close,High\n,AAPL,AAPL\n",
        "Price,Close\nTicker,AAPL\n",
    ])
    def test_one_ticker(self, tmp_path, header):
        series = read_prices(self.write(tmp_path, header), "close")
        assert series.name == "Close" and series.tolist() == [20.5, 30.5]
        assert list(series.index) == [pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-03")]

    @pytest.mark.parametrize("header", [
        "Price,Close,Close,High,High\nTicker,AAPL,MSFT,AAPL,MSFT\n",
        "Ticker,AAPL,MSFT,AAPL,MSFT\nPrice,Close,Close,High,High\n",
        ",AAPL,MSFT,AAPL,MSFT\n,Close,Close,High,High\n",
    ])
    def test_several_tickers(self, tmp_path, header):
        path = self.write(tmp_path, header)
        with pytest.raises(ValueError, match="2 tickers.*; set --column to one of: 'Close AAPL', 'Close MSFT'\\."):
            read_prices(path, "close")
        series = read_prices(path, "close msft")
        assert series.name == "Close MSFT" and series.tolist() == [21.5, 31.5]

    def test_many_tickers(self, tmp_path):
        tickers = [f"T{i}" for i in range(99)]
        path = self.write(tmp_path, f"Price{',Close' * 99}\nTicker,{','.join(tickers)}\n")
        with pytest.raises(ValueError, match="99 tickers .* 'Close T7', ...\\.$"):
            read_prices(path, "close")
