"""Several regressors behind one forecast: one a series, or an ensemble whose outputs are averaged; fitted side by side."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from tsrnn._warn import warn
from tsrnn.data.panel import Panel, select
from tsrnn.data.sampling import WindowSettings, can_read
from tsrnn.data.scaling import from_space, to_space
from tsrnn.device import backend_of
from tsrnn.estimators._base import BaseSequenceEstimator, draw_seed
from tsrnn.estimators._jobs import run_jobs
from tsrnn.estimators._windows import TooShortError, WindowModel
from tsrnn.progress import counter

COMPARED = 64  # windows, from all over the panel, by which regressors that do not differ are noticed


class EnsembleModel:
    """`WindowModel` several times, with regressors that differ in their random state; parameters as there.

    Parameters
    ----------
    n : int
        Regressors, at least 2.
    epochs : list of int or None, optional
        Of each.
    """

    def __init__(self, regressor: Any, settings: WindowSettings, panel: Panel, parts: np.ndarray,
                 epochs: list[int | None] | None, n: int):
        self.transform = settings.transform
        chosen = [None] * n if epochs is None else epochs
        self.models: list[WindowModel] = run_jobs(
            lambda k: WindowModel(member(regressor, k), settings, panel, parts, chosen[k]), range(n), n_jobs_of(regressor))
        if network_of(regressor) is None:
            self._tell_alike(panel)

    def _tell_alike(self, panel: Panel) -> None:
        """Warns where a regressor's random state seems to have no effect: series that stand still may need none."""
        settings = self.models[0].settings
        origins = np.flatnonzero(can_read(panel, settings))
        origins = origins[np.linspace(0, len(origins) - 1, min(COMPARED, len(origins))).astype(np.int64)]
        one, other = (model.outputs(panel, origins, settings.horizon) for model in self.models[:2])
        if np.array_equal(one, other, equal_nan=True) and np.nanmin(panel.values) < np.nanmax(panel.values):
            kind = type(self.models[0].regressor).__name__
            warn(f"n_ensembles={len(self.models)}, but {kind} gives the same forecasts with two values of random_state; use "
                 "n_ensembles=1, or a regressor that draws at random.")

    @property
    def regressor(self) -> list:
        """Fitted regressors."""
        return [model.regressor for model in self.models]

    @property
    def quantiles(self) -> tuple[float, ...]:
        """As of every single model."""
        return self.models[0].quantiles

    @property
    def epochs(self) -> list[int | None]:
        """That were chosen, by each."""
        return [model.epochs for model in self.models]

    def learn(self, panel: Panel, epochs: int) -> None:
        """Goes `epochs` times more through all windows."""
        run_jobs(lambda model: model.learn(panel, epochs), self.models, n_jobs_of(self.models[0].regressor))

    def outputs(self, panel: Panel, origins: np.ndarray, horizon: int) -> np.ndarray:
        """As `WindowModel.outputs`: the mean of the models', where errors are measured (of logarithms for some transforms)."""
        found = [to_space(model.outputs(panel, origins, horizon), self.transform) for model in self.models]
        return from_space(np.mean(found, axis=0), self.transform)


class LocalModel:
    """A model for each series of a panel; parameters as of `WindowModel`.

    Parameters
    ----------
    n : int
        Regressors for each series.

    Attributes
    ----------
    models : dict of series name to WindowModel or EnsembleModel
    skipped : dict of series name to str
        Series that nothing could be learnt from, and why.
    """

    def __init__(self, regressor: Any, settings: WindowSettings, panel: Panel, parts: np.ndarray,
                 epochs: dict[Any, Any] | None = None, n: int = 1, verbose: bool = False):
        def fitted(s: int) -> WindowModel | EnsembleModel | TooShortError:
            name, start = panel.ids[s], panel.bounds[s]
            chosen = None if epochs is None else epochs.get(name)
            try:
                return single_model(regressor, settings, select(panel, [s]), parts[:, s:s + 1] - start, chosen, n)
            except TooShortError as error:
                return error

        found = run_jobs(fitted, range(panel.n_series), n_jobs_of(regressor), counter(panel.n_series, "series", verbose))
        self._n_jobs = n_jobs_of(regressor)
        self.models = {name: model for name, model in zip(panel.ids, found) if not isinstance(model, TooShortError)}
        self.skipped = {name: str(model) for name, model in zip(panel.ids, found) if isinstance(model, TooShortError)}
        if not self.models:
            raise ValueError(f"No series has enough rows. {next(iter(self.skipped.values()), '')}")

    @property
    def regressor(self) -> dict:
        """Fitted regressors by the name of their series."""
        return {name: model.regressor for name, model in self.models.items()}

    @property
    def quantiles(self) -> tuple[float, ...]:
        """As of every single model."""
        return next(iter(self.models.values())).quantiles

    @property
    def epochs(self) -> dict[Any, Any]:
        """That were chosen, by the name of the series."""
        return {name: model.epochs for name, model in self.models.items()}

    def learn(self, panel: Panel, epochs: int) -> None:
        """Goes `epochs` times more through all windows."""
        run_jobs(lambda s: self.models[panel.ids[s]].learn(select(panel, [s]), epochs),
                 [s for s, name in enumerate(panel.ids) if name in self.models], self._n_jobs)

    def outputs(self, panel: Panel, origins: np.ndarray, horizon: int) -> np.ndarray:
        """As `WindowModel.outputs`; NaN for series that have no model."""
        unknown = [name for name in panel.ids if name not in self.models and name not in self.skipped]
        if unknown:
            raise ValueError(f"local=True has a regressor for each series of the fit and none for {unknown[0]!r}; fit with "
                             "local=False to forecast others.")
        out = np.full((len(origins), horizon, len(panel.channels), max(1, len(self.quantiles))), np.nan)
        series = np.searchsorted(panel.bounds, origins, side="right") - 1
        for s in np.unique(series):
            if panel.ids[s] in self.models:
                at = np.flatnonzero(series == s)
                out[at] = self.models[panel.ids[s]].outputs(select(panel, [s]), origins[at] - panel.bounds[s], horizon)
        return out


Model = WindowModel | EnsembleModel | LocalModel


def single_model(regressor: Any, settings: WindowSettings, panel: Panel, parts: np.ndarray, epochs: Any = None,
                 n: int = 1) -> WindowModel | EnsembleModel:
    """One model for all series: of one regressor, or of `n`."""
    if n == 1:
        return WindowModel(regressor, settings, panel, parts, epochs)
    return EnsembleModel(regressor, settings, panel, parts, epochs, n)


def network_of(regressor: Any) -> BaseSequenceEstimator | None:
    """The sequence estimator that `regressor` is, or ends with; None where another one learns."""
    inner = regressor[-1] if isinstance(regressor, Pipeline) else regressor
    return inner if isinstance(inner, BaseSequenceEstimator) else None


def n_jobs_of(regressor: Any) -> int | None:
    """Threads for independent fits: as many as the network may have; others' regressors are fitted one by one."""
    network = network_of(regressor)
    return 1 if network is None else network.n_jobs


def check_device(regressor: Any) -> None:
    """Raises NoGPUError where `regressor` is a network that wants a GPU and there is none: before anything is read."""
    network = network_of(regressor)
    if network is not None:
        backend_of(network.device, fitting=True)


def _states(regressor: Any) -> dict[str, Any]:
    """The parameters that seed `regressor` and its parts."""
    return {name: value for name, value in regressor.get_params().items() if name.rpartition("__")[2] == "random_state"}


def check_seeds(regressor: Any, n: int) -> None:
    """Raises ValueError where nothing distinguishes the regressors of an ensemble."""
    if not _states(regressor):
        raise ValueError(f"n_ensembles={n} needs a regressor with a random_state, {type(regressor).__name__} has none: its "
                         "fits would be equal; use n_ensembles=1, or a regressor that draws at random.")


def member(regressor: Any, number: int) -> Any:
    """The regressor of an ensemble that has this number: `regressor` itself is the first, the others have seeds of their own.

    These are derived from its `random_state`; without one each regressor draws anew.
    """
    if number == 0:
        return regressor
    seeds = {name: int(np.random.SeedSequence([draw_seed(copy.deepcopy(state)), number]).generate_state(1)[0])
             for name, state in _states(regressor).items() if state is not None}
    return clone(regressor).set_params(**seeds)
