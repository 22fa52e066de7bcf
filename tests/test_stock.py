"""`StockForecaster`: prices in any form, sessions to come, and nothing of the future in any feature."""

import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pandas.tseries.holiday import USFederalHolidayCalendar
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit

from tsrnn import GRURegressor, PanelTimeSeriesSplit, StockForecaster, WindowForecaster
from tsrnn.data.indicators import indicator_table
from tsrnn.data.sessions import Sessions, sessions, usual_sessions
from tsrnn.data.stocks import OHLCV, feature_matrix, tidy_name

FEATURES = ["open", "high", "low", "volume", "rsi_7", "volatility_5"]
DAYS = pd.bdate_range("2022-01-03", periods=1000)


def make(rows=200, seed=0, start=0, tz=None):
    """Prices of a made-up stock."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(0.02 * rng.normal(size=rows).cumsum())
    start_of_day = close * np.exp(0.005 * rng.normal(size=rows))
    high, low = (f(close, start_of_day) * np.exp(s * 0.004 * rng.random(rows)) for f, s in ((np.maximum, 1), (np.minimum, -1)))
    volume = rng.integers(1_000, 9_000, rows).astype(float)
    index = DAYS[start:start + rows].tz_localize(tz).rename("date")
    return pd.DataFrame({"open": start_of_day, "high": high, "low": low, "close": close, "volume": volume}, index)


def below(frames, date="ds", name="unique_id"):
    """A long frame."""
    return pd.concat(frames, names=[name, date]).reset_index()


def ridge(**parameters):
    return StockForecaster(**({"regressor": Ridge(100.0), "window": 10, "horizon": 2, "features": FEATURES} | parameters))


def net(**parameters):
    return GRURegressor(**({"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0, "batch_size": 64} | parameters))


@pytest.fixture(scope="module")
def frame():
    return make()


@pytest.fixture(scope="module")
def three():
    """Stocks of unequal length and start."""
    return {"A": make(), "B": make(150, 1, start=50), "C": make(120, 2, start=20)}


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Stochastic Optimizer")
        warnings.filterwarnings("ignore", "skill_=")
        yield


# ---------------------------------------------------------------------------------------------------- what comes in

@pytest.mark.parametrize("name, tidy", [
    ("Close", "close"), (" Adj Close", "adj_close"), ("Volume(share)", "volume"), ("Turnover(RMB)", "turnover"),
    ("Ups and downs", "ups_and_downs"), ("Change(%)", "change"), ("change %", "change"), ("Opening price", "open"),
    ("Highest price", "high"), ("4. close", "close"), ("Close/Last", "close"), ("Vol.", "volume"), ("RSI_14", "rsi_14"),
])
def test_names_of_columns(name, tidy):
    assert tidy_name(name) == tidy


def test_one_frame_however_it_is_spelt(frame):
    expected = ridge().fit(frame).predict(level=80)
    assert list(expected.index) == list(pd.bdate_range(frame.index[-1], periods=3)[1:])
    yahoo = frame.rename(columns=str.capitalize).assign(**{"Adj Close": 1.0, "Dividends": 0.0, "Comment": "text"})
    csv = frame.reset_index().assign(date=lambda table: table["date"].dt.strftime("%Y-%m-%d"))
    text_index = csv.set_index("date")
    nullable = frame.convert_dtypes()
    for prices in (yahoo, yahoo[yahoo.columns[::-1]], csv, csv.rename(columns={"date": "Date"}), text_index, nullable,
                   frame.astype({"volume": "int64"})):
        pd.testing.assert_frame_equal(ridge().fit(prices).predict(level=80), expected, check_names=False)
    assert ridge().fit(frame).predict().name == "close"


def test_many_stocks_however_they_are_put_together(three):
    expected = ridge().fit(three).predict()
    assert list(expected.columns) == ["unique_id", "ds", "Ridge"] and expected["unique_id"].tolist() == list("AABBCC")
    long = below(three)
    capitals = long.rename(columns={"unique_id": "Name", "ds": "Date", "close": "CLOSE"})
    by_date = capitals.sort_values("Date", kind="stable")
    by_index = pd.concat(three, names=["ticker", "date"])
    for prices in (long, capitals, by_index, by_index.swaplevel(), capitals.set_index("Date"),
                   long.astype({"unique_id": "category"})):
        pd.testing.assert_frame_equal(ridge().fit(prices).predict(), expected)
    same = ridge().fit(by_date).predict().sort_values(["unique_id", "ds"], ignore_index=True)
    pd.testing.assert_frame_equal(same, expected)


def test_two_levels_of_columns(three):
    expected = ridge().fit(three).predict()
    fields = {name: table.rename(columns=str.capitalize) for name, table in three.items()}
    by_ticker = pd.concat(fields, axis=1, names=["Ticker", "Price"])  # stocks have no rows where others trade
    assert by_ticker.isna().any(axis=None)
    for prices in (by_ticker, by_ticker.swaplevel(axis=1), by_ticker.swaplevel(axis=1).sort_index(axis=1)):
        pd.testing.assert_frame_equal(ridge().fit(prices).predict().sort_values("unique_id", kind="stable", ignore_index=True),
                                      expected)
    one = ridge().fit(by_ticker[["A"]]).predict()
    pd.testing.assert_series_equal(one, ridge().fit(three["A"]).predict(), check_names=False)
    with pytest.raises(ValueError, match="columns have 2 levels.*one frame a stock"):
        ridge().fit(pd.concat({"x": three["A"][["open"]]}, axis=1))


def test_ticker_symbols(frame, three, monkeypatch):
    asked = []

    def fetch(tickers):
        asked.append(tickers)
        if tickers == "NONE":
            raise LookupError("no such ticker")
        return frame if isinstance(tickers, str) else below({ticker: three[ticker] for ticker in tickers})

    monkeypatch.setattr("tsrnn.datasets.fetch_prices", fetch)
    ridge().fit(frame).predict()
    assert not asked
    pd.testing.assert_series_equal(ridge().fit("AAPL").predict(), ridge().fit(frame).predict())
    assert asked == ["AAPL"]
    for tickers in (["A", "B"], ("A", "B"), np.array(["A", "B"]), pd.Index(["A", "B"])):
        found = ridge().fit(tickers)
        assert found.predict()["unique_id"].tolist() == list("AABB") and asked.pop() == ["A", "B"]
    assert ridge().fit(["A"]).predict()["unique_id"].tolist() == ["A", "A"]
    assert len(ridge().backtest("AAPL", n_splits=2)) == 4
    assert len(found.predict(y=["C"])) == 2
    with pytest.raises(LookupError, match="no such ticker"):
        ridge().fit("NONE")
    with pytest.raises(ValueError, match="may be adjusted otherwise"):
        ridge().fit(frame).update("AAPL")


@pytest.mark.parametrize("change, match", [
    (lambda f: f["close"], "must be a ticker symbol.*not Series"),
    (lambda f: [1, 2], "must be a ticker symbol.*not list"),
    (lambda f: f.drop(columns="close"), "has no column close; its columns are open"),
    (lambda f: f.reset_index(drop=True), "the frame has no dates"),
    (lambda f: f.set_index(f.index.to_period("D")), "to_timestamp"),
    (lambda f: f[::-1], "not in time order, 2022-10-06 comes after 2022-10-07"),
    (lambda f: {"XYZ": pd.concat([f[:50], f[49:]])}, "XYZ has the session 2022-03-11.* twice"),
    (lambda f: {"XYZ": f.set_index(f.index.where(f.index != f.index[3]))}, "index of XYZ has no time .NaT. in row 3"),
    (lambda f: {"XYZ": f.astype({"volume": "str"})}, "column 'volume' of XYZ must hold numbers"),
    (lambda f: {"XYZ": f.assign(high=np.inf)}, "column 'high' of XYZ has an infinite value in row 0"),
    (lambda f: f.assign(Close=1.0), "several columns 'close': close, Close"),
    (lambda f: {"A": f, "XYZ": f.drop(columns="volume")}, "feature 'volume' is no column of XYZ, which has open, high, low, "
                                                          "close"),
    (lambda f: {}, "no stock"),
    (lambda f: {"XYZ": f[:0]}, "XYZ has no row"),
    (lambda f: {"XYZ": f["close"]}, "XYZ must be a frame"),
    (lambda f: {"A": f, "B": f.tz_localize("America/New_York")}, "dates of A have the time zone None, those of B "
                                                                 "America/New_Y"),
    (lambda f: below({"A": f}).assign(unique_id=[None] + 199 * ["A"]), "no value in row 0"),
    (lambda f: f.assign(close=np.nan), "NaN alone"),
    (lambda f: f[:10], "window=10 must be smaller than the series"),
])
def test_bad_prices(frame, change, match):
    with pytest.raises((ValueError, TypeError), match=match):
        ridge().fit(change(frame))


@pytest.mark.parametrize("parameters, match", [
    ({"features": ["sentiment"]}, "'sentiment' is no column of the frame, which has open.* there is no indicator"),
    ({"features": ["rsi_1"]}, "length below 2"),
    ({"features": "close"}, "must be an array-like. Got .close."),
    ({"target": "open"}, "'target' parameter"),
    ({"calendar": "NYSE"}, "calendar='NYSE' must be a pandas offset"),
    ({"calendar": ["2022-10-10"]}, "calendar has 1 sessions after 2022-10-07, 2 are needed"),
    ({"multivariate": True}, "unexpected keyword"),
])
def test_bad_parameters(frame, parameters, match):
    with pytest.raises((ValueError, TypeError), match=match):
        ridge(**parameters).fit(frame)


def test_covariates_are_refused(frame):
    forecaster = ridge().fit(frame[:-4])
    for call in (lambda: ridge().fit(frame, frame), lambda: forecaster.predict(X=frame),
                 lambda: forecaster.score(frame[-4:], 1),
                 lambda: forecaster.update(frame[-4:], frame), lambda: forecaster.simulate(2, X=frame),
                 lambda: ridge().backtest(frame, frame)):
        with pytest.raises(ValueError, match="from the prices' own frame"):
            call()


def test_the_frame_stays_as_it_was(frame, three):
    before, long = frame.copy(), below(three)
    long_before = long.copy()
    ridge().fit(frame)
    ridge().fit(long)
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(long, long_before)


# -------------------------------------------------------------------------------------------------------- features

def test_features_as_changes_and_as_they_are(frame):
    names = ["open", "high", "low", "volume", "adj_close", "money", "rsi_7"]
    prices = frame.assign(adj_close=frame["close"] / 2, money=7.0)
    changes = pd.DataFrame(feature_matrix(prices, names, True), columns=names, index=frame.index)
    table = indicator_table(frame, ["gap", "volume_change", "return", "rsi_7"])
    np.testing.assert_array_equal(changes[["open", "volume", "rsi_7"]], table[["gap", "volume_change", "rsi_7"]])
    np.testing.assert_allclose(changes["adj_close"], table["return"], atol=1e-12)
    np.testing.assert_allclose(changes["high"], np.log(frame["high"] / frame["close"]))
    assert (changes["money"] == 7).all()
    levels = feature_matrix(prices, names, False)
    np.testing.assert_array_equal(levels[:, :-1], prices[names[:-1]])


@pytest.mark.parametrize("parameters, kept", [({}, True), ({"transform": "diff"}, True), ({"target": "return"}, True),
                                              ({"transform": None}, False)])
def test_what_becomes_of_levels(frame, parameters, kept):
    """A tenfold price changes nothing where features enter as changes."""
    history = ridge(**parameters).fit(frame).history_
    tenfold = ridge(**parameters).fit(frame.assign(**{name: 10 * frame[name] for name in OHLCV[:4]})).history_
    assert np.allclose(history.past, tenfold.past, equal_nan=True) == kept
    assert history.form.past == tuple(FEATURES)


def test_the_target_is_no_feature_of_its_own(frame):
    forecaster = ridge(features=["Close", "close"]).fit(frame)
    assert forecaster.history_.form.past == () and forecaster.regressor_.n_features_in_ == 10
    plain = WindowForecaster(Ridge(100.0), window=10, horizon=2, transform="log_return").fit(frame["close"])
    np.testing.assert_allclose(forecaster.predict(), plain.predict().to_numpy())


def test_a_close_by_itself_is_enough(frame):
    close = frame[["close"]]
    assert len(ridge(features=["close", "rsi_7", "volatility_5", "sma"]).fit(close).predict()) == 2
    for features, match in ((["open"], "'open' is no column"), (["atr_5"], "'atr_5' needs columns that are not there: open, "
                                                                           "high")):
        with pytest.raises(ValueError, match=match):
            ridge(features=features).fit(close)


def test_dirt(frame):
    dirty = frame.copy()
    dirty.iloc[20, 0] = np.nan
    dirty.iloc[30:33, 4] = 0.0
    dirty.iloc[40, 3] = -1.0
    dirty.iloc[50, 4] = -5.0
    dirty.iloc[60, 1] = 0.0
    with pytest.warns(UserWarning, match=r"3 prices of 0 or below, or volumes below 0, count as missing \(the frame: 3\)"):
        forecaster = ridge(features=OHLCV).fit(dirty)
    history = forecaster.history_
    assert np.isnan(history.values[40]) and np.isfinite(history.values[[39, 41]]).all()
    gone = np.isnan(history.past)
    assert np.flatnonzero(gone[:, 0]).tolist() == [0, 20, 41]     # open against the close before
    assert np.flatnonzero(gone[:, 1]).tolist() == [40, 60]        # high against close
    assert np.flatnonzero(gone[:, 3]).tolist() == [0, 50, 51]     # volume
    assert (history.past[31:33, 3] == 0).all()
    assert np.isfinite(forecaster.predict()).all() and forecaster.skipped_ == {}
    assert len(history.times) == 200                              # nothing was filled or dropped


@pytest.mark.parametrize("transform", [None, "log_return"])
def test_later_rows_change_nothing_before(frame, transform):
    """To the last bit: features, scalers, weights, forecasts."""
    cut = 150
    changed = frame.copy()
    changed.iloc[cut:] = 1e6
    forecaster = ridge(transform=transform, scaler="standard")
    tables = [forecaster._read(prices, None).past[:cut] for prices in (frame, changed)]
    np.testing.assert_array_equal(*tables)
    found = [forecaster.backtest(prices, n_splits=3, step=1, level=80)
             for prices in (frame[:cut + 2], changed[:cut + 2])]
    seen = [table[table["cutoff"] <= frame.index[cut - 1]].drop(columns="y") for table in found]
    assert len(seen[0]) > 1
    pd.testing.assert_frame_equal(*seen, check_exact=True)


# ---------------------------------------------------------------------------------------------------------- returns

def test_forecasts_of_returns(frame):
    returns = np.log(frame["close"]).diff()
    forecaster = ridge(target="return", validation_fraction=0.3).fit(frame)
    np.testing.assert_allclose(forecaster.history_.values[:, 0], returns)
    forecast = forecaster.predict(level=[80, 95])
    assert (forecast.abs() < 0.2).all(axis=None) and (forecast["Ridge-lo-95"] < forecast["Ridge-hi-80"]).all()
    assert forecaster.predict().name == "return"
    table = forecaster.backtest(frame, n_splits=4, level=80)
    np.testing.assert_allclose(table["y"], returns[table["ds"]])
    assert forecaster.update(make(210)[200:]).history_.values[-1] == np.log(make(210)["close"]).diff().iloc[-1]


def test_skill_of_returns_is_against_the_last_price():
    """Forecasts of nothing have no skill on a random walk, though repeating the last return is far worse."""
    prices = make(900, 5)
    forecaster = StockForecaster(Ridge(1e9), target="return", scaler="standard", validation_fraction=0.4, features=())
    forecaster.fit(prices)
    assert abs(forecaster.skill_) < 0.02


# ------------------------------------------------------------------------------------------------------ many stocks

def test_stocks_that_cannot_be_forecast(three):
    gap = three["B"].copy()
    gap.iloc[-3, 0] = np.nan
    stocks = three | {"B": gap, "SHORT": make(8, 3, start=192)}
    with pytest.warns(UserWarning) as told:
        forecaster = ridge().fit(stocks)
    told = [str(warning.message) for warning in told if "cannot be forecast" in str(warning.message)]
    assert len(told) == 1 and "2 of 4 series" in told[0]
    assert forecaster.skipped_ == {"B": "missing values in its last 11 rows (open on 2022-10-05)",
                                   "SHORT": "8 rows, a window needs 11"}
    forecast = forecaster.predict().set_index("unique_id")["Ridge"]
    assert forecast[["B", "SHORT"]].isna().all() and forecast[["A", "C"]].notna().all()


def test_a_model_for_each_stock(three, capsys):
    stocks = three | {"SHORT": make(15, 3, start=185)}
    with pytest.warns(UserWarning, match="1 of 4 series cannot be forecast .SHORT: window=10"):
        forecaster = StockForecaster(net(), window=10, local=True, verbose=True).fit(stocks)
    assert "series" in capsys.readouterr().out
    assert set(forecaster.regressor_) == {"A", "B", "C"}
    alone = StockForecaster(net(), window=10).fit({"A": three["A"]}).predict()
    both = forecaster.predict(level=80)
    assert both.loc[both["unique_id"] == "A", "GRURegressor"].tolist() == alone["GRURegressor"].tolist()
    with pytest.raises(ValueError, match="none for 'NEW'"):
        forecaster.predict(y={"NEW": make(50)})


def test_stocks_never_seen(three):
    forecaster = ridge().fit(three)
    new = forecaster.predict(y={"NEW": make(60, 9)}, level=80)
    assert new["unique_id"].tolist() == ["NEW", "NEW"] and np.isfinite(new["Ridge"]).all()
    known = forecaster.predict(y={"B": three["B"]})
    expected = forecaster.predict()
    assert known["Ridge"].tolist() == expected.loc[expected["unique_id"] == "B", "Ridge"].tolist()
    with pytest.raises(ValueError, match="one stock by itself, the fit had several.*dict of frames"):
        forecaster.predict(y=three["A"])
    with pytest.raises(ValueError, match="several stocks.*pass a single frame"):
        ridge().fit(three["A"]).predict(y=three)


# ------------------------------------------------------------------------------------------------------- new sessions

@pytest.mark.parametrize("parameters", [{}, {"transform": None, "scaler": "standard"}, {"target": "return"}])
def test_updates_are_as_if_all_had_been_there(frame, parameters):
    """The same rows to the bit, in one step or in many, and so the same forecasts."""
    names = ["open", "volume", "rsi_7", "volatility_20", "macd", "volume_ratio_5"]
    forecaster = ridge(features=names, **parameters).fit(frame[:150])
    steps = pickle.loads(pickle.dumps(forecaster))
    forecaster.update(frame[150:])
    for first in range(150, 200, 10):
        steps.update(frame[first:first + 10])
    whole = forecaster._read(frame, None)
    for found in (forecaster, steps):
        np.testing.assert_array_equal(found.history_.values, whole.values)
        np.testing.assert_array_equal(found.history_.past, whole.past)
        assert found.history_.times.equals(whole.times)
        pd.testing.assert_series_equal(found.predict(), forecaster.predict(y=frame), check_exact=True)
    pd.testing.assert_frame_equal(steps.predict(level=80), forecaster.predict(level=80))


def test_returns_are_held_against_no_change(frame):
    """The last price once more: `skill_`, the backtest's column and the picture agree on it."""
    forecaster = ridge(target="return", horizon=3).fit(frame)
    table = forecaster.backtest(frame, n_splits=10)
    assert (table["naive"] == 0).all()
    from tsrnn.plotting import ForecastDisplay

    display = ForecastDisplay.from_estimator(forecaster)
    assert (display.naive["naive"] == 0).all() and display.lines_[0]["naive"].get_label() == "naive: no change"


def test_updates_of_some_stocks(three):
    cut = {name: prices[:-10] for name, prices in three.items()}
    forecaster = ridge().fit(cut)
    forecaster.update({"B": three["B"][-10:]}).update(below({name: three[name][-10:] for name in "CA"}))
    whole = forecaster._read(three, None)
    np.testing.assert_array_equal(forecaster.history_.past, whole.past)
    np.testing.assert_array_equal(forecaster.history_.values, whole.values)
    state = pickle.dumps(forecaster.history_)
    for new, match in (({"D": make(20, start=300)}, "'D', which the fit did not have"),
                       ({"A": three["A"][-3:]}, "begin at 2022-10-05.*ends at 2022-10-07")):
        with pytest.raises(ValueError, match=match):
            forecaster.update(new)
    assert pickle.dumps(forecaster.history_) == state
    with pytest.raises(ValueError, match=r"features is \['open'\] and was"):
        forecaster.set_params(features=["open"]).update({"A": make(210)[200:]})


def test_learning_goes_on(frame):
    forecaster = StockForecaster(net(), window=10).fit(frame[:180])
    before = forecaster.predict(y=frame)
    assert forecaster.update(frame[180:], epochs=2).predict().iloc[0] != before.iloc[0]


def test_scores(frame, three):
    forecaster = ridge().fit(frame[:180])
    score = forecaster.score(frame[180:])
    naive = np.abs(np.diff(frame["close"][:180])).mean()
    assert -5 < score < 0
    assert score == ridge().fit(frame[:180]).score(frame[180:].rename(columns=str.upper))
    by_hand = forecaster.backtest(frame, n_splits=19, step=1)
    errors = (by_hand["y"] - by_hand["Ridge"]).abs().groupby(by_hand["cutoff"]).mean()
    assert abs(score + errors.mean() / naive) < 0.5
    assert -5 < ridge().fit({k: v[:-20] for k, v in three.items()}).score({k: v[-20:] for k, v in three.items()}) < 0


def test_sample_paths(frame):
    paths = ridge().fit(frame).simulate(20, random_state=0)
    assert paths.shape == (20, 2) and (paths > 0).all()


# ------------------------------------------------------------------------------------------------------- scikit-learn

def test_parameters_and_copies(frame):
    forecaster = ridge(calendar=pd.offsets.CustomBusinessDay(holidays=["2022-10-10"]), calendar_features=["dayofweek"])
    copy = clone(forecaster)
    assert copy.get_params(deep=False).keys() == forecaster.get_params(deep=False).keys()
    assert {"target", "features", "calendar", "regressor__alpha"} <= set(forecaster.get_params())
    assert not {"multivariate", "past_covariates", "static_covariates"} & set(forecaster.get_params())
    assert "target" in repr(ridge(target="return"))
    expected = copy.fit(frame).predict(level=80)
    assert list(expected.index.strftime("%m-%d")) == ["10-11", "10-12"]
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(copy)).predict(level=80), expected)
    for calendar in (["2022-10-11", "2022-10-14"], USFederalHolidayCalendar(), Exchange()):
        fitted = ridge(calendar=calendar).fit(frame)
        pd.testing.assert_series_equal(pickle.loads(pickle.dumps(fitted)).predict(), fitted.predict())


def test_calendar_features(frame):
    forecaster = ridge(calendar_features=["dayofweek"], features=["open"]).fit(frame)
    assert forecaster.history_.known.shape == (200, 2)
    assert np.isfinite(forecaster.predict()).all() and np.isfinite(forecaster.update(make(205)[200:]).predict()).all()


def test_grid_search(frame, three):
    grid = {"regressor__alpha": [1.0, 1e6], "window": [5, 10], "features": [("open",), ("rsi_7",)]}
    for y, splits in ((frame, TimeSeriesSplit(3)), (frame.rename(columns=str.capitalize), TimeSeriesSplit(3)),
                      (below(three), PanelTimeSeriesSplit(3))):
        search = GridSearchCV(ridge(), grid, cv=splits, error_score="raise").fit(y)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all() and search.best_estimator_.skipped_ == {}
    with pytest.raises(ValueError, match="PanelTimeSeriesSplit"):
        GridSearchCV(ridge(), {"window": [5]}, cv=TimeSeriesSplit(3), error_score="raise").fit(below(three))


# ------------------------------------------------------------------------------------------------------- sessions to come

class Exchange:
    """What is used of a calendar of exchange_calendars 4: days without a zone, an error outside of its range."""

    first_session, last_session = pd.Timestamp("2020-01-02"), pd.Timestamp("2022-12-30")

    def sessions_in_range(self, start, end):
        for day in (start, end):
            if day.tz is not None or day != day.normalize():
                raise ValueError(f"{day} must be a date without a zone and a time")
            if not self.first_session <= day <= self.last_session:
                raise ValueError(f"{day} is out of bounds")
        return pd.bdate_range(start, end).difference(pd.DatetimeIndex(["2022-10-10"]))


class Market:
    """What is used of a calendar of pandas_market_calendars: days at midnight of UTC."""

    def valid_days(self, start_date, end_date, tz="UTC"):
        days = pd.offsets.CustomBusinessDay(holidays=["2022-10-10"])
        return pd.date_range(start_date, end_date, freq=days, normalize=True, tz=tz)

    def holidays(self):
        return pd.offsets.CustomBusinessDay(holidays=["2022-10-10"])


@pytest.mark.parametrize("tz", [None, "America/New_York"])
@pytest.mark.parametrize("calendar", [
    pd.offsets.CustomBusinessDay(holidays=["2022-10-10"]), Exchange(), Market(), USFederalHolidayCalendar(),
    pd.bdate_range("2022-10-11", periods=9), [*pd.bdate_range("2022-09-30", "2022-10-07"), "2022-10-12", "2022-10-11"],
    pd.bdate_range("2022-10-11", periods=9, tz="America/New_York"),
], ids=["offset", "exchange", "market", "holidays", "index", "list", "zone"])
def test_calendars(calendar, tz):
    """From Friday, October 7, over Columbus Day."""
    forecast = ridge(calendar=calendar).fit(make(tz=tz)).predict()
    expected = pd.DatetimeIndex(["2022-10-11", "2022-10-12"]).tz_localize(tz)
    assert forecast.index.equals(expected.as_unit(forecast.index.unit)) and str(forecast.index.tz) == str(tz)


def test_sessions_keep_the_hour_and_the_zone():
    """Over the change of the clock on November 6, and where midnight does not exist."""
    step = sessions(pd.bdate_range("2022-11-01", periods=20))
    last = pd.Timestamp("2022-11-04 16:00", tz="America/New_York")
    assert step(last, 2).tolist() == [pd.Timestamp(f"2022-11-0{day} 16:00", tz="America/New_York") for day in (7, 8)]
    step = Sessions(pd.DatetimeIndex(["2018-11-04"]))
    assert step(pd.Timestamp("2018-11-01", tz="America/Sao_Paulo"), 1)[0].day == 4
    with pytest.raises(ValueError, match="calendar has 0 sessions after 2023-01-05, 1 are needed"):
        sessions(Exchange())(pd.Timestamp("2023-01-05"), 1)


def test_a_calendar_that_ends_is_told_before_the_fit(frame):
    class Slow(Ridge):
        def fit(self, X, y):
            raise AssertionError("too late")

    with pytest.raises(ValueError, match="extend it"):
        ridge(regressor=Slow(), calendar=frame.index).fit(frame)
    assert len(ridge(calendar=frame.index).backtest(frame, n_splits=2)) == 4


@pytest.mark.parametrize("freq, expected", [
    ("B", pd.offsets.BDay()), ("D", pd.offsets.Day()), ("W-FRI", pd.offsets.Week(weekday=4)), ("MS", pd.offsets.MonthBegin()),
    (pd.offsets.CustomBusinessDay(weekmask="Sun Mon Tue Wed Thu"), pd.offsets.CustomBusinessDay(weekmask="1111001")),
    ("h", pd.offsets.Hour()),
])
def test_weekdays_unless_the_history_has_others(frame, freq, expected):
    dates = pd.date_range("2022-01-02", periods=200, freq=freq)
    forecaster = ridge(features=()).fit(frame.set_index(pd.DatetimeIndex(dates.to_numpy())))
    assert forecaster.history_.form.step == expected


def test_rare_saturdays_are_no_rule(frame):
    dates = pd.bdate_range("2022-01-03", periods=198).union(pd.DatetimeIndex(["2022-01-29", "2022-04-02"]))
    forecast = ridge().fit(frame.set_index(dates)).predict()
    assert (forecast.index.day_of_week < 5).all()
    assert usual_sessions(dates[:3], pd.offsets.Day()) == pd.offsets.BDay()


def test_holidays_and_gaps_stay(frame):
    gone = frame.drop(frame.index[[20, 21, 60, 61, 62, 63, 64]])
    forecaster = ridge().fit(gone)
    assert forecaster.history_.times.equals(gone.index)
    np.testing.assert_array_equal(forecaster.history_.values[:, 0], gone["close"])
    assert list(forecaster.predict().index) == list(pd.bdate_range("2022-10-10", periods=2))


# ----------------------------------------------------------------------------------------------------------- real data

def test_the_embedded_prices(prices):
    forecaster = StockForecaster(net(), features=[*OHLCV, "rsi_14"]).fit(prices)
    assert forecaster.predict(level=80).index[0] == pd.Timestamp("2008-10-15")
    assert StockForecaster()._regressor.get_params()["hidden_layer_sizes"] == (16,)


def test_the_paper_s_network():
    forecaster = StockForecaster.lu2020(random_state=3, horizon=2)
    found = SimpleNamespace(**forecaster.regressor.get_params())
    assert (found.conv_filters, found.conv_kernel_size, found.conv_activation, found.pool_size) == ((32,), 1, "tanh", 1)
    assert (found.hidden_layer_sizes, found.loss, found.solver, found.batch_size, found.max_iter) == (
        (64,), "absolute_error", "adam", 64, 100)
    assert (forecaster.window, forecaster.horizon, forecaster.transform, forecaster.scaler) == (10, 2, None, "standard")
    assert len({*map(tidy_name, forecaster.features)}) == 8 and found.random_state == 3
    assert clone(forecaster).get_params()["features"] == forecaster.features


@pytest.mark.data
def test_the_paper_s_data(data_folder):
    prices = pd.read_csv(data_folder / "stocks" / "sse_composite_1991_2020.csv.gz")
    forecaster = StockForecaster.lu2020(random_state=0).set_params(regressor__max_iter=1, refit=False).fit(prices)
    assert forecaster.history_.past.shape == (7127, 7) and forecaster.regressor_.n_features_in_ == 8
    np.testing.assert_array_equal(forecaster.history_.past, prices.iloc[:, [1, 2, 3, 5, 6, 7, 8]])
    forecast = forecaster.predict()
    assert forecast.index[0] == pd.Timestamp("2020-09-01") and 1000 < forecast.iloc[0] < 6000


@pytest.fixture(scope="module")
def forty(data_folder):
    """Stocks with all the dirt: short ones, missing opens, highs and lows, no trade at all."""
    prices = pd.read_csv(data_folder / "stocks" / "all_stocks_5yr.csv.gz")
    bad = prices[prices[["open", "high", "low"]].isna().any(axis=1) | (prices["volume"] == 0)]["Name"].unique()
    rows = prices["Name"].value_counts()
    names = [*rows.index[-15:], *bad, *rows.index[:40]]
    return prices[prices["Name"].isin(list(dict.fromkeys(names))[:40])]


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("local", [False, True])
def test_many_real_stocks(forty, local, capsys):
    regressor = net(hidden_layer_sizes=(8,), max_iter=1)
    cut = forty[forty["Name"].ne("APTV") | (forty.groupby("Name").cumcount() < 15)].copy()
    last = cut.groupby("Name").tail(1).index[3]
    cut.loc[last, "open"] = np.nan
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        forecaster = StockForecaster(regressor, window=20, horizon=5, local=local, verbose=True).fit(cut)
    assert "series" in capsys.readouterr().out or not local
    assert len([warning for warning in told if "cannot be forecast" in str(warning.message)]) == 1
    assert {"APTV", cut["Name"][last]} <= set(forecaster.skipped_)
    forecast = forecaster.predict(level=[80, 95]).set_index("unique_id")
    assert len(forecast) == 200 and not (set(forecast[forecast["GRURegressor"].isna()].index) - set(forecaster.skipped_))
    good = forecast.drop(list(forecaster.skipped_))
    closes = cut.groupby("Name")["close"].last()[good.index]
    assert (np.log(good["GRURegressor"] / closes.to_numpy()).abs() < 0.5).all()
    assert (good["GRURegressor-lo-95"] < good["GRURegressor-hi-95"]).all() and -0.5 < forecaster.skill_ < 0.5
