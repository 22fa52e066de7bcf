"""Compiles every kernel that networks launch with the real compiler, for compute capability 9.0; no GPU is needed.

``python cuda_compile.py [NAME ...]`` prints a JSON object a line: network, dtype, kernel, block, registers, spills and local
memory in bytes, shared memory in bytes.  It runs in a process of its own: `numba.cuda` is either simulated or not.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

os.environ["NUMBA_ENABLE_CUDASIM"] = "0"
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import numpy as np  # noqa: E402

CC, ARCH = (9, 0), "sm_90"
OPTIONS = ("launch_bounds", "lineinfo")  # of `cuda.jit` that change the code
USED = re.compile(r"Used (\d+) registers")
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
SHARED = re.compile(r"(\d+) bytes smem")


def compile_kernel(kernel, args, block) -> dict:
    """What the compiler says of a launch: registers, stack, spills and shared memory."""
    from cuda.core import Linker, LinkerOptions, ObjectCode
    from numba import cuda, typeof, types

    # arrays of the card are contiguous unless they are views; the launch would say so as well
    signature = types.void(*(typeof(arg) for arg in args))
    options = {name: kernel.targetoptions[name] for name in OPTIONS if kernel.targetoptions.get(name)}
    ptx, _ = cuda.compile(kernel.py_func, signature, cc=CC, device=False, abi="numba", output="ptx", **options)
    threads = int(np.prod(block))
    options = LinkerOptions(arch=ARCH, verbose=True, max_register_count=min(255, 65536 // (-(-threads // 32) * 32)))
    linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=options)
    linker.link("cubin")
    log = linker.get_info_log()
    stack, stores, loads = map(int, SPILLS.search(log).groups())
    shared = SHARED.search(log)
    return {"registers": int(USED.search(log)[1]), "stack": stack, "spills": stores + loads, "threads": threads,
            "shared": int(shared[1]) if shared else 0, "ptx": ptx}


def launches(network, n=7, dtype=np.float32, steps=None, train=True, masked=False):
    """The launches that a training step, or a prediction, of n samples would make."""
    from gradcheck import make_data, make_engine

    from tsrnn.backends import contract as c
    from tsrnn.backends.cuda import executor
    from tsrnn.backends.cuda.recorder import Turn
    from tsrnn.backends.solvers import ADAM

    card = executor.CARD
    card.empty = card.zeros = lambda shape, dtype: np.zeros(shape, dtype)  # arrays of the host stand for the card's
    card.put = lambda array, there=None: np.ascontiguousarray(array)
    card.get = lambda there, array: None
    executor.why_not = lambda: ""
    engine, data = make_engine(network, dtype), make_data(network, n=n, steps=steps or network.input_shape[0], dtype=dtype)
    lowered = network.lower(steps or network.input_shape[0], dtype, train=train, masked=masked or network.mask_zero)
    engine._room(lowered, n, n, train=train)
    update = engine.update(ADAM, np.zeros((2, network.n_trained), dtype))
    recorder = executor.record(lowered.plan, n, c.TRAIN if train else c.EVALUATE, data, engine._params, engine._scratch[0],
                               update, Turn(n, 1))
    return recorder.launches


def networks(names):
    """name → network on this backend."""
    import test_cuda_kernels

    from tsrnn.network import Network

    for name, (layers, shape, loss) in test_cuda_kernels.COMPILED.items():
        if not names or name in names:
            yield name, Network(layers, shape, loss, backend="cuda")


def main(names) -> None:
    done = set()
    for name, network in networks(names):
        for dtype in (np.float32, np.float64):
            for train in (True, False):
                for launch in launches(network, dtype=dtype, train=train):
                    key = id(launch.kernel), tuple(np.ndim(arg) or type(arg) for arg in launch.args)
                    if key in done:
                        continue
                    done.add(key)
                    found = compile_kernel(launch.kernel, launch.args, launch.block)
                    del found["ptx"]
                    what = {"network": name, "dtype": np.dtype(dtype).name, "kernel": launch.kernel.py_func.__qualname__}
                    print(json.dumps(what | found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
