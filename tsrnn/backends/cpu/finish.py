"""The end of a training step on flat vectors, in Numba; `tsrnn.backends.numpy.finish` is the definition.

Sums of squares run in `LANES` float64 accumulators of a fixed order, so their bits depend on neither threads nor vector
width.  The pointwise loops have one body for vectors and remainder: no element's value depends on its place.
"""

from __future__ import annotations

import numpy as np

from tsrnn.backends.cpu.denormals import flush_denormals, restore_denormals
from tsrnn.backends.cpu.jit import jit
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

BLOCK = 1024  # columns summed at a time: a block of the rows stays in cache through the whole tree
LANES = 64    # accumulators of a sum of squares, enough to hide the latency of an addition at any vector width


@jit
def reduce_gradients(params, gradient):
    """Sum the chunks' gradients ``params.grads (n_chunks, P_dense)`` by a fixed tree into ``gradient[:P_dense]``."""
    rows = params.grads
    n_chunks, n_dense = rows.shape
    for first in range(0, n_dense, BLOCK):
        last = min(first + BLOCK, n_dense)
        stride = 1
        while stride < n_chunks:
            for i in range(0, n_chunks - stride, 2 * stride):
                _add(rows[i, first:last], rows[i + stride, first:last])
            stride *= 2
        gradient[first:last] = rows[0, first:last]


@jit
def embedding_gradients(gradient, offset, V, E, tokens, token_ids):
    """Set ``gradient[offset : offset + V * E]`` to the sum of the token gradients, in their order."""
    gradient[offset : offset + V * E] = 0
    for i in range(token_ids.size):
        if token_ids[i] >= 0:
            row = offset + np.int64(token_ids[i]) * E
            _add(gradient[row : row + E], tokens[i * E : (i + 1) * E])


@jit
def apply_update(solver, theta, gradient, moments, hyper, penalised):
    """L2, clipping by value, by global norm, then the solver's step; returns the norm and the L2 penalty.

    A norm that is not finite means that nothing has been updated.
    """
    # Moments of parameters that get no gradient any more (rare words) decay to denormal numbers: 77 times slower.
    control = flush_denormals()
    norm, penalty = _update(solver, theta, gradient, moments, hyper, penalised)
    restore_denormals(control)
    return norm, penalty


@jit
def _update(solver, theta, gradient, moments, hyper, penalised):
    penalty = _add_l2(theta, gradient, hyper[L2], penalised)
    if hyper[CLIP_VALUE] > 0:
        _clip_value(gradient, hyper[CLIP_VALUE])
    norm = np.sqrt(_sum_of_squares(gradient))
    if not np.isfinite(norm):
        return norm, penalty
    scale = 1.0
    if 0 < hyper[CLIP_NORM] < norm:
        scale = hyper[CLIP_NORM] / norm
    if solver == ADAM or solver == ADAMW:
        _adam(theta, gradient, moments[0], moments[1], hyper, scale, solver == ADAMW)
    elif solver == RMSPROP:
        _rmsprop(theta, gradient, moments[0], hyper, scale)
    else:
        _sgd(theta, gradient, moments[0], hyper, scale)
    return norm, penalty


@jit
def _add(x, y):
    for i in range(x.size):  # over views of one dimension: the same loop over rows[i, j] is four times slower
        x[i] += y[i]


@jit
def _add_l2(theta, gradient, l2, penalised):
    squares = 0.0
    if l2 > 0:
        factor = theta.dtype.type(l2)
        for k in range(penalised.shape[0]):
            start, stop = penalised[k, 0], penalised[k, 1]
            weights, gradients = theta[start:stop], gradient[start:stop]
            for i in range(weights.size):
                gradients[i] += factor * weights[i]
            squares += _sum_of_squares(weights)
    return 0.5 * l2 * squares


@jit
def _clip_value(gradient, limit):
    # An infinite gradient stays infinite: clipping shall not hide a diverging fit.
    high = gradient.dtype.type(limit)
    for i in range(gradient.size):
        g = gradient[i]
        if g - g == 0:
            gradient[i] = min(max(g, -high), high)


@jit
def _sum_of_squares(x):
    lanes = np.zeros(LANES)
    whole = x.size - x.size % LANES
    for i in range(0, whole, LANES):
        for j in range(LANES):
            value = np.float64(x[i + j])
            lanes[j] += value * value
    for j in range(x.size - whole):
        value = np.float64(x[whole + j])
        lanes[j] += value * value
    total = 0.0
    for j in range(LANES):
        total += lanes[j]
    return total


@jit
def _adam(theta, gradient, m, v, hyper, scale, decoupled):
    number = theta.dtype.type  # constants are rounded once; all arithmetic is in the type of theta
    beta_1, rest_1 = number(hyper[BETA_1]), number(1.0 - hyper[BETA_1])
    beta_2, rest_2 = number(hyper[BETA_2]), number(1.0 - hyper[BETA_2])
    rate, root, epsilon = number(hyper[LR] * hyper[CORRECT_1]), number(hyper[CORRECT_2]), number(hyper[EPSILON])
    factor, keep = number(scale), number(1.0)
    if decoupled:
        keep = number(1.0 - hyper[LR] * hyper[WEIGHT_DECAY])
    for i in range(theta.size):
        g = gradient[i] * factor
        first = beta_1 * m[i] + rest_1 * g
        second = beta_2 * v[i] + rest_2 * (g * g)
        m[i] = first
        v[i] = second
        theta[i] = theta[i] * keep - rate * first / (np.sqrt(second) * root + epsilon)


@jit
def _rmsprop(theta, gradient, v, hyper, scale):
    number = theta.dtype.type
    rho, rest, factor = number(hyper[BETA_2]), number(1.0 - hyper[BETA_2]), number(scale)
    rate, epsilon = number(hyper[LR]), number(hyper[EPSILON])
    for i in range(theta.size):
        g = gradient[i] * factor
        second = rho * v[i] + rest * (g * g)
        v[i] = second
        theta[i] -= rate * g / (np.sqrt(second) + epsilon)


@jit
def _sgd(theta, gradient, u, hyper, scale):
    number = theta.dtype.type
    momentum, rate, factor = number(hyper[MOMENTUM]), number(hyper[LR]), number(scale)
    ahead, now = number(0.0), number(1.0)  # the step is now * u, or with Nesterov g + momentum * u
    if hyper[NESTEROV] != 0:
        ahead, now = number(1.0), momentum
    for i in range(theta.size):
        g = gradient[i] * factor
        velocity = momentum * u[i] + g
        u[i] = velocity
        theta[i] -= rate * (ahead * g + now * velocity)
