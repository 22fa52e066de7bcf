"""The GRU's two pointwise bodies (reset after the product); equations in `tsrnn.layers.GRU`."""

from __future__ import annotations

from tsrnn.backends.cuda.cells import sigmoid, tangent
from tsrnn.backends.cuda.jit import device


@device
def forward(dtype, act):
    one, sigma, tanh = dtype(1), sigmoid(dtype), tangent(dtype)

    def function(x, a, state, gates):
        """x and h parts of the gates (3,), state h → the new state; r, z, the h part of n, and n go to `gates`."""
        r = sigma(x[0] + a[0])
        z = sigma(x[1] + a[1])
        n = tanh(x[2] + r * a[2])
        state[0] = (one - z) * n + z * state[0]
        gates[0], gates[1], gates[2], gates[3] = r, z, a[2], n
    return function


@device
def backward(dtype, act):
    one = dtype(1)

    def function(d, gates, before, after):
        """d: gradient of h → that of h before, without the part through W_hh; `gates` → gradients of its four slots.

        `before`, `after`: h before and after the step.
        """
        r, z, a_n, n = gates[0], gates[1], gates[2], gates[3]
        dh = d[0]
        d_n = dh * (one - z) * (one - n * n)
        gates[0] = d_n * a_n * r * (one - r)
        gates[1] = dh * (before - n) * z * (one - z)
        gates[2] = d_n * r
        gates[3] = d_n
        d[0] = dh * z
    return function
