"""Runs plans on the card: records the launches of a batch once, and replays them."""

from __future__ import annotations

import numpy as np

from tsrnn.backends import NoGPUError
from tsrnn.backends import contract as c
from tsrnn.backends.cuda import dropout, feedforward, finish, inputs, losses, pooling, recurrent
from tsrnn.backends.cuda.jit import THREADS, cuda, family, why_not
from tsrnn.backends.cuda.place import CARD
from tsrnn.backends.cuda.recorder import Recorder, Turn

FORWARD = {
    c.INPUT: inputs.gather, c.IDS: inputs.gather_ids, c.EMBEDDING: inputs.embedding_forward,
    c.RECURRENT: recurrent.forward, c.MERGE: feedforward.merge_forward, c.DENSE: feedforward.dense_forward,
    c.CONV: feedforward.conv_forward, c.MAX_POOL: pooling.max_forward, c.AVERAGE_POOL: pooling.average_forward,
    c.GLOBAL_MAX: pooling.max_forward, c.GLOBAL_MEAN: pooling.average_forward, c.DROPOUT: dropout.dropout_forward,
    c.RESHAPE: feedforward.reshape_forward, c.CLEAR: feedforward.clear_forward,
    c.ACTIVATION: feedforward.activation_forward,
}
BACKWARD = {
    c.EMBEDDING: inputs.embedding_backward, c.RECURRENT: recurrent.backward, c.MERGE: feedforward.merge_backward,
    c.DENSE: feedforward.dense_backward, c.CONV: feedforward.conv_backward, c.MAX_POOL: pooling.max_backward,
    c.AVERAGE_POOL: pooling.average_backward, c.GLOBAL_MAX: pooling.max_backward, c.GLOBAL_MEAN: pooling.average_backward,
    c.DROPOUT: dropout.dropout_backward, c.RESHAPE: feedforward.reshape_backward, c.CLEAR: feedforward.clear_backward,
    c.ACTIVATION: feedforward.activation_backward,
}
RECORDINGS = 8  # of an engine: as many lengths and batch sizes are kept ready


def assign_pack(rows, itemsize):
    """This backend rearranges nothing."""
    return 1


def kernels(rows, dtype, train):
    """Nothing to make ready but the card: kernels are compiled where they are launched first."""
    if why_not():
        raise NoGPUError(f'device="cuda": {why_not()}.')
    return np.zeros((len(rows) + 1, 2), np.int64)


def pack(plan, theta, packed):
    """This backend rearranges nothing."""


def run(mode, plan, data, batch, params, scratch, sums, out, first, stop, step):
    """See the contract; there is one chunk."""
    B = len(batch.order)
    turn = _turn(scratch, B, 1)
    CARD.put(batch.order, turn.order[:B])
    CARD.put(np.array([[0, B]]), turn.bounds[:1])
    CARD.put(np.zeros(2, np.int64), turn.clock)
    recorder = _recording(plan, B, mode, data, params, scratch, None, turn)
    _replay(recorder)
    CARD.get(recorder.out, out)
    if mode == c.EVALUATE:
        CARD.get(recorder.sums, sums.loss[0])


def train(plan, data, steps, params, scratch, sums, update, meeting, thread):
    """See the contract; there is one chunk a batch, and one thread."""
    sizes = steps.bounds[:, 1] - steps.bounds[:, 0]
    n_steps = len(sizes)
    turn = _turn(scratch, len(steps.order), n_steps)
    CARD.put(steps.order, turn.order[:len(steps.order)])
    CARD.put(steps.bounds, turn.bounds[:n_steps])
    CARD.put(steps.hyper, turn.hyper[:n_steps])
    CARD.put(steps.key, turn.key)
    CARD.put(np.zeros(2, np.int64), turn.clock)
    try:
        for B in sizes.tolist():
            _replay(_recording(plan, B, c.TRAIN, data, params, scratch, update, turn))
    finally:  # Ctrl-C: what has been launched is done
        clock = np.zeros(2, np.int64)
        CARD.get(turn.clock, clock)
        meeting[c.DONE] += int(clock[0])
    CARD.get(turn.losses[:n_steps], steps.losses)


def _turn(scratch, n_samples, n_steps):
    if scratch.turn is None or not scratch.turn.fits(n_samples, n_steps):
        scratch.turn = Turn(1 << (n_samples - 1).bit_length(), 1 << (n_steps - 1).bit_length())
        scratch.recordings.clear()
    return scratch.turn


def _recording(plan, B, mode, data, params, scratch, update, turn):
    """The launches for batches of B samples, recorded where they are not known yet."""
    arrays = (plan.rows, *data, *params, *(() if update is None else (update.gradient, update.moments)))
    key = (B, mode, *map(id, arrays))
    found = scratch.recordings.pop(key, None)
    if found is None:
        found = record(plan, B, mode, data, params, scratch, update, turn)
        found.arrays = arrays  # alive, so that no other array can have their ids
        while len(scratch.recordings) >= RECORDINGS:
            scratch.recordings.pop(next(iter(scratch.recordings)))
    scratch.recordings[key] = found
    return found


def record(plan, B, mode, data, params, scratch, update, turn):
    """A `Recorder` with the launches of a prediction, an evaluation or a training step."""
    recorder = Recorder(plan, B, mode, data, params, scratch, turn)
    recorder.launch(take_turn(recorder.dtype), 1, THREADS, turn.clock, turn.bounds, turn.order, data.totals, turn.hyper,
                    recorder.samples, recorder.total, recorder.hyper)
    for row, rate in zip(plan.rows[:-1], plan.rates):
        recorder.operation_begins()
        FORWARD[int(row[c.OP])](recorder, row, rate)
    last = plan.rows[-1]
    recorder.operation_begins()
    if mode != c.TRAIN:
        recorder.out = CARD.empty((recorder.B, int(last[c.T_IN] * last[c.F_IN])), recorder.dtype)
        losses.write_logits(recorder, last, recorder.out)
    if mode != c.PREDICT:
        losses.loss(recorder, last)
    if mode == c.TRAIN:
        for row, rate in zip(plan.rows[-2::-1], plan.rates[-2::-1]):
            backward = BACKWARD.get(int(row[c.OP]))
            if backward is not None:
                recorder.operation_begins()
                backward(recorder, row, rate)
        recorder.operation_begins()
        finish.finish(recorder, update)
    return recorder


def _replay(recorder):
    recorder.replay()


@family
def take_turn(dtype):
    """The step's samples, their weights' sum and its constants, to where all launches look for them."""
    def kernel(clock, bounds, order, totals, all_hyper, samples, total, hyper):
        parts = cuda.shared.array(THREADS, np.float64)
        n, thread, step = samples.size, cuda.threadIdx.x, clock[0]
        first, sum_ = bounds[step, 0], 0.0
        for b in range(thread, n, cuda.blockDim.x):
            samples[b] = order[first + b]
            sum_ += totals[samples[b]]
        parts[thread] = sum_
        for i in range(thread, hyper.size, cuda.blockDim.x):
            hyper[i] = all_hyper[step, i]
        cuda.syncthreads()
        if thread == 0:
            sum_ = 0.0
            for i in range(cuda.blockDim.x):
                sum_ += parts[i]
            total[0] = sum_
    return kernel
