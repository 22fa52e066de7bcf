"""Optimizers as data: the constants of a step, and learning-rate schedules.

A fit holds ``theta (P,)``, ``moments (n_moments, P)`` and the float64 array ``hyper``; the backends do the arithmetic
(`tsrnn.backends.solvers` has the definitions)::

    solver = get_solver("adam")
    moments = np.zeros((solver.n_moments, theta.size), theta.dtype)
    hyper = np.tile(make_hyper(beta_1=0.9, beta_2=0.999, epsilon=1e-8), (n_steps, 1))
    start_steps(hyper, 1, rate)  # one row a step, for a backend's `train`
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tsrnn.backends.solvers import (
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
    N_HYPER,
    NESTEROV,
    SOLVERS,
    WEIGHT_DECAY,
    Solver,
)

SCHEDULES = ("constant", "plateau", "cosine")


def get_solver(name: str) -> Solver:
    """Code and number of moments of a solver.

    Raises
    ------
    ValueError
        If there is no such solver.
    """
    try:
        return SOLVERS[name]
    except (KeyError, TypeError):
        raise ValueError(f"solver={name!r} is unknown; use one of {', '.join(map(repr, SOLVERS))}") from None


def make_hyper(
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    l2: float = 0.0,
) -> np.ndarray:
    """The constants of a fit, for the backends.

    Returns
    -------
    hyper : ndarray of shape (N_HYPER,), float64
        `LR` and the bias corrections are 0 until `start_steps` sets them.  `L2` may be set for every batch.

    Raises
    ------
    ValueError
        If a constant is out of its range.
    """
    for name, value in (("beta_1", beta_1), ("beta_2", beta_2), ("momentum", momentum)):
        if not 0 <= value < 1:
            raise ValueError(f"{name}={value!r} must be in [0, 1)")
    limits = (("clip_norm", clip_norm), ("clip_value", clip_value))
    for name, limit in limits:
        if limit is not None and not 0 < limit < math.inf:
            raise ValueError(f"{name}={limit!r} must be a positive number, or None for no clipping")
    for name, value in (("epsilon", epsilon), ("weight_decay", weight_decay), ("l2", l2)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name}={value!r} must be a number >= 0")
    hyper = np.zeros(N_HYPER)
    hyper[[BETA_1, BETA_2, EPSILON, MOMENTUM]] = beta_1, beta_2, epsilon, momentum
    hyper[[NESTEROV, WEIGHT_DECAY, L2]] = bool(nesterov), weight_decay, l2
    hyper[[CLIP_NORM, CLIP_VALUE]] = clip_norm or 0.0, clip_value or 0.0
    return hyper


def start_steps(hyper: np.ndarray, first: int, rate: float | np.ndarray) -> None:
    """Set what changes from step to step: the learning rate and the bias corrections.

    Parameters
    ----------
    hyper : ndarray of shape (n_steps, N_HYPER), float64
        Changed in place.
    first : int
        Number of the first of these steps since the moments were zero, from 1.
    rate : float or ndarray of shape (n_steps,)
        Learning rate of these steps.
    """
    hyper[:, LR] = rate
    steps = range(first, first + len(hyper))
    beta_1, beta_2 = float(hyper[0, BETA_1]), float(hyper[0, BETA_2])
    # Python's power is that of one number; NumPy's may depend on where in an array it stands
    hyper[:, CORRECT_1] = 1.0 / (1.0 - np.array([beta_1**step for step in steps]))
    hyper[:, CORRECT_2] = 1.0 / np.sqrt(1.0 - np.array([beta_2**step for step in steps]))


# ---------------------------------------------------------------------------------------------- learning-rate schedules


@dataclass
class Constant:
    """The same rate for all epochs, and what the other schedules have to offer."""

    learning_rate_init: float

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch (numbered from 0)."""
        return self.learning_rate_init

    def known(self) -> float:
        """Number of epochs from now on whose rates do not depend on what the epochs come to."""
        return math.inf

    def observe(self, loss: float) -> None:
        """Hear what the epoch has come to: a number that shall become small."""


@dataclass
class Plateau(Constant):
    """Lower the rate where the loss stands still (Keras' ``ReduceLROnPlateau``, scikit-learn's ``"adaptive"``).

    After `patience` epochs in a row whose loss is not below ``best - tol`` the rate is multiplied by `factor`, never
    going below `min_rate`.  `current`, `best` and `wait` are the state that a resumed fit goes on from.
    """

    tol: float = 1e-4
    factor: float = 0.2
    patience: int = 5
    min_rate: float = 1e-6
    current: float | None = None
    best: float = math.inf
    wait: int = 0

    def rate(self, epoch: int) -> float:
        """Learning rate of the next epoch, whatever its number."""
        return self.learning_rate_init if self.current is None else self.current

    def known(self) -> float:
        """Until it can be lowered next."""
        return self.patience - self.wait

    def observe(self, loss: float) -> None:
        """Count an epoch with this loss."""
        if loss < self.best - self.tol:
            self.best, self.wait = loss, 0
            return
        self.wait += 1
        if self.wait >= self.patience:
            self.wait = 0
            current = self.rate(0)
            if current > self.min_rate:
                self.current = max(current * self.factor, self.min_rate)


@dataclass
class Cosine(Constant):
    """From the initial rate down to 0 over `max_iter` epochs along half a cosine (PyTorch's ``CosineAnnealingLR``).

    The last epoch, ``max_iter - 1``, still has a positive rate; epochs after it keep that rate, so a fit that goes on learns.
    """

    max_iter: int

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch (numbered from 0)."""
        epoch = min(epoch, self.max_iter - 1)
        return 0.5 * self.learning_rate_init * (1.0 + math.cos(math.pi * epoch / self.max_iter))


@dataclass
class Custom(Constant):
    """A function ``epoch -> rate`` of the user's own, epochs numbered from 0; pickles where the function does."""

    function: Callable[[int], float]

    def known(self) -> float:
        """The next: a function may look at what the epochs before have come to."""
        return 1

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch (numbered from 0).

        Raises
        ------
        ValueError
            If the function returns anything but a finite number >= 0.
        """
        value = self.function(epoch)
        try:
            rate = float(value)
        except (TypeError, ValueError):
            rate = math.nan
        if not 0 <= rate < math.inf:
            raise ValueError(f"learning_rate returned {value!r} for epoch {epoch}; it must return a finite rate >= 0")
        return rate


def schedule(
    kind: str | Callable[[int], float], learning_rate_init: float, max_iter: int, tol: float = 1e-4
) -> Constant:
    """The learning-rate schedule of a fit.

    Parameters
    ----------
    kind : {"constant", "plateau", "cosine"} or callable
        A callable gets the epoch's number, from 0, and returns its rate; `learning_rate_init` is then unused.
    learning_rate_init : float
        Rate of the first epoch.
    max_iter : int
        Number of epochs ("cosine").
    tol : float, default=1e-4
        By how much a loss must fall to count as better ("plateau").

    Returns
    -------
    schedule : object
        ``rate(epoch)`` before an epoch, ``observe(loss)`` after it; plain data, so it pickles and a fit can go on from it.

    Raises
    ------
    ValueError
        If there is no such schedule, or the rate or number of epochs is not positive.
    """
    if not 0 < learning_rate_init < math.inf:
        raise ValueError(f"learning_rate_init={learning_rate_init!r} must be a positive number")
    if max_iter < 1:
        raise ValueError(f"max_iter={max_iter!r} must be at least 1")
    if callable(kind):
        return Custom(learning_rate_init, kind)
    if kind == "constant":
        return Constant(learning_rate_init)
    if kind == "plateau":
        return Plateau(learning_rate_init, tol)
    if kind == "cosine":
        return Cosine(learning_rate_init, max_iter)
    raise ValueError(f"learning_rate={kind!r} is unknown; use one of {', '.join(map(repr, SCHEDULES))} or a callable")
