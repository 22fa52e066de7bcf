"""Compiles every kernel that networks launch with the real compiler, for compute capability 9.0; no GPU is needed.

``python cuda_compile.py PART PARTS`` takes one kernel in so many, and prints a JSON object a line: network, dtype, family,
threads, registers, stack, spills and shared memory in bytes, float64 instructions.  The last line has the families that no
network has launched.  It runs in a process of its own: `numba.cuda` is either simulated or not.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import sys
from pathlib import Path

os.environ["NUMBA_ENABLE_CUDASIM"] = "0"
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import numpy as np  # noqa: E402
from ptx_card import CC, compile_ptx  # noqa: E402

ARCH = "sm_{}{}".format(*CC)
USED = re.compile(r"Used (\d+) registers")
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
SHARED = re.compile(r"(\d+) bytes smem")
DOUBLE = re.compile(r"^\s*(?:@!?%\w+\s+)?([a-z][\w.]*\.f64[\w.]*)", re.MULTILINE)


def compile_kernel(kernel, args, block) -> dict:
    """What the compiler says of a launch: registers, stack, spills and shared memory; instructions on float64 values."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    ptx = compile_ptx(kernel, args)
    # as at a launch: nobody tells the compiler how many threads there will be but the kernel's own options
    options = LinkerOptions(arch=ARCH, verbose=True, max_register_count=kernel.targetoptions.get("max_registers"))
    linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=options)
    linker.link("cubin")
    log = linker.get_info_log()
    stack, stores, loads = map(int, SPILLS.search(log).groups())
    shared = SHARED.search(log)
    return {"registers": int(USED.search(log)[1]), "stack": stack, "spills": stores + loads, "threads": int(np.prod(block)),
            "shared": int(shared[1]) if shared else 0, "double": len(DOUBLE.findall(ptx)), "ptx": ptx}


def signature(args):
    """The types of a launch's arguments; arrays of the card are contiguous unless they are views, as at the launch itself."""
    from numba import typeof, types

    return types.void(*map(typeof, args))


def simulate_memory() -> None:
    """Arrays of the host stand for the card's: nothing runs."""
    from tsrnn.backends.cuda import executor, recorder, recurrent
    from tsrnn.backends.cuda.place import CARD as card

    card.empty = card.zeros = lambda shape, dtype: np.zeros(shape, dtype)
    card.put = lambda array, there=None: np.ascontiguousarray(array)
    card.get = lambda there, array: None
    executor.why_not, recorder.allow_shared = lambda: "", lambda *launch: None
    recurrent.most_shared = lambda: 227 << 10  # of compute capability 9.0


def launches(network, n=7, dtype=np.float32, steps=None, train=True, masked=False, solver="adam"):
    """The launches that a training step, or a prediction, of n samples would make."""
    from gradcheck import make_data, make_engine

    from tsrnn.backends import contract as c
    from tsrnn.backends.cuda import executor
    from tsrnn.backends.cuda.recorder import Turn
    from tsrnn.backends.solvers import SOLVERS

    simulate_memory()
    engine, data = make_engine(network, dtype), make_data(network, n=n, steps=steps or network.input_shape[0], dtype=dtype)
    lowered = network.lower(steps or network.input_shape[0], dtype, train=train, masked=masked or network.mask_zero)
    engine._room(lowered, n, n, train=train)
    update = engine.update(SOLVERS[solver].code, np.zeros((SOLVERS[solver].n_moments, network.n_trained), dtype))
    recorder = executor.record(lowered.plan, n, c.TRAIN if train else c.EVALUATE, data, engine._params, engine._scratch[0],
                               update, Turn(n, 1))
    return recorder.launches


def all_launches():
    """Every launch of the networks: (network, dtype, launch)."""
    from cuda_networks import COMPILED, MANY, MASKED, WIDE

    from tsrnn.backends.cuda.place import fill
    from tsrnn.backends.cuda.recorder import Launch
    from tsrnn.backends.solvers import SOLVERS
    from tsrnn.network import Network

    for name, arguments in COMPILED.items():
        network = Network(*arguments, backend="cuda")
        fixed = any(type(layer).__name__ in ("Flatten", "Reshape") for layer in network.layers)
        ways = [(7, True, False, solver) for solver in (SOLVERS if name == next(iter(COMPILED)) else ["adam"])]
        ways += [(7, False, False, "adam")] + [(600, True, False, "adam")] * (name in MANY)
        ways += [(7, True, True, "adam")] * (name in MASKED and not fixed)
        for dtype in (np.float32, np.float64)[:1 + (name in WIDE)]:
            for n, train, masked, solver in ways:
                for launch in launches(network, n, dtype, train=train, masked=masked, solver=solver):
                    yield name, dtype, launch
    for dtype in (np.float32, np.float64, np.int64, np.int32, np.uint32, np.uint8):
        yield "any", dtype, Launch(fill(dtype), (1,), (256,), (np.zeros(1, dtype), 0), 0)


def family_of(kernel) -> str:
    """Module and function that made a kernel, without the backend's own name."""
    return f"{kernel.py_func.__module__}.{kernel.py_func.__qualname__.partition('.')[0]}".removeprefix("tsrnn.backends.cuda.")


def main(part: int, parts: int) -> None:
    simulate_memory()
    from tsrnn.backends import cuda as backend
    from tsrnn.backends.cuda import jit

    for module in pkgutil.iter_modules(backend.__path__):
        importlib.import_module(f"{backend.__name__}.{module.name}")
    done, left_out = set(), {name.removeprefix("tsrnn.backends.cuda.") for name in jit.families}
    for name, dtype, launch in all_launches():
        key = launch.kernel, signature(launch.args), launch.block, launch.shared
        if key in done:
            continue
        done.add(key)
        what = {"network": name, "dtype": np.dtype(dtype).name, "family": family_of(launch.kernel)}
        left_out.discard(what["family"])
        if len(done) % parts == part:
            found = compile_kernel(launch.kernel, launch.args, launch.block)
            found["shared"] += launch.shared
            del found["ptx"]
            print(json.dumps(what | found), flush=True)
    print(json.dumps({"left_out": sorted(left_out)}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
