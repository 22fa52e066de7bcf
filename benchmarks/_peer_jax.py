"""JAX as a contender: the network written by hand, one jitted step with `lax.scan` and Adam, buffers donated."""

from __future__ import annotations

import os
import time

import numpy as np
from _peers import threads_named, timed_calls, usable_cores
from _works import Work

BETA_1, BETA_2, EPSILON, RATE = 0.9, 0.999, 1e-8, 1e-3
HOISTED = (True, False)  # products with the input for all steps at once, or inside of the scan; the faster is taken


class Jax:
    """Products with the input are taken outside of the scan or inside, whatever is faster; XLA fuses Adam with the gradients.

    Compiling several steps of the scan as one (``unroll``) made none of the works faster.
    """

    def __init__(self, threads: int):
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        import jax

        self.jax = jax

    def describe(self) -> dict:
        self.jax.devices()  # XLA's pool of threads begins
        return {"version": f"JAX {self.jax.__version__}", "threads": threads_named("tf_XLAEigen") or usable_cores()}

    # -------------------------------------------------------------------------------------------- the network

    def _scan(self, x, w: dict, end: str, cell: str, hoisted: bool):
        """All states (T, n, H) of one direction over x (T, n, F)."""
        jax, jnp = self.jax, self.jax.numpy
        U, units = w[f"W_hh{end}"], w[f"W_hh{end}"].shape[0]
        b_hh = w[f"b_hh{end}"]
        def project(x):
            return x @ w[f"W_ih{end}"] + w[f"b_ih{end}"]

        zeros = jnp.zeros((x.shape[1], units), x.dtype)

        def lstm(state, z):
            h, c = state
            z = z if hoisted else project(z)
            i, f, g, o = jnp.split(z + h @ U, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        def gru(h, z):
            r_x, z_x, n_x = jnp.split(z if hoisted else project(z), 3, axis=-1)
            r_h, z_h, n_h = jnp.split(h @ U + b_hh, 3, axis=-1)
            r, z = jax.nn.sigmoid(r_x + r_h), jax.nn.sigmoid(z_x + z_h)
            h = (1 - z) * jnp.tanh(n_x + r * n_h) + z * h
            return h, h

        step, start = (lstm, (zeros, zeros)) if cell == "lstm" else (gru, zeros)
        return jax.lax.scan(step, start, project(x) if hoisted else x, reverse=end == "_reverse")[1]

    def _forward(self, work: Work, weights: dict, x, hoisted: bool):
        """Outputs (n, K)."""
        jax, jnp = self.jax, self.jax.numpy
        last = x
        for name, _, _ in work.layers:
            kind = name.partition("_")[0]
            w = {key.partition(".")[2]: array for key, array in weights.items() if key.startswith(f"{name}.")}
            if kind == "embedding":
                x = w["W"][x.T]  # time first
            elif kind == "conv1d":
                x = jax.lax.conv_general_dilated(x, w["W"], (1,), "SAME", dimension_numbers=("NWC", "OIW", "WNC"))
                x = jax.nn.relu(x + w["b"])
            elif kind == "dense":
                return last @ w["W"] + w["b"]
            else:
                x = x.swapaxes(0, 1) if name.endswith("_0") and not (work.vocabulary or work.filters) else x
                ends = ("", "_reverse")[:1 + work.bidirectional]
                states = [self._scan(x, w, end, kind, hoisted) for end in ends]
                x = jnp.concatenate(states, axis=-1)
                last = jnp.concatenate([h[0 if end else -1] for h, end in zip(states, ends)], axis=-1)
        return last

    def _device_weights(self, weights: dict) -> dict:
        """Matrices as (in, out), which is what XLA multiplies with best; an embedding and a convolution as they are."""
        turned = {name: name.startswith(("lstm", "gru", "dense")) and array.ndim == 2 for name, array in weights.items()}
        return {name: self.jax.numpy.array(array.T.copy() if turned[name] else array) for name, array in weights.items()}

    # -------------------------------------------------------------------------------------------- training

    def build(self, work: Work, X: np.ndarray, y: np.ndarray, weights: dict) -> dict:
        self.jax.config.update("jax_enable_x64", work.dtype == "float64")
        put = self.jax.device_put
        self.weights = weights
        self.X = [put(part) for part in np.split(X, len(X) // work.batch)]
        several = work.loss == "categorical_crossentropy"
        self.y = [put(part) for part in np.split(y.astype(np.int32) if several else y, len(self.X))]
        found = []
        for hoisted in HOISTED:
            self.step = self.jax.jit(self._training(work, hoisted), donate_argnums=0)
            self._start()
            self._run(self.X[0], self.y[0])
            seconds = timed_calls(lambda: self._run(self.X[0], self.y[0]).block_until_ready(), 0.3)
            found.append((seconds, hoisted, self.step))
        _, hoisted, self.step = min(found, key=lambda entry: entry[0])
        self._start()
        return {"how": f"input products {'outside' if hoisted else 'inside'} of the scan"}

    def _training(self, work: Work, hoisted: bool):
        jax, jnp = self.jax, self.jax.numpy

        def loss(weights, frozen, x, y):
            out = self._forward(work, {**weights, **frozen}, x, hoisted)
            if work.loss == "squared_error":
                return jnp.mean((out[:, 0] - y) ** 2)
            if work.loss == "binary_crossentropy":
                return jnp.mean(jax.nn.softplus(out[:, 0]) - y * out[:, 0])
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], 1))

        def step(state, frozen, x, y):
            weights, first, second, n = state
            value, gradient = jax.value_and_grad(loss)(weights, frozen, x, y)
            n, tree = n + 1, jax.tree.map
            first = tree(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, first, gradient)
            second = tree(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, second, gradient)
            correct_1, correct_2 = 1 - BETA_1 ** n, 1 - BETA_2 ** n
            weights = tree(lambda w, m, v: w - RATE * (m / correct_1) / (jnp.sqrt(v / correct_2) + EPSILON), weights, first,
                           second)
            return (weights, first, second, n), value

        return step

    def _start(self) -> None:
        """The given weights; an LSTM's second bias is not trained."""
        jnp = self.jax.numpy
        second = {name for name in self.weights if name.startswith("lstm") and ".b_hh" in name}
        weights = self._device_weights(self.weights)
        self.frozen = {name: weights.pop(name) for name in second}
        zeros = [{name: jnp.zeros_like(array) for name, array in weights.items()} for _ in range(2)]
        self.state = weights, *zeros, jnp.zeros((), next(iter(weights.values())).dtype)

    def _run(self, x, y):
        self.state, loss = self.step(self.state, self.frozen, x, y)
        return loss

    def curve(self, n: int) -> list[float]:
        losses = [float(self._run(self.X[0], self.y[0])) for _ in range(n)]
        self._start()
        return losses

    def epoch(self) -> float:
        for _ in range(2):  # the first one warms up
            started = time.perf_counter()
            for x, y in zip(self.X, self.y):
                loss = self._run(x, y)
            loss.block_until_ready()
        return (time.perf_counter() - started) / len(self.X)

    # -------------------------------------------------------------------------------------------- inference

    def prepare(self, work: Work, X: np.ndarray, weights: dict) -> np.ndarray:
        jax = self.jax
        jax.config.update("jax_enable_x64", work.dtype == "float64")
        weights, x, found = self._device_weights(weights), jax.device_put(X), []
        for hoisted in HOISTED:
            call = jax.jit(lambda weights, x, hoisted=hoisted: self._forward(work, weights, x, hoisted))
            call(weights, x)
            found.append((timed_calls(lambda call=call: call(weights, x).block_until_ready(), 0.1), call))
        call = min(found, key=lambda pair: pair[0])[1]
        self.call = lambda: call(weights, x).block_until_ready()
        out = call(weights, x)
        if work.is_classification:
            out = jax.nn.sigmoid(out) if work.outputs == 1 else jax.nn.softmax(out)
        return np.asarray(out)

    def infer(self, seconds: float) -> float:
        return timed_calls(self.call, seconds)
