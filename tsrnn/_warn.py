"""Warnings that point at the user's own line."""

from __future__ import annotations

import os
import sys
import warnings

_OTHERS = tuple(f"{os.sep}{name}{os.sep}" for name in ("sklearn", "joblib"))  # stand between a user and a pipeline's step
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """`warnings.warn` from the nearest caller outside of this package, scikit-learn and joblib, however deep the call is."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and (frame.f_code.co_filename.startswith(_OURS)
                                        or any(other in frame.f_code.co_filename for other in _OTHERS)):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
