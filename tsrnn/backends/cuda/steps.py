"""The time loop of a large recurrent layer: a launch a step.

Forward a block multiplies a tile of rows with the weights of some units, all gates of a unit by one thread, which then does the
cell.  Backward it multiplies the gate gradients of the step that comes later in time with W_hh transposed, and so has what the
cell of this step needs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.jit import SIMULATED, cuda, device, family, index, unrolled
from tsrnn.backends.cuda.sequence import CELLS, is_real, load_slots, load_x, row_of_x, store_slots, store_state


class Block(NamedTuple):
    """What a block makes: rows x units, by threads of `height` rows each, from `depth` terms of a sum at a time."""

    rows: int
    units: int
    depth: int
    height: int
    parts: int = 1  # of the depth, added by threads of their own

    @property
    def threads(self) -> int:
        return self.rows // self.height * self.units * self.parts


FORWARD = Block(4, 2, 4, 2) if SIMULATED else Block(32, 16, 32, 2)
BACKWARD = Block(2, 2, 4, 2, 2) if SIMULATED else Block(16, 16, 64, 4, 4)


def _padded(dtype, depth):
    """Elements from one line of a tile to the next: lines begin in different banks, at multiples of 16 bytes."""
    return depth + 16 // np.dtype(dtype).itemsize


@device
def fetch_rows(dtype, lines, depth, threads):
    """A tile (lines, depth) of a matrix from row `first` on, times that of `factors`; zeros behind its end."""
    count, zero = lines * depth // threads, dtype(0)

    def function(values, array, at, ld, first, n, k, stop, factors, has_factors):
        for i in range(count):
            e = np.int64(cuda.threadIdx.x) + i * threads
            row, j = first + e // depth, k + e % depth
            values[i] = zero
            if row < n and j < stop:
                values[i] = array[index(at + row * ld + j)]
                if has_factors:
                    values[i] *= array[index(factors + row * stop + j)]
    return function


@device
def put_rows(lines, depth, threads, stride):
    count = lines * depth // threads

    def function(values, shared):
        for i in range(count):
            e = np.int64(cuda.threadIdx.x) + i * threads
            shared[e // depth * stride + e % depth] = values[i]
    return function


@device
def fetch_gates(dtype, gates, units, depth, threads):
    """W_hh's tile (depth, units, gates), all gates of a unit side by side."""
    count, zero = depth * units * gates // threads, dtype(0)

    def function(values, theta, w, H, first, k):
        for i in range(count):
            e = np.int64(cuda.threadIdx.x) + i * threads
            unit, gate, j = first + e % units, e // units % gates, k + e // (units * gates)
            values[i] = theta[index(w + (j * gates + gate) * H + unit)] if unit < H and j < H else zero
    return function


@device
def put_gates(gates, units, depth, threads):
    count = depth * units * gates // threads

    def function(values, shared):
        for i in range(count):
            e = np.int64(cuda.threadIdx.x) + i * threads
            shared[(e // (units * gates) * units + e % units) * gates + e // units % gates] = values[i]
    return function


@device
def multiply_gates(dtype, block, gates, stride):
    """sums[i * gates + g] += the thread's rows i times its unit's weights."""
    rows, units, depth, height, _ = block
    apart, vector = rows // height, min(depth, 16 // np.dtype(dtype).itemsize)

    def piece(n):
        def function(args):
            sums, xs, ws, x, y = args
            for j in range(vector):
                for i in range(height):
                    value = xs[index((y + i * apart) * stride + n * vector + j)]
                    for g in range(gates):
                        sums[i * gates + g] += value * ws[index(((n * vector + j) * units + x) * gates + g)]
        return cuda.jit(function, device=True, inline="always")
    return unrolled(depth // vector, piece)


@family
def forward_step(dtype, code, act, masked, dropped, tokens):
    """A step from the states at row `before` to those at `now`, both in rows of states; `t`: its first position."""
    block, body, G, S = FORWARD, CELLS[code].forward(dtype, act), c.CELLS[code].gates, c.CELLS[code].slots
    (rows, units, depth, height, _), threads, stride, zero = block, block.threads, _padded(dtype, block.depth), dtype(0)
    n_h, n_w, n_sums, apart = rows * depth // threads, depth * units * G // threads, height * G, rows // height
    fetch_h, put_h = fetch_rows(dtype, rows, depth, threads), put_rows(rows, depth, threads, stride)
    fetch_w, put_w = fetch_gates(dtype, G, units, depth, threads), put_gates(G, units, depth, threads)
    product, load = multiply_gates(dtype, block, G, stride), load_x(code, G)
    store, store_gates = store_state(code), store_slots(S)
    real_at, row_of, has_c = is_real(masked), row_of_x(tokens), c.CELLS[code].has_cell_state
    size_h, size_w = rows * stride, depth * units * G

    def kernel(mem, mask, indices, theta, t, n_rows, H, before, now, w, real, work, source, ld_source, numbers, h, ld, c, drop,
               factors, y):
        xs = cuda.shared.array(size_h, dtype, alignment=16)
        ws = cuda.shared.array(size_w, dtype, alignment=16)
        next_h, next_w = cuda.local.array(n_h, dtype), cuda.local.array(n_w, dtype)
        sums, gates, a = cuda.local.array(n_sums, dtype), cuda.local.array(S, dtype), cuda.local.array(G, dtype)
        x, state = cuda.local.array(G, dtype), cuda.local.array(2, dtype)
        thread = np.int64(cuda.threadIdx.x)
        column, line = thread % units, thread // units
        first_row, first_unit = np.int64(cuda.blockIdx.y) * rows, np.int64(cuda.blockIdx.x) * units
        for i in range(n_sums):
            sums[i] = zero
        fetch_h(next_h, mem, h + before * ld, ld, first_row, n_rows, 0, H, factors, dropped)
        fetch_w(next_w, theta, w, H, first_unit, 0)
        for k in range(0, H, depth):
            cuda.syncthreads()
            put_h(next_h, xs)
            put_w(next_w, ws)
            cuda.syncthreads()
            if k + depth < H:
                fetch_h(next_h, mem, h + before * ld, ld, first_row, n_rows, k + depth, H, factors, dropped)
                fetch_w(next_w, theta, w, H, first_unit, k + depth)
            product((sums, xs, ws, column, line))
        u = first_unit + column
        for i in range(height):
            row = first_row + line + i * apart
            if row < n_rows and u < H:
                for g in range(G):
                    a[g] = sums[i * G + g] + theta[index(w + (H + 1) * G * H + g * H + u)]
                state[0] = mem[index(h + (before + row) * ld + u)]
                if has_c:
                    state[1] = mem[index(c + (before + row) * H + u)]
                if dropped:
                    mem[index(drop + (t + row) * H + u)] = state[0] * mem[index(factors + row * H + u)]
                if real_at(mask, real + t + row):
                    load(x, mem, source + row_of(indices, numbers, t + row) * ld_source + u, H)
                    body(x, a, state, gates)
                    store_gates(gates, mem, work + (t + row) * S * H + u, H)
                store(state, mem, h + (now + row) * ld + u, c + (now + row) * H + u)
                if y >= 0:
                    mem[index(y + row * ld + u)] = state[0]
    return kernel, {"launch_bounds": threads}


@device
def multiply_rows(dtype, block, stride):
    """sums[i] += the thread's rows i times its unit's row, over its part of the depth."""
    rows, units, depth, height, parts = block
    apart, share = rows // height, depth // parts
    vector = min(share, 16 // np.dtype(dtype).itemsize)

    def piece(n):
        def function(args):
            sums, xs, ws, x, y, part = args
            for j in range(vector):
                k = part * share + n * vector + j
                weight = ws[index(x * stride + k)]
                for i in range(height):
                    sums[i] += xs[index((y + i * apart) * stride + k)] * weight
        return cuda.jit(function, device=True, inline="always")
    return unrolled(share // vector, piece)


@device
def add_parts(dtype, block):
    """Adds what a block's parts have, in their order: part i has then the sum of the i-th row in sums[0]."""
    rows, units, depth, height, parts = block
    side, zero = rows // height * units, dtype(0)

    def function(sums, shared, place, part):
        cuda.syncthreads()
        for i in range(height):
            shared[(part * height + i) * side + place] = sums[i]
        cuda.syncthreads()
        for i in range(height):
            total = zero
            for p in range(parts):
                total += shared[(p * height + i) * side + place]
            sums[i] = total
    return function


@family
def backward_step(dtype, code, act, masked, dropped, sequence, has_later, has_step):
    """Gradients of the gates of the step at `t`, its position, from those of the step at `later`; and the running ones."""
    block, body, G, S = BACKWARD, CELLS[code].backward(dtype, act), c.CELLS[code].gates, c.CELLS[code].slots
    (rows, units, depth, height, parts), threads, stride, zero = block, block.threads, _padded(dtype, block.depth), dtype(0)
    n_x, n_w, apart = rows * depth // threads, units * depth // threads, rows // height
    size_x, size_w = rows * stride, units * stride
    fetch_x, put_x = fetch_rows(dtype, rows, depth, threads), put_rows(rows, depth, threads, stride)
    fetch_w, put_w = fetch_rows(dtype, units, depth, threads), put_rows(units, depth, threads, stride)
    product, add_up, load, store = multiply_rows(dtype, block, stride), add_parts(dtype, block), load_slots(S), store_slots(S)
    real_at, has_c, n_added = is_real(masked), c.CELLS[code].has_cell_state, height * threads

    def kernel(mem, mask, theta, t, later, n_rows, H, w, real, work, old, ld_old, before, factors, dy, ld, dh, dc):
        xs = cuda.shared.array(size_x, dtype, alignment=16)
        ws = cuda.shared.array(size_w, dtype, alignment=16)
        added = cuda.shared.array(n_added, dtype)
        next_x, next_w = cuda.local.array(n_x, dtype), cuda.local.array(n_w, dtype)
        sums, gates, d = cuda.local.array(height, dtype), cuda.local.array(S, dtype), cuda.local.array(2, dtype)
        thread = np.int64(cuda.threadIdx.x)
        column, line, part = thread % units, thread // units % apart, thread // (units * apart)
        first_row, first_unit = np.int64(cuda.blockIdx.y) * rows, np.int64(cuda.blockIdx.x) * units
        u, n = first_unit + column, G * H
        for i in range(height):
            sums[i] = zero
        if has_later:
            fetch_x(next_x, mem, work + later * S * H, S * H, first_row, n_rows, 0, n, 0, False)
            fetch_w(next_w, theta, w, n, first_unit, H, 0, n, 0, False)
            for k in range(0, n, depth):
                cuda.syncthreads()
                put_x(next_x, xs)
                put_w(next_w, ws)
                cuda.syncthreads()
                if k + depth < n:
                    fetch_x(next_x, mem, work + later * S * H, S * H, first_row, n_rows, k + depth, n, 0, False)
                    fetch_w(next_w, theta, w, n, first_unit, H, k + depth, n, 0, False)
                product((sums, xs, ws, column, line, part))
            add_up(sums, added, line * units + column, part)
        for i in range(height):
            row = first_row + line + i * apart
            if i % parts == part and row < n_rows and u < H:
                d[0], d[1] = mem[index(dh + row * H + u)] if has_later else zero, zero
                if has_c and has_later:
                    d[1] = mem[index(dc + row * H + u)]
                d[0] += sums[i] * mem[index(factors + row * H + u)] if dropped and has_later else sums[i]
                if has_step:
                    if sequence or not has_later:
                        d[0] += mem[index(dy + ((t + row) if sequence else row) * ld + u)]
                    if real_at(mask, real + t + row):
                        load(gates, mem, work + (t + row) * S * H + u, H)
                        body(d, gates, mem[index(old + (before + row) * ld_old + u)],
                             mem[index(old + (t + n_rows + row) * ld_old + u)])
                    else:
                        for s in range(S):
                            gates[s] = zero
                    store(gates, mem, work + (t + row) * S * H + u, H)
                mem[index(dh + row * H + u)] = d[0]
                if has_c:
                    mem[index(dc + row * H + u)] = d[1]
    return kernel, {"launch_bounds": threads}


@family
def begin(dtype, has_c):
    """Initial states of 0."""
    zero = dtype(0)

    def kernel(n, mem, H, h, ld, c):
        i = cuda.grid(1)
        if i < n:
            mem[h + i // H * ld + i % H] = zero
            if has_c:
                mem[c + i] = zero
    return kernel


def _grid(a, block):
    return -(-a.H // block.units), -(-a.rows // block.rows)


def forward(recorder, a, given, y):
    """Records the steps of `recurrent.Layer` a; see `sequence.forward`."""
    kernel = forward_step(recorder.dtype, a.code, a.act, a.masked, a.dropped, a.has_tokens)
    start = (a.T + 1) * a.rows if a.reverse else 0
    if not given:
        recorder.each(begin(recorder.dtype, a.cell.has_cell_state), a.rows * a.H, recorder.mem, a.H, a.h + start * a.ld, a.ld,
                      a.c + start * a.H)
    for t in a.steps:
        recorder.launch(kernel, _grid(a, FORWARD), FORWARD.threads, recorder.mem, recorder.mask, recorder.indices,
                        recorder.theta, t * a.rows, a.rows, a.H, t * a.rows + a.previous, (t + 1) * a.rows, a.W_hh, a.mask,
                        a.work, a.x_parts.at, a.x_parts.ld, a.numbers, a.h, a.ld, a.c, a.drop, a.drop + a.n * a.H,
                        y if t == a.steps[-1] else c.NONE)


def backward(recorder, a, dy, dh, dc):
    """Records the steps backwards, and after the last one the gradient of the initial state."""
    later = None
    for t in (*reversed(a.steps), None):
        kernel = backward_step(recorder.dtype, a.code, a.act, a.masked, a.dropped, a.is_sequence, later is not None,
                               t is not None)
        at = (t or 0) * a.rows
        recorder.launch(kernel, _grid(a, BACKWARD), BACKWARD.threads, recorder.mem, recorder.mask, recorder.theta, at,
                        (later or 0) * a.rows, a.rows, a.H, a.W_hh, a.mask, a.work, *a.looked_at(), at + a.previous,
                        a.drop + a.n * a.H, dy, a.ld, dh, dc)
        later = t
