"""Losses on logits, their gradients, and the count of right answers.  Scalar float64: K numbers a sample and step."""

from __future__ import annotations

import math

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cpu.jit import inner


@inner
def _softplus(p):
    return max(p, 0.0) + math.log1p(math.exp(-abs(p)))


@inner
def _value_and_slope(code, p, y, param):
    """l and dl/dp of one output; `param` is Huber's delta or the quantile."""
    d = p - y
    if code == c.SQUARED:
        return d * d, 2 * d
    if code == c.ABSOLUTE:
        return abs(d), np.sign(d)
    if code == c.HUBER:
        if abs(d) <= param:
            return d * d / 2, d
        return param * (abs(d) - param / 2), param * np.sign(d)
    if code == c.POISSON:
        rate = math.exp(p)
        return rate - y * p, rate - y
    if code == c.QUANTILE:
        return max(-param * d, (1 - param) * d), -param if d < 0 else (1 - param if d > 0 else 0.0 * d)
    return _softplus(p) - y * p, math.exp(-_softplus(-p)) - y  # SIGMOID_CE


@inner
def _softmax(p, y, slope):
    """l, and the slope of every logit; right where the first largest logit is class y."""
    largest = 0
    for k in range(p.size):
        if p[k] > p[largest]:
            largest = k
    top = np.float64(p[largest])
    total = 0.0
    for k in range(p.size):
        total += math.exp(p[k] - top)
    for k in range(p.size):
        slope[k] = math.exp(p[k] - top) / total - (k == y)
    return top + math.log(total) - p[y], largest == y


@inner
def _elementwise(code, p, y, params, slope):
    """l averaged over the outputs, and its slopes; right where all outputs are on their target's side of 0 (SIGMOID_CE)."""
    K, Q = p.size, params.size if code == c.QUANTILE else 1
    value, right = 0.0, code == c.SIGMOID_CE
    for k in range(K):
        target = np.float64(y[k // Q])
        v, s = _value_and_slope(code, np.float64(p[k]), target, params[k % Q])
        value += v
        slope[k] = s / K
        right = right and (p[k] > 0) == (target > 0.5)
    return value / K, right


@inner
def loss(row, rate, chunk):
    """Writes sum w l and sum w [right]; in training also the logits' gradient, divided by the batch's sum of weights."""
    B, samples, data, mem, mask = chunk.B, chunk.samples, chunk.data, chunk.scratch.mem, chunk.scratch.mask
    code_params, result, total, backward = chunk.loss_params, chunk.result, chunk.total, chunk.mode == c.TRAIN
    T, K, code = row[c.T_IN], row[c.F_IN], row[c.CODE]
    count = 1 if code == c.SOFTMAX_CE else K // code_params.size if code == c.QUANTILE else K
    slope = np.empty(K, np.float64)
    result[:] = 0
    for b in range(B):
        i = samples[b]
        for t in range(T):
            at = (t * B + b) * K
            real = row[c.MASK_IN] == c.NONE or mask[row[c.MASK_IN] * B + t * B + b] != 0
            weight = np.float64(data.weights[i, min(t, data.weights.shape[1] - 1)]) if real else 0.0
            if weight > 0:
                p = mem[row[c.X] * B + at:row[c.X] * B + at + K]
                first = data.target_starts[i] + t * count
                y = data.targets[first:first + count]
                if code == c.SOFTMAX_CE:
                    value, right = _softmax(p, np.int64(y[0]), slope)
                else:
                    value, right = _elementwise(code, p, y, code_params, slope)
                result[0] += weight * value
                result[1] += weight * right
            if backward:
                scale = weight / total if weight > 0 else 0.0
                for k in range(K):
                    mem[row[c.DX] * B + at + k] = slope[k] * scale if weight > 0 else 0.0
