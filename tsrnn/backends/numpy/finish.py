"""The end of a training step on flat vectors: chunks' gradients summed, embedding tables, L2, clipping, the solver."""

from __future__ import annotations

import numpy as np

from tsrnn.backends.contract import Update
from tsrnn.backends.solvers import (
    ADAM,
    ADAMW,
    BETA_1,
    BETA_2,
    CLIP_NORM,
    CLIP_VALUE,
    CORRECT_1,
    CORRECT_2,
    EPSILON,
    L2,
    LR,
    MOMENTUM,
    NESTEROV,
    RMSPROP,
    WEIGHT_DECAY,
)


def finish_gradient(theta: np.ndarray, grads: np.ndarray, tokens: np.ndarray, token_ids: np.ndarray, update: Update,
                    hyper: np.ndarray) -> tuple[float, float]:
    """The gradient of a batch, with frozen spans, L2 and clipping by value, in ``update.gradient``.

    Parameters
    ----------
    theta : ndarray of shape (P,)
    grads : ndarray of shape (n_chunks, P_dense)
        The chunks' gradients; used up.
    tokens : ndarray of shape (n * E,) or longer
    token_ids : int32 ndarray of shape (n,)
        Which row of the embedding table each of the `tokens` is a gradient of; -1: of none.
    update : Update
    hyper : ndarray of shape (N_HYPER,), float64
        Constants of the step.

    Returns
    -------
    norm : float
        Global norm of the gradient.
    penalty : float
        ``L2 / 2 * |theta|^2`` over the penalised spans.
    """
    gradient = update.gradient
    with np.errstate(over="ignore", invalid="ignore"):
        reduce_gradients(grads, gradient)
        if update.table[1]:
            embedding_gradients(gradient, update.table, tokens, token_ids)
        for start, stop in update.frozen:
            gradient[start:stop] = 0
        penalty = _add_l2(theta, gradient, hyper[L2], update.penalised)
        if hyper[CLIP_VALUE] > 0:  # an infinite gradient stays infinite: clipping shall not hide a diverging fit
            limit = theta.dtype.type(hyper[CLIP_VALUE])
            np.clip(gradient, -limit, limit, out=gradient, where=np.isfinite(gradient))
        return float(np.sqrt(np.sum(np.square(gradient, dtype=np.float64)))), penalty


def reduce_gradients(grads: np.ndarray, gradient: np.ndarray) -> None:
    """Sum the chunks' gradients ``grads (n_chunks, P_dense)`` by a fixed tree into ``gradient[:P_dense]``."""
    n_chunks, n_dense = grads.shape
    stride = 1
    while stride < n_chunks:
        for i in range(0, n_chunks - stride, 2 * stride):
            grads[i] += grads[i + stride]
        stride *= 2
    gradient[:n_dense] = grads[0]


def embedding_gradients(gradient: np.ndarray, table: np.ndarray, tokens: np.ndarray, token_ids: np.ndarray) -> None:
    """Set the part of `gradient` that belongs to the table ``(offset, V, E)``: each id's tokens, added in their order."""
    offset, V, E = table
    rows = gradient[offset : offset + V * E].reshape(V, E)
    rows[...] = 0
    real = token_ids >= 0
    np.add.at(rows, token_ids[real], tokens[: token_ids.size * E].reshape(-1, E)[real])


def apply_update(theta: np.ndarray, update: Update, hyper: np.ndarray, norm: float) -> None:
    """Clipping by `norm`, the global one, then the solver's step (see `tsrnn.backends.solvers`) on theta and moments."""
    gradient = update.gradient
    clipped = 0 < hyper[CLIP_NORM] < norm
    scale = hyper[CLIP_NORM] / norm if clipped else 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        _step(update.solver, theta[: gradient.size], gradient * theta.dtype.type(scale), update.moments, hyper)


def _add_l2(theta, gradient, l2, penalised):
    squares = 0.0
    if l2 > 0:
        for start, stop in penalised:
            gradient[start:stop] += theta.dtype.type(l2) * theta[start:stop]
            squares += float(np.sum(np.square(theta[start:stop], dtype=np.float64)))
    return 0.5 * l2 * squares


def _step(solver, theta, g, moments, hyper):
    number = theta.dtype.type  # constants are rounded once; all arithmetic is in the type of theta
    if solver in (ADAM, ADAMW):
        if solver == ADAMW:
            theta *= number(1.0 - hyper[LR] * hyper[WEIGHT_DECAY])
        m, v = moments
        m[:] = number(hyper[BETA_1]) * m + number(1.0 - hyper[BETA_1]) * g
        v[:] = number(hyper[BETA_2]) * v + number(1.0 - hyper[BETA_2]) * (g * g)
        root = np.sqrt(v) * number(hyper[CORRECT_2]) + number(hyper[EPSILON])
        theta -= number(hyper[LR] * hyper[CORRECT_1]) * m / root
    elif solver == RMSPROP:
        (v,) = moments
        v[:] = number(hyper[BETA_2]) * v + number(1.0 - hyper[BETA_2]) * (g * g)
        theta -= number(hyper[LR]) * g / (np.sqrt(v) + number(hyper[EPSILON]))
    else:
        (u,) = moments
        u[:] = number(hyper[MOMENTUM]) * u + g
        theta -= number(hyper[LR]) * (g + number(hyper[MOMENTUM]) * u if hyper[NESTEROV] else u)
