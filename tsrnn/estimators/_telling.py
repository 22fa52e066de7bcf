"""What a forecaster says of series that it cannot use as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from tsrnn._warn import warn
from tsrnn.data.calendar import holes
from tsrnn.data.panel import Panel


def check_unchanged(fitted_with: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises where parameters were set after the fit that say what its weights mean."""
    for name, value in fitted_with.items():
        if now[name] is not value and not np.array_equal(np.asarray(now[name], object), np.asarray(value, object)):
            raise ValueError(f"{name} is {now[name]!r:.60} and was {value!r:.60} in the fit; fit again, or set it back.")


def check_ends(skipped: dict[Any, str], n_series: int) -> None:
    """Raises where no series is left."""
    if len(skipped) == n_series:
        what = "The series cannot" if n_series == 1 else f"None of the {n_series} series can"
        raise ValueError(f"{what} be forecast from its end: {next(iter(skipped.values()))}; fill or drop these rows, or take "
                         "a smaller window.")


def tell_skipped(skipped: dict[Any, str], n_series: int) -> None:
    """Warns of series that are left out."""
    if skipped:
        shown = "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:3])
        more = "; ..." if len(skipped) > 3 else ""
        warn(f"{len(skipped)} of {n_series} series cannot be forecast ({shown}{more}); skipped_ has them all.")


def tell_holes(panel: Panel) -> None:
    """Warns of times that a regular index lacks: everything behind them is a row off."""
    found = holes(panel)
    if found:
        count, first = found
        are = "times are" if count > 1 else "time is"
        warn(f"{count} {are} missing between the rows of y, the first after {first}: rows are counted, not hours or "
             "days. If they should count, make them rows with missing values, say by y.asfreq(...).")


def tell_skill(skill: float, name: str) -> None:
    """Warns where the naive forecast is better."""
    if skill < 0:
        warn(f"skill_={skill:.3f}: on the rows held out, repeating the last value does better than {name}.")
