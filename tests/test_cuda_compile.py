"""What the real compiler makes of every kernel of the CUDA backend, for compute capability 9.0; no GPU is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cuda_networks import COMPILED, DOUBLE, STACK

REGISTERS = 65536       # of a multiprocessor
SHARED = 227 * 1024     # bytes that a block can have
PARTS = 2               # processes that compile side by side
GRANULE = 8             # registers are given out in as many for each thread
REMEDY = 'the kernels could not be compiled; numba-cuda and its compiler are part of pip install -e ".[dev]"'

pytestmark = pytest.mark.slow


def compiled(*arguments):
    """What Python, run with these arguments, prints: one JSON object a line.  In that process nothing is simulated."""
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "0", "PYTHONPATH": str(Path(__file__).parent)}
    found = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=900)
    if found.returncode:
        pytest.fail(f"{REMEDY}\n{found.stderr[-4000:]}")
    return [json.loads(line) for line in found.stdout.splitlines()]


@pytest.fixture(scope="module")
def report():
    """(kernels, what is missing)"""
    script = str(Path(__file__).with_name("cuda_compile.py"))
    with ThreadPoolExecutor(PARTS) as pool:
        parts = list(pool.map(lambda part: compiled(script, str(part), str(PARTS)), range(PARTS)))
    return [kernel for *kernels, _ in parts for kernel in kernels], parts[0][-1]


def offenders(kernels, wrong):
    """The kernels for which ``wrong(kernel)``."""
    return [kernel for kernel in kernels if wrong(kernel)]


def test_no_kernel_is_left_out(report):
    kernels, missing = report
    assert not missing["left_out"], "add a network that launches these to COMPILED in cuda_networks.py"
    assert {kernel["network"] for kernel in kernels} <= {*COMPILED, "any"}
    assert {"float32", "float64"} <= {kernel["dtype"] for kernel in kernels}


def test_there_are_not_too_many_kernels(report):
    counts = Counter(kernel["family"] for kernel in report[0])
    assert counts.total() <= 400, f"so many take minutes to compile; are all their numbers needed? {counts.most_common(5)}"


def test_nothing_spills(report):
    assert not offenders(report[0], lambda kernel: kernel["spills"])


def test_threads_need_no_memory_of_their_own(report):
    assert not offenders(report[0], lambda kernel: kernel["stack"] and kernel["family"] not in STACK)


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
    assert set(STACK) == {kernel["family"] for kernel in report[0] if kernel["stack"] and kernel["family"] in STACK}


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
    found = {kernel.pop("name"): kernel for kernel in compiled("-c", BAD)}
    assert [name for name, kernel in found.items() if kernel["double"]] == ["promotes"]
    assert found["has_local_memory"]["stack"] and not found["has_local_memory"]["spills"]
    assert found["spills"]["spills"] and found["spills"]["registers"] <= 32
    assert not (found["fine"]["stack"] or found["fine"]["spills"])
