"""The GRU's two pointwise bodies (reset after the product), for one sample and step; equations in `tsrnn.layers.GRU`."""

from __future__ import annotations

from tsrnn.backends.cpu.activations import sigmoid_of, tanh_of
from tsrnn.backends.cpu.jit import inner
from tsrnn.backends.cpu.pointwise import pointwise


def _gates(units, gates, sums, h_before, h_now, c_before, c_now, next_gates):
    """Sums of r and z, h part of n in; gates (r, z, h part of n of the 4H) out."""
    r, z, hn = (units.load(sums, k) for k in range(3))
    for k, gate in enumerate((sigmoid_of(r), sigmoid_of(z), hn)):
        units.prefetch(next_gates, k, write=True)
        units.store(gate, gates, k)


def _state(units, gates, sums, h_before, h_now, c_before, c_now, next_gates):
    """x part of n in; n (the last of the 4H) and h out.  A pass of its own, as in `lstm`."""
    r, z, hn = (units.load(gates, k) for k in range(3))
    n = tanh_of(r.fma(hn, units.load(sums, 3)))
    units.prefetch(next_gates, 3, write=True)
    units.store(n, gates, 3)
    units.store(z.fma(units.load(h_before), (1.0 - z) * n), h_now)


_forward = pointwise(_gates, _state)


@pointwise
def _backward(units, gates, d_gates, h_before, c_before, c_now, dh, dc, next_gates):
    """`d_gates` (4H): gradients of the sums of r and z, of h part and x part of n out.  `dh` becomes the part of the earlier
    state's gradient that does not pass through W_hh."""
    r, z, hn, n = (units.load(gates, k) for k in range(4))
    d_h = units.load(dh)
    for k in range(4):
        units.prefetch(next_gates, k)
    d_n = d_h * (1.0 - z) * (-n).fma(n, 1.0)
    units.store(d_n * hn * r * (1.0 - r), d_gates, 0)
    units.store(d_h * (units.load(h_before) - n) * z * (1.0 - z), d_gates, 1)
    units.store(d_n * r, d_gates, 2)
    units.store(d_n, d_gates, 3)
    units.store(d_h * z, dh)


@inner
def forward(mem, places, samples, H):
    _forward(mem, places, samples, H)


@inner
def backward(mem, places, samples, H):
    _backward(mem, places, samples, H)
