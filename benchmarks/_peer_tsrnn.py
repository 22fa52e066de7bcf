"""This package as a contender, through its public estimators."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import replace

import numpy as np
from _peers import timed_calls
from _works import Work


class Tsrnn:
    """A turn of training is one epoch of a fit that goes on; inference is `predict`, from NumPy array to NumPy array."""

    def __init__(self, threads: int):
        import tsrnn
        from tsrnn import SequenceClassifier, SequenceRegressor, layers

        self.version, self.threads, self.layers = tsrnn.__version__, threads, layers
        self.estimators = SequenceRegressor, SequenceClassifier
        warnings.filterwarnings("ignore", "Stochastic Optimizer", UserWarning)  # the number of epochs is meant

    def describe(self) -> dict:
        import numba

        from tsrnn.parallel import effective_n_jobs

        return {"version": f"tsrnn {self.version} (Numba {numba.__version__})", "threads": effective_n_jobs(self.threads)}

    def _estimator(self, work: Work, batch: int):
        return self.estimators[work.is_classification](
            layers=self._layers(work), batch_size=batch, shuffle=False, clip_norm=None, warm_start=True, tol=0.0,
            n_iter_no_change=math.inf, restore_best=False, n_jobs=self.threads, dtype=work.dtype, max_iter=1, random_state=0)

    def _layers(self, work: Work) -> list:
        L = self.layers
        made = [L.Embedding(work.vocabulary, work.features)] if work.vocabulary else []
        made += [L.Conv1D(work.filters, 3, activation="relu")] if work.filters else []
        for n, units in enumerate(work.units):
            more = {"return_sequences": n < len(work.units) - 1}
            layer = L.GRU(units, **more) if work.cell == "gru" else L.LSTM(units, recurrent_bias=False, **more)
            made.append(L.Bidirectional(layer) if work.bidirectional else layer)
        return [*made, L.Dense(work.outputs)]

    def build(self, work: Work, X: np.ndarray, y: np.ndarray, weights: dict) -> dict:
        self.work, self.X, self.weights = work, X, weights
        self.y = y.astype(np.int64) if work.is_classification else y
        self.model = self._estimator(work, work.batch)
        self._fit(1, work.batch)
        self.model.set_weights(weights)
        return {}

    def _fit(self, epochs: int, rows: int | None = None):
        return self.model.set_params(max_iter=epochs).fit(self.X[:rows], self.y[:rows])

    def curve(self, n: int) -> list[float]:
        losses = self._fit(n, self.work.batch).loss_curve_[-n:]
        self.model.set_weights(self.weights)
        return losses

    def epoch(self) -> float:
        """The second epoch of a fit: the first one lays out the memory, and warms up as the peers' first pass does."""
        return self._fit(2).history_["seconds"][-1] / (len(self.X) // self.work.batch)

    def fit_memory(self, work: Work) -> dict[str, float]:
        """MB of the rows of `work`, and by how much a fit of them raises the peak of this process, which holds them already."""
        from _results import peak_memory

        self.build(replace(work, batches=1), *replace(work, batches=1).data(), work.weights())  # code and kernels are there
        rng, n = np.random.default_rng(0), work.batch * work.batches
        self.X = rng.standard_normal((n, work.steps, work.features), np.dtype(work.dtype))  # made in place: no peak of its own
        self.y = rng.standard_normal(n, np.dtype(work.dtype))
        before = peak_memory()
        self._fit(1)
        return {"data": (self.X.nbytes + self.y.nbytes) / 1e6, "beyond": peak_memory() - before}

    def prepare(self, work: Work, X: np.ndarray, weights: dict) -> np.ndarray:
        few = np.arange(max(4, 2 * work.outputs))
        y = few % max(2, work.outputs)
        self.model = self._estimator(work, len(few)).fit(np.resize(X, (len(few), *X.shape[1:])), y)
        self.model.set_weights(weights)
        self.X = X
        self.model.predict(X)
        if not work.is_classification:
            return self.model.predict(X).reshape(len(X), -1)
        p = self.model.predict_proba(X)
        return p if work.outputs > 1 else p[:, 1:]

    def infer(self, seconds: float) -> float:
        return timed_calls(lambda: self.model.predict(self.X), seconds)

    def small_nets(self, X: np.ndarray, y: np.ndarray, settings: dict, n_jobs: int) -> dict:
        """Seconds for a net of its own for each series X (N, n, T, 1), y (N, n); settings: units, epochs, batch."""
        import tsrnn

        model = tsrnn.LSTMRegressor((settings["units"],), batch_size=settings["batch"], max_iter=settings["epochs"], tol=0.0,
                                    n_iter_no_change=math.inf, clip_norm=None, random_state=0)
        model.fit(X[0, :64], y[0, :64])  # kernels are compiled, or read
        jobs = [{"X": X_i, "y": y_i} for X_i, y_i in zip(X, y)]
        started = time.perf_counter()
        if many := hasattr(tsrnn, "fit_many"):
            models = tsrnn.fit_many(model, jobs, n_jobs=n_jobs)
        else:
            from sklearn.base import clone

            models = [clone(model).set_params(n_jobs=n_jobs).fit(**job) for job in jobs]
        return {"seconds": time.perf_counter() - started, "nets": len(jobs), "loss": float(np.mean([m.loss_ for m in models])),
                "how": "fit_many" if many else "a loop over estimators"}
