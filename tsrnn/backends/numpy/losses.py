"""Losses on logits, their gradients, and the count of right answers."""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c


def loss(chunk, row, backward):
    """Writes sum w l and sum w [right] of the chunk, and the logits' gradient, divided by the batch's sum of weights."""
    p, mask = chunk.x(row), chunk.mask(row)
    y, weights = _targets(chunk, row), _weights(chunk, row)
    if mask is not None:
        weights = weights * mask
    value, slope, right = POINTWISE[int(row[c.CODE])](p, y, chunk.plan.loss)
    chunk.sums.loss[chunk.number] = (weights * value).sum(), (weights * right).sum()
    if backward:
        total = chunk.data.totals[chunk.batch.order].sum()
        scale = weights / total if total > 0 else weights * 0
        chunk.x(row, c.DX)[...] = slope * scale[:, :, None]


def _targets(chunk, row):
    """(T, B, targets): one class number, or K values (K / Q for Q quantiles)."""
    steps, outputs = row[c.T_IN], row[c.F_IN]
    count = {c.SOFTMAX_CE: 1, c.QUANTILE: outputs // len(chunk.plan.loss)}.get(int(row[c.CODE]), outputs)
    at = chunk.data.target_starts[chunk.samples][None, :, None] + np.arange(steps)[:, None, None] * count
    index = at + np.arange(count)
    if chunk.mask(row) is not None:  # nothing need lie behind a sequence's end
        index = np.where(chunk.mask(row)[:, :, None], index, 0)
    return chunk.data.targets[index]


def _weights(chunk, row):
    weights = chunk.data.weights[chunk.samples].T.astype(np.float64)
    return np.broadcast_to(weights[:row[c.T_IN]], (row[c.T_IN], chunk.B))


def _squared(p, y, params):
    d = p - y
    return (d**2).mean(axis=2), 2 * d / p.shape[2], np.zeros(p.shape[:2])


def _absolute(p, y, params):
    d = p - y
    return np.abs(d).mean(axis=2), np.sign(d) / p.shape[2], np.zeros(p.shape[:2])


def _huber(p, y, params):
    d, delta = p - y, params[0]
    small = np.abs(d) <= delta
    value = np.where(small, d**2 / 2, delta * (np.abs(d) - delta / 2))
    return value.mean(axis=2), np.where(small, d, delta * np.sign(d)) / p.shape[2], np.zeros(p.shape[:2])


def _poisson(p, y, params):
    rate = np.exp(p)
    return (rate - y * p).mean(axis=2), (rate - y) / p.shape[2], np.zeros(p.shape[:2])


def _quantile(p, y, quantiles):
    q = np.tile(quantiles, y.shape[2])
    d = np.repeat(y, len(quantiles), axis=2) - p
    slope = np.where(d > 0, -q, np.where(d < 0, 1 - q, 0))
    return np.maximum(q * d, (q - 1) * d).mean(axis=2), slope / p.shape[2], np.zeros(p.shape[:2])


def _sigmoid_ce(p, y, params):
    value = np.logaddexp(0, p) - y * p
    right = ((p > 0) == (y > 0.5)).all(axis=2)
    return value.mean(axis=2), (np.exp(-np.logaddexp(0, -p)) - y) / p.shape[2], right


def _softmax_ce(p, y, params):
    y = y[:, :, 0].astype(np.int64)
    shifted = p - p.max(axis=2, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))
    one_hot = np.arange(p.shape[2]) == y[:, :, None]
    return -(log_p * one_hot).sum(axis=2), np.exp(log_p) - one_hot, p.argmax(axis=2) == y


POINTWISE = {c.SQUARED: _squared, c.ABSOLUTE: _absolute, c.HUBER: _huber, c.POISSON: _poisson, c.QUANTILE: _quantile,
             c.SIGMOID_CE: _sigmoid_ce, c.SOFTMAX_CE: _softmax_ce}
