"""Intervals around any forecast, from the errors that its like has made: split-conformal, a horizon at a time, and rolling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from tsrnn._warn import warn
from tsrnn.data.panel import Panel
from tsrnn.data.scaling import from_space, to_space
from tsrnn.estimators._levels import Wanted

MOST_VALUES = 4_000_000  # of forecasts that a calibration set keeps
FEWEST_ORIGINS = 100     # a series, whatever the number of values


@dataclass(frozen=True)
class Calibration:
    """Forecasts of the past, and what came.

    Everything is in the units in which forecasts err (logarithms for log-returns).  Entry ``[s, -1 - a]`` belongs to the origin
    `a` rows before the last row of series s that is known; NaN where nothing was forecast or nothing has come yet.

    Attributes
    ----------
    truth : array of shape (S, L, H, C)
    outputs : array of shape (S, L, H, C, Q)
    quantiles : tuple of length Q
        What the outputs are quantiles of; empty for a point forecast, Q is 1 then.
    scale : array of shape (S, C)
        Size of each series' own movements: errors are divided by it before they are put together.  NaN for those that do not
        move: their errors, none, would say of the others that they can be forecast.
    length : int
        Origins, counted for each horizon from the first one whose truth is known, that intervals rest on.
    unlearnt : int64 array of shape (S,)
        Rows at the end of each series that the present model has not learnt from.
    """

    truth: np.ndarray
    outputs: np.ndarray
    quantiles: tuple[float, ...]
    scale: np.ndarray
    length: int
    unlearnt: np.ndarray

    @property
    def horizon(self) -> int:
        """H."""
        return self.truth.shape[2]

    def after_learning(self) -> Calibration:
        """The same, from now on with a model that has learnt from all rows."""
        return replace(self, unlearnt=np.zeros_like(self.unlearnt))

    def roll(self, truth: np.ndarray, outputs: np.ndarray, new_rows: np.ndarray, keep: int | None = None) -> Calibration:
        """After ``new_rows`` (S,) more rows, with the present model's forecasts.

        Parameters
        ----------
        truth, outputs : arrays of shape (S, n, ...)
            Of the last n origins, at least H and the new ones of each series.  Only targets count that the present model has
            not learnt from; for the others the earlier model's forecasts stay.
        new_rows : int64 array of shape (S,)
        keep : int, optional
            Entries of each series that stay; None is as many as there were.
        """
        keep, unlearnt = keep or self.truth.shape[1], self.unlearnt + new_rows
        tables = [np.full((len(old), keep, *old.shape[2:]), np.nan) for old in (self.truth, self.outputs)]
        for s, new in enumerate(new_rows):
            n = int(new) + self.horizon  # H origins that are here have got truths
            back = np.arange(n - 1, -1, -1)[:, None] - np.arange(1, self.horizon + 1)  # of each target, from the last row
            fresh = back < unlearnt[s]
            for table, old, part in zip(tables, (self.truth, self.outputs), (truth, outputs)):
                rows = np.concatenate([old[s], np.full((new, *old.shape[2:]), np.nan)])
                rows[-n:][fresh] = part[s, -n:][fresh]
                table[s, -len(rows):] = rows[-keep:]
        return replace(self, truth=tables[0], outputs=tables[1], unlearnt=unlearnt)

    def errors(self, q: float | None) -> np.ndarray:
        """Scaled errors (S, L, H, C) of the forecast of quantile `q` (None: of the point forecast)."""
        forecast = quantile_of(self.outputs, self.quantiles, q)
        scale = self.scale if np.isfinite(self.scale).any() else np.ones_like(self.scale)
        return (self.truth - forecast) / scale[:, None, None]

    def corrections(self, qs: Sequence[float]) -> Corrections:
        """What has to be added to the forecasts of the quantiles `qs`, now and at any moment before."""
        tables = {q: self.errors(q) for q in qs} if self.quantiles else dict.fromkeys(qs, self.errors(None))
        return Corrections(tables, self.length, np.zeros(len(self.scale), np.int64))


class Corrections(NamedTuple):
    """Quantiles of scaled errors.

    Each is the k-th smallest of n with k = ceil((n + 1) q) above the median and, its mirror image, k = floor((n + 1) q) below:
    so a new error, exchangeable with these, lies beyond it with a probability of at most 1 - q (or q).  Vovk, Gammerman, Shafer
    (2005); Lei et al. (2018), "Distribution-free predictive inference for regression".  Where n is too small for that the
    largest (smallest) error stands in.
    """

    tables: dict[float, np.ndarray]  # quantile -> errors (S, L, H, C)
    length: int
    ages: np.ndarray  # (S,) rows between the moment and the last row

    def at(self, ages: np.ndarray) -> Corrections:
        """What was known ``ages`` (S,) rows before the last one."""
        return self._replace(ages=ages)

    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """Corrections (H, C, number of quantiles) over all series, and the fewest errors (H,) behind one of them.

        Joined channels are different quantities, and each has its own errors; one that has none takes those of all.
        """
        qs = list(self.tables)
        _, _, horizon, n_channels = self.tables[qs[0]].shape
        out, counts = np.full((horizon, n_channels, len(qs)), np.nan), np.zeros(horizon, np.int64)
        for h in range(horizon):
            groups: dict[int, list[int]] = {}  # point forecasts have one table of errors for all quantiles
            for i, q in enumerate(qs):
                groups.setdefault(id(self.tables[q]), []).append(i)
            sizes = []
            for columns in groups.values():
                known = self._known(self.tables[qs[columns[0]]], h)
                for c, values in enumerate(known.T):
                    values = values[np.isfinite(values)]
                    values = values if len(values) else known[np.isfinite(known)]
                    sizes.append(len(values))
                    if len(values):
                        ranks = [rank(len(values), qs[i]) - 1 for i in columns]
                        out[h, c, columns] = np.partition(values, sorted(set(ranks)))[ranks]
            counts[h] = min(sizes)
        return out, counts

    def bands(self, space: np.ndarray, quantiles: tuple[float, ...], wanted: Sequence[Wanted],
              scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Quantiles (S, H, C, len(wanted)) that never cross, and the numbers of errors (H,) behind them.

        Parameters
        ----------
        space : array of shape (S, H, C, Q)
            Outputs in the units in which forecasts err.
        quantiles : of the outputs
        wanted : sequence of Wanted, ascending
        scale : array of shape (S, C)
        """
        n, (errors, counts) = space.shape[1], self.table()
        added = dict(zip(self.tables, np.moveaxis(errors[:n], -1, 0)))  # (n, C) by quantile
        found = [quantile_of(space, quantiles, w.q) + added[w.q] * scale[:, None] for w in wanted]
        return np.sort(np.stack(found, axis=-1), axis=-1), counts[:n]

    def _known(self, errors: np.ndarray, h: int) -> np.ndarray:
        """Errors (n, C), h + 1 rows ahead, of the last `length` origins whose truth was known."""
        stops = np.maximum(errors.shape[1] - h - 1 - self.ages, 0)
        starts = np.maximum(stops - self.length, 0)
        if (stops == stops[0]).all():
            return errors[:, starts[0]:stops[0], h].reshape(-1, errors.shape[3])
        return np.concatenate([one[start:stop, h] for one, start, stop in zip(errors, starts, stops)])


def quantile_of(outputs: np.ndarray, quantiles: tuple[float, ...], q: float | None) -> np.ndarray:
    """The forecast of quantile `q` (None: the point forecast) from outputs (..., Q), interpolated between its neighbours."""
    if not quantiles:
        return outputs[..., 0]
    wanted = 0.5 if q is None else q
    order = np.argsort(quantiles)
    known = np.asarray(quantiles)[order]
    right = int(np.clip(np.searchsorted(known, wanted), 1, len(known) - 1)) if len(known) > 1 else 0
    if right == 0:
        return outputs[..., 0]
    left = right - 1
    share = float(np.clip((wanted - known[left]) / (known[right] - known[left]), 0.0, 1.0))
    below, above = outputs[..., order[left]], outputs[..., order[right]]
    return below if share == 0 else above if share == 1 else below + share * (above - below)


def rank(n: int, q: float) -> int:
    """Which of `n` sorted errors, from 1."""
    exact = round((n + 1) * q, 9)  # 0.9 * 10 is not 9.000000000000002
    k = np.ceil(exact) if q > 0.5 else np.floor(exact) if q < 0.5 else np.round(exact)
    return int(np.clip(k, 1, n))


def enough(counts: np.ndarray, wanted: Sequence[Wanted]) -> None:
    """Warns where so many errors a horizon (H,) are too few for the intervals and quantiles that are wanted."""
    fewest = int(np.min(counts))
    for one in wanted:
        needed = int(np.ceil(round(1 / min(one.q, 1 - one.q), 9))) - 1
        if fewest < needed and not one.label.startswith("hi"):  # as much is said of the lower end
            what = f"quantile={one.q:g}" if one.level is None else f"level={one.level:g}"
            where = f" for {int(np.argmin(counts)) + 1} rows ahead" if len(counts) > 1 else ""
            how = "rests on the largest of them and may cover less" if fewest else "is not known"
            warn(f"{what} needs at least {needed} calibration errors a horizon, there are {fewest}{where}: it {how}. "
                 "Take a larger validation_fraction, or a level nearer 50.")


def movement_scale(panel: Panel, ends: np.ndarray, transform: str | None, seasonality: int) -> np.ndarray:
    """Mean absolute change over a season (S, C) in each series' rows before ``ends``.

    Over a row where the season is too long or nothing moves; NaN where that says nothing either.
    """
    scale = np.full((panel.n_series, len(panel.channels)), np.nan)
    for s, (start, end) in enumerate(zip(panel.bounds[:-1], ends)):
        part = to_space(panel.values[start:end], transform)
        for lag in (seasonality, 1):  # a series that is too short for the one has perhaps the other
            open_ = ~(scale[s] > 0)
            if len(part) > lag and open_.any():
                changes = np.abs(part[lag:, open_] - part[:-lag, open_])
                known = np.isfinite(changes)
                sums = np.where(known, changes, 0).sum(axis=0)
                scale[s, open_] = np.where(known.any(axis=0), sums / np.maximum(known.sum(axis=0), 1), np.nan)
    return np.where(scale > 0, scale, np.nan)


def filled(scale: np.ndarray, like: np.ndarray) -> np.ndarray:
    """`scale` (S, C) with the median of `like`'s, or else 1, in place of NaN."""
    known = like[np.isfinite(like)]
    return np.where(np.isfinite(scale), scale, np.median(known) if len(known) else 1.0)


class Longer(NamedTuple):
    """A panel with rows to come behind each series, of which covariates alone are known."""

    panel: Panel
    shift: np.ndarray  # (S,) from a row's number without them to its number here


def scale_of(panel: Panel, fitted: Panel, calibration: Calibration | None, transform: str | None,
             seasonality: int) -> np.ndarray:
    """Size of the movements (S, C) of the series of `panel`: the fitted one, or for new series that of their history."""
    if calibration is None:
        return np.ones((panel.n_series, len(panel.channels)))
    own = calibration.scale
    if panel.ids != fitted.ids:
        own = movement_scale(panel, panel.bounds[1:], transform, seasonality)
        place = {name: s for s, name in enumerate(fitted.ids)}
        for s, name in enumerate(panel.ids):
            if name in place:
                own[s] = calibration.scale[place[name]]
    return filled(own, calibration.scale)


def calibrate(panel: Panel, model: Any, first_rows: np.ndarray, scale: np.ndarray, horizon: int, transform: str | None,
              longer: Longer | None = None) -> Calibration:
    """Forecasts from all origins whose targets begin at ``first_rows`` (S,) or later, and what came.

    Parameters
    ----------
    panel : Panel
    model : has ``outputs(panel, origins, horizon) -> (n, H, C, Q)`` and ``quantiles``
    first_rows : int64 array of shape (S,)
        Targets before these rows were learnt from.
    longer : Longer, optional
        To forecast from; without it the last origins have no forecasts where there are covariates known ahead.
    """
    longest = int(np.max(panel.bounds[1:] - first_rows, initial=1))
    per_origin = panel.n_series * horizon * len(panel.channels) * max(1, len(model.quantiles))
    length = min(longest, max(FEWEST_ORIGINS, MOST_VALUES // per_origin))
    first, n = np.maximum(first_rows - 1, panel.bounds[:-1]), length + horizon  # of the last H not everything is known yet
    truth, outputs = past_forecasts(panel, model, first, n, horizon, transform, longer)
    return Calibration(truth, outputs, model.quantiles, scale, length, panel.bounds[1:] - first_rows)


def past_forecasts(panel: Panel, model: Any, first: np.ndarray, n: int, horizon: int, transform: str | None,
                   longer: Longer | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Truth (S, n, H, C) and outputs (S, n, H, C, Q) for the last n origins of each series, none before ``first`` (S,)."""
    shape = (panel.n_series, n, horizon, len(panel.channels))
    truth = np.full(shape, np.nan)
    outputs = np.full((*shape, max(1, len(model.quantiles))), np.nan)
    rows = panel.bounds[1:, None] - n + np.arange(n)
    real = rows >= first[:, None]
    source, shift = longer or Longer(panel, np.zeros(panel.n_series, np.int64))
    outputs[real] = to_space(model.outputs(source, (rows + shift[:, None])[real], horizon), transform)
    ahead = rows[real][:, None] + np.arange(1, horizon + 1)
    last = np.broadcast_to(panel.bounds[1:, None], rows.shape)[real][:, None]
    known = ahead < last
    values = to_space(panel.values[np.where(known, ahead, 0)], transform)
    truth[real] = np.where(known[..., None], values, np.nan)
    return truth, outputs


def whole_errors(calibration: Calibration, horizon: int) -> np.ndarray:
    """Scaled errors (n, horizon, C) of the past point forecasts whose rows are all known."""
    errors = calibration.errors(None)[:, :, :horizon]
    errors = errors[np.isfinite(errors).all(axis=(2, 3))]
    if not len(errors):
        raise ValueError(f"there is no held-out forecast whose horizon={horizon} rows are all known; fit with a larger "
                         "validation_fraction.")
    return errors


def skill(panel: Panel, calibration: Calibration, naive_model: Any, transform: str | None) -> float:
    """1 - error / error of a naive forecast, in levels, each series in units of its own naive error; NaN if nothing moved."""
    _, n, horizon = calibration.truth.shape[:3]
    naive = past_forecasts(panel, naive_model, panel.bounds[:-1], n, horizon, transform)[1]
    truth, ours, theirs = (from_space(values, transform) for values in (
        calibration.truth, quantile_of(calibration.outputs, calibration.quantiles, None), naive[..., 0]))
    mine, other = np.abs(truth - ours), np.abs(truth - theirs)
    known = np.isfinite(mine) & np.isfinite(other)
    size = np.where(known, other, 0).sum(axis=(1, 2)) / np.maximum(known.sum(axis=(1, 2)), 1)
    counts = known & (size > 0)[:, None, None]  # a series that stood still says nothing
    weight = counts / np.where(size > 0, size, 1)[:, None, None]
    total = float((np.where(counts, other, 0) * weight).sum())
    return 1 - float((np.where(counts, mine, 0) * weight).sum()) / total if total else np.nan
