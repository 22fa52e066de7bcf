"""The LSTM's two pointwise bodies; equations in `tsrnn.layers.LSTM`."""

from __future__ import annotations

import numpy as np

from tsrnn.backends.numpy.feedforward import sigmoid


def forward(a, t, gx, gh, before, now):
    """`gx`, `gh` (B, 4H): x and h parts of the gates; keeps i, f, g, o in the work rows."""
    i, f, g, o = np.split(gx + gh, 4, axis=1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    a.work[t] = np.concatenate([i, f, g, o], axis=1)
    a.c[now] = f * a.c[before] + i * g
    a.h[now] = o * np.tanh(a.c[now])


def backward(a, t, dh, dc, before):
    """Gradients of the state before the step (without the part through W_hh), and of the x and h parts of the gates."""
    i, f, g, o = np.split(a.work[t], 4, axis=1)
    tanh_c = np.tanh(a.c[t + 1])
    dc = dc + dh * o * (1 - tanh_c**2)
    gates = np.concatenate([dc * g * i * (1 - i), dc * a.c[before] * f * (1 - f), dc * i * (1 - g**2),
                            dh * tanh_c * o * (1 - o)], axis=1)
    return np.zeros_like(dh), dc * f, gates, gates.copy()
