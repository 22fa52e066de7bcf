"""Compile all kernels ahead of time."""

from __future__ import annotations

import time
import warnings

_DTYPES = ("float32", "float64")


def warmup(dtypes=_DTYPES, *, progress=None):
    """Compile the kernels of all cells and layers, so that no later fit waits for the compiler.

    Kernels compile at their first use and are kept in the kernel cache (see ``tsrnn info``); this uses each of them once on
    tiny networks. With a warm cache it takes a fraction of a second.

    Parameters
    ----------
    dtypes : sequence of {"float32", "float64"}, default=("float32", "float64")
        Float types to compile for.
    progress : callable ``(done, total, what) -> None``, default=None
        Called before each network and once at the end.

    Returns
    -------
    float
        Seconds taken.

    Raises
    ------
    ValueError
        For an unknown float type, before anything is compiled.
    """
    dtypes = (dtypes,) if isinstance(dtypes, str) else tuple(dtypes)
    for dtype in dtypes:
        if dtype not in _DTYPES:
            raise ValueError(f"dtype={dtype!r} is unknown; use one of {_DTYPES}.")
    started = time.perf_counter()
    work = [(f"{what}, {dtype}", make, dtype) for dtype in dtypes for what, make in _work()]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Stochastic Optimizer", UserWarning)  # one epoch is all that is wanted
        for done, (what, make, dtype) in enumerate(work):
            if progress is not None:
                progress(done, len(work), what)
            make(dtype)
    if progress is not None:
        progress(len(work), len(work), "done")
    return time.perf_counter() - started


def _work():
    """What to compile, and how: every operation of a plan, then two fits for what surrounds them."""
    from tsrnn.backends.cpu import executor

    for what in executor.OPERATIONS:
        yield what, lambda dtype, what=what: executor.compile_operation(what, dtype)
    yield "a fit of values", _fit_values
    yield "a fit of token ids", _fit_ids


def _fit_values(dtype):
    import numpy as np

    from tsrnn.estimators.sequence import SequenceRegressor

    X = np.linspace(-1, 1, 8 * 6 * 2).reshape(8, 6, 2).astype(dtype)
    model = SequenceRegressor(hidden_layer_sizes=(4,), max_iter=1, batch_size=4, n_jobs=1, random_state=0)
    model.fit(X, X[:, -1, 0]).predict(X[:1])


def _fit_ids(dtype):
    import numpy as np

    from tsrnn.estimators.sequence import SequenceClassifier

    ids = np.arange(8 * 6).reshape(8, 6) % 5
    model = SequenceClassifier(hidden_layer_sizes=(4,), embedding_dim=4, vocabulary_size=5, max_iter=1, batch_size=4, n_jobs=1,
                               random_state=0, dtype=dtype)
    model.fit(ids, np.arange(8) % 2).predict(ids[:1])
