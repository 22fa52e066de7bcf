"""Pictures: what is drawn, and that drawing leaves no trace."""

import sys

import numpy as np
import pandas as pd
import pytest

from tsrnn.plotting import plot_forecast

pytest.importorskip("matplotlib")


@pytest.fixture
def series(prices):
    close = prices["close"]
    return close[-200:], close.shift(1)[-200:] * 1.001, close.shift(1)[-200:], close[:-200]


def lines(axes):
    return {line.get_label(): np.asarray(line.get_ydata(), float) for line in axes.get_lines()}


def test_both_panels_show_truth_forecast_and_naive(series):
    y, forecast, naive, history = series
    figure = plot_forecast(y, forecast, naive, history=history, title="Title", label="LSTM(32)", last=60)
    top, bottom = figure.axes
    assert np.array_equal(lines(top)["LSTM(32)"], forecast)
    assert np.array_equal(lines(top)["truth"], y)
    assert np.array_equal(lines(top)["training part"], history)
    assert np.array_equal(lines(bottom)["naive: repeat the last value"], naive[-60:])
    assert np.array_equal(lines(bottom)["LSTM(32)"], forecast[-60:])
    assert top.get_title(loc="left") == "Title"


def test_index_of_the_truth_is_used(series):
    y, forecast, *_ = series
    line = plot_forecast(y, forecast).axes[0].get_lines()[0]
    assert np.array_equal(np.asarray(line.get_xdata()).astype("M8[D]"), y.index.to_numpy().astype("M8[D]"))


def test_plain_arrays_and_short_series():
    figure = plot_forecast([1.0, 2, 3], [1.0, 2, 4], last=10)
    assert "naive: repeat the last value" not in lines(figure.axes[0])
    assert len(lines(figure.axes[1])["truth"]) == 3


def test_writes_a_picture_without_display_or_pyplot(series, tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    before = "matplotlib.pyplot" in sys.modules
    plot_forecast(*series[:3], history=series[3]).savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert ("matplotlib.pyplot" in sys.modules) == before


@pytest.mark.parametrize("arguments, match", [
    (([1, 2], [1]), "series of one length"), (([], []), "at least 1 step"), (([1, 2], [1, 2], [1]), "series of one length"),
])
def test_lengths_must_agree(arguments, match):
    with pytest.raises(ValueError, match=match):
        plot_forecast(*arguments)


def test_index_and_last_are_checked():
    with pytest.raises(ValueError, match="series of one length"):
        plot_forecast([1, 2], [1, 2], index=[1])
    with pytest.raises(ValueError, match="last=0 must be at least 1"):
        plot_forecast([1, 2], [1, 2], last=0)


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "tsrnn\[plot\]"'):
        plot_forecast(pd.Series([1.0, 2]), [1, 2])
