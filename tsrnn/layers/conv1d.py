"""Convolution over time."""

from __future__ import annotations

from dataclasses import dataclass

from tsrnn import initializers
from tsrnn.backends import contract as c
from tsrnn.layers.base import ACTIVATIONS, Builder, Group, Layer, Param, Shape, Value, need_steps, one_of, positive_int


@dataclass(frozen=True)
class Conv1D(Layer):
    """Cross-correlation over time: (n, T, C) → (n, T', filters), y_t = act(Σ_k W_k x_{t+k-p} + b).

    Parameters
    ----------
    filters : int
    kernel_size : int, default 3
        K steps.
    padding : {"same", "valid"}, default "same"
        "same": T' = T, with zeros around ((K - 1) // 2 before); "valid": T' = T - K + 1.
    activation : {"linear", "tanh", "relu", "sigmoid"}, default "linear"
    """

    filters: int
    kernel_size: int = 3
    padding: str = "same"
    activation: str = "linear"

    def __post_init__(self):
        for name in ("filters", "kernel_size"):
            object.__setattr__(self, name, positive_int("Conv1D", name, getattr(self, name)))
        one_of("Conv1D", "padding", self.padding, ("same", "valid"))
        one_of("Conv1D", "activation", self.activation, ACTIVATIONS)

    def output_shape(self, shape: Shape) -> Shape:
        steps, _ = need_steps(self, shape)
        if steps is not None and self.padding == "valid":
            if steps < self.kernel_size:
                raise ValueError(f"{self!r}: kernel_size={self.kernel_size} must not be larger than the number of steps "
                                 f"({steps}); take a smaller kernel or padding=\"same\".")
            steps -= self.kernel_size - 1
        return (steps, self.filters)

    def groups(self, shape: Shape) -> list[Group]:
        stored = (self.kernel_size, shape[1], self.filters)
        return [Group("conv1d", (
            Param("W", stored[::-1], lambda rng: initializers.glorot_uniform(rng, stored)),
            Param("b", (self.filters,), lambda rng: initializers.zeros(rng, (self.filters,)), penalised=False)))]

    def lower(self, builder: Builder, value: Value) -> Value:
        if value.mask != c.NONE:  # padding must not reach real steps
            cleared = builder.output(value, value.shape, grad=value.dy != c.NONE)
            builder.row(c.CLEAR, value, cleared)
            value = cleared
        same = self.padding == "same"
        shape = self.output_shape(value.shape)
        mask = value.mask if same or value.mask == c.NONE else builder.mask_buffer(shape[0] * value.repeat)
        out = builder.output(value, shape, mask=mask)
        builder.row(c.CONV, value, out, PARAM=builder.next_group(), KERNEL=self.kernel_size,
                    PAD=(self.kernel_size - 1) // 2 if same else 0, ACT=ACTIVATIONS[self.activation])
        return out
