"""Losses on logits, their gradients, and the count of right answers; arithmetic in float64."""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cuda.jit import THREADS, cuda, device, family
from tsrnn.backends.cuda.place import CARD
from tsrnn.backends.cuda.reductions import LANES, exp, log, log1p, sum_pairs, tile

FEW = 2 if LANES < 32 else 8  # outputs of a position that one thread works on; a warp shares more


def write_logits(recorder, row, out):
    """Logits (T, B, K) → out (B, T * K)."""
    T, B, K = int(row[c.T_IN]), recorder.B, int(row[c.F_IN])
    across, down = tile(K, B)
    recorder.launch(copy_logits(), (T, -(-B // down)), (across, down), T, B, K, recorder.at(row[c.X]), recorder.mem, out)


@family
def copy_logits():
    def kernel(T, B, K, x, mem, out):
        t, b = cuda.blockIdx.x, cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        if b < B:
            for k in range(cuda.threadIdx.x, K, cuda.blockDim.x):
                out[b, t * K + k] = mem[x + (t * B + b) * K + k]
    return kernel


def loss(recorder, row):
    """Writes ``recorder.sums``: sum of w l and of w [right]; in training also DX, divided by the batch's sum of weights."""
    T, B, K, code, data = int(row[c.T_IN]), recorder.B, int(row[c.F_IN]), int(row[c.CODE]), recorder.data
    count = 1 if code == c.SOFTMAX_CE else K // len(recorder.loss) if code == c.QUANTILE else K
    lanes = 1 if K <= FEW else LANES
    blocks = -(-T * B * lanes // THREADS)
    parts = recorder.workspace((blocks, 2), np.float64)
    train = recorder.mode == c.TRAIN
    recorder.launch(every_position(recorder.dtype, code, lanes, train), blocks, THREADS, T, B, K, count, recorder.at(row[c.X]),
                    recorder.at(row[c.DX]) if train else c.NONE,
                    c.NONE if row[c.MASK_IN] == c.NONE else recorder.at(row[c.MASK_IN]), recorder.mem, recorder.mask,
                    recorder.samples, data.targets, data.target_starts, data.weights, recorder.total,
                    CARD.put(np.asarray(recorder.loss, np.float64)), parts)
    recorder.launch(add_parts(), 1, THREADS, blocks, parts, recorder.sums)


@family
def every_position(dtype, code, lanes, train):
    """`lanes` threads a position: its loss, weighted, in the sum of its block; its slopes."""
    add_up, zero = sum_pairs(THREADS), dtype(0)
    position = softmax(dtype, lanes, train) if code == c.SOFTMAX_CE else elementwise(dtype, code, lanes, train)

    def kernel(T, B, K, count, x, dx, mask_at, mem, mask, samples, targets, target_starts, weights, total, params, parts):
        sums = cuda.shared.array((THREADS, 2), np.float64)
        thread = cuda.threadIdx.x
        p, lane = cuda.grid(1) // lanes, thread % lanes
        value = right = weight = 0.0
        if p < T * B:
            t, b = p // B, p % B
            sample = samples[b]
            if mask_at == c.NONE or mask[mask_at + p] != 0:
                weight = np.float64(weights[sample, min(t, weights.shape[1] - 1)])
            if weight != 0.0:  # nothing need lie behind a sequence's end
                scale = weight / total[0] if total[0] > 0.0 else 0.0
                value, right = position(K, x + p * K, dx + p * K, scale, lane, mem, targets, target_starts[sample] + t * count,
                                        params)
            elif train:
                for k in range(lane, K, lanes):
                    mem[dx + p * K + k] = zero
        sums[thread, 0] = weight * value if lane == 0 and weight != 0.0 else 0.0
        sums[thread, 1] = weight * right if lane == 0 and weight != 0.0 else 0.0
        add_up(sums, thread)
        if thread == 0:
            parts[cuda.blockIdx.x, 0] = sums[0, 0]
            parts[cuda.blockIdx.x, 1] = sums[0, 1]
    return kernel


@family
def add_parts():
    add_up = sum_pairs(THREADS)

    def kernel(blocks, parts, sums):
        total = cuda.shared.array((THREADS, 2), np.float64)
        thread = cuda.threadIdx.x
        value = right = 0.0
        for block in range(thread, blocks, THREADS):
            value += parts[block, 0]
            right += parts[block, 1]
        total[thread, 0] = value
        total[thread, 1] = right
        add_up(total, thread)
        if thread == 0:
            sums[0] = total[0, 0]
            sums[1] = total[0, 1]
    return kernel


@device
def softplus():
    def function(p):
        return max(p, 0.0) + log1p(exp(-abs(p)))
    return function


@device
def sign():
    def function(d):
        return 1.0 if d > 0.0 else (-1.0 if d < 0.0 else d)  # NaN stays NaN
    return function


@device
def value_and_slope(code):
    """l and dl/dp of one output; `param` is Huber's delta or the quantile."""
    positive, side = softplus(), sign()

    def squared(p, y, param):
        return (p - y) * (p - y), 2.0 * (p - y)

    def absolute(p, y, param):
        return abs(p - y), side(p - y)

    def huber(p, y, param):
        d = p - y
        if abs(d) <= param:
            return d * d / 2.0, d
        return param * (abs(d) - param / 2.0), param * side(d)

    def poisson(p, y, param):
        rate = exp(p)
        return rate - y * p, rate - y

    def quantile(p, y, param):
        d = y - p
        return max(param * d, (param - 1.0) * d), -param if d > 0.0 else (1.0 - param if d < 0.0 else d)

    def sigmoid_ce(p, y, param):
        return positive(p) - y * p, exp(-positive(-p)) - y
    return {c.SQUARED: squared, c.ABSOLUTE: absolute, c.HUBER: huber, c.POISSON: poisson, c.QUANTILE: quantile,
            c.SIGMOID_CE: sigmoid_ce}[code]


@device
def sum_lanes(lanes):
    """The sum over the lanes of a position, the same in all of them."""
    def function(value):
        width = lanes // 2
        while width > 0:
            value += cuda.shfl_xor_sync(0xFFFFFFFF, value, width)
            width //= 2
        return value
    return function


@device
def elementwise(dtype, code, lanes, train):
    """l averaged over the outputs, and its slopes; right where all outputs are on their target's side of 0 (SIGMOID_CE)."""
    output, add_up = value_and_slope(code), sum_lanes(lanes)
    by_quantile, counts = code == c.QUANTILE, code == c.SIGMOID_CE

    def function(K, x, dx, scale, lane, mem, targets, first, params):
        value = wrong = 0.0
        Q = params.size if by_quantile else 1
        for k in range(lane, K, lanes):
            p, y = np.float64(mem[x + k]), np.float64(targets[first + k // Q])
            l, slope = output(p, y, params[k % Q])
            value += l
            if counts and (p > 0.0) != (y > 0.5):
                wrong += 1.0
            if train:
                mem[dx + k] = dtype(slope / K * scale)
        return add_up(value) / K, 1.0 if counts and add_up(wrong) == 0.0 else 0.0
    return function


@device
def softmax(dtype, lanes, train):
    """l, and the slope of every logit; right where the first largest logit is the target's class."""
    add_up = sum_lanes(lanes)

    def function(K, x, dx, scale, lane, mem, targets, first, params):
        label = np.int64(targets[first])
        largest = min(lane, K - 1)
        for k in range(lane, K, lanes):
            if mem[x + k] > mem[x + largest]:
                largest = k
        top = mem[x + largest]
        width = lanes // 2
        while width > 0:
            other, its = cuda.shfl_xor_sync(0xFFFFFFFF, top, width), cuda.shfl_xor_sync(0xFFFFFFFF, largest, width)
            if other > top or (other == top and its < largest):
                top, largest = other, its
            width //= 2
        highest, total = np.float64(top), 0.0
        for k in range(lane, K, lanes):
            total += exp(np.float64(mem[x + k]) - highest)
        total = add_up(total)
        if train:
            for k in range(lane, K, lanes):
                p = exp(np.float64(mem[x + k]) - highest) / total
                mem[dx + k] = dtype((p - (1.0 if k == label else 0.0)) * scale)
        return highest + log(total) - np.float64(mem[x + label]), 1.0 if largest == label else 0.0
    return function
