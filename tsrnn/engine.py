"""Runs a network's plans over batches: owns the buffers, cuts chunks, hands them to the threads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.place import HOST, Counterparts
from tsrnn.backends.solvers import N_HYPER, NO_SOLVER
from tsrnn.network import Lowered, Network
from tsrnn.parallel import Team, effective_n_jobs, gpu_turn

# Below this many multiply-adds, of a training step or of a prediction, threads cost more than they save (0.1 ms of work).
PARALLEL_WORK = 3_000_000
# Rows of a chunk, and of a call, where nothing is learnt: neither changes a row's result.
PREDICT_CALL = 2048
STREAM_ROWS = 256  # parts of a stream are a multiple of this then: whole chunks, and enough for 16 threads
NO_KEY = np.zeros(2, np.uint32)  # where no masks are drawn


class Stream(Protocol):
    """Samples that are never all in memory; see `tsrnn.data.batches.Stream`."""

    @property
    def steps(self) -> int:
        """T, steps of each sample."""

    def __len__(self) -> int:
        """Number of samples."""

    def part_rows(self, multiple: int) -> int:
        """Samples of a part: a multiple of `multiple`."""

    def parts(self, order: np.ndarray, multiple: int) -> Iterator[c.Data]:
        """The samples `order` part by part, all of the same length and of weight 1."""


Samples = c.Data | Stream


def n_samples(samples: Samples) -> int:
    """How many there are."""
    return len(samples.starts) if isinstance(samples, c.Data) else len(samples)


def n_steps(samples: Samples) -> int:
    """Steps of the longest."""
    return int(samples.lengths.max()) if isinstance(samples, c.Data) else samples.steps


def parts(samples: Samples, order: np.ndarray, multiple: int) -> Iterator[tuple[c.Data, np.ndarray]]:
    """The samples `order` as `Data`, each with the numbers that they have in it; what is in memory is one part."""
    if isinstance(samples, c.Data):
        yield samples, order
        return
    for part in samples.parts(order, multiple):
        yield part, np.arange(len(part.starts))


def threads_for(network: Network, samples: Samples, dtype, n_jobs: int | None) -> int:
    """Threads for work without learning: one where it is small."""
    work = network.lower(n_steps(samples), dtype, train=False, masked=False).work * n_samples(samples)
    return network.backend.place.threads(effective_n_jobs(n_jobs)) if work > PARALLEL_WORK else 1


def _cut(n: int, batch_size: int, n_epochs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bounds, epochs and numbers (`Batches`) of the batches of `n_epochs` epochs of `n` samples."""
    firsts, epochs = np.arange(0, n, batch_size), np.arange(n_epochs)
    bounds = np.stack([firsts, np.minimum(firsts + batch_size, n)], axis=1)
    return ((n * epochs[:, None, None] + bounds).reshape(-1, 2), epochs.repeat(len(firsts)),
            np.tile(np.arange(1, len(firsts) + 1), n_epochs))


class Batches(NamedTuple):
    """The batches that samples are trained in, in one epoch or several; see `Engine.batches`."""

    order: np.ndarray    # (n,) int64: samples of all batches
    bounds: np.ndarray   # (n_batches, 2) int64: where each batch begins and ends in `order`
    epochs: np.ndarray   # (n_batches,) the epoch that it belongs to, from 0
    numbers: np.ndarray  # (n_batches,) which batch of the epoch it is, from 1: those where nobody counts are left out
    weights: np.ndarray  # (n_batches,) sum of its weights
    steps: np.ndarray    # (n_batches,) steps of its longest sample
    masked: np.ndarray   # (n_batches,) whether its samples differ in length
    alike: bool          # whether all have one plan

    def same_plan(self, first: int) -> int:
        """The first batch behind `first` that has another plan, or the number of batches."""
        if self.alike:
            return len(self.steps)
        other = (self.steps[first:] != self.steps[first]) | (self.masked[first:] != self.masked[first])
        return first + int(other.argmax()) if other.any() else len(self.steps)


class _Meeting:
    """The words through which the threads of a call of `train` find each other, see the contract."""

    def __init__(self) -> None:
        self.words = HOST.zeros(c.MEETING_WORDS, np.int64)

    def begin(self, n_threads: int) -> None:
        self.words[:] = 0
        self.words[c.N_THREADS] = n_threads

    def abort(self) -> None:
        self.words[c.ABORTED] = 1

    def take_done(self) -> int:
        """Number of steps made since the last question."""
        done, self.words[c.DONE] = int(self.words[c.DONE]), 0
        return done


class Engine:
    """A network, its parameters and the memory to run it, for one dtype.

    Parameters
    ----------
    network : Network
    theta : array of shape (n_params,)
        Used in place: what the optimizer does to it is seen here after `refresh`.
    team : Team
        The threads.  Results do not depend on their number.
    """

    def __init__(self, network: Network, theta: np.ndarray, team: Team):
        self.network, self.theta, self.team = network, theta, team
        self.backend, self.dtype = network.backend, theta.dtype
        self.place = self.backend.place
        self._turn: AbstractContextManager = nullcontext() if self.place is HOST else gpu_turn
        self._samples = Counterparts(self.place) if self.place.keeps_samples else None
        self._scratch: list[c.Scratch] = []
        self._jobs: dict[tuple, tuple[int, int]] = {}
        self._lengths: np.ndarray | None = None  # of the data last seen, and their steps where all are equal
        self._longest = 0
        self._steps: int | None = None
        self._cut: tuple | None = None  # what was cut into batches last, and where; see `_cut`
        self._real: np.ndarray | None = None  # of its token ids, those that are no padding, a sample
        with self._turn:
            there = self.place.put(theta)
            self._params = c.Params(there, self.place.zeros(1, self.dtype), self.place.zeros((0, 0), self.dtype))
            self._sums = c.Sums(np.zeros((1, 2)), self.place.zeros(1, self.dtype), self.place.zeros(1, np.int32))
        self._mirrors = [(theta, there)]  # arrays of the host that training changes, and where it does
        self._no_out = np.zeros((0, 0), self.dtype)
        self._meeting = _Meeting()
        self._stale = True
        self.nbytes = self._reserved = 0  # of all memory but theta; of that which the engine has reserved itself

    def refresh(self) -> None:
        """Theta has changed, or the moments that `update` was given."""
        with self._turn:
            for array, there in self._mirrors:
                self.place.put(array, there)
        self._stale = True

    def collect(self) -> None:
        """Brings theta and the moments back to where the caller has them."""
        with self._turn:
            for array, there in self._mirrors:
                self.place.get(there, array)

    def batches(self, data: c.Data, order: np.ndarray, batch_size: int, n_epochs: int = 1) -> Batches:
        """The samples `order`, those of `n_epochs` epochs one behind the other, cut into batches; within a batch of token ids
        the longest come first: its order means nothing."""
        self._look_at(data)
        if self._cut is None or self._cut[0] != (len(order), batch_size, n_epochs):
            self._cut = ((len(order), batch_size, n_epochs), *_cut(len(order) // n_epochs, batch_size, n_epochs))
        bounds, epochs, numbers = self._cut[1:]
        firsts = bounds[:, 0]
        weights = np.add.reduceat(data.totals[order], firsts)
        if self._real is not None:
            order = order[np.lexsort((-self._real[order], np.repeat(np.arange(len(bounds)), bounds[:, 1] - firsts)))]
        if self._steps is None:
            lengths = data.lengths[order]
            steps = np.maximum.reduceat(lengths, firsts)
            masked = np.minimum.reduceat(lengths, firsts) < steps
        else:
            steps, masked = np.full(len(firsts), self._steps), np.zeros(len(firsts), bool)
        if weights.min() <= 0:
            counts = weights > 0
            bounds, epochs, numbers, weights, steps, masked = (
                a[counts] for a in (bounds, epochs, numbers, weights, steps, masked))
        return Batches(order, bounds, epochs, numbers, weights, steps, masked, self._steps is not None)

    def update(self, solver: int, moments: np.ndarray) -> c.Update:
        """What a step's end works on, with room for the gradient; `collect` brings `moments (n_moments, n_trained)` back."""
        network = self.network
        table: Any = network.embedding if network.n_trained > network.n_dense else None
        place = (network.n_dense, table.vocabulary_size, table.embedding_dim) if table else (0, 0, 0)
        frozen = np.array([[span.start, span.stop] for span in network.frozen], np.int64).reshape(-1, 2)
        squares = np.zeros((c.n_blocks(network.n_dense, *place[1:]), 2))
        with self._turn:
            there, gradient = self.place.put(moments), self.place.zeros(network.n_trained, self.dtype)
        self._mirrors = [self._mirrors[0], (moments, there)]
        return c.Update(solver, gradient, there, network.penalised, frozen, np.array(place, np.int64), squares)

    def train(self, data: c.Data, batches: Batches, keys: np.ndarray, first: int, hyper: np.ndarray,
              update: c.Update) -> np.ndarray:
        """Training steps with the batches from `first` on, which share a plan: as many as `keys (n_steps, 2)` and
        `hyper (n_steps, N_HYPER)` have rows.

        Returns each batch's sums of w l and of w [right], and its L2 penalty, (n_steps, 3); those behind the first step whose
        loss or gradient is not finite, which changed nothing, mean nothing.  `take_done` says how many were made, even where an
        interruption has ended them.
        """
        stop = first + len(hyper)
        start, end = batches.bounds[first, 0], batches.bounds[stop - 1, 1]
        bounds = batches.bounds[first:stop] - start
        sizes = bounds[:, 1] - bounds[:, 0]
        lowered = self.network.lower(int(batches.steps[first]), self.dtype, train=True,
                                     masked=bool(batches.masked[first]) or self.network.mask_zero)
        n_threads, rows = 1, np.empty(len(sizes), np.int64)
        with self._turn:
            for size in set(sizes.tolist()):
                rows[sizes == size] = self.place.chunk_rows(size)
                n_threads = max(n_threads, self._room(lowered, size, self.place.chunk_rows(size), train=True)[1])
            steps = c.Steps(batches.order[start:end], bounds, rows, keys, hyper, np.zeros((len(hyper), 3)))
            self._stale = True  # each step packs its own
            words = self._meeting.words
            there = data if self._samples is None else self._samples.of(data, self._scratch)
            self.team.run(self.backend.train, [(lowered.plan, there, steps, self._params, self._scratch[i], self._sums, update,
                                                words, i) for i in range(n_threads)], self._meeting)
        return steps.losses

    def take_done(self) -> int:
        """Number of steps that `train` has made since the last question."""
        return self._meeting.take_done()

    def gradient(self, data: c.Data, order: np.ndarray, key: np.ndarray, gradient: np.ndarray) -> tuple[float, float]:
        """Writes the gradient (n_trained,) of one batch's mean loss; returns sum of w l, and of w for right answers."""
        batches = self.batches(data, order, len(order))
        if not len(batches.bounds):  # nobody counts
            gradient[:self.network.n_trained] = 0
            return 0.0, 0.0
        update = self.update(NO_SOLVER, np.zeros((1, 0), self.dtype))
        (loss, right, _), = self.train(data, batches, key[None], 0, np.zeros((1, N_HYPER)), update).tolist()
        with self._turn:
            self.place.get(update.gradient, gradient[:self.network.n_trained])
        return loss, right

    def input_gradient(self, data: c.Data, order: np.ndarray) -> np.ndarray:
        """Gradient (n, T, E) of each sample's loss, times its weight, with respect to the embedding's output.

        Dropout is as in training, so leave it out of the network; so is a layer that reads tokens behind the embedding: an
        `Activation("linear")` between them gives each position a vector of its own.  Not for a network on a GPU.
        """
        network = self.network
        if network.embedding is None or not network.embedding.trainable or network.layers[1].reads_tokens(True):
            raise ValueError(f"{network.layers[:2]} gives no gradient of each position; put a trainable Embedding first, "
                             'and an Activation("linear") behind it.')
        self.gradient(data, order, NO_KEY, np.zeros(network.n_trained, self.dtype))
        total, shape = data.totals[order].sum(), (len(order), int(data.lengths[order].max()), network.embedding.embedding_dim)
        gradient = np.zeros(shape, self.dtype)
        if total > 0:  # of the mean loss → of each loss; the batch had an order of its own
            place = np.argsort(self.batches(data, order, len(order)).order, kind="stable")
            gradient[np.argsort(order, kind="stable")] = self._sums.tokens[:gradient.size].reshape(shape)[place]
        return gradient * self.dtype.type(total)

    def evaluate(self, samples: Samples) -> tuple[float, float, np.ndarray | None]:
        """Mean loss, share of right answers, and logits (n, T_out * K) of all samples; a stream's logits are not kept."""
        sums = np.zeros(2)
        if isinstance(samples, c.Data):
            out, weight = self._forward(c.EVALUATE, samples, sums), samples.totals.sum()
        else:
            out, weight = None, len(samples)
            for part in samples.parts(np.arange(weight), STREAM_ROWS):
                self._forward(c.EVALUATE, part, sums)
        loss, right = sums / weight if weight > 0 else sums
        return loss, right, out

    def predict(self, samples: Samples) -> np.ndarray:
        """Logits (n, T_out * K) of all samples."""
        sums = np.zeros(2)
        if isinstance(samples, c.Data):
            return self._forward(c.PREDICT, samples, sums)
        order = np.arange(len(samples))
        return np.concatenate([self._forward(c.PREDICT, part, sums) for part in samples.parts(order, STREAM_ROWS)])

    def _forward(self, mode: int, data: c.Data, sums: np.ndarray) -> np.ndarray:
        """Logits of all samples; adds each chunk's sums to `sums`, one by one, so that it does not matter in which parts of
        whole chunks samples come."""
        n = len(data.starts)
        order = np.arange(n)
        self._look_at(data)
        moved = self._steps is None or self._real is not None
        if moved:  # samples of like length together, the longest of a chunk first: less padding
            order = np.argsort(-(data.lengths if self._real is None else self._real), kind="stable")
        out = np.zeros((n, math.prod(self.network.output_shape(self._longest))), self.dtype)
        for first in range(0, n, PREDICT_CALL):
            part = order[first:first + PREDICT_CALL]
            lowered = self._lower(data, part)
            batch = c.Batch(part, self.place.predict_rows, NO_KEY)
            rows = np.zeros((len(part), lowered.out_steps * lowered.out_features), self.dtype) if moved \
                else out[first:first + PREDICT_CALL]
            n_chunks = self._run(mode, lowered, data, batch, rows)
            if moved:
                out[part, :rows.shape[1]] = rows
            if mode == c.EVALUATE:
                for chunk in self._sums.loss[:n_chunks]:
                    sums += chunk
        return out

    def _lower(self, data: c.Data, order: np.ndarray) -> Lowered:
        """The plan to predict these samples with."""
        self._look_at(data)
        steps, masked = self._steps, self.network.mask_zero
        if steps is None:
            lengths = data.lengths[order]
            steps = int(lengths.max())
            masked = masked or int(lengths.min()) < steps
        return self.network.lower(steps, self.dtype, train=False, masked=masked)

    def _look_at(self, data: c.Data) -> None:
        """What all batches of these samples need to know of them."""
        if data.lengths is self._lengths:
            return
        self._lengths, self._longest = data.lengths, int(data.lengths.max())
        self._steps = self._longest if int(data.lengths.min()) == self._longest else None
        self._real = None
        if self.network.is_ids and len(data.starts) > 1:
            before = np.zeros(data.ids.size + 1, np.int64)
            np.cumsum(data.ids != 0, out=before[1:])
            self._real = before[data.starts + data.lengths] - before[data.starts]

    def forget(self) -> None:
        """Lets go of the samples seen last, for an engine that is kept; a few lengths may stay, what depends on ids may not."""
        if self._samples is not None:
            self.nbytes = self._reserved + self.place.beside(self._scratch, self._samples.forget())
        if self._lengths is not None and (self._real is not None or len(self._lengths) > PREDICT_CALL):
            self._lengths = self._real = None

    def _run(self, mode: int, lowered: Lowered, data: c.Data, batch: c.Batch, out: np.ndarray) -> int:
        with self._turn:
            n_chunks, n_threads = self._room(lowered, len(batch.order), batch.rows, train=False)
            if self._stale:
                self.backend.pack(lowered.plan, self._params.theta, self._params.packed)
                self._stale = False
            there = data if self._samples is None else self._samples.of(data, self._scratch)
            args = (mode, lowered.plan, there, batch, self._params)
            if n_threads == 1:
                self.backend.run(*args, self._scratch[0], self._sums, out, 0, n_chunks, 1)
            else:
                self.team.run(self.backend.run, [(*args, self._scratch[i], self._sums, out, i, n_chunks, n_threads)
                                                 for i in range(n_threads)])
        return n_chunks

    def _room(self, lowered: Lowered, n: int, rows: int, train: bool) -> tuple[int, int]:
        """Makes room for a batch of n samples in chunks of `rows`; returns its number of chunks, and of threads."""
        key = (lowered.steps, lowered.masked, train, n, self.team.n_threads)
        job = self._jobs.get(key)
        if job is None:  # memory only grows, so what has been reserved for once stays enough
            if len(self._jobs) > 256:  # of an engine that is kept and sees another number of samples each time
                self._jobs.clear()
            self._jobs[key] = job = self._reserve(lowered, n, rows, train)
        return job

    def _reserve(self, lowered: Lowered, n: int, rows: int, train: bool) -> tuple[int, int]:
        n_chunks = -(-n // rows)
        work = lowered.work * n * (3 if train else 1)
        n_threads = self.place.threads(min(self.team.n_threads, n_chunks)) if work > PARALLEL_WORK else 1
        self._reserve_scratch(lowered, min(rows, n), n_threads)
        params, sums = self._params, self._sums
        if params.packed.size < lowered.pack:
            self._params = params = params._replace(packed=self.place.zeros(lowered.pack, self.dtype))
            self._stale = True
        if train and params.grads.size < n_chunks * self.network.n_dense:
            self._params = params._replace(grads=self.place.zeros((n_chunks, self.network.n_dense), self.dtype))
        if len(sums.loss) < n_chunks or sums.tokens.size < lowered.tokens * n:
            self._sums = c.Sums(np.zeros((max(n_chunks, len(sums.loss)), 2)),
                                self.place.zeros(max(lowered.tokens * n, sums.tokens.size), self.dtype),
                                self.place.zeros(max(lowered.steps * n, sums.token_ids.size), np.int32))
        kept = (*itertools.chain(*self._scratch), self._params.packed, self._params.grads, *self._sums)
        self.nbytes = self._reserved = sum(array.nbytes for array in kept)
        return n_chunks, n_threads

    def _reserve_scratch(self, lowered: Lowered, rows: int, n_threads: int) -> None:
        """All threads get as much as the largest chunk takes: batches of several sizes may share a call."""
        scratch = self._scratch
        n_threads = max(n_threads, len(scratch))
        sizes = [lowered.mem * rows, lowered.indices * rows + lowered.numbering, lowered.mask * rows]
        if scratch:
            sizes = [max(array.size, size) for array, size in zip(scratch[0], sizes)]
            if [array.size for array in scratch[0]] != sizes:
                scratch.clear()
        scratch += [self.place.scratch(*sizes, self.dtype) for _ in range(len(scratch), n_threads)]
