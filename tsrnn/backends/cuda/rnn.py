"""The vanilla RNN's two pointwise bodies."""

from __future__ import annotations

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.activations import activation, slope
from tsrnn.backends.cuda.cells import sigmoid, tangent
from tsrnn.backends.cuda.jit import device


@device
def forward(dtype, act):
    f = {c.TANH: tangent(dtype), c.SIGMOID: sigmoid(dtype)}.get(act) or activation(dtype, act)

    def function(x, a, state, gates):
        """x and h part (1,), state h → the new state; it goes to `gates` as well."""
        state[0] = f(x[0] + a[0])
        gates[0] = state[0]
    return function


@device
def backward(dtype, act):
    zero, f_slope = dtype(0), slope(dtype, act)

    def function(d, gates, before, after):
        """d: gradient of h → that of h before, without the part through W_hh; `gates` → gradient of the sum of the parts."""
        gates[0] = d[0] * f_slope(gates[0])
        d[0] = zero
    return function
