"""The vanilla RNN's two pointwise bodies, for one sample and step."""

from __future__ import annotations

from tsrnn.backends.cpu.feedforward import activate, activate_backward
from tsrnn.backends.cpu.jit import jit


@jit
def forward(act, gates, h_now):
    """`gates` (H): sums in, the new state out."""
    activate(act, gates)
    for j in range(h_now.size):
        h_now[j] = gates[j]


@jit
def backward(act, gates, dh):
    """`gates`: the state in, the gradient of the sums out; `dh` is used up (0)."""
    activate_backward(act, gates, dh)
    for j in range(dh.size):
        gates[j] = dh[j]
        dh[j] = 0
