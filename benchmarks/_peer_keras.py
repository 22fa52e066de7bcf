"""Keras 3 on TensorFlow as a contender."""

from __future__ import annotations

import os
import time

import numpy as np
from _peers import timed_calls
from _works import Work

UNROLLED = 30  # sequences up to this length are tried without a loop, too


class Keras:
    """A step is one `tf.function`; compiled by XLA or not, and unrolled where sequences are short: whatever is fastest here.

    TensorFlow's gradient of an embedding lists a row once for each of its tokens, and its Adam squares every entry by itself:
    losses of networks with an embedding are not those of the others from the second step on.  Those of other networks differ by
    some 1e-4: Keras' Adam adds epsilon before it corrects the bias.
    """

    def __init__(self, threads: int):
        os.environ["KERAS_BACKEND"] = "tensorflow"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import keras
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        self.keras, self.tf = keras, tf

    def describe(self) -> dict:
        return {"version": f"Keras {self.keras.__version__} (TensorFlow {self.tf.__version__})",
                "threads": self.tf.config.threading.get_intra_op_parallelism_threads()}

    def _options(self, work: Work) -> list[dict]:
        unroll = [False, True] if work.steps <= UNROLLED else [False]
        return [{"jit": jit, "unroll": u} for u in unroll for jit in (False, True)]

    def _model(self, work: Work, unroll: bool, n: int | None = None):
        """A model for batches of `n`."""
        keras = self.keras
        keras.config.set_floatx(work.dtype)
        L = keras.layers
        if work.vocabulary:
            made = [keras.Input((work.steps,), batch_size=n, dtype="int32"), L.Embedding(work.vocabulary, work.features)]
        else:
            made = [keras.Input((work.steps, work.features), batch_size=n)]
        made += [L.Conv1D(work.filters, 3, padding="same", activation="relu")] if work.filters else []
        for number, units in enumerate(work.units):
            kind, sequences = {"lstm": L.LSTM, "gru": L.GRU}[work.cell], number < len(work.units) - 1
            layer = kind(units, return_sequences=sequences, unroll=unroll)
            made.append(L.Bidirectional(layer) if work.bidirectional else layer)
        model = keras.Sequential([*made, L.Dense(work.outputs)])
        model.set_weights(self._weights(work))
        return model

    def _weights(self, work: Work) -> list[np.ndarray]:
        """Keras' order and layout: matrices are (in, out), the LSTM has one bias, the GRU's gates are z r h."""
        made = []
        for name, _, _ in work.layers:
            w = {key.partition(".")[2]: array for key, array in self.weights.items() if key.startswith(f"{name}.")}
            kind = name.partition("_")[0]
            if kind == "embedding":
                made.append(w["W"])
            elif kind in ("dense", "conv1d"):
                made += [w["W"].T, w["b"]]
            else:
                for end in ("", "_reverse")[:1 + work.bidirectional]:
                    parts = [w[f"{part}{end}"].T for part in ("W_ih", "W_hh", "b_ih", "b_hh")]
                    if kind == "gru":
                        r_z_n = [np.split(part, 3, axis=-1) for part in parts]
                        *parts, b_ih, b_hh = (np.concatenate([z, r, n], axis=-1) for r, z, n in r_z_n)
                        made += [*parts, np.stack([b_ih, b_hh])]
                    else:
                        made += [*parts[:2], parts[2] + parts[3]]
        return made

    def build(self, work: Work, X: np.ndarray, y: np.ndarray, weights: dict) -> dict:
        tf, self.weights = self.tf, weights
        several = work.loss == "categorical_crossentropy"
        n = len(X) // work.batch
        self.X = tf.unstack(tf.reshape(tf.constant(X), (n, work.batch, *X.shape[1:])))
        self.y = tf.unstack(tf.reshape(tf.constant(y.astype(np.int64) if several else y), (n, work.batch)))
        if not several:
            self.y = [y[:, None] for y in self.y]
        losses = self.keras.losses
        self.loss = {"squared_error": losses.MeanSquaredError(), "binary_crossentropy": losses.BinaryCrossentropy(True),
                     "categorical_crossentropy": losses.SparseCategoricalCrossentropy(True)}[work.loss]
        self.make = lambda option: self._training(work, **option)
        self._start(self._fastest(work))
        return {"how": ", ".join(f"{key} {value}" for key, value in self.option.items())}

    def _training(self, work: Work, jit: bool, unroll: bool):
        """A function that trains a fresh model for one step."""
        tf, model = self.tf, self._model(work, unroll, work.batch)
        optimizer = self.keras.optimizers.Adam(1e-3, epsilon=1e-8)
        optimizer.build(model.trainable_variables)

        @tf.function(jit_compile=jit)
        def step(x, y):
            with tf.GradientTape() as tape:
                loss = self.loss(y, model(x, training=True))
            optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
            return loss

        return step

    def _fastest(self, work: Work) -> dict:
        """The option whose step takes least, with everything compiled."""
        found = []
        for option in self._options(work):
            step = self.make(option)
            step(self.X[0], self.y[0])
            found.append((timed_calls(lambda step=step: step(self.X[0], self.y[0]).numpy(), 0.3), option))
        return min(found, key=lambda pair: pair[0])[1]

    def _start(self, option: dict) -> None:
        self.option, self.step = option, self.make(option)

    def curve(self, n: int) -> list[float]:
        losses = [float(self.step(self.X[0], self.y[0])) for _ in range(n)]
        self._start(self.option)
        self.step(self.X[0], self.y[0])  # compiled before anything is timed
        return losses

    def epoch(self) -> float:
        for _ in range(2):  # the first one warms up
            started = time.perf_counter()
            for x, y in zip(self.X, self.y):
                loss = self.step(x, y)
            loss.numpy()
        return (time.perf_counter() - started) / len(self.X)

    def prepare(self, work: Work, X: np.ndarray, weights: dict) -> np.ndarray:
        tf, self.weights, found = self.tf, weights, []
        x = tf.constant(X)
        for option in self._options(work):
            model = self._model(work, option["unroll"], len(X))
            call = tf.function(lambda x, model=model: model(x, training=False), jit_compile=option["jit"])
            call(x)
            found.append((timed_calls(lambda call=call: call(x).numpy(), 0.1), call))
        call = min(found, key=lambda pair: pair[0])[1]
        self.call = lambda: call(x).numpy()
        out = call(x)
        if work.is_classification:
            out = tf.sigmoid(out) if work.outputs == 1 else tf.nn.softmax(out)
        return out.numpy()

    def infer(self, seconds: float) -> float:
        return timed_calls(self.call, seconds)
