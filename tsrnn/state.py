"""What a fit is told (`Settings`), and what it leaves behind (`State`)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tsrnn.network import Network
from tsrnn.optimizers import Constant as LearningRate

INITIAL_WEIGHTS, SHUFFLE = 0, 1  # what a seed's random streams are for; dropout's is `contract.random_key`
KEPT_BYTES = 2**16  # of initial weights that a network keeps


@dataclass(frozen=True)
class Settings:
    """Every optimisation and running parameter of the estimators, already validated."""

    solver: str = "adam"
    learning_rate: str | Callable[[int], float] = "constant"
    learning_rate_init: float = 1e-3
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    alpha: float = 0.0
    clip_norm: float | None = 1.0
    clip_value: float | None = None
    batch_size: int = 200
    max_iter: int = 200
    shuffle: bool = True
    tol: float = 1e-4
    n_iter_no_change: int = 10
    early_stopping: bool = False
    restore_best: bool = True
    n_jobs: int | None = None
    verbose: bool = False
    seed: int = 0


@dataclass
class State:
    """All that a fit leaves behind and a resumed fit goes on from."""

    theta: np.ndarray
    moments: np.ndarray | None = None
    n_steps: int = 0
    n_epochs: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    validation_scores: list[float] = field(default_factory=list)
    best_epoch: int = 0
    best_theta: np.ndarray | None = None
    schedule: LearningRate | None = None
    patience: Patience | None = None
    stopped: str = ""  # "max_iter", "converged", "callback", "interrupted" or "diverged"
    message: str = ""  # what a user should know of it

    @classmethod
    def create(cls, network: Network, seed: int, dtype) -> State:
        """Fresh weights from `seed`; those drawn last are kept, as many small networks may begin with the same."""
        key, known = (seed, np.dtype(dtype)), network.drawn
        if known is not None and known[0] == key:
            return cls(known[1].copy())
        theta = network.init(np.random.default_rng([seed, INITIAL_WEIGHTS]), dtype)
        if theta.nbytes <= KEPT_BYTES:
            network.drawn = key, theta.copy()  # at once, as other threads read it
        return cls(theta)

    def copy(self) -> State:
        return copy.deepcopy(self)

    def with_theta(self, theta: np.ndarray) -> State:
        """The same with other weights, and an optimizer that has forgotten the old ones."""
        state = self.copy()
        state.theta, state.best_theta, state.moments, state.n_steps = theta.copy(), None, None, 0
        state.patience = None
        return state


@dataclass
class Patience:
    """Counts epochs without improvement as scikit-learn's MLP does, and keeps the best weights where there is a score.

    Part of the state: a resumed fit is measured against what it has already reached.
    """

    count: int = 0
    best_score: float = -math.inf
    best_loss: float = math.inf

    def observe(self, state: State, settings: Settings, has_score: bool) -> None:
        """Hear of the epoch that has just ended; `has_score`: it was validated."""
        loss, watch_score = state.history["loss"][-1], settings.early_stopping and has_score
        if has_score:
            score = state.validation_scores[-1]
            if watch_score:
                self.count = self.count + 1 if score < self.best_score + settings.tol else 0
            if score > self.best_score:
                self.best_score, state.best_epoch = score, state.n_epochs
                if settings.restore_best:
                    state.best_theta = state.theta.copy()
        if not watch_score:
            self.count = self.count + 1 if loss > self.best_loss - settings.tol else 0
        if loss < self.best_loss:
            self.best_loss = loss
            if not has_score:
                state.best_epoch = state.n_epochs
