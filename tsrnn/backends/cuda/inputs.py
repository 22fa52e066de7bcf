"""Samples and token ids gathered; embedding."""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.jit import SIMULATED, THREADS, cuda, family
from tsrnn.backends.cuda.reductions import MAX_GRID_Y, power_of_two, tile
from tsrnn.backends.cuda.tokens import embedding_of, is_trained, number_tokens, room_for_tokens

SEGMENT = 4 if SIMULATED else 32  # sorted positions that a thread adds up
AHEAD = 2 if SIMULATED else 8     # and of these, how many it loads at once
ADDERS = 2 if SIMULATED else 8    # threads that share the parts of a token's sum


def gather(recorder, row, rate):
    """Samples → Y (T, B, F), zeros behind their length."""
    T, B, F, data = int(row[c.T_OUT]), recorder.B, int(row[c.F_OUT]), recorder.data
    across, down = tile(F, B)
    recorder.launch(gather_values(recorder.dtype), (T, min(-(-B // down), MAX_GRID_Y)), (across, down), B, F,
                    recorder.at(row[c.Y]), mask_at(recorder, row), recorder.samples, data.starts, data.lengths, data.values,
                    recorder.mem, recorder.mask)


def mask_at(recorder, row) -> int:
    """Where the row writes its mask, or NONE."""
    return c.NONE if row[c.MASK_OUT] == c.NONE else recorder.at(row[c.MASK_OUT])


@family
def gather_values(dtype):
    zero = dtype(0)

    def kernel(B, F, y, mask_at, samples, starts, lengths, values, mem, mask):
        t, first = cuda.blockIdx.x, cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        for b in range(first, B, cuda.gridDim.y * cuda.blockDim.y):
            sample = samples[b]
            real = t < lengths[sample]
            source, target = starts[sample] + t * F, y + (t * B + b) * F
            for j in range(cuda.threadIdx.x, F, cuda.blockDim.x):
                mem[target + j] = values[source + j] if real else zero
            if mask_at != c.NONE and cuda.threadIdx.x == 0:
                mask[mask_at + t * B + b] = real
    return kernel


def gather_ids(recorder, row, rate):
    """Ids → indices (T, B), with OPTION & 2 numbered; `Tokens` for backward where the embedding learns."""
    T, B, data, trained = int(row[c.T_OUT]), recorder.B, recorder.data, is_trained(recorder)
    numbered = trained or bool(row[c.OPTION] & 2)
    n, keys, lists, rows = T * B, recorder.indices, recorder.indices, recorder.indices  # stand for nothing
    if numbered:
        recorder.tokens, keys = room_for_tokens(recorder, n)
        lists, rows = recorder.tokens.lists, recorder.tokens.rows
    V = rows.size if trained else 0
    recorder.each(gather_tokens(numbered), max(n, V), n, T, B, V, recorder.at(row[c.WORK]), mask_at(recorder, row),
                  bool(row[c.OPTION] & 1), recorder.samples, data.starts, data.lengths, data.ids, recorder.indices,
                  recorder.mask, keys, lists, rows)
    if numbered:
        number_tokens(recorder, row, recorder.tokens, keys)


@family
def gather_tokens(numbered):
    """A thread a position, sample by sample; then it clears the number of an id."""
    def kernel(threads, n, T, B, V, work, mask_at, zero_is_padding, samples, starts, lengths, ids, indices, mask, keys, lists,
               rows):
        i = cuda.grid(1)
        if i < n:
            b, t = i // T, i % T
            sample, p, token = samples[b], t * B + b, 0
            real = t < lengths[sample]
            if real:
                token = ids[starts[sample] + t]
            indices[work + p] = token
            if mask_at != c.NONE:
                mask[mask_at + p] = real and not (zero_is_padding and token == 0)
            if numbered:
                keys[i] = token
                lists[i] = p
        if i < V:
            rows[i] = c.NONE
    return kernel


def embedding_forward(recorder, row, rate):
    """Rows of the table → Y (T, B, E), or with OPTION & 2 (D, E)."""
    n, E, ids = int(row[c.T_OUT]) * recorder.B, int(row[c.F_OUT]), recorder.at(row[c.WORK])
    across, down = tile(E, n)
    distinct = bool(row[c.OPTION] & 2)
    recorder.launch(look_up(distinct), -(-n // down), (across, down), n, E, ids + n if distinct else ids, recorder.at(row[c.Y]),
                    int(row[c.PARAM]), recorder.indices, recorder.theta, recorder.mem)


@family
def look_up(distinct):
    def kernel(n, E, ids, y, table, indices, theta, mem):
        q = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
        count = indices[ids + n] if distinct else n
        if q < count:
            source, target = table + indices[ids + q] * E, y + q * E
            for j in range(cuda.threadIdx.x, E, cuda.blockDim.x):
                mem[target + j] = theta[source + j]
    return kernel


def embedding_backward(recorder, row, rate):
    """Nothing yet: the gradient's end looks for DY, the last that backward has written; see `table_gradient`."""


def table_gradient(recorder):
    """The table's gradient by numbers, (D, E): an array, and where in it that begins."""
    row, tokens = embedding_of(recorder), recorder.tokens
    E, dy = int(row[c.F_OUT]), recorder.at(row[c.DY])
    if row[c.OPTION] & 2:
        return recorder.mem, dy
    sums = recorder.workspace(min(tokens.n, tokens.rows.size) * E, recorder.dtype)
    _sum_lists(recorder, tokens, (recorder.mem, dy, E, E, 0), (sums, 0, E, E, 0), E)
    return sums, 0


def sum_by_token(recorder, row, source, target, columns):
    """target[d, j] = sum of source[p, j] over the positions p = t * B + b of the token with number d.

    Parameters
    ----------
    row : RECURRENT row with SLOTS
    source, target : products.Matrix
        Of rows by position and by number; the D first targets are written.
    columns : int
    """
    _sum_lists(recorder, recorder.tokens, source, target, int(columns))


def _sum_lists(recorder, tokens, source, target, columns):
    """Lists differ in length by thousands: so threads add segments of the sorted positions, and then the parts of those tokens
    that lie in several."""
    n, segments = tokens.n, -(-tokens.n // SEGMENT)
    parts = recorder.workspace(2 * segments * columns, recorder.dtype)
    across = min(THREADS // 2, power_of_two(columns))
    down = THREADS // 2 // across
    lists = (n, columns, tokens.order, tokens.places, tokens.starts, tokens.lists)
    recorder.launch(sum_segments(recorder.dtype), (-(-segments // down), -(-columns // across)), (across, down), *lists,
                    *source, *target, parts)
    across = THREADS // ADDERS
    recorder.launch(sum_parts(recorder.dtype), (segments, -(-columns // across)), (across, ADDERS), n, columns, tokens.places,
                    tokens.starts, tokens.lists, *target, parts)


@family
def sum_segments(dtype):
    """Sums of the tokens within a segment.  Part 2 s: of a token that began before segment s; 2 s + 1: of one that goes on."""
    zero = dtype(0)

    def kernel(n, columns, order, places, starts, lists, source, s_at, s_ld, s_split, s_jump, target, t_at, t_ld, t_split,
               t_jump, parts):
        values = cuda.local.array(AHEAD, dtype)
        numbers = cuda.local.array(AHEAD, np.int32)
        segment = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
        j = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
        first = segment * SEGMENT
        if first >= n or j >= columns:
            return
        stop = min(first + SEGMENT, n)
        source_at = s_at + j + (s_jump if j >= s_split else 0)
        target_at = t_at + j + (t_jump if j >= t_split else 0)
        number, total = lists[places + first], zero
        before = lists[starts + number] < first
        for i in range(first, stop, AHEAD):
            for k in range(AHEAD):
                at = min(i + k, stop - 1)
                numbers[k] = lists[places + at]
                values[k] = source[source_at + lists[order + at] * s_ld]
            for k in range(AHEAD):
                if i + k < stop:
                    if numbers[k] != number:
                        if before:
                            parts[2 * segment * columns + j] = total
                        else:
                            target[target_at + number * t_ld] = total
                        number, total, before = numbers[k], zero, False
                    total += values[k]
        if before:
            parts[2 * segment * columns + j] = total
        elif lists[starts + number + 1] > stop:
            parts[(2 * segment + 1) * columns + j] = total
        else:
            target[target_at + number * t_ld] = total
    return kernel


@family
def sum_parts(dtype):
    """A block for the token, if there is one, that begins in this segment and goes on behind it."""
    zero, width = dtype(0), THREADS // ADDERS

    def kernel(n, columns, places, starts, lists, target, t_at, t_ld, t_split, t_jump, parts):
        sums = cuda.shared.array((ADDERS, width), dtype)
        segment, x, y = cuda.blockIdx.x, cuda.threadIdx.x, cuda.threadIdx.y
        first = segment * SEGMENT
        stop = min(first + SEGMENT, n)
        number = lists[places + stop - 1]
        end = lists[starts + number + 1]
        if lists[starts + number] < first or end <= stop:
            return
        j = cuda.blockIdx.y * width + x
        total = zero
        if j < columns:
            if y == 0:
                total = parts[(2 * segment + 1) * columns + j]
            for other in range(segment + 1 + y, (end - 1) // SEGMENT + 1, ADDERS):
                total += parts[2 * other * columns + j]
        sums[y, x] = total
        cuda.syncthreads()
        if y == 0 and j < columns:
            for k in range(1, ADDERS):
                total += sums[k, x]
            target[t_at + j + (t_jump if j >= t_split else 0) + number * t_ld] = total
    return kernel
