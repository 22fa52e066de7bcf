"""The vanilla RNN's pointwise bodies, for one sample and step; equations in `tsrnn.layers.RNN`."""

from __future__ import annotations

from tsrnn.backends.cpu.activations import tanh_of
from tsrnn.backends.cpu.jit import inner
from tsrnn.backends.cpu.pointwise import pointwise


@pointwise
def _forward_tanh(units, gates, sums, h_before, h_now, c_before, c_now, next_gates):
    """The sum in, the new state out, twice."""
    _new_state(units, tanh_of(units.load(sums)), gates, h_now)


@pointwise
def _forward_relu(units, gates, sums, h_before, h_now, c_before, c_now, next_gates):
    """The same with max(0, .)."""
    _new_state(units, units.load(sums).at_least(0.0), gates, h_now)


def _new_state(units, h, gates, h_now):
    units.store(h, gates)
    units.store(h, h_now)


@pointwise
def _backward_tanh(units, gates, d_gates, h_before, c_before, c_now, dh, dc, next_gates):
    """`gates`: the state in; `d_gates`: the gradient of the sum out; `dh` is used up (0)."""
    h = units.load(gates)
    units.store(units.load(dh) * (-h).fma(h, 1.0), d_gates)
    units.clear(dh)


@pointwise
def _backward_relu(units, gates, d_gates, h_before, c_before, c_now, dh, dc, next_gates):
    """The same with max(0, .)."""
    units.store(units.load(dh).where_positive(units.load(gates)), d_gates)
    units.clear(dh)


@inner
def forward_tanh(mem, places, samples, H):
    _forward_tanh(mem, places, samples, H)


@inner
def forward_relu(mem, places, samples, H):
    _forward_relu(mem, places, samples, H)


@inner
def backward_tanh(mem, places, samples, H):
    _backward_tanh(mem, places, samples, H)


@inner
def backward_relu(mem, places, samples, H):
    _backward_relu(mem, places, samples, H)
