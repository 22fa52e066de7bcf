"""Plans in Numba: a fixed chunk's whole forward pass, and many training steps, in one call without the GIL."""

from tsrnn.backends.cpu.executor import kernels, run, train
from tsrnn.backends.cpu.packing import assign_pack, pack
from tsrnn.backends.place import HOST as place

__all__ = ["assign_pack", "kernels", "pack", "place", "run", "train"]
