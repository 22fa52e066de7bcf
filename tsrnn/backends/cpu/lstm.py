"""The LSTM's two pointwise bodies, for one sample and step; equations in `tsrnn.layers.LSTM`."""

from __future__ import annotations

from tsrnn.backends.cpu.activations import sigmoid_of, tanh_of
from tsrnn.backends.cpu.jit import inner
from tsrnn.backends.cpu.pointwise import pointwise


def _gates(units, gates, sums, h_before, h_now, c_before, c_now, next_gates):
    """Sums of the gates i f g o in; gates (4H) out."""
    for k, activation in enumerate((sigmoid_of, sigmoid_of, tanh_of, sigmoid_of)):
        units.store(activation(units.load(sums, k)), gates, k)
        units.prefetch(next_gates, k, write=True)


def _state(units, gates, sums, h_before, h_now, c_before, c_now, next_gates):
    """c and h out.  A pass of its own: the processor starts what is ready among the next hundred instructions, and these wait
    for the gates."""
    i, f, g, o = (units.load(gates, k) for k in range(4))
    c = f.fma(units.load(c_before), i * g)
    units.store(c, c_now)
    units.store(o * tanh_of(c), h_now)


_forward = pointwise(_gates, _state)


@pointwise
def _backward(units, gates, d_gates, h_before, c_before, c_now, dh, dc, next_gates):
    """`d_gates` (4H): gradients of the gates' sums out; `dc` moves one step back, `dh` is used up (0)."""
    i, f, g, o = (units.load(gates, k) for k in range(4))
    for k in range(4):
        units.prefetch(next_gates, k)
    d_h, tanh_c = units.load(dh), tanh_of(units.load(c_now))
    d_c = (d_h * o).fma((-tanh_c).fma(tanh_c, 1.0), units.load(dc))
    units.store(d_c * g * i * (1.0 - i), d_gates, 0)
    units.store(d_c * units.load(c_before) * f * (1.0 - f), d_gates, 1)
    units.store(d_c * i * (-g).fma(g, 1.0), d_gates, 2)
    units.store(d_h * tanh_c * o * (1.0 - o), d_gates, 3)
    units.store(d_c * f, dc)
    units.clear(dh)


@inner
def forward(mem, places, samples, H):
    _forward(mem, places, samples, H)


@inner
def backward(mem, places, samples, H):
    _backward(mem, places, samples, H)
