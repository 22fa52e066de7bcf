"""The definition: every operation of the contract in readable NumPy.  Runs without Numba; the oracle in tests."""

from tsrnn.backends.numpy.executor import assign_pack, kernels, pack, run, train
from tsrnn.backends.place import HOST as place

__all__ = ["assign_pack", "kernels", "pack", "place", "run", "train"]
