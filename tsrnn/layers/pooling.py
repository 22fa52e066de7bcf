"""Pooling over windows of steps, and over the whole sequence."""

from __future__ import annotations

from dataclasses import dataclass

from tsrnn.backends import contract as c
from tsrnn.layers.base import Builder, Layer, Shape, Value, need_steps, positive_int


@dataclass(frozen=True)
class _WindowPooling(Layer):
    pool_size: int = 2

    op = c.MAX_POOL

    def __post_init__(self):
        object.__setattr__(self, "pool_size", positive_int(type(self).__name__, "pool_size", self.pool_size))

    def output_shape(self, shape: Shape) -> Shape:
        steps, features = need_steps(self, shape)
        # a sequence shorter than the pool is one short window, not nothing
        return (None if steps is None else max(1, steps // self.pool_size), features)

    def lower(self, builder: Builder, value: Value) -> Value:
        shape = self.output_shape(value.shape)
        mask = value.mask if value.mask == c.NONE else builder.mask_buffer(shape[0] * value.repeat)
        out = builder.output(value, shape, mask=mask)
        work = builder.index_buffer(out.steps * out.features * out.repeat) if self.op == c.MAX_POOL else c.NONE
        builder.row(self.op, value, out, KERNEL=self.pool_size, WORK=work)
        return out


@dataclass(frozen=True)
class MaxPooling1D(_WindowPooling):
    """Largest value of each window of `pool_size` steps: (n, T, C) → (n, max(1, T // pool_size), C)."""

    op = c.MAX_POOL


@dataclass(frozen=True)
class AveragePooling1D(_WindowPooling):
    """Mean of each window of `pool_size` steps: (n, T, C) → (n, max(1, T // pool_size), C)."""

    op = c.AVERAGE_POOL


@dataclass(frozen=True)
class _GlobalPooling(Layer):
    op = c.GLOBAL_MAX

    def output_shape(self, shape: Shape) -> Shape:
        return (need_steps(self, shape)[1],)

    def lower(self, builder: Builder, value: Value) -> Value:
        out = builder.output(value, self.output_shape(value.shape), mask=c.NONE)
        work = builder.index_buffer(out.features * out.repeat) if self.op == c.GLOBAL_MAX else c.NONE
        builder.row(self.op, value, out, WORK=work)
        return out


@dataclass(frozen=True)
class GlobalMaxPooling1D(_GlobalPooling):
    """Largest value over all real steps: (n, T, C) → (n, C)."""

    op = c.GLOBAL_MAX


@dataclass(frozen=True)
class GlobalAveragePooling1D(_GlobalPooling):
    """Mean over all real steps: (n, T, C) → (n, C)."""

    op = c.GLOBAL_MEAN
