"""A second process compiles half of what a first training needs, while this one compiles the other half.

Numba's compiler runs one thread at a time, whatever the number of cores.  What the other process has compiled comes by the
kernel cache; whatever goes wrong with it, this process compiles everything itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tsrnn.backends.cpu.jit import PACKAGE, ROOT, all_kernels, cache_status

_CODE = f"import sys; from {PACKAGE}.backends.cpu import executor; executor.compile_training(sys.argv[1])"
_started: set[str] = set()


@contextmanager
def other_half(dtype, is_compiled: bool) -> Iterator[None]:
    """While the body compiles its half of a training with this element type, another process compiles the other half.

    There is none where that half is compiled already, where there is no second core or nothing could be kept on disk, or in a
    process that is a worker itself: its neighbours have the other cores.
    """
    process = None
    if not is_compiled and str(dtype) not in _started and _may_start():
        _started.add(str(dtype))
        process = _start(str(dtype))
    try:
        yield
        if process is not None:
            process.wait()
    finally:
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()


def _may_start() -> bool:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    process = sys.modules.get("multiprocessing.process")  # a worker has imported it
    worker = process is not None and (process.parent_process() is not None or process.current_process().daemon)
    fresh = not any(kernel.signatures for kernel in all_kernels())  # else little is left to do
    python = os.path.basename(sys.executable or "").lower().startswith("python")  # not a program that Python is a part of
    return cores > 1 and not worker and fresh and python and cache_status().writable


def _start(dtype: str) -> subprocess.Popen | None:
    path = os.pathsep.join([str(ROOT.parents[1]), *(entry for entry in sys.path if entry)])
    quiet = subprocess.DEVNULL
    try:
        return subprocess.Popen([sys.executable, "-c", _CODE, dtype], stdin=quiet, stdout=quiet, stderr=quiet,
                                env={**os.environ, "PYTHONPATH": path})
    except (OSError, ValueError):  # no interpreter to start, or no process
        return None
