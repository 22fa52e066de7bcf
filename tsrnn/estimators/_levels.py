"""`level` and `quantiles`: one meaning everywhere."""

from __future__ import annotations

from numbers import Real
from typing import NamedTuple

import numpy as np


class Wanted(NamedTuple):
    """A quantile that was asked for."""

    label: str           # of its column: "lo-80", "hi-80", "q-0.1"
    q: float
    level: float | None  # in percent, where it is one end of an interval


def read_levels(level, quantiles) -> list[Wanted]:
    """Checked `level` and `quantiles`, lower ends first."""
    wanted: list[Wanted] = []
    for name, values, least, most in (("level", level, 1, 100), ("quantiles", quantiles, 0, 1)):
        values = [] if values is None else [values] if isinstance(values, str) or not np.iterable(values) else list(values)
        for value in values:
            number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else 0.0
            if not least <= number < most or number <= 0:
                rule = ("a percentage from 1 to below 100; an interval of 80 % is level=80" if name == "level"
                        else "between 0 and 1, both excluded")
                raise ValueError(f"{name}={value!r} must be {rule}.")
            if name == "quantiles":
                wanted.append(Wanted(f"q-{_digits(number)}", number, None))
            else:
                wanted += [Wanted(f"{end}-{_digits(number)}", round(0.5 + side * number / 200, 12), number)
                           for end, side in (("lo", -1), ("hi", 1))]
    labels = [w.label for w in wanted]
    if len(set(labels)) < len(labels):
        raise ValueError(f"level={level!r} and quantiles={quantiles!r} name something twice.")
    return sorted(wanted, key=lambda w: w.q)


def _digits(number: float) -> str:
    """Without an exponent, as columns are named."""
    return np.format_float_positional(number, trim="-")
