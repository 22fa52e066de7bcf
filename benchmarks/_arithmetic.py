"""The products of a training step: as they are written down, and as many as have to be done.

Nominal: the forward products of every row and step, three times (backward has two of each). Done: a distinct token of a chunk
is projected once, and its gradients are taken once; steps in front at which all rows of a chunk have seen the same tokens are
computed for one row; a convolution's padding is not multiplied; nobody asks for the gradient of the values that the
network reads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from _works import Work

GATES = {"lstm": 4, "gru": 3}


class Arithmetic(NamedTuple):
    """GFLOP of a training step, the mean over the batches."""

    nominal: float
    done: float


def training(work: Work, X: np.ndarray) -> Arithmetic:
    """Counts the multiply-adds, two operations each, of the batches that X consists of."""
    batches = np.split(X, len(X) // work.batch)
    shared = [_tokens_and_rows(batch) for batch in batches] if work.vocabulary else []
    tokens, rows = np.mean(shared, axis=0) if shared else (0.0, 0.0)
    nominal = done = 0.0
    first = True  # nothing before it is trained
    for name, size, units in work.layers:
        kind, everywhere = name.partition("_")[0], work.batch * work.steps
        if kind == "embedding":
            continue
        if kind == "dense":
            nominal, done = nominal + 3 * work.batch * size * units, done + 3 * work.batch * size * units
        elif kind == "conv1d":
            nominal += 3 * everywhere * 3 * size * units
            done += 2 * (3 * everywhere - 2 * work.batch) * size * units
        else:
            columns, directions = GATES[kind] * units, 1 + work.bidirectional
            nominal += directions * 3 * everywhere * columns * (size + units)
            reads_tokens = bool(work.vocabulary) and name.endswith("_0")
            projected = tokens if reads_tokens else everywhere
            stepped = rows if reads_tokens else everywhere
            needs_input_gradient = reads_tokens or not first
            done += columns * (directions * (2 + needs_input_gradient) * projected * size
                               + 3 * (stepped + (directions - 1) * everywhere) * units)
        first = False
    return Arithmetic(2e-9 * nominal, 2e-9 * done)


def _tokens_and_rows(ids: np.ndarray) -> tuple[int, int]:
    """Of a batch (B, T): distinct tokens of its chunks, and the rows of all steps that a forward direction has to compute.

    Chunks as the engine makes them: rows sorted by their real tokens, the longest first.
    """
    from tsrnn.backends.place import HOST

    ids = ids[np.argsort(-(ids != 0).sum(axis=1), kind="stable")]
    size, tokens, rows = HOST.chunk_rows(len(ids)), 0, 0
    for first in range(0, len(ids), size):
        chunk = ids[first:first + size]
        tokens += len(np.unique(chunk))
        alike = np.logical_and.accumulate((chunk == chunk[0]).all(axis=0)).sum()
        rows += alike + (chunk.shape[1] - alike) * len(chunk)
    return tokens, int(rows)
