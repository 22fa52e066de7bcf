"""What the parameter `device` means: the one place that says which backend computes, in fits and in predictions alike.

Fitted estimators belong to no device: their network is the CPU's and their weights lie in the machine's own memory, so they are
pickled, copied and used anywhere.  Each call finds its backend anew.
"""

from __future__ import annotations

import os

from tsrnn import backends
from tsrnn._warn import warn
from tsrnn.backends import NoGPUError

DEVICES = ("auto", "cpu", "cuda")
FORKED = ("this process was forked from one that has used the GPU, and CUDA does not work in such a child; start processes by "
          '"spawn" or "forkserver" (joblib\'s own, loky, are not forked), use threads, or device="cpu"')

_state: dict[str, int] = {}  # "process": the one that has found its GPU; "told": one that was told of the CPU


class DeviceWarning(UserWarning):
    """What was to run on a GPU runs on the CPU."""


def backend_of(device: str, *, fitting: bool) -> str:
    """Name of the backend that `device` stands for, here and now.

    Parameters
    ----------
    device : {"cpu", "cuda", "auto"}
    fitting : bool
        Whether ``"cuda"`` insists on a GPU.  Predictions go to the CPU without one: a model is used where it is needed, which
        need not be where it was trained.

    Returns
    -------
    name : {"cpu", "cuda"}

    Raises
    ------
    NoGPUError
        For ``"cuda"`` in a fit where no GPU can be used; the message has cause and remedy.
    ValueError
        For another `device`.

    Warns
    -----
    DeviceWarning
        Once a process, where the CPU takes a GPU's place.
    """
    if device == "cpu":
        return "cpu"
    if device not in DEVICES:
        raise ValueError(f"device={device!r} is unknown; use one of {', '.join(map(repr, DEVICES))}.")
    reason = why_not()
    if not reason:
        return "cuda"
    if fitting and device == "cuda":
        raise NoGPUError(f'device="cuda": {reason}.')
    if _state.get("told") != os.getpid():
        _state["told"] = os.getpid()
        warn(f'device="{device}" runs on the CPU here: {reason}.', DeviceWarning)
    return "cpu"


def why_not() -> str:
    """Why no GPU can be used by this process, with the remedy; empty where one can."""
    if _state.get("process", os.getpid()) != os.getpid():
        return FORKED
    reason = backends.get("cuda").why_not()
    if not reason:
        _state["process"] = os.getpid()
    return reason
