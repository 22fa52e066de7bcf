"""What X may be, checked at the door.

=========================================  ==========  =================  =====================================
X                                          kind        n_features_in_     steps at predict time
=========================================  ==========  =================  =====================================
(n, T * n_channels), array or frame        ``flat``    ``X.shape[1]``     as in fit
(n, T, C), or n arrays (T_i, C) or (T_i,)  ``steps``   C                  free
`Blocks`: samples made when needed         ``steps``   C                  free
ids (n, T), or n arrays (T_i,)             ``ids``     1                  free
=========================================  ==========  =================  =====================================

Errors are scikit-learn's own where it has them: everything goes through its `check_array`, ragged input too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from tsrnn.data import batches
from tsrnn.data.batches import Blocks, Sequences
from tsrnn.data.vocabulary import UNKNOWN
from tsrnn.estimators._build import MOST_IDS, is_open

FLOATS = (np.float64, np.float32)


class Checked(NamedTuple):
    """X behind the door."""

    sequences: Sequences
    kind: str          # "flat", "steps" or "ids"
    is_ragged: bool    # given as a list of sequences
    float_type: type   # of X: predictions have it


def check_input(estimator, X: Any, *, vocabulary_size: int | None, dtype: type | None = None, kind: str | None = None,
                channels: int | None = None) -> Checked:
    """Checks X and brings it into one form.

    Parameters
    ----------
    estimator : BaseEstimator
        Named in messages.  Without `kind` its `n_features_in_` and `feature_names_in_` are set (so hand in a copy until
        everything else has been checked as well); with `kind` X is checked against them.
    X : array-like or Blocks
        Of blocks one sample stands for all, and its values for nothing: they are checked when they come.
    vocabulary_size : int or None
        None where X holds values, not ids.
    dtype : float type of the computation, optional
        Default: that of X.
    kind : str, optional
        The kind of X in fit.
    channels : int, optional
        Values a step that the network was built for; default: what `n_channels` or X say.  A fitted network's word counts:
        the parameter may have changed since.

    Raises
    ------
    ValueError, TypeError
        In scikit-learn's words: NaN, infinity, complex or sparse data, wrong number of axes or features, nothing in it.
    """
    reset = kind is None
    if is_blocks(X):
        checked = _check_blocks(estimator, X, vocabulary_size)
        n_features = checked.sequences.channels
    elif vocabulary_size is not None:
        checked = _check_ids(estimator, X, vocabulary_size)
        n_features = 1
    elif is_ragged(X) or (kind == "steps" and isinstance(X, (list, tuple)) and depth(X) == 2):
        checked = _check_ragged(estimator, X, dtype)
        n_features = checked.sequences.channels
    elif depth(X) >= 3:
        checked = _check_steps(estimator, X, dtype)
        n_features = checked.sequences.channels
    elif kind == "steps":
        check_array(X, dtype=None, ensure_2d=True, estimator=estimator, input_name="X", ensure_min_samples=0)
        raise ValueError(_kind_message(estimator, "flat", kind))
    else:
        checked = _check_flat(estimator, X, dtype, kind, channels)
        n_features = estimator.n_features_in_
    if not reset and checked.kind != kind:
        raise ValueError(_kind_message(estimator, checked.kind, kind))
    if checked.kind != "flat":
        # feature names belong to columns; this drops those of an earlier fit, or warns as scikit-learn does
        if checked.kind == "steps":
            if channels is None and estimator.n_channels not in (1, n_features):
                raise ValueError(f"X has {n_features} features a step, but n_channels={estimator.n_channels}; leave n_channels "
                                 "at 1, it is for 2-D X only.")
            validate_data(estimator, np.empty((1, 1)), reset=reset, skip_check_array=True, ensure_2d=False)
        if reset:
            estimator.n_features_in_ = n_features
        elif n_features != estimator.n_features_in_:
            raise ValueError(f"X has {n_features} features a step, but {type(estimator).__name__} is expecting "
                             f"{estimator.n_features_in_} features a step as input.")
    return checked


@contextmanager
def about(name: str) -> Iterator[None]:
    """Errors of the checks inside say which argument they are about; scikit-learn's know X and y only."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: {error}") from error


def is_blocks(X: Any) -> TypeGuard[Blocks]:
    """Whether X makes its samples when they are needed."""
    return callable(getattr(X, "block", None)) and isinstance(X, Blocks)


def is_ragged(X: Any) -> bool:
    """Whether X is a list or object array of sequences, each with a length of its own.

    Anything with axes counts as a sequence: arrays, frames, series, tensors.  A list of lists of one length is not ragged: it
    is the nested form of an array.
    """
    if getattr(X, "dtype", None) is not None and getattr(X, "ndim", 0) == 1 and X.dtype == object:
        return len(X) > 0 and np.ndim(np.asarray(X, dtype=object)[0]) > 0
    if not isinstance(X, (list, tuple)) or not X:
        return False
    if any(_has_axes(x) for x in X):
        return True
    if not all(isinstance(x, (list, tuple)) for x in X):
        return False
    return len({len(x) for x in X}) > 1


def _has_axes(x: Any) -> bool:
    """Whether `x` is an array of some library, and not one of its scalars."""
    ndim = getattr(x, "ndim", None)
    if ndim is None:
        return hasattr(x, "__array__") and np.asarray(x).ndim > 0
    return isinstance(ndim, int) and ndim > 0


def depth(X: Any) -> int:
    """Number of axes of an array-like."""
    ndim = getattr(X, "ndim", None)
    if ndim is not None:
        return int(ndim)
    if isinstance(X, (list, tuple)):
        return 1 + (depth(X[0]) if X else 0)
    return np.asarray(X).ndim


def _float_type(X: Any) -> type:
    """float32 where X is float32 throughout, else float64."""
    return np.float32 if _is_all(X, np.float32) else np.float64


def _is_all(X: Any, float_type: type) -> bool:
    """Whether X, all columns of a frame, have this type."""
    kinds = list(X.dtypes) if hasattr(X, "dtypes") and np.iterable(X.dtypes) else [getattr(X, "dtype", None)]
    return bool(kinds) and all(kind == float_type for kind in kinds)


def _kind_message(estimator, found: str, fitted: str | None) -> str:
    forms = {"flat": "2-D X, (n_samples, n_steps * n_channels)",
             "steps": "3-D or ragged X, (n_samples, n_steps, n_features)", "ids": "token ids"}
    return (f"Found {forms[found]}, but {type(estimator).__name__} was fitted with {forms[str(fitted)]}; pass X in the form "
            "that fit had.")


def _check_flat(estimator, X: Any, dtype: type | None, kind: str | None, channels: int | None) -> Checked:
    """(n, T * n_channels), time-major."""
    if kind == "ids":
        raise ValueError(_kind_message(estimator, "flat", kind))
    float_type = _float_type(X)
    checked = validate_data(estimator, X, reset=kind is None, dtype=dtype or FLOATS)
    n, width = checked.shape
    channels = channels or estimator.n_channels
    if width % channels:
        raise ValueError(f"X has {width} features, which is no multiple of n_channels={channels}; a row is n_steps * "
                         "n_channels values, step by step.")
    base = batches.window_base(checked[:, :, None])
    if base is not None:
        sequences = batches.from_flat(base[0], n, width // channels, channels, base[1])
    else:
        sequences = batches.from_array(np.ascontiguousarray(checked).reshape(n, width // channels, channels))
    return Checked(sequences, "flat", False, float_type)


def _check_steps(estimator, X: Any, dtype: type | None) -> Checked:
    """(n, T, C); overlapping windows stay the view that they are."""
    float_type = _float_type(X)
    wanted = dtype or FLOATS
    is_view = isinstance(X, np.ndarray) and X.ndim == 3 and X.dtype in FLOATS
    base = batches.window_base(X) if is_view else None
    if base is not None:
        n, steps, channels = X.shape
        values = check_array(base[0].reshape(-1, 1), dtype=wanted, estimator=estimator, input_name="X").reshape(-1)
        sequences = batches.from_flat(values, n, steps, channels, base[1])
    else:
        array = check_array(X, dtype=wanted, order="C", allow_nd=True, estimator=estimator, input_name="X")
        if array.ndim > 3:
            raise ValueError(f"Found array with dim {array.ndim}, while dim <= 3 is required by {type(estimator).__name__}.")
        for axis, name in ((1, "step"), (2, "feature")):
            if array.shape[axis] == 0:
                raise ValueError(f"Found array with 0 {name}(s) (shape={array.shape}) while a minimum of 1 is required by "
                                 f"{type(estimator).__name__}.")
        sequences = batches.from_array(array)
    return Checked(sequences, "steps", False, float_type)


def _check_ragged(estimator, X: Sequence, dtype: type | None) -> Checked:
    """n sequences (T_i, C) or (T_i,)."""
    arrays = _sequence_arrays(estimator, X)
    ranks = {a.ndim for a in arrays}
    if not ranks <= {1, 2} or len(ranks) > 1:
        raise ValueError(f"X holds sequences with {sorted(ranks)} axes; all must be (n_steps, n_features), or all (n_steps,).")
    widths = {a.shape[1] if a.ndim == 2 else 1 for a in arrays}
    if len(widths) > 1:
        raise ValueError(f"X holds sequences with {sorted(widths)} features a step; all must have the same.")
    channels = widths.pop()
    float_type = np.float32 if all(a.dtype == np.float32 for a in arrays) else np.float64
    flat = check_array(np.concatenate(arrays).reshape(-1, channels), dtype=dtype or FLOATS, order="C", estimator=estimator,
                       input_name="X")
    return Checked(batches.from_lengths(flat.reshape(-1), [len(a) for a in arrays], channels), "steps", True, float_type)


def _sequence_arrays(estimator, X: Sequence) -> list[np.ndarray]:
    """The sequences of a ragged X as arrays, none of them empty."""
    arrays = []
    for i, x in enumerate(X):
        try:
            array = np.asarray(x)
        except ValueError as error:
            raise ValueError(f"X[{i}] is not a sequence of numbers, (n_steps, n_features) or (n_steps,): {error}") from None
        if array.ndim == 0:
            raise ValueError(f"X[{i}] is of type {type(x).__name__} and no dense sequence of numbers, (n_steps, n_features) or "
                             "(n_steps,).")
        if len(array) == 0:
            raise ValueError(f"Found sequence with 0 step(s) (X[{i}], shape={array.shape}) while a minimum of 1 is required by "
                             f"{type(estimator).__name__}.")
        arrays.append(array)
    return arrays


def _check_blocks(estimator, X: Blocks, vocabulary_size: int | None) -> Checked:
    """The shape of blocks, as one sample of zeros."""
    name = type(X).__name__
    if vocabulary_size is not None:
        raise ValueError(f"The network begins with an embedding and reads token ids, but {name} makes values; pass ids, or "
                         "take a network without an embedding.")
    shape = (len(X), int(X.steps), int(X.channels))
    for size, what in zip(shape, ("sample", "step", "feature")):
        if size < 1:
            raise ValueError(f"Found {name} with {size} {what}(s) (shape={shape}) while a minimum of 1 is required by "
                             f"{type(estimator).__name__}.")
    return Checked(batches.from_array(np.zeros((1, *shape[1:]), np.float32)), "steps", False, np.float32)


def _check_ids(estimator, X: Any, vocabulary_size: int) -> Checked:
    """Token ids, (n, T) or n sequences (T_i,)."""
    float_type = np.float64 if _is_all(X, np.float64) else np.float32  # ids have no digits to lose
    if is_ragged(X):
        arrays = _sequence_arrays(estimator, X)
        if {a.ndim for a in arrays} != {1}:
            raise ValueError("X holds token ids; each of its sequences must be (n_steps,).")
        flat = check_array(np.concatenate(arrays).reshape(-1, 1), dtype="numeric", estimator=estimator, input_name="X")
        ids = _whole_numbers(estimator, flat.reshape(-1), vocabulary_size)
        return Checked(batches.from_lengths(ids, [len(a) for a in arrays], 1), "ids", True, float_type)
    array = check_array(X, dtype="numeric", estimator=estimator, input_name="X")
    n, steps = array.shape
    ids = _whole_numbers(estimator, np.ascontiguousarray(array).reshape(-1), vocabulary_size)
    return Checked(batches.from_flat(ids, n, steps, 1, steps), "ids", False, float_type)


def _whole_numbers(estimator, flat: np.ndarray, vocabulary_size: int) -> np.ndarray:
    """`flat` as int32 ids below `vocabulary_size`."""
    if flat.dtype.kind == "f" and (flat != np.floor(flat)).any():
        value = flat[flat != np.floor(flat)][0]
        raise ValueError(f"X contains {value}, which is no token id; an embedding needs whole numbers from 0 to "
                         f"{vocabulary_size - 1}.")
    if is_open(estimator) and vocabulary_size < MOST_IDS:
        flat = np.where(flat < vocabulary_size, flat, UNKNOWN)
    for value in (flat.min(), flat.max()):
        if not 0 <= value < vocabulary_size:
            if vocabulary_size == MOST_IDS:
                raise ValueError(f"X contains the id {int(value)}; ids are whole numbers from 0 to {MOST_IDS - 1}.")
            raise ValueError(f"X contains the id {int(value)}, but vocabulary_size={vocabulary_size} allows 0 to "
                             f"{vocabulary_size - 1}; give a larger vocabulary_size, or replace such ids by one that stands "
                             "for unknown words.")
    return flat.astype(np.int32, copy=False)
