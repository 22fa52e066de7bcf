"""What the cells are made of, and where their gates lie."""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.activations import exp, tanh
from tsrnn.backends.cuda.jit import SIMULATED, cuda, device

if SIMULATED:
    fast_exp, fast_divide = np.exp, np.divide
else:  # one instruction and a few for the range: 2 ulp
    fast_exp, fast_divide = cuda.libdevice.fast_expf, cuda.libdevice.fast_fdividef


@device
def sigmoid(dtype):
    """1 / (1 + e^-x), to 1e-7 in float32."""
    one = dtype(1)

    def function(x):  # e^-x is infinite below -88 (float32), and 1 / inf is 0
        return one / (one + exp(-x))

    def fast(x):
        return fast_divide(one, one + fast_exp(-x))
    return fast if dtype is np.float32 else function


@device
def tangent(dtype):
    """tanh, to 3e-7 (absolute) in float32."""
    one, two = dtype(1), dtype(2)

    def function(x):
        return tanh(x)

    def fast(x):
        return one - fast_divide(two, fast_exp(two * x) + one)
    return fast if dtype is np.float32 else function


def x_slot(cell: c.Cell, gate: int) -> int:
    """The slot of WORK that holds the x part of a gate."""
    return gate if gate < cell.shared else cell.gates + gate - cell.shared
