"""Small data and small networks for the estimators' tests."""

import numpy as np

from tsrnn import RNNRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 6, 2))
Y = X[:, :, 0].sum(axis=1)
LABELS = np.where(Y > 0, "up", "down")
RAGGED = [RNG.normal(size=(2 + i % 4, 2)) for i in range(24)]


def net(cls=RNNRegressor, **kwargs):
    """An estimator that fits in a millisecond."""
    return cls(**{"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0, **kwargs})


def ragged_array(parts):
    """An object array of arrays."""
    out = np.empty(len(parts), object)
    out[:] = parts
    return out
