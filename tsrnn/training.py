"""Training: `fit_network` → `run_epochs` → `train_steps`; prediction and evaluation of fitted networks."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tsrnn import optimizers
from tsrnn.backends import contract as c
from tsrnn.backends.numpy.losses import POINTWISE
from tsrnn.engine import NO_KEY, Batches, Engine, Samples, n_samples, n_steps, parts, threads_for
from tsrnn.network import Network
from tsrnn.parallel import Team, effective_n_jobs
from tsrnn.predictor import Predictor
from tsrnn.progress import Progress
from tsrnn.state import SHUFFLE, Patience, Settings, State

SLICE_SECONDS = 0.05  # of training in one call: Ctrl-C and the progress bar wait that long
EXPLODED = 1000.0  # times what no network need exceed, see `Guard`: no accident any more


class NonFiniteLossError(FloatingPointError):
    """A loss or gradient is NaN, infinite or astronomic."""


def fit_network(network: Network, state: State, train: Samples, val: Samples | None, settings: Settings, n_epochs: int,
                on_epoch_end: Callable[[int, dict[str, float]], object] | None = None, stop_early: bool = True,
                val_score: Callable[[np.ndarray], float] | None = None, resume_patience: bool = True,
                on_pause: Callable[[], object] | None = None) -> State:
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
    on_pause : callable, optional
        Called before each epoch, or each block of short ones, see `Guard`; what it raises ends the fit.

    Notes
    -----
    Ctrl-C ends the fit within a tenth of a second, or after the step under way where that takes longer; a block of short epochs
    that it comes into is undone.  Where a loss or gradient becomes NaN, infinite or astronomic (see `Guard`), the fit stops,
    goes back to weights that were sound, and ``state.stopped`` is "diverged".
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
        guard, last = Guard(trainer), state.n_epochs + n_epochs
        alone = val is None and on_epoch_end is None and not settings.verbose  # nobody looks between epochs
        try:
            while state.n_epochs < last and not state.stopped:
                if on_pause is not None:
                    on_pause()
                patience = settings.n_iter_no_change + 1 - state.patience.count if stop_early else math.inf
                block = trainer.block(min(last - state.n_epochs, patience)) if alone and not guard.one_by_one else 1
                guard.begin(block)
                try:
                    for logs in run_epochs(trainer, block, val, val_score):
                        guard.check(logs["loss"])
                        state.patience.observe(state, settings, has_score=val is not None)
                        if on_epoch_end is not None and on_epoch_end(state.n_epochs - 1, logs):
                            state.stopped = "callback"
                        elif stop_early and state.patience.count > settings.n_iter_no_change:
                            state.stopped = "converged"
                except NonFiniteLossError as error:
                    if not guard.look_closer():
                        state.stopped, state.message = "diverged", f"{error}; {guard.go_back()}"
            state.stopped = state.stopped or "max_iter"
        except KeyboardInterrupt:
            trainer.engine.collect()
            state.stopped, state.message = "interrupted", f"interrupted after {guard.undo()}"
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
        self.work = math.inf  # of an epoch, as `pace` has it, where all its batches have one plan
        if isinstance(data, c.Data) and data.lengths.min() == data.lengths.max():
            self.work = int(data.lengths[0]) * -(-n_samples(data) // settings.batch_size)
        self.paces, self.kind = engine.network.paces, (dtype, settings.batch_size, engine.team.n_threads)
        self.pace = self.paces.get(self.kind, 1)  # training steps, times their time steps, that the next call may make
        self.first_loss = 0.0  # of the first batch, before anything was learnt
        self.hyper = optimizers.make_hyper(
            beta_1=settings.beta_1, beta_2=settings.beta_2, epsilon=settings.epsilon, momentum=settings.momentum,
            nesterov=settings.nesterovs_momentum, weight_decay=settings.weight_decay, clip_norm=settings.clip_norm,
            clip_value=settings.clip_value)

    def order(self, epochs: range) -> np.ndarray:
        """These epochs' orders of the samples, one behind the other: each a function of seed and epoch."""
        n = n_samples(self.data)
        order = np.arange(len(epochs) * n).reshape(-1, n)  # NumPy lets go of the GIL in `arange`: once, not once an epoch
        order -= order[:, :1].copy()
        if self.settings.shuffle:
            for epoch, row in zip(epochs, order):
                np.random.default_rng([self.settings.seed, SHUFFLE, epoch]).shuffle(row)
        return order.reshape(-1)

    def block(self, limit: float) -> int:
        """How many epochs, at most `limit`, take about a slice; their rates must be known."""
        assert self.state.schedule is not None
        return max(1, int(min(limit, self.state.schedule.known(), self.pace // self.work)))

    def slice_end(self, batches: Batches, first: int) -> int:
        """Where the slice that begins with batch `first` ends: batches with one plan, which take about `SLICE_SECONDS`."""
        return min(batches.same_plan(first), first + max(1, self.pace // int(batches.steps[first])))

    def observe(self, n_steps: int, seconds: float) -> None:
        """Hear how long a slice took, `n_steps` as `pace` has them: the next one's length follows from it, and no bit does.

        So does that of the first slice of the next fit of this network.
        """
        self.pace = max(1, min(int(SLICE_SECONDS * n_steps / max(seconds, 1e-9)), 8 * max(n_steps, self.pace)))
        self.paces[self.kind] = self.pace


class Checkpoint(NamedTuple):
    """What a state was before a block of epochs."""

    epochs: int  # of the block
    state: State

    @classmethod
    def of(cls, state: State, epochs: int) -> Checkpoint:
        """All of it where there are several epochs, else the weights."""
        copied = replace(state, theta=state.theta.copy())
        if epochs > 1:
            copied.moments, copied.schedule = copy.copy(state.moments), copy.copy(state.schedule)
            copied.patience = copy.copy(state.patience)
        return cls(epochs, copied)

    def restore(self, state: State) -> None:
        """Undoes the block, one of several epochs."""
        theta, moments = state.theta, state.moments  # which the engine works on
        assert moments is not None
        theta[:], moments[:] = self.state.theta, self.state.moments
        vars(state).update(vars(self.state), theta=theta, moments=moments)


class Guard:
    """Notices a fit that goes wrong, and keeps weights to go back to.

    A rate much too high need not end in infinity: clipped steps only carry the weights away.  So a loss is astronomic where
    it is `EXPLODED` times both that of the first batch and the worst that the output 0 would have on any target.

    Short epochs that nobody looks between are made in blocks, and looked at when all of the block are made.  Where one went
    wrong, or Ctrl-C came, the block is undone: the epochs are then made one by one up to the one that goes wrong.
    """

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        self.zero_loss = worst_loss_of_zero(trainer.engine.network, _glance(trainer.data))
        self.start = self.sound = Checkpoint.of(trainer.state, 1)
        self.one_by_one = False

    @property
    def limit(self) -> float:
        return EXPLODED * max(self.zero_loss, self.trainer.first_loss)

    def begin(self, epochs: int) -> None:
        """The block before was sound, so the weights at its start were."""
        self.sound, self.start = self.start, Checkpoint.of(self.trainer.state, epochs)

    def check(self, loss: float) -> None:
        """Raises NonFiniteLossError for an astronomic loss."""
        if loss > self.limit > 0:
            raise NonFiniteLossError(f"The loss became {loss:.3g} in epoch {self.trainer.state.n_epochs}, that of the first "
                                     f"batch was {self.trainer.first_loss:.3g}")

    def look_closer(self) -> bool:
        """Undoes this block and the one before, as far as they have several epochs: whether there is anything to make again."""
        blocks = [block for block in (self.sound, self.start) if block.epochs > 1]
        if self.one_by_one or not blocks:
            return False
        blocks[0].restore(self.trainer.state)
        self.trainer.engine.refresh()
        self.start, self.one_by_one = self.sound, True
        return True

    def undo(self) -> str:
        """Undoes an interrupted block of several epochs; tells what is left."""
        state, start = self.trainer.state, self.start
        if start.epochs > 1:
            start.restore(state)
        part = state.n_epochs == start.state.n_epochs and state.n_steps > start.state.n_steps
        return f"{state.n_epochs} epochs{' and part of the next one' if part else ''}"

    def go_back(self) -> str:
        """Puts sound weights back, forgets the optimizer's moments, and tells both."""
        state, engine, kept = self.trainer.state, self.trainer.engine, self.start.state
        assert state.moments is not None
        state.theta[:] = kept.theta
        engine.refresh()
        loss = engine.evaluate(self.trainer.data)[0]
        if not (math.isfinite(loss) and loss <= self.limit):  # the last step of the epoch before did the harm
            kept = self.sound.state
            state.theta[:] = kept.theta
        state.moments[:], state.n_steps = 0, 0
        told = f"the weights from the end of epoch {kept.n_epochs}" if kept.n_epochs else "the initial weights"
        rate = self.trainer.hyper[optimizers.LR]
        return (f"training stopped and {told} were restored. Scale the inputs and targets, or lower learning_rate_init (the "
                f"rate was {rate:g}){'' if self.trainer.settings.clip_norm else ', or set clip_norm=1.0'}.")


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


def train_steps(trainer: Trainer, data: c.Data, batches: Batches, first: int, stop: int, keys: np.ndarray,
                rates: np.ndarray) -> np.ndarray:
    """The steps with the batches ``first:stop``, which share a plan, in one call; `keys` and `rates` are the epochs'.

    Returns each batch's sum of w l (with L2), sum of w for right answers, and sum of w, (n_steps, 3).  Where there are fewer
    rows than batches, the next one's loss or gradient is not finite, and has changed nothing.
    """
    engine, state = trainer.engine, trainer.state
    weights, epochs = batches.weights[first:stop], batches.epochs[first:stop]
    hyper = np.empty((len(weights), len(trainer.hyper)))
    hyper[:] = trainer.hyper
    if trainer.settings.alpha:
        hyper[:, optimizers.L2] = trainer.settings.alpha / weights
    optimizers.start_steps(hyper, state.n_steps + 1, rates[epochs])
    started, done = time.perf_counter(), 0
    try:
        losses = engine.train(data, batches, keys[epochs], first, hyper, trainer.update)
    finally:
        done = engine.take_done()
        state.n_steps += done
    trainer.observe(len(weights) * int(batches.steps[first]), time.perf_counter() - started)
    losses[:, 0] += losses[:, 2] * weights  # the penalty
    losses[:, 2] = weights
    return losses[:done]


def run_epochs(trainer: Trainer, n_epochs: int, val: Samples | None, val_score: Callable | None) -> Iterator[dict[str, float]]:
    """`n_epochs` passes over the samples, each followed by one over the validation set; appends to the state's history.

    All passes are made before the first is told, so with a validation set there is to be one.
    """
    state = trainer.state
    assert state.schedule is not None
    started = time.perf_counter()
    sums = _passes(trainer, n_epochs)
    seconds = (time.perf_counter() - started) / n_epochs
    for loss, right, total in sums:
        started = time.perf_counter()
        logs = {"loss": loss / total if total else math.nan}
        if trainer.engine.network.loss.is_classification:
            logs["accuracy"] = right / total if total else math.nan
        scores = [] if val is None else [_validate(trainer.engine, val, val_score, logs)]
        logs["seconds"] = seconds + time.perf_counter() - started
        unknown = [math.nan] * state.n_epochs  # epochs of a resumed fit that had no validation set, or have none now
        history = {name: [*state.history.get(name, unknown), float(logs.get(name, math.nan))]
                   for name in {**state.history, **logs}}
        if scores or state.validation_scores:
            scores = (state.validation_scores or unknown) + (scores or [math.nan])
        # nothing is called in between: Ctrl-C comes before or after all three
        state.history, state.validation_scores, state.n_epochs = history, scores, state.n_epochs + 1
        state.schedule.observe(logs.get("val_loss", logs["loss"]))
        trainer.progress.epoch(logs)
        yield logs


def _passes(trainer: Trainer, n_epochs: int) -> list[list[float]]:
    """A training step a batch; returns each epoch's sum of w l (with L2), of w for right answers, and of w."""
    state, settings, progress = trainer.state, trainer.settings, trainer.progress
    assert state.schedule is not None
    epochs = range(state.n_epochs, state.n_epochs + n_epochs)
    rates = np.array([state.schedule.rate(epoch) for epoch in epochs])
    epoch_keys = np.array([c.random_key(settings.seed, epoch) if trainer.drops else NO_KEY for epoch in epochs])
    sums, before = [[0.0, 0.0, 0.0] for _ in epochs], 0
    now = sums[0]
    trainer.hyper[optimizers.LR] = rates[0]
    for part, (data, order) in enumerate(parts(trainer.data, trainer.order(epochs), settings.batch_size)):
        keys = epoch_keys
        if part:  # its samples have the numbers of the first part's, and must not have their masks
            keys = np.array([np.random.SeedSequence(key.tolist(), spawn_key=(part,)).generate_state(2, np.uint32)
                             for key in epoch_keys])
        batches, first, seen = trainer.engine.batches(data, order, settings.batch_size, n_epochs), 0, 0
        while first < len(batches.bounds):
            stop = trainer.slice_end(batches, first)
            steps = train_steps(trainer, data, batches, first, stop, keys, rates).tolist()
            for (loss, right, weight), epoch in zip(steps, batches.epochs[first:stop].tolist()):
                now = sums[epoch]
                now[0], now[1], now[2] = now[0] + loss, now[1] + right, now[2] + weight
                trainer.first_loss = trainer.first_loss or loss / weight
            first += len(steps)
            if first < stop:
                raise NonFiniteLossError(_where(state, before + int(batches.numbers[first])))
            progress.batch(int(batches.bounds[stop - 1, 1]) - seen, now[0] / now[2])
            seen = int(batches.bounds[stop - 1, 1])
        progress.batch(len(order) - seen, now[0] / now[2] if now[2] else math.nan)  # batches where nobody counts
        before += -(-len(order) // settings.batch_size)
    trainer.engine.collect()
    if not np.isfinite(state.theta).all():  # the last step's doing, or a finite loss hides it
        raise NonFiniteLossError(_where(state, before))
    return sums


def _validate(engine: Engine, val: Samples, val_score: Callable[[np.ndarray], float] | None, logs: dict[str, float]) -> float:
    """Adds the validation set's entries to `logs`; returns its score."""
    logs["val_loss"], accuracy, logits = engine.evaluate(val)
    if engine.network.loss.is_classification:
        logs["val_accuracy"] = accuracy
    return float(val_score(logits) if val_score and logits is not None else logs.get("val_accuracy", -logs["val_loss"]))


def _where(state: State, batch: int) -> str:
    return f"The loss or its gradient became NaN or infinite in epoch {state.n_epochs + 1}, batch {batch}"


def predict_network(network: Network, theta: np.ndarray, samples: Samples, n_jobs: int | None = None) -> np.ndarray:
    """Logits of all samples, (n, K) or (n, T_out, K); those behind the end of a ragged sample mean nothing."""
    out = Predictor(network, theta)(samples, n_jobs)
    return out.reshape(len(out), *network.output_shape(n_steps(samples)))


def evaluate_network(network: Network, theta: np.ndarray, samples: Samples, n_jobs: int | None = None) -> tuple[float, float]:
    """Mean loss, and share of right answers (classification; else 0)."""
    with Team(threads_for(network, samples, theta.dtype, n_jobs)) as team:
        loss, right, _ = Engine(network, theta, team).evaluate(samples)
    return loss, right
