"""Mutants of the definition: each must be caught by what the other tests rely on, or those tests show nothing.

The `numpy` backend is mutated in memory.  Its outputs are then held against the plain equations, its gradients against central
differences, as in `test_backends` and `test_gradients`.
"""

import naive
import numpy as np
import pytest
import test_random
from gradcheck import check_gradients, check_layer_gradients, make_data, make_engine, make_layer_run
from networks import LENGTHS, with_mask

from tsrnn.backends import contract as c
from tsrnn.backends.numpy import executor, feedforward, finish, gru, inputs, losses, lstm, pooling, recurrent
from tsrnn.backends.numpy.randomness import bits
from tsrnn.layers import (
    GRU,
    LSTM,
    RNN,
    AveragePooling1D,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    GlobalMaxPooling1D,
)
from tsrnn.network import Network

SEQ = {"return_sequences": True}
LOSS = losses.loss


def check_outputs(layers, input_shape=(6, 3), **options):
    """Outputs and loss of the numpy backend against the plain equations."""
    network = Network(layers, input_shape, backend="numpy")
    naive.check_engine(make_engine(network), make_data(network, steps=input_shape[0], **options))


def check_layer_states(run):
    """States of a single layer, from given ones, against the plain equations."""
    run.loss()
    params = run.layer.direction_params(run.x.shape[1:])
    offsets = np.cumsum([0] + [p.size for p in params])
    weights = [p.public(run.theta, at) for p, at in zip(params, offsets)]
    for b, x in enumerate(run.x):
        states, _ = naive.recurrent(run.layer, weights, x, None, run.h0[0, b], run.c0[0, b])
        np.testing.assert_allclose(run.state(0, c.H_SEQ)[1:-1, b], states, rtol=1e-12, atol=1e-13)


# ---------------------------------------------------------------------------------- mutants: each returns its replacement


def permuted(function, order, gates):
    """The cell body with its gates' sums in another order."""
    def mutant(a, t, gx, gh, before, now):
        def swap(g):
            return np.concatenate([np.split(g, gates, axis=1)[k] for k in order], axis=1)
        return function(a, t, swap(gx), swap(gh), before, now)
    return mutant


class Layer(recurrent.Layer):
    """Changes of how a direction is laid out."""

    change = ""

    def __init__(self, chunk, row, rate):
        super().__init__(chunk, row, rate)
        if self.change == "mask":
            self.mask = None
        elif self.change == "reversal":
            T = self.shape[0]
            self.steps, self.previous, self.first, self.last = range(T), lambda t: t, 0, T
        elif self.change.startswith("b_"):
            self.params[("b_ih", "b_hh").index(self.change) + 2] = np.zeros_like(self.params[2])
        elif self.change == "dropout":
            self.drop = None
        elif self.change.startswith("d_"):
            at = ("d_W_ih", "d_W_hh", "d_b_ih", "d_b_hh").index(self.change)
            if self.grads:  # prediction has none
                self.grads[at] = LastOnly(self.grads[at])


class LastOnly:
    """A gradient that is overwritten where it should be added to: only the last step of backward counts."""

    def __init__(self, array):
        self.array = array

    def __iadd__(self, value):
        self.array[...] = value
        return self


def changed(name):
    return type("Layer", (Layer,), {"change": name})


def backward_with(change):
    """Backward of a layer that is laid out otherwise than in forward."""
    def mutant(chunk, row, rate):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(recurrent, "Layer", changed(change))
            return recurrent.backward(chunk, row, rate)
    return mutant


def loss_everywhere(chunk, row, backward):
    return LOSS(chunk, _changed(row, c.MASK_IN, c.NONE), backward)


def _changed(row, column, value):
    row = row.copy()
    row[column] = value
    return row


def starts_at_zero(chunk, row, rate):
    return recurrent.forward(chunk, _changed(row, c.OPTION, 0), rate)


def without(function, column, value=0):
    """The operation with a column of its row changed."""
    def mutant(chunk, row, rate):
        return function(chunk, _changed(row, column, value), rate)
    return mutant


def dropout_passes(chunk, row, rate):
    chunk.put_dx(row, chunk.y(row, c.DY))


def other_words(chunk, row, rate):
    """Dropout's backward under the random words of another stream."""
    return feedforward.dropout_backward(chunk, _changed(row, c.STREAM, row[c.STREAM] + 1), rate)


def last_duplicate_only(gradient, table, tokens, token_ids):
    (offset, V, E), real = table, token_ids >= 0
    table = gradient[offset:offset + V * E].reshape(V, E)
    table[...] = 0
    table[token_ids[real]] += tokens[:token_ids.size * E].reshape(-1, E)[real]  # NumPy adds once an id


def first_chunk_only(grads, gradient):
    gradient[:grads.shape[1]] = grads[0]


def conv_one_step_off(chunk, row, rate):
    before = chunk.put_dx
    chunk.put_dx = lambda row, dx: before(row, np.roll(dx, 1, axis=0))
    feedforward.conv_backward(chunk, row, rate)
    del chunk.put_dx


def chunks_mixed_up(chunk, row, rate):
    first, chunk.first = chunk.first, 0
    inputs.embedding_backward(chunk, row, rate)
    chunk.first = first


def ids_one_off(chunk, row, rate):
    ids = chunk.winners(row, row[c.T_OUT], chunk.B)
    ids[...] = (ids + 1) % 3
    inputs.embedding_forward(chunk, row, rate)


def shared_words(key, stream, samples, subs, n):
    """Every sample drops the same positions."""
    return bits(key, stream, np.zeros_like(samples), subs, n)


LSTM_NET = [LSTM(3), Dense(2)]
DROPPED = [Dense(3, "tanh"), LSTM(3, **SEQ, recurrent_dropout=0.4), Dropout(0.4), GRU(2), Dense(1)]
EMBEDDED = ([Embedding(3, 2), LSTM(2), Dense(1)], (6,))
LEFT, LEFT_SHAPE, LEFT_DATA = with_mask([LSTM(3), Dense(1)], "left")


def outputs_of(layers, shape=(6, 3), **options):
    return lambda: check_outputs(layers, shape, **options)


def gradients_of(layers, shape=(6, 3), **options):
    return lambda: check_gradients(layers, shape, entries=6, **options)


def states_of(layer, check=check_layer_states):
    return lambda: check(make_layer_run(layer, "numpy", n=2, steps=3))


# name → (what is patched, its name or key, the mutant, the check that must fail)
MUTANTS = {
    "lstm: i and f swapped": (lstm, "forward", permuted(lstm.forward, (1, 0, 2, 3), 4), outputs_of(LSTM_NET)),
    "lstm: g and o swapped": (lstm, "forward", permuted(lstm.forward, (0, 1, 3, 2), 4), outputs_of(LSTM_NET)),
    "lstm: i and o swapped": (lstm, "forward", permuted(lstm.forward, (3, 1, 2, 0), 4), outputs_of(LSTM_NET)),
    "gru: r and z swapped": (gru, "forward", permuted(gru.forward, (1, 0, 2), 3), outputs_of([GRU(3), Dense(1)])),
    "gru: z and n swapped": (gru, "forward", permuted(gru.forward, (0, 2, 1), 3), outputs_of([GRU(3), Dense(1)])),
    "lstm: gates swapped in forward only": (lstm, "forward", permuted(lstm.forward, (1, 0, 2, 3), 4), gradients_of(LSTM_NET)),
    "right mask ignored": (recurrent, "Layer", changed("mask"), outputs_of(LSTM_NET, lengths=LENGTHS)),
    "left mask ignored": (recurrent, "Layer", changed("mask"), outputs_of(LEFT, LEFT_SHAPE, **LEFT_DATA)),
    "mask ignored by pooling": (pooling, "_real", lambda chunk, row: np.ones((row[c.T_IN], chunk.rows(row)), bool),
                                outputs_of([GlobalMaxPooling1D(), Dense(1)], lengths=[1, 1, 1, 2, 6])),
    "mask ignored by the mean": (pooling, "_real", lambda chunk, row: np.ones((row[c.T_IN], chunk.rows(row)), bool),
                                 outputs_of([AveragePooling1D(4), LSTM(2), Dense(1)], lengths=LENGTHS)),
    "mask ignored before a convolution": (executor.FORWARD, c.CLEAR, lambda chunk, row, rate: chunk.y(row).__setitem__(
        ..., chunk.x(row)), outputs_of([LSTM(3, **SEQ), Conv1D(2), LSTM(2), Dense(1)], lengths=LENGTHS)),
    "mask ignored by the loss": (losses, "loss", loss_everywhere, outputs_of([LSTM(2, **SEQ), Dense(1)], lengths=LENGTHS)),
    "mask ignored in backward": (executor.BACKWARD, c.RECURRENT, backward_with("mask"),
                                 gradients_of([Dense(3), LSTM(3), Dense(1)], lengths=LENGTHS)),
    "reversal ignored": (recurrent, "Layer", changed("reversal"), outputs_of([Bidirectional(LSTM(3)), Dense(1)])),
    "reversal ignored, by steps": (recurrent, "Layer", changed("reversal"),
                                   outputs_of([Bidirectional(GRU(3, **SEQ), "sum"), Dense(1)])),
    "b_ih ignored": (recurrent, "Layer", changed("b_ih"), outputs_of(LSTM_NET)),
    "b_hh ignored": (recurrent, "Layer", changed("b_hh"), outputs_of([GRU(3), Dense(1)])),
    "b_hh ignored, rnn": (recurrent, "Layer", changed("b_hh"), outputs_of([RNN(3), Dense(1)])),
    "h0 ignored": (executor.FORWARD, c.RECURRENT, starts_at_zero, states_of(GRU(3, **SEQ))),
    "h0 and c0 ignored": (executor.FORWARD, c.RECURRENT, starts_at_zero, states_of(LSTM(3, **SEQ))),
    "h0 has no gradient": (executor.FORWARD, c.RECURRENT, starts_at_zero, states_of(GRU(3, **SEQ), check_layer_gradients)),
    "dropout ignored in backward": (executor.BACKWARD, c.DROPOUT, dropout_passes, gradients_of(DROPPED)),
    "other dropout in backward": (executor.BACKWARD, c.DROPOUT, other_words, gradients_of(DROPPED)),
    "recurrent dropout ignored in backward": (executor.BACKWARD, c.RECURRENT, backward_with("dropout"),
                                              gradients_of(DROPPED)),
    **{f"{name[2:]}: only the last step counts": (recurrent, "Layer", changed(name), gradients_of(LSTM_NET))
       for name in ("d_W_ih", "d_W_hh", "d_b_ih", "d_b_hh")},
    "dx of one direction lost": (executor.BACKWARD, c.RECURRENT, without(recurrent.backward, c.ADD_DX),
                                 gradients_of([Dense(3), Bidirectional(LSTM(2)), Dense(1)])),
    "gradients of all chunks but one lost": (finish, "reduce_gradients", first_chunk_only,
                                             gradients_of([LSTM(2), Dense(1)], n=9)),
    "embedding: duplicates lost": (finish, "embedding_gradients", last_duplicate_only, gradients_of(*EMBEDDED, n=9)),
    "embedding: chunks mixed up": (executor.BACKWARD, c.EMBEDDING, chunks_mixed_up, gradients_of(*EMBEDDED, n=9)),
    "convolution: dx one step off": (executor.BACKWARD, c.CONV, conv_one_step_off,
                                     gradients_of([Dense(2), Conv1D(3), LSTM(2), Dense(1)])),
    "convolution: padding off by one": (executor.FORWARD, c.CONV, without(feedforward.conv_forward, c.PAD, 0),
                                        outputs_of([Conv1D(3), LSTM(2), Dense(1)])),
    "ids one off": (executor.FORWARD, c.EMBEDDING, ids_one_off, outputs_of(*EMBEDDED)),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_check_that_kills_a_mutant_passes_without_it(name):
    MUTANTS[name][3]()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_fails(name, monkeypatch):
    target, key, mutant, check = MUTANTS[name]
    if isinstance(target, dict):
        monkeypatch.setitem(target, key, mutant)
    else:
        monkeypatch.setattr(target, key, mutant)
    with pytest.raises(AssertionError):
        check()


def test_a_dropout_mask_shared_by_all_samples_fails(monkeypatch):
    """Gradients cannot tell; the masks themselves can."""
    monkeypatch.setattr(feedforward, "bits", shared_words)
    with pytest.raises(AssertionError):
        test_random.test_samples_differ("numpy")
