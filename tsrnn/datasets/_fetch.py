"""`fetch_prices`: from disk, else from the vendor; the one place of the package that uses the network."""

from __future__ import annotations

import logging
import math
import numbers
import os
import random
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tsrnn._warn import warn
from tsrnn.datasets import _cache, _ohlcv, _yahoo
from tsrnn.datasets._errors import (
    FetchError,
    HalfFilledError,
    NotCachedError,
    OfflineError,
    PriceError,
    RateLimitError,
    SourceError,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

logger = logging.getLogger("tsrnn")

_INTERVALS = ("1d", "1wk", "1mo")
_TICKER = re.compile(r"[A-Za-z0-9^][A-Za-z0-9.^=&_-]{0,31}")
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}($|[T ])")
_SOURCE_NAME = re.compile(r"[a-z0-9_]{1,32}")
_FIRST_WAIT, _LONGEST_WAIT = 2.0, 60.0  # seconds


def fetch_prices(
    tickers: str | Iterable[str],
    start: str | date | np.datetime64 | None = None,
    end: str | date | np.datetime64 | None = None,
    *,
    interval: Literal["1d", "1wk", "1mo"] = "1d",
    adjust: bool = True,
    missing: Literal["raise", "keep"] = "raise",
    errors: Literal["raise", "warn"] = "raise",
    data_home: str | os.PathLike | None = None,
    download_if_missing: bool = True,
    refresh: bool = False,
    max_age: str | timedelta | None = "1D",
    source: Callable[..., pd.DataFrame] | None = None,
    source_name: str | None = None,
    retries: int = 4,
    timeout: float = 30.0,
) -> pd.DataFrame:
    """Daily, weekly or monthly prices by ticker symbol, from disk where they lie there, else from Yahoo Finance.

    Parameters
    ----------
    tickers : str or list of str
        Symbols as Yahoo writes them: "AAPL", "SAP.DE", "^GSPC", "EURUSD=X", "BTC-USD". Lower case is made upper case.
    start, end : str, datetime.date or numpy.datetime64, default=None
        First day, and the day after the last one, in the exchange's time zone. A str is written YYYY-MM-DD; a time may follow
        and does not count. None: the first day that there is; now.
    interval : {"1d", "1wk", "1mo"}, default="1d"
        What a row stands for; it is dated by its first day.
    adjust : bool, default=True
        Whether open to close are adjusted for dividends as well as for splits. False: for splits alone, and the adjusted close
        is the further column `adj_close`. A `source` decides by itself.
    missing : {"raise", "keep"}, default="raise"
        What becomes of prices that the vendor lacks, on dates that it lists: an error that names them, or NaN in the result.
        Nothing is filled here. One gap cannot be seen: for a volume that Yahoo lacks beside prices yfinance writes 0, just as
        for a day on which nothing was traded.
    errors : {"raise", "warn"}, default="raise"
        What becomes of several tickers of which some fail: an error that names each, or a warning and the others. Either
        way all are tried first, and those that succeed are kept on disk. None left: always an error.
    data_home : str or path-like, default=None
        Folder to keep prices in; None as in `get_data_home`. Every file holds one ticker's whole range as it was at one
        moment, because adjusted prices change backwards with each dividend.
    download_if_missing : bool, default=True
        False: never use the network; prices that were fetched earlier serve at any age.
    refresh : bool, default=False
        Whether to fetch anew what lies on disk.
    max_age : str, datetime.timedelta or None, default="1D"
        How old prices on disk may be where the range reaches up to now (as pandas.Timedelta reads it, "12h"); None: any age.
        A range that was over when it was fetched has no age.
    source : callable, default=None
        Another vendor: ``source(ticker, start, end, interval=...)`` with `start` and `end` as datetime.date or None returns a
        frame with a DatetimeIndex of finished rows and the columns Open, High, Low, Close, Volume (any case). It passes the
        same checks. It may raise `RateLimitError` to be asked again later.
    source_name : str, default=None
        Name under which the prices of `source` are kept on disk (lower-case letters, digits, "_"); None: they are not kept.
    retries : int, default=4
        How often to ask again, after 2, 4, 8, ... seconds (varied at random, at most 60), while the vendor limits the rate. All
        other errors are raised at once.
    timeout : float, default=30.0
        Seconds that a request to Yahoo may take.

    Returns
    -------
    pandas.DataFrame of shape (rows, 5), or (rows, 7) for a list of tickers
        One ticker (a str): one row a trading day in time order; index `date` (DatetimeIndex, local dates without a zone),
        columns `open`, `high`, `low`, `close`, `volume` (and `adj_close`, see `adjust`), all float64. A list: the same rows one
        ticker behind the other, with the columns `unique_id` (the ticker) and `ds` (the date) in front, as the forecasters read
        it. The row that is still being traded is left out.

    Raises
    ------
    ValueError, TypeError
        For an argument that makes no sense, before anything is fetched.
    PriceError
        One of its subclasses: `OfflineError`, `RateLimitError` (after all retries), `UnknownTickerError`, `EmptyPricesError`,
        `HalfFilledError`, `SourceError` (an answer that cannot be used), `NotCachedError`; for a list of tickers `FetchError`,
        whose attribute `errors` has them by ticker. Nothing that failed is left on disk.

    See Also
    --------
    load_prices : The embedded prices, without a network.

    Examples
    --------
    >>> from tsrnn.datasets import fetch_prices
    >>> prices = fetch_prices("AAPL", start="2015-01-01")      # doctest: +SKIP
    >>> panel = fetch_prices(["AAPL", "MSFT"], "2015-01-01")   # doctest: +SKIP
    """
    _check(interval=(interval, _INTERVALS), missing=(missing, ("raise", "keep")), errors=(errors, ("raise", "warn")))
    if refresh and not download_if_missing:
        raise ValueError("refresh=True fetches anew, and download_if_missing=False forbids it; set one of them only.")
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ValueError(f"retries={retries!r} must be a whole number, 0 or more.")
    if isinstance(timeout, bool) or not isinstance(timeout, numbers.Real) or not 0 < timeout < math.inf:
        raise ValueError(f"timeout={timeout!r} must be a positive number of seconds.")
    first, last = _range(start, end)
    name = _source_name(source, source_name)
    request = _Request(
        first, last, interval, bool(adjust), missing == "keep", download_if_missing, refresh, _max_age(max_age), source, name,
        _cache.home_of(data_home) if name else None, retries, timeout,
    )
    if isinstance(tickers, str):
        return _prices(_ticker(tickers), request, None)
    if not isinstance(tickers, Iterable):
        raise TypeError(f"tickers={tickers!r} is {type(tickers).__name__}; give a symbol such as \"AAPL\" or a list of them.")
    return _several([_ticker(ticker) for ticker in tickers], request, errors)


@dataclass(frozen=True)
class _Request:
    """The arguments, checked."""

    start: date | None
    end: date | None
    interval: str
    adjust: bool
    keep_gaps: bool
    may_download: bool
    refresh: bool
    max_age: timedelta | None
    source: Callable[..., Any] | None
    name: str | None
    home: Path | None  # None: nothing is kept
    retries: int
    timeout: float


def _now() -> datetime:
    return datetime.now(UTC)


# ------------------------------------------------------------------------------------------------ arguments


def _check(**choices: tuple[Any, tuple]) -> None:
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise ValueError(f"{name}={value!r} must be one of {', '.join(map(repr, allowed))}.")


def _ticker(ticker: Any) -> str:
    """The symbol in upper case, safe as part of a file's name."""
    if not isinstance(ticker, str):
        raise TypeError(f"ticker {ticker!r} is {type(ticker).__name__}; give a str such as \"AAPL\".")
    if not _TICKER.fullmatch(ticker) or ".." in ticker:
        raise ValueError(f"ticker {ticker!r} is no symbol: it has up to 32 letters, digits and . - ^ = & _ (no \"..\"), "
                         "and begins with a letter, a digit or ^.")
    return ticker.upper()


def _source_name(source: Any, name: str | None) -> str | None:
    if source is None:
        if name is not None:
            raise ValueError(f"source_name={name!r} names a source, and there is none; pass source= as well.")
        return "yahoo"
    if not callable(source):
        raise TypeError(f"source={source!r} must be callable: source(ticker, start, end, interval=...) returns a frame.")
    if name is not None and (not isinstance(name, str) or not _SOURCE_NAME.fullmatch(name) or name == "yahoo"):
        raise ValueError(f"source_name={name!r} must have 1 to 32 lower-case letters, digits or \"_\", and not be 'yahoo'.")
    return name


def _day(name: str, value: Any) -> date | None:
    """The date that a str, a date, a datetime, a Timestamp or a datetime64 falls on."""
    import numpy as np
    import pandas as pd

    if value is None:
        return None
    try:
        if isinstance(value, str):  # no guess: 5/1/2024 is May here and January there
            day = datetime.fromisoformat(value).date() if _ISO.match(value) else None
        else:
            day = pd.Timestamp(value).date() if isinstance(value, (date, np.datetime64)) else None
    except (ValueError, NotImplementedError):  # no such day; a year that datetime.date has not
        day = None
    if day is None or pd.isna(day):
        raise ValueError(f"{name}={value!r} must be a date written YYYY-MM-DD, such as \"2024-01-31\", a datetime.date or a "
                         "numpy.datetime64.")
    return day


def _range(start: Any, end: Any) -> tuple[date | None, date | None]:
    first, last = _day("start", start), _day("end", end)
    if first is not None and last is not None and first >= last:
        raise ValueError(f"start={first} must lie before end={last}, the day after the last one; exchange or move them.")
    if first is not None and first > _now().date() + timedelta(days=1):
        raise ValueError(f"start={first} lies in the future; choose a day that has prices.")
    return first, last


def _max_age(value: Any) -> timedelta | None:
    import pandas as pd

    if value is None:
        return None
    try:
        if not isinstance(value, (str, timedelta)):
            raise ValueError("it is no time span")
        age = pd.Timedelta(value)
        if not age >= pd.Timedelta(0):  # NaT as well
            raise ValueError("it is negative")
    except ValueError as error:
        raise ValueError(f"max_age={value!r} must be a time span such as \"1D\" or \"12h\", or None: {error}.") from None
    return age.to_pytimedelta()


# ------------------------------------------------------------------------------------------------ one and several tickers


def _several(tickers: list[str], request: _Request, errors: str) -> pd.DataFrame:
    """A long frame of all tickers; the vendor is not asked any more once it is out of reach or limits the rate."""
    import pandas as pd

    if not tickers:
        raise ValueError("tickers is empty; give at least one symbol.")
    frames, failed, halt = {}, {}, None
    for ticker in dict.fromkeys(tickers):
        try:
            frames[ticker] = _prices(ticker, request, halt)
        except PriceError as error:
            failed[ticker] = error
            halt = error if halt is None and isinstance(error, (OfflineError, RateLimitError)) else halt
    if failed:
        lines = "".join(f"\n  {ticker}: {type(error).__name__}: {error}" for ticker, error in failed.items())
        count = f"{len(failed)} of {len(failed) + len(frames)} tickers"
        if errors == "raise" or not frames:
            kept = " are kept on disk" if request.home else " would be kept on disk with source_name="
            others = f" (the others{kept}; errors=\"warn\" returns them)" if frames else ""
            failure = FetchError(f"{count} failed{others}:{lines}")
            failure.errors = failed
            raise failure
        warn(f"{count} are left out:{lines}")
    long = pd.concat([frame.reset_index(names="ds").assign(unique_id=ticker) for ticker, frame in frames.items()],
                     ignore_index=True)
    return long[["unique_id", "ds", *(column for column in long.columns if column not in ("unique_id", "ds"))]]


def _prices(ticker: str, request: _Request, halt: PriceError | None) -> pd.DataFrame:
    """One ticker: from disk if a snapshot serves, else fetched and kept. After `halt` the vendor is not asked."""
    key = _cache.Key(request.name or "", ticker, request.interval, request.adjust)
    snapshot, damage = _read(key, request)
    if snapshot is not None and not request.refresh and snapshot.covers(request.start, request.end):
        if not request.may_download or snapshot.is_current(request.end, _now(), request.max_age):
            try:
                return _served(snapshot.frame, ticker, request)
            except HalfFilledError:
                if not request.may_download:
                    raise
    if not request.may_download:
        raise NotCachedError(_absent(ticker, snapshot, damage))
    if halt is not None:
        raise type(halt)(f"{ticker} was not asked for any more after the failure before.")
    start, end = request.start, request.end
    if snapshot is not None:  # the new snapshot replaces the old one and must not know less
        start = None if start is None or snapshot.start is None else min(start, snapshot.start)
        end = None if end is None or snapshot.end is None else max(end, snapshot.end)
    fetched = _now()
    frame = _ohlcv.tidy(_download(ticker, start, end, request, fetched), ticker, request.adjust)
    result = _served(frame, ticker, request)
    _keep(_cache.Snapshot(key, start, end, fetched, frame), request)
    return result


def _served(frame: pd.DataFrame, ticker: str, request: _Request) -> pd.DataFrame:
    rows = _ohlcv.part(frame, request.start, request.end, ticker)
    if not request.keep_gaps:
        _ohlcv.check_filled(rows, ticker)
    return rows.copy()


def _read(key: _cache.Key, request: _Request) -> tuple[_cache.Snapshot | None, str]:
    """The snapshot on disk, or None and what is wrong with it."""
    if request.home is None:
        return None, ""
    try:
        return _cache.load(key, request.home), ""
    except (ValueError, OSError) as error:
        if request.may_download:
            logger.warning("%s cannot be used (%s); %s is fetched anew", key.path(request.home), error, key.ticker)
        return None, f"{key.path(request.home)} cannot be used ({error})"


def _keep(snapshot: _cache.Snapshot, request: _Request) -> None:
    if request.home is None:
        return
    try:
        _cache.save(snapshot, request.home)
    except OSError as error:  # a full or read-only disk must not cost what has been fetched
        logger.warning("the prices of %s are not kept on disk: %s; set data_home= or TSRNN_DATA_HOME to a folder that can be "
                       "written", snapshot.key.ticker, error)


def _absent(ticker: str, snapshot: _cache.Snapshot | None, damage: str) -> str:
    if snapshot is not None:
        has = (f"those kept run from {snapshot.start or 'the first day'} to before "
               f"{snapshot.end or f'{snapshot.fetched:%Y-%m-%d}'}; ask for a part of that, or")
    else:
        has = f"{damage or 'none are kept for this interval, adjust and source'};"
    return f"the prices of {ticker} are not on disk as asked for, and download_if_missing=False: {has} allow the download."


# ------------------------------------------------------------------------------------------------ asking the vendor


def _download(ticker: str, start: date | None, end: date | None, request: _Request, now: datetime) -> Any:
    """Ask the vendor, and again while it limits the rate, with waits that double."""
    wait = _FIRST_WAIT
    for attempt in range(request.retries + 1):
        try:
            return _ask(ticker, start, end, request, now)
        except RateLimitError as error:
            if attempt == request.retries:
                times = f"asked {attempt + 1} times" if attempt else "asked once"
                raise RateLimitError(f"{error} {times}; wait some minutes, fetch fewer tickers at a time, or raise retries="
                                     f"{request.retries}.") from error
            seconds = min(wait, _LONGEST_WAIT) * (0.5 + random.SystemRandom().random())  # the global seed is the user's
            logger.warning("%s is asked for again in %.0f s, because the rate is limited (%d of %d)", ticker, seconds,
                           attempt + 1, request.retries)
            time.sleep(seconds)
            wait *= 2.0
    raise AssertionError("unreachable")


def _ask(ticker: str, start: date | None, end: date | None, request: _Request, now: datetime) -> Any:
    if request.source is None:
        return _yahoo.download(ticker, start, end, interval=request.interval, adjust=request.adjust, timeout=request.timeout,
                               now=now)
    try:
        return request.source(ticker, start, end, interval=request.interval)
    except PriceError:
        raise
    except Exception as error:
        raise SourceError(f"{ticker}: the source failed ({type(error).__name__}: {error}).") from error
