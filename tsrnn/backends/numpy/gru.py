"""The GRU's two pointwise bodies (reset after the product); equations in `tsrnn.layers.GRU`."""

from __future__ import annotations

import numpy as np

from tsrnn.backends.numpy.feedforward import sigmoid


def forward(a, t, gx, gh, before, now):
    """`gx`, `gh` (B, 3H): x and h parts of the gates; keeps r, z, the h part of n, and n in the work rows."""
    xr, xz, xn = np.split(gx, 3, axis=1)
    hr, hz, hn = np.split(gh, 3, axis=1)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    n = np.tanh(xn + r * hn)
    a.work[t] = np.concatenate([r, z, hn, n], axis=1)
    a.h[now] = (1 - z) * n + z * a.h[before]


def backward(a, t, dh, dc, before):
    """Gradients of the state before the step (without the part through W_hh), and of the x and h parts of the gates."""
    r, z, hn, n = np.split(a.work[t], 4, axis=1)
    d_n = dh * (1 - z) * (1 - n**2)
    d_z = dh * (a.h[before] - n) * z * (1 - z)
    d_r = d_n * hn * r * (1 - r)
    return dh * z, None, np.concatenate([d_r, d_z, d_n], axis=1), np.concatenate([d_r, d_z, d_n * r], axis=1)
