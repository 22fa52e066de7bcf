"""Plans on an NVIDIA card: a row of the plan is a few launches, recorded once and replayed for each batch of the same size."""

from tsrnn.backends.cuda.executor import assign_pack, kernels, pack, run, train
from tsrnn.backends.cuda.jit import why_not
from tsrnn.backends.cuda.place import CARD as place

__all__ = ["assign_pack", "kernels", "pack", "place", "run", "train", "why_not"]
