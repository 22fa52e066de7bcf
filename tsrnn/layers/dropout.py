"""Dropout."""

from __future__ import annotations

from dataclasses import dataclass

from tsrnn.backends import contract as c
from tsrnn.layers.base import Builder, Layer, Shape, Value, dropout_rate


@dataclass(frozen=True)
class Dropout(Layer):
    """In training each value is 0 with probability `rate`, else divided by 1 - rate (Srivastava et al. 2014)."""

    rate: float

    def __post_init__(self):
        object.__setattr__(self, "rate", dropout_rate("Dropout", "rate", self.rate))

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def lower(self, builder: Builder, value: Value) -> Value:
        stream = builder.next_stream()
        if not (builder.train and self.rate):
            return value
        out = builder.output(value, value.shape, grad=value.dy != c.NONE)
        builder.row(c.DROPOUT, value, out, rate=self.rate, STREAM=stream)
        return out
