"""Intervals: ranks, rolling, pooling, and what is said of them, against definitions that count."""

import itertools
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from panels import make_panel, walk
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from tsrnn import GRURegressor, NaiveForecaster, WindowForecaster
from tsrnn.data.splitting import until
from tsrnn.estimators import _calibration
from tsrnn.estimators._calibration import (
    Corrections,
    calibrate,
    enough,
    filled,
    movement_scale,
    past_forecasts,
    quantile_of,
    rank,
)
from tsrnn.estimators._levels import read_levels
from tsrnn.estimators._repeat import Repeat

pytestmark = pytest.mark.filterwarnings("ignore:skill_")
LEVELS = (10, 50, 80, 90, 95, 99)


class Model:
    """Forecasts that depend on the last two values; quantiles at some distance from them."""

    def __init__(self, quantiles=(), slope=0.3, needs_future=False):
        self.quantiles, self.slope, self.needs_future = quantiles, slope, needs_future

    def outputs(self, panel, origins, horizon):
        before = panel.values[np.maximum(origins - 1, 0)]
        ahead = np.arange(1, horizon + 1)[None, :, None]
        point = panel.values[origins][:, None] + self.slope * ahead * np.sign(panel.values[origins] - before)[:, None]
        if self.needs_future:  # as with covariates known ahead: behind the last row nobody knows them
            stops = panel.bounds[1:][panel.series_of_row[origins]]
            point[origins + horizon >= stops] = np.nan
        return np.stack([point + (q - 0.5) * ahead for q in self.quantiles or (0.5,)], axis=-1)


def conformal(errors, q):
    """The definition: so many errors lie on one side of it that a new one does with probability q, or the outermost."""
    n = len(errors)
    if q >= 0.5:
        able = [e for e in errors if sum(errors <= e) >= (n + 1) * q - 1e-9]
        return min(able, default=max(errors))
    able = [e for e in errors if sum(errors >= e) >= (n + 1) * (1 - q) - 1e-9]
    return max(able, default=min(errors))


def naive_errors(panel, model, first_rows, ends, length, scale, q, h):
    """Errors h rows ahead, by channel, that are known when each series ends before ``ends``, of its last `length` origins."""
    found = []
    for s in range(panel.n_series):
        origins = [r for r in range(max(first_rows[s] - 1, panel.bounds[s]), ends[s]) if r + h < ends[s]][-length:]
        for origin in origins:
            outputs = model.outputs(panel, np.array([origin]), h)[0, -1]
            forecast = quantile_of(outputs, model.quantiles, q if model.quantiles else None)
            found.append((panel.values[origin + h] - forecast) / scale[s])
    channels = np.array(found).reshape(-1, len(panel.channels)).T
    return [errors[np.isfinite(errors)] for errors in channels]


def rolled(calibration, panel, ends, new_ends, model, keep=None):
    """As a forecaster rolls: forecasts of the new rows, and of the last H before them."""
    part, new = until(panel, new_ends - 1), new_ends - ends
    H = calibration.horizon
    first = np.maximum(part.bounds[1:] - new - H, part.bounds[:-1])
    return calibration.roll(*past_forecasts(part, model, first, int(new.max()) + H, H, None), new, keep)


def check_table(corrections, qs, panel, model, first_rows, ends, length, scale, horizon):
    table, counts = corrections.table()
    for h in range(horizon):
        for i, q in enumerate(qs):
            errors = naive_errors(panel, model, first_rows, ends, length, scale, q, h + 1)
            assert counts[h] == min(map(len, errors))
            expected = [conformal(one, q) if q != 0.5 else errors_middle(one) for one in errors]
            np.testing.assert_allclose(table[h, :, i], expected, rtol=1e-12)


def errors_middle(errors):
    return np.sort(errors)[rank(len(errors), 0.5) - 1]


# ---------------------------------------------------------------------------------------------------------------- ranks


@pytest.mark.parametrize("n", [1, 2, 7, 9, 18, 19, 20, 39, 99, 100])
def test_ranks_by_counting(n):
    errors = np.random.default_rng(n).normal(size=n)
    for q in sorted({round(0.5 + side * level / 200, 12) for level in LEVELS for side in (-1, 1)} | {0.025, 0.3, 0.7}):
        assert np.sort(errors)[rank(n, q) - 1] == conformal(errors, q)
        assert rank(n, q) + rank(n, round(1 - q, 12)) == n + 1 or q == 0.5


def test_coverage_of_exchangeable_errors_is_that_of_the_ranks():
    """P(cover) = (upper rank - lower rank) / (n + 1): at least the level, and at most 2 / (n + 1) more."""
    for n, level in itertools.product(range(1, 200), LEVELS):
        low, high = (rank(n, round(0.5 + side * level / 200, 12)) for side in (-1, 1))
        share = (high - low) / (n + 1)
        if n >= np.ceil(round(200 / (100 - level), 9)) - 1:
            assert level / 100 - 1e-9 <= share <= level / 100 + 2 / (n + 1) + 1e-9, (n, level)
        else:
            assert (low, high) == (1, n)


@pytest.mark.parametrize("n, level", [(9, 80), (39, 95), (25, 50)])
def test_coverage_when_simulated(n, level):
    rng, trials = np.random.default_rng(0), 3000
    errors, new = rng.exponential(size=(trials, n + 1)), rng.exponential(size=trials)
    qs, covered = [round(0.5 + side * level / 200, 12) for side in (-1, 1)], 0
    for row, truth in zip(errors, new):
        table = np.append(row[:n], np.nan).reshape(1, n + 1, 1, 1)
        (((low, high),),), _ = Corrections(dict.fromkeys(qs, table), n, np.zeros(1, np.int64)).table()
        covered += low <= truth <= high
    noise = 3 * np.sqrt(0.25 / trials)
    assert level / 100 - noise < covered / trials < level / 100 + 2 / (n + 1) + noise


def test_too_few_errors_are_told():
    enough(np.array([40, 39]), read_levels([80, 95], [0.1, 0.5]))
    with pytest.warns(UserWarning, match=r"level=95 needs at least 39 calibration errors a horizon, .* 38 for 2 rows ahead: "
                                         r"it rests on the largest") as told:
        enough(np.array([60, 38]), read_levels([80, 95], None))
    assert len(told) == 1
    with pytest.warns(UserWarning, match=r"level=80 needs at least 9 .* there are 0: it is not known"):
        enough(np.array([0]), read_levels(80, None))
    with pytest.warns(UserWarning, match=r"quantile=0.95 needs at least 19 "):
        enough(np.array([18]), read_levels(None, [0.5, 0.95]))


def test_too_few_errors_far_ahead_are_told():
    """One row ahead there are 20, twenty rows ahead there is one."""
    forecaster = WindowForecaster(Ridge(), window=10, horizon=20).fit(np.sin(np.arange(200) / 3))
    with pytest.warns(UserWarning, match=r"level=80 needs at least 9 calibration errors a horizon, .* 1 for 20 rows ahead"):
        forecaster.predict(level=80)
    with pytest.warns(UserWarning, match=r"quantile=0.9 needs at least 9 calibration errors") as told:
        forecaster.backtest(np.sin(np.arange(200) / 3), n_splits=2, refit=True, quantiles=[0.9])
    assert len(told) == 1, "one backtest, one warning"


@pytest.mark.parametrize("refit", [False, True])
def test_the_calendar_is_known_ahead_of_the_last_rows(refit):
    """With calendar features as many errors count as without; not so with covariates whose future nobody knows yet."""
    y = pd.Series(10 + np.sin(np.arange(200) / 3), pd.date_range("2024", periods=200, freq="h"))
    counts = []
    for features in ((), ("hour",)):
        forecaster = WindowForecaster(Ridge(), window=10, horizon=8, calendar_features=features, refit=refit).fit(y[:180])
        forecaster.update(y[180:185])
        counts.append(forecaster._calibration.corrections([0.5]).table()[1])
    np.testing.assert_array_equal(*counts)
    np.testing.assert_array_equal(counts[0], np.minimum(18 - np.arange(8) + 5, 18))  # a tenth of 180, and the new ones


def test_series_that_stand_still_do_not_count():
    """Their errors of 0 would narrow the intervals of those that move."""
    walks = np.random.default_rng(0).normal(size=(400, 10)).cumsum(axis=0)
    moving = WindowForecaster(Ridge(), window=5, horizon=2, transform="diff").fit(walks)
    both = WindowForecaster(Ridge(), window=5, horizon=2, transform="diff").fit(np.hstack([walks, np.full((400, 10), 3.0)]))
    one, other = (forecaster._calibration.corrections([0.1, 0.9]).table() for forecaster in (moving, both))
    np.testing.assert_array_equal(one[1], other[1])
    np.testing.assert_allclose(one[0], other[0], rtol=0.2)  # the weights have seen other windows
    wide = pd.DataFrame({"walk": walks[:, 0], "still": 3.0})
    joined = NaiveForecaster(multivariate=True).fit(wide).predict(level=80)
    alone = NaiveForecaster().fit(wide["walk"]).predict(level=80)
    np.testing.assert_allclose(joined.filter(like="walk").to_numpy(), alone.to_numpy())
    assert np.isfinite(joined).all(axis=None)
    still = NaiveForecaster().fit(np.full(100, 7.0))
    assert still.predict(level=80).to_numpy().tolist() == [[7, 7, 7]]


# -------------------------------------------------------------------------------------------------------------- rolling

PANELS = {"one": {"lengths": (90,)}, "several": {"lengths": (90, 70, 35), "missing": 0.02},
          "channels": {"lengths": (80,), "channels": 2}}


@pytest.mark.parametrize("quantiles", [(), (0.1, 0.5, 0.9)], ids=["point", "quantiles"])
@pytest.mark.parametrize("name", PANELS)
def test_rolling_is_calibrating_anew(name, quantiles):
    """At each moment, by roll and by at: exactly the errors that were known then."""
    panel, horizon, qs = make_panel(**PANELS[name], seed=3), 4, [0.025, 0.1, 0.5, 0.9, 0.975]
    model = Model(quantiles)
    moments = [panel.bounds[1:] - back for back in (15, 14, 9, 0)]
    first_rows = moments[0] - 12
    scale = movement_scale(panel, first_rows, None, 1)
    part, rows = until(panel, moments[0] - 1), until_rows(panel, first_rows, moments[0])
    calibration = calibrate(part, model, rows, scale, horizon, None)
    assert calibration.length == 12
    check_table(calibration.corrections(qs), qs, panel, model, first_rows, moments[0], 12, scale, horizon)
    at_once = rolled(calibration, panel, moments[0], moments[-1], model, keep=calibration.truth.shape[1] + 15)
    now = moments[0]
    for moment in moments[1:]:
        calibration, now = rolled(calibration, panel, now, moment, model), moment
        check_table(calibration.corrections(qs), qs, panel, model, first_rows, now, 12, scale, horizon)
    assert calibration.truth.shape[1] == 12 + horizon
    corrections = at_once.corrections(qs)
    for moment in moments:
        check_table(corrections.at(moments[-1] - moment), qs, panel, model, first_rows, moment, 12, scale, horizon)


def until_rows(panel, rows, ends):
    """Row numbers in ``until(panel, ends - 1)``."""
    return rows - panel.bounds[:-1] + np.concatenate([[0], np.cumsum(ends - panel.bounds[:-1])])[:-1]


def test_series_of_a_panel_may_get_rows_at_their_own_pace():
    panel, model, horizon = make_panel((60, 60, 60), seed=2), Model(), 3
    ends, scale = np.array([40, 100, 160]), np.ones((3, 1))
    first_rows = ends - 10
    calibration = calibrate(until(panel, ends - 1), model, until_rows(panel, first_rows, ends), scale, horizon, None)
    for more in ([5, 0, 1], [1, 9, 0], [0, 0, 12]):
        calibration = rolled(calibration, panel, ends, ends + more, model)
        ends = ends + more
        check_table(calibration.corrections([0.1, 0.9]), [0.1, 0.9], panel, model, first_rows, ends, 10, scale, horizon)


def test_forecasts_that_waited_for_covariates_enter_later():
    """Of the last rows nothing could be forecast when the set was made, as covariates ahead were not known."""
    panel, model, horizon = make_panel((60,), seed=2), Model(needs_future=True), 4
    ends, scale, first_rows = np.array([40]), np.ones((1, 1)), np.array([30])
    calibration = calibrate(until(panel, ends - 1), model, first_rows, scale, horizon, None)
    assert calibration.corrections([0.1]).table()[1].tolist() == [7, 7, 7, 7]
    calibration = rolled(calibration, panel, ends, ends + 1, model)
    assert calibration.corrections([0.1]).table()[1].tolist() == [7, 8, 8, 8]
    for _ in range(9):
        ends = ends + 1
        calibration = rolled(calibration, panel, ends, ends + 1, model)
    assert calibration.corrections([0.1]).table()[1].tolist() == [7, 8, 9, 10]


def test_a_model_that_has_learnt_the_rows_does_not_judge_them():
    """After `refit` only new targets are its own; the older errors stay those of the model that had not seen them."""
    panel, horizon = make_panel((60,), seed=2), 4
    held_out, refitted = Model(slope=0.3), Model(slope=-2.0)
    ends, first_rows, scale = np.array([40]), np.array([30]), np.ones((1, 1))
    calibration = calibrate(until(panel, ends - 1), held_out, first_rows, scale, horizon, None).after_learning()
    for more in (1, 2, 9):
        calibration = rolled(calibration, panel, ends, ends + more, refitted)
        ends = ends + more
        errors, last = calibration.errors(None)[0, :, :, 0], calibration.truth.shape[1] - 1
        for age, h in itertools.product(range(calibration.length), range(horizon)):
            origin = ends[0] - 1 - age
            target = origin + h + 1
            if target >= ends[0] or origin < 29:
                assert np.isnan(errors[last - age, h])
                continue
            model = refitted if target >= 40 else held_out
            expected = panel.values[target, 0] - model.outputs(panel, np.array([origin]), h + 1)[0, -1, 0, 0]
            assert errors[last - age, h] == expected


def test_a_series_that_ended_before_brings_no_errors():
    """All that it has was learnt from; an update of the others does not change that."""
    panel, model = make_panel((60, 30), seed=2), Model()
    ends, scale = np.array([50, 90]), np.ones((2, 1))
    part = until(panel, ends - 1)
    calibration = calibrate(part, model, np.array([40, 80]), scale, 3, None)
    calibration = rolled(calibration, panel, ends, ends + [5, 0], model)
    errors = calibration.errors(None)
    assert np.isnan(errors[1]).all() and np.isfinite(errors[0]).any()


def test_a_long_calibration_keeps_what_fits(monkeypatch):
    monkeypatch.setattr(_calibration, "MOST_VALUES", 60)
    monkeypatch.setattr(_calibration, "FEWEST_ORIGINS", 5)
    panel, model, scale = make_panel((100,), seed=6), Model(), np.ones((1, 1))
    calibration = calibrate(panel, model, np.array([20]), scale, 3, None)
    assert calibration.length == 20 and calibration.truth.shape == (1, 23, 3, 1)
    check_table(calibration.corrections([0.1, 0.9]), [0.1, 0.9], panel, model, [20], [100], 20, scale, 3)
    assert calibrate(panel, model, np.array([20]), scale, 30, None).length == 5


def test_errors_are_pooled_in_units_of_their_series():
    """A panel's errors stand together once each is divided by the size of its own series' movements."""
    panel = make_panel((80, 80), seed=8)
    values = panel.values.copy()
    values[80:] = 1000 * values[:80]
    panel, model = replace(panel, values=values), Repeat(1)
    scale = movement_scale(panel, panel.bounds[:-1] + 60, None, 1)
    assert scale[1, 0] == pytest.approx(1000 * scale[0, 0])
    calibration = calibrate(panel, model, panel.bounds[:-1] + 60, scale, 2, None)
    errors = calibration.errors(None)
    np.testing.assert_allclose(errors[1], errors[0])
    check_table(calibration.corrections([0.1, 0.9]), [0.1, 0.9], panel, model, [60, 140], [80, 160], 20, scale, 2)


@pytest.mark.parametrize("transform", [None, "log", "log_return"])
def test_past_forecasts(transform):
    panel, horizon, n = make_panel((30, 6), missing=0.05, seed=1), 3, 10
    first = np.array([22, 30])
    truth, outputs = past_forecasts(panel, Model(), first, n, horizon, transform)
    space = np.log if transform else np.asarray
    for s, i, h in itertools.product(range(2), range(n), range(horizon)):
        origin, stop = panel.bounds[s + 1] - n + i, panel.bounds[s + 1]
        if origin < first[s]:
            assert np.isnan(truth[s, i]).all() and np.isnan(outputs[s, i]).all()
            continue
        np.testing.assert_array_equal(outputs[s, i, h], space(Model().outputs(panel, np.array([origin]), horizon)[0, h]))
        row = origin + h + 1
        np.testing.assert_array_equal(truth[s, i, h], space(panel.values[row]) if row < stop else [np.nan])


# ---------------------------------------------------------------------------------------------------------------- parts


@pytest.mark.parametrize("transform", [None, "diff", "log", "log_return"])
@pytest.mark.parametrize("seasonality", [1, 4, 7, 24])
def test_movement_scale(transform, seasonality):
    panel = make_panel((60, 20, 3, 1, 40), channels=2, missing=0.05, seed=4)
    values = panel.values.copy()
    values[panel.bounds[4]:, 1] = 9.0  # stands still
    panel, ends = replace(panel, values=values), panel.bounds[1:] - [10, 0, 0, 0, 1]
    found = movement_scale(panel, ends, transform, seasonality)
    expected = np.full((5, 2), np.nan)
    for s, c in itertools.product(range(5), range(2)):
        part = values[panel.bounds[s]:ends[s], c]
        part = np.log(part) if transform in ("log", "log_return") else part
        for lag in (1, seasonality):
            changes = [abs(b - a) for a, b in zip(part, part[lag:]) if np.isfinite(a) and np.isfinite(b)]
            if changes and np.mean(changes) > 0:
                expected[s, c] = np.mean(changes)
    np.testing.assert_allclose(found, expected)
    assert np.isnan(found[[2, 3, 4], [0, 0, 1]]).any(), "one row, or no movement, says nothing"
    np.testing.assert_array_equal(filled(found, found), np.where(np.isnan(found), np.nanmedian(found), found))
    assert filled(np.array([[np.nan]]), np.array([[np.nan]])) == 1


def test_quantiles_between_those_that_were_learnt():
    rng = np.random.default_rng(0)
    for known in ((0.5,), (0.1, 0.9), (0.05, 0.3, 0.5, 0.9)):
        outputs = np.sort(rng.normal(size=(20, 3, len(known))), axis=-1)
        for q in (0.01, 0.05, 0.2, 0.5, 0.77, 0.99):
            expected = [[np.interp(q, known, row) for row in rows] for rows in outputs]
            np.testing.assert_allclose(quantile_of(outputs, known, q), expected)
        np.testing.assert_array_equal(quantile_of(outputs, known, None), quantile_of(outputs, known, 0.5))
    turned = outputs[..., ::-1]
    np.testing.assert_array_equal(quantile_of(turned, known[::-1], 0.3), quantile_of(outputs, known, 0.3))
    np.testing.assert_array_equal(quantile_of(outputs[..., :1], (), 0.9), outputs[..., 0])


@pytest.mark.parametrize("seasonality", [1, 3, 8])
def test_repeat(seasonality):
    panel = make_panel((20, 5), channels=2, missing=0.05)
    found = Repeat(seasonality).outputs(panel, np.arange(25), 7)
    assert found.shape == (25, 7, 2, 1)
    for origin, h in itertools.product(range(25), range(1, 8)):
        row = max(r for r in range(-20, origin + 1) if (r - origin - h) % seasonality == 0)
        start = 0 if origin < 20 else 20
        np.testing.assert_array_equal(found[origin, h - 1, :, 0], panel.values[row] if row >= start else [np.nan] * 2)


def test_levels_and_quantiles_are_read_into_one():
    wanted = read_levels([80, 95.5], 0.5)
    assert [w.label for w in wanted] == ["lo-95.5", "lo-80", "q-0.5", "hi-80", "hi-95.5"]
    assert [w.q for w in wanted] == [0.0225, 0.1, 0.5, 0.9, 0.9775] and [w.level for w in wanted] == [95.5, 80, None, 80, 95.5]
    assert read_levels(None, None) == [] and len(read_levels(np.array([80, 90]), [])) == 4
    both = {(w.label, w.q) for w in read_levels(80, [0.1, 0.9])}
    assert both == {("lo-80", 0.1), ("q-0.1", 0.1), ("hi-80", 0.9), ("q-0.9", 0.9)}


@pytest.mark.parametrize("level, quantiles, message", [
    (100, None, "level=100 must be"), (0, None, "level=0 must be"), (0.95, None, "an interval of 80 % is level=80"),
    (None, [0.5, 1], "quantiles=1 must be between 0 and 1"), (None, 0.0, r"quantiles=0.0 must be"), (True, None, "level=True"),
    (["80"], None, "level='80'"), ([float("nan")], None, "level=nan"), ([80, 80], None, "something twice")])
def test_what_no_level_is(level, quantiles, message):
    with pytest.raises(ValueError, match=message):
        read_levels(level, quantiles)


# ----------------------------------------------------------------------------------------------------- behind forecasts


def fitted(regressor=None, **options):
    series = pd.Series(walk(300), pd.date_range("2024-01-01", periods=300))
    return WindowForecaster(regressor or Ridge(), **{"window": 6, "horizon": 3, "validation_fraction": 0.2, **options}), series


@pytest.fixture(scope="module")
def quantile_net():
    regressor = GRURegressor(hidden_layer_sizes=(3,), loss="quantile", quantiles=(0.9, 0.1, 0.5), max_iter=2, random_state=0)
    forecaster, series = fitted(regressor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return forecaster.fit(series)


@pytest.mark.parametrize("kind", ["point", "quantile loss", "log_return"])
def test_level_and_quantiles_agree_and_never_cross(kind, quantile_net):
    forecaster = quantile_net
    if kind != "quantile loss":
        forecaster, series = fitted(transform=None if kind == "point" else kind)
        forecaster.fit(series + 100)
    by_level = forecaster.predict(level=[50, 80, 95])
    by_quantile = forecaster.predict(quantiles=[0.025, 0.1, 0.25, 0.75, 0.9, 0.975])
    name = next(iter(by_level))
    columns = ["lo-95", "lo-80", "lo-50", "hi-50", "hi-80", "hi-95"]
    np.testing.assert_array_equal(by_level[[f"{name}-{c}" for c in columns]], by_quantile.iloc[:, 1:])
    assert (np.diff(by_quantile.iloc[:, 1:]) >= 0).all() and (np.diff(by_quantile.iloc[:, [1, -1]]) > 0).all()
    assert list(by_quantile.columns[1:3]) == [f"{name}-q-0.025", f"{name}-q-0.1"]
    np.testing.assert_array_equal(by_level[name], forecaster.predict())
    alone = forecaster.predict(level=80)
    np.testing.assert_array_equal(alone, by_level[alone.columns])


def test_an_interval_is_the_forecast_and_its_errors():
    """By hand, from the held-out rows of a repeated value."""
    y = walk(200, seed=3)
    forecaster = NaiveForecaster(horizon=2, validation_fraction=0.25).fit(y)
    found = forecaster.predict(level=80)
    for h in (1, 2):
        errors = np.array([y[r + h] - y[r] for r in range(149, 200 - h)])
        assert len(errors) == 51 - h
        np.testing.assert_allclose(found.iloc[h - 1], [y[-1], y[-1] + conformal(errors, 0.1), y[-1] + conformal(errors, 0.9)])


def test_update_rolls_the_errors_of_forecasts_that_were_made():
    """After refit=True the regressor knows the held-out rows by heart; intervals must not believe it."""
    forecaster, series = fitted(KNeighborsRegressor(1), scaler="standard", baseline="last")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forecaster.fit(series[:-1])
    before = forecaster._calibration.errors(None)
    forecaster.update(series[-1:])
    after = forecaster._calibration.errors(None)
    known = np.isfinite(before)[0, 1:, :, 0]
    np.testing.assert_array_equal(after[0, :-1][known], before[0, 1:][known])


@pytest.mark.parametrize("refit", [False, True])
def test_a_backtest_knows_what_a_fit_at_its_cutoff_knows(refit):
    forecaster, series = fitted(refit=refit)
    frame = forecaster.backtest(series, n_splits=3, level=80, refit=True)
    assert len(frame) == 9
    for cutoff, part in frame.groupby("cutoff"):
        expected = forecaster.fit(series[:cutoff]).predict(level=80)
        np.testing.assert_allclose(part[expected.columns], expected, rtol=1e-12)


def test_a_backtest_without_refits_is_fit_and_update():
    forecaster, series = fitted()
    frame = forecaster.backtest(series, n_splits=4, step=2, level=80)
    forecaster.fit(series[:frame["cutoff"].min()])
    for cutoff, part in frame.groupby("cutoff"):
        more = series[forecaster.history_.times[-1]:cutoff][1:]
        expected = (forecaster.update(more) if len(more) else forecaster).predict(level=80)
        np.testing.assert_allclose(part[expected.columns], expected, rtol=1e-12)
