"""What the command line does with prices: read them, forecast, backtest, and say in words how good that is."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tsrnn import metrics
from tsrnn._read_csv import pick, read_table, tell_irregular, time_text
from tsrnn.data.stocks import tidy_name
from tsrnn.device import backend_of

if TYPE_CHECKING:
    import pandas as pd

CELLS = {"lstm": "LSTMRegressor", "gru": "GRURegressor", "rnn": "RNNRegressor", "cnn-lstm": "CNNLSTMRegressor"}
TRANSFORMS = {"auto": "auto", "log-return": "log_return", "log": "log", "diff": "diff", "none": None}
FILE_ENDINGS = (".csv", ".txt", ".tsv", ".gz", ".bz2", ".zip", ".xz", ".zst")
_SHARE, _MOST_CUTOFFS = 5, 1000  # a backtest without --n-splits: the last fifth of the rows, from so many cutoffs at most
_EQUAL = "The model and repeating the last value have the same mean absolute error."
_FEWEST = 30  # cutoffs that tell a difference from chance


@dataclass(frozen=True)
class Settings:
    """The options that both commands share."""

    column: str = "close"
    horizon: int = 5
    window: int = 30
    cell: str = "lstm"
    hidden: int = 32
    transform: str = "auto"
    features: tuple[str, ...] = ()
    level: tuple[float, ...] = (80.0, 95.0)
    most_epochs: int = 100
    seed: int = 0
    validation_fraction: float = 0.1
    device: str = "cpu"

    def __post_init__(self):
        backend_of(self.device, fitting=True)  # before anything is read
        for name, known in (("cell", CELLS), ("transform", TRANSFORMS)):
            if getattr(self, name).replace("_", "-") not in known:
                raise ValueError(f"--{name}={getattr(self, name)} is unknown; use {', '.join(known)}.")
        if self.features and tidy_name(self.column) != "close":
            raise ValueError(f"--features goes with the closing price; leave out --column={self.column}, or --features.")

    @property
    def label(self) -> str:
        """Of the model: "LSTM(32)"."""
        return f"{self.cell.upper()}({self.hidden})"


@dataclass(frozen=True)
class Source:
    """A series, and where it is from."""

    kind: str             # "embedded", "file" or "ticker"
    name: str
    frame: pd.DataFrame   # in time order
    series: pd.Series     # the column to forecast

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        first, last = self.series.index[[0, -1]]
        return {"kind": self.kind, "name": self.name, "column": str(self.series.name), "rows": len(self.series),
                "from": time_text(first), "to": time_text(last)}


def read_source(name: str | None, settings: Settings, start: str | None = None, end: str | None = None,
                offline: bool = False, date_format: str | None = None) -> Source:
    """The embedded prices for None, a CSV file, or the prices of a ticker symbol, the only case that may use the network.

    Parameters
    ----------
    name : str or None
        A file that is there, or has the ending of one, or a folder in its name, is a file; all else is a symbol.
    settings : Settings
    start, end : str, optional
        First date, and the one after the last.
    offline : bool
        Whether a symbol's prices may come from the disk only.
    date_format : str, optional
        How a file writes its dates, as strptime has it.
    """
    limits = {option: _moment(option, text) for option, text in (("start", start), ("end", end)) if text is not None}
    if name is None:
        from tsrnn.datasets import load_prices

        kind, name = "embedded", "the embedded prices"
        frame = load_prices()
    elif os.path.exists(name) or os.path.dirname(name) or name.lower().endswith(FILE_ENDINGS):
        kind, frame = "file", read_table(name, settings.column, date_format)
    else:
        kind, frame = "ticker", _fetch(name, start, end, offline)
    if date_format is not None and kind != "file":
        raise ValueError(f"--date-format goes with a file, and {name} is none; leave it out.")
    if kind != "ticker":
        frame = _between(frame, limits, name)
    series = pick(frame, settings.column, name).astype(np.float64)
    if settings.features:
        series = series.where(series > 0)  # as the forecaster has it
    tell_irregular(series.index, name)
    return Source(kind, name, frame, series)


def _fetch(name, start, end, offline):
    from tsrnn.datasets import NotCachedError, UnknownTickerError, fetch_prices

    try:
        return fetch_prices(name, start, end, download_if_missing=not offline)
    except UnknownTickerError as error:
        raise UnknownTickerError(f"there is no file {name!r}, and as a ticker symbol: {error}") from error
    except NotCachedError as error:
        raise NotCachedError(f"the prices of {name} have not been fetched for these dates; leave out --offline to do so."
                             ) from error
    except ValueError as error:
        if str(error).startswith("ticker"):
            raise ValueError(f"{name!r} is neither a file nor a ticker symbol: {error}") from None
        raise


def _moment(option, text):
    """A date without a zone, as the rows' own are."""
    import pandas as pd

    try:
        moment = pd.Timestamp(text)
    except ValueError:
        moment = pd.NaT
    if moment is pd.NaT:
        raise ValueError(f"--{option}={text} is no date; write it as 2024-01-31.")
    if moment.tz is not None:
        raise ValueError(f"--{option}={text} has a time zone, and the dates of prices have none; leave it out.")
    return moment


def _between(frame, limits, name):
    """Rows from `start` to before `end`."""
    import pandas as pd

    if limits and not isinstance(frame.index, pd.DatetimeIndex):
        raise ValueError(f"--{next(iter(limits))} needs dates, and {name} has no column of them.")
    spans = f"runs from {time_text(frame.index[0])} to {time_text(frame.index[-1])}"
    for option, moment in limits.items():
        frame = frame[frame.index >= moment] if option == "start" else frame[frame.index < moment]
    if frame.empty:
        asked = " and ".join(f"--{option}={time_text(moment)}" for option, moment in limits.items())
        raise ValueError(f"{name} has no row in the dates of {asked}; it {spans}.")
    return frame


def make_forecaster(source: Source, settings: Settings, on_epoch_end: Callable | None = None):
    """The forecaster that the options describe, and the y that it takes."""
    import tsrnn
    from tsrnn.data.calendar import infer_step

    regressor = getattr(tsrnn, CELLS[settings.cell.replace("_", "-")])(
        hidden_layer_sizes=(settings.hidden,), max_iter=settings.most_epochs, batch_size=64, early_stopping=True,
        random_state=settings.seed, device=settings.device, on_epoch_end=on_epoch_end,
    )
    transform = TRANSFORMS[settings.transform.replace("_", "-")]
    if transform == "auto":
        transform = "log_return" if not (source.series <= 0).any() else "diff"
    shared = {"window": settings.window, "horizon": settings.horizon, "transform": transform,
              "validation_fraction": settings.validation_fraction}
    if not settings.features:
        return tsrnn.WindowForecaster(regressor, **shared), source.series
    step = infer_step(source.series.index)  # sessions may be of every day of the week
    calendar = step if hasattr(step, "rollforward") else None
    return tsrnn.StockForecaster(regressor, features=settings.features, calendar=calendar, **shared), source.frame


def _wanted(settings):
    return list(settings.level) or None


# ------------------------------------------------------------------------------------------------------------- forecast


@dataclass(frozen=True)
class Forecast:
    """The next rows."""

    source: Source
    settings: Settings
    forecaster: Any       # fitted
    table: pd.DataFrame   # index: times; columns forecast, naive, lo-80, hi-80, ...
    held_out: int         # rows behind `skill_`
    seconds: float

    @property
    def verdict(self) -> str:
        """How good such forecasts were on the rows held out, in plain words."""
        gain = self.forecaster.skill_
        if math.isnan(gain):
            return f"Nothing moved in the last {self.held_out} rows, which were held out; they say nothing about the model."
        if gain == 0:
            return _EQUAL
        return (f"{_better(gain)} {_by(gain)} on the last {self.held_out} rows, unseen by that fit. "
                "Whether that is chance, tsrnn backtest tells.")

    def as_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        columns = {name: _clean(column) for name, column in self.table.items()}
        return {
            **_facts(self), "transform": self.forecaster.transform, "epochs": self.forecaster.regressor_.n_iter_,
            "held_out_rows": self.held_out, "skill": _finite(self.forecaster.skill_), "verdict": self.verdict,
            "forecast": {"ds": _iso(self.table.index), **columns},
        }


def forecast(source: Source, settings: Settings, on_epoch_end: Callable | None = None) -> Forecast:
    """Fit on everything, forecast what comes next."""
    from tsrnn.data.splitting import held_out_rows

    forecaster, y = make_forecaster(source, settings, on_epoch_end)
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "skill_=", UserWarning)  # the verdict says so
        forecaster.fit(y)
    seconds = time.perf_counter() - started
    table = forecaster.predict(level=_wanted(settings))
    model = CELLS[settings.cell.replace("_", "-")]
    table = table.to_frame(model) if table.ndim == 1 else table
    table = table.rename(columns=lambda name: "forecast" if name == model else name.removeprefix(f"{model}-"))
    table.insert(1, "naive", source.series.iloc[-1])
    held_out = held_out_rows(len(source.series), settings.horizon, settings.validation_fraction)
    return Forecast(source, settings, forecaster, table, held_out, seconds)


# ------------------------------------------------------------------------------------------------------------- backtest


@dataclass(frozen=True)
class Backtest:
    """Forecasts from cutoffs in the past, and their scores."""

    source: Source
    settings: Settings
    step: int
    refit: int
    transform: str | None
    frame: pd.DataFrame   # long: unique_id, ds, cutoff, y, <model>, naive, bounds of both
    scores: pd.DataFrame  # rows: the model, "naive"; columns as `metrics.evaluate` has them, and directional_accuracy
    by_horizon: pd.DataFrame
    test: metrics.DieboldMariano  # NaN where there are too few cutoffs
    share_up: float       # of the first steps that moved
    seconds: float

    @property
    def model(self) -> str:
        """Its column."""
        return self.scores.index[0]

    @property
    def n_cutoffs(self) -> int:
        """Number of cutoffs."""
        return self.frame["cutoff"].nunique()

    @property
    def verdict(self) -> str:
        """Which forecast has the smaller error, and whether that may be chance, in plain words."""
        gain, p = self.scores["skill"].iloc[0], self.test.pvalue
        if math.isnan(gain):
            return "Nothing moved in the rows that were forecast; they say nothing about the model."
        if gain == 0:
            return _EQUAL
        if math.isnan(p):
            chance = "There are too few cutoffs to tell that from chance."
        elif p > 0.05:
            chance = f"Such a difference may well be chance (p = {p:.2f})."
        else:
            chance = f"Chance alone hardly explains that (p = {p:.2g})."
        return f"{_better(gain)} {_by(gain)}. {chance}"

    def as_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        names = {self.model: "model", "naive": "naive"}
        per_horizon = {short: [{"horizon": int(h)} | _row(row) for h, row in self.by_horizon.loc[long].iterrows()]
                       for long, short in names.items()}
        return {
            **_facts(self), "transform": self.transform, "step": self.step, "refit": self.refit, "n_cutoffs": self.n_cutoffs,
            "scores": {short: _row(self.scores.loc[long]) for long, short in names.items()}, "by_horizon": per_horizon,
            "diebold_mariano": {"statistic": _finite(self.test.statistic), "p_value": _finite(self.test.pvalue)},
            "share_up": _finite(self.share_up), "verdict": self.verdict,
            "forecasts": {name: _iso(column) if name in ("ds", "cutoff") else _clean(column)
                          for name, column in self.frame.drop(columns="unique_id").items()},
        }


def backtest(source: Source, settings: Settings, n_splits: int | None = None, step: int | None = None, refit: int = 0,
             on_epoch_end: Callable | None = None) -> Backtest:
    """Forecast the last part of the series from many cutoffs, each from what was known then."""
    from tsrnn import NaiveForecaster

    n_splits, step = plan_cutoffs(len(source.series), settings.horizon, n_splits, step)
    forecaster, y = make_forecaster(source, settings, on_epoch_end)
    naive = NaiveForecaster(horizon=settings.horizon, validation_fraction=settings.validation_fraction)
    how = {"n_splits": n_splits, "step": step, "refit": refit, "level": _wanted(settings)}
    started = time.perf_counter()
    frame = forecaster.backtest(y, **how)
    seconds = time.perf_counter() - started
    with warnings.catch_warnings():  # the model's own intervals have warned already
        warnings.simplefilter("ignore", UserWarning)
        other = naive.backtest(source.series, **how)
    for name in other.columns[other.columns.str.startswith("NaiveForecaster")]:  # with intervals of its own
        frame[name.replace("NaiveForecaster", "naive")] = other[name].to_numpy()
    frame["unique_id"] = str(source.series.name)
    model = CELLS[settings.cell.replace("_", "-")]
    there = frame[["y", model, "naive"]].notna().all(axis=1)
    if not there.any():
        raise ValueError(f"no forecast can be scored: at each of the {n_splits} cutoffs {source.name} has missing values in "
                         f"its last rows, or in the next {settings.horizon}; fill or drop them, or take a smaller --window.")
    return Backtest(
        source=source, settings=settings, step=step, refit=refit, transform=forecaster.transform, frame=frame, seconds=seconds,
        **_scores(frame, source.series, model, settings.horizon, step),
    )


def plan_cutoffs(n_rows: int, horizon: int, n_splits: int | None, step: int | None) -> tuple[int, int]:
    """Number of cutoffs and rows between them, where the user has left them open: the last fifth of the rows is forecast."""
    rows = max(1, n_rows // _SHARE - horizon + 1)
    if step is None:
        step = max(1, -(-rows // (n_splits or _MOST_CUTOFFS)))
    return n_splits or max(1, -(-rows // step)), step


def _scores(frame, series, model, horizon, step) -> dict[str, Any]:
    """Of the rows that both have forecast."""
    models = [model, "naive"]
    frame = frame.assign(y=frame["y"].where(frame[models].notna().all(axis=1)), ahead=frame.groupby("cutoff").cumcount())
    first = frame[(frame["ahead"] == 0) & frame["y"].notna()]
    moves = np.sign(first["y"] - first["naive"])
    moved = int((moves != 0).sum())
    scores = metrics.evaluate(frame, models, y_train=series)
    direction = metrics.directional_accuracy(first["y"], first[model], first["naive"]) if moved else np.nan
    scores["directional_accuracy"] = [direction, np.nan]  # the naive forecast says that nothing moves
    by_horizon = metrics.evaluate(frame, models, by="horizon")
    still = not scores["mae"].iloc[1] > 0
    if still:  # what is left of the model's errors is rounding, which no ratio and no interval is about
        for table in (scores, by_horizon):
            ratios = [name for name in table if name.startswith(("skill", "coverage-", "width-"))]
            table[ratios] = np.nan
    by_cutoff = [frame.pivot(index="cutoff", columns="ahead", values=name) for name in ("y", *models)]
    whole = by_cutoff[0].notna().all(axis=1)
    lag = -(-horizon // step)  # cutoffs whose forecasts share rows
    test = metrics.DieboldMariano(np.nan, np.nan)
    if whole.sum() >= max(_FEWEST, 2 * lag) and not still:
        test = metrics.diebold_mariano(*(table[whole].to_numpy() for table in by_cutoff), horizon=lag)
    return {"scores": scores, "by_horizon": by_horizon, "test": test,
            "share_up": float((moves > 0).sum() / moved) if moved else np.nan}


# ---------------------------------------------------------------------------------------------------------------- words


def _better(gain: float) -> str:
    return "The model is better:" if gain > 0 else "Repeating the last value is better:"


def _by(gain: float) -> str:
    return f"the model's mean absolute error is {abs(gain):.1%} {'below' if gain > 0 else 'above'} the naive forecast's"


def _facts(result: Forecast | Backtest) -> dict[str, Any]:
    from tsrnn import __version__

    settings = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(result.settings).items()}
    del settings["column"], settings["transform"]  # what they came to stands elsewhere
    return {"tsrnn": __version__, "source": result.source.as_dict(), **settings, "seconds": round(result.seconds, 3)}


def _row(scores) -> dict[str, float | int | None]:
    return {name: int(value) if name == "n" else _finite(value) for name, value in scores.items()}


def _clean(column) -> list[float | None]:
    return [_finite(value) for value in column]


def _iso(times) -> list[str | int | float]:
    return [label if isinstance(label, (int, float)) else time_text(label) for label in getattr(times, "tolist", list)()]


def _finite(value) -> float | None:
    return float(value) if math.isfinite(value) else None
