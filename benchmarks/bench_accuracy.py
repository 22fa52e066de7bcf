"""Accuracy on real data, each figure beside its bar or the naive forecast's.

    python benchmarks/bench_accuracy.py                          # everything: about half an hour on two cores
    python benchmarks/bench_accuracy.py vowels airline --seeds 0 1 2 --json figures.json

How settings were chosen: on parts of the training sets only.  MNIST: 50,000 / 10,000 random rows of the training set, LSTM,
one seed, rate 2e-3 falling as a cosine (98.99 % of the 10,000); GRU and RNN take the same.  JapaneseVowels: five-fold
cross-validation of the 270 training samples, five candidates (mean pooling, two directions, dropout 0.5: 97.0 %).  Airline:
the first 72 months against the next 24 (window 12 or 24, 16 or 32 units, 100 or 300 epochs).  Mackey-Glass: the first
4,000 steps against the next 1,000 (LSTM or GRU).  A fit ends after its number of epochs: nothing looks at the test part
before the score.
"""

from __future__ import annotations

import argparse
import functools
import time
import warnings
from collections.abc import Callable, Iterable

import _coverage
import _data
import _forecasting
import _m4_tasks
import _text_tasks
import numpy as np
from _results import Result, Results
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import root_mean_squared_error as rmse

from tsrnn import LSTMClassifier, LSTMRegressor, SequenceClassifier, make_windows


def mnist(cell: str, seeds: Iterable[int], *, n_train: int = 60_000, epochs: int = 10) -> Result:
    """Images as 28 rows of 28 pixels, 128 units, the accuracy of the 10,000 test images after the last epoch."""
    X, y, X_test, y_test = _data.mnist()
    result = Result(f"MNIST rows, {cell.upper()}", "accuracy", [], {} if cell == "rnn" else {"bar": 0.982})
    for seed in seeds:
        model = SequenceClassifier(hidden_layer_sizes=(128,), cell=cell, batch_size=128, max_iter=epochs,
                                   learning_rate="cosine", learning_rate_init=2e-3, random_state=seed)
        _fit(result, model, X[:n_train], y[:n_train])
        result.scores.append(model.score(X_test, y_test))
    return result


def vowels(seeds: Iterable[int]) -> Result:
    """JapaneseVowels: nine speakers, 12 channels, 7 to 29 steps."""
    X, y, X_test, y_test = _data.ucr("JapaneseVowels")
    rows = np.concatenate(X)
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    X, X_test = ([((x - mean) / scale).astype(np.float32) for x in part] for part in (X, X_test))
    result = Result("JapaneseVowels (ragged), BiLSTM", "accuracy", [], {"bar": 0.95})
    for seed in seeds:
        model = LSTMClassifier(hidden_layer_sizes=(64,), bidirectional=True, pooling="mean", dropout=0.5, batch_size=16,
                               max_iter=40, learning_rate="cosine", learning_rate_init=3e-3, random_state=seed)
        _fit(result, model, X, y)
        result.scores.append(model.score(X_test, y_test))
    return result


def airline(seeds: Iterable[int], *, n_train: int = 96, window: int = 12) -> Result:
    """Airline passengers, next month from the last 12 changes of the logarithm; the last 48 months are the test part."""
    series = _data.airline()
    change = np.diff(np.log(series))            # change[i] leads to month i + 1
    fitted = change[:n_train - 1]
    scaled = ((change - fitted.mean()) / fitted.std()).astype(np.float32)
    X, y = make_windows(scaled, window)         # y[i] leads to month i + window + 1
    n = n_train - 1 - window
    actual, last = series[n_train:], series[n_train - 1:-1]
    naive = {"naive": rmse(actual, last), "seasonal naive": rmse(actual, series[n_train - 12:-12])}
    result = Result("airline passengers, next month, LSTM", "RMSE", [], naive)
    for seed in seeds:
        model = LSTMRegressor(hidden_layer_sizes=(32,), batch_size=16, max_iter=100, learning_rate="cosine",
                              learning_rate_init=5e-3, random_state=seed)
        _fit(result, model, X[:n], y[:n])
        predicted = last * np.exp(model.predict(X[n:]).astype(float) * fitted.std() + fitted.mean())
        result.scores.append(rmse(actual, predicted))
    return result


def mackey_glass(horizon: int, seeds: Iterable[int], *, n_train: int = 5_000, window: int = 32) -> Result:
    """Mackey-Glass, `horizon` steps ahead from the last 32; the last 5,000 steps are the test part."""
    series = _data.mackey_glass()
    mean, scale = series[:n_train].mean(), series[:n_train].std()
    X, y = make_windows(((series - mean) / scale).astype(np.float32), window, horizon)
    n, first = n_train - window - horizon + 1, n_train - window  # the last window of the training part, the first behind it
    actual = series[n_train + horizon - 1:]
    naive = {"naive": rmse(actual, series[n_train - 1:-horizon])}
    result = Result(f"Mackey-Glass, +{horizon}, LSTM", "RMSE", [], naive)
    for seed in seeds:
        model = LSTMRegressor(hidden_layer_sizes=(32,), batch_size=64, max_iter=20, learning_rate="cosine",
                              learning_rate_init=5e-3, random_state=seed)
        _fit(result, model, X[:n], y[:n])
        predicted = model.predict(X[first:]).reshape(-1, horizon)[:, -1].astype(float) * scale + mean
        result.scores.append(rmse(actual, predicted))
    return result


def _fit(result: Result, model, X, y) -> None:
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is meant
        model.fit(X, y)
    result.seconds.append(time.perf_counter() - started)


TASKS: dict[str, Callable[[Iterable[int]], Result | list[Result]]] = {
    "airline": airline,
    "mackey-glass": functools.partial(mackey_glass, 1),
    "mackey-glass-84": functools.partial(mackey_glass, 84),
    "vowels": vowels,
    "mnist-lstm": functools.partial(mnist, "lstm"),
    "mnist-gru": functools.partial(mnist, "gru"),
    "mnist-rnn": functools.partial(mnist, "rnn"),
    "etth1": _forecasting.etth1,
    "exchange": _forecasting.exchange,
    "shanghai": _forecasting.shanghai,
    "stocks505": _forecasting.stocks505,
    "m4-hourly": _m4_tasks.hourly,
    "imdb": _text_tasks.imdb,
    "coverage": lambda seeds: _coverage.simulated(seeds) + _coverage.etth1(seeds) + _m4_tasks.coverage(seeds),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Accuracy on real data.")
    parser.add_argument("tasks", nargs="*", metavar="task", help=f"{', '.join(TASKS)}; default all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    arguments = parser.parse_args()
    if unknown := [task for task in arguments.tasks if task not in TASKS]:
        parser.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(TASKS)}")
    try:
        _data.data_folder()
    except FileNotFoundError as error:
        print(f"skipped: {error}")
        return 0
    results = Results("accuracy", arguments.json, seeds=arguments.seeds)
    for task in arguments.tasks or TASKS:
        found = TASKS[task](arguments.seeds)
        for result in found if isinstance(found, list) else [found]:
            results.add(result)
    return not all(row["passed"] for row in results.document["rows"])


if __name__ == "__main__":
    raise SystemExit(main())
