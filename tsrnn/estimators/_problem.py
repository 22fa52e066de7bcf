"""Everything that `fit` needs, checked and in the engine's form, before any work and without touching the estimator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from tsrnn.backends.contract import Data
from tsrnn.data import batches
from tsrnn.data.batches import Blocks
from tsrnn.data.vocabulary import UNKNOWN
from tsrnn.engine import Samples
from tsrnn.estimators import _targets
from tsrnn.estimators._blocks import refuse_with_blocks, stream
from tsrnn.estimators._build import (
    build_network,
    check_sequences,
    is_open,
    layers_from_parameters,
    n_channels,
    wanted_vocabulary,
)
from tsrnn.estimators._inputs import Checked, about, check_input, is_blocks
from tsrnn.estimators._targets import Layout
from tsrnn.layers import Dense
from tsrnn.network import Network

MOST_COUNTED = 2**24  # ids that an embedding is made for unasked: gigabytes of vectors are a slip rather than a wish


class Objective(NamedTuple):
    """What y asks of the network."""

    rows: np.ndarray            # (rows, K) targets
    n_outputs: int              # units of the last layer
    loss: str                   # a name in tsrnn.losses.LOSSES
    loss_params: tuple[float, ...]
    attributes: dict[str, Any]  # of the fitted estimator
    numbers: np.ndarray | None = None  # (rows,) class numbers


class Problem(NamedTuple):
    """A fit, ready to begin."""

    network: Network
    dtype: type
    train: Samples
    attributes: dict[str, Any]  # of the fitted estimator, as far as they are known before training
    val: Samples | None = None
    val_score: Callable[[np.ndarray], float] | None = None  # of the logits of `val`; None: the engine's own


class Validation(NamedTuple):
    """The validation set as the user gave it."""

    X: Any = None
    y: Any = None
    sample_weight: Any = None


def shell(estimator):
    """A shallow copy of `estimator`, for scikit-learn's checks, which write on what they check."""
    other = object.__new__(type(estimator))
    other.__dict__.update(estimator.__dict__)
    return other


def prepare(estimator, X: Any, y: Any, sample_weight: Any, validation: Validation, *, resume: bool, seed: int,
            known: np.ndarray | None = None) -> Problem:
    """Checks everything and builds the network.

    Parameters
    ----------
    estimator : sequence estimator
        Not changed.
    X, y, sample_weight, validation
        As in `fit`.
    resume : bool
        Whether the fit goes on from the estimator's present weights; X and y must then fit these.
    seed : int
        For the split of `early_stopping`.
    known : array, optional
        The classes, where the fit goes on or `partial_fit` was told them; y need not have them all then.
    """
    checker = shell(estimator)
    if is_blocks(X):
        refuse_with_blocks(estimator, "X", X, y, sample_weight)
    known_ids = wanted_vocabulary(estimator)
    if resume and is_open(estimator):
        known_ids = vocabulary_size(estimator._network)
        if known_ids is None:
            raise ValueError(f"The fitted network is {list(estimator._network.layers)}, but the parameters now ask for an "
                             "embedding; to go on they must stay as they were.  For a new network fit with warm_start=False.")
    checked = check_input(checker, X, vocabulary_size=known_ids,
                          dtype=estimator._state.theta.dtype.type if resume else _wanted_dtype(estimator.dtype),
                          kind=estimator._kind if resume else None)
    dtype = _compute_dtype(estimator, checked, resume)
    if is_blocks(X):
        return _prepare_blocks(checker, X, checked, dtype, validation, resume)
    layout, real = find_layout(trial_network(estimator, checked), checked)
    objective = estimator._check_targets(y, layout, real, known)
    weights, factors = _checked_weights(estimator, sample_weight, layout, real, objective, partial=known is not None)
    plain = _data(checked, dtype, objective, layout, weights, real)
    train = plain if factors is None else _data(checked, dtype, objective, layout,
                                                _targets.per_row(weights, layout) * factors, real)
    if not train.totals.any():
        raise ValueError("Sample weights, times class weights, must contain at least one non-zero number at a real step.")
    has_validation = validation.X is not None or validation.y is not None
    parts = None
    if estimator.early_stopping and not has_validation:
        parts = split_rows(estimator, layout, objective.numbers, seed, train.totals, plain.totals)
    if is_open(estimator):
        size = known_ids if resume and known_ids else _count_ids(estimator, train, parts)
        estimator, ids = _closed(estimator, size), np.where(train.ids < size, train.ids, np.int32(UNKNOWN))
        plain, train = plain._replace(ids=ids), train._replace(ids=ids)
    network = _network(estimator, checked, objective, resume)
    attributes = {**_input_attributes(checker), **objective.attributes, "_kind": checked.kind}
    problem = Problem(network, dtype, train, attributes)
    if has_validation:
        vars(checker).update(attributes)
        return _with_validation_data(checker, problem, validation)
    if validation.sample_weight is not None:
        raise ValueError("sample_weight_val is given without X_val and y_val; give all three or leave it out.")
    if parts is not None:
        vars(checker).update(attributes)
        return _with_split(checker, problem, plain, objective, layout, real, parts)
    return problem


def _count_ids(estimator, train: Data, parts: tuple[np.ndarray, np.ndarray] | None) -> int:
    """Rows of an embedding that nobody has counted: up to the largest id that is learnt from, and those that are no words."""
    counts = train.totals > 0
    if parts is not None:
        counts[parts[1]] = False
    largest = int(np.maximum.reduceat(train.ids, train.starts)[counts].max(initial=UNKNOWN))
    check_largest(largest, "vocabulary_size")
    return largest + 1


def _closed(estimator, size: int):
    """A copy that knows its number of ids."""
    other = shell(estimator)
    other.vocabulary_size = size
    return other


def _prepare_blocks(checker, X: Blocks, checked: Checked, dtype: type, validation: Validation, resume: bool) -> Problem:
    """`prepare` for blocks.  Their targets are seen only block by block, so zeros stand for them."""
    if X.n_outputs < 1:
        raise ValueError(f"X.n_outputs={X.n_outputs} must be at least 1, the number of targets of a sample.")
    blocks_layout(trial_network(checker, checked), checked, X)
    zeros = np.zeros(1 if X.n_outputs == 1 else (1, X.n_outputs))
    objective = checker._check_targets(zeros, Layout(1, None), None)
    network = _network(checker, checked, objective, resume)
    attributes = {**_input_attributes(checker), **objective.attributes, "_y_axes": 2, "_kind": checked.kind}
    vars(checker).update(attributes)
    problem = Problem(network, dtype, stream(checker, "X", X, dtype, n_channels(network)).whole(), attributes)
    if validation.X is not None or validation.y is not None or validation.sample_weight is not None:
        return _with_validation_data(checker, problem, validation)
    if checker.early_stopping:
        raise ValueError(f"early_stopping=True needs X_val where X makes its samples block by block ({type(X).__name__}): they "
                         "may overlap, so none are split off at random.  Pass X_val, or early_stopping=False.")
    return problem


def blocks_layout(network: Network, checked: Checked, X: Blocks) -> Layout:
    """Where the outputs of `network` for the samples of X lie: `find_layout` for blocks."""
    layout, _ = find_layout(network, checked)
    if layout.steps is not None:
        raise ValueError(f"The network has one output a step, but {type(X).__name__} has one row of targets a sample; take "
                         "return_sequences=False, or pass arrays.")
    return Layout(len(X), None)


def find_layout(network: Network, checked: Checked) -> tuple[Layout, np.ndarray | None]:
    """Where the outputs of `network` for this input lie, and which of them are of real steps (None: all).

    Raises ValueError where lengths differ and the network changes the number of steps: whose step an output is would be a
    guess.
    """
    sequences = checked.sequences
    check_sequences(network, sequences)
    shape = network.output_shape(sequences.steps)
    if len(shape) == 1:
        return Layout(len(sequences), None), None
    real = batches.real_steps(sequences, network.mask_zero)
    if shape[0] == sequences.steps:
        return Layout(len(sequences), sequences.lengths, checked.is_ragged), real
    if real is None and sequences.same_length:
        steps = np.full(len(sequences), shape[0], np.int64)
        return Layout(len(sequences), steps, checked.is_ragged, sequences.steps), None
    raise ValueError(f"The network makes {shape[0]} steps of {sequences.steps}; with sequences of different lengths and one "
                     "output a step it must keep their number: take conv_padding=\"same\" and pool_size=1.")


def trial_network(estimator, checked: Checked) -> Network:
    """The estimator's network with whatever number of outputs: its shapes are known before y is."""
    layers = estimator.layers
    if layers is None:
        layers = layers_from_parameters(_closed(estimator, 1) if is_open(estimator) else estimator, 1)
    last = layers[-1] if len(layers) else None
    return build_network(layers, checked.sequences, last.units if isinstance(last, Dense) else 1, "squared_error", (1.0,))


def _wanted_dtype(dtype: Any) -> type | None:
    return None if dtype is None else np.dtype(dtype).type


def _compute_dtype(estimator, checked: Checked, resume: bool) -> type:
    if resume:
        return estimator._state.theta.dtype.type
    return _wanted_dtype(estimator.dtype) or checked.float_type


def _input_attributes(checker) -> dict[str, Any]:
    return {name: vars(checker)[name] for name in ("n_features_in_", "feature_names_in_") if name in vars(checker)}


def _network(estimator, checked: Checked, objective: Objective, resume: bool) -> Network:
    layers = estimator.layers
    if layers is None:
        layers = layers_from_parameters(estimator, objective.n_outputs)
    network = build_network(layers, checked.sequences, objective.n_outputs, objective.loss, objective.loss_params)
    if not resume:
        return network
    old = estimator._network
    if n_channels(network) != n_channels(old):
        raise ValueError(f"X now has {n_channels(network)} values a step (n_channels={estimator.n_channels}), but the fitted "
                         f"network reads {n_channels(old)}; to go on they must stay as they were.  For a new network fit with "
                         "warm_start=False.")
    if network.layers != old.layers or network.input_shape[1:] != old.input_shape[1:]:
        raise ValueError(f"The fitted network is {list(old.layers)}, but the parameters and y now ask for "
                         f"{list(network.layers)}; to go on they must stay as they were.  For a new network fit with "
                         "warm_start=False.")
    return network


def _checked_weights(estimator, sample_weight: Any, layout: Layout, real: np.ndarray | None, objective: Objective,
                     partial: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Weights of samples or steps, and what class weights make of each row's in training (None: nothing)."""
    weights = _targets.check_weights(sample_weight, layout)
    numbers = objective.numbers
    if numbers is None:
        return weights, None
    rows = _targets.per_row(weights, layout) * (1.0 if real is None else real)
    classes = objective.attributes["classes_"]
    present = np.count_nonzero(np.bincount(numbers, rows, len(classes)))
    if present < 2 and not partial:
        raise ValueError(f"y contains {present} class(es) with a positive weight, while a minimum of 2 classes is required by "
                         f"{type(estimator).__name__}.")
    if estimator.class_weight is None:
        return weights, None
    return weights, _targets.class_factors(estimator.class_weight, classes, numbers, rows)[numbers]


def _data(checked: Checked, dtype: type, objective: Objective, layout: Layout, weights: np.ndarray,
          real: np.ndarray | None) -> Data:
    return batches.make_data(checked.sequences, dtype, objective.rows, layout.steps, weights, real)


def _with_validation_data(checker, problem: Problem, validation: Validation) -> Problem:
    """With the user's validation set; `checker` has the attributes of the coming fit."""
    if is_blocks(validation.X):
        return _with_validation_blocks(checker, problem, validation.X, validation)
    if validation.X is None or validation.y is None:
        raise ValueError("X_val and y_val belong together; one of them is missing.")
    network = problem.network
    with about("X_val"):
        checked = check_input(checker, validation.X, vocabulary_size=vocabulary_size(network), dtype=problem.dtype,
                              kind=checker._kind, channels=n_channels(network))
        layout, real = find_layout(network, checked)
    with about("y_val"):
        objective = checker._check_targets(validation.y, layout, real, getattr(checker, "classes_", None))
    if objective.n_outputs != network.layers[-1].units:  # type: ignore[attr-defined]
        raise ValueError(f"y_val has shape {np.shape(validation.y)}; it must have as many outputs as y.")
    with about("sample_weight_val"):
        weights = _targets.check_weights(validation.sample_weight, layout)
    val = _data(checked, problem.dtype, objective, layout, weights, real)
    return problem._replace(val=val, val_score=_score(checker, network, objective.rows, val, layout, real))


def _with_validation_blocks(checker, problem: Problem, X: Blocks, validation: Validation) -> Problem:
    """With validation data that come in blocks; their score is the negative loss, as their predictions are not kept."""
    refuse_with_blocks(checker, "X_val", X, validation.y, validation.sample_weight)
    network = problem.network
    with about("X_val"):
        checked = check_input(checker, X, vocabulary_size=vocabulary_size(network), dtype=problem.dtype, kind=checker._kind,
                              channels=n_channels(network))
        blocks_layout(network, checked, X)
    if X.n_outputs != checker.n_outputs_:
        raise ValueError(f"X_val.n_outputs={X.n_outputs} must be {checker.n_outputs_}, the number of targets in training.")
    return problem._replace(val=stream(checker, "X_val", X, problem.dtype, n_channels(network)).whole())


def vocabulary_size(network: Network) -> int | None:
    """Number of ids that the network knows; None where it takes values."""
    return network.embedding.vocabulary_size if network.embedding is not None else None


def split_rows(estimator, layout: Layout, classes: np.ndarray | None, seed: int, weights: np.ndarray,
               weights_val: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Samples to learn from and to stop by, as `MLPClassifier` parts them: at random, with equal shares of the classes (n,).

    The weights (n,) are those of the samples in training and in validation: neither part may have none.
    """
    what = (f"early_stopping=True sets validation_fraction={estimator.validation_fraction} of {layout.n} samples aside, "
            "which fails: {}.  Pass more samples, another validation_fraction, X_val and y_val, or early_stopping=False.")
    classes = classes if layout.steps is None else None
    try:
        train_rows, val_rows = train_test_split(np.arange(layout.n), test_size=estimator.validation_fraction,
                                                random_state=np.random.RandomState(seed), stratify=classes)
    except ValueError as error:
        raise ValueError(what.format(str(error).rstrip(". "))) from None
    if classes is not None and len(np.unique(classes[train_rows])) < len(np.unique(classes)):
        raise ValueError(what.format("no sample of a class is left to learn from"))
    if len(val_rows) < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    for part, name in ((weights[train_rows], "training"), (weights_val[val_rows], "validation")):
        if not part.any():
            raise ValueError(f"The sample weights of the {name} part are all zero; give more samples a weight, or use another "
                             "random_state, or pass X_val and y_val.")
    return train_rows, val_rows


def check_largest(largest: int, parameter: str) -> None:
    """Raises ValueError where an embedding that nobody has given a size would be huge."""
    if largest >= MOST_COUNTED:
        raise ValueError(f"X contains the id {largest}, and an embedding has a row for each id up to the largest; number words "
                         f"without holes, or give {parameter} where there are so many.")


def _with_split(checker, problem: Problem, plain: Data, objective: Objective, layout: Layout, real: np.ndarray | None,
                parts: tuple[np.ndarray, np.ndarray]) -> Problem:
    """With a validation part.

    It is cut from `plain`, the data without class weights: these belong to training, here as with `X_val`.
    """
    train_rows, val_rows = parts
    assert isinstance(problem.train, Data)  # blocks are not split
    train, val = batches.take(problem.train, train_rows), batches.take(plain, val_rows)
    chosen = layout.rows_of(val_rows)
    part_layout = layout._replace(n=len(val_rows), steps=None if layout.steps is None else layout.steps[val_rows])
    score = _score(checker, problem.network, objective.rows[chosen], val, part_layout, None if real is None else real[chosen])
    return problem._replace(train=train, val=val, val_score=score)


def _score(checker, network: Network, targets: np.ndarray, val: Data, layout: Layout,
           real: np.ndarray | None) -> Callable[[np.ndarray], float] | None:
    """The score of `val` as a function of its logits; None where the engine's own (accuracy) is the estimator's."""
    if network.loss.is_classification:
        return None
    weights = val.weights[:, 0] if val.weights.shape[1] == 1 else val.weights[layout.within(val.weights.shape[1])]
    weights = _targets.per_row(weights.astype(np.float64), layout)
    keep = weights > 0 if real is None else (weights > 0) & real
    if np.count_nonzero(keep) < 2:
        if checker.early_stopping:
            raise ValueError("The validation set has fewer than 2 targets with a positive weight, but early_stopping goes by a "
                             "score that needs 2.  Pass more validation data, or early_stopping=False.")
        return lambda logits: np.nan  # as R² has it, without a warning an epoch

    def score(logits: np.ndarray) -> float:
        rows = predicted_rows(network, logits, layout)
        return checker._score_rows(targets[keep], rows[keep], weights[keep])

    return score


def predicted_rows(network: Network, logits: np.ndarray, layout: Layout) -> np.ndarray:
    """The loss's predictions (rows, units), one row a sample or a real step, from logits (n, T_out * units)."""
    units = network.layers[-1].units  # type: ignore[attr-defined]
    rows = logits.reshape(layout.n, -1, units)
    real = rows.reshape(-1, units) if layout.steps is None else rows[layout.within(rows.shape[1])]
    return network.loss.link(real.astype(np.float64))
