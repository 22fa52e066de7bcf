"""Transforms and scalers: exact inverses, scikit-learn's figures, no row behind the end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import make_panel
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from tsrnn.data.scaling import (
    CHANGES,
    FLAT,
    SCALERS,
    fit_scalers,
    from_space,
    from_steps,
    safe_scale,
    standardise,
    to_space,
    to_steps,
)

THEIRS = {"standard": StandardScaler, "minmax": MinMaxScaler, "robust": RobustScaler}


@pytest.mark.parametrize("transform", [None, "log", "diff", "log_return"])
def test_steps_lead_back_to_levels(transform):
    panel = make_panel((12, 1, 7, 2), channels=2, seed=1)
    steps = to_steps(panel.values, panel.bounds, transform)
    for start, stop in zip(panel.bounds[:-1], panel.bounds[1:]):
        if transform in (None, "log"):
            levels = panel.values[start:stop]
            np.testing.assert_array_equal(steps[start:stop], levels if transform is None else np.log(levels))
            np.testing.assert_allclose(from_steps(steps[None, start:stop], levels[None, 0], transform)[0], levels, rtol=1e-13)
            continue
        assert np.isnan(steps[start]).all() and np.isfinite(steps[start + 1:stop]).all()
        for last in range(start, stop - 1):
            back = from_steps(steps[None, last + 1:stop], panel.values[None, last], transform)
            np.testing.assert_allclose(back[0], panel.values[last + 1:stop], rtol=1e-13)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1e-6, 1e9), min_size=2, max_size=30), st.sampled_from(CHANGES))
def test_inversion_is_exact(levels, transform):
    values = np.array(levels)[:, None]
    steps = to_steps(values, np.array([0, len(values)]), transform)
    back = from_steps(steps[None, 1:], values[None, 0], transform)[0]
    rounding = 1e-15 * len(levels) * values.max() if transform == "diff" else 0
    np.testing.assert_allclose(back, values[1:], rtol=1e-12, atol=rounding)


def test_steps_by_hand():
    values = np.array([[1.0], [3.0], [2.0], [10.0], [40.0]])
    nan = np.nan
    np.testing.assert_array_equal(to_steps(values, np.array([0, 3, 3, 5]), "diff")[:, 0], [nan, 2, -1, nan, 30])
    np.testing.assert_allclose(to_steps(values, np.array([0, 3, 5]), "log_return")[:, 0],
                               [nan, np.log(3), np.log(2 / 3), nan, np.log(4)])
    values[1] = nan
    np.testing.assert_array_equal(to_steps(values, np.array([0, 5]), "diff")[:, 0], [nan, nan, nan, 8, 30])
    assert to_steps(values, np.array([0, 5]), None) is values


@pytest.mark.parametrize("transform", ["log", "log_return"])
def test_forecasts_that_run_off_stay_positive_numbers(transform):
    levels = from_space(np.array([-1e4, 0.0, 1e4, np.nan]), transform)
    assert levels[0] > 0 and levels[1] == 1 and np.isfinite(levels[2]) and np.isnan(levels[3])
    assert np.isfinite(to_space(levels[:3], transform)).all()


def test_steps_of_several_quantiles_share_the_last_level():
    steps = np.random.default_rng(0).normal(size=(3, 4, 2, 5)) / 10
    last = np.full((3, 2), 7.0)
    found = from_steps(steps, last[..., None], "log_return")
    np.testing.assert_allclose(found, 7 * np.exp(np.cumsum(steps, axis=1)))


@pytest.mark.parametrize("wrong", [0.0, -2.5])
def test_returns_need_positive_levels(wrong):
    with pytest.raises(ValueError, match=rf"above 0, y holds {wrong:g}; use transform='diff'"):
        to_space(np.array([[1.0], [np.nan], [wrong]]), "log_return")
    for transform in (None, "diff"):
        values = np.array([[wrong]])
        assert to_space(values, transform) is values and from_space(values, transform) is values
    np.testing.assert_allclose(from_space(to_space(np.array([2.0, np.nan]), "log_return"), "log_return"), [2, np.nan])


@pytest.mark.parametrize("scaler", SCALERS)
def test_scalers_are_those_of_scikit_learn_on_the_training_rows(scaler):
    panel = make_panel((50, 20, 35), channels=2, missing=0.1, seed=3)
    ends = np.array([30, 70, 95])
    center, scale = fit_scalers(panel.values, panel.bounds, ends, scaler)
    for s in range(3):
        rows = panel.values[panel.bounds[s]:ends[s]]
        theirs = THEIRS[scaler]().fit(rows).transform(panel.values)
        np.testing.assert_allclose((panel.values - center[s]) / scale[s], theirs, rtol=1e-10, atol=1e-12)
    behind = np.arange(105) >= ends[panel.series_of_row]
    changed = np.where(behind[:, None], 1e6, panel.values)
    for one, other in zip((center, scale), fit_scalers(changed, panel.bounds, ends, scaler)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("value", [0.0, 3.0, -1e9, 0.1])
def test_a_series_that_does_not_move_is_only_centred(scaler, value):
    values = np.full((10, 1), value)
    center, scale = fit_scalers(values, np.array([0, 10]), np.array([10]), scaler)
    np.testing.assert_allclose(center, [[value]], rtol=1e-15)
    assert scale == 1
    center, scale = fit_scalers(values, np.array([0, 10]), np.array([0]), scaler)
    assert np.isnan(center).all() and np.isnan(scale).all()


def test_rounding_is_no_movement():
    wobble = 1e6 + np.array([0, 1e-10, 0, 1e-10])[:, None]
    assert fit_scalers(wobble, np.array([0, 4]), np.array([4]), "standard")[1] == 1
    small = 1e-8 * np.arange(4.0)[:, None]
    assert fit_scalers(small, np.array([0, 4]), np.array([4]), "minmax")[1] == pytest.approx(3e-8)
    np.testing.assert_array_equal(safe_scale(np.array([0.0, 2 * FLAT, FLAT / 2]), np.ones(3), 5.0), [5, 2 * FLAT, 5])


def test_covariates_are_standardised_column_by_column():
    columns = np.random.default_rng(0).normal(4, 3, size=(40, 3))
    columns[:7, 0] = np.nan
    columns[:, 2] = 5.0
    rows = np.arange(0, 30)
    mean, deviation = standardise(columns, rows)
    theirs = StandardScaler().fit(columns[rows])
    np.testing.assert_allclose(mean, theirs.mean_)
    np.testing.assert_allclose(deviation, theirs.scale_)
    mean, deviation = standardise(np.full((4, 1), np.nan), np.arange(4))
    assert mean == 0 and deviation == 1
    assert standardise(np.empty((4, 0)), rows[:0])[0].shape == (0,)
