"""Outputs, all gradients and training curves against PyTorch in float64; skipped where PyTorch is not installed."""

import numpy as np
import pytest
from gradcheck import make_data, make_engine, make_layer_run
from networks import CELL_IDS, CELLS, LENGTHS, LOSSES, recurrent

from tsrnn.layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    AveragePooling1D,
    Bidirectional,
    Conv1D,
    Dense,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    MaxPooling1D,
    Reshape,
    TimeDistributed,
)
from tsrnn.network import Network
from tsrnn.training import Settings, State, fit_network

torch = pytest.importorskip("torch")
F = torch.nn.functional
pack_padded_sequence, pad_packed_sequence = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence

PER_CELL = pytest.mark.parametrize("cell, options", CELLS, ids=CELL_IDS)
BACKENDS = pytest.mark.parametrize("backend", ["cpu", "numpy"])
EVERY_LOSS = pytest.mark.parametrize("loss, params, outputs", LOSSES, ids=[case[0] for case in LOSSES])
TORCH_NAMES = {"W_ih": "weight_ih_l0", "W_hh": "weight_hh_l0", "b_ih": "bias_ih_l0", "b_hh": "bias_hh_l0"}
ACTIVATIONS = {"linear": lambda x: x, "tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}


def torch_recurrent(layer, features, bidirectional=False):
    """PyTorch's module for one of our layers."""
    options = {"nonlinearity": layer.activation} if isinstance(layer, RNN) else {}
    return getattr(torch.nn, type(layer).__name__)(features, layer.units, batch_first=True, bidirectional=bidirectional,
                                                   dtype=torch.float64, **options)


def torch_name(name):
    base, reverse, _ = name.partition("_reverse")
    return TORCH_NAMES[base] + reverse


class Torch:
    """The same network in PyTorch, from the same weights, walking the same list of layers."""

    def __init__(self, network, theta):
        self.network, self.counts, self.modules = network, {}, {}
        self.params = {name: torch.tensor(view.copy(), requires_grad=True) for name, view in network.views(theta).items()}

    def take(self, kind):
        """Parameters of the next layer of a kind, by their short names."""
        self.counts[kind] = self.counts.get(kind, -1) + 1
        prefix = f"{kind}_{self.counts[kind]}."
        return {name.removeprefix(prefix): value for name, value in self.params.items() if name.startswith(prefix)}

    def __call__(self, x, lengths=None):
        self.counts = {}
        for layer in self.network.layers:
            x, lengths = self.forward(layer, x, lengths)
        return x

    def recurrent(self, layer, x, lengths, bidirectional):
        params = {torch_name(name): value for name, value in self.take(layer.cell).items()}
        module = torch_recurrent(layer, x.shape[-1], bidirectional)
        n, T = x.shape[:2]
        if lengths is not None:
            x = pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        y, state = torch.func.functional_call(module, params, (x,))
        if lengths is not None:
            y, _ = pad_packed_sequence(y, batch_first=True, total_length=T)
        h = state[0] if isinstance(state, tuple) else state
        return y if layer.return_sequences else h.transpose(0, 1).reshape(n, -1)

    def forward(self, layer, x, lengths):
        kind = type(layer).__name__
        if kind in ("LSTM", "GRU", "RNN"):
            return self.recurrent(layer, x, lengths, False), lengths if layer.return_sequences else None
        if kind == "Bidirectional":
            y = self.recurrent(layer.layer, x, lengths, True)
            a, b = y.chunk(2, dim=-1)
            y = {"concat": y, "sum": a + b, "mul": a * b, "ave": (a + b) / 2}[layer.merge]
            return y, lengths if layer.layer.return_sequences else None
        if kind == "Embedding":
            return F.embedding(x, self.take("embedding")["W"]), lengths
        if kind == "Dense":
            params = self.take("dense")
            return ACTIVATIONS[layer.activation](F.linear(x, params["W"], params["b"])), lengths
        if kind == "Conv1D":
            params, K = self.take("conv1d"), layer.kernel_size
            channels_first = x.transpose(1, 2)
            if layer.padding == "same":
                channels_first = F.pad(channels_first, ((K - 1) // 2, K // 2))
            y = F.conv1d(channels_first, params["W"], params["b"]).transpose(1, 2)
            return ACTIVATIONS[layer.activation](y), lengths
        return self.shapes(kind, layer, x, lengths), lengths

    def shapes(self, kind, layer, x, lengths):
        """Layers without parameters of their own."""
        if kind in ("MaxPooling1D", "AveragePooling1D"):
            pool = F.max_pool1d if kind.startswith("Max") else F.avg_pool1d
            return pool(x.transpose(1, 2), layer.pool_size).transpose(1, 2)
        if kind == "GlobalMaxPooling1D":
            return x.max(dim=1).values
        if kind == "GlobalAveragePooling1D":
            return x.mean(dim=1)
        if kind == "Activation":
            return ACTIVATIONS[layer.name](x)
        if kind == "Flatten":
            return x.flatten(1)
        if kind == "Reshape":
            return x.reshape(len(x), *layer.shape)
        assert kind == "TimeDistributed" and lengths is None, kind
        n, S = x.shape[:2]
        x = x.flatten(0, 1)
        for inner in layer.layers:
            x, _ = self.forward(inner, x, None)
        return x.unflatten(0, (n, S))


def torch_loss(network, outputs, targets):
    """Losses (n,) or (n, T), averaged over the outputs."""
    name, params = network.loss.name, network.loss_params
    if name == "categorical_crossentropy":
        return F.cross_entropy(outputs.movedim(-1, 1), targets[..., 0].long(), reduction="none")
    if name == "binary_crossentropy":
        return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none").mean(-1)
    if name == "poisson":
        return F.poisson_nll_loss(outputs, targets, log_input=True, full=False, reduction="none").mean(-1)
    if name == "squared_error":
        return F.mse_loss(outputs, targets, reduction="none").mean(-1)
    if name == "absolute_error":
        return F.l1_loss(outputs, targets, reduction="none").mean(-1)
    if name == "huber":
        return F.huber_loss(outputs, targets, reduction="none", delta=params[0]).mean(-1)
    d = targets.repeat_interleave(len(params), dim=-1) - outputs
    q = torch.tensor(params, dtype=torch.float64).repeat(targets.shape[-1])
    return torch.maximum(q * d, (q - 1) * d).mean(-1)


def torch_data(network, data, steps):
    """Inputs, targets (n[, T], k), weights times mask (n[, T])."""
    n = len(data.starts)
    out = network.output_shape(steps)
    x = data.ids.reshape(n, steps).astype(np.int64) if network.is_ids else data.values.reshape(n, steps, -1)
    targets = data.targets.reshape(n, *out[:-1], -1)
    real = np.arange(out[0]) < data.lengths[:, None] if len(out) == 2 else np.ones((n, 1))
    weights = (data.weights * real).reshape(n, *out[:-1])
    return torch.tensor(x), torch.tensor(targets), torch.tensor(weights)


def mean_loss(model, data, steps, lengths=None, rows=slice(None)):
    x, targets, weights = (tensor[rows] for tensor in torch_data(model.network, data, steps))
    outputs = model(x, lengths)
    return (torch_loss(model.network, outputs, targets) * weights).sum() / weights.sum(), outputs


def check(layers, shape, backend="cpu", loss="squared_error", params=(1.0,), lengths=None, n=5):
    """Outputs, loss and every gradient to 1e-10."""
    network = Network(layers, shape, loss, params, backend=backend)
    steps = shape[0]
    data = make_data(network, steps=steps, lengths=lengths, n=n)
    engine = make_engine(network)
    model = Torch(network, engine.theta)
    expected, outputs = mean_loss(model, data, steps, lengths)
    expected.backward()
    got = engine.predict(data).reshape(outputs.shape)
    outputs = outputs.detach().numpy()
    if lengths is not None and outputs.ndim == 3:
        got, outputs = (array[np.arange(steps) < np.asarray(lengths)[:, None]] for array in (got, outputs))
    np.testing.assert_allclose(got, outputs, rtol=1e-10, atol=1e-12)
    gradient = np.full(network.n_params, np.nan)
    total, _ = engine.gradient(data, np.arange(len(data.starts)), np.zeros(2, np.uint32), gradient)
    np.testing.assert_allclose(total / data.totals.sum(), expected.item(), rtol=1e-10)
    largest = np.abs(gradient).max()
    for name, view in network.views(gradient).items():
        np.testing.assert_allclose(view, model.params[name].grad.numpy(), rtol=1e-10, atol=1e-10 * largest, err_msg=name)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "packed"])
@pytest.mark.parametrize("sequences", [False, True], ids=["last", "steps"])
@pytest.mark.parametrize("direction", ["forward", "concat", "sum", "mul", "ave"])
@PER_CELL
def test_cells(cell, options, direction, sequences, lengths):
    for backend in ("cpu", "numpy"):
        layers = [Dense(4, "tanh"), recurrent(cell, options, direction, sequences, units=5), Dense(2)]
        check(layers, (6, 3), backend, lengths=lengths)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "packed"])
@BACKENDS
def test_stacked(backend, lengths):
    layers = [LSTM(7, return_sequences=True), Bidirectional(GRU(4, return_sequences=True)), RNN(5, return_sequences=True),
              Bidirectional(LSTM(3)), Dense(2)]
    check(layers, (6, 3), backend, lengths=lengths)


@pytest.mark.parametrize("sequences", [False, True], ids=["last", "steps"])
@EVERY_LOSS
def test_losses(loss, params, outputs, sequences):
    for backend in ("cpu", "numpy"):
        check([GRU(4, return_sequences=sequences), Dense(outputs)], (6, 3), backend, loss, params,
              lengths=LENGTHS if sequences else None)


FEED_FORWARD = {
    "conv same": [Conv1D(5, 3, activation="relu"), Conv1D(4, 4, activation="tanh"), LSTM(3), Dense(1)],
    "conv valid": [Conv1D(5, 4, "valid", "sigmoid"), Conv1D(3, 2, "valid"), Flatten(), Dense(1)],
    "max pooling": [Conv1D(5, 3), MaxPooling1D(2), GRU(3), Dense(1)],
    "average pooling": [Conv1D(5, 3), AveragePooling1D(3), GRU(3), Dense(1)],
    "global max": [LSTM(4, return_sequences=True), GlobalMaxPooling1D(), Dense(2)],
    "global mean": [LSTM(4, return_sequences=True), GlobalAveragePooling1D(), Dense(2)],
    "dense": [Dense(6, "tanh"), Dense(5, "relu"), Activation("sigmoid"), Flatten(), Dense(2)],
    "cnn-lstm": [Reshape((3, 4, 2)), TimeDistributed([Conv1D(4, 3, activation="relu"), MaxPooling1D(2), Flatten()]), LSTM(5),
                 Dense(1)],
}


@pytest.mark.parametrize("name", FEED_FORWARD)
@BACKENDS
def test_layers(name, backend):
    check(FEED_FORWARD[name], (8, 3), backend)


@BACKENDS
def test_embedding(backend):
    check([Embedding(4, 3), Bidirectional(LSTM(5)), Dense(2)], (6,), backend, n=21)  # every id many times


@BACKENDS
def test_more_than_one_chunk_at_sizes_between_the_tiles(backend):
    check([LSTM(33), Dense(17, "tanh"), Dense(3)], (4, 9), backend, n=37)


# -------------------------------------------------------------------------------------------------- states and input


@pytest.mark.parametrize("directions", [(False,), (False, True)], ids=["forward", "both"])
@PER_CELL
def test_initial_states(cell, options, directions):
    for backend in ("cpu", "numpy"):
        layer = recurrent(cell, options, units=5, sequences=True)
        run = make_layer_run(layer, backend, directions=directions)
        params, features = layer.direction_params(run.x.shape[1:]), run.x.shape[2]
        module, at = torch_recurrent(layer, features, len(directions) == 2), 0
        gradients = {}
        for suffix in ("", "_reverse")[:len(directions)]:
            for p in params:
                tensor = torch.tensor(p.public(run.theta, at).copy(), requires_grad=True)
                gradients[torch_name(p.name + suffix)] = tensor
                at += p.size
        x, h0, c0 = (torch.tensor(array.copy(), requires_grad=True) for array in (run.x, run.h0, run.c0))
        y, _ = torch.func.functional_call(module, gradients, (x, (h0, c0) if isinstance(layer, LSTM) else h0))
        targets = torch.tensor(run.data.targets).reshape(y.shape)
        loss = F.mse_loss(y, targets) * y.shape[1]  # every step counts by itself
        loss.backward()
        assert run.loss() == pytest.approx(loss.item(), rel=1e-12)
        theta, dx, dh, dc = run.gradient()
        expected = np.concatenate([tensor.grad.numpy().T.ravel() for tensor in gradients.values()])
        np.testing.assert_allclose(theta, expected, rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(dx, x.grad.numpy().ravel(), rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(dh, h0.grad.numpy().ravel(), rtol=1e-10, atol=1e-11)
        if dc is not None:
            np.testing.assert_allclose(dc, c0.grad.numpy().ravel(), rtol=1e-10, atol=1e-11)


@PER_CELL
def test_apply_is_pytorchs_layer(cell, options):
    layer = recurrent(cell, options, units=6)
    module = torch_recurrent(layer, 3)
    weights = {name: getattr(module, theirs).detach().numpy() for name, theirs in TORCH_NAMES.items()}
    rng = np.random.default_rng(0)
    x, h, cell_state = rng.normal(size=(4, 7, 3)), rng.normal(size=(4, 6)), rng.normal(size=(4, 6))
    state = (h, cell_state) if isinstance(layer, LSTM) else h
    theirs = tuple(torch.tensor(part)[None] for part in (h, cell_state))
    for lengths in (None, [7, 1, 4, 2]):
        y, after = layer.apply(weights, x, state, lengths)
        given = torch.tensor(x)
        if lengths is not None:
            given = pack_padded_sequence(given, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        expected, last = module(given, theirs if isinstance(layer, LSTM) else theirs[0])
        if lengths is None:
            np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-13)
        for ours, other in zip(after if isinstance(after, tuple) else (after,), last if isinstance(last, tuple) else (last,)):
            np.testing.assert_allclose(ours, other[0].detach().numpy(), rtol=1e-12, atol=1e-13)


# -------------------------------------------------------------------------------------------------- training


def torch_optimizer(params, settings):
    rate = settings.learning_rate_init
    betas = settings.beta_1, settings.beta_2
    return {
        "adam": lambda: torch.optim.Adam(params, rate, betas, settings.epsilon),
        "adamw": lambda: torch.optim.AdamW(params, rate, betas, settings.epsilon, weight_decay=settings.weight_decay),
        "rmsprop": lambda: torch.optim.RMSprop(params, rate, alpha=settings.beta_2, eps=settings.epsilon),
        "sgd": lambda: torch.optim.SGD(params, rate, momentum=settings.momentum, nesterov=settings.nesterovs_momentum),
    }[settings.solver]()


def torch_training(network, theta, data, settings, steps, n_epochs, lengths):
    """Loss curve and weights; clipping as we define it: by value, then to the norm exactly."""
    model = Torch(network, theta)
    optimizer = torch_optimizer(list(model.params.values()), settings)
    n, curve = len(data.starts), []
    for _ in range(n_epochs):
        total = weight = 0.0
        for first in range(0, n, settings.batch_size):
            rows = slice(first, min(first + settings.batch_size, n))
            batch_weight = data.totals[rows].sum()
            optimizer.zero_grad()
            loss, _ = mean_loss(model, data, steps, None if lengths is None else lengths[rows], rows)
            penalty = sum((value**2).sum() for name, value in model.params.items() if ".W" in name)
            loss = loss + settings.alpha / batch_weight * penalty / 2
            loss.backward()
            clip([value.grad for value in model.params.values()], settings)
            optimizer.step()
            total, weight = total + loss.item() * batch_weight, weight + batch_weight
        curve.append(total / weight)
    return curve, model


def clip(gradients, settings):
    if settings.clip_value:
        for gradient in gradients:
            gradient.clamp_(-settings.clip_value, settings.clip_value)
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
    if settings.clip_norm and norm > settings.clip_norm:
        for gradient in gradients:
            gradient.mul_(settings.clip_norm / norm)


SOLVERS = {
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
    "adamw": {"solver": "adamw", "learning_rate_init": 0.01, "weight_decay": 0.1},
    "rmsprop": {"solver": "rmsprop", "learning_rate_init": 0.01, "beta_2": 0.9},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0.0, "nesterovs_momentum": False},
    "momentum": {"solver": "sgd", "learning_rate_init": 0.1, "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.1},
}
CLIPPING = {"free": {"clip_norm": None}, "norm": {"clip_norm": 0.05}, "value": {"clip_norm": None, "clip_value": 0.01},
            "both": {"clip_norm": 0.05, "clip_value": 0.01}}


def train_both(layers, shape, options, loss="squared_error", params=(1.0,), n=20, lengths=None, n_epochs=10, backend="cpu"):
    steps = shape[0]
    network = Network(layers, shape, loss, params, backend=backend)
    data = make_data(network, n=n, steps=steps, lengths=lengths)
    settings = Settings(**{"batch_size": n, "shuffle": False, "n_jobs": 2, **options})
    state = State.create(network, 0, np.float64)
    expected, model = torch_training(network, state.theta.copy(), data, settings, steps, n_epochs, lengths)
    fit_network(network, state, data, None, settings, n_epochs, stop_early=False)
    assert len(expected) == n_epochs and expected[-1] < expected[0]
    np.testing.assert_allclose(state.history["loss"], expected, rtol=1e-8)
    for name, view in network.views(state.theta).items():
        np.testing.assert_allclose(view, model.params[name].detach().numpy(), rtol=1e-8, atol=1e-10, err_msg=name)
    return expected


@pytest.mark.parametrize("clipping", CLIPPING)
@pytest.mark.parametrize("solver", SOLVERS)
def test_ten_training_steps_give_the_same_curve(solver, clipping):
    layers = [Bidirectional(LSTM(6, return_sequences=True)), GRU(5), Dense(2)]
    curve = train_both(layers, (6, 3), {**SOLVERS[solver], **CLIPPING[clipping]})
    if clipping != "free":  # and clipping acts
        assert abs(curve[-1] - train_both(layers, (6, 3), {**SOLVERS[solver], "clip_norm": None})[-1]) > 1e-8


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
def test_batches_with_a_remainder_and_l2(backend):
    options = {**SOLVERS["adam"], "batch_size": 9, "alpha": 0.3}
    train_both([LSTM(5), Dense(1)], (6, 3), options, n=20, n_epochs=4, backend=backend)


def test_packed_sequences_train_alike():
    lengths = np.random.default_rng(0).integers(1, 7, 20)
    lengths[[0, 7, 14]] = 6  # every batch has a longest one: PyTorch's side pads to it
    for sequences in (False, True):
        layers = [Bidirectional(GRU(4, return_sequences=True)), LSTM(4, return_sequences=sequences), Dense(3)]
        options = {**SOLVERS["adam"], "batch_size": 7}
        train_both(layers, (6, 2), options, "categorical_crossentropy", lengths=lengths, n_epochs=4)


@EVERY_LOSS
def test_every_loss_trains_alike(loss, params, outputs):
    train_both([RNN(5), Dense(outputs)], (5, 2), SOLVERS["adam"], loss, params)


def test_a_cnn_lstm_and_an_embedding_train_alike():
    train_both(FEED_FORWARD["cnn-lstm"], (8, 3), SOLVERS["rmsprop"])
    train_both([Embedding(5, 4), LSTM(5), Dense(1)], (6,), SOLVERS["adam"], "binary_crossentropy", n=30)
