"""What the speed benchmarks measure: networks and their batches.  NumPy alone, so that any contender's interpreter reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Work:
    """A network and its batches: [Embedding] [Conv1D relu] recurrent layers, Dense on the last state.

    LSTMs have one bias, as Keras has them, so that all contenders train the same parameters; GRUs have two.
    """

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
    dtype: str = "float32"

    @property
    def is_classification(self) -> bool:
        return self.loss.endswith("crossentropy")

    def data(self, ids: tuple[np.ndarray, np.ndarray] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """X (n, T, F) floats or ids (n, T) int32, and y (n,) floats.

        Parameters
        ----------
        ids : X (N, T) int32 and y (N,), optional
            Real texts, in an order of no meaning; the first are taken.  Without them ids are drawn by Zipf's law.
        """
        rng = np.random.default_rng(0)
        n = self.batch * self.batches
        y = rng.integers(0, max(2, self.outputs), n).astype(self.dtype)
        if not self.vocabulary:
            return rng.normal(size=(n, self.steps, self.features)).astype(self.dtype), y
        if ids is not None:
            X, y = ids
            if X.shape[1] != self.steps or len(X) < n or X.max() >= self.vocabulary:
                raise ValueError(f"{self.name} needs {n} texts of {self.steps} ids below {self.vocabulary}, got {X.shape} "
                                 f"up to {X.max()}; give other ids, or none.")
            return np.ascontiguousarray(X[:n], np.int32), y[:n].astype(self.dtype)
        rank = np.arange(1, self.vocabulary)  # words by Zipf's law, as in texts; 0 is padding
        p = (rank + 2.7) ** -1.15
        X = rng.choice(rank, (n, self.steps), p=p / p.sum()).astype(np.int32)
        X[np.arange(self.steps) < self.steps - rng.integers(self.steps // 4, 2 * self.steps, n)[:, None]] = 0
        return X, y

    def weights(self) -> dict[str, np.ndarray]:
        """The initial weights of every contender, in PyTorch's layout under this package's names: Keras' initializers."""
        rng, made = np.random.default_rng(1), {}

        def uniform(shape, fan_in, fan_out):
            limit = np.sqrt(6 / (fan_in + fan_out))
            return rng.uniform(-limit, limit, shape)

        for name, size, units in self.layers:
            kind = name.partition("_")[0]
            if kind == "embedding":
                made[f"{name}.W"] = rng.uniform(-0.05, 0.05, (size, units))
            elif kind == "conv1d":
                made |= {f"{name}.W": uniform((units, size, 3), 3 * size, 3 * units), f"{name}.b": np.zeros(units)}
            elif kind == "dense":
                made |= {f"{name}.W": uniform((units, size), size, units), f"{name}.b": np.zeros(units)}
            else:
                gates = {"lstm": 4, "gru": 3}[kind]
                for end in ("", "_reverse")[:1 + self.bidirectional]:
                    made[f"{name}.W_ih{end}"] = uniform((gates * units, size), size, gates * units)
                    made[f"{name}.W_hh{end}"] = np.linalg.qr(rng.normal(size=(gates * units, units)))[0]
                    made[f"{name}.b_ih{end}"], made[f"{name}.b_hh{end}"] = np.zeros((2, gates * units))
                    if kind == "lstm":
                        made[f"{name}.b_ih{end}"][units:2 * units] = 1  # of the forget gate
        return {name: np.ascontiguousarray(array, self.dtype) for name, array in made.items()}

    @property
    def layers(self) -> list[tuple[str, int, int]]:
        """Name, inputs and outputs of each layer that has parameters, as this package names them."""
        made, size = [], self.features
        if self.vocabulary:
            made.append(("embedding_0", self.vocabulary, size))
        if self.filters:
            made.append(("conv1d_0", size, self.filters))
            size = self.filters
        for n, units in enumerate(self.units):
            made.append((f"{self.cell}_{n}", size, units))
            size = units * (2 if self.bidirectional else 1)
        return [*made, ("dense_0", size, self.outputs)]


IMDB = {"steps": 200, "features": 128, "units": (64,), "bidirectional": True, "vocabulary": 10_000,
        "loss": "binary_crossentropy"}
LSTM_60 = {"steps": 60, "features": 1, "units": (64,), "batch": 64, "batches": 32}
WORKS = {work.name: work for work in (
    Work("imdb-bilstm-32", batch=32, **IMDB),
    Work("imdb-bilstm-128", batch=128, **{**IMDB, "batches": 2}),
    Work("imdb-bigru-32", batch=32, cell="gru", **IMDB),
    Work("cnn-lstm-10", 10, 8, (64,), 64, filters=32, batches=64),
    Work("cnn-lstm-30", 30, 5, (50,), 32, filters=32, batches=64),
    Work("lstm-60", **LSTM_60),
    Work("lstm-60-f64", dtype="float64", **LSTM_60),
    Work("2-lstm-128", 60, 8, (128, 128), 64, batches=8),
    Work("mnist-rows", 28, 28, (128,), 128, loss="categorical_crossentropy", outputs=10, batches=16),
    Work("lstm-256", 100, 64, (256,), 64),
    Work("tiny", 2, 1, (4,), 4, batches=256),
)}
# times as fast as the fastest peer a training step must be, and the share of the FMA peak that it must reach
RATIO_BARS = {"imdb-bilstm-32": 4.0, "imdb-bilstm-128": 4.0, "imdb-bigru-32": 5.0, "cnn-lstm-10": 2.5, "cnn-lstm-30": 2.5,
              "lstm-60": 2.0, "lstm-60-f64": 4.0, "2-lstm-128": 2.0, "mnist-rows": 1.3, "lstm-256": 1.3}
SHARE_BARS = {"imdb-bilstm-32": 0.6, "imdb-bilstm-128": 0.6, "imdb-bigru-32": 0.6, "lstm-60": 0.6, "lstm-60-f64": 0.6,
              "2-lstm-128": 0.6, "mnist-rows": 0.6, "cnn-lstm-10": 0.6, "lstm-256": 0.7}


def real_ids() -> tuple[np.ndarray, np.ndarray] | None:
    """The training reviews of IMDB, X (25000, 200) int32 and y, shuffled by a seed; None where they are not at hand."""
    try:
        from _data import data_folder

        if not (Path(data_folder()) / "imdb").is_dir():
            return None
    except FileNotFoundError:
        return None
    from _imdb import reviews

    X, y = reviews("train")
    order = np.random.default_rng(0).permutation(len(X))
    return X[order], y[order]
