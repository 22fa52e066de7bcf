"""No later row decides anything earlier; and mutants, in which one does, fail the same checks.

Every check fits twice: on the rows as they are, and with 1e6 in every row behind a cut.  Scalers, weights, forecasts and
intervals before the cut must then have the same bits.
"""

import tracemalloc
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from panels import walk
from sklearn.linear_model import Ridge

from tsrnn import GRURegressor, LSTMRegressor, WindowForecaster
from tsrnn.data import sampling, splitting
from tsrnn.estimators import _backtest, _calibration, _forecaster, _windows

HUGE = 1e6
ROWS, HORIZON, STOP, CALIBRATION = 160, 3, 128, 144  # of two held-out parts of a tenth each
pytestmark = pytest.mark.filterwarnings("ignore")


def tiny(cls=GRURegressor, **options):
    """A net that knows nothing of the part to stop by, unless it is told."""
    return cls(**{"hidden_layer_sizes": (3,), "max_iter": 2, "batch_size": 32, "restore_best": False, "random_state": 0,
                  "n_jobs": 1, **options})


def stopping():
    """A net whose epochs are chosen by the part to stop by."""
    return tiny(max_iter=12, learning_rate_init=0.3, early_stopping=True, restore_best=True)


def data():
    """Two series, the second of which begins later and has a gap, and a covariate known up to the present."""
    days = pd.date_range("2024-01-01", periods=ROWS)
    y = pd.DataFrame({"a": walk(ROWS, 1, 60), "b": walk(ROWS, 2, 80)}, days)
    y.loc[days[:30], "b"] = y.loc[days[70], "b"] = np.nan
    return y, pd.DataFrame({"volume": np.random.default_rng(3).normal(size=ROWS)}, days)


def after(table, row):
    """With 1e6 from a row on."""
    table = table.copy()
    table.iloc[row:] = HUGE
    return table


def forecaster(regressor, **options):
    return WindowForecaster(regressor, **{"window": 8, "horizon": HORIZON, "scaler": "standard", "refit": False,
                                          "past_covariates": ["volume"], **options})


def state(fitted):
    """All that was learnt."""
    return [*learnt(fitted), fitted._calibration.scale]


def learnt(fitted):
    """Scalers and weights, and forecasts from rows before any cut."""
    arrays = []
    for model in fitted._model.models.values() if fitted.local else [fitted._model]:
        scaling, regressor = model.scaling, model.regressor
        arrays += [scaling.center, scaling.scale, *scaling.past]
        arrays += [regressor.coef_, regressor.intercept_] if isinstance(regressor, Ridge) else list(regressor.weights_.values())
    return [*arrays, fitted._model.outputs(fitted.history_, np.arange(10, 100), HORIZON)]


def scalers(fitted):
    return [fitted._model.scaling.center, fitted._model.scaling.scale, *fitted._model.scaling.past]


def same(arrays, others):
    assert len(arrays) == len(others)
    for one, other in zip(arrays, others):
        assert np.array_equal(one, other, equal_nan=True)


# --------------------------------------------------------------------------------- checks, which mutants must fail


def check_fit(regressor=None, cut=CALIBRATION, look=state, **options):
    """What a fit learns does not depend on rows from `cut` on."""
    y, X = data()
    regressor = regressor or Ridge()
    found = look(forecaster(regressor, **options).fit(y, X))
    same(found, look(forecaster(regressor, **options).fit(after(y, cut), after(X, cut))))
    assert len(found) > 3


def check_backtest(regressor=None, each=False, **options):
    """Forecasts and intervals of a cutoff and of all before it do not depend on rows behind it."""
    y, X = data()
    run = partial(forecaster(regressor or Ridge(), **options).backtest, n_splits=4, step=4, level=[50, 80], refit=each)
    frame = run(y, X)
    name = next(c for c in frame.columns if c.endswith("-lo-80"))[:-6]
    columns = [c for c in frame.columns if c.startswith(name)]
    assert len(columns) == 5 and frame[columns].notna().all().all() and frame["cutoff"].nunique() == 4
    for cutoff in frame["cutoff"].unique()[[0, 2]]:
        row = y.index.get_loc(cutoff) + 1
        changed = run(after(y, row), after(X, row))
        early = (frame["cutoff"] <= cutoff).to_numpy()
        same([frame.loc[early, columns].to_numpy()], [changed.loc[early, columns].to_numpy()])
        if cutoff == frame["cutoff"].min():  # and what came after them is really there
            assert not np.array_equal(frame.loc[~early, columns], changed.loc[~early, columns])


class Recorder(Ridge):
    """Remembers what it was fitted on."""

    seen = []

    def fit(self, X, y, X_val=None, y_val=None):
        type(self).seen.append([None if a is None else (a.min(), a.max()) for a in (X, y, X_val, y_val)])
        return super().fit(X, y)


def check_parts(refit=False):
    """Each row's value is its number: targets of training, stop and calibration part follow each other."""
    Recorder.seen.clear()
    fitted = WindowForecaster(Recorder(), window=8, horizon=HORIZON, scaler=None, refit=refit).fit(np.arange(float(ROWS)))
    X, y, X_val, y_val = Recorder.seen[0]
    assert X == (0, STOP - HORIZON - 1) and y == (8, STOP - 1)
    assert X_val == (STOP - 8, CALIBRATION - HORIZON - 1) and y_val == (STOP, CALIBRATION - 1)
    truth = fitted._calibration.truth
    assert np.nanmin(truth) == CALIBRATION and np.nanmax(truth) == ROWS - 1
    if refit:
        X, y, X_val, y_val = Recorder.seen[1]
        assert X == (0, ROWS - HORIZON - 1) and y == (8, ROWS - 1) and X_val is y_val is None
    assert fitted._model.last_target == (ROWS if refit else STOP) - 1


def check_walks(n=20, low=-0.03, high=0.005, **options):
    """Nothing is better on random walks than to repeat the last value: the mean skill over some lies between two bounds."""
    skills = []
    for seed in range(n):
        net = tiny(LSTMRegressor, hidden_layer_sizes=(4,), max_iter=10, learning_rate_init=0.01, early_stopping=True,
                   restore_best=True, random_state=seed)
        options = {"transform": "diff", "scaler": "window", **options}
        fitted = WindowForecaster(net, window=10, validation_fraction=0.2, refit=False, **options).fit(walk(600, seed))
        skills.append(fitted.skill_)
    assert low <= np.mean(skills) <= high, np.mean(skills)


# ---------------------------------------------------------------------------------------------------------------- tests


@pytest.mark.parametrize("options", [
    {}, {"scaler": "minmax", "transform": "diff"}, {"scaler": "robust", "transform": "log_return"}, {"scaler": "window"},
    {"scaler": "standard", "transform": "log"},
    {"scaler": "window", "transform": "diff"}, {"baseline": "last", "local": True},
    {"strategy": "recursive", "past_covariates": ()}], ids=str)
@pytest.mark.parametrize("kind", ["ridge", "gru"])
def test_a_fit_does_not_know_what_it_is_scored_on(kind, options):
    if options.get("past_covariates") == ():
        y, _ = data()
        fit = WindowForecaster(Ridge() if kind == "ridge" else tiny(), window=8, horizon=HORIZON, refit=False, **options).fit
        same(state_of_one(fit(y)), state_of_one(fit(after(y, CALIBRATION))))
        return
    check_fit(Ridge() if kind == "ridge" else tiny(), **options)


def state_of_one(fitted):
    return [fitted._model.scaling.center, fitted._model.outputs(fitted.history_, np.arange(10, 100), HORIZON)]


def test_an_early_stop_does_not_know_what_it_is_scored_on():
    check_fit(stopping())


@pytest.mark.parametrize("scaler", ["standard", "minmax", "robust", "window"])
def test_weights_do_not_know_the_part_to_stop_by(scaler):
    check_fit(tiny(), cut=STOP, look=learnt, scaler=scaler)


def test_scalers_do_not_know_the_part_to_stop_by():
    check_fit(stopping(), cut=STOP, look=scalers)
    with pytest.raises(AssertionError):  # the weights do: that part is what they are chosen by
        check_fit(stopping(), cut=STOP, look=learnt)


def test_a_changed_training_row_is_seen():
    """The checks would notice."""
    for regressor in (Ridge(), tiny()):
        with pytest.raises(AssertionError):
            check_fit(regressor, cut=STOP - 1 if isinstance(regressor, GRURegressor) else CALIBRATION - 1, look=learnt)


@pytest.mark.parametrize("each", [False, True], ids=["once", "each"])
@pytest.mark.parametrize("kind, options", [
    ("ridge", {}), ("ridge", {"refit": True, "transform": "log_return"}), ("ridge", {"scaler": "window", "baseline": "last"}),
    ("ridge", {"local": True}), ("gru", {}), ("gru", {"refit": True, "transform": "diff", "scaler": "window"})], ids=str)
def test_a_backtest_does_not_know_what_comes(kind, options, each):
    check_backtest(Ridge() if kind == "ridge" else stopping(), each, **options)


def test_an_update_does_not_know_what_comes():
    """Forecasts after some rows are those of a longer history that goes on with other rows."""
    y, X = data()
    fitted = forecaster(Ridge(), refit=True).fit(y[:100], X[:100])
    before = fitted.predict(level=80)
    weights = state(fitted)
    fitted.update(after(y, 101)[100:110], after(X, 101)[100:110])
    same(weights[1:5], state(fitted)[1:5])
    again = forecaster(Ridge(), refit=True).fit(y[:100], X[:100]).predict(level=80)
    pd.testing.assert_frame_equal(before, again, check_exact=True)


@pytest.mark.parametrize("refit", [False, True])
def test_targets_of_the_parts_follow_each_other(refit):
    check_parts(refit)


@pytest.mark.parametrize("regressor", [Ridge(), tiny()])
def test_the_last_training_target_lies_before_the_cut(regressor):
    y, X = data()
    fitted = forecaster(regressor).fit(y, X)
    cut = CALIBRATION if isinstance(regressor, Ridge) else STOP
    times = fitted.history_.times
    assert times[fitted._model.last_target] == y.index[cut - 1]


def test_random_walks_have_no_skill():
    check_walks()


def test_levels_of_random_walks_have_less_than_none():
    """The common tutorial: levels and a scaler for all of them. It does far worse than nothing at all, and is told so."""
    with pytest.raises(AssertionError):
        check_walks(5, transform=None, scaler="standard")
    check_walks(5, -99, -0.3, transform=None, scaler="standard")


# -------------------------------------------------------------------------------------------------------------- mutants


def scaling_of_all_rows(panel, ends, settings):
    return sampling.fit_scaling(panel, panel.bounds[1:], settings)


def covariates_of_all_rows(columns, rows):
    from tsrnn.data.scaling import standardise

    return standardise(columns, np.arange(len(columns)))


def origins_up_to_the_next_part(good, first, stop, horizon):
    """Whose first target is in the part: the others are not."""
    return splitting.origins_of(good, first, stop + horizon - 1, horizon)


def origins_of_all_rows(good, first, stop, horizon):
    return np.flatnonzero(good)


def movement_of_all_rows(panel, ends, transform, seasonality):
    return _calibration.movement_scale(panel, panel.bounds[1:], transform, seasonality)


TRAIN, WINDOWS_AT = WindowForecaster._train, sampling.windows_at


def stops_by_all_rows(self, panel, parts):
    parts = parts.copy()
    parts[-2] = parts[-1]
    return TRAIN(self, panel, parts)


def one_row_ahead(table, before, length):
    """Windows that end a row behind their origin, where it is there."""
    found = WINDOWS_AT(table, before, length)
    if length < 8:  # targets
        return found
    ahead = WINDOWS_AT(table, np.minimum(before + 1, len(table) - 1 - length), length)
    return np.where(np.isfinite(ahead).all(axis=(1, 2), keepdims=True), ahead, found)


# what is wrong → (where, name, mutant, the check that must fail)
MUTANTS = {
    "the scaler sees the rows to score on": (_windows, "fit_scaling", scaling_of_all_rows, check_fit),
    "the scaler sees the rows to stop by": (_windows, "fit_scaling", scaling_of_all_rows,
                                            partial(check_fit, stopping(), cut=STOP, look=scalers)),
    "covariates are scaled by all rows": (sampling, "standardise", covariates_of_all_rows, check_fit),
    "training targets reach into the next part": (_windows, "origins_of", origins_up_to_the_next_part, check_fit),
    "targets of the net reach into the next part": (_windows, "origins_of", origins_up_to_the_next_part,
                                                    partial(check_fit, tiny(), cut=STOP, look=learnt)),
    "training targets overlap": (_windows, "origins_of", origins_up_to_the_next_part, check_parts),
    "all windows are learnt from": (_windows, "origins_of", origins_of_all_rows, check_fit),
    "epochs are chosen by the rows to score on": (WindowForecaster, "_train", stops_by_all_rows,
                                                  partial(check_fit, stopping())),
    "the scale of errors is that of all rows": (_forecaster, "movement_scale", movement_of_all_rows, check_fit),
    "a backtest fits on all rows": (_backtest, "until", lambda panel, last: panel, check_backtest),
    "a backtest that refits does so on all rows": (_backtest, "until", lambda panel, last: panel,
                                                   partial(check_backtest, each=True)),
    "intervals know later errors": (_calibration.Corrections, "at", lambda self, ages: self, check_backtest),
    "windows show a row behind their origin": (sampling, "windows_at", one_row_ahead, check_backtest),
    "windows of a net show a row behind their origin": (sampling, "windows_at", one_row_ahead, partial(check_walks, 5)),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_fails(name, monkeypatch):
    target, key, mutant, check = MUTANTS[name]
    check()
    monkeypatch.setattr(target, key, mutant)
    with warnings.catch_warnings(), pytest.raises(AssertionError):
        warnings.simplefilter("ignore")
        check()


# --------------------------------------------------------------------------------------------------------------- memory


def test_no_array_of_all_windows_is_ever_made():
    """300,000 windows of 200 rows would be 480 MB; the fit takes a small multiple of the series' 2.4 MB."""
    net = tiny(hidden_layer_sizes=(2,), max_iter=1, batch_size=1024)
    make = partial(WindowForecaster, net, window=200, patch=50, refit=False)
    make().fit(walk(5000))  # compiles
    y = walk(300_000)
    tracemalloc.start()
    try:
        make().fit(y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * y.nbytes


@pytest.mark.parametrize("refit", [False, True])
def test_a_gap_in_one_series_of_a_panel(refit):
    """A series that pauses is forecast from its last value at each cutoff, under that cutoff's own date."""
    y = data()[0]
    y = pd.Series(np.asarray(y, float).reshape(len(y), -1)[:, 0], y.index)
    a = pd.DataFrame({"unique_id": "a", "ds": y.index, "y": y.to_numpy()})
    b = a.assign(unique_id="b", y=a["y"] + 1).drop(index=range(len(a) - 14, len(a) - 8))
    panel = pd.concat([a, b], ignore_index=True)
    options = {"n_splits": 6, "step": 3, "refit": refit, "level": 80}
    table = forecaster(Ridge(), past_covariates=(), refit=refit).backtest(panel, **options)
    assert not table.duplicated(["unique_id", "ds", "cutoff"]).any()
    assert (table["ds"] > table["cutoff"]).all()
    for cutoff, part in table.groupby("cutoff"):
        later = panel.assign(y=panel["y"].where(panel["ds"] <= cutoff, 1e6))
        again = forecaster(Ridge(), past_covariates=(), refit=refit).backtest(later, **options)
        columns = ["unique_id", "ds", "Ridge", "Ridge-lo-80", "Ridge-hi-80", "naive"]
        pd.testing.assert_frame_equal(part[columns], again.loc[again["cutoff"] == cutoff, columns], check_exact=True)
