"""Predictions, call after call: what a network needs for one is kept ready for the next.

One window takes less time in the kernels than it takes to make an engine, with memory to be cleared, weights to be packed, a
thread to be started.  So engines wait on a shelf for the next call of their predictor; the shelves belong to the process, and
their places are few: what a thousand fitted networks keep is bounded.  Any number of threads may call one predictor at once:
one finds the engine on the shelf, the others make engines of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tsrnn.engine import Engine, Samples, threads_for
from tsrnn.network import Network
from tsrnn.parallel import Team

_numbers = itertools.count()
_alone = Team(1)  # it has no threads, so all may share it
_spare: dict[str, Team] = {}  # one at most: its threads sleep until the next large prediction


class Shelf:
    """Engines that wait to be used again; those used last stay.

    Parameters
    ----------
    places : int
        Engines that it holds.
    most_bytes : int
        Memory that an engine of this shelf may have.

    Notes
    -----
    A dict's `pop` and assignment are atomic, and its order is that of use; that is all that threads need here.
    """

    def __init__(self, places: int, most_bytes: int):
        self.places, self.most_bytes = places, most_bytes
        self.engines: dict[int, Engine] = {}

    def put(self, number: int, engine: Engine) -> None:
        """Lays the engine of predictor `number` down; the one that was used least lately goes where there is no place."""
        self.engines[number] = engine
        while len(self.engines) > self.places:
            try:
                self.engines.pop(next(iter(self.engines)), None)
            except (StopIteration, RuntimeError):  # another thread has changed the order meanwhile
                continue


# At most 128 MiB in all.  One window takes 0.3 MiB (60 steps, 64 units), a batch of them 3 MiB, one of 128 texts 29 MiB (200
# words, 64 units each way, two threads).
SHELVES = (Shelf(places=16, most_bytes=4 << 20), Shelf(places=1, most_bytes=64 << 20))


class Predictor:
    """A network with weights that stay as they are.

    Parameters
    ----------
    network : Network
        Of any backend; each call may name another one.
    theta : array of shape (n_params,)
        Not to be changed as long as the predictor is used: the engines on the shelf have packed it.
    """

    def __init__(self, network: Network, theta: np.ndarray):
        self.network, self.theta, self._number = network, theta, next(_numbers)

    def __call__(self, samples: Samples, n_jobs: int | None = None, backend: str | None = None) -> np.ndarray:
        """Logits of all samples, (n, T_out * K); those behind the end of a ragged sample mean nothing."""
        network = self.network if backend is None else self.network.on(backend)
        engine = self._engine(network)
        n_threads = threads_for(network, samples, self.theta.dtype, n_jobs)
        if n_threads == 1:
            engine.team = _alone
            out = engine.predict(samples)
        else:
            with spare_team(n_threads) as engine.team:
                out = engine.predict(samples)
        engine.forget()
        for shelf in SHELVES:
            if engine.nbytes <= shelf.most_bytes:
                shelf.put(self._number, engine)
                break
        return out

    def _engine(self, network: Network) -> Engine:
        for shelf in SHELVES:
            engine = shelf.engines.pop(self._number, None)
            if engine is not None and engine.network is network:
                return engine
        return Engine(network, self.theta, _alone)

    def __del__(self, shelves=SHELVES) -> None:
        for shelf in shelves:
            shelf.engines.pop(self._number, None)


@contextmanager
def spare_team(n_threads: int) -> Iterator[Team]:
    """A team whose threads sleep until somebody needs as many again; whoever comes while it is away gets another one."""
    team = _spare.pop("team", None)
    if team is None or team.n_threads != n_threads:
        if team is not None:
            team.close()
        team = Team(n_threads)
    try:
        yield team
    except BaseException:
        team.close()
        raise
    if _spare.setdefault("team", team) is not team:
        team.close()
