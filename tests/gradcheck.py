"""Central differences for whole networks and for single layers with states, and the small data they run on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tsrnn import backends
from tsrnn.backends import contract as c
from tsrnn.backends.solvers import N_HYPER, NO_SOLVER
from tsrnn.engine import Engine
from tsrnn.layers.base import Builder, Value
from tsrnn.layers.recurrent import lower_directions
from tsrnn.network import Network
from tsrnn.parallel import Team

KEY = c.random_key(7, 3)
STEP = 1e-5  # of central differences: truncation and rounding are both near 1e-10


def make_data(network, n=5, steps=6, lengths=None, seed=0, dtype=np.float64, weights=None, padding=None):
    """Random samples that fit `network`'s input and loss.

    `lengths`: real steps of each sample, garbage lies behind them.  `padding`: leading zeros of each sample of ids.
    """
    rng = np.random.default_rng(seed)
    lengths = np.full(n, steps) if lengths is None else np.asarray(lengths)
    n = len(lengths)
    out = network.output_shape(steps)
    out_steps, K = (1, out[0]) if len(out) == 1 else out
    targets, count = _targets(network, rng, n * out_steps, K)
    if weights is None:
        weights = rng.uniform(0.5, 2, (n, out_steps))
    # behind pooling fewer steps are real than this says: totals only scale the mean loss, its gradient is right all the same
    real = np.arange(out_steps) < (lengths[:, None] if out_steps > 1 else 1)
    if network.is_ids:
        ids = rng.integers(0, network.layers[0].vocabulary_size, (n, steps)).astype(np.int32)
        if padding is not None:
            ids[np.arange(steps) < np.asarray(padding)[:, None]] = 0
        if network.mask_zero and out_steps == steps:
            real = real & (ids != 0)
        ids, values, size = ids.ravel(), np.zeros(1), 1
    else:
        size = network.input_shape[1]
        ids, values = np.zeros(1, np.int32), rng.normal(size=n * steps * size)
    return c.Data(values.astype(dtype), ids, np.arange(n) * steps * size, lengths.astype(np.int64), targets.astype(dtype),
                  np.arange(n) * out_steps * count, weights.astype(dtype), (weights * real).sum(axis=1).astype(np.float64))


def _targets(network, rng, n, K):
    """Targets of n samples or steps, flat, and how many belong to each."""
    code = network.loss.code
    if code == c.SOFTMAX_CE:
        return rng.integers(0, K, n), 1
    if code == c.SIGMOID_CE:
        return rng.integers(0, 2, n * K), K
    if code == c.POISSON:
        return rng.poisson(2, n * K), K
    count = K // len(network.loss_params) if code == c.QUANTILE else K
    return rng.normal(size=n * count), count


def make_engine(network, dtype=np.float64, seed=0, scale=1.0, team=None):
    """The network with parameters at which nothing is near zero or symmetric."""
    rng = np.random.default_rng(seed)
    theta = network.init(rng, np.float64) + rng.normal(scale=0.1 * scale, size=network.n_params)
    return Engine(network, theta.astype(dtype), team or Team(1))


def analytic(engine, data, order=None, key=KEY):
    """Mean loss and its gradient."""
    gradient = np.full(engine.network.n_params, np.nan, engine.dtype)
    order = np.arange(len(data.starts)) if order is None else order
    engine.refresh()
    loss, _ = engine.gradient(data, order, key, gradient)
    return loss / data.totals[order].sum(), gradient


def central_difference(loss, array, direction):
    """Derivative of ``loss()`` at the flat `array` along `direction`: an index, or a vector."""
    saved = array.copy()
    array[direction if np.ndim(direction) == 0 else slice(None)] += STEP * (1 if np.ndim(direction) == 0 else direction)
    above = loss()
    array[:] = 2 * saved - array
    below = loss()
    array[:] = saved
    return (above - below) / (2 * STEP)


def compare(loss, array, gradient, name, floor=0.0, tolerance=1e-6, entries=None, rng=None):
    """Asserts that `gradient` is that of ``loss()`` with respect to the flat `array`; returns the relative error.

    All entries are compared, or `entries` random ones and a random direction, which no wrong entry can hide from.  Errors are
    relative to the array's largest gradient, or to `floor` where that is larger.
    """
    rng = rng or np.random.default_rng(0)
    if entries is None or array.size <= entries:
        chosen = np.arange(array.size)
    else:
        chosen = rng.choice(array.size, entries, replace=False)
    wrong = max(abs(central_difference(loss, array, i) - gradient[i]) for i in chosen)
    if len(chosen) < array.size:
        direction = rng.choice([-1.0, 1.0], array.size)
        wrong = max(wrong, abs(central_difference(loss, array, direction) - gradient @ direction))
    error = wrong / max(np.abs(gradient).max(), floor, 1e-12)
    assert error <= tolerance, f"{name}: relative error {error:.2e}"
    return error


def check_gradients(layers, input_shape=(6, 3), loss="squared_error", loss_params=(1.0,), backend="numpy", tolerance=1e-6,
                    entries=None, **data_options):
    """Every parameter's gradient against central differences in float64; see `compare`.

    Where an array's gradients are small beside the network's largest, they are held to 1e-3 of that.
    """
    network = Network(layers, input_shape, loss, loss_params, backend=backend)
    engine = make_engine(network)
    data = make_data(network, steps=data_options.pop("steps", input_shape[0]), **data_options)
    _, gradient = analytic(engine, data)
    assert np.isfinite(gradient).all(), "the gradient is not finite, or not all of it was written"
    assert gradient.any(), "the gradient is zero everywhere"
    floor, rng = 1e-3 * np.abs(gradient).max(), np.random.default_rng(1)
    for spec in network.specs:
        part = slice(spec.offset, spec.offset + spec.param.size)
        compare(lambda: analytic(engine, data)[0], engine.theta[part], gradient[part], f"{loss}, {spec.name}", floor, tolerance,
                entries, rng)
    return engine, data, gradient


@dataclass
class LayerRun:
    """One recurrent layer alone, from given states, under the mean squared error of its outputs against random targets."""

    layer: object
    x: np.ndarray                     # (n, T, F)
    theta: np.ndarray                 # one direction's parameters after the other
    h0: np.ndarray                    # (directions, n, H)
    c0: np.ndarray                    # (directions, n, H); unused without a cell state
    lengths: np.ndarray | None = None
    directions: tuple = (False,)
    backend: str = "numpy"

    def __post_init__(self):
        n, T, F = self.x.shape
        H = self.layer.units * len(self.directions)
        builder = Builder(train=True, masked=self.lengths is not None, offsets=[0])
        value = Value((T, F), mask=c.NONE if self.lengths is None else builder.mask_buffer(T))
        self.value = builder.output(value, value.shape)
        out = lower_directions(self.layer, builder, self.value, self.directions, ld=H, keep_state=True)[0][0]
        builder.row(c.LOSS, out, out, CODE=c.SQUARED, MASK_OUT=c.NONE)
        self.builder, self.rows, self.out = builder, np.array(builder.rows), out
        self.run = backends.get(self.backend)
        packed = np.zeros(self.run.assign_pack(self.rows, 8))
        kernels = self.run.kernels(self.rows, np.dtype(np.float64), True)
        self.plan = c.Plan(self.rows, np.array(builder.rates), np.ones(1), kernels)
        self.params = c.Params(self.theta, packed, np.zeros((1, self.theta.size)))
        self.scratch = c.Scratch(np.zeros(builder.mem * n), np.zeros(1, np.int32), np.zeros(max(1, builder.mask * n), np.uint8))
        lengths = np.full(n, T) if self.lengths is None else np.asarray(self.lengths)
        size = out.steps * H
        targets = np.random.default_rng(5).normal(size=n * size)
        self.data = c.Data(np.zeros(1), np.zeros(1, np.int32), np.zeros(n, np.int64), lengths, targets, np.arange(n) * size,
                           np.ones((n, 1)), np.ones(n))

    def state(self, d, column):
        """Rows of the states of direction d: (T + 2, n, H)."""
        row, n, H = self.rows[d], len(self.x), self.layer.units
        ld, col = (row[c.LD], row[c.COL]) if column == c.H_SEQ else (H, 0)
        full = self.scratch.mem[row[column] * n:][:(self.x.shape[1] + 2) * n * ld]
        return full.reshape(-1, n, ld)[:, :, col:col + H]

    def loss(self, mode=c.TRAIN):
        """The loss; afterwards `gradient` has everybody's gradient."""
        n, T, F = self.x.shape
        self.run.pack(self.plan, self.theta, self.params.packed)
        self.scratch.mem[self.value.y * n:][:T * n * F] = self.x.transpose(1, 0, 2).ravel()
        if self.lengths is not None:
            self.scratch.mask[:T * n] = (np.arange(T)[:, None] < self.lengths).ravel()
        for d, reverse in enumerate(self.directions):
            first = T + 1 if reverse else 0
            self.state(d, c.H_SEQ)[first] = self.h0[d]
            if self.rows[d][c.C_SEQ] != c.NONE:
                self.state(d, c.C_SEQ)[first] = self.c0[d]
        sums = c.Sums(np.zeros((1, 2)), np.zeros(1))
        self.outputs = np.zeros((n, self.out.steps * self.out.features))
        if mode == c.TRAIN:
            order, nothing = np.arange(n), np.zeros((0, 2), np.int64)
            steps = c.Steps(order, np.array([[0, n]]), np.array([n]), KEY[None], np.zeros((1, N_HYPER)), np.zeros((1, 3)))
            update = c.Update(NO_SOLVER, np.zeros_like(self.theta), np.zeros((1, 0)), nothing, nothing, np.zeros(3, np.int64),
                              np.zeros((c.n_blocks(self.theta.size, 0, 0), 2)))
            meeting = np.zeros(c.MEETING_WORDS, np.int64)
            meeting[c.N_THREADS] = 1
            self.run.train(self.plan, self.data, steps, self.params, self.scratch, sums, update, meeting, 0)
            assert meeting[c.DONE] == 1
        else:
            self.run.run(mode, self.plan, self.data, c.Batch(np.arange(n), n, KEY), self.params, self.scratch, sums,
                         self.outputs, 0, 1, 1)
        return sums.loss[0, 0] / n

    def gradient(self):
        """Gradients of theta, x, h0, c0 (None without a cell state); copies, flat."""
        self.loss()
        n, T, F = self.x.shape
        mem, H = self.scratch.mem, self.layer.units
        dx = mem[self.value.dy * n:][:T * n * F].reshape(T, n, F).transpose(1, 0, 2)
        h0, c0 = ([mem[row[column] * n:][:n * H] for row in self.rows[:-1] if row[column] != c.NONE]
                  for column in (c.DH, c.DC))
        return self.params.grads[0].copy(), dx.ravel(), np.concatenate(h0), np.concatenate(c0) if c0 else None


def make_layer_run(layer, backend, n=4, steps=5, features=3, seed=0, directions=(False,), lengths=None):
    """A `LayerRun` with random everything."""
    rng = np.random.default_rng(seed)
    size = sum(p.size for p in layer.direction_params((steps, features)))
    states = rng.normal(size=(2, len(directions), n, layer.units))
    return LayerRun(layer, rng.normal(size=(n, steps, features)), rng.normal(scale=0.5, size=size * len(directions)), *states,
                    lengths=lengths, directions=directions, backend=backend)


def check_layer_gradients(run, tolerance=1e-6):
    """Gradients with respect to parameters, input and initial states against central differences."""
    for name, array, gradient in zip(("theta", "x", "h0", "c0"), (run.theta, run.x, run.h0, run.c0), run.gradient()):
        if gradient is not None:
            assert gradient.any(), f"the gradient of {name} is zero everywhere"
            compare(run.loss, array.reshape(-1), gradient, name, tolerance=tolerance)
