"""What the ten sequence estimators share: fit, partial_fit, prediction rows, weights, fitted attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from tsrnn import training
from tsrnn._warn import warn
from tsrnn.data import batches
from tsrnn.device import backend_of
from tsrnn.engine import Samples, n_samples
from tsrnn.estimators._blocks import stream
from tsrnn.estimators._build import is_open, n_channels, set_embedding
from tsrnn.estimators._callbacks import CallbackSupportMixin, EpochHook
from tsrnn.estimators._inputs import check_input, is_blocks
from tsrnn.estimators._jobs import in_job, threads
from tsrnn.estimators._params import SequenceParameters, quantile_levels, validate_together
from tsrnn.estimators._problem import (
    Problem,
    Validation,
    blocks_layout,
    find_layout,
    predicted_rows,
    prepare,
    vocabulary_size,
)
from tsrnn.estimators._ready import Ready
from tsrnn.estimators._targets import Layout
from tsrnn.network import Network

SCHEDULE = ("learning_rate", "learning_rate_init", "max_iter", "tol")  # what the schedule of a fit was made of

ATTRIBUTES = """Attributes
----------
{classes}n_features_in_ : int
    Columns of a 2-D X, features a step of a 3-D or ragged one, 1 for token ids.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the columns, where X was a frame.
n_outputs_ : int
    Number of outputs (a sample, or a step); 1 for two classes.
n_iter_ : int
    Epochs of the last fit.
loss_, best_loss_ : float
    Training loss of the last and of the best epoch (`best_iter_`), the L2 penalty included.  The squared error is not halved.
loss_curve_ : list of float
    Training loss of every epoch; `warm_start` and `partial_fit` go on with it.
validation_scores_ : list of float or None
    {score} of the validation set, an entry an epoch (NaN for epochs of a resumed fit without one); None without any.
best_validation_score_ : float or None
    That of `best_iter_`, or where this epoch has none the best of all; None without any.
best_iter_ : int
    Epoch (from 1) with the best validation score, or without one with the lowest training loss.  Epochs before
    `set_weights`, and those with another objective or other data, are no longer in the running.
history_ : dict of str to list
    Keras' keys: loss, val_loss, accuracy, val_accuracy, seconds; an entry an epoch, NaN where an epoch has none.  As the loss,
    the accuracy in training counts with sample and class weights; that of validation with sample weights alone.
weights_ : mapping of str to ndarray
    The weights in PyTorch's layout, such as ``lstm_0.W_ih``; read-only.
"""
CLASSES = """classes_ : ndarray of shape (n_classes,)
    Labels, sorted.
"""


class BaseSequenceEstimator(CallbackSupportMixin, SequenceParameters):
    """Fitting and predicting; regressors and classifiers say what y is and what comes out."""

    _state: training.State
    _network: Network  # the CPU's, whatever the device
    _ready: Ready  # of these two; neither pickled nor copied
    _settings_of_fit: training.Settings
    _aim_of_fit: tuple  # what losses and scores are comparable under, see `_aim`
    _kind: str

    # ---------------------------------------------------------------------------------------------------------- fit

    def _fit(self, X, y, sample_weight, validation: Validation, *, partial: bool = False, classes: Any = None):
        """`fit` and `partial_fit`: check everything, train a copy, and only then change the estimator."""
        self._check_parameters()
        backend = backend_of(self.device, fitting=True)
        if partial and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        resume = (partial or self.warm_start) and self.__sklearn_is_fitted__()
        if partial and not resume and is_open(self):
            raise ValueError("partial_fit must know how many ids there are; give vocabulary_size, the largest id plus one.")
        seed = self._settings_of_fit.seed if resume else draw_seed(self.random_state)
        known = self._known_classes(resume, partial, classes)
        problem = prepare(self, X, y, sample_weight, validation, resume=resume, seed=seed, known=known)
        settings = self._settings(seed, problem)
        state = self._resumed_state(settings) if resume else training.State.create(problem.network, seed, problem.dtype)
        if not resume:
            set_embedding(problem.network, state.theta, self.embedding_weights)
        n_epochs = 1 if partial else settings.max_iter
        before, aim = state.n_epochs, self._aim(problem, settings, validation)

        def fitted() -> dict[str, Any]:
            return {**self._fitted_attributes(problem, state, before), "_settings_of_fit": settings, "_aim_of_fit": aim}

        hook = EpochHook(self, n_epochs, fitted, X, y, sample_weight)
        training.fit_network(problem.network.on(backend), state, problem.train, problem.val, settings, n_epochs,
                             on_epoch_end=hook, stop_early=not partial, val_score=problem.val_score,
                             resume_patience=partial or (resume and aim == self._aim_of_fit))
        if state.stopped == "interrupted" and in_job():
            raise KeyboardInterrupt
        if state.stopped == "diverged" and state.n_epochs == before:
            raise training.NonFiniteLossError(f"Nothing was learnt, and the estimator is what it was before. {state.message}")
        if state.best_theta is not None and np.array_equal(state.best_theta, state.theta):
            state.best_theta = state.theta  # stored and pickled once; `_resumed_state` parts them again
        self._replace_fitted(fitted())
        hook.close()
        self._warn(state, partial)
        return self

    def _known_classes(self, resume: bool, partial: bool, classes: Any) -> np.ndarray | None:
        """Classes that are known before y is; classifiers have them where they go on."""
        return None

    def _check_parameters(self) -> None:
        if not get_config()["skip_parameter_validation"]:
            self._validate_params()
        validate_together(self)
        if hasattr(self, "quantiles"):
            quantile_levels(self)

    def _settings(self, seed: int, problem: Problem) -> training.Settings:
        values = {field.name: getattr(self, field.name) for field in fields(training.Settings) if hasattr(self, field.name)}
        n = n_samples(problem.train)
        values["batch_size"] = min(200 if self.batch_size == "auto" else int(self.batch_size), n)
        values["n_jobs"] = threads(self.n_jobs)
        return training.Settings(**values, seed=seed)

    def _resumed_state(self, settings: training.Settings) -> training.State:
        """A copy to train on: a fit that fails leaves the old state as it is."""
        state, old = self._state.copy(), self._settings_of_fit
        if state.best_theta is state.theta:  # training changes theta in place
            state.best_theta = state.theta.copy()
        if settings.solver != old.solver:
            state.moments = None
        if any(getattr(settings, name) != getattr(old, name) for name in SCHEDULE):
            state.schedule = None
        return state

    def _aim(self, problem: Problem, settings: training.Settings, validation: Validation) -> tuple:
        """What a resumed fit must share with the one before for its losses and scores to be measured against that one's."""
        weight = getattr(self, "class_weight", None)
        loss, n_val = problem.network.loss.name, 0 if problem.val is None else n_samples(problem.val)
        return (loss, problem.network.loss_params, settings.alpha, dict(weight) if isinstance(weight, dict) else weight,
                n_samples(problem.train), n_val, validation.X is not None, problem.val_score is not None,
                settings.early_stopping)

    def _warn(self, state: training.State, partial: bool) -> None:
        if state.stopped == "interrupted":
            warn(f"Training interrupted by user. ({state.message})")
        elif state.stopped == "diverged":
            warn(state.message, ConvergenceWarning)
        elif state.stopped == "max_iter" and not partial and np.isfinite(self.n_iter_no_change):  # else all epochs are meant
            warn(f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                 "converged yet.", ConvergenceWarning)

    def _fitted_attributes(self, problem: Problem, state: training.State, before: int) -> dict[str, Any]:
        """What the epochs so far leave behind."""
        history = {name: list(values) for name, values in state.history.items()}
        losses = history.get("loss", [])  # empty where Ctrl-C came in the first epoch
        scores = list(state.validation_scores) or None
        # a score that is NaN throughout (R² of one target) chooses nothing
        best = state.best_epoch or (1 + int(np.argmin(losses)) if losses else 0)
        return {
            **problem.attributes, "_network": problem.network, "_state": state, "n_iter_": state.n_epochs - before,
            "best_iter_": best, "history_": history, "loss_curve_": losses, "loss_": losses[-1] if losses else np.nan,
            "best_loss_": losses[best - 1] if best else np.nan, "validation_scores_": scores,
            "best_validation_score_": _best_score(scores, best),
        }

    def _replace_fitted(self, attributes: dict[str, Any]) -> None:
        """In one step from the old fit to the new one: nothing of the old remains."""
        self.__dict__.update(attributes)
        self._ready = Ready(self._network, self._state.theta)
        if "feature_names_in_" not in attributes:  # the one that not every fit has
            self.__dict__.pop("feature_names_in_", None)

    def __sklearn_is_fitted__(self) -> bool:
        return "_state" in vars(self)

    # ------------------------------------------------------------------------------------------------------ predict

    def _predict_rows(self, X) -> tuple[type, Layout, np.ndarray | None, np.ndarray]:
        """Float type of X, layout, real steps, and the loss's predictions (rows, units): one row a sample, or one a step."""
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)
        network, theta = self._network, self._state.theta
        ready = vars(self).get("_ready")
        if ready is None or ready.theta is not theta:  # a copy that is shown around during a fit
            ready = Ready(network, theta)
        known, real, float_type = ready.known(X), None, theta.dtype.type
        if known is not None:
            layout, samples = known
        else:
            float_type, layout, real, samples = self._checked_samples(X, network, float_type)
            if real is None and "feature_names_in_" not in vars(self):  # else there is a warning a call
                ready.remember(X, layout, samples)
        logits = ready.predict(samples, threads(self.n_jobs), backend_of(self.device, fitting=False))
        return float_type, layout, real, predicted_rows(network, logits, layout)

    def _checked_samples(self, X, network: Network, dtype: type) -> tuple[type, Layout, np.ndarray | None, Samples]:
        """Float type of X, layout, real steps, and the samples as the engine reads them, after the full check."""
        checked = check_input(self, X, vocabulary_size=vocabulary_size(network), dtype=dtype, kind=self._kind,
                              channels=n_channels(network))
        float_type = dtype if self._kind == "ids" else checked.float_type  # ids have no type of their own
        if is_blocks(X):
            layout = blocks_layout(network, checked, X)
            return float_type, layout, None, stream(self, "X", X, dtype, n_channels(network), with_targets=False)
        layout, real = find_layout(network, checked)
        return float_type, layout, real, batches.make_data(checked.sequences, dtype)

    # ------------------------------------------------------------------------------------------------------ weights

    @property
    def weights_(self) -> Mapping[str, np.ndarray]:
        """The weights in PyTorch's layout; read-only."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"This {type(self).__name__} is not fitted yet: it has no weights_.")
        theta = self._state.theta
        # of memory that is read-only itself: the flag of such a view cannot be set back, so what has been packed stays right
        return MappingProxyType(self._network.views(np.frombuffer(theta.data.toreadonly(), theta.dtype)))

    def get_weights(self) -> dict[str, np.ndarray]:
        """A copy of the weights, in PyTorch's layout.

        Returns
        -------
        weights : dict of str to ndarray
            Such as ``lstm_0.W_ih`` (4 H, F) with the gates i f g o.
        """
        check_is_fitted(self)
        return {name: np.array(view) for name, view in self._network.views(self._state.theta).items()}

    def set_weights(self, weights: Mapping[str, Any]):
        """Puts other weights in place of the fitted ones; `fit` goes on from them with ``warm_start=True``.

        Parameters
        ----------
        weights : mapping of str to array-like
            All weights, with names and shapes as in `get_weights`.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            For names or shapes that are not the network's, and for NaN or infinity; nothing is changed then.
        """
        check_is_fitted(self)
        theta = self._state.theta.copy()
        views = self._network.views(theta)
        faults = [f"{name} is missing" for name in views if name not in weights]
        faults += [f"{name} is not a weight of this network" for name in weights if name not in views]
        for name, view in views.items():
            if name not in weights:
                continue
            try:
                array = np.asarray(weights[name], dtype=theta.dtype)
            except (TypeError, ValueError):
                faults.append(f"{name} is no array of numbers")
                continue
            if array.shape != view.shape:
                faults.append(f"{name} has shape {array.shape} and must have {view.shape}")
            elif not np.isfinite(array).all():
                faults.append(f"{name} contains NaN or infinity")
            else:
                view[...] = array
        if faults:
            raise ValueError(f"These weights do not fit {type(self).__name__}: {'; '.join(faults)}.")
        self._state = self._state.with_theta(theta)
        self._ready = Ready(self._network, self._state.theta)
        return self

    # ------------------------------------------------------------------------------------------------- scikit-learn

    def __getstate__(self):
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_ready"}

    def __setstate__(self, state):
        super().__setstate__(state)
        if self.__sklearn_is_fitted__():
            self._ready = Ready(self._network, self._state.theta)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _best_score(scores: list[float] | None, best: int) -> float | None:
    """The score of epoch `best` (from 1), or the best where it was not validated."""
    if not scores:
        return None
    known = [score for score in scores if not np.isnan(score)]
    return max(known, default=np.nan) if np.isnan(scores[best - 1]) else scores[best - 1]


def draw_seed(random_state: Any) -> int:
    """32 bits for the engine: the int itself, a draw from a RandomState, or fresh entropy; never from the global generator."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(0, 2**32, dtype=np.uint32))
    return int(random_state)
