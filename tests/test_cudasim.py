"""The simulator that CUDA kernels are tested with notices what would go wrong on a card."""

from __future__ import annotations

import os
import subprocess
import sys

import cudasim
import numpy as np
import pytest
from numba import cuda

pytestmark = pytest.mark.skipif(cudasim.has_gpu(), reason="kernels run on the GPU here, and nothing is simulated")
BOTH = [cudasim.FIRST_TO_LAST, cudasim.LAST_TO_FIRST]


def run(body, size, *args, threads=8, grid=1, shared=0, order=cudasim.FIRST_TO_LAST, races=False):
    """What the kernel `body(out, *args)` writes to zeros, which begin with -1."""
    out = np.full(size, -1.0)
    before = cudasim.order, cudasim.detect_races
    cudasim.order, cudasim.detect_races = order, races
    try:
        cuda.jit(body)[grid, threads, 0, shared](out, *args)
    finally:
        cudasim.order, cudasim.detect_races = before
    return out


def neighbours(out, barrier):
    """Each thread hands its number to the one before it."""
    values = cuda.shared.array(8, np.float64)
    i = cuda.threadIdx.x
    values[i] = i
    if barrier:
        cuda.syncthreads()
    out[i] = values[(i + 1) % 8]


@pytest.mark.parametrize("order", BOTH)
def test_a_barrier_orders_a_block(order):
    np.testing.assert_array_equal(run(neighbours, 8, True, order=order, races=True), (np.arange(8) + 1) % 8)


def test_a_missing_barrier_shows_in_either_order():
    found = [run(neighbours, 8, False, order=order) for order in BOTH]
    assert not np.array_equal(*found, equal_nan=True)
    assert all(np.isnan(values).any() for values in found)  # uninitialised shared memory is not zero
    for order in BOTH:
        with pytest.raises(cudasim.RaceError, match="without a barrier"):
            run(neighbours, 8, False, order=order, races=True)


def one_waits(out):
    if cuda.threadIdx.x == 0:
        cuda.syncthreads()
    else:
        out[cuda.threadIdx.x] = cuda.shfl_sync(-1, 1.0, 1)


def test_a_deadlock_is_an_error():
    with pytest.raises(RuntimeError, match="deadlock"):
        run(one_waits, 8)


def two_barriers(out):
    if cuda.threadIdx.x < 4:
        cuda.syncthreads()
    else:
        cuda.syncthreads()


def test_different_barriers_are_an_error():
    with pytest.raises(RuntimeError, match="different barriers"):
        run(two_barriers, 8, races=True)


def reads(out, i):
    out[0] = out[i]


def reads_shared(out, i):
    values = cuda.shared.array((2, 4), np.float64)
    out[0] = values[0, i]


def writes_local(out, i):
    values = cuda.local.array(4, np.float64)
    values[i] = 1


def slices(out, i):
    values = out[i:]
    out[0] = values[0]


@pytest.mark.parametrize("body", [reads, reads_shared, writes_local, slices])
@pytest.mark.parametrize("i", [-1, 4])
def test_indices_outside_an_array_are_errors(body, i):
    with pytest.raises(IndexError):
        run(body, 4, i, threads=1)


def test_the_next_kernel_runs_after_an_error():
    for body, args in ((one_waits, ()), (reads, (-1,))):
        with pytest.raises((RuntimeError, IndexError)):
            run(body, 8, *args)
    np.testing.assert_array_equal(run(neighbours, 8, True), (np.arange(8) + 1) % 8)


def uninitialised(out):
    shared = cuda.shared.array(1, np.float64)
    mine = cuda.local.array(1, np.float64)
    out[cuda.blockIdx.x * 2] = shared[0]
    out[cuda.blockIdx.x * 2 + 1] = mine[0]
    cuda.syncthreads()
    shared[0], mine[0] = 1, 1


def test_each_block_finds_garbage():
    assert np.isnan(run(uninitialised, 6, threads=1, grid=3)).all()


def warp_sum(out):
    value = float(cuda.threadIdx.x)
    for step in (16, 8, 4, 2, 1):
        value += cuda.shfl_xor_sync(-1, value, step)
    out[cuda.threadIdx.x] = value


def warp_moves(out):
    lane, i = cuda.laneid, cuda.threadIdx.x
    value = float(i)
    out[i] = cuda.shfl_sync(-1, value, 5)
    out[64 + i] = cuda.shfl_up_sync(-1, value, 2)
    out[128 + i] = cuda.shfl_down_sync(-1, value, 3)
    out[192 + i] = cuda.ballot_sync(-1, lane % 3 == 0)
    out[256 + i] = cuda.any_sync(-1, i == 40)
    out[320 + i] = cuda.all_sync(-1, i < 40)


@pytest.mark.parametrize("order", BOTH)
def test_shuffles_and_votes(order):
    np.testing.assert_array_equal(run(warp_sum, 64, threads=64, order=order), np.repeat([496, 496 + 32 * 32], 32))
    found = run(warp_moves, 384, threads=64, order=order, races=True).reshape(6, 64)
    i, lane = np.arange(64), np.arange(64) % 32
    np.testing.assert_array_equal(found[0], i // 32 * 32 + 5)
    np.testing.assert_array_equal(found[1], np.where(lane >= 2, i - 2, i))  # lanes without a partner keep their own
    np.testing.assert_array_equal(found[2], np.where(lane + 3 < 32, i + 3, i))
    np.testing.assert_array_equal(found[3], sum(1 << k for k in range(0, 32, 3)))
    np.testing.assert_array_equal(found[4], i >= 32)
    np.testing.assert_array_equal(found[5], i < 32)


def from_a_missing_lane(out):
    out[cuda.threadIdx.x] = cuda.shfl_xor_sync(-1, 1.0, 16)


def test_a_shuffle_from_a_lane_that_is_not_there_is_an_error():
    with pytest.raises(KeyError):
        run(from_a_missing_lane, 8)


def through_a_warp(out, meets):
    values = cuda.shared.array(64, np.float64)
    i = cuda.threadIdx.x
    values[i] = i
    if meets:
        cuda.syncwarp()
    out[i] = values[i ^ 1]


def across_warps(out):
    values = cuda.shared.array(64, np.float64)
    i = cuda.threadIdx.x
    values[i] = i
    cuda.syncwarp()
    out[i] = values[i ^ 32]


def test_a_warp_orders_its_own_lanes_alone():
    np.testing.assert_array_equal(run(through_a_warp, 64, True, threads=64, races=True), np.arange(64) ^ 1)
    for body, args in ((through_a_warp, (False,)), (across_warps, ())):
        with pytest.raises(cudasim.RaceError):
            run(body, 64, *args, threads=64, races=True)


def same_place(out):
    out[0] = 1


def same_place_of_blocks(out):
    if cuda.threadIdx.x == 0:
        out[0] = cuda.blockIdx.x


def counts(out):
    cuda.atomic.add(out, 0, 1)


def same_place_in_turn(out):
    for i in range(8):
        if cuda.threadIdx.x == i:
            out[0] = i
        cuda.syncthreads()


def test_races_in_global_memory():
    for body, grid in ((same_place, 1), (same_place_of_blocks, 2)):
        run(body, 1, grid=grid)
        with pytest.raises(cudasim.RaceError):
            run(body, 1, grid=grid, races=True)
    assert run(counts, 1, grid=3, races=True) == 23
    assert run(same_place_in_turn, 1, races=True) == 7


def on_dynamic_memory(out, barrier):
    values = cuda.shared.array(0, np.float64)
    i = cuda.threadIdx.x
    values[i] = i
    if barrier:
        cuda.syncthreads()
    out[i] = values[7 - i]


def test_dynamic_shared_memory():
    np.testing.assert_array_equal(run(on_dynamic_memory, 8, True, shared=64, races=True), np.arange(8)[::-1])
    with pytest.raises(cudasim.RaceError):
        run(on_dynamic_memory, 8, False, shared=64, races=True)
    with pytest.raises(IndexError):
        run(on_dynamic_memory, 8, True, shared=56)


def square(out):
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    out[y * 4 + x] = cuda.laneid


def test_lanes_of_a_block_of_two_dimensions():
    np.testing.assert_array_equal(run(square, 8, threads=(4, 2)), np.arange(8))


def votes(out):
    i = cuda.threadIdx.x
    out[i] = cuda.syncthreads_count(i > 2) + 10 * cuda.syncthreads_or(i == 3) + 100 * cuda.syncthreads_and(i < 7)


@pytest.mark.parametrize("order", BOTH)
def test_votes_of_a_block(order):
    np.testing.assert_array_equal(run(votes, 8, order=order), 15)


def size_of_block(out, i):
    out[i] = cuda.blockDim.x + 100 * cuda.gridDim.x


def test_a_kernel_has_the_grid_it_was_asked_for():
    out, kernel = np.zeros(2), cuda.jit(size_of_block)
    first, second = kernel[1, 2], kernel[3, 4]
    first(out, 0)
    second(out, 1)
    np.testing.assert_array_equal(out, [102, 304])


def overflows(out, x):
    out[0] = np.exp(x)


def test_kernels_warn_of_nothing():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(overflows, 1, np.float32(1000), threads=1) == np.inf


def test_a_process_can_ask_for_the_real_compiler():
    code = "import cudasim; cudasim.install(); from numba import config; print(config.ENABLE_CUDASIM)"
    for wanted in ("0", "1"):
        environment = os.environ | {"NUMBA_ENABLE_CUDASIM": wanted, "PYTHONPATH": os.path.dirname(__file__)}
        found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert found.stdout.strip() == wanted
