"""Executors of plans; see `tsrnn.backends.contract`."""

from __future__ import annotations

import importlib
from types import ModuleType

NAMES = ("cpu", "cuda", "numpy")


class NoGPUError(RuntimeError):
    """A GPU is asked for where none can be used."""


def get(name: str) -> ModuleType:
    """The backend called `name`, imported when it is first needed."""
    if name not in NAMES:
        raise ValueError(f"backend={name!r} must be one of {', '.join(map(repr, NAMES))}.")
    return importlib.import_module(f"tsrnn.backends.{name}")
