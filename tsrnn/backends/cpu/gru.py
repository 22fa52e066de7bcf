"""The GRU's two pointwise bodies (reset after the product), for one sample and step; equations in `tsrnn.layers.GRU`."""

from __future__ import annotations

from tsrnn.backends.cpu.activations import fma, sigmoid, tanh
from tsrnn.backends.cpu.jit import jit


@jit
def forward(gates, h_before, h_now):
    """`gates` (4H): sums of r and z, h part and x part of n in; r, z, h part of n, n out."""
    H = h_now.size
    one = h_now.dtype.type(1)
    r, z, hn, n = gates[:H], gates[H:2 * H], gates[2 * H:3 * H], gates[3 * H:4 * H]
    r_z = gates[:2 * H]
    for j in range(2 * H):
        r_z[j] = sigmoid(r_z[j])
    for j in range(H):
        n[j] = tanh(fma(r[j], hn[j], n[j]))
    for j in range(H):
        h_now[j] = fma(z[j], h_before[j], (one - z[j]) * n[j])


@jit
def backward(gates, h_before, dh):
    """`gates`: as `forward` left them in; gradients of the sums of r and z, of h part and x part of n out.  `dh` becomes the
    part of the earlier state's gradient that does not pass through W_hh."""
    H = dh.size
    one = dh.dtype.type(1)
    r, z, hn, n = gates[:H], gates[H:2 * H], gates[2 * H:3 * H], gates[3 * H:4 * H]
    for j in range(H):
        update, candidate, d = z[j], n[j], dh[j]
        z[j] = d * (h_before[j] - candidate) * update * (one - update)
        n[j] = d * (one - update) * fma(-candidate, candidate, one)
        dh[j] = d * update
    for j in range(H):
        reset, d = r[j], n[j]
        r[j] = d * hn[j] * reset * (one - reset)
        hn[j] = d * reset
