"""The machine code of products and cells: what a clock would notice, seen in the instructions.

Kernels are compiled afresh: what comes from the disk cache has no assembly to look at.  The AVX2 code of a processor with
AVX-512 is looked at in a second process.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys

import numba
import numpy as np
import pytest
from numba import types

from tsrnn.backends import contract as c
from tsrnn.backends.cpu import calls, finish, microkernels, vectors
from tsrnn.backends.cpu.activations import FORMATS
from tsrnn.backends.cpu.jit import OPTIONS, ROOT

pytestmark = pytest.mark.skipif("+fma" not in vectors.FEATURES, reason="this processor has no x86 FMA instructions")
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
LETTER = {"float32": "s", "float64": "d"}
REGISTER = "zmm" if "+avx512f" in vectors.FEATURES else "ymm"
KERNELS = {kernel.py_func.__name__: (kernel, form) for kernel, form in calls._PRODUCTS.values()}
PRODUCTS = ("matmul", "matmul_tn")
ACTIVATIONS = {"lstm": (5, 1), "gru": (3, 0), "rnn tanh": (1, 0), "rnn relu": (0, 0)}  # of a cell, forward and backward
CELLS = {}
for (cell, activation), pair in calls._CELLS.items():
    name = {c.LSTM: "lstm", c.GRU: "gru", c.RNN: "rnn relu" if activation == c.RELU else "rnn tanh"}[cell]
    for kernel, direction, count in zip(pair, ("forward", "backward"), ACTIVATIONS[name], strict=True):
        KERNELS[f"{name}, {direction}"] = kernel, calls._CELL
        CELLS[f"{name}, {direction}"] = count
CELL = pytest.mark.parametrize("cell", CELLS)
PRODUCT = pytest.mark.parametrize("product", PRODUCTS)

SCALAR = re.compile(r"v?(fn?m(add|sub)\d+|add|sub|mul|div|sqrt|rcp\w*|min|max)s[sd]\b")
PACKED = re.compile(r"v?(fn?m(?:add|sub)\d+|add|sub|mul|div|sqrt|rcp\d*|min|max)p([sd])\b")
ALLOCATION = re.compile(r"NRT_(?!incref|decref|MemInfo_call_dtor)\w+|\b(malloc|calloc|_?Py\w+|numba_\w+)\b")


# ------------------------------------------------------------------------------------------------ reading assembly


def compiled(kernel, signature):
    """Functions of a kernel and of all that it calls: name → lines."""
    options = {**OPTIONS, "no_cpython_wrapper": True}  # which would be among the functions
    fresh = numba.njit(**options)(kernel.py_func)
    fresh.compile(signature)
    (assembly,) = fresh.inspect_asm().values()
    return read(assembly)


@functools.cache
def functions(name, dtype):
    """The same for one of `KERNELS`."""
    kernel, form = KERNELS[name]
    array = types.Array(numba.from_dtype(np.dtype(dtype)), 1, "C")
    kinds = {"A": array, "I": types.Array(types.int64, 1, "C"), "i": types.int64}
    return compiled(kernel, tuple(kinds[kind] for kind in form))


def read(assembly):
    """Name → lines of the functions in a text of assembly."""
    found, lines = {}, []
    for line in map(str.strip, assembly.splitlines()):
        if begin := re.fullmatch(r"(\w+):", line):
            lines = found.setdefault(begin[1], [])
        elif line.startswith(".Lfunc_end"):
            lines = []
        else:
            lines.append(line)
    return found


def inner_loops(lines):
    """The lines of all loops of a function that hold no other loop: backward jumps and what they jump over."""
    labels = {line[:-1]: at for at, line in enumerate(lines) if re.fullmatch(r"\.L\w+:", line)}
    jumps = ((labels.get(jump[1], at), at) for at, line in enumerate(lines) if (jump := re.match(r"j\w+\s+(\.L\w+)$", line)))
    spans = {(start, stop) for start, stop in jumps if start < stop}
    inner = (one for one in spans if not any(other != one and one[0] <= other[0] and other[1] <= one[1] for other in spans))
    return [lines[start:stop + 1] for start, stop in sorted(inner)]


def loops(code):
    return [loop for lines in code.values() for loop in inner_loops(lines)]


def multiply_adds(lines, dtype):
    """Fused multiply-adds of vectors as wide as the processor has them."""
    return [line for line in lines if re.match(rf"vfn?m(add|sub)\d+p{LETTER[dtype]}\s.*%{REGISTER}", line)]


def on_the_stack(lines, code):
    """Instructions that keep vectors on the stack; %rbp is the stack's in functions that make it so."""
    based = any(line.startswith("movq\t%rsp, %rbp") for body in code.values() for line in body)
    base = r"\(%r[sb]p[,)]" if based else r"\(%rsp[,)]"
    return [line for line in lines if re.search(r"%[xyz]mm", line) and re.search(base, line)]


def faults(lines, dtype):
    """Instructions that have no place in a hot loop: calls, scalar arithmetic, the other type's, narrower vectors."""
    found = [line for line in lines if line.startswith("call") or SCALAR.match(line)]
    packed = [(line, match[2]) for line in lines if (match := PACKED.match(line))]
    return found + [line for line, letter in packed if letter != LETTER[dtype] or f"%{REGISTER}" not in line]


# ------------------------------------------------------------------------------------------------ the reader itself


EXAMPLE = """
one:
    movq\t%rsp, %rbp
.L1:
    vaddps\t%WIDE1, %WIDE2, %WIDE3
.L2:
    vfmadd231ps\t64(%rsp), %WIDE1, %WIDE2
    vfmadd231ps\t%xmm1, %xmm1, %xmm2
    vfmadd231ss\t%xmm1, %xmm1, %xmm2
    vmovups\t%WIDE2, -64(%rbp)
    movq\t8(%rsp), %rax
    callq\t*%rax
    jne\t.L2
    jl\t.L1
    jmp\t.L3
.L3:
    retq
.Lfunc_end0:
    vaddps\t%WIDE1, %WIDE2, %WIDE3
""".replace("WIDE", REGISTER)


def test_the_reader_finds_what_it_looks_for():
    code = read(EXAMPLE)
    (loop,) = loops(code)
    assert loop[0] == ".L2:" and loop[-1] == "jne\t.L2"
    assert multiply_adds(loop, "float32") == [loop[1]] and not multiply_adds(loop, "float64")
    assert on_the_stack(loop, code) == [loop[1], loop[4]]
    assert faults(loop, "float32") == [loop[3], loop[6], loop[2]]
    assert len(faults(loop, "float64")) == 4
    assert ALLOCATION.search("movabsq\t$NRT_MemInfo_alloc_aligned, %rax") and not ALLOCATION.search("$NRT_incref")


# ------------------------------------------------------------------------------------------------ products


@DTYPES
@PRODUCT
def test_products_are_wide_fused_multiply_adds(product, dtype):
    """Every tile's loop, and nothing but them: the largest has as many as it has sums."""
    code = functions(product, dtype)
    tiles = [loop for loop in loops(code) if any(map(PACKED.match, loop))]
    sums = [len(multiply_adds(tile, dtype)) for tile in tiles]
    assert len(tiles) >= 10 and min(sums) >= 1  # an unrolled loop has a multiple
    assert {4 * microkernels._TALL, 4 * microkernels._LOW} <= set(sums)
    assert not [line for lines in code.values() for line in faults(lines, dtype) if not line.startswith("call")]


@DTYPES
@PRODUCT
def test_the_sums_of_products_stay_in_registers(product, dtype):
    code = functions(product, dtype)
    tiles = [loop for loop in loops(code) if multiply_adds(loop, dtype)]
    assert [faults(tile, dtype) + on_the_stack(tile, code) for tile in tiles] == [[]] * len(tiles)


# ------------------------------------------------------------------------------------------------ cells


@DTYPES
@CELL
def test_cells_are_wide_vector_code(cell, dtype):
    """The whole vectors' loop and the masked rest alike: no call, no scalar, nothing narrow."""
    code = functions(cell, dtype)
    assert not [line for lines in code.values() for line in faults(lines, dtype)]
    powers = FORMATS[int(dtype[-2:])].p
    assert sum(len(multiply_adds(loop, dtype)) for loop in loops(code)) >= CELLS[cell] * (len(powers) + 3)
    assert "relu" in cell or all(multiply_adds(loop, dtype) for loop in loops(code) if any(map(PACKED.match, loop)))


@DTYPES
@CELL
def test_cells_keep_their_values_in_registers(cell, dtype):
    code = functions(cell, dtype)
    spilled = [line for loop in loops(code) for line in on_the_stack(loop, code)]
    few = 4 if REGISTER == "zmm" else 56  # 16 registers do not hold a cell and all constants
    assert len(spilled) <= few, spilled


# ------------------------------------------------------------------------------------------------ all of them


@DTYPES
@pytest.mark.parametrize("name", KERNELS)
def test_nothing_is_allocated_or_asked_of_python(name, dtype):
    code = functions(name, dtype)
    assert not [line for lines in code.values() for line in lines if ALLOCATION.search(line)]
    if name in CELLS:  # nor counted: products count their arguments once a call
        assert not [line for lines in code.values() for line in lines if "NRT_" in line]


@DTYPES
def test_sums_of_columns_are_vector_code(dtype):
    assert any(len(loop) > 4 and not any(map(SCALAR.match, loop)) for loop in packed_loops("column_sums", dtype))


def packed_loops(name, dtype):
    return [loop for loop in loops(functions(name, dtype)) if any(re.search("%[yz]mm", line) for line in loop)]


@DTYPES
def test_optimizers_are_vector_code(dtype):
    floats = types.Array(numba.from_dtype(np.dtype(dtype)), 1, "C")
    hyper = types.Array(types.float64, 1, "C")
    code = compiled(finish._adam, (floats, floats, floats, floats, hyper, types.float64, types.boolean))
    fast = [loop for loop in loops(code) if any(re.match(rf"vsqrtp{LETTER[dtype]}\s.*%[yz]mm", line) for line in loop)]
    assert fast and not [line for loop in fast for line in loop if line.startswith("call") or SCALAR.match(line)]


# ------------------------------------------------------------------------------------------------ AVX2


@pytest.mark.skipif(REGISTER != "zmm", reason="what has been looked at is AVX2, or less")
def test_all_of_this_for_avx2():
    env = dict(os.environ) | {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,-avx512f"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env, cwd=ROOT.parents[1], check=False)
    assert result.returncode == 0, result.stdout
