"""The contenders of the speed benchmarks, and how a process is held to its threads.

A contender is a class in ``_peer_<name>.py`` that lives in a process of its own (`_worker.Worker`).  Only its constructor
imports the library, so that the import can be timed.  It has

``describe()``
    The library's version, and the number of threads as read back from it.
``build(work, X, y, weights)``, ``curve(n)``, ``epoch()``
    Training from the given weights: losses of the first `n` steps, all on the first batch, after which the weights are the
    given ones again; seconds a step over one pass of all batches, in which training goes on from call to call.  A pass
    before it does not count: another contender has been at work, and caches and threads are as that one left them.
``prepare(work, X, weights)``, ``infer(seconds)``
    Inference of X as one batch: outputs (n, K), which are probabilities for a classifier; seconds a call, from as many calls as
    fit in `seconds`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from pathlib import Path

MODULES = {"tsrnn": ("_peer_tsrnn", "Tsrnn", "tsrnn"), "torch": ("_peer_torch", "Torch", "torch"),
           "keras": ("_peer_keras", "Keras", "keras"), "jax": ("_peer_jax", "Jax", "jax"),
           "sklearn": ("_peer_sklearn", "Sklearn", "sklearn")}
PACKAGES = {"torch": "torch", "keras": "keras tensorflow", "jax": "jax", "sklearn": "scikit-learn", "tsrnn": "tsrnn"}
TITLES = {"tsrnn": "tsrnn", "torch": "PyTorch", "keras": "Keras (TensorFlow)", "jax": "JAX",
          "sklearn": "MLP of scikit-learn (another model)"}


def contender(name: str, threads: int):
    """One of the classes, made; this imports its library."""
    module, title, _ = MODULES[name]
    return getattr(importlib.import_module(module), title)(threads)


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def threads_named(name: str) -> int:
    """Threads of this process that its libraries have given this name; 0 where the system does not tell."""
    return sum(path.read_text().strip() == name for path in Path("/proc/self/task").glob("*/comm"))


def limit_threads(threads: int) -> int:
    """Pins this process to as many cores; returns how many it got.  Before any library is imported."""
    os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = str(threads)
    if sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    return usable_cores()


def timed_calls(call, seconds: float) -> float:
    """Seconds a call, from as many calls as fit in `seconds`, at least one."""
    started, number = time.perf_counter(), 0
    while (now := time.perf_counter()) < started + seconds or not number:
        call()
        number += 1
    return (now - started) / number


# ------------------------------------------------------------------------------------------------ command lines


def add_options(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    """The options that all speed benchmarks have; `names`: the peers that this one knows."""
    parser.add_argument("--against", type=_names, default=[], metavar="NAMES",
                        help=f"peers, with commas between them: {','.join(names)}")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH",
                        help="the interpreter of a peer that lives in another environment; may be repeated")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--json", metavar="FILE", help="write the results there, too, for report.py")
    parser.set_defaults(known=names)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in MODULES or name == "tsrnn"]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is unknown; use some of "
                                         f"{', '.join(name for name in MODULES if name != 'tsrnn')}")
    return list(dict.fromkeys(names))


def parse(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """Parsed arguments; `python` is a dict of name → interpreter, `against` without those who have no such network."""
    arguments = parser.parse_args(argv)
    pairs = [text.partition("=") for text in arguments.python]
    if wrong := [name for name, equals, path in pairs if name not in MODULES or not equals or not os.path.isfile(path)]:
        parser.error(f"--python {', '.join(wrong)}: write NAME=PATH, where NAME is one of {', '.join(MODULES)} and PATH is an "
                     "interpreter that exists")
    arguments.python = {name: path for name, _, path in pairs}
    if not 1 <= arguments.threads <= usable_cores():
        parser.error(f"--threads {arguments.threads} must be 1 to {usable_cores()}, the cores that this process may use")
    for name in [name for name in arguments.against if name not in arguments.known]:
        print(f"{name} has nothing to set against this benchmark and is left out of it")
        arguments.against.remove(name)
    if hasattr(os, "getloadavg"):
        print(f"load of the machine before: {os.getloadavg()[0]:.1f} (where it is not near 0, times are no use)")
    return arguments
