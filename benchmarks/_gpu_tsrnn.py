"""This package on the card: the launches of a recorded batch, replayed; and the float64 reference, on the CPU."""

from __future__ import annotations

import numpy as np
from _gpu_works import GpuWork
from _imdb_peers import Tsrnn as ImdbOnCpu

from tsrnn import layers as L
from tsrnn import optimizers
from tsrnn.backends import contract as c
from tsrnn.backends.solvers import ADAM, NO_SOLVER
from tsrnn.engine import NO_KEY, Engine
from tsrnn.network import Network
from tsrnn.parallel import Team

STEPS = 512  # training steps that may be replayed between two calls of `begin`


def network(work: GpuWork, backend: str) -> Network:
    layer = {"lstm": L.LSTM, "gru": L.GRU}[work.cell](work.units)
    return Network([layer, L.Dense(1)], (work.steps, work.features), backend=backend)


def make_engine(work: GpuWork, backend: str, dtype, threads: int = 1) -> tuple[Engine, c.Data]:
    """The network with the work's weights, and its batch."""
    net = network(work, backend)
    theta = np.zeros(net.n_params, dtype)
    for name, view in net.views(theta).items():
        view[...] = work.weights()[name]
    x, y, lengths = work.data()
    n = np.arange(work.batch)
    data = c.Data(x.astype(dtype).ravel(), np.zeros(1, np.int32), n * work.steps * work.features, lengths, y.astype(dtype), n,
                  np.ones((work.batch, 1), dtype), np.ones(work.batch))
    return Engine(net, theta, Team(threads)), data


def reference(work: GpuWork, threads: int) -> dict[str, np.ndarray]:
    """Outputs and gradients in float64."""
    engine, data = make_engine(work, "cpu", np.float64, threads)
    with engine.team:
        gradient = np.zeros(engine.network.n_trained)
        engine.gradient(data, np.arange(work.batch), NO_KEY, gradient)
        return {"outputs": engine.predict(data)[:, 0], **engine.network.views(gradient)}


class Tsrnn:
    """Three recordings of one batch: forward with the loss, with the gradient, and with Adam's step."""

    def __init__(self, work: GpuWork):
        from tsrnn.backends.cuda.executor import record
        from tsrnn.backends.cuda.place import CARD
        from tsrnn.backends.cuda.recorder import Turn

        self.card, B, dtype = CARD, work.batch, np.dtype(np.float32)
        self.engine, data = make_engine(work, "cuda", dtype)
        net, engine = self.engine.network, self.engine
        lowered = net.lower(work.steps, dtype, train=True, masked=work.ragged)
        engine._room(lowered, B, engine.place.chunk_rows(B), train=True)
        self.turn, self.there = Turn(B, STEPS), engine.place.put_data(data)
        hyper = np.tile(optimizers.make_hyper(), (STEPS, 1))
        optimizers.start_steps(hyper, 1, 1e-3)
        # token ids would be sorted by the engine; the order of values means nothing
        for array, there in ((np.arange(B), self.turn.order[:B]), (np.tile([0, B], (STEPS, 1)), self.turn.bounds[:STEPS]),
                             (hyper, self.turn.hyper[:STEPS])):
            CARD.put(array, there)
        self.plain = engine.update(NO_SOLVER, np.zeros((1, 0), dtype))
        adam = engine.update(ADAM, np.zeros((2, net.n_trained), dtype))

        def recorded(mode, update):
            return record(lowered.plan, B, mode, self.there, engine._params, engine._scratch[0], update, self.turn)

        self.recorders = {"forward": recorded(c.EVALUATE, None), "gradient": recorded(c.TRAIN, self.plain),
                          "training step": recorded(c.TRAIN, adam)}
        self.phases = {name: recorder.replay for name, recorder in self.recorders.items()}

    @property
    def launches(self) -> dict[str, int]:
        return {name: len(recorder.launches) for name, recorder in self.recorders.items()}

    def begin(self) -> None:
        self.card.put(np.zeros(2, np.int64), self.turn.clock)

    def sync(self) -> None:
        from tsrnn.backends.cuda.jit import cuda

        cuda.synchronize()

    def results(self) -> dict[str, np.ndarray]:
        """Outputs and gradients from the weights as they are; before any step."""
        net, forward = self.engine.network, self.recorders["forward"]
        outputs, gradient = np.zeros(forward.out.shape, np.float32), np.zeros(net.n_trained, np.float32)
        for phase in ("forward", "gradient"):
            self.begin()
            self.phases[phase]()
        self.card.get(forward.out, outputs)
        self.card.get(self.plain.gradient, gradient)
        return {"outputs": outputs[:, 0], **net.views(gradient)}


class Imdb(ImdbOnCpu):
    """The tutorial's network as users fit it; seconds are those of the history, which `fit` gives as well."""

    def __init__(self, cell: str, seed: int, device: str = "cuda"):
        super().__init__(cell, seed, 1, 1)
        self.model.set_params(device=device)

    def epoch(self, X: np.ndarray, y: np.ndarray) -> float:
        super().epoch(X, y)
        return self.model.history_["seconds"][-1]
