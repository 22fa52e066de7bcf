"""Warnings that point at the user's own line."""

from __future__ import annotations

import os
import sys
import warnings

_BETWEEN = ("tsrnn", "sklearn", "joblib")  # a user and a pipeline's step


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """`warnings.warn` from the nearest caller outside of this package, scikit-learn and joblib, however deep the call is."""
    files = (getattr(sys.modules.get(name), "__file__", None) for name in _BETWEEN)  # what is not imported calls nothing
    folders = tuple(os.path.dirname(os.path.abspath(file)) + os.sep for file in files if file)
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(folders):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
