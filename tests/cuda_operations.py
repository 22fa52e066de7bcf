"""One batch on the NumPy backend and on the (simulated) card, for operations by themselves."""

from __future__ import annotations

from types import SimpleNamespace

import cudasim
import numpy as np
from gradcheck import KEY, make_engine

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.executor import _replay, take_turn
from tsrnn.backends.cuda.graph import Replay
from tsrnn.backends.cuda.jit import THREADS
from tsrnn.backends.cuda.place import CARD
from tsrnn.backends.cuda.recorder import Recorder, Turn
from tsrnn.backends.numpy.executor import Chunk
from tsrnn.backends.solvers import N_HYPER, NO_SOLVER

ORDERS = (cudasim.FIRST_TO_LAST, cudasim.LAST_TO_FIRST)


def host(array):
    """The values of an array of the card."""
    return array.copy_to_host()


def pair(network, data, dtype, order=None, mode=c.TRAIN, steps=None, masked=False, seed=0):
    """The same plan, samples and memory, which is random: a `Chunk`, a `Recorder`, and the plan's rows by operation."""
    order = np.arange(len(data.starts))[::-1].copy() if order is None else np.asarray(order)
    B, rng = len(order), np.random.default_rng(seed)
    lowered = network.lower(steps or network.input_shape[0], dtype, train=mode == c.TRAIN, masked=masked or network.mask_zero)
    theta = make_engine(network, dtype).theta
    params = c.Params(theta, np.zeros(1, dtype), rng.normal(size=(1, network.n_dense)).astype(dtype))
    scratch = c.Scratch(rng.normal(size=lowered.mem * B).astype(dtype),
                        np.full(lowered.indices * B + lowered.numbering, 77, np.int32),
                        np.full(max(1, lowered.mask * B), 7, np.uint8))
    sums = c.Sums(np.zeros((1, 2)), np.zeros(max(1, lowered.tokens * B), dtype), np.zeros(lowered.steps * B, np.int32))
    chunk = Chunk(0, lowered.plan, data, c.Batch(order, B, KEY), params, scratch, sums)
    chunk.grads = params.grads[0]
    turn = Turn(B, 1)
    CARD.put(order, turn.order)
    CARD.put(np.array([[0, B]]), turn.bounds)
    CARD.put(KEY[None], turn.keys)
    there = CARD.scratch(scratch.mem.size, scratch.indices.size, scratch.mask.size, dtype)
    for array, copy in zip(scratch, there):
        CARD.put(array, copy)
    recorder = Recorder(lowered.plan, B, mode, CARD.put_data(data), c.Params(*map(CARD.put, params)), there, turn)
    recorder.launch(take_turn(recorder.dtype), 1, THREADS, turn.clock, turn.bounds, turn.order, recorder.data.totals,
                    turn.hyper, turn.keys, recorder.samples, recorder.total, recorder.hyper, recorder.key)
    rows = SimpleNamespace(**{name: next((row for row in lowered.plan.rows if row[c.OP] == getattr(c, name)), None)
                              for name in ("INPUT", "IDS", "EMBEDDING", "RECURRENT", "LOSS")})
    return chunk, recorder, rows


def updates(network, theta, solver=NO_SOLVER, n_moments=2, frozen=(), seed=3):
    """The end of a step for both: random moments (v is never negative)."""
    table = network.embedding if network.n_trained > network.n_dense else None
    place = (network.n_dense, table.vocabulary_size, table.embedding_dim) if table else (0, 0, 0)
    moments = np.random.default_rng(seed).uniform(0, 1, (n_moments, network.n_trained)).astype(theta.dtype)
    frozen = np.array([[span.start, span.stop] for span in network.frozen] + list(frozen), np.int64).reshape(-1, 2)
    ours = c.Update(solver, np.full(network.n_trained, np.nan, theta.dtype), moments, network.penalised, frozen,
                    np.array(place, np.int64), np.zeros((1, 2)))
    return ours, ours._replace(gradient=CARD.put(ours.gradient), moments=CARD.put(moments))


def set_hyper(recorder, **values):
    """Constants of the step by their names in `solvers`; returns them, (N_HYPER,)."""
    from tsrnn.backends import solvers

    hyper = np.zeros((1, N_HYPER))
    for name, value in values.items():
        hyper[0, getattr(solvers, name)] = value
    CARD.put(hyper, recorder.turn.hyper)
    return hyper[0]


def replay(recorder, order=cudasim.FIRST_TO_LAST):
    """Runs what has been recorded, with the threads of a block in this order."""
    recorder.replay = Replay(recorder.launches)  # there may be more of them than the last time
    cudasim.order = order
    try:
        _replay(recorder)
    finally:
        cudasim.order = cudasim.FIRST_TO_LAST
