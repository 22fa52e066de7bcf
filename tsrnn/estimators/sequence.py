"""`SequenceRegressor` and `SequenceClassifier`: every parameter open."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, d2_pinball_score, r2_score
from sklearn.utils.multiclass import unique_labels

from tsrnn.estimators import _targets
from tsrnn.estimators._base import ATTRIBUTES, CLASSES, BaseSequenceEstimator
from tsrnn.estimators._callbacks import with_callbacks
from tsrnn.estimators._inputs import is_blocks
from tsrnn.estimators._params import quantile_levels
from tsrnn.estimators._problem import Objective, Validation
from tsrnn.estimators._targets import Layout


class SequenceRegressor(RegressorMixin, BaseSequenceEstimator, without=("class_weight",)):
    """Recurrent network for regression on sequences.

    {parameters}

    {attributes}
    """

    _attributes_doc = ATTRIBUTES.format(score="R² (with an X_val in blocks: the negative loss)", classes="")
    _y_axes: int               # of y in fit, with the steps of a sample counted as samples
    _levels: tuple[float, ...]  # quantiles of the fit, or nothing

    @with_callbacks
    def fit(self, X, y=None, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Trains the network.

        Parameters
        ----------
        X : array-like or Blocks
            (n, T, C), or (n, T * n_channels), or n sequences (T_i, C) or (T_i,), or ids (n, T) for an embedding.  Or
            `tsrnn.data.batches.Blocks`, which make samples and targets when they are needed; y is None then.
        y : array-like of shape (n,) or (n, n_outputs)
            With one output a step: (n, T) or (n, T, n_outputs), or n sequences as long as those of X.
        sample_weight : array-like of shape (n,), default=None
            Or (n, T) with one output a step.  Weight 0 is the same as leaving the sample out.
        X_val, y_val, sample_weight_val : array-like, default=None
            Validation set: its loss and score are recorded.  It ends the fit only with ``early_stopping=True``.  `X_val` may be
            Blocks, whose score is the negative loss: no predictions of all samples are kept.

        Returns
        -------
        self : object
        """
        return self._fit(X, y, sample_weight, Validation(X_val, y_val, sample_weight_val))

    def partial_fit(self, X, y=None, sample_weight=None):
        """Goes through X once.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`, and of the same form in every call.

        Returns
        -------
        self : object
        """
        return self._fit(X, y, sample_weight, Validation(), partial=True)

    def predict(self, X):
        """Predicts targets.

        Parameters
        ----------
        X : array-like or Blocks
            As in `fit`; the number of steps may be another, except for a 2-D X.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_outputs)
            Of the float type of X; for Blocks always (n, n_outputs), and after a fit on them.  With one output a step (n, T) or
            (n, T, n_outputs), or for ragged X an object array of n arrays; with several quantiles one more axis, the last.
        """
        float_type, layout, _, rows = self._predict_rows(X)
        return layout.split(self._shaped(rows, 2 if is_blocks(X) else self._y_axes).astype(float_type))

    def score(self, X, y, sample_weight=None):
        """R² of the predictions; with ``loss="quantile"`` the mean of the quantiles' D² pinball scores.

        Parameters
        ----------
        X : array-like
            As in `fit`.
        y : array-like
            As in `fit`.
        sample_weight : array-like, default=None
            As in `fit`.  Steps that are padding do not count.

        Returns
        -------
        score : float
        """
        _, layout, real, rows = self._predict_rows(X)
        y = _targets.check_regression_targets(self, y, layout, real)
        keep, weights = _scored(layout, real, sample_weight)
        return self._score_rows(y.reshape(len(y), -1)[keep], rows[keep], weights)

    def _score_rows(self, targets: np.ndarray, rows: np.ndarray, weights: np.ndarray | None) -> float:
        """The score of predicted rows (rows, K * Q) for targets (rows, K)."""
        if not self._levels:
            return float(r2_score(targets, rows, sample_weight=weights))
        rows = rows.reshape(len(rows), -1, len(self._levels))
        return float(np.mean([d2_pinball_score(targets, rows[:, :, i], alpha=q, sample_weight=weights)
                              for i, q in enumerate(self._levels)]))

    def _shaped(self, rows: np.ndarray, y_axes: int) -> np.ndarray:
        """Rows (rows, K * Q) as (rows[, K][, Q])."""
        outputs = (self.n_outputs_,) if y_axes == 2 else ()
        levels = (len(self._levels),) if len(self._levels) > 1 else ()
        return rows.reshape(len(rows), *outputs, *levels)

    def _check_targets(self, y: Any, layout: Layout, real: np.ndarray | None, known: Any = None) -> Objective:
        y = _targets.check_regression_targets(self, y, layout, real)
        rows = y.reshape(len(y), -1)
        if self.loss == "poisson" and (rows < 0).any():
            raise ValueError(f"y contains {rows.min()}; loss='poisson' needs y >= 0.  Use another loss, or shift y.")
        levels = quantile_levels(self) if self.loss == "quantile" else ()
        params = levels or (float(self.huber_delta),)
        attributes = {"n_outputs_": rows.shape[1], "_y_axes": y.ndim, "_levels": levels}
        return Objective(rows, rows.shape[1] * max(1, len(levels)), self.loss, params, attributes)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class SequenceClassifier(ClassifierMixin, BaseSequenceEstimator, without=("loss", "quantiles", "huber_delta")):
    """Recurrent network for classification of sequences, or of each of their steps; trained on cross-entropy.

    Two classes share one output with a sigmoid, more have a softmax.

    {parameters}

    {attributes}
    """

    _attributes_doc = ATTRIBUTES.format(score="Accuracy", classes=CLASSES)

    @with_callbacks
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Trains the network.

        Parameters
        ----------
        X : array-like
            (n, T, C), or (n, T * n_channels), or n sequences (T_i, C) or (T_i,), or ids (n, T) for an embedding.
        y : array-like of shape (n,)
            Labels.  With one output a step: (n, T), or n sequences as long as those of X.
        sample_weight : array-like of shape (n,), default=None
            Or (n, T) with one output a step.  Weight 0 is the same as leaving the sample out.
        X_val, y_val, sample_weight_val : array-like, default=None
            Validation set: its loss and accuracy are recorded.  It ends the fit only with ``early_stopping=True``.

        Returns
        -------
        self : object
        """
        return self._fit(X, y, sample_weight, Validation(X_val, y_val, sample_weight_val))

    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Goes through X once.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`, and of the same form in every call.
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever come; needed in the first call.

        Returns
        -------
        self : object
        """
        return self._fit(X, y, sample_weight, Validation(), partial=True, classes=classes)

    def predict(self, X):
        """Predicts labels.

        Parameters
        ----------
        X : array-like
            As in `fit`; the number of steps may be another, except for a 2-D X.

        Returns
        -------
        y : ndarray of shape (n,)
            With one output a step (n, T), or for ragged X an object array of n arrays.
        """
        _, layout, _, rows = self._predict_rows(X)
        return layout.split(self._labels(rows))

    def predict_proba(self, X):
        """Probabilities of the classes, in the order of `classes_`.

        Parameters
        ----------
        X : array-like
            As in `predict`.

        Returns
        -------
        p : ndarray of shape (n, n_classes)
            Of the float type of X.  With one output a step (n, T, n_classes), or for ragged X an object array of n arrays.
        """
        float_type, layout, _, rows = self._predict_rows(X)
        if rows.shape[1] == 1:
            rows = np.hstack([1 - rows, rows])
        return layout.split(rows.astype(float_type))

    def predict_log_proba(self, X):
        """Logarithms of `predict_proba`.

        Parameters
        ----------
        X : array-like
            As in `predict`.

        Returns
        -------
        log_p : ndarray
            Shaped as `predict_proba` shapes it; -inf where a probability is 0.
        """
        proba = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            if proba.dtype != object:
                return np.log(proba)
            out = np.empty_like(proba)
            out[:] = [np.log(p) for p in proba]
            return out

    def score(self, X, y, sample_weight=None):
        """Share of right labels.

        Parameters
        ----------
        X, y : array-like
            As in `fit`.
        sample_weight : array-like, default=None
            As in `fit`.  Steps that are padding do not count.

        Returns
        -------
        score : float
        """
        _, layout, real, rows = self._predict_rows(X)
        y = _targets.check_class_targets(self, y, layout, real)
        keep, weights = _scored(layout, real, sample_weight)
        return float(accuracy_score(y[keep], self._labels(rows)[keep], sample_weight=weights))

    def _known_classes(self, resume: bool, partial: bool, classes: Any) -> np.ndarray | None:
        found = None if classes is None else unique_labels(classes)
        if resume:
            if found is not None and not np.array_equal(found, self.classes_):
                raise ValueError(f"`classes={found!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}")
            return self.classes_
        if partial and found is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if found is not None and len(found) < 2:
            raise ValueError(f"classes={found!r} holds {len(found)} class(es), while a minimum of 2 classes is required.")
        return found

    def _labels(self, rows: np.ndarray) -> np.ndarray:
        """Labels (rows,) from probabilities (rows, units)."""
        numbers = (rows[:, 0] > 0.5).astype(np.intp) if rows.shape[1] == 1 else rows.argmax(axis=1)
        return self.classes_[numbers]

    def _check_targets(self, y: Any, layout: Layout, real: np.ndarray | None, known: Any = None) -> Objective:
        y = _targets.check_class_targets(self, y, layout, real)
        classes = np.unique(y if real is None else y[real]) if known is None else known
        if len(classes) < 2:
            raise ValueError(f"y contains {len(classes)} class(es), while a minimum of 2 classes is required by "
                             f"{type(self).__name__}.")
        numbers = _targets.encode_classes(y, classes, real)
        n_outputs = 1 if len(classes) == 2 else len(classes)
        loss = "binary_crossentropy" if n_outputs == 1 else "categorical_crossentropy"
        return Objective(numbers[:, None], n_outputs, loss, (1.0,), {"classes_": classes, "n_outputs_": n_outputs}, numbers)


def _scored(layout: Layout, real: np.ndarray | None, sample_weight: Any) -> tuple[slice | np.ndarray, np.ndarray | None]:
    """Which rows a score counts, and their weights."""
    keep = slice(None) if real is None else real
    if sample_weight is None:
        return keep, None
    return keep, _targets.per_row(_targets.check_weights(sample_weight, layout), layout)[keep]
