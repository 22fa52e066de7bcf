"""Activations and their slopes, for kernels to call."""

from __future__ import annotations

import math

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.jit import device


@device
def sigmoid(dtype):
    one = dtype(1)

    def function(x):  # e^-x is infinite below -88 (float32), and 1 / inf is 0
        return one / (one + math.exp(-x))
    return function


@device
def activation(dtype, code):
    """The activation of a contract's code."""
    zero, logistic = dtype(0), sigmoid(dtype)

    def linear(x):
        return x

    def tanh(x):
        return math.tanh(x)

    def relu(x):
        return x if x > zero or x != x else zero  # NaN stays NaN

    def sigmoid_(x):
        return logistic(x)
    return {c.LINEAR: linear, c.TANH: tanh, c.RELU: relu, c.SIGMOID: sigmoid_}[code]


@device
def slope(dtype, code):
    """The derivative of the activation, from its output."""
    zero, one = dtype(0), dtype(1)

    def linear(y):
        return one

    def tanh(y):
        return one - y * y

    def relu(y):
        return one if y > zero else zero

    def sigmoid_(y):
        return y * (one - y)
    return {c.LINEAR: linear, c.TANH: tanh, c.RELU: relu, c.SIGMOID: sigmoid_}[code]
