"""The thin next-day forecast behind ``tsrnn forecast``: split in time, scale, fit, predict, compare with the naive forecast."""

from __future__ import annotations

import inspect
import math
import os
import time
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tsrnn.data.windows import make_windows
from tsrnn.metrics import directional_accuracy, skill

if TYPE_CHECKING:
    import pandas as pd

_STOP_FRACTION = 0.15  # of the training windows, the latest: decide when the fit stops
_DATE_NAMES = ("date", "datetime", "timestamp", "time", "ds")
_OFFSET = r"(:\d{2}(?:\.\d+)?)\s*(?:Z|[+-]\d{2}(?::?\d{2})?)$"  # a zone after a time of day; the year of 10-03-2023 is none
_MANY = 8  # choices that an error lists


@dataclass(frozen=True)
class PriceForecast:
    """Forecast and naive forecast of the test part, and their scores."""

    prices: pd.Series       # the whole series, in time order
    y_true: pd.Series       # (n,) prices of the test part
    y_pred: pd.Series       # (n,) the model's forecast of each, made the step before
    y_naive: pd.Series      # (n,) the price of the step before
    scores: dict[str, dict[str, float | None]]  # "model" and "naive" -> name of the score -> value
    skill: float            # 1 - MAE / MAE of the naive forecast
    p_value: float          # of "both have the same expected absolute error"
    share_up: float         # share of the moves that were upward
    n_train: int            # windows that the model was fitted on, those that decide when to stop included
    seconds: float          # of the fit
    regressor: Any          # the fitted model

    def as_dict(self) -> dict[str, Any]:
        """What ``--json`` prints: numbers, dates as text; None where there is no value."""
        return {
            "n_train": self.n_train, "n_test": len(self.y_true), "test_from": _text(self.y_true.index[0]),
            "test_to": _text(self.y_true.index[-1]), "seconds": round(self.seconds, 3), "scores": self.scores,
            "skill": _finite(self.skill), "p_value": _finite(self.p_value), "share_up": _finite(self.share_up),
            "verdict": verdict(self),
            "forecast": {
                "index": [_text(label) for label in self.y_true.index], "y_true": self.y_true.tolist(),
                "y_pred": self.y_pred.tolist(), "y_naive": self.y_naive.tolist(),
            },
        }


def forecast_prices(prices, regressor, *, window=30, test_fraction=0.2) -> PriceForecast:
    """Forecast each price of the last part of a series one step ahead, from the steps before it.

    The regressor learns standardised log-returns; the scaler sees the training part only, and no forecast depends on
    anything after the step before it. A regressor whose `fit` takes `X_val` gets the latest training windows as
    validation set.

    Parameters
    ----------
    prices : Series of shape (rows,)
        Positive prices in time order.
    regressor : scikit-learn regressor
        Takes X (n, window, 1) where its `fit` takes `X_val`, else (n, window). It is fitted in place.
    window : int, default=30
        Returns that a forecast sees.
    test_fraction : float, default=0.2
        Share of the rows, the latest, that is forecast.

    Raises
    ------
    ValueError
        Where prices are missing, not positive or too few, or a parameter is out of range.
    """
    values = _check_prices(prices)
    n_test = _test_rows(len(values), window, test_fraction)
    returns = np.diff(np.log(values))
    train = returns[:-n_test]
    center, scale = train.mean(), train.std()
    if scale == 0:
        raise ValueError("the training part is constant; there is nothing to learn from it.")
    X, y = make_windows(((returns - center) / scale).astype(np.float32), window)
    sequences = "X_val" in inspect.signature(regressor.fit).parameters
    if not sequences:
        X = X[:, :, 0]
    started = time.perf_counter()
    _fit(regressor, X[:-n_test], y[:-n_test], sequences)
    seconds = time.perf_counter() - started
    predicted = center + scale * np.asarray(regressor.predict(X[-n_test:]), np.float64).ravel()
    previous = values[-n_test - 1 : -1]
    return _report(prices, previous * np.exp(predicted), previous, regressor, len(y) - n_test, seconds)


def _fit(regressor, X, y, sequences):
    n_stop = int(_STOP_FRACTION * len(y)) if sequences else 0
    if n_stop:
        regressor.fit(X[:-n_stop], y[:-n_stop], X_val=X[-n_stop:], y_val=y[-n_stop:])
    else:
        regressor.fit(X, y)


def _check_prices(prices):
    values = prices.to_numpy(dtype=np.float64, na_value=np.nan)
    name = prices.name if prices.name is not None else "the series"
    missing = int((~np.isfinite(values)).sum())
    if missing:
        raise ValueError(f"{name} has {missing} missing or infinite values; drop or fill these rows first.")
    if (values <= 0).any():
        raise ValueError(f"{name} has a value of {values.min():g}; log-returns need prices above 0: drop these rows first.")
    return values


def _test_rows(n_rows, window, test_fraction):
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction={test_fraction} must lie between 0 and 1.")
    n_test = max(1, round(n_rows * test_fraction))
    n_train = n_rows - 1 - n_test - window  # windows: a return needs two prices, a window its target
    if n_train < 10:
        raise ValueError(
            f"window={window} leaves {max(n_train, 0)} windows to learn from in {n_rows} rows, of which {n_test} are the test "
            "part; at least 10 are needed: pass more rows, a smaller window or a smaller test fraction."
        )
    return n_test


def _report(prices, y_pred, y_naive, regressor, n_train, seconds):
    import pandas as pd

    y_true = prices.iloc[-len(y_pred):].astype(np.float64)
    y_pred, y_naive = (pd.Series(values, y_true.index, name=prices.name) for values in (y_pred, y_naive))
    moves = np.sign(y_true - y_naive)
    return PriceForecast(
        prices=prices, y_true=y_true, y_pred=y_pred, y_naive=y_naive,
        scores={"model": _scores(y_true, y_pred, y_naive), "naive": _scores(y_true, y_naive, None)},
        skill=skill(y_true, y_pred, y_naive), p_value=_p_value(y_true, y_pred, y_naive),
        share_up=float((moves > 0).sum() / max(1, (moves != 0).sum())), n_train=n_train, seconds=seconds, regressor=regressor,
    )


def _scores(y_true, y_pred, y_previous):
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    return {
        "mae": float(mean_absolute_error(y_true, y_pred)),
        "rmse": float(root_mean_squared_error(y_true, y_pred)),
        "r2": _finite(r2_score(y_true, y_pred)) if len(y_true) > 1 else None,
        # the naive forecast says that nothing moves: it has no direction
        "directional_accuracy": None if y_previous is None else _finite(directional_accuracy(y_true, y_pred, y_previous)),
    }


def _p_value(y_true, y_pred, y_naive):
    """Diebold and Mariano (1995), absolute error, one step ahead, normal limit; NaN below 30 steps or without a difference."""
    difference = np.abs(y_true - y_pred) - np.abs(y_true - y_naive)
    spread = float(difference.std(ddof=1)) if len(difference) >= 30 else 0.0
    if spread == 0:
        return float("nan")
    return math.erfc(abs(float(difference.mean())) / spread * math.sqrt(len(difference) / 2))


def verdict(forecast: PriceForecast) -> str:
    """Which forecast has the smaller error, and whether that may be chance, in plain words."""
    if forecast.skill == 0:
        return "The model and repeating the last price have the same mean absolute error."
    if math.isnan(forecast.p_value):
        certainty = "The test part is too short to tell that from chance."
    elif forecast.p_value > 0.05:
        certainty = f"Such a difference may well be chance (p = {forecast.p_value:.2f})."
    else:
        certainty = f"Chance alone hardly explains that (p = {forecast.p_value:.2g})."
    winner = "The model is better" if forecast.skill > 0 else "Repeating the last price is better"
    side = "below" if forecast.skill > 0 else "above"
    return f"{winner}: the model's mean absolute error is {abs(forecast.skill):.1%} {side} the naive forecast's. {certainty}"


def read_prices(path, column) -> pd.Series:
    """One column of a CSV file (also compressed) as a series; None as `path` reads the embedded prices.

    A column called date, datetime, timestamp, time or ds, in any case, becomes the index, and the rows are put in time order;
    without one they are taken as they stand. Dates with a time zone keep their local time and lose the zone; numbers are
    read by their size, as seconds, milli-, micro- or nanoseconds since 1970 (UTC), as 20240131, or else as plain steps. The
    column's name may differ in case. Where several header lines name fields and tickers, as ``yfinance.download`` returns
    them, the column is "Close", or "Close AAPL" where there are several tickers.
    """
    import pandas as pd

    if path is None:
        from tsrnn.datasets import load_prices

        frame, name = load_prices(), "the embedded prices"
    else:
        name = str(path)
        frame = _read_csv(path, name, column)
        dates = next((label for label in frame.columns if str(label).lower() in _DATE_NAMES), None)
        if dates is not None:
            frame = _by_date(frame, dates, name)
    label = _find(frame.columns, column)
    if label is None:
        raise ValueError(f"{name} has no column {column!r}; choose one of: {', '.join(map(str, frame.columns))}.")
    prices = frame[label]
    if not pd.api.types.is_numeric_dtype(prices) or pd.api.types.is_bool_dtype(prices):
        raise ValueError(f"column {label!r} of {name} holds {prices.dtype} values, not numbers.")
    return prices


def _find(columns, column):
    """The label that is `column`, else the first that differs from it in case only, else None."""
    folded = {str(label).lower(): label for label in reversed(columns)}
    return column if column in columns else folded.get(column.lower())


def _read_csv(path, name, column):
    import pandas as pd

    if not os.path.isfile(path):
        raise ValueError(f"there is no file {name}; give the path of a CSV file with a header line.")
    try:
        tickers = _has_tickers(pd.read_csv(path, nrows=2, dtype=str))
        frame = pd.read_csv(path, header=[0, 1], index_col=0) if tickers else pd.read_csv(path)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{name} is empty; give a CSV file with a header line and a row for each price.") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{name} cannot be read as a CSV file: {error}") from error
    if frame.empty:
        raise ValueError(f"{name} has a header and no rows; give a CSV file with a row for each price.")
    return _one_header(frame, name, column) if tickers else frame


def _has_tickers(head):
    """Whether two header lines, fields and tickers, stand above a third that names the dates alone, as yfinance has it."""
    if len(head) < 2 or head.shape[1] < 2:
        return False
    first, *others = head.iloc[1]
    return str(first).lower() in _DATE_NAMES and all(value != value for value in others)


def _one_header(frame, name, column):
    """The frame with its dates as a column, and one name for each column; an error where `column` leaves the ticker open."""
    tickers, fields = (frame.columns.get_level_values(level) for level in (1, 0))
    if frame.columns.names[0] == "Ticker" or "Close" in tickers:  # group_by="ticker"
        tickers, fields = fields, tickers
    if tickers.nunique() == 1:
        labels = list(fields)
    else:
        labels = [f"{field} {ticker}" for field, ticker in zip(fields, tickers)]
        if _find(labels, column) is None:
            choices = [label for label, field in zip(labels, fields) if field.lower() == column.lower()] or labels
            shown = ", ".join(repr(label) for label in choices[:_MANY]) + (", ..." if len(choices) > _MANY else "")
            raise ValueError(
                f"{name} holds {tickers.nunique()} tickers and no column {column!r}; set --column to one of: {shown}."
            )
    return frame.set_axis(labels, axis=1).reset_index()


def _by_date(frame, dates, name):
    try:
        frame = frame.assign(**{dates: _parse_dates(frame[dates])}).set_index(dates).sort_index(kind="stable")
    except (ValueError, TypeError) as error:
        raise ValueError(f"column {dates!r} of {name} does not hold dates: {error}") from error
    if frame.index.hasnans:
        raise ValueError(f"column {dates!r} of {name} has missing dates; drop these rows first.")
    if frame.index.has_duplicates:
        twice = frame.index[frame.index.duplicated()][0]
        raise ValueError(f"{name} has several rows for {_text(twice)}; give one series, one row a date.")
    return frame


def _parse_dates(column):
    """Dates without a zone: the local time, or UTC where the clock, set back, would put local times out of order."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return _parse_numbers(column)
    text = column.astype("string").str.strip()
    bare = text.str.replace(_OFFSET, r"\1", regex=True)
    if (bare == text).all():
        parsed = pd.to_datetime(column)
        return parsed if parsed.dt.tz is None else parsed.dt.tz_localize(None)
    instants, local = pd.to_datetime(text, utc=True).dt.tz_localize(None), pd.to_datetime(bare)
    ordered = local[instants.sort_values(kind="stable").index]
    return local if ordered.is_monotonic_increasing and local.nunique() == instants.nunique() else instants


def _parse_numbers(numbers):
    """Epochs by their size (each unit from 1973 to 5138), 20240131 as a date; smaller numbers are steps, kept as they are."""
    import pandas as pd

    low, high = numbers.abs().min(), numbers.abs().max()
    if 1e7 <= low and high < 1e8:
        return pd.to_datetime(numbers.astype("Int64").astype("string"), format="%Y%m%d")
    if not high >= 1e8:  # NaN as well: no date at all
        return numbers
    unit = "s" if high < 1e11 else "ms" if high < 1e14 else "us" if high < 1e17 else "ns"
    return pd.to_datetime(numbers, unit=unit)


def _text(label):
    return f"{label:%Y-%m-%d}" if hasattr(label, "strftime") and label == label.normalize() else str(label)


def _finite(value):
    return float(value) if math.isfinite(value) else None
