"""`WindowForecaster` and the naive forecasters: what goes in, what comes out, and that it is what it says."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from tsrnn import (
    GRURegressor,
    NaiveForecaster,
    PanelTimeSeriesSplit,
    SeasonalNaiveForecaster,
    WindowForecaster,
    make_windows,
    metrics,
)

DAYS = pd.date_range("2021-01-01", periods=300, freq="D")


@pytest.fixture(scope="module")
def series():
    """A noisy wave of period 25."""
    wave = 10 + np.sin(np.arange(300) * 2 * np.pi / 25) + 0.1 * np.random.default_rng(0).normal(size=300)
    return pd.Series(wave, index=DAYS, name="wave")


@pytest.fixture(scope="module")
def wide(series):
    return pd.DataFrame({"a": series, "b": 100 * series[::-1].to_numpy(), "c": series**2})


@pytest.fixture(scope="module")
def long(wide):
    return wide.reset_index(names="ds").melt("ds", var_name="unique_id", value_name="y")


def ridge(**parameters):
    return WindowForecaster(Ridge(), **({"window": 25, "horizon": 4} | parameters))


def tiny(**parameters):
    """A sequence estimator that takes a fraction of a second."""
    return GRURegressor(**({"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0, "batch_size": 32} | parameters))


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Stochastic Optimizer")
        warnings.filterwarnings("ignore", "skill_=")
        yield


# ------------------------------------------------------------------------------------------------------- what comes out

def test_forecasts_have_the_form_of_the_series(series, wide, long):
    values = series.to_numpy()
    assert ridge().fit(values).predict().shape == (4,)
    assert ridge().fit(values.tolist()).predict().shape == (4,)
    assert ridge().fit(wide.to_numpy()).predict().shape == (4, 3)
    forecast = ridge().fit(series).predict()
    assert forecast.name == "wave" and list(forecast.index) == list(pd.date_range("2021-10-28", periods=4))
    forecast = ridge().fit(wide).predict()
    assert list(forecast.columns) == ["a", "b", "c"] and len(forecast) == 4
    forecast = ridge().fit(long).predict()
    assert list(forecast.columns) == ["unique_id", "ds", "Ridge"] and len(forecast) == 12


def test_intervals_stand_beside_the_forecast(series, wide, long):
    lower, upper = ["Ridge-lo-95", "Ridge-lo-80"], ["Ridge-hi-80", "Ridge-hi-95"]
    for y in (series, series.to_numpy(), long):
        frame = ridge().fit(y).predict(level=[80, 95])
        assert set(lower + upper) < set(frame.columns)
        ordered = frame[[*lower, *upper]].to_numpy()
        assert (np.diff(ordered, axis=1) >= 0).all() and (ordered[:, 0] < ordered[:, -1]).all()
    frame = ridge().fit(wide).predict(level=80)
    assert {"a", "a-lo-80", "a-hi-80", "c-hi-80"} < set(frame.columns)


def test_level_and_quantiles_agree(series):
    fitted = ridge().fit(series)
    by_level, by_quantile = fitted.predict(level=80), fitted.predict(quantiles=[0.1, 0.9])
    np.testing.assert_array_equal(by_level["Ridge-lo-80"], by_quantile["Ridge-q-0.1"])
    np.testing.assert_array_equal(by_level["Ridge-hi-80"], by_quantile["Ridge-q-0.9"])


def test_one_global_model_forecasts_each_series_alike(long, wide):
    of_wide, of_long = ridge().fit(wide).predict(), ridge().fit(long).predict()
    np.testing.assert_array_equal(of_wide.to_numpy().T.ravel(), of_long["Ridge"])


def test_the_window_scaled_direct_forecast_is_what_it_says(series):
    """The same by hand: windows scaled by their own mean and deviation, a linear model on them."""
    values = series.to_numpy()
    X, y = make_windows(values, 25, 4)
    X, mean = X[:, :, 0], X.mean(axis=1)
    scale = X.std(axis=1, keepdims=True)
    model = Ridge().fit((X - mean) / scale, (y - mean) / scale)
    last = values[-25:]
    expected = model.predict((last - last.mean())[None] / last.std())[0] * last.std() + last.mean()
    np.testing.assert_allclose(ridge().fit(values).predict(), expected, rtol=1e-10)


def test_the_recursive_forecast_feeds_itself(series):
    values = np.diff(series.to_numpy())
    X, y = make_windows(values, 25)
    model = LinearRegression().fit(X[:, :, 0], y)
    steps = list(values)
    for _ in range(6):
        steps.append(model.predict(np.array(steps[-25:])[None])[0])
    forecaster = WindowForecaster(LinearRegression(), window=25, horizon=4, strategy="recursive", transform="diff", scaler=None)
    forecast = forecaster.fit(series.to_numpy()).predict(6)
    np.testing.assert_allclose(forecast, series.iloc[-1] + np.cumsum(steps[-6:]), rtol=1e-9)
    np.testing.assert_allclose(forecaster.predict(4), forecast[:4], rtol=1e-12)


@pytest.mark.parametrize("parameters", [
    {"transform": "diff"}, {"transform": "log"}, {"transform": "log_return"}, {"transform": "log", "baseline": "last"},
    {"scaler": "standard"}, {"scaler": "minmax"}, {"scaler": "robust"}, {"scaler": None},
    {"baseline": "last"}, {"baseline": "seasonal", "seasonality": 25}, {"patch": 5},
    {"transform": "diff", "baseline": "seasonal", "seasonality": 25}, {"strategy": "recursive"},
], ids=str)
def test_every_setting_learns_a_wave(series, parameters):
    forecaster = ridge(**parameters).fit(series)
    truth = 10 + np.sin(np.arange(300, 304) * 2 * np.pi / 25)
    assert np.abs(forecaster.predict() - truth).max() < 0.3
    assert forecaster.skill_ > 0.5


def test_a_horizon_beyond_the_fitted_one_is_reached_step_by_step(series):
    fitted = ridge().fit(series)
    np.testing.assert_allclose(fitted.predict(10)[:4], fitted.predict(), rtol=1e-12)
    again = fitted.predict(8).iloc[4:]
    longer = pd.concat([series, fitted.predict()])
    np.testing.assert_allclose(fitted.predict(y=longer), again, rtol=1e-9)
    with pytest.raises(ValueError, match="no intervals beyond the fitted horizon=4"):
        fitted.predict(5, level=80)


@pytest.mark.parametrize("regressor", [
    SVR(), make_pipeline(StandardScaler(), Ridge()), make_pipeline(StandardScaler(), SVR())], ids=str)
def test_any_regressor(series, regressor):
    assert np.isfinite(WindowForecaster(regressor, window=25, horizon=3).fit(series).predict(level=80)).all(axis=None)


def test_the_default_regressor_is_an_lstm(series):
    frame = WindowForecaster(window=25).fit(series).predict(level=80)
    assert list(frame.columns) == ["LSTMRegressor", "LSTMRegressor-lo-80", "LSTMRegressor-hi-80"]


# ------------------------------------------------------------------------------------------------ sequence estimators

def test_the_stop_part_chooses_the_epochs_and_the_refit_takes_them(series):
    seen = []
    regressor = tiny(max_iter=12, learning_rate_init=0.3, early_stopping=True, n_iter_no_change=2,
                     on_epoch_end=lambda epoch, logs: seen.append(set(logs)))
    fitted = WindowForecaster(regressor, window=25, refit=False).fit(series)
    chosen, first = fitted.regressor_.best_iter_, len(seen)
    assert all("val_loss" in logs for logs in seen) and first == fitted.regressor_.n_iter_
    again = WindowForecaster(regressor, window=25).fit(series).regressor_
    assert again.n_iter_ == chosen < first
    assert "val_loss" not in again.history_


def test_the_same_bits_for_any_number_of_threads(wide):
    forecasts = [WindowForecaster(tiny(n_jobs=n_jobs), window=25, horizon=4).fit(wide).predict(level=80) for n_jobs in (1, 2)]
    pd.testing.assert_frame_equal(*forecasts, check_exact=True)


def test_joined_channels(wide):
    fitted = WindowForecaster(tiny(), window=25, horizon=4, multivariate=True).fit(wide)
    assert fitted.regressor_.n_features_in_ == 3 and fitted.regressor_.n_outputs_ == 12
    assert list(fitted.predict(level=80).columns[:1]) == ["a"] and fitted.predict().shape == (4, 3)


def test_patches_become_the_values_of_a_step(series):
    fitted = WindowForecaster(tiny(), window=25, patch=5).fit(series)
    assert fitted.regressor_.n_features_in_ == 5
    np.testing.assert_array_equal(fitted.regressor_.predict(np.zeros((1, 5, 5), np.float32)).shape, (1, 1))


def test_quantile_regression_never_crosses_and_is_calibrated(series):
    quantiles = (0.9, 0.1, 0.5)  # in any order
    regressor = tiny(loss="quantile", quantiles=quantiles, max_iter=5)
    fitted = WindowForecaster(regressor, window=25, horizon=4).fit(series)
    frame = fitted.predict(level=80, quantiles=[0.3, 0.5])
    bands = frame[["GRURegressor-lo-80", "GRURegressor-q-0.3", "GRURegressor-q-0.5", "GRURegressor-hi-80"]].to_numpy()
    assert (np.diff(bands, axis=1) >= 0).all()
    outputs = fitted._model.outputs(fitted.history_, np.arange(100, 200), 4)
    assert outputs.shape == (100, 4, 1, 3) and (np.diff(outputs, axis=-1) >= 0).all()


def test_update_goes_on_learning_when_told(series):
    fitted = WindowForecaster(tiny(), window=25).fit(series.iloc[:280])
    before = fitted.regressor_.get_weights()
    fitted.update(series.iloc[280:290])
    assert all(np.array_equal(before[name], value) for name, value in fitted.regressor_.get_weights().items())
    fitted.update(series.iloc[290:], epochs=2)
    assert any(not np.array_equal(before[name], value) for name, value in fitted.regressor_.get_weights().items())
    with pytest.raises(ValueError, match="Ridge has none"):
        ridge().fit(series.iloc[:280]).update(series.iloc[280:], epochs=1)


# -------------------------------------------------------------------------------------------------- after the fit

def test_update_gives_what_the_whole_history_gives(series, long):
    cut = DAYS[279]
    for y, part, rest in ((series, series.iloc[:280], series.iloc[280:]),
                          (long, long[long.ds <= cut], long[long.ds > cut])):
        fitted = ridge(refit=False).fit(part)
        expected = fitted.predict(y=y)
        found = fitted.update(rest).predict()
        if y is long:
            found, expected = found["Ridge"], expected["Ridge"]
        assert (np.asarray(found) == np.asarray(expected)).all()


def test_new_truths_roll_through_the_intervals(series):
    jumpy = series.copy()
    jumpy.iloc[240:] += 3 * np.random.default_rng(1).normal(size=60)
    fitted = ridge().fit(jumpy.iloc[:240])
    calm = fitted.predict(level=80)
    wild = fitted.update(jumpy.iloc[240:]).predict(level=80)
    width = [(frame["Ridge-hi-80"] - frame["Ridge-lo-80"]).mean() for frame in (calm, wild)]
    assert width[1] > 5 * width[0]


def test_series_never_seen(wide):
    fitted = ridge().fit(wide[["a", "b"]])
    frame = fitted.predict(y=wide[["c"]].rename(columns={"c": "new"}) * 7, level=80)
    assert list(frame.columns) == ["new", "new-lo-80", "new-hi-80"]
    np.testing.assert_allclose(frame["new"], 7 * fitted.predict(y=wide[["c"]])["c"], rtol=1e-9)


def test_simulated_paths_spread_as_the_intervals_do(series):
    fitted = ridge(validation_fraction=0.3).fit(series)
    paths = fitted.simulate(4000, random_state=0)
    assert paths.shape == (4000, 4)
    np.testing.assert_array_equal(paths, fitted.simulate(4000, random_state=0))
    frame = fitted.predict(level=80)
    low, high = np.quantile(paths, [0.1, 0.9], axis=0)
    np.testing.assert_allclose(low, frame["Ridge-lo-80"], atol=0.06)
    np.testing.assert_allclose(high, frame["Ridge-hi-80"], atol=0.06)
    assert fitted.simulate(3, 2).shape == (3, 2)


def test_simulated_paths_of_a_panel_and_of_channels(wide):
    assert ridge().fit(wide).simulate(5).shape == (5, 4, 3)
    assert ridge(multivariate=True).fit(wide).simulate(5).shape == (5, 4, 3)


def test_the_score_is_the_rolling_error_in_units_of_the_naive_one(series):
    train, test = series.iloc[:260], series.iloc[260:]
    fitted = ridge(seasonality=25).fit(train)
    values, errors = series.to_numpy(), []
    for origin in range(259, 299):
        ahead = values[origin + 1:origin + 5]
        errors += list(np.abs(ahead - fitted.predict(y=series.iloc[:origin + 1]).to_numpy()[:len(ahead)]))
    scale = np.abs(values[25:260] - values[:235]).mean()
    assert fitted.score(test) == pytest.approx(-np.mean(errors) / scale, rel=1e-9)


# ------------------------------------------------------------------------------------------------------- backtest

def test_a_backtest_without_refits_is_fit_and_update(series):
    frame = ridge().backtest(series, n_splits=3, step=2, level=80)
    fitted, rows = ridge().fit(series.iloc[:292]), []
    for cut in (292, 294, 296):
        if cut > 292:
            fitted.update(series.iloc[cut - 2:cut])
        rows.append(fitted.predict(level=80))
    expected = pd.concat(rows)
    for name in expected.columns:
        np.testing.assert_allclose(frame[name], expected[name], rtol=1e-12)
    np.testing.assert_array_equal(frame["ds"], expected.index)
    np.testing.assert_array_equal(frame["y"], series.loc[expected.index])
    assert list(frame["cutoff"].unique()) == [DAYS[291], DAYS[293], DAYS[295]]


def test_a_backtest_with_refits_fits_at_each_cutoff(long):
    frame = ridge().backtest(long, n_splits=2, refit=True, level=90)
    for cut in frame["cutoff"].unique():
        expected = ridge().fit(long[long.ds <= cut]).predict(level=90)
        found = frame[frame.cutoff == cut].reset_index(drop=True)
        pd.testing.assert_frame_equal(found[list(expected.columns)], expected, check_dtype=False, rtol=1e-12)


def test_refit_every_so_many_cutoffs(series):
    counted = []

    class Counting(Ridge):
        def fit(self, X, y):
            counted.append(len(X))
            return super().fit(X, y)

    WindowForecaster(Counting(), window=25, validation_fraction=0).backtest(series, n_splits=6, refit=3)
    assert counted == [294 - 25, 297 - 25]


def test_a_backtest_changes_nothing(series):
    forecaster = ridge()
    forecaster.backtest(series, n_splits=2)
    assert not hasattr(forecaster, "skill_")
    fitted = ridge().fit(series)
    before = fitted.predict()
    fitted.backtest(series * 2, n_splits=2)
    pd.testing.assert_series_equal(before, fitted.predict())


def test_a_backtest_of_series_that_begin_late(wide):
    late = wide.assign(b=wide["b"].where(np.arange(300) >= 290))
    frame = ridge().backtest(late, n_splits=3)  # b has begun by the last cutoff but one, and never has a whole window
    assert (frame.groupby("unique_id").size() == pd.Series({"a": 12, "b": 8, "c": 12})).all()
    assert frame[frame.unique_id == "b"]["Ridge"].isna().all() and frame[frame.unique_id == "a"]["Ridge"].notna().all()


def test_naive_forecasters(series, wide):
    fitted = NaiveForecaster(3).fit(series)
    assert (fitted.predict() == series.iloc[-1]).all() and fitted.skill_ == 0
    seasonal = SeasonalNaiveForecaster(25, horizon=30).fit(wide)
    np.testing.assert_array_equal(seasonal.predict(), pd.concat([wide.iloc[-25:], wide.iloc[-25:-20]]))
    assert seasonal.skill_ > 0.5 and seasonal.seasonal_skill_ == 0
    frame = SeasonalNaiveForecaster(25, horizon=2).backtest(series, n_splits=2, level=80)
    np.testing.assert_array_equal(frame["SeasonalNaiveForecaster"], series.shift(25).iloc[-4:])
    assert NaiveForecaster(2).fit(series).predict(5).nunique() == 1


def test_skill_is_that_of_the_held_out_rows(series):
    fitted = ridge(refit=False, horizon=1).fit(series)
    truth, naive = series.iloc[270:], series.iloc[269:-1]
    forecast = [fitted.predict(y=series.iloc[:row]).iloc[0] for row in range(270, 300)]
    assert fitted.skill_ == pytest.approx(metrics.skill(truth, forecast, naive), abs=1e-9)


def test_a_fit_without_skill_says_so():
    walk = np.random.default_rng(0).normal(size=300).cumsum()
    with pytest.warns(UserWarning, match="repeating the last value does better than Ridge"):
        assert ridge(scaler="standard").fit(walk).skill_ < 0


# ---------------------------------------------------------------------------------------------------- covariates

@pytest.mark.parametrize("window, horizon", [(12, 4), (4, 10)])
def test_covariates_known_ahead_tell_the_future(window, horizon):
    x = np.random.default_rng(0).normal(size=400)
    y = pd.Series(3 * x, index=pd.RangeIndex(400))
    X = pd.DataFrame({"x": x})
    forecaster = WindowForecaster(LinearRegression(), window=window, horizon=horizon, scaler="standard")
    fitted = clone(forecaster).fit(y.iloc[:380], X.iloc[:380])
    np.testing.assert_allclose(fitted.predict(X=X.iloc[380:380 + horizon]), y.iloc[380:380 + horizon], atol=1e-6)
    backtest = forecaster.backtest(y, X, n_splits=3)
    np.testing.assert_allclose(backtest["LinearRegression"], backtest["y"], atol=1e-6)
    with pytest.raises(ValueError, match="pass X with their values"):
        fitted.predict()


def test_covariates_known_up_to_the_present():
    x = np.random.default_rng(0).normal(size=400)
    y = np.r_[0, x[:-1]]  # what x was a row ago
    fitted = WindowForecaster(LinearRegression(), window=5, scaler=None, past_covariates=["x"])
    fitted.fit(pd.Series(y), pd.DataFrame({"x": x}))
    np.testing.assert_allclose(fitted.predict(), x[-1], atol=1e-9)


def test_static_covariates_tell_series_apart(long):
    flat = long.assign(y=long.unique_id.map({"a": 1.0, "b": 2.0, "c": 3.0}) + np.random.default_rng(0).normal(size=len(long)))
    kinds = long[["unique_id", "ds"]].assign(kind=long.unique_id.map({"a": "low", "b": "middle", "c": "high"}))
    fitted = WindowForecaster(Ridge(), window=2, scaler=None, static_covariates=["kind"]).fit(flat, kinds)
    assert fitted.regressor_.n_features_in_ == 2 * (1 + 3)
    means = fitted.predict().set_index("unique_id")["Ridge"]
    assert abs(means["a"] - 1) < 0.4 and abs(means["c"] - 3) < 0.4


def test_calendar_features_are_known_ahead():
    index = pd.date_range("2021-01-01", periods=400, freq="D")
    y = pd.Series(np.where(index.day_of_week == 6, 5.0, 0.0) + 0.01 * np.random.default_rng(0).normal(size=400), index)
    plain = WindowForecaster(Ridge(alpha=1e-3), window=2, scaler=None).fit(y)
    told = WindowForecaster(Ridge(alpha=1e-3), window=2, scaler=None, calendar_features=["dayofweek"]).fit(y)
    assert told.skill_ > plain.skill_ + 0.1
    assert told.predict(3).shape == (3,)


# ------------------------------------------------------------------------------------------------- panels, one each

def test_local_is_one_fit_a_series(wide):
    local = ridge(local=True).fit(wide)
    assert set(local.regressor_) == {"a", "b", "c"}
    for name in wide:
        np.testing.assert_allclose(local.predict()[name], ridge().fit(wide[name]).predict(), rtol=1e-12)
    with pytest.raises(ValueError, match="none for 'new'"):
        local.predict(y=wide[["a"]].rename(columns={"a": "new"}))


@pytest.mark.parametrize("local", [False, True])
def test_series_that_cannot_be_forecast_are_named(wide, local):
    y = wide.assign(short=wide["a"].where(np.arange(300) >= 290), gap=wide["a"].where(np.arange(300) != 295))
    with pytest.warns(UserWarning, match="2 of 5 series cannot be forecast"):
        fitted = ridge(local=local).fit(y)
    assert set(fitted.skipped_) == {"short", "gap"} and "missing values" in fitted.skipped_["gap"]
    forecast = fitted.predict(level=80)
    assert forecast[["short", "gap"]].isna().all(axis=None) and forecast[["a", "b", "c"]].notna().all(axis=None)


def test_gaps_inside_a_series_are_left_out(series):
    with_gap = series.mask(np.arange(300) == 100)
    fitted = ridge(refit=False).fit(with_gap)
    assert np.isfinite(fitted.predict()).all()
    seen = []

    class Spy(Ridge):
        def fit(self, X, y):
            seen.append(np.c_[X, y])
            return super().fit(X, y)

    WindowForecaster(Spy(), window=25, horizon=4, scaler=None, validation_fraction=0).fit(with_gap)
    assert np.isfinite(seen[0]).all() and len(seen[0]) == 300 - 28 - 29


# ---------------------------------------------------------------------------------------------------- scikit-learn

def test_clone_pickle_and_parameters(series):
    forecaster = WindowForecaster(transform="diff", window=25).set_params(regressor=Ridge(alpha=3))
    assert clone(forecaster).get_params()["regressor__alpha"] == 3
    fitted = pickle.loads(pickle.dumps(forecaster.fit(series)))
    pd.testing.assert_frame_equal(fitted.predict(level=80), forecaster.predict(level=80))
    assert repr(ridge()) == "WindowForecaster(horizon=4, regressor=Ridge(), window=25)"


def test_grid_search_on_one_series(series):
    grid = {"regressor__alpha": [1e-3, 1e6], "window": [10, 25]}
    for y in (series, series.to_numpy()):
        search = GridSearchCV(ridge(), grid, cv=TimeSeriesSplit(3), error_score="raise").fit(y)
        assert search.best_params_ == {"regressor__alpha": 1e-3, "window": 25}
    assert search.best_estimator_.predict().shape == (4,)


def test_grid_search_with_covariates(series):
    X = pd.DataFrame({"x": np.arange(300.0)}, index=series.index)
    search = GridSearchCV(ridge(), {"regressor__alpha": [1e-3, 1e6]}, cv=TimeSeriesSplit(3), error_score="raise").fit(series, X)
    assert np.isfinite(search.best_score_)


def test_grid_search_on_a_panel(long, wide):
    for y in (long, wide):
        search = GridSearchCV(ridge(), {"regressor__alpha": [1e-3, 1e6]}, cv=PanelTimeSeriesSplit(3), error_score="raise")
        search.fit(y)
        assert search.best_params_ == {"regressor__alpha": 1e-3}
    with pytest.raises(ValueError, match="use PanelTimeSeriesSplit"):
        GridSearchCV(ridge(), {"window": [10]}, cv=TimeSeriesSplit(3), error_score="raise").fit(long)


# -------------------------------------------------------------------------------------------------------- bad input

NAN_TAIL = np.r_[np.arange(299.0), np.nan]


@pytest.mark.parametrize("parameters, y, match", [
    ({}, pd.Series(np.arange(300.0), DAYS[::-1]), "not in time order"),
    ({}, pd.Series(np.arange(300.0), DAYS.insert(5, DAYS[5])[:300]), "twice"),
    ({}, pd.DataFrame({"a": np.nan, "b": np.nan}, DAYS), "'a', 'b'.*NaN alone"),
    ({"multivariate": True}, pd.DataFrame({"a": np.arange(300.0), "b": np.nan}, DAYS), "'b'.*NaN alone"),
    ({"window": 1}, np.arange(300.0), "window=1 has no mean and deviation"),
    ({"window": 300}, np.arange(300.0), "window=300 must be smaller than the series"),
    ({"window": 280}, np.arange(300.0), "need 284 rows"),
    ({}, NAN_TAIL, "cannot be forecast from its end: missing values"),
    ({"horizon": 0}, np.arange(300.0), "'horizon' parameter"),
    ({"patch": 7}, np.arange(300.0), "patch=7 must divide window=25"),
    ({"transform": "log_return"}, np.arange(300.0), "needs values above 0"),
    ({"transform": "log"}, np.arange(300.0), "transform='log' needs values above 0"),
    ({"baseline": "last", "transform": "diff"}, np.arange(300.0), "leave one of them"),
    ({"baseline": "seasonal"}, np.arange(300.0), "needs a seasonality from 2"),
    ({"multivariate": True}, pd.Series(np.arange(300.0), DAYS), "multivariate"),
    ({}, np.array(["a"] * 300), "numbers"),
    ({}, [], "empty"),
    ({"calendar_features": ["hours"]}, pd.Series(np.arange(300.0), DAYS), "hours"),
    ({"calendar_features": ["hour"]}, np.arange(300.0), "date"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_bad_input_is_told_and_loses_nothing(series, parameters, y, match):
    fitted = ridge().fit(series)
    before = fitted.predict()
    fitted.set_params(**parameters)
    with pytest.raises(ValueError, match=match):
        fitted.fit(y)
    fitted.set_params(**ridge().get_params(deep=False) | {"regressor": fitted.regressor})
    pd.testing.assert_series_equal(fitted.predict(), before)


@pytest.mark.parametrize("arguments, match", [
    ({"horizon": 0}, "horizon=0"), ({"level": 0}, "level=0"), ({"level": 0.8}, "level=80"), ({"level": [80, 80]}, "twice"),
    ({"quantiles": [0.5, 1.0]}, "between 0 and 1"), ({"y": np.arange(300.0)}, "kind"), ({"level": 100}, "below 100"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_bad_questions(series, arguments, match):
    with pytest.raises(ValueError, match=match):
        ridge().fit(series).predict(**arguments)


def test_a_constant_series_is_forecast_as_it_is():
    fitted = ridge().fit(np.full(300, 7.0))
    assert (fitted.predict(level=80).to_numpy() == 7).all() and np.isnan(fitted.skill_)
    fitted = WindowForecaster(tiny(), window=25).fit(np.full(300, 7.0))
    assert abs(fitted.predict()[0] - 7) < 2


def test_levels_without_held_out_rows(series):
    fitted = ridge(validation_fraction=0).fit(series)
    assert np.isnan(fitted.skill_) and fitted.predict().shape == (4,)
    with pytest.raises(ValueError, match="validation_fraction=0"):
        fitted.predict(level=80)


def test_too_few_errors_for_a_level(series):
    with pytest.warns(UserWarning, match="level=99 needs at least 199"):
        ridge().fit(series).predict(level=99)


def test_wrong_rows_behind_the_end(series, long):
    fitted = ridge().fit(series)
    with pytest.raises(ValueError, match="the fitted series ends at"):
        fitted.update(series.iloc[-3:])
    with pytest.raises(ValueError, match="need more than"):
        ridge().backtest(series, n_splits=400)
    assert fitted.history_.n_rows == 300
