"""What the real compiler makes of every kernel of the CUDA backend, for compute capability 9.0; no GPU is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from cuda_networks import COMPILED, DOUBLE, SPILLS

HERE = Path(__file__).parent
REGISTERS = 65536       # of a multiprocessor
SHARED = 227 * 1024     # bytes that a block can have
GRANULE = 8             # registers are given out in as many for each thread
REMEDY = 'the kernels could not be compiled; numba-cuda and its compiler are part of pip install -e ".[dev]"'

pytestmark = pytest.mark.slow


def start(*arguments):
    """Python with these arguments, in a process where nothing is simulated."""
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "0", "PYTHONPATH": str(HERE)}
    return subprocess.Popen([sys.executable, *arguments], env=environment, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def compiled(*processes):
    """What they print: one JSON object a line."""
    lines = []
    for process in processes:
        out, error = process.communicate(timeout=1200)
        if process.returncode:
            pytest.fail(f"{REMEDY}\n{error[-4000:]}")
        lines += map(json.loads, out.splitlines())
    return lines


@pytest.fixture(scope="module")
def report():
    """(kernels, families that no network launches)"""
    parts = min(4, os.cpu_count() or 1)
    found = compiled(*(start(str(HERE / "cuda_compile.py"), str(part), str(parts)) for part in range(parts)))
    return [line for line in found if "left_out" not in line], found[-1]["left_out"]


def offenders(kernels, wrong):
    """The kernels for which ``wrong(kernel)``."""
    return [kernel for kernel in kernels if wrong(kernel)]


def test_no_kernel_is_left_out(report):
    kernels, left_out = report
    assert not left_out, "add a network that launches these to COMPILED in cuda_networks.py"
    assert {kernel["network"] for kernel in kernels} <= {*COMPILED, "any"}
    assert {"float32", "float64"} <= {kernel["dtype"] for kernel in kernels}


def test_there_are_not_too_many_kernels(report):
    counts = Counter(kernel["family"] for kernel in report[0])
    assert counts.total() <= 400, f"so many take minutes to compile; are all their numbers needed? {counts.most_common(5)}"


def test_nothing_spills_but_what_is_known(report):
    def most(kernel):
        return SPILLS.get(kernel["family"], (0, ""))[0]
    assert not offenders(report[0], lambda kernel: kernel["spills"] > most(kernel))
    assert not offenders(report[0], lambda kernel: kernel["stack"] > most(kernel))


def test_blocks_fit_on_a_multiprocessor(report):
    def registers(kernel):
        each = -(-kernel["registers"] // GRANULE) * GRANULE
        return each * -(-kernel["threads"] // 32) * 32
    assert not offenders(report[0], lambda kernel: registers(kernel) > REGISTERS)
    assert not offenders(report[0], lambda kernel: kernel["shared"] > SHARED)
    assert not offenders(report[0], lambda kernel: kernel["threads"] > 1024)


def test_float32_is_not_promoted(report):
    single = [kernel for kernel in report[0] if kernel["dtype"] == "float32"]
    assert not offenders(single, lambda kernel: kernel["double"] and kernel["family"] not in DOUBLE)


def test_exceptions_are_needed(report):
    single = [kernel for kernel in report[0] if kernel["dtype"] == "float32"]
    assert set(DOUBLE) == {kernel["family"] for kernel in single if kernel["double"] and kernel["family"] in DOUBLE}
    assert set(SPILLS) == {kernel["family"] for kernel in report[0] if kernel["spills"] and kernel["family"] in SPILLS}


BAD = """
import json
import cuda_compile
import numpy as np
from numba import cuda

def promotes(x):
    x[0] = x[0] * 0.1

def has_local_memory(x, n):
    mine = cuda.local.array(64, np.float32)
    for i in range(n):
        mine[(i * n) % 64] = x[i]
    for i in range(n):
        x[i] = mine[(i * 5 + n) % 64]

def spills(x, n):
    mine = cuda.local.array(128, np.float32)
    for i in range(128):
        mine[i] = x[i * n]
    cuda.syncthreads()
    for i in range(128):
        x[i * n] = mine[127 - i]

def fine(x):
    x[0] += x[1]

x = np.zeros(4, np.float32)
for body, args in ((promotes, (x,)), (has_local_memory, (x, 1)), (spills, (x, 1)), (fine, (x,))):
    found = cuda_compile.compile_kernel(cuda.jit(launch_bounds=(1024, 2))(body), args, 1024)
    del found["ptx"]
    print(json.dumps({"name": body.__name__} | found))
"""


def test_bad_kernels_are_noticed():
    found = {kernel.pop("name"): kernel for kernel in compiled(start("-c", BAD))}
    assert [name for name, kernel in found.items() if kernel["double"]] == ["promotes"]
    assert found["has_local_memory"]["stack"] and not found["has_local_memory"]["spills"]
    assert found["spills"]["spills"] and found["spills"]["registers"] <= 32
    assert not (found["fine"]["stack"] or found["fine"]["spills"])
