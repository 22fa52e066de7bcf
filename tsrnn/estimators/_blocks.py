"""X as `Blocks`: samples with their targets that are put together block by block, and checked as they come."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_regressor

from tsrnn.backends.contract import Data
from tsrnn.data import batches
from tsrnn.data.batches import Blocks, Stream
from tsrnn.estimators._inputs import about, check_input
from tsrnn.estimators._targets import Layout


def refuse_with_blocks(estimator, name: str, X: Blocks, y: Any, sample_weight: Any) -> None:
    """Raises TypeError or ValueError for what cannot go with blocks.

    Parameters
    ----------
    estimator : sequence estimator
    name : str
        "X" or "X_val".
    X : Blocks
    y, sample_weight
        What was given beside them.
    """
    if not is_regressor(estimator):
        raise TypeError(f"{name} makes its samples block by block ({type(X).__name__}), but {type(estimator).__name__} needs "
                        "all labels at once; pass arrays.")
    suffix = name.removeprefix("X")
    for other, value in ((f"y{suffix}", y), (f"sample_weight{suffix}", sample_weight)):
        if value is not None:
            raise ValueError(f"{other} is given, but {name} makes its samples block by block and their targets with them "
                             f"({type(X).__name__}); leave {other} out, or pass arrays.")


def stream(estimator, name: str, X: Blocks, dtype: type, channels: int, with_targets: bool = True) -> Stream:
    """The samples of `X` for the engine; each block is checked as arrays are.

    Parameters
    ----------
    estimator : sequence estimator
        With the attributes of the fit.
    name : str
        "X" or "X_val", for messages.
    X : Blocks
    dtype : float type of the computation
    channels : int
        Values a step that the network reads.
    with_targets : bool
        False for prediction: whatever targets there are are left alone.
    """
    def make(rows: np.ndarray) -> Data:
        values, targets = X.block(rows)
        with about(f"{name}.block(rows)"):
            _check_shape("samples", values, (len(rows), X.steps, X.channels))
            checked = check_input(estimator, values, vocabulary_size=None, dtype=dtype, kind="steps", channels=channels)
            if not with_targets:
                return batches.make_data(checked.sequences, dtype)
            _check_shape("targets", targets, (len(rows), X.n_outputs))
            y = np.asarray(targets)
            y = y[:, 0] if y.shape[1] == 1 else y  # scikit-learn warns of a column
            return batches.make_data(checked.sequences, dtype, estimator._check_targets(y, Layout(len(y), None), None).rows)

    return Stream(X, make)


def _check_shape(what: str, array: Any, shape: tuple[int, ...]) -> None:
    if np.shape(array) != shape:
        found = "are missing" if array is None else f"have shape {np.shape(array)}"
        raise ValueError(f"the {what} {found}; they must have shape {shape}.")
