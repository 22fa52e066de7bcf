"""The LSTM's two pointwise bodies, for one sample and step; equations in `tsrnn.layers.LSTM`.

Every loop touches few arrays, or LLVM gives up proving that they do not overlap and leaves it scalar.
"""

from __future__ import annotations

from tsrnn.backends.cpu.activations import fma, sigmoid, tanh
from tsrnn.backends.cpu.jit import jit


@jit
def forward(gates, c_before, c_now, h_now):
    """`gates` (4H): sums in, i f g o out."""
    H = h_now.size
    i, f, g, o = gates[:H], gates[H:2 * H], gates[2 * H:3 * H], gates[3 * H:4 * H]
    i_f = gates[:2 * H]
    for j in range(2 * H):
        i_f[j] = sigmoid(i_f[j])
    for j in range(H):
        g[j] = tanh(g[j])
    for j in range(H):
        o[j] = sigmoid(o[j])
    for j in range(H):
        c_now[j] = fma(f[j], c_before[j], i[j] * g[j])
    for j in range(H):
        h_now[j] = o[j] * tanh(c_now[j])


@jit
def backward(gates, c_before, c_now, dh, dc, tanh_c):
    """`gates`: i f g o in, gradients of their sums out; `dc` moves one step back, `dh` is used up (0)."""
    H = dh.size
    one = dh.dtype.type(1)
    i, f, g, o = gates[:H], gates[H:2 * H], gates[2 * H:3 * H], gates[3 * H:4 * H]
    for j in range(H):
        tanh_c[j] = tanh(c_now[j])
    for j in range(H):
        dc[j] = fma(dh[j] * o[j], fma(-tanh_c[j], tanh_c[j], one), dc[j])
    for j in range(H):
        o[j] = dh[j] * tanh_c[j] * o[j] * (one - o[j])
    for j in range(H):
        input_gate, candidate = i[j], g[j]
        i[j] = dc[j] * candidate * input_gate * (one - input_gate)
        g[j] = dc[j] * input_gate * fma(-candidate, candidate, one)
    for j in range(H):
        forget, d = f[j], dc[j]
        f[j] = d * c_before[j] * forget * (one - forget)
        dc[j] = d * forget
    for j in range(H):
        dh[j] = 0
