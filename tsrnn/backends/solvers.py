"""The solvers, said once for all backends: their codes, their state and the constants that a step takes.

A backend ends a training step with L2, clipping by value, clipping by global norm, then the solver's step on the flat
parameter vector ``theta`` (g is the clipped gradient, lr the rate of this step, t its number from 1):

=======  =====================================================================================  =============================
solver   step                                                                                   rows of `moments`
=======  =====================================================================================  =============================
adam     m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2                                        m, v
         theta -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
adamw    theta -= lr decay theta, on all parameters; then adam                                  m, v
rmsprop  v = b2 v + (1 - b2) g^2;  theta -= lr g / (sqrt(v) + eps)                              v
sgd      u = momentum u + g;  theta -= lr u;  with Nesterov: theta -= lr (g + momentum u)       u
=======  =====================================================================================  =============================

These are the definitions of `torch.optim` (RMSprop with ``alpha = beta_2``).  Keras' Adam differs by where eps enters
the bias correction, its RMSprop by eps inside the root; its SGD is the same while the rate is constant.
"""

from __future__ import annotations

from typing import NamedTuple

NO_SOLVER = -1  # the gradient is all that is wanted
ADAM, ADAMW, RMSPROP, SGD = 0, 1, 2, 3


class Solver(NamedTuple):
    """What the memory of an optimizer depends on."""

    code: int
    n_moments: int  # rows of `moments` (n_moments, P)


SOLVERS = {
    "adam": Solver(ADAM, 2),
    "adamw": Solver(ADAMW, 2),
    "rmsprop": Solver(RMSPROP, 1),
    "sgd": Solver(SGD, 1),
}

# ---- entries of the float64 array `hyper`
LR = 0            # learning rate of this step
BETA_1, BETA_2, EPSILON = 1, 2, 3
MOMENTUM = 4      # sgd
NESTEROV = 5      # sgd: 1 or 0
WEIGHT_DECAY = 6  # adamw
CLIP_NORM = 7     # 0: off
CLIP_VALUE = 8    # 0: off
L2 = 9            # penalty L2 / 2 * |theta|^2 over the penalised spans
CORRECT_1 = 10    # 1 / (1 - beta_1^t)
CORRECT_2 = 11    # 1 / sqrt(1 - beta_2^t)
N_HYPER = 12
