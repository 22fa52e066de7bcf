"""Parts of a fit, cutoffs of a backtest, stretches of a panel: against loops over rows and dates."""

import numpy as np
import pandas as pd
import pytest
from panels import make_panel

from tsrnn.data.sampling import WindowSettings, can_read, have_targets
from tsrnn.data.splitting import cutoffs, has_calendar, held_out_rows, origins_of, rows_from, segments, time_parts, until

LENGTHS = (60, 25, 48, 7)
ENDS = (60, 55, 60, 20)  # where in the calendar they end
KINDS = {
    "dated": {"lengths": LENGTHS, "ends": ENDS},
    "numbered": {"lengths": LENGTHS, "ends": ENDS, "dated": False},
    "wide, numbered": {"lengths": LENGTHS, "ends": ENDS, "dated": False, "kind": "wide"},
    "one": {"lengths": (60,)},
    "one, numbered": {"lengths": (60,), "dated": False, "kind": "array"},
}


@pytest.mark.parametrize("name", KINDS)
def test_what_has_a_calendar(name):
    assert has_calendar(make_panel(**KINDS[name])) == (name != "numbered")


@pytest.mark.parametrize("n_rows, horizon, fraction, expected", [
    (100, 5, 0.1, 10), (100, 30, 0.1, 30), (7, 1, 0.1, 1), (0, 2, 0.3, 2)])
def test_size_of_a_part(n_rows, horizon, fraction, expected):
    assert held_out_rows(n_rows, horizon, fraction) == expected


@pytest.mark.parametrize("held_out", [1, 2])
@pytest.mark.parametrize("name", KINDS)
def test_parts(name, held_out):
    panel, horizon, fraction = make_panel(**KINDS[name]), 3, 0.1
    parts = time_parts(panel, horizon, fraction, held_out)
    assert parts.shape == (held_out + 2, panel.n_series)
    np.testing.assert_array_equal(parts[0], panel.bounds[:-1])
    np.testing.assert_array_equal(parts[-1], panel.bounds[1:])
    assert (np.diff(parts, axis=0) >= 0).all()
    for s in range(panel.n_series):
        start, stop = panel.bounds[s:s + 2]
        size = max(horizon, round(fraction * (stop - start)))
        for part in range(1, held_out + 1):
            back = held_out + 1 - part
            if name == "numbered":  # the same share before their own ends
                expected = max(stop - back * size, start)
            else:  # at the same moment, 60 times long
                moment = sorted(set(panel.times))[60 - back * 6]
                expected = next((r for r in range(start, stop) if panel.times[r] >= moment), stop)
            assert parts[part, s] == expected


def test_nothing_is_held_out():
    panel = make_panel(LENGTHS)
    parts = time_parts(panel, 3, 0, 2)
    np.testing.assert_array_equal(parts, [panel.bounds[:-1], *[panel.bounds[1:]] * 3])


@pytest.mark.parametrize("name", KINDS)
def test_no_target_in_two_parts(name):
    panel, settings = make_panel(**KINDS[name]), WindowSettings(4, 3, transform="diff")
    panel.values[15] = np.nan
    parts = time_parts(panel, 3, 0.15, 2)
    good = can_read(panel, settings) & have_targets(panel, settings)
    taken = []
    for first, stop in zip(parts[:-1], parts[1:]):
        origins = origins_of(good, first, stop, 3)
        expected = [r for s in range(panel.n_series) for r in range(panel.bounds[s], panel.bounds[s + 1])
                    if good[r] and r + 1 >= first[s] and r + 3 < stop[s]]
        np.testing.assert_array_equal(origins, expected)
        taken.append({row for origin in origins for row in range(origin + 1, origin + 4)})
    assert all(taken) and not taken[0] & taken[1] and not taken[1] & taken[2] and not taken[0] & taken[2]
    if name != "numbered":  # and none is later than one of the next part
        latest = [max(panel.times[list(rows)]) for rows in taken]
        assert latest[0] < min(panel.times[list(taken[1])]) and latest[1] < min(panel.times[list(taken[2])])


@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_from_a_moment(side):
    panel = make_panel(LENGTHS, ends=ENDS)
    for day in (0, 13, 19, 20, 54, 59):
        moment = pd.Timestamp("2024-01-01") + pd.Timedelta(day, "D")
        for s, row in enumerate(rows_from(panel, moment, side)):
            start, stop = panel.bounds[s:s + 2]
            assert row == start + sum((t < moment) if side == "left" else (t <= moment) for t in panel.times[start:stop])


@pytest.mark.parametrize("name", KINDS)
def test_cutoffs(name):
    panel = make_panel(**KINDS[name])
    cuts, times = cutoffs(panel, 4, 5, 2)
    assert (times is None) == (name == "numbered" or panel.n_series == 1)
    assert cuts.shape == (4, panel.n_series)
    for i, row in enumerate(cuts):
        back = 2 + 5 * (3 - i)
        for s in range(panel.n_series):
            start, stop = panel.bounds[s:s + 2]
            if name == "numbered":
                expected = max(stop - 1 - back, start - 1)
            else:
                moment = sorted(set(panel.times))[60 - 1 - back]
                expected = max((r for r in range(start, stop) if panel.times[r] <= moment), default=start - 1)
            assert row[s] == expected


def test_the_last_cutoff_has_a_horizon_behind_it():
    panel = make_panel((30,))
    np.testing.assert_array_equal(cutoffs(panel, 3, 4, 4)[0][:, 0], [17, 21, 25])
    np.testing.assert_array_equal(cutoffs(panel, 1, 1, 29)[0][:, 0], [0])
    with pytest.raises(ValueError, match=r"need more than 30 rows, y has 30; take fewer or closer splits"):
        cutoffs(panel, 1, 1, 30)
    with pytest.raises(ValueError, match="n_splits=6, step=5 and horizon=5 need more than 30 rows"):
        cutoffs(make_panel((20, 30)), 6, 5, 5)


@pytest.mark.parametrize("lengths", [(20,), LENGTHS])
def test_until(lengths):
    panel = make_panel(lengths, past=1, known=2, static=1)
    last = panel.bounds[:-1] + np.array([4, -1, 20, 6])[:len(lengths)]
    part = until(panel, last)
    keep = np.concatenate([np.arange(start, end + 1) for start, end in zip(panel.bounds[:-1], last)])
    np.testing.assert_array_equal(np.diff(part.bounds), last + 1 - panel.bounds[:-1])
    for name in ("values", "times", "past", "known"):
        np.testing.assert_array_equal(getattr(part, name), getattr(panel, name)[keep])
    assert part.ids == panel.ids and part.static is panel.static
    np.testing.assert_array_equal(until(part, part.bounds[1:] - 1).values, part.values)


def test_segments():
    """Short series that know nothing behind their origin but what is known ahead."""
    panel = make_panel((12, 5, 20), channels=2, past=1, known=2, static=3)
    origins, reach, horizon = np.array([3, 11, 12, 16, 30, 36]), 6, 3
    part, ends, series = segments(panel, origins, reach, horizon)
    np.testing.assert_array_equal(series, [0, 0, 1, 1, 2, 2])
    assert part.ids == tuple(panel.ids[s] for s in series) and part.n_rows == 6 * (reach + horizon)
    np.testing.assert_array_equal(part.static, panel.static[series])
    for i, origin in enumerate(origins):
        start, stop = panel.bounds[series[i]:series[i] + 2]
        for j in range(reach + horizon):
            row, at = origin - reach + 1 + j, part.bounds[i] + j
            inside = start <= row < stop
            assert (at <= ends[i]) == (row <= origin)
            for name in ("values", "past", "known"):
                known = inside and (row <= origin or name == "known")
                found, columns = getattr(part, name)[at], getattr(panel, name)
                np.testing.assert_array_equal(found, columns[row] if known else np.full(columns.shape[1], np.nan))


def test_parts_of_series_without_rows():
    """A series that begins after a cutoff is there, and empty."""
    panel = make_panel((20, 15), ends=(20, 40))
    part = until(panel, cutoffs(panel, 1, 1, 15)[0][0])
    assert np.diff(part.bounds).tolist() == [20, 0]
    parts = time_parts(part, 2, 0.1, 1)
    np.testing.assert_array_equal(parts, [[0, 20], [18, 20], [20, 20]])
    np.testing.assert_array_equal(can_read(part, WindowSettings(3, 2)), np.arange(20) > 1)
    assert not origins_of(np.ones(20, bool), np.array([20]), np.array([20]), 1).size
