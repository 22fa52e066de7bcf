"""Windows of a panel against loops over rows."""

import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from panels import make_panel

from tsrnn.data import sampling
from tsrnn.data.sampling import WindowSamples, WindowSettings, can_read, fit_scaling, have_targets, seasonal_rows, with_series
from tsrnn.data.scaling import CHANGES

FINITE = {"rtol": 1e-9, "atol": 1e-9}
TRANSFORMS = (None, "diff", "log_return")
SCALERS = (None, "window", "standard", "minmax", "robust")
BASELINES = (None, "last", "seasonal")
PANELS = {
    "one": {"lengths": (40,)},
    "several": {"lengths": (31, 9, 3, 24), "missing": 0.02},
    "channels": {"lengths": (30,), "channels": 3, "missing": 0.01},
    "covariates": {"lengths": (33, 8, 27), "past": 2, "known": 2, "static": 3, "missing": 0.005},
}


def is_valid(transform, baseline):
    return not (baseline == "last" and transform in CHANGES)


# ------------------------------------------------------------------------------------------------------- the definition


def series_at(panel, row):
    """Number, first row and row behind the last of the series that a row is in."""
    for s in range(panel.n_series):
        if panel.bounds[s] <= row < panel.bounds[s + 1]:
            return s, panel.bounds[s], panel.bounds[s + 1]
    raise AssertionError(row)


def step_at(panel, row, transform):
    """What the regressor sees of a row (C,); NaN where its series has nothing before it."""
    space = np.log if transform in ("log", "log_return") else np.asarray
    if transform not in CHANGES:
        return space(panel.values[row])
    if row == series_at(panel, row)[1]:
        return np.full(panel.values.shape[1], np.nan)
    return space(panel.values[row]) - space(panel.values[row - 1])


def spread_of(values, scaler):
    """Centre and scale of the columns of (n, C)."""
    if scaler == "standard":
        center, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    elif scaler == "minmax":
        center, scale = np.nanmin(values, axis=0), np.nanmax(values, axis=0) - np.nanmin(values, axis=0)
    else:
        center = np.nanmedian(values, axis=0)
        scale = np.nanpercentile(values, 75, axis=0) - np.nanpercentile(values, 25, axis=0)
    return center, np.where(scale > 0, scale, 1)


def naive_scaling(panel, origin, settings, ends):
    """Centre and scale (C,) at an origin."""
    s, start, _ = series_at(panel, origin)
    window = np.array([step_at(panel, r, settings.transform) for r in range(origin - settings.window + 1, origin + 1)])
    if settings.scaler is None:
        return np.zeros(window.shape[1]), np.ones(window.shape[1])
    if settings.scaler == "window":
        center = window.mean(axis=0) if settings.transform not in CHANGES else np.zeros(window.shape[1])
        return center, np.sqrt(((window - center) ** 2).mean(axis=0))
    rows = np.array([step_at(panel, r, settings.transform) for r in range(start, ends[s])])
    return spread_of(rows if len(rows) else window, settings.scaler)


def naive_sample(panel, origin, settings, ends):
    """Sample (window, columns), targets (H, C)."""
    s, _, stop = series_at(panel, origin)
    center, scale = naive_scaling(panel, origin, settings, ends)
    seen = [r for t in range(panel.n_series) for r in range(panel.bounds[t], ends[t])]

    def covariate(name, row):
        columns = getattr(panel, name)
        if settings.scaler is None:
            return list(columns[row])
        base = columns if name == "static" else columns[seen]
        return list((columns[row] - np.nanmean(base, axis=0)) / np.nanstd(base, axis=0))

    steps = []
    for row in range(origin - settings.window + 1, origin + 1):
        step = list((step_at(panel, row, settings.transform) - center) / scale)
        step += covariate("past", row) if panel.past.shape[1] else []
        if panel.known.shape[1]:
            step += covariate("known", row)
            ahead = settings.horizon
            while ahead > 0:  # as often as it takes to show all rows of the horizon
                step += covariate("known", row + ahead)
                ahead -= settings.window
        steps.append(step + (covariate("static", s) if panel.static.shape[1] else []))
    targets = []
    for row in range(origin + 1, min(origin + settings.horizon, stop - 1) + 1):
        base = center
        if settings.baseline == "last":
            base = step_at(panel, origin, settings.transform)
        if settings.baseline == "seasonal":
            like = row
            while like > origin:
                like -= settings.seasonality
            base = step_at(panel, like, settings.transform)
        targets.append((step_at(panel, row, settings.transform) - base) / scale)
    return np.array(steps), np.array(targets)


def naive_readable(panel, origin, settings):
    """Whether a forecast can be made at an origin, and whether everything that it is of is known."""
    s, start, stop = series_at(panel, origin)
    rows = range(origin - settings.window + 1, origin + 1)
    ahead = range(origin + 1, origin + settings.horizon + 1)

    def there(r, table):
        return start <= r < stop and np.isfinite(table[r]).all()

    def step_there(r):
        return start <= r < stop and np.isfinite(step_at(panel, r, settings.transform)).all()

    readable = all(step_there(r) and there(r, panel.past) and there(r, panel.known) for r in rows)
    if panel.known.shape[1]:
        readable = readable and all(there(r, panel.known) for r in ahead)
    return readable and np.isfinite(panel.static[s]).all(), all(step_there(r) for r in ahead)


def check(panel, settings, ends):
    """All that `WindowSamples` does at every row where it can do it."""
    expected = np.array([naive_readable(panel, origin, settings) for origin in range(panel.n_rows)])
    good, known = can_read(panel, settings), have_targets(panel, settings)
    np.testing.assert_array_equal(good, expected[:, 0])
    np.testing.assert_array_equal(known, expected[:, 1])
    origins = np.flatnonzero(good & known)
    assert len(origins) > 3
    samples = WindowSamples(panel, origins, settings, fit_scaling(panel, ends, settings), np.float64)
    X, y = samples.block(np.arange(len(origins)))
    assert X.shape == (len(samples), samples.steps, samples.channels) and y.shape == (len(samples), samples.n_outputs)
    for i, origin in enumerate(origins):
        steps, targets = naive_sample(panel, origin, settings, ends)
        np.testing.assert_allclose(X[i], steps.reshape(samples.steps, -1), **FINITE)
        np.testing.assert_allclose(y[i], targets.ravel(), **FINITE)
    # perfect outputs stand for the truth
    outputs = y.reshape(len(y), settings.horizon, -1)[..., None]
    ahead = origins[:, None] + np.arange(1, settings.horizon + 1)
    truth = np.array([[step_at(panel, r, settings.transform) for r in rows] for rows in ahead])
    np.testing.assert_allclose(samples.restore(origins, outputs)[..., 0], truth, **FINITE)


# ---------------------------------------------------------------------------------------------------------------- tests


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("name", PANELS)
def test_samples_are_what_loops_make(name, scaler):
    panel = make_panel(**PANELS[name])
    ends = np.maximum(panel.bounds[1:] - 8, panel.bounds[:-1] + 2)
    for transform, baseline in itertools.product(TRANSFORMS, BASELINES):
        if is_valid(transform, baseline):
            check(panel, WindowSettings(4, 3, 2, transform, scaler, baseline, 3), ends)


@pytest.mark.parametrize("window, horizon, patch, seasonality", [
    (1, 1, 1, 1), (6, 1, 3, 6), (4, 4, 4, 2), (3, 7, 1, 2), (2, 8, 2, 2), (2, 5, 1, 1)])
def test_every_shape_of_a_window(window, horizon, patch, seasonality):
    """Horizons beyond the window too: then a step sees several rows of what is known ahead."""
    for name, transform in (("covariates", None), ("covariates", "diff"), ("channels", None)):
        panel = make_panel(**{**PANELS[name], "missing": 0.0, "seed": window})
        check(panel, WindowSettings(window, horizon, patch, transform, "robust", "seasonal", seasonality), panel.bounds[1:])


def test_a_series_with_an_unknown_static_covariate_is_not_read():
    panel = make_panel(**{**PANELS["covariates"], "missing": 0.0})
    panel.static[0, 1] = np.nan
    check(panel, WindowSettings(4, 3, scaler="standard"), panel.bounds[1:])


@pytest.mark.parametrize("window, horizon", [(5, 3), (5, 5), (3, 7), (1, 4), (4, 8)])
def test_steps_see_every_row_ahead(window, horizon):
    """What is known ahead: of the window's rows and of the horizon's nothing is left out."""
    seen = {row + ahead for ahead in (0, *WindowSettings(window, horizon).offsets) for row in range(1 - window, 1)}
    assert seen >= set(range(1 - window, horizon + 1)) and max(seen) == horizon


def test_a_patch_is_rows_one_behind_the_other():
    panel = make_panel(known=1)
    whole, patched = (WindowSamples(panel, np.array([20, 30]), settings, fit_scaling(panel, panel.bounds[1:], settings))
                      for settings in (WindowSettings(6, 2), WindowSettings(6, 2, patch=3)))
    assert (whole.steps, whole.channels, patched.steps, patched.channels) == (6, 3, 2, 9)
    np.testing.assert_array_equal(whole.block(np.arange(2))[0].ravel(), patched.block(np.arange(2))[0].ravel())


@pytest.mark.parametrize("scaler", SCALERS)
def test_a_sample_does_not_depend_on_the_others(scaler, monkeypatch):
    panel = make_panel((60, 30), channels=2, past=1, seed=4)
    settings = WindowSettings(7, 2, scaler=scaler)
    origins = np.flatnonzero(can_read(panel, settings) & have_targets(panel, settings))
    samples = WindowSamples(panel, origins, settings, fit_scaling(panel, panel.bounds[1:], settings))
    X, y = samples.block(np.arange(len(origins)))
    assert X.dtype == y.dtype == np.float32 and X.flags.c_contiguous and y.flags.c_contiguous
    for size in (1, 5):
        monkeypatch.setattr(sampling, "SLICE", size * 7 * 3)
        again = samples.block(np.arange(len(origins))[::-1])
        np.testing.assert_array_equal(again[0][::-1], X)
        np.testing.assert_array_equal(again[1][::-1], y)
    some = samples.at(origins[[7, 3]]).block(np.array([1, 0]))
    np.testing.assert_array_equal(some[0], X[[3, 7]])
    assert samples.block(np.arange(0))[0].shape == (0, 7, 3)


def test_windows_are_copies():
    panel = make_panel()
    before = panel.values.copy()
    settings = WindowSettings(40, 1)
    samples = WindowSamples(panel, np.array([39]), settings, fit_scaling(panel, panel.bounds[1:], settings), targets=False)
    assert samples.block(np.arange(1))[1] is None
    np.testing.assert_array_equal(panel.values, before)


def test_a_window_that_does_not_move_is_scaled_by_its_series():
    """Else the jump behind it would be a target of a thousand deviations."""
    panel = make_panel((40,))
    values = panel.values.copy()
    values[10:20] = values[10]
    panel, settings = replace(panel, values=values), WindowSettings(5, 1)
    scaling = fit_scaling(panel, np.array([30]), settings)
    X, y = WindowSamples(panel, np.array([19]), settings, scaling, np.float64).block(np.arange(1))
    assert (X == 0).all()
    np.testing.assert_allclose(y[0], (values[20] - values[10]) / values[:30].std())


@pytest.mark.parametrize("scaler", ["standard", "minmax", "robust"])
def test_a_series_without_training_rows_is_scaled_window_by_window(scaler):
    """Late in the panel, or never seen in the fit: no later row decides, and neither does 0 and 1."""
    panel, settings = make_panel((40, 30), seed=2), WindowSettings(6, 2, scaler=scaler)
    fitted = fit_scaling(panel, np.array([25, 40]), settings)
    assert np.isnan(fitted.center[1]).all() and np.isfinite(fitted.center[0]).all()
    other = with_series(fitted, replace(panel, ids=("new", "s0")), settings)
    np.testing.assert_array_equal(other.center[:, 0], [np.nan, fitted.center[0, 0]])
    origins = np.array([52, 60])
    X, y = WindowSamples(panel, origins, settings, fitted, np.float64).block(np.arange(2))
    for i, origin in enumerate(origins):
        center, scale = spread_of(panel.values[origin - 5:origin + 1], scaler)
        np.testing.assert_allclose(X[i], (panel.values[origin - 5:origin + 1] - center) / scale)
        np.testing.assert_allclose(y[i], ((panel.values[origin + 1:origin + 3] - center) / scale)[:, 0])


def test_the_scalers_of_a_fit_stay_with_their_series():
    panel, settings = make_panel((20, 25, 30)), WindowSettings(6, 2, scaler="standard")
    fitted = fit_scaling(panel, panel.bounds[1:], settings)
    assert with_series(fitted, panel, settings) is fitted
    turned = with_series(fitted, replace(panel, ids=("s2", "s0", "s1")), settings)
    np.testing.assert_array_equal(turned.scale, fitted.scale[[2, 0, 1]])
    settings = replace(settings, scaler=None)
    plain = with_series(fit_scaling(panel, panel.bounds[1:], settings), replace(panel, ids=("a", "b", "c")), settings)
    assert (plain.center == 0).all() and (plain.scale == 1).all()


def test_seasonal_rows():
    for horizon, season in itertools.product((1, 3, 8), (1, 2, 5, 8, 11)):
        found = seasonal_rows(np.array([20, 31]), horizon, season)
        for i, origin in enumerate((20, 31)):
            for h in range(1, horizon + 1):
                assert found[i, h - 1] == max(r for r in range(origin + 1) if (r - origin - h) % season == 0)


def test_no_array_of_all_windows():
    """A block takes its own memory, and a little for the part of it that is scaled."""
    panel, settings = make_panel((100_000,), dated=False), WindowSettings(200, 1, 50, "diff")
    scaling, origins = fit_scaling(panel, panel.bounds[1:], settings), np.arange(200, 99_000)
    samples = WindowSamples(panel, origins, settings, scaling)
    tracemalloc.start()
    try:
        X, _ = samples.block(np.arange(0, 98_000, 5))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert X.nbytes > 15e6 and peak < X.nbytes + 6 * sampling.SLICE * 8
