"""Runs a network's plans over batches: owns the buffers, cuts chunks, hands them to the threads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.network import Lowered, Network
from tsrnn.parallel import Team, effective_n_jobs

# Below this many multiply-adds a thread's start costs more than it saves (about 0.1 ms of work).
PARALLEL_WORK = 3_000_000
# Rows of a chunk, and of a call, where nothing is learnt: neither changes a row's result.
PREDICT_ROWS, PREDICT_CALL = 16, 2048
STREAM_ROWS = 16 * PREDICT_ROWS  # parts of a stream are a multiple of this then: whole chunks, and enough for 16 threads
ALIGNMENT = 64  # bytes: a cache line, and the widest vector; loads across lines cost the products 5-30 %


def aligned_zeros(shape: int | tuple[int, ...], dtype) -> np.ndarray:
    """`np.zeros` that begins at a multiple of `ALIGNMENT` bytes."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -raw.__array_interface__["data"][0] % ALIGNMENT
    return raw[start:start + size].view(dtype).reshape(shape)


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
    return effective_n_jobs(n_jobs) if work > PARALLEL_WORK else 1


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
        self._scratch: list[c.Scratch] = []
        self._jobs: dict[tuple, tuple[int, int]] = {}
        self._lengths: np.ndarray | None = None  # of the data last seen, and their steps where all are equal
        self._longest = 0
        self._steps: int | None = None
        self._real: np.ndarray | None = None  # of its token ids, those that are no padding, a sample
        self._params = c.Params(theta, np.zeros(1, self.dtype), np.zeros((0, 0), self.dtype))
        self._sums = c.Sums(np.zeros((1, 2)), np.zeros(1, self.dtype), np.zeros(1, np.int32))
        self._no_out = np.zeros((0, 0), self.dtype)
        self._no_key = np.zeros(2, np.uint32)
        self._stale = True
        self.nbytes = 0  # of all memory but theta

    def refresh(self) -> None:
        """Theta has changed."""
        self._stale = True

    def gradient(self, data: c.Data, order: np.ndarray, key: np.ndarray, gradient: np.ndarray) -> tuple[float, float]:
        """Writes the gradient (n_trained,) of one batch's mean loss; returns sum of w l, and of w for right answers."""
        lowered = self._lower(data, order, train=True)
        if self._real is not None:  # the order within a batch means nothing
            order = order[np.argsort(-self._real[order], kind="stable")]
        batch = c.Batch(order, c.chunk_rows(len(order)), key)
        n_chunks = self._run(c.TRAIN, lowered, data, batch, self._no_out)
        params, sums = self._params, self._sums
        self.backend.reduce_gradients(c.Params(self.theta, params.packed, params.grads[:n_chunks]), gradient)
        if lowered.tokens:
            table: Any = self.network.embedding
            self.backend.embedding_gradients(gradient, self.network.n_dense, table.vocabulary_size, table.embedding_dim,
                                             sums.tokens, sums.token_ids[:len(order) * lowered.steps])
        for span in self.network.frozen:
            gradient[span] = 0
        losses = sums.loss[:n_chunks].tolist()  # few and small: quicker than NumPy's sum
        return sum(loss for loss, _ in losses), sum(right for _, right in losses)

    def input_gradient(self, data: c.Data, order: np.ndarray) -> np.ndarray:
        """Gradient (n, T, E) of each sample's loss, times its weight, with respect to the embedding's output.

        Dropout is as in training, so leave it out of the network; so is a layer that reads tokens behind the embedding: an
        `Activation("linear")` between them gives each position a vector of its own.
        """
        lowered = self._lower(data, order, train=True)
        if self.network.layers[1].reads_tokens(True) or not lowered.tokens:
            raise ValueError(f"{self.network.layers[:2]} gives no gradient of each position; put a trainable Embedding first, "
                             'and an Activation("linear") behind it.')
        self._run(c.TRAIN, lowered, data, c.Batch(order, c.chunk_rows(len(order)), self._no_key), self._no_out)
        tokens = self._sums.tokens[:len(order) * lowered.tokens].reshape(len(order), lowered.steps, -1)
        return tokens * self.dtype.type(data.totals[order].sum())  # of the mean loss → of each loss

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
            lowered = self._lower(data, part, train=False)
            batch = c.Batch(part, PREDICT_ROWS, self._no_key)
            rows = np.zeros((len(part), lowered.out_steps * lowered.out_features), self.dtype) if moved \
                else out[first:first + PREDICT_CALL]
            n_chunks = self._run(mode, lowered, data, batch, rows)
            if moved:
                out[part, :rows.shape[1]] = rows
            if mode == c.EVALUATE:
                for chunk in self._sums.loss[:n_chunks]:
                    sums += chunk
        return out

    def _lower(self, data: c.Data, order: np.ndarray, train: bool) -> Lowered:
        self._look_at(data)
        steps, masked = self._steps, self.network.mask_zero
        if steps is None:
            lengths = data.lengths[order]
            steps = int(lengths.max())
            masked = masked or int(lengths.min()) < steps
        return self.network.lower(steps, self.dtype, train=train, masked=masked)

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
        if self._lengths is not None and (self._real is not None or len(self._lengths) > PREDICT_CALL):
            self._lengths = self._real = None

    def _run(self, mode: int, lowered: Lowered, data: c.Data, batch: c.Batch, out: np.ndarray) -> int:
        train = mode == c.TRAIN
        key = (lowered.steps, lowered.masked, train, len(batch.order), self.team.n_threads)
        job = self._jobs.get(key)
        if job is None:  # memory only grows, so what has been reserved for once stays enough
            if len(self._jobs) > 256:  # of an engine that is kept and sees another number of samples each time
                self._jobs.clear()
            self._jobs[key] = job = self._reserve(lowered, batch, train)
        n_chunks, n_threads = job
        if self._stale:
            self.backend.pack(lowered.plan, self.theta, self._params.packed)
            self._stale = False
        args = (mode, lowered.plan, data, batch, self._params)
        if n_threads == 1:
            self.backend.run(*args, self._scratch[0], self._sums, out, 0, n_chunks, 1)
        else:
            self.team.run(self.backend.run, [(*args, self._scratch[i], self._sums, out, i, n_chunks, n_threads)
                                             for i in range(n_threads)])
        return n_chunks

    def _reserve(self, lowered: Lowered, batch: c.Batch, train: bool) -> tuple[int, int]:
        """Makes room for a batch of this size; returns its number of chunks, and of threads."""
        n_chunks = -(-len(batch.order) // batch.rows)
        work = lowered.work * len(batch.order) * (3 if train else 1)
        n_threads = min(self.team.n_threads, n_chunks) if work > PARALLEL_WORK else 1
        rows = min(batch.rows, len(batch.order))
        sizes = (lowered.mem * rows, lowered.indices * rows + lowered.numbering, lowered.mask * rows)
        for i in range(n_threads):
            if i == len(self._scratch):
                self._scratch.append(c.Scratch(np.zeros(1, self.dtype), np.zeros(1, np.int32), np.zeros(1, np.uint8)))
            if any(array.size < size for array, size in zip(self._scratch[i], sizes)):
                self._scratch[i] = c.Scratch(*(aligned_zeros(max(a.size, size), a.dtype)
                                               for a, size in zip(self._scratch[i], sizes)))
        params, sums = self._params, self._sums
        if params.packed.size < lowered.pack:
            self._params = params = params._replace(packed=aligned_zeros(lowered.pack, self.dtype))
            self._stale = True
        if train and len(params.grads) < n_chunks:
            self._params = params._replace(grads=aligned_zeros((n_chunks, self.network.n_dense), self.dtype))
        if len(sums.loss) < n_chunks or sums.tokens.size < lowered.tokens * len(batch.order):
            self._sums = c.Sums(np.zeros((max(n_chunks, len(sums.loss)), 2)),
                                np.empty(max(lowered.tokens * len(batch.order), sums.tokens.size), self.dtype),
                                np.empty(max(lowered.steps * len(batch.order), sums.token_ids.size), np.int32))
        kept = (*itertools.chain(*self._scratch), self._params.packed, self._params.grads, *self._sums)
        self.nbytes = sum(array.nbytes for array in kept)
        return n_chunks, n_threads
