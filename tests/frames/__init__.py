"""What Yahoo answers and what yfinance makes of it, for tests without a network.

`chart` is an answer of Yahoo's chart service; `Yahoo` plays it to the installed yfinance, request by request, so that
yfinance's own code makes frames and errors. `frame` reads a recorded result of `Ticker.history`.
"""

import datetime as dt
import io
import json
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd

FOLDER = Path(__file__).parent
ZONES = {"AAPL": "America/New_York", "SPY": "America/New_York", "SAP.DE": "Europe/Berlin", "7203.T": "Asia/Tokyo",
         "BTC-USD": "UTC"}
NOT_FOUND = {"chart": {"result": None, "error": {"code": "Not Found", "description": "No data found, symbol may be delisted"}}}


def frame(name):
    """A recorded result of `Ticker.history`: aapl (adjusted), aapl_raw (auto_adjust=False) or spy (a fund)."""
    text = (FOLDER / f"{name}.csv").read_text(encoding="utf-8")
    table = pd.read_csv(io.StringIO(text), index_col="Date")
    table.index = pd.to_datetime(table.index, utc=True).tz_convert("America/New_York")
    return table


def days(first="2024-01-02", last="2024-01-31"):
    """Weekdays as text."""
    return [f"{day:%Y-%m-%d}" for day in pd.bdate_range(first, last)]


def chart(ticker, dates, *, lacking=(), dividends=(), kind="EQUITY", session=None, close=100.0):
    """Yahoo's answer: a bar a date at the exchange's opening, nulls on the dates in `lacking`.

    `session` is the date of the current trading period (the last of the dates without one).
    """
    zone = ZoneInfo(ZONES.get(ticker, "America/New_York"))

    def stamp(day, hour, minute=0):
        return int(dt.datetime.combine(dt.date.fromisoformat(day), dt.time(hour, minute), zone).timestamp())

    def bars(shift):
        return [None if day in lacking else round(close + i + shift, 2) for i, day in enumerate(dates)]
    session = session or (dates[-1] if dates else "2024-01-31")
    period = {"timezone": "EST", "gmtoffset": -18000, "start": stamp(session, 9, 30), "end": stamp(session, 16)}
    meta = {
        "currency": "USD", "symbol": ticker, "exchangeName": "NMS", "instrumentType": kind, "firstTradeDate": 345479400,
        "regularMarketTime": stamp(session, 16), "gmtoffset": -18000, "timezone": "EST", "exchangeTimezoneName": zone.key,
        "priceHint": 2, "currentTradingPeriod": {"pre": dict(period), "regular": dict(period), "post": dict(period)},
        "dataGranularity": "1d", "range": "", "validRanges": ["1d", "5d", "1mo", "max"],
    }
    quote = {"open": bars(-0.5), "high": bars(2.0), "low": bars(-2.0), "close": bars(0.0),
             "volume": [None if day in lacking else 1000 * (i + 1) for i, day in enumerate(dates)]}
    result = {"meta": meta, "indicators": {"quote": [quote if dates else {}], "adjclose": [{"adjclose": bars(0.0)}]}}
    if dates:
        result["timestamp"] = [stamp(day, 9, 30) for day in dates]
    if dividends:
        paid = {str(stamp(day, 9, 30)): {"amount": 0.24, "date": stamp(day, 9, 30)} for day in dividends}
        result["events"] = {"dividends": paid}
        first = max(i for i, day in enumerate(dates) if day in dividends)  # prices before it are lowered
        lowered = [value if value is None or i >= first else round(value * 0.99, 6) for i, value in enumerate(bars(0.0))]
        result["indicators"]["adjclose"] = [{"adjclose": lowered}]
    return {"chart": {"result": [result], "error": None}}


class Response:
    """As much of an HTTP response as yfinance looks at."""

    def __init__(self, content, status=200):
        self.text = content if isinstance(content, str) else json.dumps(content)
        self.status_code, self.url = status, "https://query2.finance.yahoo.com/v8/finance/chart/X"

    def json(self):
        from curl_cffi.requests.exceptions import JSONDecodeError

        try:
            return json.loads(self.text)
        except json.JSONDecodeError as error:
            raise JSONDecodeError(error.msg, error.doc, error.pos) from error

    def raise_for_status(self):
        from curl_cffi.requests.exceptions import HTTPError

        if self.status_code >= 400:
            raise HTTPError(f"HTTP Error {self.status_code}: ", 0, self)


class Yahoo:
    """Stands for the session that yfinance's requests go through.

    Attributes
    ----------
    answers : dict of str to object
        By ticker: what the request for prices gives (a dict, a text, a Response, an exception, or a function of the request's
        parameters that returns one); tickers that are absent are unknown to Yahoo.
    asked : list of (str, dict)
        Requests for prices so far: ticker and parameters.
    down : Exception or None
        Raised by every request.
    """

    def __init__(self):
        self.answers, self.asked, self.down = {}, [], None

    def get(self, url, params=None, timeout=None, **kwargs):
        """A request: for the cookie, the crumb, a ticker's time zone, its description, or its prices."""
        if self.down is not None:
            raise self.down
        if "chart/" not in url:
            return Response("crumb") if "crumb" in url else Response({}, 404) if "quote" in url else Response("")
        ticker = url.rpartition("/")[2]
        if ticker not in self.answers:
            return Response(NOT_FOUND, 404)
        if params.get("range") == "1d":  # the time zone
            return Response(chart(ticker, []))
        self.asked.append((ticker, dict(params)))
        answer = self.answers[ticker]
        answer = answer(params) if callable(answer) else answer
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, Response) else Response(answer)

    def install(self, monkeypatch):
        """All requests of yfinance come here; what it remembers of earlier ones is forgotten."""
        from yfinance import base, cache, data

        monkeypatch.setattr(data.YfData, "_make_request", self._request)
        data.YfData.cache_get.cache_clear()
        monkeypatch.setattr(cache, "get_tz_cache", cache._TzCacheDummy)
        monkeypatch.setattr(base, "_tz_info_fetch_ctr", 0)
        return self

    def _request(self, url, request_method=None, params=None, timeout=None, **kwargs):
        """In place of `YfData._make_request`, whose last lines these are."""
        from yfinance.exceptions import YFRateLimitError

        response = self.get(url, params, timeout)
        if response.status_code == 429:
            raise YFRateLimitError()
        return response
