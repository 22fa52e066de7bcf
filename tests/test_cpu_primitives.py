"""Products and packing of the CPU backend against NumPy in higher precision, and their bits."""

from __future__ import annotations

import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from tsrnn.backends.cpu import activations, vectors
from tsrnn.backends.cpu.jit import OPTIONS, ROOT
from tsrnn.backends.cpu.microkernels import column_sums, matmul, matmul_tn, pack, packed_size, panel_width

DTYPES = [np.float32, np.float64]
njit = numba.njit(**OPTIONS)
SIZES = [1, 2, 5, 7, 8, 9, 15, 16, 17, 31, 33, 48, 50, 63, 64, 65, 70]


def random(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def packed(W, before=0):
    K, N = W.shape
    P = np.full(before + packed_size(K, N, W.itemsize), np.nan, W.dtype)
    pack(np.ascontiguousarray(W).ravel(), 0, N, 1, K, N, P, before)
    return P


def product(A, W, C):
    """C + A W by the kernel under test."""
    C = C.copy()
    matmul(A.ravel(), 0, A.shape[1], packed(W), 0, *W.shape, C.ravel(), 0, C.shape[1], len(A))
    return C


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("M", range(1, 10))
def test_matmul_equals_numpy_and_writes_nothing_else(dtype, M):
    rng = np.random.default_rng(M)
    for N in SIZES:
        for K in (1, 2, 3, 40):
            A, W, C = random(rng, (M, K + 3), dtype), random(rng, (K, N), dtype), random(rng, (M, N + 5), dtype)
            result = C.copy()
            matmul(A.ravel(), 1, K + 3, packed(W, 6), 6, K, N, result.ravel(), 2, N + 5, M)
            expected = C.astype(np.float64)
            expected[:, 2 : 2 + N] += A[:, 1 : 1 + K].astype(np.float64) @ W
            np.testing.assert_allclose(result, expected, rtol=0, atol=300 * np.finfo(dtype).eps)
            outside = np.r_[0:2, 2 + N : N + 5]
            assert np.array_equal(result[:, outside], C[:, outside])


@pytest.mark.parametrize("dtype", DTYPES)
def test_matmul_tn_equals_numpy_and_writes_nothing_else(dtype):
    rng = np.random.default_rng(1)
    for M in (1, 2, 3, 4, 5, 9, 64):
        for N in SIZES:
            for K in (1, 63, 64, 200):
                A, B, C = random(rng, (K, M + 2), dtype), random(rng, (K, N + 3), dtype), random(rng, (M, N + 5), dtype)
                result = C.copy()
                matmul_tn(A.ravel(), 1, M + 2, B.ravel(), 2, N + 3, result.ravel(), 3, N + 5, M, N, K)
                expected = C.astype(np.float64)
                expected[:, 3 : 3 + N] += A[:, 1 : 1 + M].T.astype(np.float64) @ B[:, 2 : 2 + N]
                np.testing.assert_allclose(result, expected, rtol=0, atol=300 * np.finfo(dtype).eps)
                outside = np.r_[0:3, 3 + N : N + 5]
                assert np.array_equal(result[:, outside], C[:, outside])


@pytest.mark.parametrize("dtype", DTYPES)
def test_matmul_tn_onto_one_dense_column(dtype):
    rng = np.random.default_rng(2)
    for M in SIZES:
        A, B, C = random(rng, (90, M), dtype), random(rng, (90, 3), dtype), random(rng, M + 2, dtype)
        result = C.copy()
        matmul_tn(A.ravel(), 0, M, B.ravel(), 1, 3, result, 1, 1, M, 1, 90)
        np.testing.assert_allclose(result[1:-1], C[1:-1] + A.T.astype(np.float64) @ B[:, 1], atol=200 * np.finfo(dtype).eps)
        assert result[0] == C[0] and result[-1] == C[-1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_over_no_terms_change_nothing(dtype):
    C = np.ones(8, dtype)
    matmul(C, 0, 0, C, 0, 0, 8, C, 0, 8, 1)
    matmul_tn(C, 0, 1, C, 0, 1, C, 0, 8, 1, 8, 0)
    column_sums(C, 0, 8, C, 0, 8, 0)
    matmul(np.ones(8, dtype), 0, 8, np.ones(1000, dtype), 0, 8, 4, C, 0, 4, 0)
    assert np.array_equal(C, np.ones(8, dtype))


@njit
def plain_product(A, W, C):
    """The definition: one chain of fused multiply-adds an element, k ascending."""
    for m in range(A.shape[0]):
        for n in range(W.shape[1]):
            total = C[m, n]
            for k in range(A.shape[1]):
                total = activations.fma(A[m, k], W[k, n], total)
            C[m, n] = total


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_are_those_of_the_definition_whatever_the_tile(dtype):
    rng = np.random.default_rng(3)
    A, W, C = random(rng, (9, 77), dtype), random(rng, (77, 70), dtype), random(rng, (9, 70), dtype)
    expected = C.copy()
    plain_product(A, W, expected)
    assert np.array_equal(product(A, W, C), expected)
    for rows in (1, 2, 3, 4, 5, 6, 7, 8):
        for first in (0, 1, 9 - rows):
            part = slice(first, first + rows)
            assert np.array_equal(product(A[part], W, C[part]), expected[part])
    for first, stop in ((0, 1), (1, 70), (3, 20), (17, 66), (69, 70)):
        columns = slice(first, stop)
        assert np.array_equal(product(A, W[:, columns], C[:, columns].copy()), expected[:, columns])
    result = C.copy()
    matmul_tn(np.ascontiguousarray(A.T).ravel(), 0, 9, W.ravel(), 0, 70, result.ravel(), 0, 70, 9, 70, 77)
    assert np.array_equal(result, expected)
    column = C[:, 5].copy()
    matmul_tn(np.ascontiguousarray(A.T).ravel(), 0, 9, W.ravel(), 5, 70, column, 0, 1, 9, 1, 77)
    assert np.array_equal(column, expected[:, 5])


@pytest.mark.parametrize("dtype", DTYPES)
def test_operands_may_lie_in_one_array(dtype):
    rng = np.random.default_rng(4)
    A, W, C = random(rng, (6, 20), dtype), random(rng, (20, 33), dtype), random(rng, (6, 33), dtype)
    P = packed(W)
    memory = np.concatenate([A.ravel(), P, C.ravel()])
    matmul(memory, 0, 20, memory, A.size, 20, 33, memory, A.size + P.size, 33, 6)
    assert np.array_equal(memory[A.size + P.size :].reshape(6, 33), product(A, W, C))
    memory = np.concatenate([W.ravel(), C.ravel()])
    column_sums(memory, 0, 33, memory, W.size, 33, 20)
    expected = C[0].copy()
    for row in W:
        expected += row
    assert np.array_equal(memory[W.size : W.size + 33], expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_column_sums_add_rows_in_order(dtype):
    rng = np.random.default_rng(5)
    for N in SIZES:
        for K in (1, 2, 3, 4, 5, 21):
            B, C = random(rng, (K, N + 3), dtype), random(rng, N + 4, dtype)
            expected = C.copy()
            for row in B:
                expected[2 : 2 + N] += row[1 : 1 + N]
            column_sums(B.ravel(), 1, N + 3, C, 2, N, K)
            assert np.array_equal(C, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pack_lays_out_panels_padded_with_zeros(dtype):
    rng = np.random.default_rng(6)
    width = panel_width(dtype)
    for K in (1, 3, 8, 16, 19, 35):
        for N in (1, 7, 16, 20, width - 1, width, width + 1, 2 * width + 9):
            W = random(rng, (K, N), dtype)
            size = packed_size(K, N, W.itemsize)
            panels = -(-N // width)
            expected = np.zeros((K, panels * width), dtype)
            expected[:, :N] = W
            expected = expected.reshape(K, panels, width).transpose(1, 0, 2).ravel()
            assert size == expected.size
            spread = np.full((K, 2 * N), np.nan, dtype)
            spread[:, ::2] = W
            sources = {
                "rows": (np.r_[dtype(9), W.ravel()], 1, N, 1),
                "columns": (np.r_[dtype(9), W.T.ravel()], 1, 1, K),
                "any": (spread.ravel(), 0, 2 * N, 2),
            }
            for name, (source, w0, row_stride, col_stride) in sources.items():
                P = np.full(size + 9, np.nan, dtype)
                pack(source, w0, row_stride, col_stride, K, N, P, 5)
                assert np.array_equal(P[5:-4], expected), (name, K, N)
                assert np.isnan(P[:5]).all() and np.isnan(P[-4:]).all()


EDGE_OF_MEMORY = """
import ctypes, mmap
import numba
import numpy as np
from tsrnn.backends.cpu import calls
from tsrnn.backends.cpu.microkernels import matmul, matmul_tn, column_sums, pack, packed_size
page, libc, keep = mmap.PAGESIZE, ctypes.CDLL(None, use_errno=True), []
def at_the_edge(values):  # the last element ends where memory that may not be touched begins
    pages = -(-values.nbytes // page) + 1
    memory = mmap.mmap(-1, pages * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert libc.mprotect(ctypes.c_void_p(address + (pages - 1) * page), page, 0) == 0
    keep.append(memory)
    array = np.frombuffer(memory, values.dtype, values.size, (pages - 1) * page - values.nbytes)
    array[:] = values
    return array
for dtype in (np.float32, np.float64):
    for N in (1, 3, 8, 17, 31, 50, 65):
        A, W, C = (at_the_edge(np.ones(size, dtype)) for size in (5 * 7, 7 * N, 5 * N))
        P = at_the_edge(np.zeros(packed_size(7, N, A.itemsize), dtype))
        pack(W, 0, 1, 7, 7, N, P, 0)
        pack(W, 0, N, 1, 7, N, P, 0)
        matmul(A, 0, 7, P, 0, 7, N, C, 0, N, 5)
        matmul_tn(A, 0, 5, W, 0, N, C, 0, N, 5, N, 7)
        column_sums(W, 0, N, C, 4 * N, N, 7)
        assert (C[: 4 * N] == 15).all() and (C[4 * N :] == 22).all()
cells = [(kernel, k) for pair in calls._CELLS.values() for k, kernel in enumerate(pair)]
for kernel, backward in cells:
    def step(mem, places, units, kernel=kernel):
        kernel(mem, places, 1, units)
    step = numba.njit(step)
    for dtype in (np.float32, np.float64):
        for H in (1, 5, 8, 15, 16, 33):
            mem = at_the_edge(np.zeros(16 * H, dtype))
            far = np.array([1 << 40])  # places that are only asked for need not exist
            own = [0, 12, 4, 8, 9, 10, 11] if backward else [0, 12, 8, 9, 10, 11]
            places = np.r_[np.array(own) * H, far, far][:8]
            step(mem, places, H)
            assert np.isfinite(mem).all()
print("untouched")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses mprotect")
def test_nothing_behind_the_arrays_is_read():
    result = subprocess.run(
        [sys.executable, "-c", EDGE_OF_MEMORY], capture_output=True, text=True, timeout=120, cwd=ROOT.parent
    )
    assert result.stdout.strip() == "untouched", (result.returncode, result.stderr)


def test_arrays_of_different_types_are_refused():
    one, other = np.ones(1000, np.float32), np.ones(1000)
    with pytest.raises(TypingError, match="one element type"):
        matmul(one, 0, 1, other, 0, 1, 1, other, 0, 1, 1)
    with pytest.raises(TypingError, match="flat C-contiguous"):
        matmul(one, 0, 1, one, 0, 1, 1, one.reshape(10, 100), 0, 1, 1)


NARROWER = """
import hashlib
import numpy as np
from tsrnn.backends.cpu import microkernels as m
rng = np.random.default_rng(0)
A, W, C = (rng.standard_normal(shape).astype(np.float32) for shape in ((7, 33), (33, 45), (7, 45)))
P = np.empty(m.packed_size(33, 45, 4), np.float32)
m.pack(np.ascontiguousarray(W.T).ravel(), 0, 1, 33, 33, 45, P, 0)
m.matmul(A.ravel(), 0, 33, P, 0, 33, 45, C.ravel(), 0, 45, 7)
print(m.VECTOR_BYTES, hashlib.sha256(C.tobytes()).hexdigest())
"""


@pytest.mark.skipif(vectors.VECTOR_BYTES == 16, reason="needs a processor with wide vectors")
def test_bits_do_not_depend_on_the_vector_width():
    results = []
    for features in (None, "+avx,+avx2,+fma,-avx512f", "+sse4.2,-avx,-avx2,-fma,-avx512f"):
        env = dict(os.environ) | ({} if features is None else {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": features})
        command = [sys.executable, "-c", NARROWER]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env, cwd=ROOT.parent, check=False)
        assert result.returncode == 0, result.stderr
        results.append(result.stdout.split())
    widths, digests = zip(*results, strict=True)
    assert widths[1:] == ("32", "16")
    assert len(set(digests)) == 1
