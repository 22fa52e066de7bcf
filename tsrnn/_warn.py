"""Warnings that point at the user's own line."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Told = list[tuple[str, type[Warning]]]

_kept: ContextVar[Told | None] = ContextVar("tsrnn_kept_warnings", default=None)
_unwanted: ContextVar[tuple[type[Warning], ...]] = ContextVar("tsrnn_unwanted_warnings", default=())
_BETWEEN = ("tsrnn", "sklearn", "joblib")  # a user and a pipeline's step


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """`warnings.warn` from the nearest caller outside of this package, scikit-learn and joblib, however deep the call is.

    Within `kept` it waits for the caller's own thread, and what is `unwanted` is not said at all.
    """
    if issubclass(category, _unwanted.get()):
        return
    told = _kept.get()
    if told is not None:
        told.append((message, category))
        return
    files = (getattr(sys.modules.get(name), "__file__", None) for name in _BETWEEN)  # what is not imported calls nothing
    folders = tuple(os.path.dirname(os.path.abspath(file)) + os.sep for file in files if file)
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(folders):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


@contextmanager
def kept() -> Iterator[Told]:
    """Keeps this package's warnings of this thread in a list: other threads have no line of the user's to point at."""
    told: Told = []
    token = _kept.set(told)
    try:
        yield told
    finally:
        _kept.reset(token)


@contextmanager
def unwanted(category: type[Warning]) -> Iterator[None]:
    """Leaves out this package's warnings of `category`; unlike the filters of `warnings`, in this thread alone."""
    token = _unwanted.set((*_unwanted.get(), category))
    try:
        yield
    finally:
        _unwanted.reset(token)
