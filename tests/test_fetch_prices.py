"""`fetch_prices` over the real yfinance, with Yahoo's answers played to it; no test touches the network."""

import datetime as dt
import gzip
import logging
import os
import pickle
import stat
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from curl_cffi.requests import exceptions as curl
from frames import NOT_FOUND, Response, Yahoo, chart, days, frame
from requests import exceptions as requests
from yfinance import exceptions as theirs

from tsrnn import datasets
from tsrnn.datasets import _cache, _fetch, fetch_prices, get_data_home, load_prices

COLUMNS = ["open", "high", "low", "close", "volume"]
JANUARY = {"start": "2024-01-01", "end": "2024-02-01"}
NOW = dt.datetime(2024, 3, 1, 12, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def data_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TSRNN_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Seconds that were slept."""
    slept = []
    monkeypatch.setattr(_fetch.time, "sleep", slept.append)
    return slept


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The time, a list of one datetime that a test may change."""
    moment = [NOW]
    monkeypatch.setattr(_fetch, "_now", lambda: moment[0])
    return moment


@pytest.fixture(autouse=True)
def yahoo(monkeypatch):
    played = Yahoo().install(monkeypatch)
    played.answers["AAPL"] = chart("AAPL", days(), dividends=["2024-01-12"])
    played.answers["SPY"] = chart("SPY", days(), kind="ETF")
    return played


def kept(home):
    """Names of all files below the data home."""
    return sorted(path.name for path in home.rglob("*") if path.is_file())


# ------------------------------------------------------------------------------------------------ the frames


@pytest.mark.parametrize("name, ticker, adjust", [("aapl", "AAPL", True), ("aapl_raw", "AAPL", False), ("spy", "SPY", True)])
def test_recorded_frames_are_what_yfinance_makes(name, ticker, adjust):
    import yfinance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made = yfinance.Ticker(ticker).history(start="2024-01-01", auto_adjust=adjust)
    pd.testing.assert_frame_equal(frame(name), made, check_index_type=False, check_freq=False)


@pytest.mark.parametrize("name, adjust", [("aapl", True), ("aapl_raw", False), ("spy", True)])
def test_one_ticker(name, adjust):
    prices = fetch_prices(name[:4].rstrip("_"), **JANUARY, adjust=adjust)
    assert list(prices.columns) == COLUMNS + ["adj_close"] * (not adjust)
    assert (prices.dtypes == "float64").all()
    assert isinstance(prices.index, pd.DatetimeIndex) and prices.index.name == "date" and prices.index.tz is None
    assert prices.index.dtype == load_prices().index.dtype
    assert [f"{day:%Y-%m-%d}" for day in prices.index] == days()
    recorded = frame(name)
    for column in prices.columns:
        assert np.array_equal(prices[column], recorded[column.title().replace("_", " ")]), column


def test_adjusted_prices_are_lower_before_a_dividend():
    adjusted, raw = fetch_prices("AAPL", **JANUARY), fetch_prices("AAPL", **JANUARY, adjust=False)
    assert (adjusted.close[:"2024-01-11"] < raw.close[:"2024-01-11"]).all()
    assert np.array_equal(adjusted.close, raw.adj_close) and adjusted.close.iloc[-1] == raw.close.iloc[-1]


def test_several_tickers_are_a_long_frame(yahoo):
    yahoo.answers["SPY"] = chart("SPY", days("2024-01-10"), kind="ETF")
    long = fetch_prices(["spy", "AAPL", "SPY"], **JANUARY)
    assert list(long.columns) == ["unique_id", "ds", *COLUMNS]
    assert long.unique_id.drop_duplicates().tolist() == ["SPY", "AAPL"] and len(long) == len(days("2024-01-10")) + len(days())
    one = fetch_prices("AAPL", **JANUARY)
    of_one = long[long.unique_id == "AAPL"].drop(columns="unique_id").set_index("ds")
    pd.testing.assert_frame_equal(of_one.rename_axis("date"), one)
    assert isinstance(long.index, pd.RangeIndex)


def test_local_dates_of_every_time_zone(yahoo):
    for ticker in ("SAP.DE", "7203.T", "BTC-USD"):
        yahoo.answers[ticker] = chart(ticker, days())
        assert [f"{day:%Y-%m-%d}" for day in fetch_prices(ticker, **JANUARY).index] == days(), ticker


def test_the_whole_history_without_start(yahoo):
    assert len(fetch_prices("AAPL")) == len(days())
    ticker, params = yahoo.asked[-1]
    assert params["period1"] < -2.2e9 and "range" not in params


def test_end_is_excluded(yahoo):
    prices = fetch_prices("AAPL", "2024-01-03", dt.date(2024, 1, 5))
    assert [f"{day:%Y-%m-%d}" for day in prices.index] == ["2024-01-03", "2024-01-04"]


@pytest.mark.parametrize("hour, rows", [(14, -1), (20, -1), (22, None)])
def test_the_bar_that_is_traded_now_is_left_out(clock, hour, rows):
    """The session of 2024-01-31 ends at 21 o'clock UTC."""
    clock[0] = dt.datetime(2024, 1, 31, hour, tzinfo=dt.UTC)
    assert [f"{day:%Y-%m-%d}" for day in fetch_prices("AAPL", "2024-01-01").index] == days()[:rows]


def test_todays_row_with_nothing_but_a_dividend_is_left_out(yahoo, clock):
    clock[0] = dt.datetime(2024, 1, 31, 14, tzinfo=dt.UTC)
    yahoo.answers["AAPL"] = chart("AAPL", days(), lacking=["2024-01-31"], dividends=["2024-01-31"])
    assert fetch_prices("AAPL", "2024-01-01").index[-1] == pd.Timestamp("2024-01-30")


def test_weeks_and_months_that_are_not_over_are_left_out(yahoo, clock):
    clock[0] = dt.datetime(2024, 1, 31, 22, tzinfo=dt.UTC)
    mondays = [f"{day:%Y-%m-%d}" for day in pd.date_range("2024-01-01", "2024-01-29", freq="W-MON")]
    yahoo.answers["AAPL"] = chart("AAPL", mondays)
    assert [f"{day:%Y-%m-%d}" for day in fetch_prices("AAPL", interval="1wk").index] == mondays[:-1]
    yahoo.answers["AAPL"] = chart("AAPL", ["2023-11-01", "2023-12-01", "2024-01-01"])
    assert len(fetch_prices("AAPL", interval="1mo")) == 2


def test_yfinance_is_quiet_and_left_as_it_was(caplog, yahoo):
    import yfinance

    del yahoo.answers["SPY"]
    filters, before = list(warnings.filters), list(logging.getLogger("yfinance").filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fetch_prices("AAPL", **JANUARY)
        with pytest.raises(datasets.UnknownTickerError):
            fetch_prices("SPY", **JANUARY)
    assert not [record for record in caplog.records if record.name.startswith("yfinance")]
    assert yfinance.config.debug.hide_exceptions is True
    assert warnings.filters == filters and logging.getLogger("yfinance").filters == before


def test_a_new_process_is_quiet_too(data_home):
    """yfinance sets warning filters of its own when it is imported."""
    code = ("import sys; sys.path.insert(0, sys.argv[1]); import pytest, frames\nfrom tsrnn.datasets import "
            "fetch_prices\nassert 'yfinance' not in sys.modules\nreal = __import__('tsrnn.datasets._yahoo', "
            "fromlist=['x']).download\ndef play(*a, **k):\n    import warnings\n    with warnings.catch_warnings():\n        "
            "played = frames.Yahoo().install(pytest.MonkeyPatch())\n    played.answers['AAPL'] = frames.chart('AAPL', "
            "frames.days())\n    return real(*a, **k)\nimport tsrnn.datasets._yahoo as module; module.download = play\n"
            "print(len(fetch_prices('AAPL', '2024-01-01', '2024-02-01')))")
    done = subprocess.run([sys.executable, "-W", "default", "-c", code, os.path.dirname(__file__)], capture_output=True,
                          text=True, env={**os.environ, "TSRNN_DATA_HOME": str(data_home)}, timeout=120)
    assert (done.stdout, done.stderr) == (f"{len(days())}\n", "")


# ------------------------------------------------------------------------------------------------ what goes wrong at Yahoo


NETWORK = [curl.DNSError("Could not resolve host", 6), curl.ConnectionError("Connection refused", 7),
           curl.ConnectTimeout("timed out", 28), curl.CertificateVerifyError("self signed", 60),
           requests.ConnectionError("no route"), requests.ReadTimeout("timed out"),
           TimeoutError("timed out"), ConnectionResetError("reset")]


@pytest.mark.parametrize("error", NETWORK, ids=lambda error: f"{type(error).__module__[:4]}-{type(error).__name__}")
def test_offline(yahoo, data_home, waits, error):
    yahoo.down = error
    with pytest.raises(datasets.OfflineError, match=r"cannot be reached for AAPL .*source=.*download_if_missing=False") as info:
        fetch_prices("AAPL", **JANUARY)
    assert type(error).__name__ in str(info.value) and info.value.__cause__ is not None
    assert not waits and not kept(data_home)


def test_the_deprecated_switch_would_call_an_offline_machine_delisted(yahoo):
    """Why `raise_errors` is not used."""
    import yfinance

    yahoo.down = curl.DNSError("Could not resolve host", 6)
    with pytest.warns(DeprecationWarning), pytest.raises(Exception) as info:
        for _ in range(3):  # twice yfinance asks for a description as well
            try:
                yfinance.Ticker("AAPL").history(start="2024-01-01", raise_errors=True)
            except curl.DNSError:
                continue
    assert isinstance(info.value, theirs.YFTzMissingError)


REFUSALS = {
    "unknown ticker": (None, datasets.UnknownTickerError, "does not know AAPL .*delisted"),
    "delisted": (NOT_FOUND, datasets.UnknownTickerError, r"does not know AAPL.*SAP\.DE\)\.$"),
    "no time zone": (theirs.YFTzMissingError("AAPL"), datasets.UnknownTickerError, "AAPL.*Yahoo may be in trouble"),
    "empty": (chart("AAPL", []), datasets.EmptyPricesError, "no prices from 2024-01-01 to before 2024-02-01.*another range"),
    "outside": ({"chart": {"result": None, "error": {"code": "Bad Request",
                                                     "description": "Data doesn't exist for startDate"}}},
                datasets.EmptyPricesError, "Data doesn't exist for startDate"),
    "period": (theirs.YFInvalidPeriodError("AAPL", "max", "1d, 5d"), datasets.SourceError, "YFInvalidPeriodError.*try again"),
    "down": (Response("*** Will be right back ***"), datasets.SourceError, "YAHOO! FINANCE IS CURRENTLY DOWN"),
    "not json": (Response("Edge: Too Many"), datasets.SourceError, "JSONDecodeError"),
    "all null": (chart("AAPL", days(), lacking=days()), datasets.EmptyPricesError, "22 dates from 2024-01-02 .*without one"),
    "no status": (Response({"status_code": 500}), datasets.SourceError, "status_code = 500.*try again later"),
    "500": (Response({"chart": {"result": None, "error": {"code": "Internal Server Error", "description": "Internal error"}}},
                     500), datasets.SourceError, "Internal error.*try again later"),
    "500 of finance": (Response({"finance": {"result": None, "error": {"code": "internal-error", "description": "Oops"}}}, 500),
                       datasets.SourceError, "no usable answer"),
    "500 and nothing": (Response({}, 500), datasets.SourceError, "no usable answer"),
    "503 in words": (Response("Service Unavailable", 503), datasets.SourceError, "JSONDecodeError"),
    "half an answer": ({"chart": {"result": [{"meta": {}, "indicators": {"quote": [{"open": []}]}}], "error": None}},
                       datasets.SourceError, "KeyError"),
    "http": (curl.HTTPError("HTTP Error 401: Unauthorized", 0, Response("", 401)), datasets.SourceError, "401"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_fail_at_once_and_leave_nothing(yahoo, data_home, waits, case):
    answer, error, text = REFUSALS[case]
    yahoo.answers["AAPL"] = answer
    if answer is None:
        del yahoo.answers["AAPL"]
    with pytest.raises(error, match=text):
        fetch_prices("AAPL", **JANUARY)
    assert not waits and not kept(data_home) and len(yahoo.asked) <= 1


def test_an_unknown_ticker_is_told_in_both_of_its_forms(yahoo, monkeypatch):
    """yfinance asks for a description twice a process (HTTP error 404), and then not again (no time zone)."""
    for _ in range(4):
        with pytest.raises(datasets.UnknownTickerError):
            fetch_prices("NOPE", **JANUARY)


def test_rate_limit_is_waited_for(yahoo, waits, caplog):
    answers = iter([Response("Too Many Requests", 429)] * 2 + [chart("AAPL", days())])
    yahoo.answers["AAPL"] = lambda params: next(answers)
    with caplog.at_level(logging.WARNING, "tsrnn"):
        assert len(fetch_prices("AAPL", **JANUARY)) == len(days())
    assert len(waits) == 2 and 1 <= waits[0] <= 3 and 2 <= waits[1] <= 6
    assert caplog.text.count("rate is limited") == 2


def test_rate_limit_without_end(yahoo, waits, data_home):
    import random

    state = random.getstate()
    yahoo.answers["AAPL"] = Response("Too Many Requests", 429)
    with pytest.raises(datasets.RateLimitError, match=r"too many requests\. asked 8 times; wait some minutes.*retries=7"):
        fetch_prices("AAPL", **JANUARY, retries=7)
    assert len(waits) == 7 and max(waits) <= 90 and len(set(waits)) == 7 and not kept(data_home)
    assert random.getstate() == state
    with pytest.raises(datasets.RateLimitError, match="asked once"):
        fetch_prices("AAPL", **JANUARY, retries=0)


def test_rate_limit_at_the_request_for_the_time_zone(yahoo, waits):
    yahoo.down = theirs.YFRateLimitError()
    with pytest.raises(datasets.RateLimitError):
        fetch_prices("AAPL", **JANUARY, retries=1)
    assert len(waits) == 1


def half(answer, column, dates):
    """Nulls in one column."""
    result = answer["chart"]["result"][0]
    for i, day in enumerate(days()):
        if dates is None or day in dates:
            result["indicators"]["quote"][0][column][i] = None
    return answer


@pytest.mark.parametrize("answer, text", [
    (half(chart("AAPL", days()), "open", ["2024-01-04", "2024-01-09"]), "lacks open on 2024-01-04, 2024-01-09"),
    (half(chart("AAPL", days()), "high", None), "lacks high on all 22 dates"),
    (half(chart("AAPL", days()), "low", days()[:9]), r"low on .*2024-01-08 and 4 more"),
    (chart("AAPL", days(), lacking=["2024-01-31"], dividends=["2024-01-31"]), "lacks every value on 2024-01-31"),
    (chart("AAPL", days(), lacking=["2024-01-04", "2024-01-09"]), "lacks every value on 2024-01-04, 2024-01-09"),
    (half(chart("AAPL", days(), lacking=["2024-01-04"]), "open", ["2024-01-09"]),
     "lacks every value on 2024-01-04; open on 2024-01-09"),
    (half(chart("AAPL", days(), lacking=["2024-01-04"]), "open", None), "2024-01-04; open on all 21 other dates"),
])
def test_half_filled(yahoo, data_home, answer, text):
    yahoo.answers["AAPL"] = answer
    with pytest.raises(datasets.HalfFilledError, match=rf"AAPL is half-filled: .*{text}.*missing=\"keep\""):
        fetch_prices("AAPL", **JANUARY)
    assert not kept(data_home)
    prices = fetch_prices("AAPL", **JANUARY, missing="keep")
    assert prices.isna().any(axis=None) and len(prices) == len(days())


@pytest.mark.parametrize("adjust", [True, False])
def test_a_day_of_nulls_is_a_row_of_nan(yahoo, adjust):
    yahoo.answers["AAPL"] = chart("AAPL", days(), lacking=["2024-01-04", "2024-01-31"], dividends=["2024-01-12"])
    expected = fetch_prices("AAPL", **JANUARY, source=lambda *a, **k: frame("aapl" if adjust else "aapl_raw"), adjust=adjust)
    expected.loc[["2024-01-04", "2024-01-31"]] = np.nan
    for _ in range(2):  # fetched, and from disk
        prices = fetch_prices("AAPL", **JANUARY, adjust=adjust, missing="keep")
        pd.testing.assert_frame_equal(prices, expected, check_exact=True, check_freq=False)
    assert len(yahoo.asked) == 1
    with pytest.raises(datasets.HalfFilledError, match=r"lacks every value on 2024-01-04, 2024-01-31\."):
        fetch_prices("AAPL", **JANUARY, adjust=adjust)


def test_rows_of_zeros_are_missing_too(yahoo):
    answer = yahoo.answers["AAPL"]["chart"]["result"][0]["indicators"]
    for values in (*answer["quote"][0].values(), answer["adjclose"][0]["adjclose"]):
        values[2] = 0
    with pytest.raises(datasets.HalfFilledError, match="every value on 2024-01-04"):
        fetch_prices("AAPL", **JANUARY)


def test_weeks_of_nulls(yahoo):
    yahoo.answers["AAPL"] = chart("AAPL", ["2024-01-01", "2024-01-08", "2024-01-15"], lacking=["2024-01-08"])
    with pytest.raises(datasets.HalfFilledError, match="every value on 2024-01-08"):
        fetch_prices("AAPL", **JANUARY, interval="1wk")


def test_a_null_volume_beside_prices_is_yfinances_zero(yahoo):
    """As the docstring says: it looks like a day without trade."""
    yahoo.answers["AAPL"] = half(chart("AAPL", days()), "volume", ["2024-01-04"])
    prices = fetch_prices("AAPL", **JANUARY)
    assert prices.volume["2024-01-04"] == 0 and prices.volume.ne(0).sum() == 21


def test_a_half_filled_snapshot_serves_only_those_who_keep_gaps(yahoo, data_home):
    yahoo.answers["AAPL"] = half(chart("AAPL", days()), "open", ["2024-01-04"])
    fetch_prices("AAPL", **JANUARY, missing="keep")
    with pytest.raises(datasets.HalfFilledError):
        fetch_prices("AAPL", **JANUARY, download_if_missing=False)
    assert len(fetch_prices("AAPL", "2024-01-05", "2024-02-01", download_if_missing=False)) == 19  # no gap in this part
    with pytest.raises(datasets.HalfFilledError):
        fetch_prices("AAPL", **JANUARY)
    yahoo.answers["AAPL"] = chart("AAPL", days())
    assert fetch_prices("AAPL", **JANUARY).notna().all(axis=None)


# ------------------------------------------------------------------------------------------------ several, of which some fail


def test_some_fail(yahoo, data_home):
    yahoo.answers["HALF"] = half(chart("HALF", days()), "open", ["2024-01-04"])
    with pytest.raises(datasets.FetchError, match="2 of 4 tickers failed .*kept on disk") as info:
        fetch_prices(["AAPL", "NOPE", "HALF", "SPY"], **JANUARY)
    assert {ticker: type(error) for ticker, error in info.value.errors.items()} == {
        "NOPE": datasets.UnknownTickerError, "HALF": datasets.HalfFilledError}
    assert "\n  NOPE: UnknownTickerError: " in str(info.value) and "\n  HALF: HalfFilledError: " in str(info.value)
    assert [name[:-7].rpartition("-")[2] for name in kept(data_home)] == ["AAPL", "SPY"]
    copy = pickle.loads(pickle.dumps(info.value))
    assert str(copy) == str(info.value) and set(copy.errors) == {"NOPE", "HALF"}
    with pytest.warns(UserWarning, match="2 of 4 tickers are left out") as record:
        long = fetch_prices(["AAPL", "NOPE", "HALF", "SPY"], **JANUARY, errors="warn")
    assert long.unique_id.unique().tolist() == ["AAPL", "SPY"] and record[0].filename == __file__


def test_all_fail():
    with pytest.raises(datasets.FetchError, match="1 of 1 tickers failed:"):
        fetch_prices(["NOPE"], errors="warn")


@pytest.mark.parametrize("trouble", [curl.DNSError("Could not resolve host", 6), theirs.YFRateLimitError()],
                         ids=["offline", "limit"])
def test_the_vendor_is_not_asked_any_more_but_the_disk_is(yahoo, waits, trouble):
    fetch_prices("SPY", **JANUARY)
    yahoo.down = trouble
    with pytest.raises(datasets.FetchError) as info:
        fetch_prices(["AAPL", "SPY", "MSFT"], **JANUARY, retries=2)
    assert list(info.value.errors) == ["AAPL", "MSFT"] and "not asked for any more" in str(info.value.errors["MSFT"])
    assert type(info.value.errors["AAPL"]) is type(info.value.errors["MSFT"]) and len(waits) in (0, 2)


# ------------------------------------------------------------------------------------------------ the disk


def test_a_snapshot_serves_without_a_request(yahoo):
    first = fetch_prices("AAPL", **JANUARY)
    yahoo.down = AssertionError("the network was used")
    for options in ({}, {"download_if_missing": False}):
        pd.testing.assert_frame_equal(fetch_prices("aapl", **JANUARY, **options), first, check_exact=True, check_freq=False)
    inner = fetch_prices("AAPL", "2024-01-10", "2024-01-12")
    pd.testing.assert_frame_equal(inner, first["2024-01-10":"2024-01-11"], check_exact=True)
    with pytest.raises(datasets.EmptyPricesError, match="weekends"):
        fetch_prices("AAPL", "2024-01-06", "2024-01-08")


def test_odd_numbers_survive_the_disk_exactly(yahoo):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.standard_normal((5, 5)) * 10.0 ** rng.integers(-300, 300, (5, 5)), columns=COLUMNS,
                         index=pd.to_datetime(days()[:5]))
    table.iloc[2, 1] = np.nan
    first = fetch_prices("X", source=lambda *a, **k: table, source_name="mine", missing="keep")
    again = fetch_prices("X", source=lambda *a, **k: 1 / 0, source_name="mine", missing="keep")
    pd.testing.assert_frame_equal(again, first, check_exact=True)
    assert np.array_equal(first.to_numpy(), table.to_numpy(), equal_nan=True)


def test_age_matters_where_the_range_is_open(yahoo, clock):
    fetch_prices("AAPL", "2024-01-01")
    clock[0] = NOW + dt.timedelta(hours=23)
    fetch_prices("AAPL", "2024-01-01")
    assert len(yahoo.asked) == 1
    clock[0] = NOW + dt.timedelta(hours=25)
    fetch_prices("AAPL", "2024-01-01", max_age=None)
    fetch_prices("AAPL", "2024-01-01", "2024-02-01")  # was over when it was fetched
    fetch_prices("AAPL", "2024-01-01", download_if_missing=False)
    assert len(yahoo.asked) == 1
    fetch_prices("AAPL", "2024-01-01")
    assert len(yahoo.asked) == 2
    clock[0] += dt.timedelta(minutes=1)
    fetch_prices("AAPL", "2024-01-01", max_age=dt.timedelta(0))
    fetch_prices("AAPL", "2024-01-01", refresh=True)
    clock[0] -= dt.timedelta(hours=1)  # the clock was set back: a snapshot from the future is none
    fetch_prices("AAPL", "2024-01-01")
    assert len(yahoo.asked) == 5


def test_a_day_that_was_not_over_is_asked_for_again(yahoo, clock):
    clock[0] = dt.datetime(2024, 1, 31, 14, tzinfo=dt.UTC)
    assert fetch_prices("AAPL", **JANUARY).index[-1] == pd.Timestamp("2024-01-30")
    clock[0] = dt.datetime(2024, 2, 5, 14, tzinfo=dt.UTC)
    assert fetch_prices("AAPL", **JANUARY).index[-1] == pd.Timestamp("2024-01-31")


def test_a_wider_range_is_fetched_whole_and_nothing_is_lost(yahoo):
    fetch_prices("AAPL", "2024-01-10", "2024-01-20")
    fetch_prices("AAPL", "2024-01-02", "2024-01-05")
    assert len(yahoo.asked) == 2
    assert len(fetch_prices("AAPL", "2024-01-02", "2024-01-20")) == 14
    assert len(yahoo.asked) == 2
    fetch_prices("AAPL", "2024-01-22", "2024-01-24")
    assert len(fetch_prices("AAPL", "2024-01-02", "2024-01-24")) == 16
    assert len(yahoo.asked) == 3
    with pytest.raises(datasets.NotCachedError, match="kept run from 2024-01-02 to before 2024-01-24"):
        fetch_prices("AAPL", "2024-01-02", "2024-01-25", download_if_missing=False)


def test_adjusted_prices_are_replaced_as_a_whole(yahoo):
    before = fetch_prices("AAPL", "2024-01-02", "2024-01-10")
    yahoo.answers["AAPL"] = chart("AAPL", days(), dividends=["2024-01-30"])
    after = fetch_prices("AAPL", "2024-01-02", "2024-02-01")
    assert (after.close[:"2024-01-29"] < [100.0 + i for i in range(20)]).all() and len(after) == 22
    again = fetch_prices("AAPL", "2024-01-02", "2024-01-10")
    assert np.array_equal(again.close, after.close[: len(before)])


def test_kinds_have_files_of_their_own(data_home):
    fetch_prices("AAPL", **JANUARY)
    fetch_prices("AAPL", **JANUARY, adjust=False)
    fetch_prices("AAPL", "2023-12-01", "2024-02-01", interval="1wk")
    assert kept(data_home) == ["yahoo-1d-adjusted-AAPL.csv.gz", "yahoo-1d-raw-AAPL.csv.gz", "yahoo-1wk-adjusted-AAPL.csv.gz"]


def test_nothing_on_disk():
    with pytest.raises(datasets.NotCachedError, match="none are kept .*allow the download"):
        fetch_prices("AAPL", download_if_missing=False)


def damages(content):
    """Ways in which a file can be broken."""
    flipped = gzip.decompress(content).replace(b"2024-01-03", b"2024-01-04")
    yield from (b"", b"garbage", content[: len(content) // 2], content[:-9], gzip.compress(b""), gzip.compress(b"{}\n"),
                gzip.compress(b"[1]\n"), gzip.compress(flipped), pickle.dumps({"a": 1}),
                gzip.compress(gzip.decompress(content).replace(b'"AAPL"', b'"MSFT"')),
                gzip.compress(gzip.decompress(content).replace(b'"format": 1', b'"format": 2')))


def test_a_damaged_file_is_fetched_anew(yahoo, data_home, caplog):
    first = fetch_prices("AAPL", **JANUARY)
    path = data_home / "prices" / kept(data_home)[0]
    for number, damage in enumerate(damages(path.read_bytes())):
        path.write_bytes(damage)
        with pytest.raises(datasets.NotCachedError, match="cannot be used"):
            fetch_prices("AAPL", **JANUARY, download_if_missing=False)
        caplog.clear()
        pd.testing.assert_frame_equal(fetch_prices("AAPL", **JANUARY), first)
        assert [record.name for record in caplog.records] == ["tsrnn"] and "fetched anew" in caplog.text, number
        pd.testing.assert_frame_equal(fetch_prices("AAPL", **JANUARY, download_if_missing=False), first, check_freq=False)
    assert number == 10


def test_a_failed_refresh_leaves_the_old_snapshot(yahoo, data_home):
    first = fetch_prices("AAPL", **JANUARY)
    for trouble in (curl.DNSError("Could not resolve host", 6), chart("AAPL", []), half(chart("AAPL", days()), "low", None)):
        yahoo.answers["AAPL"] = trouble
        with pytest.raises(datasets.PriceError):
            fetch_prices("AAPL", **JANUARY, refresh=True)
        pd.testing.assert_frame_equal(fetch_prices("AAPL", **JANUARY), first, check_freq=False)
    assert len(kept(data_home)) == 1


def test_a_write_that_fails_costs_nothing(yahoo, data_home, monkeypatch, caplog):
    def full(*args):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(_cache.os, "replace", full)
    assert len(fetch_prices("AAPL", **JANUARY)) == len(days())
    assert "not kept on disk: [Errno 28]" in caplog.text and not kept(data_home)
    data_home.joinpath("file").write_text("")
    assert len(fetch_prices("AAPL", **JANUARY, data_home=data_home / "file")) == len(days())  # no folder can be there


def test_an_interrupted_write_leaves_nothing(data_home, monkeypatch):
    monkeypatch.setattr(_cache.os, "replace", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        fetch_prices("AAPL", **JANUARY)
    assert not kept(data_home)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_file_mode_is_the_umasks(data_home):
    before = os.umask(0o022)
    try:
        fetch_prices("AAPL", **JANUARY)
    finally:
        os.umask(before)
    assert stat.S_IMODE((data_home / "prices" / kept(data_home)[0]).stat().st_mode) == 0o644


def test_processes_write_the_same_file_at_once(data_home):
    code = """
import sys, warnings, datetime as dt, numpy as np, pandas as pd
from tsrnn.datasets import fetch_prices
size = int(sys.argv[1])
index = pd.bdate_range("2000-01-03", periods=3000)
table = pd.DataFrame(np.full((3000, 5), float(size)), index, ["open", "high", "low", "close", "volume"])
for _ in range(12):
    fetch_prices("X", source=lambda *a, **k: table, source_name="mine", refresh=True)
    seen = fetch_prices("X", source=None or (lambda *a, **k: 1 / 0), source_name="mine", download_if_missing=False)
    assert len(seen) == 3000 and seen.nunique().eq(1).all() and seen.close.iloc[0] in (1.0, 2.0)
"""
    started = [subprocess.Popen([sys.executable, "-c", code, str(i + 1)], stderr=subprocess.PIPE, text=True,
                                env={**os.environ, "TSRNN_DATA_HOME": str(data_home)}) for i in range(2)]
    for process in started:
        assert process.communicate(timeout=120)[1] == "" and process.returncode == 0
    assert kept(data_home) == ["mine-1d-adjusted-X.csv.gz"]


def test_data_home(monkeypatch, tmp_path):
    assert get_data_home() == str(tmp_path / "home") and (tmp_path / "home").is_dir()
    assert get_data_home(tmp_path / "other") == str(tmp_path / "other")
    monkeypatch.delenv("TSRNN_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert get_data_home() == str(tmp_path / "tsrnn_data")
    fetch_prices("AAPL", **JANUARY, data_home="~/elsewhere")
    assert kept(tmp_path / "elsewhere")


# ------------------------------------------------------------------------------------------------ other vendors


def test_source(yahoo, data_home):
    calls = []

    def vendor(ticker, start, end, interval):
        calls.append((ticker, start, end, interval))
        return frame("aapl").iloc[::-1]
    prices = fetch_prices("xyz", "2024-01-03", "2024-01-10", source=vendor)
    assert calls == [("XYZ", dt.date(2024, 1, 3), dt.date(2024, 1, 10), "1d")] and not yahoo.asked and not kept(data_home)
    pd.testing.assert_frame_equal(prices, fetch_prices("AAPL", "2024-01-03", "2024-01-10"), check_freq=False)
    for _ in range(2):
        fetch_prices("xyz", "2024-01-03", "2024-01-10", source=vendor, source_name="my_vendor")
    assert len(calls) == 2 and "my_vendor-1d-adjusted-XYZ.csv.gz" in kept(data_home)


def broken(change):
    table = frame("aapl")
    return lambda *args, **kwargs: change(table)


@pytest.mark.parametrize("change, error, text", [
    (lambda t: None, "SourceError", "gave NoneType"),
    (lambda t: t.iloc[:0], "EmptyPricesError", "no prices"),
    (lambda t: t.reset_index(), "SourceError", "DatetimeIndex"),
    (lambda t: t.drop(columns=["Open", "Volume"]), "SourceError", "lacks open, volume"),
    (lambda t: t.assign(close=1.0), "SourceError", "two columns of one name"),
    (lambda t: pd.concat([t, t.iloc[3:4]]), "SourceError", "several rows for 2024-01-05"),
    (lambda t: t.set_axis(t.index.where(t.index.day != 4)), "SourceError", "complete"),
    (lambda t: t.assign(Open="n/a"), "SourceError", "no numbers"),
    (lambda t: t.assign(High=t.High.where(t.index.day != 4, np.inf)), "SourceError", "infinite values on 2024-01-04"),
    (lambda t: t.assign(Low=np.nan), "HalfFilledError", "low on all 22 dates"),
    (lambda t: pd.concat({"XYZ": t}, axis=1), "SourceError", "lacks open"),
    (lambda t: t.nothing, "SourceError", r"the source failed \(AttributeError"),
])
def test_a_source_is_checked(data_home, change, error, text):
    with pytest.raises(getattr(datasets, error), match=text):
        fetch_prices("XYZ", source=broken(change), source_name="mine")
    assert not kept(data_home)


def test_a_source_may_say_that_the_rate_is_limited(waits):
    def vendor(*args, **kwargs):
        if len(waits) < 2:
            raise datasets.RateLimitError("slowly.")
        return frame("aapl")
    assert len(fetch_prices("X", source=vendor)) == 22 and len(waits) == 2


# ------------------------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize("ticker", ["AAPL", "brk-b", "^GSPC", "EURUSD=X", "CON.DE", "M&M.NS", "BTC-USD", "0P00_X", "A" * 32])
def test_good_tickers(yahoo, data_home, ticker):
    yahoo.answers[ticker.upper()] = chart(ticker, days())
    fetch_prices(ticker, **JANUARY)
    (name,) = kept(data_home)
    assert name == f"yahoo-1d-adjusted-{ticker.upper()}.csv.gz" and (data_home / "prices" / name).is_file()


@pytest.mark.parametrize("ticker", ["", " ", "A A", "../A", "A/B", "A\\B", "a..b", ".A", "-A", "A\n", "A\0", "C:A", "A*", "ſ",
                                    "Ａ", "٣", "$A", "A" * 33, "~"])
def test_bad_tickers(yahoo, data_home, ticker):
    for tickers in (ticker, ["AAPL", ticker]):
        with pytest.raises(ValueError, match="is no symbol: it has"):
            fetch_prices(tickers)
    assert not yahoo.asked and not data_home.exists()


@pytest.mark.parametrize("start", [
    "2024-01-10", "2024-01-10 15:30", "2024-01-10T15:30:00+01:00", dt.date(2024, 1, 10), dt.datetime(2024, 1, 10, 15),
    pd.Timestamp("2024-01-10"), np.datetime64("2024-01-10"), np.datetime64("2024-01-10T15:30", "ns"),
], ids=repr)
def test_good_dates(start):
    prices = fetch_prices("AAPL", start, np.datetime64("2024-01-12"))
    assert [f"{day:%Y-%m-%d}" for day in prices.index] == ["2024-01-10", "2024-01-11"]


@pytest.mark.parametrize("value", [
    "5/1/2024", "01.05.2024", "2024/05/01", "1 May 2024", "May 2024", "20240501", "2024-5-1", "2024-05", "2024", "2024-W05-1",
    "2024-02-30", "2024-05-01 soon", "2024-05-01T", " 2024-05-01", "2024-05-01\n", "now", "", "٢٠٢٤-٠٥-٠١", np.nan, True, [],
    np.datetime64("NaT"), np.datetime64("30000-01-01"), pd.NaT,
], ids=repr)
@pytest.mark.parametrize("name", ["start", "end"])
def test_bad_dates(yahoo, name, value):
    with pytest.raises(ValueError, match=rf"^{name}=.* must be a date written YYYY-MM-DD, such as") as info:
        fetch_prices("AAPL", **{name: value})
    assert repr(value) in str(info.value) and not yahoo.asked


@pytest.mark.parametrize("arguments, error, text", [
    ({"tickers": []}, ValueError, "tickers is empty"),
    ({"tickers": [1]}, TypeError, "ticker 1 is int"),
    ({"tickers": np.nan}, TypeError, "tickers=nan is float; give a symbol"),
    ({"tickers": None}, TypeError, "tickers=None is NoneType; give a symbol"),
    ({"tickers": ["AAPL", np.nan]}, TypeError, "ticker nan is float"),
    ({"interval": "1h"}, ValueError, "interval='1h' must be one of '1d', '1wk', '1mo'"),
    ({"missing": "fill"}, ValueError, "missing='fill' must be one of"),
    ({"errors": "ignore"}, ValueError, "errors='ignore' must be one of"),
    ({"start": 20240101}, ValueError, "start=20240101 must be a date"),
    ({"start": "2024-02-01", "end": "2024-02-01"}, ValueError, "must lie before end=2024-02-01"),
    ({"start": "2024-03-05"}, ValueError, "lies in the future"),
    ({"max_age": 1}, ValueError, "max_age=1 must be a time span"),
    ({"max_age": "-1D"}, ValueError, "negative"),
    ({"max_age": "old"}, ValueError, "max_age='old'"),
    ({"retries": -1}, ValueError, "retries=-1"),
    ({"retries": True}, ValueError, "retries=True"),
    *[({"timeout": value}, ValueError, f"timeout={value!r} must be a positive number of seconds")
      for value in (0, "3", None, True, np.nan, np.inf, 1j)],
    ({"refresh": True, "download_if_missing": False}, ValueError, "set one of them only"),
    ({"source": "stooq"}, TypeError, "must be callable"),
    ({"source_name": "x"}, ValueError, "pass source= as well"),
    ({"source": print, "source_name": "yahoo"}, ValueError, "not be 'yahoo'"),
    ({"source": print, "source_name": "../x"}, ValueError, "lower-case letters"),
])
def test_bad_arguments(yahoo, arguments, error, text):
    with pytest.raises(error, match=text):
        fetch_prices(**{"tickers": "AAPL", **arguments})
    assert not yahoo.asked
