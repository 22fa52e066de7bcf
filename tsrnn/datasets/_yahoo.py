"""Yahoo Finance through yfinance's `Ticker.history`: quiet, and with an error of ours for each of its own."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tsrnn.datasets._errors import (
    EmptyPricesError,
    OfflineError,
    PriceError,
    RateLimitError,
    SourceError,
    UnknownTickerError,
)

if TYPE_CHECKING:
    import pandas as pd

_FIRST_DAY = date(1900, 1, 1)  # period="max" is refused where Yahoo's list of valid ranges lacks it
_DELAY = timedelta(minutes=30)  # of Yahoo's prices behind the exchange's


def download(ticker: str, start: date | None, end: date | None, *, interval: str, adjust: bool, timeout: float,
             now: datetime) -> pd.DataFrame:
    """What yfinance has from `start` to the day before `end`, without the bar that is still being traded.

    Dates that Yahoo answers with nulls stay, as rows of NaN.

    Raises
    ------
    PriceError
        OfflineError, RateLimitError, UnknownTickerError, EmptyPricesError or SourceError.
    """
    security = None
    with _quiet() as yfinance:
        try:
            security = yfinance.Ticker(ticker)
            frame = security.history(start=(start or _FIRST_DAY).isoformat(), end=end and end.isoformat(), interval=interval,
                                     auto_adjust=adjust, keepna=True, timeout=timeout)
            if frame is None or frame.empty:
                raise EmptyPricesError(_empty(ticker, start, end, ""))
            return _unfilled(frame[_finished(frame, getattr(security, "history_metadata", None), interval, now)])
        except PriceError:
            raise
        except Exception as error:
            raise _translated(error, security, ticker, start, end) from error


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """yfinance with exceptions instead of log lines, for the time of the call.

    Its `raise_errors=True` is deprecated and does not reach the request for the time zone: without a network every ticker
    would look delisted. So its own switch is used, and put back. It also remembers answers, useless ones too, as long as the
    process lives; they are forgotten, because a repeated request must reach Yahoo. Switch, log and warning filters belong
    to the process: one thread at a time.
    """
    log = logging.getLogger("yfinance")

    def silent(record: logging.LogRecord) -> bool:
        return False

    with warnings.catch_warnings():
        import yfinance.data  # sets warning filters of its own, so those below come after it

        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        getattr(yfinance.data.YfData.cache_get, "cache_clear", lambda: None)()
        debug = yfinance.config.debug
        before = debug.hide_exceptions
        debug.hide_exceptions = False
        log.addFilter(silent)
        try:
            yield yfinance
        finally:
            log.removeFilter(silent)
            debug.hide_exceptions = before


def _finished(frame: pd.DataFrame, metadata: Any, interval: str, now: datetime) -> Any:
    """Which rows are over (rows,): Yahoo's last one grows, and may be half empty, until its session or period ends."""
    import pandas as pd

    moment = pd.Timestamp(now).tz_convert(frame.index.tz) if frame.index.tz is not None else pd.Timestamp(now).tz_localize(None)
    today = moment.normalize()
    if interval != "1d":
        step = pd.DateOffset(weeks=1) if interval == "1wk" else pd.DateOffset(months=1)
        return frame.index + step <= today
    finished = frame.index < today
    try:
        session = metadata["currentTradingPeriod"]["regular"]["end"]
        closes = pd.Timestamp(session, unit="s", tz="UTC") if isinstance(session, (int, float)) else pd.Timestamp(session)
        if closes.tz_convert(moment.tz).date() == today.date() and closes + _DELAY <= moment:
            finished |= frame.index.normalize() == today
    except (KeyError, TypeError, ValueError):  # no session known: today's row does not count
        pass
    return finished


def _unfilled(frame: pd.DataFrame) -> pd.DataFrame:
    """NaN throughout on dates without any price: yfinance writes 0 for a null volume, and takes rows of zeros for missing.

    Beside prices a volume of 0 may be the exchange's own, and stays.
    """
    prices = frame.columns.intersection(["Open", "High", "Low", "Close", "Adj Close"])
    absent = (frame[prices].isna() | (frame[prices] == 0)).all(axis=1) & (frame["Volume"] == 0)
    return frame.assign(**{column: frame[column].astype("float64").mask(absent) for column in [*prices, "Volume"]})


def _described(security: Any) -> bool:
    """Whether Yahoo told of the ticker, just without prices; a server in trouble sends an error instead, as JSON too."""
    try:
        return "exchangeTimezoneName" in security.history_metadata
    except Exception:  # it asks Yahoo again where there was no answer at all
        return False


def _translated(error: Exception, security: Any, ticker: str, start: date | None, end: date | None) -> PriceError:
    """Our error for one that yfinance, or the HTTP library below it, raised."""
    from yfinance import exceptions as theirs

    status = getattr(getattr(error, "response", None), "status_code", None)
    cause = f"{type(error).__name__}: {error}"
    if isinstance(error, theirs.YFRateLimitError) or status == 429:
        return RateLimitError(f"Yahoo Finance refuses {ticker}: too many requests.")
    reason = str(getattr(error, "yahoo_reason", None) or "")
    if isinstance(error, theirs.YFTzMissingError) or status == 404 or "delisted" in reason or "No data found" in reason:
        doubt = "" if status == 404 or reason else " If the symbol is right, Yahoo may be in trouble: try again later."
        return UnknownTickerError(f"Yahoo Finance does not know {ticker} (any more): it may be misspelt or delisted; look the "
                                  f"symbol up at finance.yahoo.com (other exchanges have a suffix, as in SAP.DE).{doubt}")
    if isinstance(error, theirs.YFPricesMissingError) and ("Data doesn't exist" in f"{reason} {error}" or _described(security)):
        return EmptyPricesError(_empty(ticker, start, end, reason))
    if isinstance(error, OSError) and not isinstance(error, ValueError) and type(error).__name__ != "HTTPError":
        return OfflineError(f"Yahoo Finance cannot be reached for {ticker} ({cause}); check the connection, raise timeout=, "
                            "pass source= for another vendor, or download_if_missing=False for prices fetched earlier.")
    return SourceError(f"Yahoo Finance gave no usable answer for {ticker} ({cause}); try again later, bring yfinance up to "
                       "date, or pass source= for another vendor.")


def _empty(ticker: str, start: date | None, end: date | None, reason: str) -> str:
    said = f" ({reason})" if reason else ""
    return (f"{ticker} has no prices from {start or 'its first day'} to before {end or 'now'}{said}; choose another range "
            "(weekends and holidays have none), or check whether it is delisted.")
