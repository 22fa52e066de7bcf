"""The table of losses: name → code, and the link from logits to predictions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tsrnn.backends import contract as c


class Loss(NamedTuple):
    """A loss and what it makes of the network's outputs."""

    name: str
    code: int

    @property
    def is_classification(self) -> bool:
        return self.code in (c.SIGMOID_CE, c.SOFTMAX_CE)

    def link(self, logits: np.ndarray) -> np.ndarray:
        """Predictions from the network's linear outputs, the last axis being K."""
        if self.code == c.POISSON:
            return np.exp(logits)
        if self.code == c.SIGMOID_CE:
            return np.exp(-np.logaddexp(0, -logits))
        if self.code == c.SOFTMAX_CE:
            shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
            return shifted / shifted.sum(axis=-1, keepdims=True)
        return logits


LOSSES = {name: Loss(name, code) for name, code in (
    ("squared_error", c.SQUARED), ("absolute_error", c.ABSOLUTE), ("huber", c.HUBER), ("poisson", c.POISSON),
    ("quantile", c.QUANTILE), ("binary_crossentropy", c.SIGMOID_CE), ("categorical_crossentropy", c.SOFTMAX_CE))}
