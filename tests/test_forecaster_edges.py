"""What users do besides fit and predict: other histories, names, holes, parameters that change, things asked for twice."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import StackingRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import TimeSeriesSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tsrnn import GRURegressor, NaiveForecaster, PanelTimeSeriesSplit, SeasonalNaiveForecaster, WindowForecaster

pytestmark = pytest.mark.filterwarnings("ignore:skill_")
HOURS = pd.date_range("2024", periods=300, freq="h")


@pytest.fixture
def y():
    rng = np.random.default_rng(0)
    return pd.Series(50 + np.sin(np.arange(300) / 4) + rng.normal(0, 0.1, 300), HOURS, name="load")


def ridge(**parameters):
    return WindowForecaster(Ridge(), **{"window": 12, "horizon": 3, **parameters})


def tiny(**parameters):
    return GRURegressor((4,), max_iter=2, random_state=0, **parameters)


# ------------------------------------------------------------------------------------------------------- levels, quantiles


@pytest.mark.parametrize("forecaster", [ridge(), NaiveForecaster(3), WindowForecaster(
    tiny(loss="quantile", quantiles=[0.1, 0.5, 0.9]), window=12, horizon=3)], ids=repr)
def test_levels_and_quantiles_agree(forecaster, y):
    fitted = forecaster.fit(y)
    both = fitted.predict(level=80, quantiles=[0.1, 0.5, 0.9])
    name = both.columns[0]
    for end, q in (("lo", 0.1), ("hi", 0.9)):
        np.testing.assert_array_equal(both[f"{name}-{end}-80"], both[f"{name}-q-{q}"])
    pd.testing.assert_frame_equal(both[[name, f"{name}-lo-80", f"{name}-hi-80"]], fitted.predict(level=80))
    table = forecaster.backtest(y, level=80, quantiles=[0.1])
    np.testing.assert_array_equal(table[f"{name}-lo-80"], table[f"{name}-q-0.1"])


def test_small_quantiles_have_names_without_exponents(y):
    with pytest.warns(UserWarning, match="quantile=1e-05 needs at least 99999"):
        assert ridge().fit(y).predict(quantiles=1e-5).columns[1] == "Ridge-q-0.00001"


@pytest.mark.parametrize("quantiles", [[0.9], [0.8, 0.95], [0.1, 0.4]])
def test_quantiles_of_a_network_enclose_the_forecast(quantiles, y):
    with pytest.raises(ValueError, match=r"quantiles=.* must lie on both sides of 0.5"):
        WindowForecaster(tiny(loss="quantile", quantiles=quantiles), window=12).fit(y)


# ------------------------------------------------------------------------------------------------------- other histories


def test_a_history_that_is_too_short_is_told(y):
    fitted = ridge().fit(y)
    with pytest.raises(ValueError, match="cannot be forecast from its end: 5 rows, a window needs 12"):
        fitted.predict(y=y[-5:])
    panel = pd.concat({"a": y, "b": y + 1}, names=["unique_id", "ds"]).rename("y").reset_index()
    fitted = ridge().fit(panel)
    with pytest.warns(UserWarning, match="1 of 2 series cannot be forecast .b: 5 rows"):
        found = fitted.predict(y=pd.concat([panel[:300], panel[-5:]]))
    assert found.set_index("unique_id")["Ridge"].isna().groupby("unique_id").sum().to_dict() == {"a": 0, "b": 3}


@pytest.mark.parametrize("scaler", ["standard", "window"])
def test_a_series_without_a_name_is_the_fitted_one(scaler, y):
    fitted = ridge(scaler=scaler, local=scaler == "standard").fit(y)
    np.testing.assert_array_equal(fitted.predict(y=y.rename(None), level=80), fitted.predict(level=80))


def test_intervals_of_new_series_that_do_not_move_have_the_size_of_others():
    rng = np.random.default_rng(0)
    panel = pd.DataFrame(1e6 + 1e4 * rng.normal(size=(300, 4)).cumsum(axis=0), HOURS, columns=list("abcd"))
    fitted = ridge().fit(panel)
    new = fitted.predict(y=pd.DataFrame({"flat": np.full(50, 5e6)}, HOURS[:50]), level=80)
    width = float((new["flat-hi-80"] - new["flat-lo-80"]).iloc[0])
    others = fitted.predict(level=80)
    assert 0.2 < width / float((others["a-hi-80"] - others["a-lo-80"]).iloc[0]) < 5


def test_covariates_of_another_history_are_found_by_their_times(y):
    X = pd.DataFrame({"x": np.arange(303.0)}, pd.date_range(HOURS[0], periods=303, freq="h"))
    fitted = ridge().fit(y, X)
    shuffled = X.sample(frac=1, random_state=0)
    pd.testing.assert_series_equal(fitted.predict(y=y[50:], X=shuffled), fitted.predict(X=X))


def test_what_the_user_does_to_an_array_later_does_not_matter():
    a, x = np.sin(np.arange(200) / 5), np.arange(200.0)[:, None]
    fitted = ridge(past_covariates=[0]).fit(a, x)
    before = fitted.predict()
    a[-12:], x[-12:] = 100, 100
    np.testing.assert_array_equal(fitted.predict(), before)


# ------------------------------------------------------------------------------------------------ what cannot be forecast


def test_rows_beyond_the_known_ones_of_past_covariates_are_refused(y):
    X = pd.DataFrame({"wind": np.arange(300.0)}, HOURS)
    for strategy, horizon in (("direct", 3), ("recursive", 1)):
        fitted = ridge(horizon=horizon, strategy=strategy, past_covariates="wind").fit(y, X)
        assert np.isfinite(fitted.predict()).all()
        with pytest.raises(ValueError, match=r"horizon=7 goes beyond the fitted ., but the covariates \['wind'\]"):
            fitted.predict(7)


@pytest.mark.parametrize("kind", ["known", "static"])
def test_a_missing_covariate_at_the_end_is_told(kind, y):
    panel = pd.concat({"a": y, "b": y + 1}, names=["unique_id", "ds"]).rename("y").reset_index()
    X = panel[["unique_id", "ds"]].assign(x=1.0 if kind == "static" else np.arange(600.0))
    X.loc[(X["unique_id"] == "b") if kind == "static" else X.index[-5:], "x"] = np.nan
    with pytest.warns(UserWarning, match="1 of 2 series cannot be forecast .b: " + (
            "a static" if kind == "static" else "missing values")):
        fitted = ridge(static_covariates=["x"] if kind == "static" else []).fit(panel, X)
    assert list(fitted.skipped_) == ["b"]


def test_an_update_that_ends_a_series_is_told(y):
    fitted = ridge().fit(pd.DataFrame({"a": y[:250], "b": y[:250]}))
    with pytest.warns(UserWarning, match="1 of 2 series cannot be forecast"):
        fitted.update(pd.DataFrame({"a": y[250:], "b": np.nan}))


def test_a_season_that_is_not_there_is_told():
    with pytest.raises(ValueError, match="10 rows, a season has 24"):
        SeasonalNaiveForecaster(24, horizon=3, validation_fraction=0).fit(np.arange(10.0))
    y = np.arange(100.0)
    y[-24] = np.nan
    with pytest.raises(ValueError, match="missing values in its last season"):
        SeasonalNaiveForecaster(24, horizon=3).fit(y)
    y[-24:-21] = [1, 2, np.nan]
    assert SeasonalNaiveForecaster(24, horizon=2).fit(y).predict().tolist() == [1, 2], "the third is not needed"


def test_naive_forecasts_need_no_covariates(y):
    fitted = NaiveForecaster(2).fit(y, np.ones((300, 1)))
    assert fitted.predict().tolist() == [y.iloc[-1]] * 2


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("forecaster", [ridge(), NaiveForecaster(3)], ids=repr)
def test_a_missing_value_does_not_end_a_backtest(forecaster, refit, y):
    y = y.copy()
    y.iloc[-46] = np.nan  # the last value that the first cutoff of 15 could have seen
    table = forecaster.backtest(y, n_splits=15, refit=refit)
    empty = table.groupby("cutoff")[table.columns[4]].apply(lambda part: part.isna().all())
    assert 1 <= empty.sum() <= 5 and empty.iloc[0] and not empty.iloc[-1]


# ---------------------------------------------------------------------------------------------------------- late starters


@pytest.mark.parametrize("cv", [TimeSeriesSplit(3), PanelTimeSeriesSplit(3)], ids=lambda cv: type(cv).__name__)
def test_series_that_start_late_do_not_end_a_search(cv, y):
    wide = pd.DataFrame({"a": y, "b": y})
    wide.iloc[:200, 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # b is left out of the early folds
        scores = cross_val_score(ridge(), wide, cv=cv, error_score="raise")
    assert np.isfinite(scores).all()
    with pytest.warns(UserWarning, match="1 of 2 series cannot be forecast .b"):
        assert list(ridge().fit(wide[:150]).skipped_) == ["b"]


# ------------------------------------------------------------------------------------------------------------------ scores


def test_calendar_features_do_not_change_which_forecasts_are_scored():
    """Two models that know nothing forecast the same; they have the same score, over few rows, too."""
    y = pd.Series(np.random.default_rng(0).normal(size=300).cumsum(), pd.date_range("2024", periods=300, freq="D"))
    scores = []
    for features in ((), "month"):
        forecaster = WindowForecaster(Ridge(1e12), window=12, horizon=24, transform="diff", calendar_features=features)
        forecaster.fit(y[:276])
        scores.append((forecaster.score(y[276:]), forecaster.score(y[276:280])))
    np.testing.assert_allclose(*scores, rtol=1e-6)


# ------------------------------------------------------------------------------------------------------------------- holes


def test_times_that_are_missing_are_told(y):
    with pytest.warns(UserWarning, match="2 times are missing between the rows of y, the first after 2024-01-05 03:00:00"):
        fitted = ridge().fit(y.drop(y.index[[100, 200]]))
    with pytest.warns(UserWarning, match="12 times are missing"):  # a gap before the rows that are scored
        ridge().fit(y[:200]).score(y[212:])
    with pytest.warns(UserWarning, match="times are missing"):
        fitted.update(pd.Series([50.0], [HOURS[-1] + pd.Timedelta(hours=3)]))
    days = pd.Series(np.arange(300.0), pd.bdate_range("2024", periods=300))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ridge().fit(y)
        ridge().fit(days.drop(days.index[[50, 51]]))  # holidays
        ridge().fit(pd.Series(y.to_numpy(), pd.date_range("2024-03-25", periods=300, freq="h", tz="Europe/Berlin")))
        ridge().fit(pd.Series(y.to_numpy(), pd.date_range("2024-03-25", periods=300, freq="D", tz="Europe/Berlin")))


# -------------------------------------------------------------------------------------------------------- changed parameters


@pytest.mark.parametrize("parameters", [
    {"transform": "log_return"}, {"window": 5}, {"horizon": 2}, {"calendar_features": ["hour"]}, {"seasonality": 7}], ids=str)
def test_parameters_that_were_changed_after_the_fit_are_told(parameters, y):
    fitted = ridge().fit(y)
    before, (name, old) = fitted.predict(), (next(iter(parameters)), fitted.get_params())
    fitted.set_params(**parameters)
    for call in (fitted.predict, lambda: fitted.score(y), lambda: fitted.update(y), lambda: fitted.simulate(3)):
        with pytest.raises(ValueError, match=f"{name} is .* and was .* in the fit; fit again, or set it back"):
            call()
    pd.testing.assert_series_equal(fitted.set_params(**{name: old[name]}, verbose=False, refit=False).predict(), before)


def test_values_without_a_logarithm_do_not_enter(y):
    fitted = ridge(transform="log").fit(y)
    with pytest.raises(ValueError, match="needs values above 0"):
        fitted.update(pd.Series([-1.0], [HOURS[-1] + pd.Timedelta(hours=1)]))
    assert np.isfinite(fitted.predict()).all()


# ------------------------------------------------------------------------------------------------------------- regressors


def test_a_network_in_a_pipeline_keeps_its_steps(y):
    X = pd.DataFrame({"wind": np.arange(300.0)}, HOURS)
    fitted = WindowForecaster(make_pipeline(StandardScaler(), tiny()), window=12, patch=4, past_covariates=["wind"]).fit(y, X)
    assert fitted.regressor_[-1].n_channels == 8, "four rows of two columns a step"
    assert np.isfinite(fitted.predict()).all()
    with pytest.raises(ValueError, match="a network of several quantiles must be the regressor itself"):
        WindowForecaster(make_pipeline(StandardScaler(), tiny(loss="quantile", quantiles=[0.1, 0.5])), window=12).fit(y)


def test_a_regressor_that_predicts_only_after_its_fit(y):
    fitted = WindowForecaster(StackingRegressor([("a", Ridge())]), window=12).fit(y)
    assert abs(fitted.predict().iloc[0] - y.iloc[-1]) < 1


@pytest.mark.parametrize("refit", [2.7, None, "yes", -1])
def test_refit_is_whole(refit, y):
    with pytest.raises(ValueError, match="refit=.* must be True, False, or a number of cutoffs"):
        ridge().backtest(y, refit=refit)
