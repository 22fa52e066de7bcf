"""What `bench_gpu.py` measures: one recurrent layer and a Dense on its last state, their data, and what that takes at least."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

GATES = {"lstm": 4, "gru": 3}
PHASES = ("forward", "gradient", "training step")  # each holds the one before it


@dataclass(frozen=True)
class GpuWork:
    """A batch (B, T, F) for a layer of H units, squared error; ragged: real steps from T / 4 to T, the longest has T."""

    cell: str
    units: int
    batch: int
    steps: int
    features: int = 64
    ragged: bool = False

    @property
    def name(self) -> str:
        return f"{self.cell} H {self.units} B {self.batch} T {self.steps}{' ragged' if self.ragged else ''}"

    def data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x (B, T, F) and y (B,) float32, lengths (B,) int64; garbage behind the end of a sample."""
        return _data(self)

    def weights(self) -> dict[str, np.ndarray]:
        """PyTorch's layout under this package's names; uniform as PyTorch draws them, all biases too."""
        rng, rows, limit = np.random.default_rng(1), GATES[self.cell] * self.units, self.units ** -0.5
        layer = f"{self.cell}_0"
        shapes = {f"{layer}.W_ih": (rows, self.features), f"{layer}.W_hh": (rows, self.units), f"{layer}.b_ih": (rows,),
                  f"{layer}.b_hh": (rows,), "dense_0.W": (1, self.units), "dense_0.b": (1,)}
        return {name: rng.uniform(-limit, limit, shape).astype(np.float32) for name, shape in shapes.items()}

    def least(self, phase: str) -> tuple[float, float]:
        """Floating-point operations of the products of the real steps, and bytes that have to be moved, float32.

        Nobody asks for the gradient of x. The gates of all steps are written once and read once, x and h are read by the
        forward pass and by the gradients of the weights; weights, their gradients and moments once a step. Gradients of gates
        never leave the chip: what does not manage that has more to move.
        """
        rows, real = GATES[self.cell] * self.units, int(self.data()[2].sum())
        size = rows * (self.features + self.units + 2)
        operations = 2 * real * rows * (self.features + self.units)
        moved = real * (self.features + self.units + rows) + size
        if phase != "forward":
            operations += 2 * real * rows * (self.features + 2 * self.units)
            moved += real * (self.features + self.units + rows) + 2 * size
        return float(operations), 4.0 * (moved + (6 * size if phase == "training step" else 0))


@functools.lru_cache(maxsize=1)  # all contenders of a work read the same
def _data(work: GpuWork):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(work.batch, work.steps, work.features)).astype(np.float32)
    lengths = np.full(work.batch, work.steps)
    if work.ragged:
        lengths = rng.integers(max(1, work.steps // 4), work.steps + 1, work.batch)
        lengths[0] = work.steps
    return x, rng.normal(size=work.batch).astype(np.float32), lengths


def works(cells, units, batches, steps, features: int, kinds) -> list[GpuWork]:
    """All of them, the short ones first: who ends early has whole columns of a table."""
    return [GpuWork(cell, H, B, T, features, kind == "ragged")
            for T in steps for B in batches for kind in kinds for cell in cells for H in units]


def synthetic_reviews(n: int, steps: int = 200, vocabulary: int = 10_000,
                      padding: float = 0.195) -> tuple[np.ndarray, np.ndarray]:
    """Ids X (n, steps) int32 and y (n,): words by Zipf's law as in the reviews, `padding` of all places zeros in front."""
    rng = np.random.default_rng(0)
    rank = np.arange(1, vocabulary)
    p = (rank + 2.7) ** -1.15
    X = rng.choice(rank, (n, steps), p=p / p.sum()).astype(np.int32)
    short = rng.random(n) < 2 * padding  # those are padded by anything up to their length: half of it on average
    X[np.arange(steps) < np.where(short, rng.integers(0, steps, n), 0)[:, None]] = 0
    return X, rng.integers(0, 2, n)
