"""Gradients vanish many steps back (and what gates can do) or explode (and what clipping does): computed and plotted.

Left: d loss / d x_t of a loss on the last state, from the engine's own backward pass.  At their initial weights all three cells
forget; LSTM and GRU can keep: with 4 added to the bias of the gate that holds the state, much is left after 100 steps.
Right: a vanilla RNN, its recurrent weights half as large again, learns to recall its first input.
"""

import numpy as np
from matplotlib.figure import Figure

from tsrnn import RNNRegressor, engine, network, parallel
from tsrnn.backends.contract import random_key
from tsrnn.data import batches
from tsrnn.layers import GRU, LSTM, RNN, Dense, Embedding


def gradient_by_step(layer, steps, gate_bias=0, n=32, units=32):
    """Norm of d loss / d x_t over n samples, (steps,).  An embedding, one token for each sample and step, collects it."""
    rng = np.random.default_rng(0)
    net = network.Network([Embedding(n * steps, 8), layer(units), Dense(1)], (steps,))
    theta, gradient = net.init(rng, np.float32), np.zeros(net.n_params, np.float32)
    net.views(theta)["embedding_0.W"][:] = rng.normal(size=(n * steps, 8))
    net.views(theta)[f"{layer.cell}_0.b_ih"][units:2 * units] += gate_bias  # LSTM: forget gate, GRU: update gate
    tokens = batches.from_array(np.arange(n * steps, dtype=np.int32).reshape(n, steps, 1))
    data = batches.make_data(tokens, np.float32, targets=rng.normal(size=(n, 1)))
    with parallel.Team(1) as team:
        engine.Engine(net, theta, team).gradient(data, np.arange(n), random_key(0, 0), gradient)
    return np.linalg.norm(net.views(gradient)["embedding_0.W"].reshape(n, steps, 8).astype(float), axis=(0, 2))


def losses(clip_norm, updates, steps=30):
    """Loss before each update of the RNN by plain gradient descent."""
    X = np.random.default_rng(1).normal(0, 0.1, (64, steps, 1)).astype(np.float32)
    y = 10 * X[:, 0, 0]
    model = RNNRegressor(32, solver="sgd", momentum=0, learning_rate_init=0.03, clip_norm=1, random_state=0)
    weights = model.partial_fit(X, y).get_weights()
    model.set_weights({**weights, "rnn_0.W_hh": 1.5 * weights["rnn_0.W_hh"]}).set_params(clip_norm=clip_norm)
    return np.array([model.partial_fit(X, y).loss_ for _ in range(updates)])


def main(path="vanishing_gradient.png", steps=100, updates=200):
    cells = {"RNN": (RNN, 0), "LSTM": (LSTM, 0), "GRU": (GRU, 0), "LSTM, bias + 4": (LSTM, 4), "GRU, bias + 4": (GRU, 4)}
    norms = {name: gradient_by_step(layer, steps, bias) for name, (layer, bias) in cells.items()}
    curves = {f"clip_norm={clip}": losses(clip, updates) for clip in (None, 1.0)}
    left, right = (figure := Figure(figsize=(11, 4), layout="constrained")).subplots(1, 2)
    for name, norm in norms.items():
        left.semilogy(np.arange(steps)[::-1], norm / norm[-1], "--" if "+" in name else "-", label=name)
        print(f"{name:15} of the last step's gradient {norm[0] / norm[-1]:.1e} is left {steps - 1} steps back")
    for name, curve in curves.items():
        right.semilogy(curve, label=name)
        print(f"exploding RNN, {name}: loss {curve[0]:.2f} at first, {curve[-1]:.2f} after {updates} updates")
    left.set(xlabel="steps back from the loss", ylabel="gradient / gradient of the last step")
    right.set(xlabel="update", ylabel="loss (1: nothing is recalled)")
    left.legend(), right.legend()
    figure.savefig(path, dpi=120)
    return norms, curves


if __name__ == "__main__":
    main()
