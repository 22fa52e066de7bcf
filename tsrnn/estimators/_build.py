"""From architecture parameters to layers, and from layers to a network that fits X and y."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tsrnn import layers as kinds
from tsrnn.data.batches import Sequences
from tsrnn.estimators._params import sizes
from tsrnn.network import Network, check_layers, shared_network

MOST_IDS = 2**31 - 1  # as ids are int32
RECURRENT = {"lstm": kinds.LSTM, "gru": kinds.GRU, "rnn": kinds.RNN}


def layers_from_parameters(estimator, n_outputs: int) -> list[kinds.Layer]:
    """The layers that the architecture parameters of `estimator` stand for.

    In order: embedding; each convolution with its pooling; each recurrent layer with its dropout; pooling over all steps; dense
    layers; a linear Dense with `n_outputs` units.
    """
    e = estimator
    network: list[kinds.Layer] = []
    if e.embedding_dim is not None:
        network.append(kinds.Embedding(_table_rows(e) or 0, e.embedding_dim, e.mask_zero, e.train_embedding))
    pooling = kinds.MaxPooling1D if e.pool == "max" else kinds.AveragePooling1D
    for filters in sizes(e, "conv_filters"):
        network.append(kinds.Conv1D(filters, e.conv_kernel_size, e.conv_padding, e.conv_activation))
        if e.pool_size > 1:
            network.append(pooling(e.pool_size))
    network += _recurrent_layers(e)
    if e.pooling != "last":
        network.append(kinds.GlobalMaxPooling1D() if e.pooling == "max" else kinds.GlobalAveragePooling1D())
    network += [kinds.Dense(units, "relu") for units in sizes(e, "dense_layer_sizes")]
    network.append(kinds.Dense(n_outputs))
    return network


def _recurrent_layers(e) -> list[kinds.Layer]:
    hidden = sizes(e, "hidden_layer_sizes")
    every_step = e.return_sequences or e.pooling != "last"  # of the last layer; those before it always give every step
    extra: dict[str, Any] = {"activation": e.activation} if e.cell == "rnn" else {}
    network: list[kinds.Layer] = []
    for n, units in enumerate(hidden):
        layer = RECURRENT[e.cell](units, return_sequences=every_step or n + 1 < len(hidden),
                                  input_dropout=float(e.input_dropout), recurrent_dropout=float(e.recurrent_dropout), **extra)
        network.append(kinds.Bidirectional(layer, e.merge) if e.bidirectional else layer)
        if e.dropout > 0:
            network.append(kinds.Dropout(float(e.dropout)))
    return network


def wanted_vocabulary(estimator) -> int | None:
    """Number of ids that X may have; None where the network begins without an embedding."""
    if estimator.layers is not None:
        first = next(iter(estimator.layers), None)
        return first.vocabulary_size if isinstance(first, kinds.Embedding) else None
    if estimator.embedding_dim is None:
        return None
    return MOST_IDS if is_open(estimator) else _table_rows(estimator)


def is_open(estimator) -> bool:
    """Whether the training data say how many ids there are: nobody else does."""
    return estimator.layers is None and estimator.embedding_dim is not None and _table_rows(estimator) is None


def _table_rows(estimator) -> int | None:
    if estimator.vocabulary_size is not None or estimator.embedding_weights is None:
        return estimator.vocabulary_size
    return (*np.shape(estimator.embedding_weights), 1)[0]


def set_embedding(network: Network, theta: np.ndarray, weights: Any) -> None:
    """Puts the parameter `embedding_weights` into `theta`."""
    if weights is None:
        return
    if network.embedding is None:
        raise ValueError("embedding_weights needs an embedding; give embedding_dim, or leave it None.")
    table, array = network.views(theta)["embedding_0.W"], np.asarray(weights)
    if array.shape != table.shape or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise ValueError(f"embedding_weights must be finite numbers (vocabulary_size, embedding_dim) = {table.shape}, got "
                         f"{array.dtype} values of shape {array.shape}.")
    table[...] = array


def build_network(layers: Sequence[kinds.Layer], sequences: Sequences, n_outputs: int, loss: str,
                  loss_params: Sequence[float]) -> Network:
    """The network for `sequences` with `n_outputs` outputs.

    The number of steps stays free unless a layer (Flatten, Reshape) needs it.  Raises ValueError where the layers do not fit
    each other, the input or the targets.
    """
    layers = check_layers(layers)
    units = layers[-1].units  # type: ignore[attr-defined]
    if units != n_outputs:
        raise ValueError(f"The last layer is {layers[-1]!r}; these targets need Dense({n_outputs}).")
    tail = () if sequences.is_ids else (sequences.channels,)
    try:
        network = shared_network(layers, (None, *tail), loss, loss_params)
    except ValueError:
        if not sequences.same_length:
            raise
        network = shared_network(layers, (sequences.steps, *tail), loss, loss_params)
    check_sequences(network, sequences)
    return network


def n_channels(network: Network) -> int:
    """Values a step that `network` reads; 1 where they are ids."""
    return 1 if network.is_ids else int(network.input_shape[-1])


def check_sequences(network: Network, sequences: Sequences) -> None:
    """Raises ValueError for sequences that the network cannot read.

    They have other values a step than it was built for (its kernels would read behind their end), or are too short for it, or
    not as long as a Flatten or Reshape needs.
    """
    if sequences.is_ids != network.is_ids or sequences.channels != n_channels(network):
        found, wanted = (f"{channels} {'token id' if ids else 'value'}(s) a step" for channels, ids in
                         ((sequences.channels, sequences.is_ids), (n_channels(network), network.is_ids)))
        raise ValueError(f"X has {found}, but the network was built for {wanted}; pass X in the form that fit had.")
    fixed = network.input_shape[0]
    if fixed is not None and not (sequences.same_length and sequences.steps == fixed):
        shortest, longest = int(sequences.lengths.min()), sequences.steps
        found = f"{shortest}" if sequences.same_length else f"{shortest} to {longest}"
        raise ValueError(f"X has {found} steps a sample, but the network was built for {fixed}: its Flatten or Reshape needs "
                         "sequences of one length.")
    network.output_shape(int(sequences.lengths.min()))
