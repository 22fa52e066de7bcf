"""Flatten, Reshape and TimeDistributed: other views of the same values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.layers.base import Builder, Group, Layer, Shape, Value


def lower_reshape(builder: Builder, value: Value, shape: Shape, mask: int = c.NONE) -> Value:
    """`value` with another shape of the same number of values a row."""
    out = builder.output(value, shape, mask=mask, grad=value.dy != c.NONE)
    builder.row(c.RESHAPE, value, out, MASK_OUT=c.NONE)
    return out


@dataclass(frozen=True)
class Reshape(Layer):
    """Another shape for each sample; one axis may be -1.  (T, F) → (S, U, F) prepares sub-sequences for `TimeDistributed`."""

    shape: tuple

    def __post_init__(self):
        shape = tuple(self.shape) if isinstance(self.shape, Iterable) else ()
        if (not 1 <= len(shape) <= 3 or shape.count(-1) > 1
                or any(isinstance(s, bool) or not isinstance(s, (int, np.integer)) or (s < 1 and s != -1) for s in shape)):
            raise ValueError(f"Reshape: shape={self.shape!r} must be a tuple of 1 to 3 positive integers; one may be -1.")
        object.__setattr__(self, "shape", tuple(int(s) for s in shape))

    def output_shape(self, shape: Shape) -> Shape:
        if None in shape:
            raise ValueError(f"{self!r} needs sequences of a fixed length, not ragged ones.")
        size, known = int(np.prod(shape)), int(np.prod([s for s in self.shape if s != -1]))
        if size % known or (-1 not in self.shape and size != known):
            raise ValueError(f"{self!r} does not fit {shape}, which has {size} values a sample.")
        return tuple(size // known if s == -1 else s for s in self.shape)

    def lower(self, builder: Builder, value: Value) -> Value:
        return lower_reshape(builder, value, self.output_shape(value.shape))


@dataclass(frozen=True)
class Flatten(Layer):
    """All values of a sample in a row: (n, T, F) → (n, T F)."""

    def output_shape(self, shape: Shape) -> Shape:
        if None in shape:
            raise ValueError("Flatten() needs sequences of a fixed length, not ragged ones.")
        return (int(np.prod(shape)),)

    def lower(self, builder: Builder, value: Value) -> Value:
        return lower_reshape(builder, value, self.output_shape(value.shape))


@dataclass(frozen=True)
class TimeDistributed(Layer):
    """A layer, or a list of layers, applied to every step of the first axis by itself.

    The CNN-LSTM of the tutorials: ``[Reshape((4, 15, 1)), TimeDistributed([Conv1D(64, 1, activation="relu"),
    MaxPooling1D(2), Flatten()]), LSTM(50), Dense(1)]`` reads 60 steps as 4 sub-sequences of 15.

    Parameters
    ----------
    layers : layer or sequence of layers
    """

    layers: tuple

    def __post_init__(self):
        layers = tuple(self.layers) if isinstance(self.layers, Iterable) else (self.layers,)
        if not layers or not all(isinstance(layer, Layer) for layer in layers):
            raise ValueError(f"TimeDistributed: layers={self.layers!r} must be a layer or a list of layers.")
        object.__setattr__(self, "layers", layers)

    def _inner_shapes(self, shape: Shape) -> list[Shape]:
        if len(shape) < 2:
            raise ValueError(f"{self!r} needs at least (steps, features) a sample but gets {shape}.")
        shapes = [shape[1:]]
        for layer in self.layers:
            shapes.append(layer.output_shape(shapes[-1]))
        return shapes

    def output_shape(self, shape: Shape) -> Shape:
        out = (shape[0],) + self._inner_shapes(shape)[-1]
        if len(out) > 3:
            raise ValueError(f"{self!r} makes {out} a sample; at most 3 axes are supported.")
        return out

    def groups(self, shape: Shape) -> list[Group]:
        shapes = self._inner_shapes(shape)
        return [group for layer, inner in zip(self.layers, shapes) for group in layer.groups(inner)]

    def lower(self, builder: Builder, value: Value) -> Value:
        outer, inner_shape, mask = value.shape[0], value.shape[1:], value.mask
        # (S, B, ...) read as S * B rows: the memory is the same
        rows = replace(value, shape=(int(np.prod(inner_shape)),), repeat=value.repeat * outer, mask=c.NONE)
        inner = lower_reshape(builder, rows, inner_shape) if len(inner_shape) > 1 else rows
        for layer in self.layers:
            inner = layer.lower(builder, inner)
        if len(inner.shape) > 1:
            inner = replace(lower_reshape(builder, inner, (int(np.prod(inner.shape)),)), shape=inner.shape)
        return replace(inner, shape=(outer,) + inner.shape, repeat=value.repeat, mask=mask)
