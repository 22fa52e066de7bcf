"""Indicators: values by hand, causality, scale, gaps."""

import numpy as np
import pandas as pd
import pytest

from tsrnn.data.indicators import INDICATORS, indicator_table

COLUMNS = ["open", "high", "low", "close", "volume"]
# rows that each needs before its first value, with the usual lengths
LEAD = {"return": 1, "gap": 1, "range": 0, "momentum": 10, "sma": 19, "ema": 19, "macd": 25, "macd_histogram": 33, "rsi": 14,
        "bollinger": 19, "stochastic": 13, "atr": 14, "volatility": 20, "volume_change": 1, "volume_ratio": 19}


@pytest.fixture
def frame(prices):
    return prices[COLUMNS].iloc[:300].copy()


def closes(values, **columns):
    """A frame with these closing prices."""
    close = pd.Series(values, dtype="float64")
    return pd.DataFrame({"open": close, "high": close, "low": close, "close": close, "volume": 1.0, **columns})


def one(frame, name):
    return indicator_table(frame, name)[name].to_numpy()


def test_table_has_every_indicator_and_its_first_rows_are_missing(frame):
    table = indicator_table(frame)
    assert list(table.columns) == list(INDICATORS) == list(LEAD)
    assert (table.dtypes == "float64").all() and table.index.equals(frame.index)
    for name, lead in LEAD.items():
        assert table[name].isna().to_numpy().nonzero()[0].tolist() == list(range(lead)), name
    assert np.isfinite(table.iloc[33:].to_numpy()).all()


# ------------------------------------------------------------------------------------------------ by hand


def test_rsi_of_wilders_recursion():
    """Changes +2, -1, +3, -2, +4 and length 3: means of the first three, then (2 * mean + change) / 3."""
    got = one(closes([10, 12, 11, 14, 12, 16]), "rsi_3")
    up, down = 5 / 3, 1 / 3
    expected = [100 * up / (up + down)]
    up, down = (2 * up + 0) / 3, (2 * down + 2) / 3
    expected.append(100 - 100 / (1 + up / down))
    up, down = (2 * up + 4) / 3, (2 * down + 0) / 3
    expected.append(100 - 100 / (1 + up / down))
    assert np.isnan(got[:3]).all()
    np.testing.assert_allclose(got[3:], expected, rtol=1e-14)
    np.testing.assert_allclose(got[3:5], [250 / 3, 100 * 10 / 18], rtol=1e-14)


def test_rsi_of_the_textbook():
    """The worked example of StockCharts' ChartSchool (QQQQ), which prints 70.53, 66.32, 66.55, 69.41."""
    close = [44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826, 45.8931, 46.0328,
             45.6140, 46.2820, 46.2820, 46.0028, 46.0328, 46.4116]
    np.testing.assert_allclose(one(closes(close), "rsi_14")[14:], [70.53, 66.32, 66.55, 69.41], atol=0.006)


def test_atr_of_wilders_recursion():
    """True ranges 3 (gap up), 5 (gap down), 2, 4 with length 2; divided by close."""
    table = pd.DataFrame({"open": 10.0, "high": [11.0, 13, 12, 10, 12], "low": [9.0, 12, 8, 8, 8],
                          "close": [10.0, 13, 9, 9, 10], "volume": 1.0})
    np.testing.assert_allclose(one(table, "atr_2")[2:], [(3 + 5) / 2 / 9, (4 + 2) / 2 / 9, (3 + 4) / 2 / 10], rtol=1e-14)
    assert np.isnan(one(table, "atr_2")[:2]).all()


def test_macd_by_hand():
    """Lengths 2 and 3: weights 2/3 and 1/2, both begin with a plain mean."""
    close = [1.0, 2, 4, 8, 4]
    fast = [1.5, (4 * 2 + 1.5) / 3]
    fast += [(8 * 2 + fast[-1]) / 3]
    fast += [(4 * 2 + fast[-1]) / 3]
    slow = [7 / 3, (8 + 7 / 3) / 2]
    slow += [(4 + slow[-1]) / 2]
    line = [a - b for a, b in zip(fast[1:], slow)]
    np.testing.assert_allclose(one(closes(close), "macd_2_3")[2:], np.array(line) / close[2:], rtol=1e-14)
    signal = [(line[0] + line[1]) / 2]
    signal += [(line[2] * 2 + signal[0]) / 3]
    got = one(closes(close), "macd_histogram_2_3_2")
    np.testing.assert_allclose(got[3:], (np.array(line[1:]) - signal) / close[3:], rtol=1e-13, atol=1e-15)
    assert np.isnan(got[:3]).all()


def test_the_others_by_hand():
    close = [2.0, 4, 8, 6]
    table = closes(close, open=[1.0, 3, 5, 8], high=[4.0, 4, 9, 9], low=[1.0, 2, 4, 6], volume=[10.0, 30, 0, 20])
    log = np.log
    expected = {
        "return": [np.nan, log(2), log(2), log(0.75)],
        "gap": [np.nan, log(1.5), log(1.25), 0.0],
        "range": [1.5, 0.5, 5 / 8, 0.5],
        "momentum_2": [np.nan, np.nan, log(4), log(1.5)],
        "sma_2": [np.nan, 1 / 3, 1 / 3, -1 / 7],
        "ema_2": [np.nan, 1 / 3, 8 / (19 / 3) - 1, 6 / ((12 + 19 / 3) / 3) - 1],
        "bollinger_2": [np.nan, (4 - 1) / 4, (8 - 2) / 8, (6 - 5) / 4],
        "stochastic_2": [np.nan, 1.0, 6 / 7, 2 / 5],
        "volatility_2": [np.nan, np.nan, 0.0, abs(log(2) - log(0.75)) / np.sqrt(2)],
        "volume_change": [np.nan, 0.5, -1.0, 1.0],
        "volume_ratio_2": [np.nan, 0.5, -1.0, 1.0],
    }
    table = indicator_table(table, list(expected))
    for name, values in expected.items():
        np.testing.assert_allclose(table[name], values, rtol=1e-12, atol=1e-12, err_msg=name)


# ------------------------------------------------------------------------------------------------ what all of them promise


@pytest.mark.parametrize("cut", [1, 40, 150, 299])
def test_later_rows_change_no_bit(frame, cut):
    before = indicator_table(frame).to_numpy()
    for value in (1e6, np.nan, 1e-3):
        changed = frame.copy()
        changed.iloc[cut:] = value
        assert np.array_equal(indicator_table(changed).to_numpy()[:cut], before[:cut], equal_nan=True)
    assert np.array_equal(indicator_table(frame.iloc[:cut]).to_numpy(), before[:cut], equal_nan=True)


def test_scale_does_not_matter(frame):
    scaled = frame.copy()
    scaled[COLUMNS[:4]] *= 1000.0
    scaled["volume"] *= 0.01
    np.testing.assert_allclose(indicator_table(scaled), indicator_table(frame), rtol=1e-8, atol=1e-9)


def test_nothing_is_infinite_where_nothing_moves_or_is_traded():
    table = indicator_table(closes([5.0] * 60, volume=0.0))
    last = table.iloc[-1]
    assert np.isfinite(last).all()
    assert last[["rsi", "bollinger", "stochastic"]].tolist() == [50.0, 0.5, 0.5]
    assert (last.drop(["rsi", "bollinger", "stochastic"]) == 0).all()


def test_zero_volume_survives(frame):
    frame.iloc[50:80, 4] = 0.0
    table = indicator_table(frame)
    assert np.isfinite(table.iloc[33:].to_numpy()).all()
    assert table["volume_change"].between(-1, 1)[1:].all() and table["volume_ratio"].between(-1, 19)[19:].all()
    assert (table[["volume_change", "volume_ratio"]].iloc[70:80] == 0).all(axis=None)


@pytest.mark.parametrize("value", [np.nan, 0.0, -1.0, np.inf])
def test_a_missing_row_costs_a_few_rows(frame, value):
    """A price that is not positive counts as missing."""
    frame.iloc[100, :4] = value
    table = indicator_table(frame)
    assert not np.isinf(table.to_numpy()).any()
    assert table.drop(columns=["volume_change", "volume_ratio"]).iloc[100].isna().all()
    assert table.iloc[122:].notna().all(axis=None) and table.iloc[33:100].notna().all(axis=None)
    recursive = table[["ema", "macd", "macd_histogram", "rsi", "atr"]]
    assert recursive.iloc[102:].notna().all(axis=None)


def test_unlisted_series_and_short_ones():
    assert indicator_table(closes([5.0, 6.0])).iloc[:, 3:].drop(columns="volume_change").isna().all(axis=None)
    assert indicator_table(closes([])).shape == (0, len(INDICATORS))
    assert indicator_table(closes([np.nan] * 50)).drop(columns=["volume_change", "volume_ratio"]).isna().all(axis=None)


def test_the_frame_stays_as_it_was_and_any_index_does(frame):
    before = frame.copy()
    numbered = indicator_table(frame.set_axis([0] * len(frame)))
    pd.testing.assert_frame_equal(frame, before)
    np.testing.assert_array_equal(numbered, indicator_table(frame))
    whole = frame.astype({"volume": "int64"})
    np.testing.assert_array_equal(indicator_table(whole), indicator_table(frame))


def test_names(frame):
    table = indicator_table(frame, ["sma_5", "sma", "rsi_14"])
    assert list(table.columns) == ["sma_5", "sma", "rsi_14"]
    np.testing.assert_array_equal(table["rsi_14"], indicator_table(frame, "rsi")["rsi"])


@pytest.mark.parametrize("name, text", [
    ("rsj", "there is no indicator 'rsj'; choose from return, gap"),
    ("", "there is no indicator ''"),
    ("rsi_x", "there is no indicator 'rsi_x'"),
    ("rsi_14_3", "'rsi_14_3' has 2 lengths, but rsi takes 1: write 'rsi_14'"),
    ("macd_12", "'macd_12' has 1 lengths, but macd takes 2: write 'macd_12_26'"),
    ("gap_3", "gap takes 0: write 'gap'"),
    ("sma_1", "length below 2"),
    ("sma_0", "length below 2"),
])
def test_wrong_names(frame, name, text):
    with pytest.raises(ValueError, match=text):
        indicator_table(frame, name)


def test_missing_columns(frame):
    with pytest.raises(ValueError, match="no column open, volume; its columns are high, low, close"):
        indicator_table(frame.drop(columns=["open", "volume"]))
