"""`fit_many`: many estimators fitted side by side."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sklearn.base import clone

from tsrnn.estimators._jobs import run_jobs
from tsrnn.parallel import effective_n_jobs

PARAMS = "params"


class Job(NamedTuple):
    """A clone that is ready to be fitted."""

    number: int
    estimator: Any
    arguments: dict[str, Any]  # of fit


def fit_many(estimator, jobs, *, n_jobs=None):
    """Fits a clone of `estimator` for each job, side by side on all cores.

    A small network cannot keep several cores busy; many can: series, folds, seeds, points of a grid.

    Parameters
    ----------
    estimator : estimator
        Anything with `fit`: a sequence estimator, a forecaster, a `TextClassifier`, a pipeline around one.  It is not changed.
    jobs : iterable of mapping
        A job holds the arguments of `fit` by their names, and under "params" those parameters in which its clone differs:
        ``{"X": X, "y": y, "params": {"random_state": 1}}``, ``{"X": X, "y": y, "X_val": X_val, "y_val": y_val}``,
        for a forecaster ``{"y": series}``.
    n_jobs : int or None, default=None
        Threads, as in joblib: None takes all cores, or one inside a parallel worker.  Each network has one of them (several
        where there are fewer jobs than threads), whatever its own `n_jobs`.

    Returns
    -------
    fitted : list of estimator
        In the order of the jobs.  Each has the bits that ``clone(estimator).set_params(**params).fit(...)`` by itself has,
        whatever `n_jobs`.  As in `GridSearchCV` a RandomState is copied for each job: equal ones begin equally.

    Raises
    ------
    TypeError, ValueError
        For jobs that are no mappings, parameters that the estimator does not have and arguments that its `fit` does not take:
        all jobs are looked at before the first is begun.
    Exception
        What the first job that fails raised; the message says which one it is.  Jobs behind it are given up.
    KeyboardInterrupt
        After Ctrl-C; fits that are under way end with their epoch, or block of short ones.

    Notes
    -----
    Warnings come when all jobs are done, in their order.  `on_epoch_end` is called in the threads of the jobs.

    Examples
    --------
    >>> import numpy as np
    >>> from tsrnn import LSTMRegressor, fit_many, make_windows
    >>> X, y = make_windows(np.sin(np.arange(300) / 10), window=20)
    >>> network = LSTMRegressor(hidden_layer_sizes=(8,), max_iter=3, n_iter_no_change=np.inf)
    >>> networks = fit_many(network, [{"X": X, "y": y, "params": {"random_state": seed}} for seed in range(5)])
    >>> np.mean([fitted.predict(X) for fitted in networks], axis=0).shape
    (280,)
    """
    if isinstance(estimator, type) or not callable(getattr(estimator, "fit", None)):
        raise TypeError(f"estimator={estimator!r} must be an estimator with a method fit, such as LSTMRegressor().")
    if isinstance(jobs, (Mapping, str)) or not isinstance(jobs, Iterable):
        raise TypeError(f"jobs is {_kind(jobs)}; it must be a list of jobs, say [{{\"X\": X, \"y\": y}}].")
    effective_n_jobs(n_jobs)
    signature = _signature(estimator)
    ready = [_prepared(number, estimator, signature, job) for number, job in enumerate(jobs)]
    return run_jobs(_fit, ready, n_jobs)


def _signature(estimator: Any) -> inspect.Signature | None:
    """Of its fit; None where it is of a kind that does not tell."""
    try:
        return inspect.signature(estimator.fit)
    except (TypeError, ValueError):
        return None


def _prepared(number: int, estimator: Any, signature: inspect.Signature | None, job: Any) -> Job:
    """The job, if it is one."""
    name = f"jobs[{number}]"
    if not isinstance(job, Mapping):
        raise TypeError(f"{name} is {_kind(job)}; a job is a mapping of fit's arguments, {{\"X\": X, \"y\": y}}, with the "
                        "parameters of its own under \"params\".")
    arguments = {key: value for key, value in job.items() if key != PARAMS}
    params = job.get(PARAMS)
    if params is not None and not isinstance(params, Mapping):
        raise TypeError(f"{name}: params is {_kind(params)}; it must be a mapping of parameters, {{\"random_state\": 1}}.")
    try:
        if signature is not None:
            signature.bind(**arguments)
    except TypeError as error:
        raise TypeError(f"{name} does not suit {type(estimator).__name__}.fit{signature}: {error}.  A job holds the arguments "
                        "of fit by their names.") from None
    try:
        fitted = clone(estimator).set_params(**clone(dict(params or {}), safe=False))
    except Exception as error:
        _named(error, name)
        raise
    return Job(number, fitted, arguments)


def _fit(job: Job) -> Any:
    try:
        job.estimator.fit(**job.arguments)
    except Exception as error:
        _named(error, f"jobs[{job.number}]")
        raise
    return job.estimator


def _named(error: Exception, name: str) -> None:
    """Makes `error` say where it happened."""
    if len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"{name}: {error.args[0]}",)
    else:
        error.add_note(f"This was {name}.")


def _kind(value: Any) -> str:
    return f"of type {type(value).__name__}"
