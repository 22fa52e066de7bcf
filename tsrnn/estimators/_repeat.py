"""The (seasonal) naive forecast, which every other one is held against."""

from __future__ import annotations

import numpy as np

from tsrnn.data.panel import Panel
from tsrnn.data.sampling import seasonal_rows


class Nothing:
    """A forecast of 0, which is naive for changes; as a model."""

    quantiles: tuple[float, ...] = ()

    def outputs(self, panel: Panel, origins: np.ndarray, horizon: int) -> np.ndarray:
        """Zeros (n, H, C, 1)."""
        return np.zeros((len(origins), horizon, len(panel.channels), 1))


class Repeat:
    """The (seasonal) naive forecast: what was a season ago; as a model."""

    quantiles: tuple[float, ...] = ()

    def __init__(self, seasonality: int = 1):
        self.seasonality = seasonality

    def outputs(self, panel: Panel, origins: np.ndarray, horizon: int) -> np.ndarray:
        """Levels (n, H, C, 1); NaN where the season before is not there."""
        rows = seasonal_rows(origins, horizon, self.seasonality)
        start = panel.bounds[np.searchsorted(panel.bounds, origins, side="right") - 1][:, None]
        return np.where((rows >= start)[..., None], panel.values[np.maximum(rows, 0)], np.nan)[..., None]
