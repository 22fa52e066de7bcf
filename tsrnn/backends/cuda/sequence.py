"""The whole time loop of a recurrent layer in one launch: a block has R rows of the batch, and W_hh in its registers.

Four threads a unit: together they multiply, and then each does the cell of its unit in one of the rows; where R is less than
four, several do the same, but for the LSTM, see `is_by_gate`.  The state h, backward the gates' gradients, lie twice in shared
memory, for this step and the next: so one barrier a step is enough.  What a step reads from the card's memory has been asked
for a step before.  Steps before the first and behind the last real one of a block's rows cost next to nothing.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cuda import gru, lstm, rnn
from tsrnn.backends.cuda.jit import SIMULATED, cuda, device, family, index
from tsrnn.backends.cuda.resident import load, make_tile, multiply, share_outputs, share_rows

CELLS = MappingProxyType({c.LSTM: lstm, c.GRU: gru, c.RNN: rnn})
SIZES = (4, 8) if SIMULATED else (8, 16, 32, 48, 64, 96, 128)  # to which the units are filled up
LARGEST = {np.float32: SIZES[-1], np.float64: min(SIZES[-1], 64)}
MULTIPROCESSORS = 132  # where there are fewer, blocks wait for others
AHEAD = 8  # loads under way where steps are nothing but padding


def forward_tile(dtype, code, size, R):
    return make_tile(dtype, 4 * size, 4, c.CELLS[code].gates, size, R)


def backward_tile(dtype, code, size, R):
    """Sixteen lanes make four units; the vectors are a step's gate gradients, gate by gate."""
    return make_tile(dtype, 4 * size, 16, 4, -(-c.CELLS[code].gates * size // 16) * 16, R)


def blocks_together(dtype, size, R):
    """Blocks that a multiprocessor has room for: with one row a block registers for 512 threads, else for one block."""
    return max(1, 512 // (4 * size)) if dtype is np.float32 and R == 1 else 1


def choices(size):
    """What R may be: of the largest layers two rows at most have room."""
    return (1, 2) if size > 96 else (1, 2, 4)


def rows_of_block(dtype, size, n_rows):
    """R: as few rows as let all blocks run at the same time."""
    for R in choices(size):
        if -(-n_rows // R) <= MULTIPROCESSORS * blocks_together(dtype, size, R):
            break
    return R


def shared_size(tile):
    """Elements of shared memory."""
    return tile.shared + 2 * tile.rows * tile.inner


@device
def real_steps(masked, R):
    """The first step and the one behind the last in which one of the block's rows is real."""
    def every_step(bounds, mask, real, T, n_rows):
        return 0, T

    def some_steps(bounds, mask, real, T, n_rows):
        if cuda.threadIdx.x == 0:
            bounds[0], bounds[1] = T, 0
        cuda.syncthreads()
        first = cuda.blockIdx.x * R
        for t in range(cuda.threadIdx.x, T, cuda.blockDim.x):
            found = False
            for row in range(first, min(first + R, n_rows)):
                if mask[index(real + t * n_rows + row)]:
                    found = True
            if found:
                cuda.atomic.min(bounds, 0, t)
                cuda.atomic.max(bounds, 1, t + 1)
        cuda.syncthreads()
        return min(bounds[0], bounds[1]), bounds[1]
    return some_steps if masked else every_step


@device
def is_real(masked):
    def always(mask, at):
        return True

    def marked(mask, at):
        return mask[index(at)] != 0
    return marked if masked else always


@device
def row_of_x(tokens):
    """Where the x parts of a position lie: in its own row, or in that of its token."""
    def position_(indices, numbers, position):
        return position

    def number(indices, numbers, position):
        return indices[index(numbers + position)]
    return number if tokens else position_


@device
def load_x(code, n):
    """The x parts of n gates of a unit."""
    shared, behind = c.CELLS[code].shared, c.CELLS[code].gates - c.CELLS[code].shared

    def function(x, mem, at, H):
        for g in range(n):
            x[g] = mem[index(at + (g if g < shared else g + behind) * H)]
    return function


@device
def load_slots(n):
    """What forward has kept of a unit's gates."""

    def function(gates, mem, at, H):
        for s in range(n):
            gates[s] = mem[index(at + s * H)]
    return function


@device
def store_slots(n):
    def function(gates, mem, at, H):
        for s in range(n):
            mem[index(at + s * H)] = gates[s]
    return function


@device
def store_state(code):
    """h and c of a row of states."""
    has_c = c.CELLS[code].has_cell_state

    def function(state, mem, h, c):
        mem[index(h)] = state[0]
        if has_c:
            mem[index(c)] = state[1]
    return function


@device
def hold_state(code, dropped):
    """Steps [first, stop) in which nothing is real: the state of row b stays what it is."""
    store = store_state(code)

    def function(state, factor, mem, first, stop, n_rows, b, H, h, ld, c, drop):
        for t in range(first, stop):
            now = (t + 1) * n_rows + b
            store(state, mem, h + now * ld, c + now * H)
            if dropped:
                mem[index(drop + (t * n_rows + b) * H)] = state[0] * factor
    return function


@device
def hold_gradient(dtype, code, sequence):
    """Backward the same: no gate has a gradient, and that of the state gets what comes from the outputs."""
    zero, n = dtype(0), c.CELLS[code].slots
    store = store_slots(n)

    def function(d, gates, mem, here, first, stop, downwards, n_rows, H, work, dy, ld):
        some = cuda.local.array(AHEAD, dtype)
        for s in range(n):
            gates[s] = zero
        if here:
            for t in range(first, stop):
                store(gates, mem, work + t * n_rows * n * H, H)
        if sequence:
            for start in range(0, stop - first, AHEAD):  # in the loop's order: which step is whose depends on the block
                for i in range(AHEAD):
                    t = stop - 1 - start - i if downwards else first + start + i
                    some[i] = mem[index(dy + t * n_rows * ld)] if first <= t < stop else zero
                for i in range(AHEAD):
                    d[0] += some[i]
    return function


@device
def weight(dtype, n_gates):
    """W_hh: from the k-th unit to gate o of the thread's unit."""
    zero = dtype(0)

    def function(source, k, o):
        theta, w, H, unit = source
        value = theta[index(w + (min(k, H - 1) * n_gates + o) * H + min(unit, H - 1))]
        return value if k < H and unit < H else zero
    return function


@device
def transposed_weight(dtype, n_gates, size):
    """W_hh: from the o-th of the group's four units to the k-th gate."""
    zero = dtype(0)

    def function(source, k, o):
        theta, w, H, first = source
        gate, unit, target = k // size, k % size, first + o
        value = theta[index(w + (min(target, H - 1) * n_gates + min(gate, n_gates - 1)) * H + min(unit, H - 1))]
        return value if gate < n_gates and unit < H and target < H else zero
    return function


def is_by_gate(code, R):
    """Whether four lanes share the gates of one row, in place of doing the same four times."""
    return code == c.LSTM and R == 1


@device
def forward_steps(dtype, code, act, tile, masked, dropped, tokens):
    """The time loop over `n` steps from `position` on: rows of positions, `u` the thread's column among them."""
    cell, R, size, by_gate = c.CELLS[code], tile.rows, tile.inner, is_by_gate(code, tile.rows)
    body = (lstm.forward_by_gate if by_gate else CELLS[code].forward)(dtype, act)
    G, S = (1, 1) if by_gate else (cell.gates, cell.slots)  # that are the thread's own
    load_own, store_gates, store = load_x(code, G), store_slots(S), store_state(code)
    product, add_up = multiply(tile), share_outputs() if by_gate else share_rows(R, G)
    real_at, row_of, width, n_sums, zero = is_real(masked), row_of_x(tokens), R * size, R * cell.gates, dtype(0)

    def function(mem, mask, indices, shared, weights, bias, state, factor, here, n, position, stride, n_rows, H, real, work,
                 gates_width, source, ld_source, numbers, h, ld, c, drop):
        thread = np.int64(cuda.threadIdx.x)
        lane, own = thread & 3, (thread & (R - 1)) * size + (thread >> 2)
        keeps = (thread >> 2) < H if by_gate else here
        sums, gates = cuda.local.array(n_sums, dtype), cuda.local.array(S, dtype)
        x, ahead = cuda.local.array(G, dtype), cuda.local.array(G, dtype)
        load_own(ahead, mem, source + row_of(indices, numbers, position) * ld_source, H)
        real_ahead = real_at(mask, real + position)
        next_row = row_of(indices, numbers, np.int32(position + (stride if n > 1 else 0)))
        cuda.syncthreads()
        for s in range(n):
            buffer, is_real_ = (s & 1) * width, real_ahead
            for g in range(G):
                x[g] = ahead[g]
            if s + 1 < n:
                load_own(ahead, mem, source + next_row * ld_source, H)
                real_ahead = real_at(mask, real + position + stride)
                next_row = row_of(indices, numbers, np.int32(position + (2 * stride if s + 2 < n else stride)))
            if dropped and here:
                mem[index(drop + position * H)] = state[0] * factor
            for i in range(n_sums):
                sums[i] = zero
            product(sums, weights, shared, 2 * width, buffer, lane, thread)
            add_up(sums, lane, 1)
            if is_real_ and (by_gate or here):
                for g in range(G):
                    sums[g] += bias[g]
                body(x, sums, state, gates)
                if keeps:
                    store_gates(gates, mem, work + position * gates_width, H)
            if here:
                now = np.int32(position + n_rows)
                store(state, mem, h + now * ld, c + now * H)
                shared[index(width - buffer + own)] = state[0] * factor
            cuda.syncthreads()
            position = np.int32(position + stride)
    return function


@family
def forward(dtype, code, act, size, R, masked, dropped, tokens):
    """States and gates of all steps; `source`, `ld_source`: x parts, a row a position or a token."""
    G, has_c, tile = c.CELLS[code].gates, c.CELLS[code].has_cell_state, forward_tile(dtype, code, size, R)
    n_weights, spare, zero, one = tile.kept * tile.vector * G, 2 * R * size, dtype(0), dtype(1)
    bounds_of, load_weights, store = real_steps(masked, R), load(dtype, tile, weight(dtype, G)), store_state(code)
    hold, loop = hold_state(code, dropped), forward_steps(dtype, code, act, tile, masked, dropped, tokens)
    S, by_gate = c.CELLS[code].slots, is_by_gate(code, R)

    def kernel(mem, mask, indices, theta, T, n_rows, H, reverse, given, w, real, work, source, ld_source, numbers, h, ld, c,
               drop, y):
        shared = cuda.shared.array(0, dtype, alignment=16)
        bounds = cuda.shared.array(2, np.int64)
        weights, bias, state = cuda.local.array(n_weights, dtype), cuda.local.array(G, dtype), cuda.local.array(2, dtype)
        thread = np.int64(cuda.threadIdx.x)
        unit, lane = thread >> 2, thread & 3
        row = np.int64(cuda.blockIdx.x) * R + (thread & (R - 1))
        here = lane < R and unit < H and row < n_rows  # the others look on: they load what somebody here does
        u, b, gate = min(unit, H - 1), min(row, n_rows - 1), lane if by_gate else 0
        load_weights(weights, shared, spare, lane, thread, (theta, w, H, unit))
        for g in range(G):
            bias[g] = theta[index(w + (H + 1) * G * H + (gate if by_gate else g) * H + u)]
        for i in range(thread, spare, cuda.blockDim.x):
            shared[i] = zero
        low, high = bounds_of(bounds, mask, real, T, n_rows)
        h, c, drop, start = h + u, c + u, drop + u, ((T + 1) * n_rows if reverse else 0) + b
        state[0], state[1] = zero, zero
        if given:
            state[0] = mem[index(h + start * ld)]
            if has_c:
                state[1] = mem[index(c + start * H)]
        elif here:
            store(state, mem, h + start * ld, c + start * H)
        factor = mem[index(drop + (T * n_rows + b) * H)] if dropped else one
        if here:
            hold(state, factor, mem, high if reverse else 0, T if reverse else low, n_rows, b, H, h, ld, c, drop)
        cuda.syncthreads()  # shared memory is clear
        if here:
            shared[(thread & (R - 1)) * size + unit] = state[0] * factor
        if low < high:
            t, stride = (high - 1, -n_rows) if reverse else (low, n_rows)
            at = u + gate * H
            loop(mem, mask, indices, shared, weights, bias, state, factor, here, high - low, np.int32(t * n_rows + b),
                 np.int32(stride), np.int32(n_rows), np.int32(H), real, work + at, np.int32(S * H), source + at,
                 np.int32(ld_source), numbers, h, np.int32(ld), c, drop)
        if here:
            hold(state, factor, mem, 0 if reverse else high, low if reverse else T, n_rows, b, H, h, ld, c, drop)
            if y >= 0:
                mem[index(y + b * ld + u)] = state[0]
    return kernel, {"launch_bounds": (tile.threads, blocks_together(dtype, size, R))}


@device
def backward_steps(dtype, code, act, tile, size, masked, dropped, sequence):
    """The time loop backwards; `old`, `ld_old`: states that the cell looks at, of the step at row + n_rows."""
    body, G, S = CELLS[code].backward(dtype, act), c.CELLS[code].gates, c.CELLS[code].slots
    real_at, fetch, store, R, zero = is_real(masked), load_slots(S), store_slots(S), tile.rows, dtype(0)
    product, add_rows, add_units = multiply(tile), share_rows(R, 4), share_outputs()
    inner, width, n_sums = tile.inner, R * tile.inner, 4 * R

    def function(mem, mask, shared, weights, d, factor, here, n, position, stride, n_rows, H, real, work, gates_width, old,
                 ld_old, before_at, dy, ld):
        thread = np.int64(cuda.threadIdx.x)
        lane, own = thread & 15, ((thread >> 2) & (R - 1)) * inner + (thread >> 4) * 4 + (thread & 3)
        sums, gates, ahead = cuda.local.array(n_sums, dtype), cuda.local.array(S, dtype), cuda.local.array(S, dtype)
        fetch(ahead, mem, work + position * gates_width, H)
        later = mem[index(old + np.int32(position + n_rows) * ld_old)]
        before_ahead = mem[index(old + np.int32(position + before_at) * ld_old)]
        dy_ahead, real_ahead = mem[index(dy + position * ld)] if sequence else zero, real_at(mask, real + position)
        cuda.syncthreads()
        for s in range(n):
            after = np.int32(position + (stride if s + 1 < n else 0))
            for i in range(S):
                gates[i] = ahead[i]
            before, is_real_, buffer = before_ahead, real_ahead, (s & 1) * width
            d[0] += dy_ahead
            if s + 1 < n:
                fetch(ahead, mem, work + after * gates_width, H)
                before_ahead, real_ahead = mem[index(old + np.int32(after + before_at) * ld_old)], real_at(mask, real + after)
                if sequence:
                    dy_ahead = mem[index(dy + after * ld)]
            if is_real_:
                body(d, gates, before, later)
            else:
                for i in range(S):
                    gates[i] = zero
            if here:
                store(gates, mem, work + position * gates_width, H)
                for g in range(G):
                    shared[index(buffer + own + g * size)] = gates[g]
            cuda.syncthreads()
            for i in range(n_sums):
                sums[i] = zero
            product(sums, weights, shared, 2 * R * inner, buffer, lane, thread)
            add_rows(sums, lane, 4)
            add_units(sums, lane, 1)
            d[0] += sums[0] * factor
            position, later = after, before
    return function


@family
def backward(dtype, code, act, size, R, masked, dropped, sequence):
    """Gradients of the gates of all steps, over the gates, and of the initial state."""
    G, has_c, tile = c.CELLS[code].gates, c.CELLS[code].has_cell_state, backward_tile(dtype, code, size, R)
    S, n_weights, spare, zero, one = c.CELLS[code].slots, tile.kept * tile.vector * 4, 2 * R * tile.inner, dtype(0), dtype(1)
    bounds_of, load_weights = real_steps(masked, R), load(dtype, tile, transposed_weight(dtype, G, size))
    hold = hold_gradient(dtype, code, sequence)
    loop = backward_steps(dtype, code, act, tile, size, masked, dropped, sequence)

    def kernel(mem, mask, theta, T, n_rows, H, reverse, w, real, work, old, ld_old, drop, dy, ld, dh, dc):
        shared = cuda.shared.array(0, dtype, alignment=16)
        bounds = cuda.shared.array(2, np.int64)
        weights, d, gates = cuda.local.array(n_weights, dtype), cuda.local.array(2, dtype), cuda.local.array(S, dtype)
        thread = np.int64(cuda.threadIdx.x)
        unit, part = (thread >> 4) * 4 + (thread & 3), (thread >> 2) & 3
        row = np.int64(cuda.blockIdx.x) * R + (part & (R - 1))
        here = part < R and unit < H and row < n_rows
        u, b = min(unit, H - 1), min(row, n_rows - 1)
        load_weights(weights, shared, spare, thread & 15, thread, (theta, w, H, unit - (thread & 3)))
        for i in range(thread, spare, cuda.blockDim.x):
            shared[i] = zero
        low, high = bounds_of(bounds, mask, real, T, n_rows)
        d[0], d[1] = zero if sequence else mem[index(dy + b * ld + u)], zero
        factor = mem[index(drop + (T * n_rows + b) * H + u)] if dropped else one
        hold(d, gates, mem, here, 0 if reverse else high, low if reverse else T, not reverse, n_rows, H,
             work + b * S * H + u, dy + b * ld + u, ld)
        if low < high:
            t = low if reverse else high - 1
            loop(mem, mask, shared, weights, d, factor, here, high - low, np.int32(t * n_rows + b),
                 np.int32(n_rows if reverse else -n_rows), np.int32(n_rows), H, real, work + u, np.int32(S * H), old + u,
                 np.int32(ld_old), np.int32(2 * n_rows if reverse else 0), dy + u, np.int32(ld))
        hold(d, gates, mem, here, high if reverse else 0, T if reverse else low, not reverse, n_rows, H,
             work + b * S * H + u, dy + b * ld + u, ld)
        if here:
            mem[index(dh + b * H + u)] = d[0]
            if has_c:
                mem[index(dc + b * H + u)] = d[1]
    return kernel, {"launch_bounds": (tile.threads, blocks_together(dtype, size, R))}
