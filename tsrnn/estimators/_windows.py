"""What `WindowForecaster` fits: a regressor on windows, its scalers, and the way from its outputs back to levels."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from tsrnn._warn import unwanted
from tsrnn.data.panel import Panel
from tsrnn.data.sampling import Scaling, WindowSamples, WindowSettings, can_read, fit_scaling, have_targets, with_series
from tsrnn.data.scaling import from_steps
from tsrnn.data.splitting import origins_of, segments
from tsrnn.estimators._base import BaseSequenceEstimator
from tsrnn.estimators._calibration import quantile_of

CHUNK = 4096  # origins that are forecast at a time: what bounds the memory of a long backtest
FEW = 256  # windows that are an array: sooner checked than blocks, whose memory is worth something only where they are many


class TooShortError(ValueError):
    """No window of the training part has its whole horizon in it."""


class WindowModel:
    """A fitted regressor with all that its forecasts need.

    Parameters
    ----------
    regressor : scikit-learn regressor
        Not fitted; it is cloned.
    settings : WindowSettings
        Its horizon is the regressor's: 1 for the recursive strategy.
    panel : Panel
    parts : int64 array of shape (n_parts + 1, S)
        As `time_parts` has them.  The first part is learnt from, the second goes to regressors that take `X_val`; others are
        not looked at.
    epochs : int, optional
        Of a sequence estimator, exactly; nothing stops it then.
    """

    def __init__(self, regressor: Any, settings: WindowSettings, panel: Panel, parts: np.ndarray, epochs: int | None = None):
        self.settings = settings
        self.scaling = fit_scaling(panel, parts[1], settings)
        self._is_ours = isinstance(regressor, BaseSequenceEstimator)
        self.regressor = clone(regressor)
        good = can_read(panel, settings) & have_targets(panel, settings)
        train = origins_of(good, parts[0], parts[1], settings.horizon)
        stop = origins_of(good, parts[1], parts[2], settings.horizon) if len(parts) > 2 else train[:0]
        if not len(train):
            raise TooShortError(f"window={settings.window} and horizon={settings.horizon} need "
                                f"{settings.reach + settings.horizon} rows without missing values to learn from, y has "
                                f"{int((parts[1] - parts[0]).max())} rows in the training part; pass more rows, a smaller "
                                "window, a shorter horizon or a smaller validation_fraction.")
        self.last_target = int(train.max()) + settings.horizon
        if self._is_ours and (epochs or not len(stop)):
            self.regressor.set_params(early_stopping=False, **({"max_iter": epochs} if epochs else {}))
        samples = self._samples(panel, train, self.scaling)
        if isinstance(self.regressor, Pipeline) and isinstance(self.regressor[-1], BaseSequenceEstimator):
            self.regressor[-1].set_params(n_channels=samples.channels)  # it gets rows of (steps * channels)
        self.regressor = self._fit(samples, samples.at(stop), quiet=epochs is not None)

    def _samples(self, panel: Panel, origins: np.ndarray, scaling: Scaling, targets: bool = True) -> WindowSamples:
        wide = not self._is_ours or self.regressor.dtype in ("float64", np.float64)
        return WindowSamples(panel, origins, self.settings, scaling, np.float64 if wide else np.float32, targets)

    def _fit(self, train: WindowSamples, stop: WindowSamples, quiet: bool) -> Any:
        regressor = self.regressor
        with unwanted(ConvergenceWarning) if quiet else nullcontext():  # quiet: the number of epochs is meant
            if self._is_ours:
                return regressor.fit(train, X_val=stop) if len(stop) else regressor.fit(train)
            if train.n_outputs > 1 and not get_tags(regressor).target_tags.multi_output:
                regressor = MultiOutputRegressor(regressor)
            validation = {}
            if len(stop) and has_fit_parameter(regressor, "X_val"):
                validation = dict(zip(("X_val", "y_val"), _arrays(stop)))
            return regressor.fit(*_arrays(train), **validation)

    @property
    def quantiles(self) -> tuple[float, ...]:
        """What the outputs are quantiles of; empty for point forecasts."""
        return tuple(sorted(self.regressor._levels)) if self._is_ours else ()

    @property
    def epochs(self) -> int | None:
        """That were chosen; None where the regressor knows none."""
        return max(1, self.regressor.best_iter_) if self._is_ours else None

    def learn(self, panel: Panel, epochs: int) -> None:
        """Goes `epochs` times more through all windows of `panel`."""
        if not hasattr(self.regressor, "partial_fit"):
            raise ValueError(f"epochs={epochs} needs a regressor with partial_fit, {type(self.regressor).__name__} has none; "
                             "fit anew.")
        good = can_read(panel, self.settings) & have_targets(panel, self.settings)
        origins = origins_of(good, panel.bounds[:-1], panel.bounds[1:], self.settings.horizon)
        samples = self._samples(panel, origins, with_series(self.scaling, panel, self.settings))
        for _ in range(epochs):
            self.regressor.partial_fit(*((samples,) if self._is_ours else _arrays(samples)))

    def outputs(self, panel: Panel, origins: np.ndarray, horizon: int) -> np.ndarray:
        """Forecast levels.

        Parameters
        ----------
        panel : Panel
            Any series; those of the fit are scaled as then, each window of others by itself.
        origins : int64 array of shape (n,)
        horizon : int
            One that is longer than the regressor's is reached by forecasting from forecasts.

        Returns
        -------
        float64 array of shape (n, horizon, C, Q)
            Quantiles ascending.  NaN where a window, or a covariate of the horizon, is not there.
        """
        scaling, own = with_series(self.scaling, panel, self.settings), self.settings.horizon
        out = np.full((len(origins), horizon, len(panel.channels), max(1, len(self.quantiles))), np.nan)
        good = np.flatnonzero(can_read(panel, self.settings)[origins]) if horizon <= own else np.arange(len(origins))
        samples = self._samples(panel, origins, scaling, targets=False)
        for first in range(0, len(good), CHUNK):
            part = good[first:first + CHUNK]
            if horizon <= own:
                out[part] = self._direct(samples.at(origins[part]))[:, :horizon]
            else:
                out[part] = self._iterated(panel, origins[part], horizon, scaling)
        return out

    def _direct(self, samples: WindowSamples) -> np.ndarray:
        """Levels (n, H, C, Q), all at once."""
        X: Any = samples
        if not self._is_ours:
            X = _arrays(samples)[0]
        elif len(samples) <= FEW:
            X = samples.block(np.arange(len(samples)))[0]
        raw = np.asarray(self.regressor.predict(X), np.float64)
        outputs = raw.reshape(len(samples), self.settings.horizon, len(samples.panel.channels), -1)
        if self.quantiles:  # independent outputs may cross
            outputs = np.sort(outputs[..., np.argsort(self.regressor._levels)], axis=-1)
        steps = samples.restore(samples.origins, outputs)
        return from_steps(steps, samples.panel.values[samples.origins][..., None], self.settings.transform)

    def _iterated(self, panel: Panel, origins: np.ndarray, horizon: int, scaling: Scaling) -> np.ndarray:
        """Levels (n, horizon, C, Q), a regressor's horizon at a time, each forecast the next one's past."""
        own = self.settings.horizon
        reach = max(self.settings.reach, self.settings.seasonality)
        part, ends, series = segments(panel, origins, reach, horizon)
        scaling = scaling._replace(center=scaling.center[series], scale=scaling.scale[series], ids=part.ids)
        found: list[np.ndarray] = []
        for first in (*range(0, horizon - own, own), horizon - own):  # the last one overlaps: nothing beyond is asked for
            at = ends + first
            good = can_read(part, self.settings)[at]
            outputs = np.full((len(at), own, len(panel.channels), max(1, len(self.quantiles))), np.nan)
            if good.any():
                outputs[good] = self._direct(self._samples(part, at[good], scaling, targets=False))
            new = min(own, horizon - len(found) * own)
            found.append(outputs[:, own - new:])
            values = part.values.copy()
            values[at[:, None] + np.arange(own - new + 1, own + 1)] = quantile_of(found[-1], self.quantiles, None)
            part = replace(part, values=values)
        return np.concatenate(found, axis=1)


def _arrays(samples: WindowSamples) -> tuple[np.ndarray, np.ndarray | None]:
    """All samples as scikit-learn's regressors take them: X (n, window * columns), y (n,) or (n, outputs)."""
    X, y = samples.block(np.arange(len(samples)))
    return X.reshape(len(X), -1), y if y is None or y.shape[1] > 1 else y[:, 0]
