"""What `bench_training.py` measures: the works, and for each contender a class that trains on them in a process of its own.

A contender has `describe`, `build(work, weights)`, `curve(n)` and `epoch()`; only its constructor imports the library, so
that its import can be timed.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Work:
    """A network and its batches: [Embedding] [Conv1D relu] recurrent layers, Dense on the last state."""

    name: str
    steps: int
    features: int          # values a step, or the length of the embedding's vectors
    units: tuple[int, ...]
    batch: int
    cell: str = "lstm"
    bidirectional: bool = False
    filters: int = 0       # of a convolution over 3 steps, "same"
    vocabulary: int = 0
    loss: str = "squared_error"
    outputs: int = 1
    batches: int = 4       # in an epoch

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """X (n, T, F) float32 or ids (n, T) int32, and y (n,) float32; the same in every process."""
        rng = np.random.default_rng(0)
        n = self.batch * self.batches
        y = rng.integers(0, max(2, self.outputs), n).astype(np.float32)
        if not self.vocabulary:
            return rng.normal(size=(n, self.steps, self.features)).astype(np.float32), y
        rank = np.arange(1, self.vocabulary + 1)  # words by Zipf's law, as in texts
        p = 1 / (rank + 2.7)
        return rng.choice(self.vocabulary, (n, self.steps), p=p / p.sum()).astype(np.int32), y


IMDB = {"steps": 200, "features": 128, "units": (64,), "bidirectional": True, "vocabulary": 10_000,
        "loss": "binary_crossentropy"}
WORKS = {work.name: work for work in (
    Work("imdb-bilstm-32", batch=32, **IMDB),
    Work("imdb-bilstm-128", batch=128, **{**IMDB, "batches": 2}),
    Work("imdb-bigru-32", batch=32, cell="gru", **IMDB),
    Work("cnn-lstm-10", 10, 8, (64,), 64, filters=32, batches=64),
    Work("cnn-lstm-30", 30, 5, (50,), 32, filters=32, batches=64),
    Work("lstm-60", 60, 1, (64,), 64, batches=32),
    Work("mnist-rows", 28, 28, (128,), 128, loss="categorical_crossentropy", outputs=10, batches=16),
    Work("2-lstm-128", 60, 8, (128, 128), 64, batches=8),
    Work("lstm-256", 100, 64, (256,), 64),
    Work("tiny", 2, 1, (4,), 4, batches=256),
)}


class Tsrnn:
    """This package."""

    def __init__(self, threads: int):
        import tsrnn
        from tsrnn import layers, network, parallel, training
        from tsrnn.data import batches

        self.version, self.threads = tsrnn.__version__, threads
        self.layers, self.network, self.parallel = layers, network, parallel
        self.training, self.batches = training, batches

    def describe(self) -> dict:
        import numba

        return {"version": f"tsrnn {self.version} (Numba {numba.__version__})", "threads": self.threads}

    def build(self, work: Work, weights: dict | None = None) -> dict:
        """Fresh or given weights; returns them, and the work of a step in GFLOP (backward twice the forward)."""
        net = self.network.Network(self._layers(work), (work.steps,) if work.vocabulary else (work.steps, work.features),
                                   loss=work.loss)
        X, y = work.data()
        sequences = self.batches.from_array(X.reshape(len(X), work.steps, -1))
        self.net, self.state = net, self.training.State.create(net, 0, np.float32)
        self.start = self.state.copy()
        self.all = self.batches.make_data(sequences, np.float32, targets=y[:, None])
        self.first = self.batches.take(self.all, np.arange(work.batch))
        self.settings = self.training.Settings(batch_size=work.batch, shuffle=False, clip_norm=None, n_jobs=self.threads)
        multiply_adds = net.lower(work.steps, np.float32, train=True, masked=False).work * work.batch
        return {"weights": {name: view.copy() for name, view in net.views(self.state.theta).items()},
                "gflop": 6e-9 * multiply_adds}

    def _layers(self, work: Work) -> list:
        L = self.layers
        made = [L.Embedding(work.vocabulary, work.features)] if work.vocabulary else []
        made += [L.Conv1D(work.filters, 3, activation="relu")] if work.filters else []
        for n, units in enumerate(work.units):
            layer = {"lstm": L.LSTM, "gru": L.GRU, "rnn": L.RNN}[work.cell](units, return_sequences=n < len(work.units) - 1)
            made.append(L.Bidirectional(layer) if work.bidirectional else layer)
        return [*made, L.Dense(work.outputs)]

    def _train(self, state, data, epochs: int):
        return self.training.fit_network(self.net, state, data, None, self.settings, epochs, stop_early=False)

    def curve(self, n: int) -> list[float]:
        """Losses of the first `n` steps, all on the first batch."""
        return self._train(self.start.copy(), self.first, n).history["loss"]

    def epoch(self) -> float:
        """Seconds a step, over one pass of all batches; training goes on from call to call."""
        return self._train(self.state, self.all, 1).history["seconds"][-1] / (len(self.all.starts) // self.settings.batch_size)

    def product_peak(self) -> float:
        """GFLOP/s of the matrix product of the kernels, all threads at once, operands in the cache."""
        from tsrnn.backends.cpu import microkernels

        M, K, N, repeats = 256, 128, 512, 20

        def multiply(A, P, C):
            for _ in range(repeats):
                microkernels.matmul(A, 0, K, P, 0, K, N, C, 0, N, M)

        operands = [tuple(np.zeros(size, np.float32) for size in (M * K, K * N, M * N)) for _ in range(self.threads)]
        seconds = []
        with self.parallel.Team(self.threads) as team:
            for _ in range(10):
                started = time.perf_counter()
                team.run(multiply, operands)
                seconds.append(time.perf_counter() - started)
        return 2e-9 * M * K * N * repeats * self.threads / min(seconds)


class Torch:
    """PyTorch, with fused Adam."""

    def __init__(self, threads: int):
        import torch

        torch.set_num_threads(threads)
        # as our kernels do; vanishing gradients become denormal numbers, which cost PyTorch's GRU five times the time
        torch.set_flush_denormal(True)
        self.torch = torch

    def describe(self) -> dict:
        return {"version": f"PyTorch {self.torch.__version__}", "threads": self.torch.get_num_threads()}

    def build(self, work: Work, weights: dict) -> dict:
        torch = self.torch
        self.work, self.weights = work, weights
        X, y = work.data()
        self.X = torch.from_numpy(X.astype(np.int64) if work.vocabulary else X).split(work.batch)
        self.y = torch.from_numpy(y.astype(np.int64) if work.loss == "categorical_crossentropy" else y).split(work.batch)
        functional = torch.nn.functional
        self.loss = {"squared_error": functional.mse_loss, "binary_crossentropy": functional.binary_cross_entropy_with_logits,
                     "categorical_crossentropy": functional.cross_entropy}[work.loss]
        self._start()
        return {}

    def _start(self) -> None:
        """A module with the given weights, and its optimizer."""
        torch, nn, work, size = self.torch, self.torch.nn, self.work, self.work.features
        self.modules = nn.ModuleDict()
        if work.vocabulary:
            self.modules["embedding_0"] = nn.Embedding(work.vocabulary, size)
        if work.filters:
            self.modules["conv1d_0"], size = nn.Conv1d(size, work.filters, 3, padding="same"), work.filters
        for n, units in enumerate(work.units):
            kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[work.cell]
            self.modules[f"{work.cell}_{n}"] = kind(size, units, batch_first=True, bidirectional=work.bidirectional)
            size = units * (2 if work.bidirectional else 1)
        self.modules["dense_0"] = nn.Linear(size, work.outputs)
        with torch.no_grad():
            for name, array in self.weights.items():
                module, _, parameter = name.partition(".")
                self._parameter(self.modules[module], parameter).copy_(torch.from_numpy(array))
        self.optimizer = torch.optim.Adam(self.modules.parameters(), lr=1e-3, fused=True)

    def _parameter(self, module, name: str):
        """Our name → PyTorch's: ``W_ih_reverse`` is ``weight_ih_l0_reverse``, ``W`` is ``weight``."""
        kind, _, rest = name.partition("_")
        first, _, direction = rest.partition("_")
        suffix = f"_{first}_l0{'_' + direction if direction else ''}" if rest else ""
        return getattr(module, {"W": "weight", "b": "bias"}[kind] + suffix)

    def _step(self, x, y):
        h = None
        for name, module in self.modules.items():
            if name.startswith("conv"):
                x = module(x.transpose(1, 2)).relu().transpose(1, 2)
            elif name.startswith("dense"):
                x = module(h.transpose(0, 1).flatten(1))  # the last state of each direction
            elif name.startswith("embedding"):
                x = module(x)
            else:
                x, h = module(x)
                h = h[0] if isinstance(h, tuple) else h
        loss = self.loss(x if self.work.loss == "categorical_crossentropy" else x[:, 0], y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def curve(self, n: int) -> list[float]:
        losses = [self._step(self.X[0], self.y[0]).item() for _ in range(n)]
        self._start()
        return losses

    def epoch(self) -> float:
        started = time.perf_counter()
        for x, y in zip(self.X, self.y):
            self._step(x, y)
        return (time.perf_counter() - started) / len(self.X)


CONTENDERS = {"tsrnn": Tsrnn, "torch": Torch}


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def limit_threads(threads: int) -> int:
    """Pins this process to as many cores; returns how many it got.  Before any library is imported."""
    os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = str(threads)
    if sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    return usable_cores()
