"""The LSTM's two pointwise bodies; equations in `tsrnn.layers.LSTM`."""

from __future__ import annotations

from tsrnn.backends.cuda.cells import curve, sigmoid, tangent
from tsrnn.backends.cuda.jit import cuda, device
from tsrnn.backends.cuda.resident import ALL


@device
def forward(dtype, act):
    sigma, tanh = sigmoid(dtype), tangent(dtype)

    def function(x, a, state, gates):
        """x and h parts of the gates (4,), state h, c → the new state; i, f, g, o go to `gates`."""
        i = sigma(x[0] + a[0])
        f = sigma(x[1] + a[1])
        g = tanh(x[2] + a[2])
        o = sigma(x[3] + a[3])
        c = f * state[1] + i * g
        state[0], state[1] = o * tanh(c), c
        gates[0], gates[1], gates[2], gates[3] = i, f, g, o
    return function


@device
def forward_by_gate(dtype, act):
    """The same by four lanes: each has one gate's parts in x[0] and a[0], and keeps it in gates[0]."""
    activate, tanh = curve(dtype), tangent(dtype)

    def function(x, a, state, gates):
        lane = cuda.threadIdx.x & 31
        first = lane & 28
        gates[0] = activate(x[0] + a[0], lane & 3 == 2)
        i = cuda.shfl_sync(ALL, gates[0], first)
        f = cuda.shfl_sync(ALL, gates[0], first + 1)
        g = cuda.shfl_sync(ALL, gates[0], first + 2)
        o = cuda.shfl_sync(ALL, gates[0], first + 3)
        c = f * state[1] + i * g
        state[0], state[1] = o * tanh(c), c
    return function


@device
def backward(dtype, act):
    zero, one, tanh = dtype(0), dtype(1), tangent(dtype)

    def function(d, gates, before, after):
        """d: gradients of h, c → those of the state before, without the part through W_hh; `gates` → their gradients.

        `before`, `after`: c before and after the step.
        """
        i, f, g, o = gates[0], gates[1], gates[2], gates[3]
        tanh_c = tanh(after)
        dh = d[0]
        dc = d[1] + dh * o * (one - tanh_c * tanh_c)
        gates[0] = dc * g * i * (one - i)
        gates[1] = dc * before * f * (one - f)
        gates[2] = dc * i * (one - g * g)
        gates[3] = dh * tanh_c * o * (one - o)
        d[0], d[1] = zero, dc * f
    return function
