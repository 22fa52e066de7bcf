"""The usual indicators of prices: causal, free of scale, a few lines each.

TA-Lib is the well-kept library for these (`ta` has had no release since 2023, pandas-ta none for this Python that is
stable). It would not be shorter: it adds a compiled dependency, its values still need to be divided by the price, and one
missing day turns everything after it into NaN, while here it costs a few rows.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_PRICES = ("open", "high", "low", "close")


def indicator_table(frame: pd.DataFrame, names: str | Iterable[str] | None = None) -> pd.DataFrame:
    """Indicators of one security as columns.

    Parameters
    ----------
    frame : pandas.DataFrame of shape (rows, at least the columns that the indicators use)
        Columns `open`, `high`, `low`, `close`, `volume`, as `tsrnn.datasets.load_prices` and `fetch_prices` return them;
        rows in time order. Prices that are not positive count as missing, because they have no logarithm.
    names : str or list of str, default=None
        Keys of `INDICATORS`, each alone ("rsi") or with lengths in rows behind it ("rsi_21", "macd_5_35"). None: all, with
        their usual lengths.

    Returns
    -------
    pandas.DataFrame of shape (rows, len(names))
        float64, the index of `frame`, a column a name in the order given. A value depends on its own row and on earlier
        ones only. NaN where the history is too short and where a price that the value needs is missing; never infinite.

    Raises
    ------
    ValueError
        For an unknown name, lengths that an indicator does not take, and missing columns.

    Examples
    --------
    >>> from tsrnn.data.indicators import indicator_table
    >>> from tsrnn.datasets import load_prices
    >>> indicator_table(load_prices(), ["rsi_14", "sma_20"]).iloc[-1].round(3).tolist()
    [40.744, -0.082]
    """
    import pandas as pd

    names = list(INDICATORS) if names is None else [names] if isinstance(names, str) else list(names)
    calls = {name: _parse(name) for name in names}
    missing = [column for column in (*_PRICES, "volume") if column not in frame.columns]
    if missing:
        raise ValueError(f"the frame has no column {', '.join(missing)}; its columns are {', '.join(map(str, frame.columns))}: "
                         "give open, high, low, close and volume in lower case.")
    clean = frame[[*_PRICES, "volume"]].astype("float64").reset_index(drop=True)
    clean[list(_PRICES)] = clean[list(_PRICES)].where((clean[list(_PRICES)] > 0) & np.isfinite(clean[list(_PRICES)]))
    clean["volume"] = clean["volume"].where((clean["volume"] >= 0) & np.isfinite(clean["volume"]))
    columns = {name: function(clean, *lengths).astype("float64") for name, (function, lengths) in calls.items()}
    return pd.DataFrame(columns, index=clean.index).set_axis(frame.index, axis=0)


def _parse(name: str) -> tuple[Callable, list[int]]:
    """Function and lengths that a name such as "macd_12_26" stands for."""
    base, tail = re.fullmatch(r"(.*?)((?:_\d+)*)", str(name), re.DOTALL).groups()  # type: ignore[union-attr]
    lengths = [int(text) for text in tail.split("_")[1:]]
    if base not in INDICATORS:
        raise ValueError(f"there is no indicator {name!r}; choose from {', '.join(INDICATORS)}, with lengths behind a name "
                         "where it takes some (rsi_14).")
    function = INDICATORS[base]
    usual = [parameter.default for parameter in list(inspect.signature(function).parameters.values())[1:]]
    if len(lengths) not in (0, len(usual)):
        example = "_".join([base, *map(str, usual)])
        raise ValueError(f"indicator {name!r} has {len(lengths)} lengths, but {base} takes {len(usual)}: write {example!r}.")
    if any(length < 2 for length in lengths):
        raise ValueError(f"indicator {name!r} has a length below 2 rows; make it 2 or more.")
    return function, lengths


# ------------------------------------------------------------------------------------------------ tools


def _smooth(values: pd.Series, length: int, alpha: float) -> pd.Series:
    """Exponential mean that starts with the plain mean of the first `length` values, as Wilder and TA-Lib start it.

    Missing values are stepped over and stay missing.
    """
    known = values.dropna()
    if len(known) < length:
        return values * np.nan
    seeded = known.iloc[length - 1:].copy()
    seeded.iloc[0] = known.iloc[:length].mean()
    return seeded.ewm(alpha=alpha, adjust=False).mean().reindex(values.index)


def _ema(values: pd.Series, length: int) -> pd.Series:
    return _smooth(values, length, 2.0 / (length + 1))


def _ratio(part: pd.Series, whole: pd.Series, neutral: float) -> pd.Series:
    """part / whole, and `neutral` where the whole is 0: nothing moved, nothing was traded."""
    return (part / whole.where(whole != 0)).mask((whole == 0) & part.notna(), neutral)


def _true_range(frame: pd.DataFrame) -> pd.Series:
    before = frame["close"].shift()
    spans = (frame["high"] - frame["low"], (frame["high"] - before).abs(), (frame["low"] - before).abs())
    return np.maximum(np.maximum(spans[0], spans[1]), spans[2])  # NaN where one of them is


# ------------------------------------------------------------------------------------------------ the table


def log_return(frame: pd.DataFrame) -> pd.Series:
    """Logarithm of close over the close before."""
    return np.log(frame["close"]).diff()


def gap(frame: pd.DataFrame) -> pd.Series:
    """Overnight: logarithm of open over the close before."""
    return np.log(frame["open"]) - np.log(frame["close"]).shift()


def price_range(frame: pd.DataFrame) -> pd.Series:
    """High minus low over close."""
    return (frame["high"] - frame["low"]) / frame["close"]


def momentum(frame: pd.DataFrame, length: int = 10) -> pd.Series:
    """Logarithm of close over the close `length` rows before."""
    return np.log(frame["close"]).diff(length)


def sma(frame: pd.DataFrame, length: int = 20) -> pd.Series:
    """Close over its mean of `length` rows, minus 1."""
    return frame["close"] / frame["close"].rolling(length).mean() - 1.0


def ema(frame: pd.DataFrame, length: int = 20) -> pd.Series:
    """Close over its exponential mean (weight 2 / (length + 1)), minus 1."""
    return frame["close"] / _ema(frame["close"], length) - 1.0


def macd(frame: pd.DataFrame, fast: int = 12, slow: int = 26) -> pd.Series:
    """Fast minus slow exponential mean, over close."""
    return (_ema(frame["close"], fast) - _ema(frame["close"], slow)) / frame["close"]


def macd_histogram(frame: pd.DataFrame, fast: int = 12, slow: int = 26, signal: int = 9) -> pd.Series:
    """MACD minus its own exponential mean of `signal` rows, over close."""
    line = _ema(frame["close"], fast) - _ema(frame["close"], slow)
    return (line - _ema(line, signal)) / frame["close"]


def rsi(frame: pd.DataFrame, length: int = 14) -> pd.Series:
    """Wilder's relative strength index, 0 to 100; 50 where the price has not moved."""
    change = frame["close"].diff()
    up = _smooth(change.clip(lower=0.0), length, 1.0 / length)
    down = _smooth(-change.clip(upper=0.0), length, 1.0 / length)
    return 100.0 * _ratio(up, up + down, 0.5)


def bollinger(frame: pd.DataFrame, length: int = 20) -> pd.Series:
    """%b: 0 at the lower band (mean minus 2 deviations of `length` rows), 1 at the upper; 0.5 where the price has not moved."""
    window = frame["close"].rolling(length)
    deviation = window.std(ddof=0)
    return _ratio(frame["close"] - window.mean() + 2.0 * deviation, 4.0 * deviation, 0.5)


def stochastic(frame: pd.DataFrame, length: int = 14) -> pd.Series:
    """%K: where close lies between lowest low (0) and highest high (1) of `length` rows; 0.5 where these are the same."""
    low, high = frame["low"].rolling(length).min(), frame["high"].rolling(length).max()
    return _ratio(frame["close"] - low, high - low, 0.5)


def atr(frame: pd.DataFrame, length: int = 14) -> pd.Series:
    """Wilder's average true range over close."""
    return _smooth(_true_range(frame), length, 1.0 / length) / frame["close"]


def volatility(frame: pd.DataFrame, length: int = 20) -> pd.Series:
    """Standard deviation of `length` log-returns."""
    return log_return(frame).rolling(length).std()


def volume_change(frame: pd.DataFrame) -> pd.Series:
    """(volume - the one before) / (their sum), from -1 to 1; 0 where both are 0."""
    before = frame["volume"].shift()
    return _ratio(frame["volume"] - before, frame["volume"] + before, 0.0)


def volume_ratio(frame: pd.DataFrame, length: int = 20) -> pd.Series:
    """Volume over its mean of `length` rows, minus 1, from -1 to length - 1; 0 where nothing was traded."""
    return _ratio(frame["volume"], frame["volume"].rolling(length).mean(), 1.0) - 1.0


INDICATORS: dict[str, Callable[..., pd.Series]] = {
    "return": log_return, "gap": gap, "range": price_range, "momentum": momentum, "sma": sma, "ema": ema, "macd": macd,
    "macd_histogram": macd_histogram, "rsi": rsi, "bollinger": bollinger, "stochastic": stochastic, "atr": atr,
    "volatility": volatility, "volume_change": volume_change, "volume_ratio": volume_ratio,
}
