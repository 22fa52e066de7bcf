"""The package's kernel cache for the card's kernels, which are closures: an entry is named after family, numbers and types.

Numba's own cache for CUDA does find closures again, since it pickles what they capture; but it knows a kernel's own file only,
so that a changed function of another file would leave old machine code in use.  The folder here is named after all sources.
"""

from __future__ import annotations

import functools
import pickle
from typing import Any

import numpy as np


def keep(dispatcher: Any, make: Any, numbers: tuple) -> Any:
    """Gives a kernel of the package its cache, if this numba-cuda still has the (private) places that it needs."""
    if make.__module__.startswith("tsrnn.backends.") and hasattr(dispatcher, "_cache") and _is_plain(numbers):
        dispatcher._cache = _cache_class()(make, numbers)
    return dispatcher


def _is_plain(value: Any) -> bool:
    """Whether its text says all of it, in every process."""
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    if isinstance(value, type):
        return issubclass(value, np.generic)
    return value is None or isinstance(value, (bool, int, float, str))


@functools.cache
def _cache_class() -> Any:
    """The class, made where the first real kernel is: its base comes with the CPU's kernels."""
    import numba_cuda
    from numba.cuda.dispatcher import _Kernel
    from numba.cuda.serialize import dumps
    from numba.cuda.utils import numba_target_override

    from tsrnn.backends.cpu.jit import PackageCache

    class CardCache(PackageCache):
        """The cache of one member of a family; machine code for the card at hand, whose capability is in the key."""

        def __init__(self, make: Any, numbers: tuple) -> None:
            self._name = f"{make.__module__}.{make.__qualname__}"
            self._stamp = f"numba-cuda {numba_cuda.__version__} {numbers!r}"
            self._enabled = True

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            with numba_target_override():
                return super().load_overload(sig, target_context)

        @staticmethod
        def _lasts(result: Any) -> bool:
            return not getattr(result, "launch_config_sensitive", False)  # older ones do not know of it

        @staticmethod
        def _pack(result: Any) -> bytes:
            return dumps(result._reduce_states())

        @staticmethod
        def _unpack(payload: bytes, target_context: Any) -> Any:
            return _Kernel._rebuild(**pickle.loads(payload))

    return CardCache
