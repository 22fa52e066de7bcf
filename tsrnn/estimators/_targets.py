"""What y and the weights may be: checked, and brought into rows of targets."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_non_negative, validate_data

from tsrnn.estimators._inputs import depth, is_ragged


class Layout(NamedTuple):
    """Where the targets lie: one a sample, or one a step."""

    n: int
    steps: np.ndarray | None       # (n,) target steps of each sample; None: one target a sample
    inputs_ragged: bool = False
    input_steps: int | None = None  # of X, where the network makes another number of them

    @property
    def rows(self) -> int:
        """Targets in all."""
        return self.n if self.steps is None else int(self.steps.sum())

    @property
    def samples(self) -> np.ndarray:
        """Sample of each target."""
        return np.arange(self.n) if self.steps is None else np.repeat(np.arange(self.n), self.steps)

    def rows_of(self, samples: np.ndarray) -> np.ndarray:
        """Numbers of the targets of some samples."""
        if self.steps is None:
            return samples
        ends = np.cumsum(self.steps)
        return np.concatenate([np.arange(ends[i] - self.steps[i], ends[i]) for i in samples])

    def within(self, longest: int) -> np.ndarray:
        """Which of (n, longest) entries are steps of the sample: bools."""
        assert self.steps is not None
        return np.arange(longest) < self.steps[:, None]

    def split(self, rows: np.ndarray) -> np.ndarray:
        """Rows of all steps (rows, ...) → (n, T, ...), or an object array of n arrays (T_i, ...) for ragged input."""
        if self.steps is None:
            return rows
        if not self.inputs_ragged:
            return rows.reshape(self.n, -1, *rows.shape[1:])
        out = np.empty(self.n, object)
        out[:] = np.split(rows, np.cumsum(self.steps)[:-1]) if self.n > 1 else [rows]
        return out

    def join(self, y: Any, name: str) -> Any:
        """One row a target of `y`, (n, T, ...) or n sequences (T_i, ...); the reverse of `split`."""
        assert self.steps is not None
        if is_ragged(y):
            parts = [np.asarray(part) for part in y]
            if len(parts) != self.n or any(len(p) != t for p, t in zip(parts, self.steps)):
                raise ValueError(f"{name} must have one entry a step with return_sequences=True: as many sequences as X, each "
                                 f"as long as its sequence in X.{self._remedy}")
            return np.concatenate(parts)
        array = np.asarray(y)
        check_consistent_length(np.empty(self.n), array)
        longest = int(self.steps.max())
        if array.ndim < 2 or array.shape[1] != longest:
            raise ValueError(f"{name} has shape {array.shape}; with return_sequences=True it must be ({self.n}, {longest}) or "
                             f"({self.n}, {longest}, n_outputs), one entry a step.{self._remedy}")
        return array[self.within(longest)]

    @property
    def _remedy(self) -> str:
        """For targets as long as X, where the network shortens it."""
        if self.steps is None or self.input_steps is None:
            return ""
        return (f"  The network makes {int(self.steps.max())} steps of X's {self.input_steps}; to keep all of them take "
                "pool_size=1 and conv_padding=\"same\".")


def check_regression_targets(estimator, y: Any, layout: Layout, real: np.ndarray | None = None) -> np.ndarray:
    """Targets (rows,) or (rows, K) as floats; the number of axes says whether predictions have a last axis of outputs.

    Rows that are not `real` (rows,) do not count: whatever they hold, NaN too, they come back as 0.
    """
    if y is None or layout.steps is None:
        y = validate_data(copy.copy(estimator), y=y, multi_output=True, y_numeric=True)  # a copy: it forgets feature names
        check_consistent_length(np.empty(layout.n), y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
    else:
        y = layout.join(y, "y")
        if real is not None:
            y[~real] = 0
        y = check_array(y, ensure_2d=False, dtype="numeric", estimator=estimator, input_name="y")
    if y.ndim == 2 and y.shape[1] == 0:
        raise ValueError(f"y has shape {y.shape}; it must have at least one output.")
    if y.dtype.kind not in "fiub":
        y = y.astype(np.float64)
    return y


def check_class_targets(estimator, y: Any, layout: Layout, real: np.ndarray | None = None) -> np.ndarray:
    """Labels (rows,).  Rows that are not `real` (rows,) do not count: whatever they hold, they come back as some label."""
    if y is None or layout.steps is None:
        y = validate_data(copy.copy(estimator), y=y)  # a copy: it forgets feature names
        check_consistent_length(np.empty(layout.n), y)
    else:
        y = layout.join(y, "y")
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        y = column_or_1d(y)
        if real is not None and real.any():
            y[~real] = y[real][0]
        check_array(y, ensure_2d=False, dtype=None, estimator=estimator, input_name="y")
    check_classification_targets(y)
    return y


def encode_classes(y: np.ndarray, classes: np.ndarray, real: np.ndarray | None) -> np.ndarray:
    """Class numbers (rows,); steps that do not count may hold anything and get 0."""
    counts = np.ones(len(y), bool) if real is None else real
    found = np.unique(y[counts])
    unknown = np.setdiff1d(found, classes)
    if len(unknown):
        raise ValueError(f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. 'y' has {found}.")
    numbers = np.zeros(len(y), np.int64)
    numbers[counts] = np.searchsorted(classes, y[counts])
    return numbers


def check_weights(sample_weight: Any, layout: Layout) -> np.ndarray:
    """Weights (n,), or (rows,) where they are given step by step, as float64."""
    if sample_weight is None:
        return np.ones(layout.n)
    per_step = layout.steps is not None and (is_ragged(sample_weight) or depth(sample_weight) == 2)
    if per_step:
        weights = check_array(layout.join(sample_weight, "sample_weight"), ensure_2d=False, dtype=np.float64,
                              input_name="sample_weight")
        if weights.ndim != 1:
            raise ValueError(f"sample_weight must be ({layout.n},) or one number a step; got {weights.ndim} axes behind the "
                             "samples'.")
        check_non_negative(weights, "`sample_weight`")
    else:
        weights = _check_sample_weight(sample_weight, np.empty((layout.n, 1)), dtype=np.float64, ensure_non_negative=True)
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


def per_row(weights: np.ndarray, layout: Layout) -> np.ndarray:
    """Weights (rows,) from weights (n,) or (rows,)."""
    return weights[layout.samples] if len(weights) == layout.n else weights


def class_factors(class_weight: Any, classes: np.ndarray, numbers: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weight of each class (n_classes,).

    "balanced" is Σw / (n_classes Σ_class w): weights count, so that a sample of weight 2 is the same as two samples.
    """
    if class_weight == "balanced":
        mass = np.bincount(numbers, weights, len(classes))
        return np.divide(weights.sum(), len(classes) * mass, out=np.zeros(len(classes)), where=mass > 0)
    return compute_class_weight(class_weight, classes=classes, y=classes[numbers])
