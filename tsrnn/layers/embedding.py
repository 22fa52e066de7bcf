"""Token ids to vectors."""

from __future__ import annotations

from dataclasses import dataclass

from tsrnn import initializers
from tsrnn.backends import contract as c
from tsrnn.layers.base import Builder, Group, Layer, Param, Shape, Value, flag, positive_int


@dataclass(frozen=True)
class Embedding(Layer):
    """Rows of a table: ids (n, T) → (n, T, E).  The first layer, or none.

    Parameters
    ----------
    vocabulary_size : int
        V; ids are 0 to V - 1.
    embedding_dim : int
        E.
    mask_zero : bool, default False
        Id 0 is padding: recurrent layers stand still there, pooling and losses leave it out.
    trainable : bool, default True
        False keeps the table as it is: drawn at random, or put there by `set_weights`.
    """

    vocabulary_size: int
    embedding_dim: int
    mask_zero: bool = False
    trainable: bool = True

    def __post_init__(self):
        for name in ("vocabulary_size", "embedding_dim"):
            object.__setattr__(self, name, positive_int("Embedding", name, getattr(self, name)))
        for name in ("mask_zero", "trainable"):
            object.__setattr__(self, name, flag("Embedding", name, getattr(self, name)))

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise ValueError(f"{self!r} takes token ids and must be the first layer; it gets values of shape {shape}.")
        return (shape[0], self.embedding_dim)

    def groups(self, shape: Shape) -> list[Group]:
        size = (self.vocabulary_size, self.embedding_dim)
        table = Param("W", size, lambda rng: initializers.uniform(rng, size), penalised=self.trainable, sparse=True,
                      trainable=self.trainable)
        return [Group("embedding", (table,))]

    def lower(self, builder: Builder, value: Value) -> Value:
        out = builder.output(value, (value.shape[0], self.embedding_dim), grad=self.trainable, ids=c.NONE)
        builder.row(c.EMBEDDING, value, out, T_IN=value.shape[0], F_IN=1, WORK=value.ids, PARAM=builder.next_group(),
                    OPTION=0 if value.slots == c.NONE else 2)
        return out
