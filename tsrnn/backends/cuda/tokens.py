"""The positions of a batch sorted by their tokens: numbers of the distinct ones, and the list of each one's positions.

A stable radix sort: so the positions of a token stay in their order, sample by sample and step by step, and the numbers are in
the order of the ids.  Its time depends on the number of positions and, by a pass for every digit of an id, on the vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.jit import SIMULATED, THREADS, cuda, family
from tsrnn.backends.cuda.place import CARD
from tsrnn.backends.cuda.reductions import running_sums

SORTERS = THREADS              # of a block; there are as many digits
ITEMS = 2 if SIMULATED else 8  # positions of a thread


class Tokens(NamedTuple):
    """Tokens of a batch of n positions, D of them distinct; a position is its row t * B + b.

    Attributes
    ----------
    lists : int32 of shape (3 n + 1,), flat
    order : int
        Where in `lists` the positions begin, sorted by (id, sample, step).
    places : int
        Where the number of the token of each of these begins.
    starts : int
        Where the first place of each token's positions begins, by number; behind it n.
    rows : int32 of shape (V,)
        id → number, or NONE; nothing where the table is not trained.
    """

    n: int
    lists: object
    order: int
    places: int
    starts: int
    rows: object


def vocabulary(recorder) -> int:
    """V of the plan's embedding, whose table lies last in theta."""
    row = embedding_of(recorder)
    return (recorder.theta.size - int(row[c.PARAM])) // int(row[c.F_OUT])


def embedding_of(recorder):
    """The plan's EMBEDDING row, or None."""
    return next((row for row in recorder.plan.rows if row[c.OP] == c.EMBEDDING), None)


def is_trained(recorder) -> bool:
    """Whether there is an embedding that learns."""
    row = embedding_of(recorder)
    return recorder.mode == c.TRAIN and row is not None and bool(row[c.DY] != c.NONE)


def n_passes(recorder) -> int:
    """Digits of an id."""
    return max(1, -(-(vocabulary(recorder) - 1).bit_length() // _bits(SORTERS)))


def _bits(threads: int) -> int:
    """Of a digit, of which there are as many as threads."""
    return threads.bit_length() - 1


def room_for_tokens(recorder, n: int):
    """Memory for n positions: the `Tokens`, and the ids that are sorted with them, (2 n,)."""
    if recorder.mode == c.TRAIN:  # alive until the backward pass
        lists = CARD.zeros(3 * n + 1, np.int32)
    else:
        lists = recorder.workspace(3 * n + 1, np.int32)
    last = n_passes(recorder) % 2 * n
    rows = CARD.zeros(vocabulary(recorder) if is_trained(recorder) else 1, np.int32)
    return Tokens(n, lists, last, n - last, 2 * n, rows), recorder.workspace(2 * n, np.int32)


def number_tokens(recorder, row, tokens: Tokens, keys) -> None:
    """Records the sort, and the numbers; `keys` begins with the n ids, ``tokens.lists`` with their positions."""
    n, threads = tokens.n, SORTERS
    blocks = -(-n // (threads * ITEMS))
    counts = recorder.workspace(blocks * threads, np.int32)
    source = 0
    for digit in range(n_passes(recorder)):
        shift = digit * _bits(threads)
        recorder.launch(count_digits(threads), blocks, threads, n, shift, keys, source, counts)
        recorder.launch(move_by_digit(threads), blocks, threads, n, shift, blocks, keys, tokens.lists, source, n - source,
                        counts)
        source = n - source
    recorder.launch(count_tokens(threads), blocks, threads, n, keys, source, counts)
    recorder.launch(write_numbers(threads, bool(row[c.OPTION] & 2), is_trained(recorder)), blocks, threads, n, blocks, keys,
                    source, tokens.lists, tokens.places, tokens.starts, counts, recorder.indices, recorder.at(row[c.WORK]),
                    tokens.rows)


@family
def count_digits(threads):
    """How often each digit occurs in a block's tile: counts (blocks, threads)."""
    digits, tile = threads - 1, threads * ITEMS

    def kernel(n, shift, keys, source, counts):
        found = cuda.shared.array(threads, np.int32)
        thread, first = cuda.threadIdx.x, cuda.blockIdx.x * tile
        found[thread] = 0
        cuda.syncthreads()
        for i in range(first + thread, min(n, first + tile), threads):
            cuda.atomic.add(found, (keys[source + i] >> shift) & digits, 1)
        cuda.syncthreads()
        counts[cuda.blockIdx.x * threads + thread] = found[thread]
    return kernel


@family
def move_by_digit(threads):
    """Keys and positions from `source` on to where their digits belong from `target` on; equal digits keep their order."""
    digits, bits, add_up = threads - 1, _bits(threads), running_sums(threads)
    lanes = min(32, threads)
    warps = threads // lanes

    def kernel(n, shift, blocks, keys, lists, source, target, counts):
        totals = cuda.shared.array(threads, np.int32)
        places = cuda.shared.array((warps, threads), np.int32)  # where the next key of a warp with this digit goes
        thread, block = cuda.threadIdx.x, cuda.blockIdx.x
        warp, lane = thread // lanes, thread % lanes
        before = total = 0
        for other in range(blocks):
            count = counts[other * threads + thread]
            total += count
            if other < block:
                before += count
        totals[thread] = total
        for w in range(warps):
            places[w, thread] = 0
        add_up(totals, thread)
        first = (block * threads + warp * lanes) * ITEMS + lane
        for k in range(ITEMS):
            if first + k * lanes < n:
                cuda.atomic.add(places, (warp, (keys[source + first + k * lanes] >> shift) & digits), 1)
        cuda.syncthreads()
        place = totals[thread] - total + before
        for w in range(warps):
            count = places[w, thread]
            places[w, thread] = place
            place += count
        cuda.syncthreads()
        for k in range(ITEMS):
            i = first + k * lanes
            here = i < n
            key = keys[source + i] if here else 0
            digit = (key >> shift) & digits
            peers = np.uint32(cuda.ballot_sync(0xFFFFFFFF, here))  # lanes with the same digit
            for bit in range(bits):
                mine = (digit >> bit) & 1
                with_bit = np.uint32(cuda.ballot_sync(0xFFFFFFFF, mine != 0))
                peers &= with_bit if mine != 0 else with_bit ^ np.uint32(0xFFFFFFFF)
            ahead = cuda.popc(np.uint32(peers & np.uint32((1 << lane) - 1)))
            place = places[warp, digit] + ahead
            cuda.syncwarp()
            if here:
                keys[target + place] = key
                lists[target + place] = lists[source + i]
                if ahead == 0:
                    places[warp, digit] += cuda.popc(np.uint32(peers))
            cuda.syncwarp()
    return kernel


@family
def count_tokens(threads):
    """How many tokens have their first place in a block's tile."""
    def kernel(n, keys, source, counts):
        thread, first = cuda.threadIdx.x, cuda.blockIdx.x * threads * ITEMS
        count = 0
        for k in range(ITEMS):
            i = first + k * threads + thread
            begins = 0
            if i < n and (i == 0 or keys[source + i] != keys[source + i - 1]):
                begins = 1
            count += cuda.syncthreads_count(begins)
        if thread == 0:
            counts[cuda.blockIdx.x] = count
    return kernel


@family
def write_numbers(threads, for_layers, trained):
    """Numbers from the sorted keys: what `Tokens` holds, and, for recurrent layers, what the contract says of `indices`."""
    add_up = running_sums(threads)

    def kernel(n, blocks, keys, source, lists, places, starts, counts, indices, work, rows):
        parts = cuda.shared.array(threads, np.int32)
        heads = cuda.shared.array(threads, np.int32)
        thread, block = cuda.threadIdx.x, cuda.blockIdx.x
        first = (block * threads + thread) * ITEMS
        stop, before, begin = min(n, first + ITEMS), 0, 0
        for other in range(thread, block, threads):
            before += counts[other]
        for i in range(first, stop):
            if i == 0 or keys[source + i] != keys[source + i - 1]:
                begin += 1
        parts[thread] = before
        heads[thread] = begin
        add_up(parts, thread)
        add_up(heads, thread)
        number = parts[threads - 1] + heads[thread] - begin - 1
        for i in range(first, stop):
            key = keys[source + i]
            if i == 0 or key != keys[source + i - 1]:
                number += 1
                lists[starts + number] = i
                if trained:
                    rows[key] = number
                if for_layers:
                    indices[work + n + number] = key
            lists[places + i] = number
            if for_layers:
                indices[work + lists[source + i]] = number
            if i == n - 1:
                lists[starts + number + 1] = n
                if for_layers:
                    indices[work + 2 * n] = number + 1
    return kernel
