"""Training: `fit_network` → `run_epoch` → `train_steps`; prediction and evaluation of fitted networks."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tsrnn import optimizers
from tsrnn.backends import contract as c
from tsrnn.backends.numpy.losses import POINTWISE
from tsrnn.engine import NO_KEY, Batches, Engine, Samples, n_samples, n_steps, parts, threads_for
from tsrnn.network import Network
from tsrnn.optimizers import Constant as LearningRate
from tsrnn.parallel import Team, effective_n_jobs
from tsrnn.predictor import Predictor
from tsrnn.progress import Progress

INITIAL_WEIGHTS, SHUFFLE = 0, 1  # what a seed's random streams are for; dropout's is `contract.random_key`
SLICE_SECONDS = 0.05  # of training in one call: Ctrl-C and the progress bar wait that long
EXPLODED = 1000.0  # times what no network need exceed, see `Guard`: no accident any more


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
        """Fresh weights from `seed`."""
        return cls(network.init(np.random.default_rng([seed, INITIAL_WEIGHTS]), dtype))

    def copy(self) -> State:
        return copy.deepcopy(self)

    def with_theta(self, theta: np.ndarray) -> State:
        """The same with other weights, and an optimizer that has forgotten the old ones."""
        state = self.copy()
        state.theta, state.best_theta, state.moments, state.n_steps = theta.copy(), None, None, 0
        state.patience = None
        return state


class NonFiniteLossError(FloatingPointError):
    """A loss or gradient is NaN, infinite or astronomic."""


def fit_network(network: Network, state: State, train: Samples, val: Samples | None, settings: Settings, n_epochs: int,
                on_epoch_end: Callable[[int, dict[str, float]], object] | None = None, stop_early: bool = True,
                val_score: Callable[[np.ndarray], float] | None = None, resume_patience: bool = True) -> State:
    """Trains `state` in place for at most `n_epochs` epochs and returns it.

    Parameters
    ----------
    network : Network
    state : State
    train, val : Data or Stream
        `val` (optional) is evaluated after each epoch.  A stream gives the bits that the same samples in memory give, but for
        the masks of dropout: these depend on a sample's number, and a part has numbers of its own.
    settings : Settings
    n_epochs : int
    on_epoch_end : callable, optional
        Gets the epoch's number, from 0, and its entry of the history; a true answer ends the fit.
    stop_early : bool
        Whether the fit may end before `n_epochs` where it stands still.
    val_score : callable, optional
        Score of the logits (n, T_out * K) of `val`, higher is better; default accuracy, or the negative loss.  Not for a
        stream, whose logits are not kept.
    resume_patience : bool
        Whether a resumed fit is measured against what it has reached before: not where its aim or its data are others.

    Notes
    -----
    Ctrl-C ends the fit within a tenth of a second, or after the step under way where that takes longer.  Where a loss or
    gradient becomes NaN, infinite or astronomic (see `Guard`), the fit stops, goes back to weights that were sound, and
    ``state.stopped`` is "diverged".
    """
    solver = optimizers.get_solver(settings.solver)
    if state.schedule is None:
        state.schedule = optimizers.schedule(settings.learning_rate, settings.learning_rate_init, settings.max_iter,
                                             settings.tol)
    if state.patience is None or not resume_patience:
        state.patience, state.best_theta = Patience(), None
    state.stopped = state.message = ""
    n_threads = network.backend.place.threads(effective_n_jobs(settings.n_jobs))
    with Team(n_threads) as team, Progress(settings.verbose, n_epochs, n_samples(train)) as progress:
        trainer = Trainer(Engine(network, state.theta, team), state, train, settings, solver, progress)
        guard = Guard(trainer)
        try:
            for _ in range(n_epochs):
                guard.epoch_begins()
                try:
                    logs = run_epoch(trainer, val, val_score)
                    guard.check(logs["loss"])
                except NonFiniteLossError as error:
                    state.stopped, state.message = "diverged", f"{error}; {guard.go_back()}"
                    break
                state.patience.observe(state, settings, has_score=val is not None)
                if on_epoch_end is not None and on_epoch_end(state.n_epochs - 1, logs):
                    state.stopped = "callback"
                elif stop_early and state.patience.count > settings.n_iter_no_change:
                    state.stopped = "converged"
                if state.stopped:
                    break
            else:
                state.stopped = "max_iter"
        except KeyboardInterrupt:
            trainer.engine.collect()
            state.stopped = "interrupted"
            state.message = f"interrupted after {state.n_epochs} epochs and part of the next one"
    if val is not None and settings.restore_best and state.best_theta is not None:
        state.theta[:] = state.best_theta
        if state.stopped == "diverged":
            state.message += f" The weights are now those of epoch {state.best_epoch}, the best on the validation set."
    return state


class Trainer:
    """What a training step needs."""

    def __init__(self, engine: Engine, state: State, data: Samples, settings: Settings, solver: optimizers.Solver,
                 progress: Progress):
        self.engine, self.state, self.data, self.settings = engine, state, data, settings
        self.progress = progress
        n_trained, dtype = engine.network.n_trained, state.theta.dtype
        if state.moments is None:
            state.moments, state.n_steps = np.zeros((solver.n_moments, n_trained), dtype), 0
        self.update = engine.update(solver.code, state.moments)
        # without masks that the batches may do without: those have operations of their own to compile
        plan = engine.network.lower(n_steps(data), dtype, train=True, masked=engine.network.mask_zero).plan
        self.drops = plan.rates.any()
        self.pace = 1  # training steps, times their time steps, that the next call may make
        self.first_loss = 0.0  # of the first batch, before anything was learnt
        self.hyper = optimizers.make_hyper(
            beta_1=settings.beta_1, beta_2=settings.beta_2, epsilon=settings.epsilon, momentum=settings.momentum,
            nesterov=settings.nesterovs_momentum, weight_decay=settings.weight_decay, clip_norm=settings.clip_norm,
            clip_value=settings.clip_value)

    def order(self) -> np.ndarray:
        """This epoch's order of the samples: a function of seed and epoch."""
        n = n_samples(self.data)
        if not self.settings.shuffle:
            return np.arange(n)
        return np.random.default_rng([self.settings.seed, SHUFFLE, self.state.n_epochs]).permutation(n)

    def slice_end(self, batches: Batches, first: int) -> int:
        """Where the slice that begins with batch `first` ends: batches with one plan, which take about `SLICE_SECONDS`."""
        return min(batches.same_plan(first), first + max(1, self.pace // int(batches.steps[first])))

    def observe(self, n_steps: int, seconds: float) -> None:
        """Hear how long a slice took, `n_steps` as `pace` has them: the next one's length follows from it, and no bit does."""
        self.pace = max(1, min(int(SLICE_SECONDS * n_steps / max(seconds, 1e-9)), 8 * max(n_steps, self.pace)))


class Guard:
    """Notices a fit that goes wrong, and keeps weights to go back to.

    A rate much too high need not end in infinity: clipped steps only carry the weights away.  So a loss is astronomic where
    it is `EXPLODED` times both that of the first batch and the worst that the output 0 would have on any target.
    """

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        self.zero_loss = worst_loss_of_zero(trainer.engine.network, _glance(trainer.data))
        self.start = self.sound = (trainer.state.n_epochs, trainer.state.theta.copy())

    @property
    def limit(self) -> float:
        return EXPLODED * max(self.zero_loss, self.trainer.first_loss)

    def epoch_begins(self) -> None:
        """The epoch before was sound, so the weights at its start were."""
        self.sound, self.start = self.start, (self.trainer.state.n_epochs, self.trainer.state.theta.copy())

    def check(self, loss: float) -> None:
        """Raises NonFiniteLossError for an astronomic loss."""
        if loss > self.limit > 0:
            raise NonFiniteLossError(f"The loss became {loss:.3g} in epoch {self.trainer.state.n_epochs}, that of the first "
                                     f"batch was {self.trainer.first_loss:.3g}")

    def go_back(self) -> str:
        """Puts sound weights back, forgets the optimizer's moments, and tells both."""
        state, engine = self.trainer.state, self.trainer.engine
        assert state.moments is not None
        epoch, state.theta[:] = self.start
        engine.refresh()
        loss = engine.evaluate(self.trainer.data)[0]
        if not (math.isfinite(loss) and loss <= self.limit):  # the last step of that epoch did the harm
            epoch, state.theta[:] = self.sound
        state.moments[:], state.n_steps = 0, 0
        kept = f"the weights from the end of epoch {epoch} were restored" if epoch else "the initial weights were restored"
        rate = self.trainer.hyper[optimizers.LR]
        return (f"training stopped and {kept}. Scale the inputs and targets, or lower learning_rate_init (the rate was "
                f"{rate:g}){'' if self.trainer.settings.clip_norm else ', or set clip_norm=1.0'}.")


def _glance(samples: Samples) -> c.Data:
    """All samples that are in memory, or one part of a stream, from all over it: enough to know the targets' scale by."""
    if isinstance(samples, c.Data):
        return samples
    n = len(samples)
    rows = np.linspace(0, n - 1, min(n, samples.part_rows(1))).astype(np.int64)
    return next(samples.parts(rows, 1))


def worst_loss_of_zero(network: Network, data: c.Data) -> float:
    """The largest loss that the output 0 has on a target: the scale of the loss, whatever the network."""
    code, params = network.loss.code, np.array(network.loss_params)
    if code == c.SOFTMAX_CE:
        return math.log(network.output_shape(network.input_shape[0] or int(data.lengths.max()))[-1])
    targets = data.targets[np.isfinite(data.targets)].astype(np.float64)  # masked steps may hold anything
    if code == c.POISSON:  # its loss has no scale of its own
        return 1.0 + float(targets.max(initial=0.0))
    outputs = np.zeros((1, targets.size, len(params) if code == c.QUANTILE else 1))
    with np.errstate(over="ignore"):
        return float(POINTWISE[code](outputs, targets.reshape(1, -1, 1), params)[0].max(initial=0.0))


def train_steps(trainer: Trainer, data: c.Data, batches: Batches, first: int, stop: int, key: np.ndarray,
                rate: float) -> np.ndarray:
    """The steps with the batches ``first:stop``, which share a plan, in one call.

    Returns each batch's sum of w l (with L2), sum of w for right answers, and sum of w, (n_steps, 3).  Where there are fewer
    rows than batches, the next one's loss or gradient is not finite, and has changed nothing.
    """
    engine, state = trainer.engine, trainer.state
    weights = batches.weights[first:stop]
    hyper = np.empty((len(weights), len(trainer.hyper)))
    hyper[:] = trainer.hyper
    if trainer.settings.alpha:
        hyper[:, optimizers.L2] = trainer.settings.alpha / weights
    optimizers.start_steps(hyper, state.n_steps + 1, rate)
    started, done = time.perf_counter(), 0
    try:
        losses = engine.train(data, batches, key, first, hyper, trainer.update)
    finally:
        done = engine.take_done()
        state.n_steps += done
    trainer.observe(len(weights) * int(batches.steps[first]), time.perf_counter() - started)
    losses[:, 0] += losses[:, 2] * weights  # the penalty
    losses[:, 2] = weights
    return losses[:done]


def run_epoch(trainer: Trainer, val: Samples | None, val_score: Callable | None) -> dict[str, float]:
    """One pass over the samples, and one over the validation set; appends to the state's history."""
    state = trainer.state
    assert state.schedule is not None
    started = time.perf_counter()
    loss, right, total = _pass(trainer, state.schedule.rate(state.n_epochs))
    logs = {"loss": loss / total if total else math.nan}
    if trainer.engine.network.loss.is_classification:
        logs["accuracy"] = right / total if total else math.nan
    scores = [] if val is None else [_validate(trainer.engine, val, val_score, logs)]
    logs["seconds"] = time.perf_counter() - started
    unknown = [math.nan] * state.n_epochs  # epochs of a resumed fit that had no validation set, or have none now
    history = {name: [*state.history.get(name, unknown), float(logs.get(name, math.nan))] for name in {**state.history, **logs}}
    if scores or state.validation_scores:
        scores = (state.validation_scores or unknown) + (scores or [math.nan])
    # nothing is called in between: Ctrl-C comes before or after all three
    state.history, state.validation_scores, state.n_epochs = history, scores, state.n_epochs + 1
    state.schedule.observe(logs.get("val_loss", logs["loss"]))
    trainer.progress.epoch(logs)
    return logs


def _pass(trainer: Trainer, rate: float) -> tuple[float, float, float]:
    """A training step a batch; returns sum of w l (with L2), of w for right answers, and of w."""
    state, settings, progress = trainer.state, trainer.settings, trainer.progress
    trainer.hyper[optimizers.LR] = rate
    epoch_key = c.random_key(settings.seed, state.n_epochs) if trainer.drops else NO_KEY
    before, loss, right, total = 0, 0.0, 0.0, 0.0
    for part, (data, order) in enumerate(parts(trainer.data, trainer.order(), settings.batch_size)):
        key = epoch_key
        if part:  # its samples have the numbers of the first part's, and must not have their masks
            key = np.random.SeedSequence(epoch_key.tolist(), spawn_key=(part,)).generate_state(2, np.uint32)
        batches, first, seen = trainer.engine.batches(data, order, settings.batch_size), 0, 0
        while first < len(batches.bounds):
            stop = trainer.slice_end(batches, first)
            steps = train_steps(trainer, data, batches, first, stop, key, rate).tolist()
            for batch_loss, batch_right, weight in steps:
                loss, right, total = loss + batch_loss, right + batch_right, total + weight
                trainer.first_loss = trainer.first_loss or batch_loss / weight
            first += len(steps)
            if first < stop:
                raise NonFiniteLossError(_where(state, before + int(batches.numbers[first])))
            now = int(batches.bounds[stop - 1, 1])
            progress.batch(now - seen, loss / total)
            seen = now
        progress.batch(len(order) - seen, loss / total if total else math.nan)  # batches where nobody counts
        before += -(-len(order) // settings.batch_size)
    trainer.engine.collect()
    if not np.isfinite(state.theta).all():  # the last step's doing, or a finite loss hides it
        raise NonFiniteLossError(_where(state, before))
    return loss, right, total


def _validate(engine: Engine, val: Samples, val_score: Callable[[np.ndarray], float] | None, logs: dict[str, float]) -> float:
    """Adds the validation set's entries to `logs`; returns its score."""
    logs["val_loss"], accuracy, logits = engine.evaluate(val)
    if engine.network.loss.is_classification:
        logs["val_accuracy"] = accuracy
    return float(val_score(logits) if val_score and logits is not None else logs.get("val_accuracy", -logs["val_loss"]))


def _where(state: State, batch: int) -> str:
    return f"The loss or its gradient became NaN or infinite in epoch {state.n_epochs + 1}, batch {batch}"


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


def predict_network(network: Network, theta: np.ndarray, samples: Samples, n_jobs: int | None = None) -> np.ndarray:
    """Logits of all samples, (n, K) or (n, T_out, K); those behind the end of a ragged sample mean nothing."""
    out = Predictor(network, theta)(samples, n_jobs)
    return out.reshape(len(out), *network.output_shape(n_steps(samples)))


def evaluate_network(network: Network, theta: np.ndarray, samples: Samples, n_jobs: int | None = None) -> tuple[float, float]:
    """Mean loss, and share of right answers (classification; else 0)."""
    with Team(threads_for(network, samples, theta.dtype, n_jobs)) as team:
        loss, right, _ = Engine(network, theta, team).evaluate(samples)
    return loss, right
