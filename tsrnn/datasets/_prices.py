"""The embedded daily prices."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def load_prices() -> pd.DataFrame:
    """Daily prices of Google's share, 2004-08-19 to 2008-10-14.

    Returns
    -------
    pandas.DataFrame of shape (1047, 6)
        One row a trading day in time order; index `date` (DatetimeIndex), columns `open`, `high`, `low`, `close` (US
        dollars as quoted on the day), `volume` (shares traded) and `adj_close`, all float64. Every call reads the file
        anew, so the frame may be changed freely.

    Notes
    -----
    The values are the sample data `goog.npz` that matplotlib distributes (Copyright (c) 2012- Matplotlib Development
    Team, under matplotlib's licence, which stands beside the file in `tsrnn/datasets/data/goog.LICENSE.txt`).

    Examples
    --------
    >>> from tsrnn.datasets import load_prices
    >>> load_prices()["close"].iloc[-1]
    np.float64(362.71)
    """
    import pandas as pd

    with files("tsrnn.datasets").joinpath("data", "goog.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, index_col="date", parse_dates=["date"], dtype={"volume": "float64"})
