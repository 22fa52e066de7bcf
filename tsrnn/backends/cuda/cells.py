"""What the cells are made of."""

from __future__ import annotations

import numpy as np

from tsrnn.backends.cuda.activations import exp
from tsrnn.backends.cuda.jit import SIMULATED, cuda, device


@device
def curve(dtype):
    """tanh or sigmoid, whichever a lane needs: 1 - 2 / (1 + e^2x) or 1 / (1 + e^-x), to 3e-7 (absolute) in float32.

    Where e^ is infinite the quotient is 0; NaN stays NaN.
    """
    one, two = dtype(1), dtype(2)
    if SIMULATED:
        fast_exp, fast_divide = np.exp, np.divide
    else:  # an instruction each, and a few for the range: 2 ulp
        fast_exp, fast_divide = cuda.libdevice.fast_expf, cuda.libdevice.fast_fdividef

    def function(x, is_tanh):
        quotient = (-two if is_tanh else one) / (one + exp(two * x if is_tanh else -x))
        return one + quotient if is_tanh else quotient

    def fast(x, is_tanh):
        quotient = fast_divide(-two if is_tanh else one, one + fast_exp(two * x if is_tanh else -x))
        return one + quotient if is_tanh else quotient
    return fast if dtype is np.float32 else function


@device
def sigmoid(dtype):
    either = curve(dtype)

    def function(x):
        return either(x, False)
    return function


@device
def tangent(dtype):
    either = curve(dtype)

    def function(x):
        return either(x, True)
    return function
