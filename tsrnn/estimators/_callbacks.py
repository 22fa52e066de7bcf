"""What is called after each epoch: `on_epoch_end`, and scikit-learn's callbacks where its version has them (1.9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # an older scikit-learn: estimators are without set_callbacks
    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""

    def with_callbacks(method):
        """`method`, which has nobody to call back."""
        return method


def hand_on(estimator, inner) -> None:
    """`inner`, which is the one that has epochs, calls whom `estimator` would call; with None nobody any more."""
    for name in ("_skl_callbacks", "_parent_callback_ctx"):
        vars(inner).pop(name, None)
        if hasattr(estimator, name):
            setattr(inner, name, getattr(estimator, name))


class EpochHook:
    """The engine's `on_epoch_end`: asks everybody, and answers True where one wants to stop.

    scikit-learn's callbacks see one task ("fit") with a task for each epoch; as in its `LogisticRegression` the next task
    begins where the last one ends, and `close` ends the one that was not needed.

    Parameters
    ----------
    estimator : sequence estimator
    n_epochs : int
    fitted : callable
        Returns the attributes that the estimator would have if the fit ended now.
    X, y, sample_weight
        As the user gave them.
    """

    def __init__(self, estimator, n_epochs: int, fitted: Callable[[], dict[str, Any]], X: Any, y: Any, sample_weight: Any):
        self._user = estimator.on_epoch_end
        self._fitted = fitted
        self._context: Any = None  # scikit-learn's, of the fit
        self._epoch: Any = None
        if not hasattr(estimator, "_skl_callbacks") and not hasattr(estimator, "_parent_callback_ctx"):
            return
        self._arguments = {"estimator": estimator, "X": X, "y": y,
                           "metadata": None if sample_weight is None else {"sample_weight": sample_weight}}
        self._left = n_epochs
        self._context = estimator._init_callback_context(max_subtasks=n_epochs)
        self._context.call_on_fit_task_begin(**self._arguments)
        self._begin()

    @property
    def watches(self) -> bool:
        """Whether there is anybody to ask."""
        return self._user is not None or self._epoch is not None

    def __call__(self, epoch: int, logs: dict[str, float]) -> bool:
        """Called by the engine with the number of the epoch, from 0, and what it has come to."""
        stop = bool(self._user is not None and self._user(epoch, logs))
        if self._epoch is not None:
            task, self._epoch = self._epoch, None
            stop |= task.call_on_fit_task_end(**self._arguments, reconstruction_attributes=self._fitted)
            if self._left and not stop:
                self._begin()
        return stop

    def close(self) -> None:
        """The fit is over, and the estimator fitted."""
        if self._context is None:
            return
        if self._epoch is not None:
            self._epoch.call_on_fit_task_end(estimator=self._arguments["estimator"])
        self._context.call_on_fit_task_end(**self._arguments, reconstruction_attributes=self._fitted)

    def _begin(self) -> None:
        self._left -= 1
        self._epoch = self._context.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(**self._arguments)
