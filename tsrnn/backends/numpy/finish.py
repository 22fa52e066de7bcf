"""The end of a training step on flat vectors: chunks' gradients summed, embedding tables, L2, clipping, the solver."""

from __future__ import annotations

import numpy as np

from tsrnn.backends.contract import Params
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


def reduce_gradients(params: Params, gradient: np.ndarray) -> None:
    """Sum the chunks' gradients by a fixed tree; the rows of ``params.grads`` are used up.

    Parameters
    ----------
    params : Params
        ``grads (n_chunks, P_dense)``.
    gradient : ndarray of shape (P,)
        Its first P_dense elements are set.
    """
    rows = params.grads
    n_chunks, n_dense = rows.shape
    stride = 1
    while stride < n_chunks:
        for i in range(0, n_chunks - stride, 2 * stride):
            rows[i] += rows[i + stride]
        stride *= 2
    gradient[:n_dense] = rows[0]


def embedding_gradients(
    gradient: np.ndarray, offset: int, V: int, E: int, tokens: np.ndarray, token_ids: np.ndarray
) -> None:
    """Gradient of an embedding table: the token gradients of a batch, in their order, added to the rows of their ids.

    Parameters
    ----------
    gradient : ndarray of shape (P,)
        ``gradient[offset : offset + V * E]``, the table ``(V, E)``, is set.
    tokens : ndarray of shape (n * E,) or longer
    token_ids : int32 ndarray of shape (n,)
        -1 where there is no gradient.
    """
    table = gradient[offset : offset + V * E].reshape(V, E)
    table[...] = 0
    real = token_ids >= 0
    np.add.at(table, token_ids[real], tokens[: token_ids.size * E].reshape(-1, E)[real])


def apply_update(
    solver: int, theta: np.ndarray, gradient: np.ndarray, moments: np.ndarray, hyper: np.ndarray, penalised: np.ndarray
) -> tuple[float, float]:
    """L2, clipping by value, clipping by global norm, then the solver's step (see `tsrnn.backends.solvers`).

    Parameters
    ----------
    solver : int
        Code of the solver.
    theta : ndarray of shape (P,)
        Parameters, changed in place.
    gradient : ndarray of shape (P,)
        Gradient of the loss; used up.
    moments : ndarray of shape (n_moments, P)
        State of the solver, changed in place.
    hyper : ndarray of shape (N_HYPER,), float64
        Constants of the step.
    penalised : ndarray of shape (k, 2), int64
        Spans ``[start, stop)`` of theta under L2.

    Returns
    -------
    norm : float
        Global norm of the gradient before it is clipped to it.  If it is not finite, nothing has been updated.
    penalty : float
        ``L2 / 2 * |theta|^2`` over the spans, before the update.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        penalty = _add_l2(theta, gradient, hyper[L2], penalised)
        if hyper[CLIP_VALUE] > 0:  # an infinite gradient stays infinite: clipping shall not hide a diverging fit
            limit = theta.dtype.type(hyper[CLIP_VALUE])
            np.clip(gradient, -limit, limit, out=gradient, where=np.isfinite(gradient))
        norm = float(np.sqrt(np.sum(np.square(gradient, dtype=np.float64))))
        if not np.isfinite(norm):
            return norm, penalty
        clipped = 0 < hyper[CLIP_NORM] < norm
        scale = hyper[CLIP_NORM] / norm if clipped else 1.0
        _step(solver, theta, gradient * theta.dtype.type(scale), moments, hyper)
    return norm, penalty


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
