"""Activations and their slopes, for kernels to call.

Real kernels call libdevice's functions of the element type (exp and tanh to 2 ulp).  Simulated ones call NumPy's: Python's
would return float64 and refuse what overflows.
"""

from __future__ import annotations

import math

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.jit import SIMULATED, device

exp, expm1, tanh, log1p = (np.exp, np.expm1, np.tanh, np.log1p) if SIMULATED else (math.exp, math.expm1, math.tanh, math.log1p)
log, sqrt = (np.log, np.sqrt) if SIMULATED else (math.log, math.sqrt)


@device
def sigmoid(dtype):
    one = dtype(1)

    def function(x):  # e^-x is infinite below -88 (float32), and 1 / inf is 0
        return one / (one + exp(-x))
    return function


@device
def activation(dtype, code):
    """The activation of a contract's code."""
    zero, logistic = dtype(0), sigmoid(dtype)

    def linear(x):
        return x

    def tanh_(x):
        return tanh(x)

    def relu(x):
        return x if x > zero or x != x else zero  # NaN stays NaN

    def sigmoid_(x):
        return logistic(x)
    return {c.LINEAR: linear, c.TANH: tanh_, c.RELU: relu, c.SIGMOID: sigmoid_}[code]


@device
def slope(dtype, code):
    """The derivative of the activation, from its output."""
    zero, one = dtype(0), dtype(1)

    def linear(y):
        return one

    def tanh_(y):
        return one - y * y

    def relu(y):
        return one if y > zero else zero

    def sigmoid_(y):
        return y * (one - y)
    return {c.LINEAR: linear, c.TANH: tanh_, c.RELU: relu, c.SIGMOID: sigmoid_}[code]
