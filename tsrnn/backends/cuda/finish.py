"""The end of a training step: embedding tables, L2, clipping, the solver."""

from __future__ import annotations

import math

import numpy as np

from tsrnn.backends.cuda.inputs import table_gradient
from tsrnn.backends.cuda.jit import SIMULATED, THREADS, cuda, family
from tsrnn.backends.cuda.place import CARD
from tsrnn.backends.cuda.reductions import sqrt, sum_pairs
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
    NO_SOLVER,
    RMSPROP,
    SGD,
    WEIGHT_DECAY,
)

ITEMS = 2 if SIMULATED else 4  # parameters of a thread
FROZEN, PENALISED = 1, 2       # what there is to say of a parameter


def finish(recorder, update):
    """Records the gradient with its sums of squares, what follows from these, and the solver's step."""
    dtype, n, solver = recorder.dtype, update.gradient.size, int(update.solver)
    first, V, E = update.table.tolist()
    blocks = -(-n // (THREADS * ITEMS))
    squares, verdict = recorder.workspace((blocks, 2), np.float64), recorder.workspace(2, np.float64)
    rows, source, at = recorder.indices, recorder.grads, 0  # stand for nothing
    if V:
        rows, (source, at) = recorder.tokens.rows, table_gradient(recorder)
    recorder.launch(regularise(dtype, V > 0), blocks, THREADS, n, first, E, at, recorder.grads, rows, source, recorder.theta,
                    CARD.put(kinds(update)), update.gradient, recorder.hyper, squares)
    recorder.launch(conclude(solver != NO_SOLVER), 1, THREADS, blocks, squares, recorder.sums, recorder.hyper,
                    recorder.turn.losses, recorder.turn.clock, verdict)
    if solver != NO_SOLVER:
        step, *numbers = STEPS[solver]
        recorder.launch(step(dtype, *numbers), blocks, THREADS, n, recorder.theta, update.gradient,
                        update.moments.reshape(update.moments.size), recorder.hyper, verdict)


def kinds(update) -> np.ndarray:
    """A byte a parameter: whether it is FROZEN, and PENALISED; the last stands for all behind it, mostly a large table."""
    found = np.zeros(update.gradient.size, np.uint8)
    for spans, kind in ((update.frozen, FROZEN), (update.penalised, PENALISED)):
        for start, stop in spans:
            found[start:stop] |= kind
    others = np.flatnonzero(found != found[-1])
    return found[:others[-1] + 2 if others.size else 1]


@family
def regularise(dtype, has_table):
    """The gradient with frozen spans, L2 and clipping by value; a block's sums of squares, of it and of penalised weights."""
    add_up, zero = sum_pairs(THREADS), dtype(0)

    def kernel(n, n_dense, E, at, grads, rows, source, theta, kinds, gradient, hyper, squares):
        parts = cuda.shared.array((THREADS, 2), np.float64)
        thread = cuda.threadIdx.x
        l2, limit = dtype(hyper[L2]), dtype(hyper[CLIP_VALUE])
        of_gradient = of_weights = 0.0
        for k in range(ITEMS):
            i = (cuda.blockIdx.x * ITEMS + k) * THREADS + thread
            if i < n:
                if has_table and i >= n_dense:
                    entry = i - n_dense
                    token = np.int64(np.uint32(entry) // np.uint32(E))  # many times faster than of 64 bits
                    row = rows[token]
                    g = source[at + row * E + entry - token * E] if row >= 0 else zero
                else:
                    g = grads[i]
                kind = kinds[min(i, kinds.size - 1)]
                if kind & FROZEN:
                    g = zero
                if hyper[L2] > 0.0 and kind & PENALISED:
                    g += l2 * theta[i]
                    of_weights += np.float64(theta[i]) * np.float64(theta[i])
                if hyper[CLIP_VALUE] > 0.0 and g - g == zero:  # clipping shall not hide a diverging fit
                    g = min(max(g, -limit), limit)
                gradient[i] = g
                of_gradient += np.float64(g) * np.float64(g)
        parts[thread, 0] = of_gradient
        parts[thread, 1] = of_weights
        add_up(parts, thread)
        if thread == 0:
            squares[cuda.blockIdx.x, 0] = parts[0, 0]
            squares[cuda.blockIdx.x, 1] = parts[0, 1]
    return kernel


@family
def conclude(solves):
    """The step's losses; whether it is made (verdict[0]), by what clipping scales the gradient (verdict[1]); time goes on."""
    add_up = sum_pairs(THREADS)

    def kernel(blocks, squares, sums, hyper, losses, clock, verdict):
        parts = cuda.shared.array((THREADS, 2), np.float64)
        thread = cuda.threadIdx.x
        of_gradient = of_weights = 0.0
        for block in range(thread, blocks, THREADS):
            of_gradient += squares[block, 0]
            of_weights += squares[block, 1]
        parts[thread, 0] = of_gradient
        parts[thread, 1] = of_weights
        add_up(parts, thread)
        if thread == 0:
            verdict[0] = 0.0
            verdict[1] = 1.0
            if clock[1] == 0:
                norm, step = sqrt(parts[0, 0]), clock[0]
                losses[step, 0] = sums[0]
                losses[step, 1] = sums[1]
                losses[step, 2] = 0.5 * hyper[L2] * parts[0, 1]
                if solves and not (math.isfinite(sums[0]) and math.isfinite(norm)):
                    clock[1] = 1
                else:
                    clock[0] = step + 1
                    verdict[0] = 1.0
                    if 0.0 < hyper[CLIP_NORM] < norm:
                        verdict[1] = hyper[CLIP_NORM] / norm
    return kernel


@family
def adam(dtype, decoupled):
    """Constants are rounded once; all arithmetic is in the type of theta."""
    def kernel(n, theta, gradient, moments, hyper, verdict):
        if verdict[0] == 0.0:
            return
        beta_1, rest_1 = dtype(hyper[BETA_1]), dtype(1.0 - hyper[BETA_1])
        beta_2, rest_2 = dtype(hyper[BETA_2]), dtype(1.0 - hyper[BETA_2])
        rate, correct, epsilon = dtype(hyper[LR] * hyper[CORRECT_1]), dtype(hyper[CORRECT_2]), dtype(hyper[EPSILON])
        keep, scale = dtype(1.0 - hyper[LR] * hyper[WEIGHT_DECAY]), dtype(verdict[1])
        for k in range(ITEMS):
            i = (cuda.blockIdx.x * ITEMS + k) * THREADS + cuda.threadIdx.x
            if i < n:
                g = gradient[i] * scale
                m = beta_1 * moments[i] + rest_1 * g
                v = beta_2 * moments[n + i] + rest_2 * (g * g)
                moments[i] = m
                moments[n + i] = v
                value = theta[i] * keep if decoupled else theta[i]
                theta[i] = value - rate * m / (dtype(sqrt(v)) * correct + epsilon)
    return kernel


@family
def rmsprop(dtype):
    def kernel(n, theta, gradient, moments, hyper, verdict):
        if verdict[0] == 0.0:
            return
        rho, rest, rate = dtype(hyper[BETA_2]), dtype(1.0 - hyper[BETA_2]), dtype(hyper[LR])
        epsilon, scale = dtype(hyper[EPSILON]), dtype(verdict[1])
        for k in range(ITEMS):
            i = (cuda.blockIdx.x * ITEMS + k) * THREADS + cuda.threadIdx.x
            if i < n:
                g = gradient[i] * scale
                v = rho * moments[i] + rest * (g * g)
                moments[i] = v
                theta[i] -= rate * g / (dtype(sqrt(v)) + epsilon)
    return kernel


@family
def sgd(dtype):
    def kernel(n, theta, gradient, moments, hyper, verdict):
        if verdict[0] == 0.0:
            return
        momentum, rate, scale, nesterov = dtype(hyper[MOMENTUM]), dtype(hyper[LR]), dtype(verdict[1]), hyper[NESTEROV] != 0.0
        for k in range(ITEMS):
            i = (cuda.blockIdx.x * ITEMS + k) * THREADS + cuda.threadIdx.x
            if i < n:
                g = gradient[i] * scale
                u = momentum * moments[i] + g
                moments[i] = u
                theta[i] -= rate * (g + momentum * u if nesterov else u)
    return kernel


STEPS = {ADAM: (adam, False), ADAMW: (adam, True), RMSPROP: (rmsprop,), SGD: (sgd,)}  # family and numbers behind the type
