"""Windows of a panel, put together a block at a time: no array of all windows is ever made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tsrnn.data.panel import Panel
from tsrnn.data.scaling import CHANGES, fit_scalers, safe_scale, spread, standardise, to_steps

SLICE = 1 << 16  # values of samples that are scaled at a time, in float64: what a block takes beside its own memory


@dataclass(frozen=True)
class WindowSettings:
    """What a window is; the parameters of `WindowForecaster` of the same names."""

    window: int
    horizon: int
    patch: int = 1
    transform: str | None = None
    scaler: str | None = "window"
    baseline: str | None = None
    seasonality: int = 1

    @property
    def reach(self) -> int:
        """Rows up to the origin that a forecast looks at."""
        return self.window + (self.transform in CHANGES)

    @property
    def offsets(self) -> tuple[int, ...]:
        """How far ahead of its own row each step of a window sees the covariates that are known ahead.

        The last steps see those of the horizon's rows; where the window is shorter than the horizon, each step sees several.
        """
        return tuple(range(self.horizon, 0, -self.window))


class Scaling(NamedTuple):
    """Everything that was fitted to the training rows besides the regressor.

    With ``scaler="window"`` `scale` is for windows that do not move.  `center` is NaN for a series without training rows,
    each of its windows is scaled by itself; `scale` is the median of the others then.
    """

    center: np.ndarray  # (S, C) of the steps
    scale: np.ndarray
    ids: tuple          # of the S series
    past: tuple[np.ndarray, np.ndarray]  # mean and deviation of the covariates' columns
    known: tuple[np.ndarray, np.ndarray]
    static: tuple[np.ndarray, np.ndarray]


def fit_scaling(panel: Panel, ends: np.ndarray, settings: WindowSettings) -> Scaling:
    """Scalers from each series' rows before ``ends`` (S,); later rows are not looked at."""
    if settings.scaler is None:
        shape = (panel.n_series, len(panel.channels))
        plain = [(np.zeros(a.shape[1]), np.ones(a.shape[1])) for a in (panel.past, panel.known, panel.static)]
        return Scaling(np.zeros(shape), np.ones(shape), panel.ids, *plain)
    steps = to_steps(panel.values, panel.bounds, settings.transform)
    kind = "standard" if settings.scaler == "window" else settings.scaler
    center, scale = fit_scalers(steps, panel.bounds, ends, kind)
    scale = _filled(scale, scale)
    rows = np.empty(0, np.int64)
    if panel.past.shape[1] or panel.known.shape[1]:
        rows = np.concatenate([np.arange(start, end) for start, end in zip(panel.bounds[:-1], ends)])
    return Scaling(center, scale, panel.ids, standardise(panel.past, rows), standardise(panel.known, rows),
                   standardise(panel.static, np.arange(panel.n_series)))


def with_series(scaling: Scaling, panel: Panel, settings: WindowSettings) -> Scaling:
    """The same for the series of `panel`: those that were fitted keep their scalers, others have none."""
    if scaling.ids == panel.ids:
        return scaling
    place = {name: s for s, name in enumerate(scaling.ids)}
    rows = np.array([place.get(name, len(place)) for name in panel.ids])
    other = np.full((1, scaling.center.shape[1]), 0.0 if settings.scaler is None else np.nan)
    center = np.concatenate([scaling.center, other])[rows]
    scale = np.concatenate([scaling.scale, _filled(np.full_like(other, np.nan), scaling.scale)])[rows]
    return scaling._replace(center=center, scale=scale, ids=panel.ids)


def _filled(scale: np.ndarray, like: np.ndarray) -> np.ndarray:
    """`scale` (S, C) with the median over the series of `like` in place of NaN."""
    return np.where(np.isnan(scale), np.nanmedian(like, axis=0), scale) if np.isfinite(like).any() else np.ones_like(scale)


class WindowSamples:
    """Samples of a regressor: the window up to an origin, and the horizon behind it.

    Parameters
    ----------
    panel : Panel
    origins : int64 array of shape (n,)
        Row numbers; all rows that a window reads must exist and be finite, see `can_read`.
    settings : WindowSettings
    scaling : Scaling
        For the series of `panel`.
    dtype : float type of the samples
    targets : bool
        Whether the horizons are asked for, too; their rows must be there and finite then, see `have_targets`.

    Notes
    -----
    Step t of a sample holds, in this order, the channels, covariates known up to the present, covariates known ahead at the
    same row and at `WindowSettings.offsets` rows later, static covariates; with ``patch=p`` those of p rows.
    """

    def __init__(self, panel: Panel, origins: np.ndarray, settings: WindowSettings, scaling: Scaling, dtype=np.float32,
                 targets: bool = True):
        self.panel, self.origins, self.settings, self.scaling = panel, np.asarray(origins, np.int64), settings, scaling
        self.dtype, self.targets = np.dtype(dtype), targets
        self._values = to_steps(panel.values, panel.bounds, settings.transform)

    def __len__(self) -> int:
        return len(self.origins)

    @property
    def steps(self) -> int:
        """Steps of a sample."""
        return self.settings.window // self.settings.patch

    @property
    def channels(self) -> int:
        """Values a step."""
        panel = self.panel
        columns = (len(panel.channels) + panel.past.shape[1] + panel.known.shape[1] * (1 + len(self.settings.offsets))
                   + panel.static.shape[1])
        return columns * self.settings.patch

    @property
    def n_outputs(self) -> int:
        """Targets a sample: H * C, row by row."""
        return self.settings.horizon * len(self.panel.channels)

    def at(self, origins: np.ndarray) -> WindowSamples:
        """The same with other origins."""
        other = object.__new__(type(self))
        other.__dict__.update(vars(self), origins=np.asarray(origins, np.int64))
        return other

    def block(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Samples (b, steps, channels) and their targets (b, n_outputs), or None where nobody asks for them."""
        window, n_channels = self.settings.window, len(self.panel.channels)
        X = np.empty((len(rows), window, self.channels // self.settings.patch), self.dtype)
        y = np.empty((len(rows), self.settings.horizon, n_channels), self.dtype) if self.targets else None
        size = max(1, SLICE // (window * X.shape[2]))
        for first in range(0, len(rows), size):
            part = slice(first, first + size)
            origins = self.origins[rows[part]]
            seen, center, scale = self._scaled(origins)
            X[part, :, :n_channels] = seen
            at = n_channels
            for columns in self._covariates(origins):
                X[part, :, at:at + columns.shape[2]] = columns
                at += columns.shape[2]
            if y is not None:
                ahead = windows_at(self._values, origins, self.settings.horizon)
                y[part] = (ahead - self._base(origins, center)) / scale[:, None]
        return X.reshape(len(rows), self.steps, self.channels), None if y is None else y.reshape(len(rows), self.n_outputs)

    def restore(self, origins: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """What outputs (n, H, C, Q) in a window's units stand for, in the units of `to_steps`."""
        _, center, scale = self._scaled(origins)
        return outputs * scale[:, None, :, None] + self._base(origins, center)[..., None]

    def _scaled(self, origins: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scaled windows (n, window, C), and centre and scale (n, C) of each."""
        seen = windows_at(self._values, origins - self.settings.window, self.settings.window)
        series = self._series(origins)
        center, scale = self.scaling.center[series], self.scaling.scale[series]
        if self.settings.scaler == "window":
            center, scale = self._own(seen, scale)
        elif self.settings.scaler is not None and (new := np.isnan(center).any(axis=1)).any():
            center[new], scale[new] = spread(seen[new], self.settings.scaler, axis=1)
        seen -= center[:, None]
        seen /= scale[:, None]
        return seen, center, scale

    def _own(self, seen: np.ndarray, otherwise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Centre and scale (n, C) of windows by themselves; the scale is `otherwise` (n, C) where a window does not move."""
        if self.settings.transform not in CHANGES:
            center, scale = seen.mean(axis=1), seen.std(axis=1)
        else:  # changes are measured from none at all: their mean in a window is mostly chance
            center, scale = np.zeros_like(otherwise), np.sqrt(np.mean(np.square(seen), axis=1))
        return center, safe_scale(scale, np.abs(seen).max(axis=1), otherwise)

    def _base(self, origins: np.ndarray, center: np.ndarray) -> np.ndarray:
        """What targets are measured from, (n, 1 or H, C)."""
        if self.settings.baseline is None:
            return center[:, None]
        if self.settings.baseline == "last":
            return self._values[origins][:, None]
        return self._values[seasonal_rows(origins, self.settings.horizon, self.settings.seasonality)]

    def _covariates(self, origins: np.ndarray) -> list[np.ndarray]:
        """Scaled covariates (n, window, columns), those that there are."""
        panel, window, parts = self.panel, self.settings.window, []
        if panel.past.shape[1]:
            parts.append(_scale(windows_at(panel.past, origins - window, window), self.scaling.past))
        if panel.known.shape[1]:
            parts += [_scale(windows_at(panel.known, origins - window + ahead, window), self.scaling.known)
                      for ahead in (0, *self.settings.offsets)]
        if panel.static.shape[1]:
            static = _scale(panel.static[self._series(origins)], self.scaling.static)
            parts.append(np.broadcast_to(static[:, None], (len(origins), window, static.shape[1])))
        return parts

    def _series(self, origins: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.panel.bounds, origins, side="right") - 1


def _scale(columns: np.ndarray, fitted: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return (columns - fitted[0]) / fitted[1]


def windows_at(table: np.ndarray, before: np.ndarray, length: int) -> np.ndarray:
    """Copies (n, length, columns) of the `length` rows of `table` (rows, columns) behind each row number in `before`."""
    rows, columns = table.shape
    views = np.lib.stride_tricks.sliding_window_view(table.reshape(-1), length * columns)
    return views[(before + 1) * columns].reshape(len(before), length, columns)


def seasonal_rows(origins: np.ndarray, horizon: int, seasonality: int) -> np.ndarray:
    """Row numbers (n, H) that the seasonal naive forecast repeats: the same place in the last season that is known."""
    ahead = np.arange(1, horizon + 1)
    return origins[:, None] + ahead - seasonality * -(-ahead // seasonality)


def can_read(panel: Panel, settings: WindowSettings) -> np.ndarray:
    """Which rows can be origins: bools (rows,); everything that a window reads lies in the series and is finite."""
    steps = to_steps(panel.values, panel.bounds, settings.transform)
    missing = ~np.isfinite(steps).all(axis=1)
    for columns in (panel.past, panel.known):
        if columns.shape[1]:
            missing |= ~np.isfinite(columns).all(axis=1)
    good = _unbroken(missing, panel.bounds, settings.window)
    if not np.isfinite(panel.static).all():
        good &= np.isfinite(panel.static).all(axis=1)[panel.series_of_row]
    if panel.known.shape[1]:  # the horizon's covariates as well
        good &= _known_ahead(~np.isfinite(panel.known).all(axis=1), panel.bounds, settings.horizon)
    return good


def have_targets(panel: Panel, settings: WindowSettings) -> np.ndarray:
    """Which rows have a whole horizon of finite values behind them: bools (rows,)."""
    missing = ~np.isfinite(to_steps(panel.values, panel.bounds, settings.transform)).all(axis=1)
    return _known_ahead(missing, panel.bounds, settings.horizon)


def _unbroken(missing: np.ndarray, bounds: np.ndarray, length: int) -> np.ndarray:
    """Whether the `length` rows up to each row are all there and in one series."""
    good = np.zeros(len(missing), bool)
    count = np.concatenate([[0], np.cumsum(missing)]) if missing.any() else None
    for start, stop in zip(bounds[:-1], bounds[1:]):
        if stop - start >= length:
            good[start + length - 1:stop] = count is None or count[start + length:stop + 1] == count[start:stop - length + 1]
    return good


def _known_ahead(missing: np.ndarray, bounds: np.ndarray, length: int) -> np.ndarray:
    """Whether the `length` rows behind each row are all there and in one series."""
    good = _unbroken(missing, bounds, length)
    ahead = np.zeros(len(missing), bool)
    ahead[:max(len(missing) - length, 0)] = good[length:]
    for stop in bounds[1:]:  # rows of the next series are no horizon
        ahead[max(stop - length, 0):stop] = False
    return ahead
