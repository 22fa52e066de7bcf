"""The definition: every operation of the contract in readable NumPy.  Runs without Numba; the oracle in tests."""

from tsrnn.backends.numpy.executor import assign_pack, kernels, pack, run
from tsrnn.backends.numpy.finish import apply_update, embedding_gradients, reduce_gradients

__all__ = ["apply_update", "assign_pack", "embedding_gradients", "kernels", "pack", "reduce_gradients", "run"]
