"""One row of a plan on the CUDA backend against the NumPy backend; all memory is compared, with what neither may touch."""

from __future__ import annotations

import cudasim
import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cuda import executor as card_executor
from tsrnn.backends.cuda.place import CARD
from tsrnn.backends.cuda.recorder import Recorder, Turn
from tsrnn.backends.numpy import executor

KEY = c.random_key(7, 3)
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-14}


def make_row(op, T_in, F_in, T_out=None, F_out=None, repeat=1, masked=False, mask_out=False, indices=0, **columns):
    """A row with buffers of its own, some units apart; returns it and the units of mem, indices and mask."""
    T_out, F_out = T_out or T_in, F_out or F_in
    row = np.full(c.N_COLUMNS, c.NONE, np.int64)
    row[[c.OP, c.REPEAT, c.T_IN, c.F_IN, c.T_OUT, c.F_OUT]] = op, repeat, T_in, F_in, T_out, F_out
    row[[c.ADD_DX, c.OPTION, c.STREAM]] = 0, 0, 3
    mem = 1
    for column in (c.X, c.X2, c.Y, c.DY, c.DX, c.DX2):
        size = T_out * F_out if column in (c.Y, c.DY) else T_in * F_in
        row[column], mem = mem, mem + size * repeat + 1
    mask = 1
    if masked:
        row[c.MASK_IN], mask = mask, mask + T_in * repeat + 1
        if mask_out:
            row[c.MASK_OUT], mask = mask, mask + T_out * repeat + 1
    if indices:
        row[c.WORK] = 1
    for name, value in columns.items():
        row[getattr(c, name)] = value
    return row, (mem, indices * repeat + 2, mask)


def make_memory(row, sizes, B, dtype, seed=0):
    """Random memory for B samples; of a masked row, sample 0 has no real step and the last one no other."""
    rng = np.random.default_rng(seed)
    mem = rng.normal(size=sizes[0] * B).astype(dtype)
    mem[rng.random(mem.size) < 0.2] = dtype(0.5)  # ties
    mask = rng.integers(0, 2, sizes[2] * B).astype(np.uint8)
    if row[c.MASK_IN] != c.NONE:
        at, shape = row[c.MASK_IN] * B, (row[c.T_IN], B * row[c.REPEAT])
        real = mask[at:at + shape[0] * shape[1]].reshape(shape)
        real[:, 0] = 0
        if shape[1] > 1:
            real[:, -1] = 1
    return c.Scratch(mem, np.full(sizes[1] * B, -7, np.int32), mask)


def run_rows(row, rate, memory, B, backward=(False, True), theta=None):
    """Runs the row forward, then backward, on both backends; returns (mem, indices, mask) of the card and of NumPy.

    With parameters `theta`, their gradients lie behind mem.
    """
    dtype = memory.mem.dtype.type
    samples = np.random.default_rng(1).permutation(3 * B)[:B]
    plan = c.Plan(row[None], np.array([rate]), np.ones(1), np.zeros((2, 2), np.int64))
    data = c.Data(*[np.zeros(1, dtype)] * 8)
    expected = c.Scratch(*(array.copy() for array in memory))
    theta = np.zeros(0, dtype) if theta is None else theta
    params = c.Params(theta, np.zeros(1, dtype), np.zeros((1, theta.size), dtype))
    chunk = executor.Chunk(0, plan, data, c.Batch(samples, B, KEY), params, expected, None)
    chunk.grads = params.grads[0]
    scratch = CARD.scratch(*(array.size for array in memory), dtype)
    for there, array in zip(scratch, memory):
        CARD.put(array, there)
    turn = Turn(B, 1)
    recorder = Recorder(plan, B, c.TRAIN, data, c.Params(*map(CARD.put, params)), scratch, turn)
    CARD.put(samples, recorder.samples)
    CARD.put(KEY, recorder.key)
    for back in backward:
        tables = (executor.BACKWARD, card_executor.BACKWARD) if back else (executor.FORWARD, card_executor.FORWARD)
        with np.errstate(all="ignore"):
            tables[0][int(row[c.OP])](chunk, row, rate)
        recorder.operation_begins()
        tables[1][int(row[c.OP])](recorder, row, rate)
    card_executor._replay(recorder)
    found = c.Scratch(*(np.empty_like(array) for array in memory))
    for there, array in zip(scratch, found):
        CARD.get(there, array)
    grads = np.zeros_like(theta)
    CARD.get(recorder.grads, grads)
    return tuple(each._replace(mem=np.append(each.mem, values)) for each, values in ((found, grads), (expected, chunk.grads)))


def compare(row, sizes, B, dtype, rate=0.0, seed=0, memory=None, n_params=0):
    """Asserts that the card's memory is NumPy's, whatever the order of threads, and without races; returns the card's."""
    memory = make_memory(row, sizes, B, dtype, seed) if memory is None else memory
    theta = np.random.default_rng(seed + 1).normal(size=n_params).astype(dtype)
    both = []
    for order in (cudasim.FIRST_TO_LAST, cudasim.LAST_TO_FIRST):
        with cudasim.checked(order):
            found, expected = run_rows(row, rate, memory, B, theta=theta)
        if n_params and row[c.ACT] != c.LINEAR:  # DY has become the gradient before the activation
            at, size = row[c.DY] * B, row[c.T_OUT] * row[c.F_OUT] * row[c.REPEAT] * B
            found.mem[at:at + size] = expected.mem[at:at + size]
        tolerance = TOLERANCE[dtype]
        np.testing.assert_allclose(found.mem, expected.mem, rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.mask, expected.mask)
        both.append(found)
    for first, second in zip(*both):
        np.testing.assert_array_equal(first, second)
    return found
