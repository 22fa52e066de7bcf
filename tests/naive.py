"""The layers' equations once more, as plainly as they can be said: one sample at a time, one step at a time, no padding.

An oracle for both backends that shares no line with them.  A sample is (T, F) with a mask of real steps (T,), or None where all
are real; ragged samples come at their own length.
"""

from __future__ import annotations

import math

import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


ACTIVATIONS = {"linear": lambda a: a, "tanh": np.tanh, "relu": lambda a: np.maximum(a, 0), "sigmoid": sigmoid}


def lstm_step(x, h, cell, W_ih, W_hh, b_ih, b_hh):
    H = len(h)
    a = [W_ih[k * H:(k + 1) * H] @ x + b_ih[k * H:(k + 1) * H] + W_hh[k * H:(k + 1) * H] @ h + b_hh[k * H:(k + 1) * H]
         for k in range(4)]
    i, f, g, o = sigmoid(a[0]), sigmoid(a[1]), np.tanh(a[2]), sigmoid(a[3])
    cell = f * cell + i * g
    return o * np.tanh(cell), cell


def gru_step(x, h, cell, W_ih, W_hh, b_ih, b_hh):
    H = len(h)
    r_x, z_x, n_x = (W_ih[k * H:(k + 1) * H] @ x + b_ih[k * H:(k + 1) * H] for k in range(3))
    r_h, z_h, n_h = (W_hh[k * H:(k + 1) * H] @ h + b_hh[k * H:(k + 1) * H] for k in range(3))
    r, z = sigmoid(r_x + r_h), sigmoid(z_x + z_h)
    n = np.tanh(n_x + r * n_h)
    return (1 - z) * n + z * h, cell


def rnn_step(x, h, cell, W_ih, W_hh, b_ih, b_hh, activation="tanh"):
    return ACTIVATIONS[activation](W_ih @ x + b_ih + W_hh @ h + b_hh), cell


STEPS = {"LSTM": lstm_step, "GRU": gru_step, "RNN": rnn_step}


def recurrent(layer, weights, x, mask, h=None, cell=None):
    """States after every step (T, H), the last cell state; masked steps change nothing."""
    extra = {"activation": layer.activation} if type(layer).__name__ == "RNN" else {}
    h = np.zeros(layer.units) if h is None else h
    cell = np.zeros(layer.units) if cell is None else cell
    states = []
    for t in range(len(x)):
        if mask is None or mask[t]:
            h, cell = STEPS[type(layer).__name__](x[t], h, cell, *weights, **extra)
        states.append(h)
    return np.array(states), cell


def bidirectional(layer, weights, x, mask):
    forward, _ = recurrent(layer.layer, weights[:4], x, mask)
    backward, _ = recurrent(layer.layer, weights[4:], x[::-1], None if mask is None else mask[::-1])
    a, b = (forward, backward[::-1]) if layer.layer.return_sequences else (forward[-1], backward[-1])
    return {"concat": np.concatenate([a, b], axis=-1), "sum": a + b, "mul": a * b, "ave": (a + b) / 2}[layer.merge]


def conv1d(layer, weights, x, mask):
    W, b = weights  # (filters, C, K)
    K, T = layer.kernel_size, len(x)
    if mask is not None:
        x = np.where(mask[:, None], x, 0)
    before = (K - 1) // 2 if layer.padding == "same" else 0
    steps = T if layer.padding == "same" else T - K + 1
    y = []
    for t in range(steps):
        total = b.copy()
        for k in range(K):
            if 0 <= t + k - before < T:
                total = total + W[:, :, k] @ x[t + k - before]
        y.append(ACTIVATIONS[layer.activation](total))
    if mask is not None and layer.padding == "valid":
        mask = np.array([mask[t:t + K].all() for t in range(steps)])
    return np.array(y), mask


def pool(layer, x, mask):
    size, reduce = layer.pool_size, np.max if type(layer).__name__.startswith("Max") else np.mean
    real = np.ones(len(x), bool) if mask is None else mask
    y, new_mask = [], []
    for t in range(max(1, len(x) // size)):
        window, of = x[t * size:(t + 1) * size], real[t * size:(t + 1) * size]
        y.append(reduce(window[of], axis=0) if of.any() else np.zeros(x.shape[1]))
        new_mask.append(of.all())
    some = [real[t * size:(t + 1) * size].any() for t in range(len(y))]
    if any(some) and not any(new_mask):  # a short sequence keeps its last window
        new_mask[max(t for t, found in enumerate(some) if found)] = True
    return np.array(y), None if mask is None else np.array(new_mask)


def global_pool(layer, x, mask):
    x = x if mask is None else x[mask]
    if not len(x):
        return np.zeros(x.shape[1])
    return (np.max if "Max" in type(layer).__name__ else np.mean)(x, axis=0)


class Naive:
    """Outputs of a network's layers for one sample at a time; weights by their public names."""

    def __init__(self, layers, weights):
        self.layers, self.weights, self.counts = layers, weights, {}

    def __call__(self, x):
        """(T, F), or ids (T,) → the output, and the mask of its steps (None: all real)."""
        self.counts = {}
        mask = None
        for layer in self.layers:
            x, mask = self.forward(layer, x, mask)
        return x, mask

    def take(self, kind, *names):
        """Weights of the next layer of a kind; those of a layer under TimeDistributed are taken once for all steps."""
        self.counts[kind] = self.counts.get(kind, -1) + 1
        return [self.weights[f"{kind}_{self.counts[kind]}.{name}"] for name in names]

    def forward(self, layer, x, mask):
        kind = type(layer).__name__
        names = ("W_ih", "W_hh", "b_ih", "b_hh")
        if kind in STEPS:
            y, _ = recurrent(layer, self.take(kind.lower(), *names), x, mask)
            return (y, mask) if layer.return_sequences else (y[-1], None)
        if kind == "Bidirectional":
            weights = self.take(type(layer.layer).__name__.lower(), *names, *(name + "_reverse" for name in names))
            return bidirectional(layer, weights, x, mask), mask if layer.layer.return_sequences else None
        if kind == "Embedding":
            return self.take("embedding", "W")[0][x], x != 0 if layer.mask_zero else None
        if kind == "Dense":
            W, b = self.take("dense", "W", "b")
            return ACTIVATIONS[layer.activation](x @ W.T + b), mask
        if kind == "Conv1D":
            return conv1d(layer, self.take("conv1d", "W", "b"), x, mask)
        if kind in ("MaxPooling1D", "AveragePooling1D"):
            return pool(layer, x, mask)
        if kind in ("GlobalMaxPooling1D", "GlobalAveragePooling1D"):
            return global_pool(layer, x, mask), None
        if kind == "TimeDistributed":
            return self.time_distributed(layer, x), mask
        if kind in ("Flatten", "Reshape"):
            return (x.reshape(-1) if kind == "Flatten" else x.reshape(layer.shape)), None
        if kind == "Activation":
            return ACTIVATIONS[layer.name](x), mask
        assert kind == "Dropout", kind  # does nothing outside of training
        return x, mask

    def time_distributed(self, layer, x):
        before, ys = dict(self.counts), []
        for sub in x:
            self.counts = dict(before)
            for inner in layer.layers:
                sub, _ = self.forward(inner, sub, None)
            ys.append(sub)
        return np.array(ys)


def outputs(network, theta, data):
    """Outputs of all samples of a `Data`, each of shape (K,) or (its own T_out, K), and their masks."""
    model = Naive(network.layers, {name: view.astype(np.float64) for name, view in network.views(theta).items()})
    results = []
    for start, length in zip(data.starts, data.lengths):
        if network.is_ids:
            results.append(model(data.ids[start:start + length]))
        else:
            C = network.input_shape[1]
            results.append(model(data.values[start:start + length * C].astype(np.float64).reshape(length, C)))
    return results


def huber(p, y, delta):
    d = abs(p - y)
    return d * d / 2 if d <= delta else delta * (d - delta / 2)


POINTWISE = {
    "squared_error": lambda p, y, _: (p - y) ** 2, "absolute_error": lambda p, y, _: abs(p - y), "huber": huber,
    "poisson": lambda p, y, _: math.exp(p) - y * p,
    "binary_crossentropy": lambda p, y, _: max(p, 0) + math.log1p(math.exp(-abs(p))) - y * p,
}


def loss_value(name, p, y, params=(1.0,)):
    """Loss of one sample's (or step's) outputs p (K,)."""
    if name == "categorical_crossentropy":
        return math.log(sum(math.exp(v - max(p)) for v in p)) + max(p) - p[int(y[0])]
    values = []
    for k, v in enumerate(p):
        if name == "quantile":
            d, q = y[k // len(params)] - v, params[k % len(params)]
            values.append(q * d if d >= 0 else (q - 1) * d)
            continue
        values.append(POINTWISE[name](v, y[k], params[0]))
    return sum(values) / len(values)


def check_engine(engine, data):
    """Outputs and loss of an engine against these equations: only real steps, each sample at its own length."""
    network = engine.network
    got = engine.predict(data).reshape(len(data.starts), *network.output_shape(int(data.lengths.max())))
    total = 0.0
    for i, (expected, mask) in enumerate(outputs(network, engine.theta, data)):
        expected = np.atleast_2d(expected)
        steps = np.flatnonzero(np.ones(len(expected), bool) if mask is None else mask)
        sample = np.atleast_2d(got[i])
        np.testing.assert_allclose(sample[steps], expected[steps], rtol=1e-11, atol=1e-13)
        for t in steps:
            weight = data.weights[i, min(t, data.weights.shape[1] - 1)]
            total += weight * loss_value(network.loss.name, expected[t], targets(network, data, i, t), network.loss_params)
    np.testing.assert_allclose(engine.evaluate(data)[0] * data.totals.sum(), total, rtol=1e-11)


def targets(network, data, i, t):
    """Targets of sample i at step t."""
    K = network.output_shape(int(data.lengths.max()))[-1]
    count = {"categorical_crossentropy": 1, "quantile": K // len(network.loss_params)}.get(network.loss.name, K)
    return data.targets[data.target_starts[i] + t * count:][:count]
