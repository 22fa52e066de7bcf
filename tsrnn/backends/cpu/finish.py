"""The end of a training step on flat vectors, in Numba; `tsrnn.backends.numpy.finish` is the definition.

The gradient is worked on in blocks (`contract.BLOCK`), thread t of n has the blocks t, t + n, ...: what a block becomes, and
its sum of squares, does not depend on who has it, and the sums of all blocks are added in their order by everybody.  A block's
sum of squares runs in `LANES` float64 accumulators of a fixed order, so its bits do not depend on the vector width.  The
pointwise loops have one body for vectors and remainder: no element's value depends on its place.
"""

from __future__ import annotations

import numpy as np

from tsrnn.backends.contract import BLOCK
from tsrnn.backends.cpu.jit import inner, jit
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

LANES = 64    # accumulators of a sum of squares, enough to hide the latency of an addition at any vector width


@jit
def finish_gradient(theta, grads, tokens, token_ids, update, hyper, thread, n_threads):
    """A thread's blocks of the gradient: ``grads (n_chunks, n_dense)`` and `tokens` summed, frozen spans, L2, clipping.

    Clipping by value, that is; for that by the norm, the blocks' sums of squares go to ``update.squares``.
    """
    gradient, n_dense, table = update.gradient, grads.shape[1], update.table
    first_table, rows = _table_blocks(n_dense, table)
    for block in range(thread, first_table, n_threads):
        first, last = _span(block, n_dense, table)
        _sum_chunks(grads, gradient, first, last)
    for block in range(first_table + thread, update.squares.shape[0], n_threads):
        first, last = _span(block, n_dense, table)
        gradient[first:last] = 0
    E = table[2]
    for i in range(token_ids.size):
        token = np.int64(token_ids[i])
        if token >= 0 and (token // rows) % n_threads == thread:
            row = table[0] + token * E
            _add(gradient[row:row + E], tokens[i * E:(i + 1) * E])
    lanes = np.empty(LANES)
    for which in range(2):  # a thread's dense blocks, then its blocks of the table
        start, stop = (0, first_table) if which == 0 else (first_table, update.squares.shape[0])
        for block in range(start + thread, stop, n_threads):
            first, last = _span(block, n_dense, table)
            _regularise(theta, first, last, update, hyper, lanes, update.squares[block])


@jit
def norm_and_penalty(squares, l2):
    """The gradient's norm, and the L2 penalty."""
    total = penalised = 0.0
    for block in range(squares.shape[0]):
        total += squares[block, 0]
        penalised += squares[block, 1]
    return np.sqrt(total), 0.5 * l2 * penalised


@jit
def apply_update(theta, n_dense, update, hyper, norm, thread, n_threads):
    """A thread's blocks of the solver's step, the gradient clipped by its norm."""
    scale, solver, gradient, moments = 1.0, update.solver, update.gradient, update.moments
    if 0 < hyper[CLIP_NORM] < norm:
        scale = hyper[CLIP_NORM] / norm
    for block in range(thread, update.squares.shape[0], n_threads):
        first, last = _span(block, n_dense, update.table)
        values, g, m = theta[first:last], gradient[first:last], moments[0, first:last]
        if solver == ADAM or solver == ADAMW:
            _adam(values, g, m, moments[1, first:last], hyper, scale, solver == ADAMW)
        elif solver == RMSPROP:
            _rmsprop(values, g, m, hyper, scale)
        else:
            _sgd(values, g, m, hyper, scale)


@inner
def _table_blocks(n_dense, table):
    """Number of the table's first block, and rows of the table in a block."""
    return (n_dense + BLOCK - 1) // BLOCK, max(1, BLOCK // max(table[2], 1))


@inner
def _span(block, n_dense, table):
    """Where a block begins and ends in theta."""
    first_table, rows = _table_blocks(n_dense, table)
    if block < first_table:
        return block * BLOCK, min((block + 1) * BLOCK, n_dense)
    row = (block - first_table) * rows
    return table[0] + row * table[2], table[0] + min(row + rows, table[1]) * table[2]


@inner
def _sum_chunks(grads, gradient, first, last):
    """Columns ``first:last`` of the chunks' gradients, summed by a fixed tree; they stay in cache through all of it."""
    n_chunks, stride = grads.shape[0], 1
    while stride < n_chunks:
        for i in range(0, n_chunks - stride, 2 * stride):
            _add(grads[i, first:last], grads[i + stride, first:last])
        stride *= 2
    _copy(gradient[first:last], grads[0, first:last])


@inner
def _copy(x, y):  # assigning slices would compile NumPy's broadcasting, and its messages: 3 s
    for i in range(x.size):
        x[i] = y[i]


@inner
def _add(x, y):
    for i in range(x.size):  # over views of one dimension: the same loop over rows[i, j] is four times slower
        x[i] += y[i]


@inner
def _regularise(theta, first, last, update, hyper, lanes, squares):
    """Frozen spans, L2 and clipping by value of one block, and its sums of squares."""
    gradient, l2 = update.gradient, hyper[L2]
    squares[1] = 0.0
    for k in range(update.frozen.shape[0]):
        start, stop = max(update.frozen[k, 0], first), min(update.frozen[k, 1], last)
        if start < stop:
            gradient[start:stop] = 0
    if l2 > 0:
        factor = theta.dtype.type(l2)
        for k in range(update.penalised.shape[0]):
            start, stop = max(update.penalised[k, 0], first), min(update.penalised[k, 1], last)
            if start < stop:
                weights, gradients = theta[start:stop], gradient[start:stop]
                for i in range(weights.size):
                    gradients[i] += factor * weights[i]
                squares[1] += _sum_of_squares(weights, lanes)
    g = gradient[first:last]
    if hyper[CLIP_VALUE] > 0:
        _clip_value(g, hyper[CLIP_VALUE])
    squares[0] = _sum_of_squares(g, lanes)


@inner
def _clip_value(gradient, limit):
    # An infinite gradient stays infinite: clipping shall not hide a diverging fit.
    high = gradient.dtype.type(limit)
    for i in range(gradient.size):
        g = gradient[i]
        if g - g == 0:
            gradient[i] = min(max(g, -high), high)


@inner
def _sum_of_squares(x, lanes):
    lanes[:] = 0
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


@inner
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


@inner
def _rmsprop(theta, gradient, v, hyper, scale):
    number = theta.dtype.type
    rho, rest, factor = number(hyper[BETA_2]), number(1.0 - hyper[BETA_2]), number(scale)
    rate, epsilon = number(hyper[LR]), number(hyper[EPSILON])
    for i in range(theta.size):
        g = gradient[i] * factor
        second = rho * v[i] + rest * (g * g)
        v[i] = second
        theta[i] -= rate * g / (np.sqrt(second) + epsilon)


@inner
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
