"""What every score asks of its arguments."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np


def equal_shapes(**named):
    """The arguments as float64 arrays of one shape, not empty and finite."""
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in named.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        said = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"shapes differ: {said}; they must be equal.")
    for name, array in arrays.items():
        check_values(name, array)
    return tuple(arrays.values())


def check_values(name, array):
    """Refuse an empty array, NaN and infinity."""
    if array.size == 0:
        raise ValueError(f"{name} is empty; a score needs at least one value.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contains NaN or infinity; drop or fill these rows first.")


def check_whole(name, value):
    """A whole number of at least 1, as int."""
    if isinstance(value, bool) or not isinstance(value, (Integral, Real)) or value < 1 or value != int(value):
        raise ValueError(f"{name}={value!r} must be a whole number of at least 1.")
    return int(value)


def check_between(name, value, upper):
    """A number between 0 and `upper`, both excluded, as float."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < upper:
        raise ValueError(f"{name}={value!r} must be a number between 0 and {upper}, both excluded.")
    return float(value)


def check_bounds(lower, upper, lower_name="lower", upper_name="upper"):
    """Refuse intervals that are upside down; rows with NaN pass."""
    crossed = int(np.count_nonzero(lower > upper))
    if crossed:
        raise ValueError(f"{lower_name} is above {upper_name} in {crossed} of {lower.size} rows; pass the lower bound first.")
