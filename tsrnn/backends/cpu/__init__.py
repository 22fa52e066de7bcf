"""Plans in Numba: a fixed chunk's whole forward and backward in one call without the GIL."""

from tsrnn.backends.cpu.executor import kernels, run
from tsrnn.backends.cpu.finish import apply_update, embedding_gradients, reduce_gradients
from tsrnn.backends.cpu.packing import assign_pack, pack

__all__ = ["apply_update", "assign_pack", "embedding_gradients", "kernels", "pack", "reduce_gradients", "run"]
