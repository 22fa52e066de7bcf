"""`n_ensembles` and `local=True`: the mean of the members, seeds, refusals, and the same bits for any number of threads."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tsrnn import LSTMRegressor, StockForecaster, WindowForecaster
from tsrnn.datasets import load_prices
from tsrnn.estimators._several import member
from tsrnn.estimators._windows import WindowModel
from tsrnn.plotting.forecast import model_name
from tsrnn.plotting.history import HistoryDisplay

pytestmark = pytest.mark.filterwarnings("ignore:skill_")

SERIES = 100 + np.random.default_rng(0).normal(size=(90, 3)).cumsum(0)


def network(**params):
    return LSTMRegressor(**{"hidden_layer_sizes": (3,), "max_iter": 2, "batch_size": 32, "random_state": 0,
                            "n_iter_no_change": np.inf} | params)


def forecaster(regressor=None, **params):
    return WindowForecaster(network() if regressor is None else regressor, **{"window": 8, "horizon": 2} | params)


@pytest.mark.parametrize("params", [{}, {"transform": "diff"}, {"transform": "log"}, {"strategy": "recursive"},
                                    {"refit": False}, {"multivariate": True}], ids=str)
def test_the_mean_of_the_members(params):
    logs = params.get("transform") == "log"
    into, back = (np.log, np.exp) if logs else (np.asarray, np.asarray)
    both = forecaster(n_ensembles=3, **params).fit(SERIES)
    singles = [forecaster(member(network(), k), **params).fit(SERIES) for k in range(3)]
    for horizon in (2, 5):
        mean = back(np.mean([into(single.predict(horizon)) for single in singles], axis=0))
        np.testing.assert_allclose(both.predict(horizon), mean, rtol=1e-12)
    seeds = [regressor.random_state for regressor in both.regressor_]
    assert seeds[0] == 0 and len(set(seeds)) == 3
    assert [r.n_iter_ for r in both.regressor_] == [single.regressor_.n_iter_ for single in singles]


def test_one_is_what_there_is_without():
    assert np.array_equal(forecaster(n_ensembles=1).fit(SERIES).predict(), forecaster().fit(SERIES).predict())
    assert isinstance(forecaster(n_ensembles=1).fit(SERIES).regressor_, LSTMRegressor)


@pytest.mark.parametrize("n_ensembles", [1, 2])
def test_the_same_bits_for_any_number_of_threads(n_ensembles):
    found = []
    for n_jobs in (1, 2, 3):
        fitted = forecaster(network(n_jobs=n_jobs), n_ensembles=n_ensembles, local=True).fit(SERIES)
        table = fitted.backtest(SERIES, n_splits=3, refit=True, level=50)
        found.append([fitted.predict(level=80).to_numpy(), fitted.skill_, *(table[c].to_numpy() for c in table.columns[3:])])
    for other in found[1:]:
        for one, two in zip(found[0], other):
            assert np.array_equal(one, two, equal_nan=True)


def test_local_is_a_forecaster_a_series():
    local = forecaster(local=True, n_ensembles=2).fit(SERIES)
    for s, forecasts in enumerate(local.predict().T):
        assert np.array_equal(forecasts, forecaster(n_ensembles=2).fit(SERIES[:, s]).predict())
    assert {name: len(regressors) for name, regressors in local.regressor_.items()} == dict.fromkeys(local.history_.ids, 2)


def test_everything_works_on_the_mean():
    fitted = forecaster(n_ensembles=2, validation_fraction=0.3).fit(SERIES)
    before = fitted.predict(level=50)
    assert np.isfinite(fitted.skill_) and (before.to_numpy()[:, 0::3] <= before.to_numpy()[:, 2::3]).all()
    assert fitted.simulate(4, random_state=0).shape == (4, 2, 3) and np.isfinite(fitted.score(SERIES[-9:]))
    weights = [regressor.get_weights() for regressor in fitted.regressor_]
    fitted.update(SERIES[-4:])
    assert np.array_equal(weights[1]["lstm_0.W_ih"], fitted.regressor_[1].get_weights()["lstm_0.W_ih"])
    fitted.update(SERIES[-4:], epochs=1)
    for old, regressor in zip(weights, fitted.regressor_):
        assert not np.array_equal(old["lstm_0.W_ih"], regressor.get_weights()["lstm_0.W_ih"])
    assert clone(fitted).n_ensembles == 2
    quantiles = network(loss="quantile", quantiles=(0.1, 0.5, 0.9))
    frame = forecaster(quantiles, n_ensembles=2, validation_fraction=0.3).fit(SERIES[:, 0]).predict(level=50)
    assert np.isfinite(np.asarray(frame, float)).all()


@pytest.mark.parametrize("params", [{"n_ensembles": 3}, {"local": True}], ids=str)
def test_an_update_that_fails_changes_nothing(params, monkeypatch):
    fitted = forecaster(network(n_jobs=1), **params).fit(SERIES)
    before, learn, calls = fitted.predict(), WindowModel.learn, []

    def fail(self, *arguments):
        calls.append(learn(self, *arguments))
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(WindowModel, "learn", fail)
    with pytest.raises(KeyboardInterrupt):
        fitted.update(SERIES[-4:], epochs=1)
    assert np.array_equal(fitted.predict(), before) and len(calls) == 2


def test_stocks():
    prices = load_prices().iloc[-120:]
    fitted = StockForecaster(network(), window=6, horizon=2, n_ensembles=2).fit(prices)
    singles = [StockForecaster(member(network(), k), window=6, horizon=2).fit(prices).predict() for k in range(2)]
    np.testing.assert_allclose(np.log(fitted.predict()), np.mean(np.log(singles), axis=0), rtol=1e-12)


@pytest.mark.parametrize(("n", "regressor", "message"), [
    (0, network(), "n_ensembles"), (1.5, network(), "n_ensembles"),
    (2, LinearRegression(), "n_ensembles=2 needs a regressor with a random_state, LinearRegression has none"),
])
def test_refused(n, regressor, message):
    with pytest.raises(ValueError, match=message):
        forecaster(regressor, n_ensembles=n).fit(SERIES)


def test_equal_forecasts_are_told_and_are_no_error():
    with pytest.warns(UserWarning, match="n_ensembles=2, but Ridge gives the same forecasts with two values of random_state"):
        forecaster(Ridge(), n_ensembles=2).fit(SERIES)
    asleep = np.column_stack([SERIES[:, 0], np.ones(len(SERIES))])  # a forest has nothing to draw where a series stands still
    asleep = np.concatenate([asleep, np.tile(asleep[-1], (80, 1))])
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "n_ensembles")
        forecaster(RandomForestRegressor(3, random_state=0), n_ensembles=2).fit(asleep)
    late = np.r_[np.ones(60), SERIES[:9, 0]]  # it moves behind the rows that are learnt from
    with pytest.warns(UserWarning, match="RandomForestRegressor gives the same forecasts"):
        forecaster(RandomForestRegressor(3, random_state=0), n_ensembles=2, validation_fraction=0.3, refit=False).fit(late)


def test_seeds():
    assert member(network(random_state=None), 1).random_state is None
    state = np.random.RandomState(5)
    assert isinstance(member(network(random_state=state), 2).random_state, int)
    assert state.randint(99) == np.random.RandomState(5).randint(99), "the user's own is left alone"
    inner = make_pipeline(StandardScaler(), network(random_state=4))
    assert member(inner, 1)[-1].random_state == member(network(random_state=4), 1).random_state != 4
    assert inner[-1].random_state == 4 and member(inner, 0) is inner
    forest = forecaster(RandomForestRegressor(3, random_state=0), n_ensembles=2).fit(SERIES)
    assert [len(regressor.estimators_) for regressor in forest.regressor_] == [3, 3]
    assert forecaster(n_ensembles=2).fit(np.ones(60)).predict().tolist() == [1, 1], "a constant is no reason to refuse"


def test_pictures_know_ensembles():
    fitted = forecaster(n_ensembles=2).fit(SERIES[:, 0])
    assert model_name(fitted) == "LSTMRegressor"
    with pytest.raises(TypeError, match=r"n_ensembles=2 holds that many networks; .*forecaster.regressor_\[0\]"):
        HistoryDisplay.from_estimator(fitted)
