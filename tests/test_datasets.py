"""The embedded prices."""

import numpy as np
import pandas as pd
import pytest

from tsrnn.datasets import load_prices


def test_rows_columns_and_types(prices):
    assert prices.shape == (1047, 6)
    assert list(prices.columns) == ["open", "high", "low", "close", "volume", "adj_close"]
    assert (prices.dtypes == "float64").all()
    assert isinstance(prices.index, pd.DatetimeIndex) and prices.index.name == "date"
    assert prices.index.is_unique and prices.index.is_monotonic_increasing
    assert [f"{day:%Y-%m-%d}" for day in prices.index[[0, -1]]] == ["2004-08-19", "2008-10-14"]


def test_values(prices):
    assert prices.iloc[0].tolist() == [100.0, 104.06, 95.96, 100.34, 22351900, 100.34]
    assert prices.iloc[-1].tolist() == [393.53, 394.5, 357.0, 362.71, 7784800, 362.71]
    assert np.isfinite(prices.to_numpy()).all() and (prices > 0).all(axis=None)
    assert (prices.low <= prices[["open", "close"]].min(axis=1)).all()
    assert (prices.high >= prices[["open", "close"]].max(axis=1)).all()


def test_equals_the_original():
    matplotlib = pytest.importorskip("matplotlib")
    from pathlib import Path

    path = Path(matplotlib.get_data_path()) / "sample_data" / "goog.npz"
    if not path.is_file():
        pytest.skip("this matplotlib has no sample data")
    with np.load(path, allow_pickle=False) as archive:
        original = archive["price_data"]
    ours = load_prices()
    assert np.array_equal(ours.index.to_numpy().astype("M8[D]"), original["date"])
    for column in ours.columns:
        assert np.array_equal(ours[column].to_numpy(), original[column]), column


def test_every_call_gives_a_new_frame(prices):
    frame = load_prices()
    frame.loc[:] = 0.0
    pd.testing.assert_frame_equal(load_prices(), prices)


def test_licence_lies_beside_the_data():
    from importlib.resources import files

    text = files("tsrnn.datasets").joinpath("data", "goog.LICENSE.txt").read_text(encoding="utf-8")
    assert "Matplotlib Development Team; All Rights Reserved" in text and "goog.npz" in text
