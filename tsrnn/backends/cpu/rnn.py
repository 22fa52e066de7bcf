"""The vanilla RNN's pointwise bodies, for one sample and step; equations in `tsrnn.layers.RNN`."""

from __future__ import annotations

from tsrnn.backends.cpu.activations import tanh_of
from tsrnn.backends.cpu.pointwise import pointwise


@pointwise
def forward_tanh(units, gates, x_part, h_part, h_now):
    """Sums in two parts in, the new state out, twice; `h_part` is used up (0)."""
    _forward(units, tanh_of(units.load(x_part) + units.load(h_part)), gates, h_part, h_now)


@pointwise
def forward_relu(units, gates, x_part, h_part, h_now):
    """The same with max(0, .)."""
    _forward(units, (units.load(x_part) + units.load(h_part)).at_least(0.0), gates, h_part, h_now)


def _forward(units, h, gates, h_part, h_now):
    units.clear(h_part)
    units.store(h, gates)
    units.store(h, h_now)


@pointwise
def backward_tanh(units, gates, d_gates, dh):
    """`gates`: the state in; `d_gates`: the gradient of the sums out; `dh` is used up (0)."""
    h = units.load(gates)
    units.store(units.load(dh) * (-h).fma(h, 1.0), d_gates)
    units.clear(dh)


@pointwise
def backward_relu(units, gates, d_gates, dh):
    """The same with max(0, .)."""
    units.store(units.load(dh).where_positive(units.load(gates)), d_gates)
    units.clear(dh)
