"""What every layer says of itself, and the builder that collects its rows of the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from tsrnn.backends import contract as c

ACTIVATIONS = {"linear": c.LINEAR, "tanh": c.TANH, "relu": c.RELU, "sigmoid": c.SIGMOID}

Shape = tuple  # without the batch axis: (F,), (T, F) or (S, T, F); T is None where it is free


@dataclass(frozen=True)
class Param:
    """A parameter array.

    `shape` is the public one (PyTorch's); `theta` holds matrices with their axes reversed, so that they lie as (in, out), and
    embedding tables as they are, a token a row.
    """

    name: str
    shape: tuple
    init: Callable[[np.random.Generator], np.ndarray]  # rng -> array of the stored shape
    penalised: bool = True  # L2 acts on weights, not on biases
    sparse: bool = False    # embedding tables lie behind everything else in theta
    trainable: bool = True  # others keep their initial values

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def public(self, theta: np.ndarray, offset: int) -> np.ndarray:
        """The view of `theta` in the public shape."""
        flat = theta[offset:offset + self.size]
        return flat.reshape(self.shape) if self.sparse else flat.reshape(self.shape[::-1]).T


@dataclass(frozen=True)
class Group:
    """The parameters of one layer, contiguous in theta; `kind` names it (`lstm` → `lstm_0`)."""

    kind: str
    params: tuple[Param, ...]

    @property
    def size(self) -> int:
        return sum(p.size for p in self.params)


@dataclass(frozen=True)
class Value:
    """An activation inside a plan under construction."""

    shape: Shape
    y: int = c.NONE         # unit offset in mem
    dy: int = c.NONE        # unit offset of its gradient
    mask: int = c.NONE      # unit offset in mask
    repeat: int = 1         # rows are B * repeat (inside TimeDistributed)
    ids: int = c.NONE       # unit offset in indices, where the value is token ids
    slots: int = c.NONE     # unit offset in indices of the distinct tokens' numbers, where they are what the value holds

    @property
    def steps(self) -> int:
        return self.shape[0] if len(self.shape) > 1 else 1

    @property
    def features(self) -> int:
        return int(np.prod(self.shape[1:])) if len(self.shape) > 1 else self.shape[0]


@dataclass
class Builder:
    """Collects rows and hands out memory: all of it in units a sample, see the contract."""

    train: bool
    masked: bool
    offsets: list[int]  # theta offsets of the parameter groups, in the order in which the layers list them
    keeps_gates: bool = False  # whether recurrent layers have room for the gates of all steps in any case
    rows: list[np.ndarray] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    mem: int = 0
    indices: int = 0
    mask: int = 0
    streams: int = 0
    _group: int = 0

    def buffer(self, units: int) -> int:
        self.mem += units
        return self.mem - units

    def index_buffer(self, units: int) -> int:
        self.indices += units
        return self.indices - units

    def mask_buffer(self, units: int) -> int:
        self.mask += units
        return self.mask - units

    def next_group(self) -> int:
        self._group += 1
        return self.offsets[self._group - 1]

    def next_stream(self) -> int:
        self.streams += 1
        return self.streams

    def output(self, value: Value, shape: Shape, *, grad: bool = True, **changes) -> Value:
        """A fresh buffer for an operation's output, and for its gradient when training."""
        out = replace(value, shape=shape, **changes)
        units = out.steps * out.features * out.repeat
        return replace(out, y=self.buffer(units), dy=self.buffer(units) if self.train and grad else c.NONE)

    def row(self, op: int, source: Value, target: Value, rate: float = 0.0, **columns: int) -> None:
        """Appends the row of `op` from `source` to `target`; `columns` are given by the names of the contract."""
        row = np.full(c.N_COLUMNS, 0, np.int64)
        row[[c.X2, c.DX2, c.WORK, c.H_SEQ, c.C_SEQ, c.H_DROP, c.DH, c.DC, c.SLOTS, c.TABLE, c.SLICE]] = c.NONE
        row[c.OP], row[c.REPEAT] = op, source.repeat
        row[c.T_IN], row[c.F_IN] = source.steps, source.features
        row[c.T_OUT], row[c.F_OUT] = target.steps, target.features
        row[c.X], row[c.DX], row[c.Y], row[c.DY] = source.y, source.dy, target.y, target.dy
        row[c.MASK_IN] = source.mask
        row[c.MASK_OUT] = target.mask if target.mask != source.mask else c.NONE
        for name, number in columns.items():
            row[getattr(c, name)] = number
        self.rows.append(row)
        self.rates.append(rate)


class Layer:
    """A specification: hyper-parameters, shapes, parameters, rows of the plan.  No arrays, no threads."""

    def output_shape(self, shape: Shape) -> Shape:
        """Shape behind the layer, without the batch axis; raises ValueError where `shape` does not fit."""
        raise NotImplementedError

    def groups(self, shape: Shape) -> list[Group]:
        """Parameter groups for an input of `shape`, in the order in which `lower` takes them."""
        return []

    def reads_tokens(self, train: bool) -> bool:
        """Whether the layer takes an embedding's distinct tokens and their numbers in place of each step's vector."""
        return False

    def lower(self, builder: Builder, value: Value) -> Value:
        """Appends the layer's rows; returns its output."""
        raise NotImplementedError


def need_steps(layer: Layer, shape: Shape) -> Shape:
    """`shape`, if it is (steps, features)."""
    if len(shape) != 2:
        raise ValueError(f"{layer!r} needs (steps, features) a sample but gets {shape}; "
                         + ("give the recurrent layer before it return_sequences=True." if len(shape) == 1
                            else "wrap it in TimeDistributed."))
    return shape


def positive_int(layer: str, name: str, number) -> int:
    """`number` as an int, if it is a positive integer."""
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
        raise ValueError(f"{layer}: {name}={number!r} must be a positive integer.")
    return int(number)


def dropout_rate(layer: str, name: str, rate) -> float:
    """`rate` as a float, if it is in [0, 1)."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.number)) or not 0 <= rate < 1:
        raise ValueError(f"{layer}: {name}={rate!r} must be a number in [0, 1).")
    return float(rate)


def flag(layer: str, name: str, value) -> bool:
    """`value`, if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{layer}: {name}={value!r} must be True or False.")
    return bool(value)


def one_of(layer: str, name: str, value, choices) -> str:
    """`value`, if it is among `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{layer}: {name}={value!r} must be one of {', '.join(map(repr, choices))}.")
    return value
