"""The parameters of the sequence estimators, declared once for all ten classes, and what they must obey together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from tsrnn.device import DEVICES
from tsrnn.estimators._declare import Parameterised, param
from tsrnn.layers.base import ACTIVATIONS
from tsrnn.layers.cells import CELLS
from tsrnn.layers.recurrent import MERGES

POSITIVE_INT = Interval(Integral, 1, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
RATE = Interval(Real, 0, 1, closed="left")

# n_channels says how to read a 2-D X, not what the network is: it goes with layers= too
ARCHITECTURE = ("hidden_layer_sizes", "cell", "bidirectional", "merge", "return_sequences", "pooling", "conv_filters",
                "conv_kernel_size", "conv_padding", "conv_activation", "pool_size", "pool", "embedding_dim",
                "vocabulary_size", "mask_zero", "train_embedding", "dense_layer_sizes", "activation", "dropout",
                "input_dropout", "recurrent_dropout")


class SequenceParameters(Parameterised):
    """Declares; see `tsrnn.estimators._declare`.  Only some classes keep `cell`, `loss` and `class_weight`."""

    _positional = ("hidden_layer_sizes",)

    # ---- architecture
    hidden_layer_sizes: Sequence[int] | int = param(
        (64,), ["array-like", POSITIVE_INT], "Units of each recurrent layer, first to last.")
    cell: str = param("lstm", [StrOptions(set(CELLS))], "Kind of the recurrent layers.")
    bidirectional: bool = param(
        False, ["boolean"], "Runs every recurrent layer forwards and backwards in time, with weights of their own.")
    merge: str = param("concat", [StrOptions(set(MERGES))], "How the two directions of `bidirectional` become one output.")
    return_sequences: bool = param(
        False, ["boolean"], "One output a step: y is (n_samples, n_steps) or (n_samples, n_steps, n_outputs).")
    pooling: str = param(
        "last", [StrOptions({"last", "mean", "max"})],
        "What of the last recurrent layer goes on: its state after the last step, or the mean or maximum over all steps.")
    conv_filters: Sequence[int] | int | None = param(
        None, ["array-like", POSITIVE_INT, None], "Filters of each convolution in front of the recurrent layers.")
    conv_kernel_size: int = param(3, [POSITIVE_INT], "Steps that a convolution sees at a time.")
    conv_padding: str = param(
        "same", [StrOptions({"same", "valid"})], '"same" keeps the number of steps, "valid" loses `conv_kernel_size - 1`.')
    conv_activation: str = param("relu", [StrOptions(set(ACTIVATIONS))], "Activation behind each convolution.")
    pool_size: int = param(
        1, [POSITIVE_INT], "Steps pooled into one behind each convolution of `conv_filters`; 1 pools nothing.")
    pool: str = param("max", [StrOptions({"max", "average"})], "Kind of that pooling.")
    embedding_dim: int | None = param(
        None, [POSITIVE_INT, None], "Length of the vectors that token ids become; X holds ids then.")
    vocabulary_size: int | None = param(
        None, [POSITIVE_INT, None],
        "Number of different ids, 0 to `vocabulary_size - 1`; others raise an error.  None: the largest id in training decides,"
        " and later larger ones count as 2, Keras' id of words outside the vocabulary.")
    mask_zero: bool = param(False, ["boolean"], "Id 0 is padding: such steps are left out everywhere.")
    embedding_weights: Any = param(
        None, ["array-like", None], "Vectors (vocabulary_size, embedding_dim) that the embedding begins with, say pretrained "
        "ones; None draws them.")
    train_embedding: bool = param(True, ["boolean"], "False keeps the embedding's vectors as they are.")
    dense_layer_sizes: Sequence[int] = param(
        (), ["array-like", POSITIVE_INT], "Units of the dense layers (relu) between the recurrent ones and the output.")
    activation: str = param("tanh", [StrOptions({"tanh", "relu"})], "Activation of the vanilla cell; others have their own.")
    dropout: float = param(0.0, [RATE], "Rate of dropout on the output of each recurrent layer, the last included.")
    input_dropout: float = param(0.0, [RATE], "Rate of dropout on the input of each recurrent layer, equal for all steps.")
    recurrent_dropout: float = param(0.0, [RATE], "Rate of dropout on the state that goes back in, equal for all steps.")
    n_channels: int = param(
        1, [POSITIVE_INT], "Values a step of a 2-D X, (n_samples, n_steps * n_channels); other X say it themselves.")
    layers: Sequence[Any] | None = param(
        None, [list, tuple, None], "Layers of `tsrnn.layers`, the last a linear Dense; they replace all parameters above but "
        "`n_channels`.")

    # ---- objective
    loss: str = param(
        "squared_error", [StrOptions({"squared_error", "absolute_error", "huber", "poisson", "quantile"})],
        'What training minimises.  "poisson" predicts with an exponential link and wants y >= 0.')
    quantiles: Sequence[float] = param(
        (0.5,), ["array-like", Interval(Real, 0, 1, closed="neither")],
        'Quantiles that loss="quantile" predicts (other losses do not look at them); with several of them predictions have one '
        "more axis, the last.")
    huber_delta: float = param(1.0, [POSITIVE], 'Residual at which loss="huber" goes from squared to absolute.')
    alpha: float = param(
        0.0, [NOT_NEGATIVE],
        "Strength of the L2 penalty on the weights (biases are free): `alpha / 2` times their sum of squares, divided by the "
        "samples of a batch, is added to its mean loss.  MLPRegressor has the same penalty but halves the squared error: for "
        "the same balance take twice its `alpha`.")
    class_weight: dict | str | None = param(
        None, [dict, StrOptions({"balanced"}), None],
        'Weights of the classes in training, {label: weight}; "balanced" makes all classes weigh the same.  Validation scores '
        "and losses leave them out.")

    # ---- optimisation
    solver: str = param("adam", [StrOptions({"adam", "adamw", "rmsprop", "sgd"})], "The optimizer.")
    learning_rate: str | Callable[[int], float] = param(
        "constant", [StrOptions({"constant", "plateau", "cosine"}), callable],
        'Schedule of the learning rate.  "plateau" divides it by 5 where the loss stalls for 5 epochs: the validation loss '
        'where there is one, else that of training.  "cosine" lets it fall towards 0 at epoch `max_iter`; fits that go on '
        "beyond (`warm_start`, `partial_fit`) stay at its last rate.  A callable gets the epoch (from 0) and returns the rate.")
    learning_rate_init: float = param(1e-3, [POSITIVE], "The learning rate at the start.")
    momentum: float = param(0.9, [RATE], 'Momentum of solver="sgd".')
    nesterovs_momentum: bool = param(True, ["boolean"], 'Nesterov\'s momentum, solver="sgd".')
    beta_1: float = param(0.9, [RATE], "Decay of the first moment, Adam.")
    beta_2: float = param(0.999, [RATE], "Decay of the second moment, Adam and RMSprop.")
    epsilon: float = param(1e-8, [POSITIVE], "Keeps the division of Adam and RMSprop finite.")
    weight_decay: float = param(0.01, [NOT_NEGATIVE], 'Decoupled weight decay, solver="adamw".')
    clip_norm: float | None = param(
        1.0, [POSITIVE, None], "Largest L2 norm of a step's whole gradient; longer ones are scaled down.  None: no limit.")
    clip_value: float | None = param(None, [POSITIVE, None], "Largest size of each element of the gradient.")
    batch_size: int | str = param(
        "auto", [StrOptions({"auto"}), POSITIVE_INT], 'Samples a step; "auto" is min(200, n_samples).')
    max_iter: int = param(200, [POSITIVE_INT], "Epochs at most.")
    shuffle: bool = param(True, ["boolean"], "New order of the samples each epoch.")
    tol: float = param(1e-4, [NOT_NEGATIVE], "An improvement smaller than this is none.")
    n_iter_no_change: int = param(
        10, [POSITIVE_INT, Options(Real, {np.inf})],
        "Epochs without an improvement of the training loss (of the validation score with `early_stopping`) that end the fit.")
    early_stopping: bool = param(
        False, ["boolean"], "Stops by a validation score: on `X_val` where given, else on a part of X that is set aside.")
    validation_fraction: float = param(
        0.1, [Interval(Real, 0, 1, closed="neither")], "The part that `early_stopping` sets aside.")
    restore_best: bool = param(
        True, ["boolean"], "Ends with the weights of the best validation score, where there is one.")
    warm_start: bool = param(False, ["boolean"], "`fit` goes on from where it is instead of starting anew.")
    on_epoch_end: Callable[[int, dict], Any] | None = param(
        None, [callable, None], "Called as `on_epoch_end(epoch, logs)` with Keras' keys; True as answer ends the fit.")
    random_state: int | np.random.RandomState | None = param(
        None, ["random_state"], "Seeds initial weights, order, dropout and split.  One int, one result, bit for bit.")

    # ---- running
    dtype: str | type | None = param(
        None, [StrOptions({"float32", "float64"}), Options(type, {np.float32, np.float64}), None],
        "Float type of the computation; None takes that of X, and for token ids float32.")
    n_jobs: int | None = param(
        None, [POSITIVE_INT, Interval(Integral, None, -1, closed="right"), None],
        "Threads, as in joblib; None takes all cores, or one inside a parallel worker.  It never changes a bit.")
    device: str = param(
        "cpu", [StrOptions(set(DEVICES))],
        'Where to compute: "cuda" is an NVIDIA GPU (pip install "tsrnn[gpu]"), "auto" the GPU where one can be used, else the '
        'CPU.  Without a usable GPU a fit with "cuda" raises NoGPUError, which says why; predictions run on the CPU then, with '
        "one warning a process: a fitted model belongs to no device, and is pickled here and used there.")
    verbose: bool | int = param(False, ["verbose"], "Shows a progress bar with loss, speed and time left.")


def validate_together(estimator) -> None:
    """What single constraints cannot say; every parameter by itself is valid already."""
    check_class_weight(getattr(estimator, "class_weight", None))
    if estimator.layers is not None:
        changed = [name for name, p in estimator._parameters.items() if name in ARCHITECTURE
                   and not _equal(getattr(estimator, name), p.default)]
        if changed:
            raise ValueError(f"layers=[...] replaces the architecture parameters, but {', '.join(changed)} "
                             f"{'is' if len(changed) == 1 else 'are'} set as well; leave them at their defaults or leave out "
                             "layers.")
        return
    sizes(estimator, "hidden_layer_sizes", at_least=1)
    sizes(estimator, "dense_layer_sizes")
    sizes(estimator, "conv_filters")
    if estimator.activation != "tanh" and estimator.cell != "rnn":
        raise ValueError(f"activation={estimator.activation!r} is for cell='rnn' only; cell={estimator.cell!r} has activations "
                         "of its own.  Leave activation at 'tanh'.")
    if estimator.return_sequences and estimator.pooling != "last":
        raise ValueError(f"pooling={estimator.pooling!r} makes one output of all steps, return_sequences=True wants one a "
                         "step; leave one of them at its default.")
    if estimator.embedding_dim is None and estimator.vocabulary_size is not None:
        raise ValueError(f"vocabulary_size={estimator.vocabulary_size} is about an embedding; give embedding_dim as well, or "
                         "leave it None.")
    if estimator.mask_zero and estimator.embedding_dim is None:
        raise ValueError("mask_zero=True is about token ids; give embedding_dim, or leave it False.")
    if not estimator.train_embedding and estimator.embedding_dim is None:
        raise ValueError("train_embedding=False needs an embedding; give embedding_dim, or leave it True.")


def sizes(estimator, name: str, at_least: int = 0) -> tuple[int, ...]:
    """The parameter `name`, layer sizes, as a tuple of ints."""
    value = getattr(estimator, name)
    if value is None:
        return ()
    found = list(value) if np.ndim(value) == 1 else [value]
    if np.ndim(value) > 1 or any(isinstance(s, bool) or not isinstance(s, Integral) or s < 1 for s in found):
        raise ValueError(f"{name}={value!r} must hold integers >= 1, the units of each layer.")
    if len(found) < at_least:
        raise ValueError(f"{name}={value!r} must hold at least {at_least} layer size; for a network without a recurrent layer "
                         "pass layers=[...].")
    return tuple(int(s) for s in found)


def check_class_weight(class_weight: Any) -> None:
    """Raises ValueError where a class's weight is no weight: negative, NaN, infinite or not a number."""
    for label, weight in class_weight.items() if isinstance(class_weight, dict) else ():
        if not isinstance(weight, Real) or not 0 <= float(weight) < np.inf:
            raise ValueError(f"class_weight gives the class {label!r} the weight {weight!r}; weights must be finite numbers "
                             ">= 0.")


def quantile_levels(estimator) -> tuple[float, ...]:
    """The parameter `quantiles` as a tuple of floats between 0 and 1."""
    value = estimator.quantiles
    found = list(value) if np.ndim(value) == 1 else [value]
    if not found or np.ndim(value) > 1 or any(not isinstance(q, Real) or not 0 < float(q) < 1 for q in found):
        raise ValueError(f"quantiles={value!r} must hold numbers between 0 and 1, both excluded.")
    return tuple(float(q) for q in found)


def _equal(value, default) -> bool:
    if np.ndim(value) == 1 and isinstance(default, tuple):
        return tuple(value) == default
    return np.ndim(value) == 0 and bool(value == default)
