"""The vanilla RNN's two pointwise bodies."""

from __future__ import annotations

import numpy as np

from tsrnn.backends.numpy.feedforward import activate, activation_slope


def forward(a, t, gx, gh, before, now):
    """`gx`, `gh` (B, H): x and h parts; keeps the new state in the work rows."""
    a.h[now] = a.work[t] = activate(a.act, gx + gh)


def backward(a, t, dh, dc, before):
    """Gradients of the state before the step (without the part through W_hh), and of the x and h parts."""
    gates = dh * activation_slope(a.act, a.work[t])
    return np.zeros_like(dh), None, gates, gates.copy()
