"""scikit-learn's MLP on flattened windows: another model, which sees the same numbers; inference only."""

from __future__ import annotations

import warnings

import numpy as np
from _peers import timed_calls
from _works import Work


class Sklearn:
    """`MLPRegressor` with one layer as wide as the recurrent one; its BLAS has the threads of `OMP_NUM_THREADS`."""

    def __init__(self, threads: int):
        import sklearn
        from sklearn.neural_network import MLPRegressor

        self.version, self.threads, self.estimator = sklearn.__version__, threads, MLPRegressor

    def describe(self) -> dict:
        from threadpoolctl import threadpool_info

        threads = max((pool["num_threads"] for pool in threadpool_info()), default=1)
        return {"version": f"scikit-learn {self.version}", "threads": threads}

    def prepare(self, work: Work, X: np.ndarray, weights: dict) -> None:
        """Fits anything: there are no outputs to compare."""
        self.X, rng = X.reshape(len(X), -1), np.random.default_rng(0)
        rows = rng.normal(size=(32, self.X.shape[1])).astype(work.dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one epoch is meant
            self.model = self.estimator(hidden_layer_sizes=work.units, max_iter=1, random_state=0).fit(rows, rows[:, 0])

    def infer(self, seconds: float) -> float:
        return timed_calls(lambda: self.model.predict(self.X), seconds)
