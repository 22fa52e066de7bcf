"""Fully connected layer and stand-alone activation."""

from __future__ import annotations

from dataclasses import dataclass

from tsrnn import initializers
from tsrnn.backends import contract as c
from tsrnn.layers.base import ACTIVATIONS, Builder, Group, Layer, Param, Shape, Value, one_of, positive_int


@dataclass(frozen=True)
class Dense(Layer):
    """act(x W^T + b) on the last axis: (n, F) → (n, K), or step by step (n, T, F) → (n, T, K).

    Parameters
    ----------
    units : int
        K.
    activation : {"linear", "tanh", "relu", "sigmoid"}, default "linear"
        The last layer of a network stays linear: the loss brings its own sigmoid or softmax.
    """

    units: int
    activation: str = "linear"

    def __post_init__(self):
        object.__setattr__(self, "units", positive_int("Dense", "units", self.units))
        one_of("Dense", "activation", self.activation, ACTIVATIONS)

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) > 2:
            raise ValueError(f"{self!r} gets {shape} a sample; wrap it in TimeDistributed or put Flatten() before it.")
        return shape[:-1] + (self.units,)

    def groups(self, shape: Shape) -> list[Group]:
        features, units = shape[-1], self.units
        return [Group("dense", (
            Param("W", (units, features), lambda rng: initializers.glorot_uniform(rng, (features, units))),
            Param("b", (units,), lambda rng: initializers.zeros(rng, (units,)), penalised=False)))]

    def lower(self, builder: Builder, value: Value) -> Value:
        out = builder.output(value, value.shape[:-1] + (self.units,))
        builder.row(c.DENSE, value, out, PARAM=builder.next_group(), ACT=ACTIVATIONS[self.activation])
        return out


@dataclass(frozen=True)
class Activation(Layer):
    """`name` applied to every value: "tanh", "relu", "sigmoid" or "linear"."""

    name: str

    def __post_init__(self):
        one_of("Activation", "name", self.name, ACTIVATIONS)

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def lower(self, builder: Builder, value: Value) -> Value:
        out = builder.output(value, value.shape, grad=value.dy != c.NONE)
        builder.row(c.ACTIVATION, value, out, ACT=ACTIVATIONS[self.name])
        return out
