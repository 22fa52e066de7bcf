"""`HistoryDisplay`: how training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tsrnn.plotting._axes import MODELS, add_legend, dress, make_axes, require_matplotlib

# where a fitted network may sit: in a search, a forecaster or a target transformer, a pipeline
_INSIDE = ("best_estimator_", "regressor_", "classifier_", "estimator_")
_TRAINING, _VALIDATION, _BEST = MODELS[3], MODELS[0], "0.35"


class HistoryDisplay:
    """Loss and accuracy of each epoch.

    Make it with `from_estimator`; a history that you hold yourself can be passed here.

    Parameters
    ----------
    history : dict of str to list
        An entry an epoch, with Keras' keys: loss, val_loss, accuracy, val_accuracy; others are drawn too, seconds are not.
    best_iter : int, default=None
        The epoch (from 1) to mark.
    name : str, default=None
        Of the estimator, for the title.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
    ax_ : matplotlib.axes.Axes
        The first of `axes_`.
    axes_ : ndarray of shape (n_metrics,)
    lines_ : dict of str to Line2D
        By key of the history.
    legend_ : matplotlib.legend.Legend
    """

    def __init__(self, history: Mapping[str, Sequence[float]], *, best_iter: int | None = None, name: str | None = None):
        self.history = history
        self.best_iter = best_iter
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, *, metrics=None, ax=None, line_kwargs=None):
        """Draws the training of a fitted network.

        Parameters
        ----------
        estimator : estimator
            Fitted: one of ours, or what holds one: a pipeline (its last step), a search, a forecaster.
        metrics : str or list of str, default=None
            See `plot`.
        ax : matplotlib Axes or array of Axes, default=None
            See `plot`.
        line_kwargs : dict, default=None
            See `plot`.

        Returns
        -------
        display : HistoryDisplay

        Raises
        ------
        ValueError
            Where it is not fitted.
        TypeError
            Where it holds no network that was trained in epochs.
        """
        require_matplotlib()
        network = _network(estimator)
        display = cls(network.history_, best_iter=getattr(network, "best_iter_", None), name=type(network).__name__)
        return display.plot(ax, metrics=metrics, line_kwargs=line_kwargs)

    def plot(self, ax=None, *, metrics=None, line_kwargs=None):
        """Draws.

        Parameters
        ----------
        ax : matplotlib Axes or array of Axes, default=None
            One for each metric; a single one shows the loss.  None makes a figure.
        metrics : str or list of str, default=None
            Keys without ``val_``, which come along.  Default: all.
        line_kwargs : dict, default=None
            For `Axes.plot`.

        Returns
        -------
        display : HistoryDisplay
        """
        known = [key for key in self.history if not key.startswith("val_") and key != "seconds"]
        if metrics is None:
            metrics = known[:1] if ax is not None and np.ndim(ax) == 0 else known
        metrics = [metrics] if isinstance(metrics, str) else list(metrics)
        unknown = [key for key in metrics if key not in known]
        if unknown or not metrics:
            raise ValueError(f"metrics={metrics} are not in the history; it has {known}.")
        self.axes_, self.figure_, new = make_axes(ax, len(metrics), "metrics")
        self.ax_, self.lines_ = self.axes_[0], {}
        for axes, key in zip(self.axes_, metrics):
            self._draw(axes, key, line_kwargs or {})
        dress(self.ax_, f"Training of {self.name}" if self.name else "Training")
        for axes in self.axes_[1:]:
            dress(axes, "")
        self.legend_ = add_legend(self.axes_, self.figure_, new)
        return self

    def _draw(self, ax: Any, metric: str, style: dict) -> None:
        """One metric, of training and validation."""
        from matplotlib.ticker import MaxNLocator

        for key, label, color in ((metric, "training", _TRAINING), (f"val_{metric}", "validation", _VALIDATION)):
            values = np.asarray(self.history.get(key, ()), dtype=float)
            if np.isfinite(values).any():
                marker = "o" if np.isfinite(values).sum() < 3 else None  # a line of one point cannot be seen
                style = {"linewidth": 1.6, **style}
                self.lines_[key], = ax.plot(np.arange(1, len(values) + 1), values,
                                            **{"color": color, "marker": marker, "label": label, **style})
        if self.best_iter:
            ax.axvline(self.best_iter, color=_BEST, linewidth=1, linestyle=":", label=f"best epoch: {self.best_iter}", zorder=1)
        ax.set(xlabel="epoch", ylabel=metric)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def _network(estimator: Any) -> Any:
    """The estimator with the history, found through whatever holds it."""
    inside = estimator
    for _ in range(10):  # a forecaster in a search around a pipeline ...; no circle
        if isinstance(getattr(inside, "history_", None), Mapping):
            if not inside.history_.get("loss"):
                raise ValueError(f"the history of {type(inside).__name__} has no epoch; fit it with max_iter >= 1.")
            return inside
        held = next((getattr(inside, name) for name in _INSIDE if hasattr(inside, name)), None)
        if held is None and getattr(inside, "steps", None):
            held = inside.steps[-1][1]
        if held is None:
            break
        if isinstance(held, Mapping):
            raise TypeError(f"{type(inside).__name__} with local=True holds {len(held)} networks, one a series; pass one of "
                            f"them: forecaster.regressor_[{next(iter(held), None)!r}].")
        if isinstance(held, list):
            raise TypeError(f"{type(inside).__name__} with n_ensembles={len(held)} holds that many networks; pass one of them: "
                            "forecaster.regressor_[0].")
        inside = held
    raise _no_history(estimator, inside)


def _no_history(estimator: Any, inside: Any) -> Exception:
    """What to say where no history was found."""
    name = type(estimator).__name__
    fitted = getattr(inside, "__sklearn_is_fitted__", None)
    unfitted = not fitted() if fitted else not any(key.endswith("_") and not key.startswith("_") for key in vars(inside))
    if unfitted and hasattr(inside, "fit"):
        return ValueError(f"this {type(inside).__name__} is not fitted yet; call fit before you draw its training.")
    return TypeError(f"{name} has no history of epochs; pass a fitted network of tsrnn, or a pipeline, search or forecaster "
                     "that holds one.")
