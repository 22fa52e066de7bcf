"""The definition: every operation of the contract in readable NumPy.  Runs without Numba; the oracle in tests."""

from tsrnn.backends.numpy.executor import assign_pack, kernels, pack, run, train

__all__ = ["assign_pack", "kernels", "pack", "run", "train"]
