"""Samples, ids, numbering of tokens and sums by token on the card, in the simulator, against the NumPy backend."""

import cudasim

cudasim.install()

from collections import namedtuple  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from cuda_operations import ORDERS, host, pair, replay, updates  # noqa: E402
from gradcheck import make_data  # noqa: E402

from tsrnn.backends import contract as c  # noqa: E402
from tsrnn.backends.cuda import finish, inputs, tokens  # noqa: E402
from tsrnn.backends.cuda.place import CARD  # noqa: E402
from tsrnn.backends.cuda.reductions import MAX_GRID_Y  # noqa: E402
from tsrnn.backends.numpy import finish as numpy_finish  # noqa: E402
from tsrnn.backends.numpy import inputs as numpy_inputs  # noqa: E402
from tsrnn.layers import GRU, Activation, Dense, Embedding  # noqa: E402
from tsrnn.network import Network  # noqa: E402

Matrix = namedtuple("Matrix", "array at ld split jump")
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}
EVERY_ORDER = pytest.mark.parametrize("order", ORDERS, ids=["first to last", "last to first"])


@DTYPES
@pytest.mark.parametrize("features", [1, 3, 9])
@pytest.mark.parametrize("lengths", [[6, 3, 0, 5, 2], [6] * 5, [6], [1, 9]])
def test_samples(dtype, features, lengths):
    network = Network([Dense(2)], (6, features), backend="numpy")
    data = make_data(network, lengths=lengths, steps=9, dtype=dtype)
    masked = min(lengths) < 6
    chunk, recorder, rows = pair(network, data, dtype, steps=6, masked=masked)
    numpy_inputs.gather(chunk, rows.INPUT, 0.0)
    inputs.gather(recorder, rows.INPUT, 0.0)
    replay(recorder)
    np.testing.assert_array_equal(host(recorder.mem), chunk.scratch.mem)
    np.testing.assert_array_equal(host(recorder.mask), chunk.scratch.mask)
    assert recorder.launches[-1].grid[1] <= MAX_GRID_Y, "whatever the batch"


def text_network(V, E, numbered, mask_zero=False, T=7, trainable=True):
    between = [] if numbered else [Activation("linear")]
    return Network([Embedding(V, E, mask_zero, trainable), *between, GRU(2), Dense(2)], (T,), backend="numpy")


def text_data(network, ids, dtype, lengths=None):
    n, T = ids.shape
    data = make_data(network, n=n, steps=T, lengths=lengths, dtype=dtype)
    return data._replace(ids=ids.astype(np.int32).ravel())


def patterns(V, T=7, B=6):
    """name → ids (B, T)."""
    rng = np.random.default_rng(4)
    words = rng.integers(0, V, (B, T))
    padded = words.copy()
    padded[np.arange(T) < rng.integers(0, T + 1, (B, 1))] = 0
    return {"words": words, "padded": padded, "one id": np.full((B, T), V - 1), "only padding": np.zeros((B, T), int),
            "rows of one": np.repeat(words[:, :1], T, axis=1), "one sample": words[:1], "one step": words[:, :1],
            "one position": words[:1, :1], "falling": (np.arange(B * T)[::-1] % V).reshape(B, T)}


PATTERNS = sorted(patterns(3))


def check_numbers(chunk, recorder, rows):
    """The contract's layout, and the lists behind it."""
    T, B = int(rows.IDS[c.T_OUT]), recorder.B
    ours, theirs = host(recorder.indices), chunk.scratch.indices
    at, n = recorder.at(rows.IDS[c.WORK]), T * B
    ids = chunk.tokens(rows.EMBEDDING)[1][theirs[at:at + n]] if rows.IDS[c.OPTION] & 2 else theirs[at:at + n]
    found = np.unique(ids)
    D = len(found)
    if rows.IDS[c.OPTION] & 2:
        assert ours[at + 2 * n] == D
        np.testing.assert_array_equal(ours[at + n:at + n + D], found)
        np.testing.assert_array_equal(found[ours[at:at + n]], ids)
    else:
        np.testing.assert_array_equal(ours[at:at + n], ids)
    if recorder.mode == c.TRAIN:
        lists, t = host(recorder.tokens.lists), recorder.tokens
        positions = np.arange(n).reshape(T, B).T.ravel()  # sample by sample
        order = positions[np.argsort(ids[positions], kind="stable")]
        np.testing.assert_array_equal(lists[t.order:t.order + n], order)
        np.testing.assert_array_equal(lists[t.places:t.places + n], np.searchsorted(found, ids[order]))
        np.testing.assert_array_equal(lists[t.starts:t.starts + D + 1], np.append(np.searchsorted(ids[order], found), n))
        numbers = np.full(tokens.vocabulary(recorder), c.NONE)
        numbers[found] = np.arange(D)
        if tokens.is_trained(recorder):
            np.testing.assert_array_equal(host(t.rows), numbers)


@pytest.mark.parametrize("V", [3, 300])
@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "plain"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_ids_and_their_numbers(pattern, numbered, V):
    ids = patterns(V)[pattern]
    network = text_network(V, 3, numbered, T=ids.shape[1])
    chunk, recorder, rows = pair(network, text_data(network, ids, np.float32), np.float32)
    assert bool(rows.IDS[c.OPTION] & 2) == numbered
    numpy_inputs.gather_ids(chunk, rows.IDS, 0.0)
    inputs.gather_ids(recorder, rows.IDS, 0.0)
    for order in (*ORDERS, ORDERS[0]):  # the second time over what the first has left
        replay(recorder, order)
        check_numbers(chunk, recorder, rows)


@pytest.mark.parametrize("V, B", [(5, 5), (300, 3)])
def test_ids_are_sorted_by_whole_warps(V, B, monkeypatch):
    """Two warps a block, as on the card: their lanes vote, and their counts are added up."""
    monkeypatch.setattr(tokens, "SORTERS", 64)
    ids = np.random.default_rng(0).integers(0, V, (B, 61))
    network = text_network(V, 3, True, T=61)
    chunk, recorder, rows = pair(network, text_data(network, ids, np.float32), np.float32)
    numpy_inputs.gather_ids(chunk, rows.IDS, 0.0)
    inputs.gather_ids(recorder, rows.IDS, 0.0)
    for order in ORDERS:
        replay(recorder, order)
        check_numbers(chunk, recorder, rows)


@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "plain"])
@pytest.mark.parametrize("mode", [c.TRAIN, c.PREDICT])
@pytest.mark.parametrize("mask_zero", [True, False])
@pytest.mark.parametrize("lengths", [[7, 3, 1, 5, 2, 0], [9, 7, 7, 8, 7, 7]])
def test_lengths_and_padding(lengths, mask_zero, mode, numbered):
    ids = np.random.default_rng(0).integers(0, 4, (6, 9))
    network = text_network(4, 3, numbered, mask_zero)
    data = text_data(network, ids, np.float32, lengths)
    chunk, recorder, rows = pair(network, data, np.float32, steps=7, masked=True, mode=mode)
    numpy_inputs.gather_ids(chunk, rows.IDS, 0.0)
    inputs.gather_ids(recorder, rows.IDS, 0.0)
    replay(recorder)
    check_numbers(chunk, recorder, rows)
    np.testing.assert_array_equal(host(recorder.mask), chunk.scratch.mask)


def run_ids(pattern, numbered, dtype, V=17, E=5, trainable=True, mode=c.TRAIN):
    ids = patterns(V)[pattern]
    network = text_network(V, E, numbered, T=ids.shape[1], trainable=trainable)
    chunk, recorder, rows = pair(network, text_data(network, ids, dtype), dtype, mode=mode)
    numpy_inputs.gather_ids(chunk, rows.IDS, 0.0)
    inputs.gather_ids(recorder, rows.IDS, 0.0)
    return network, chunk, recorder, rows


def distinct(recorder, rows):
    """Ids of the distinct tokens on the card."""
    n, at = int(rows.IDS[c.T_OUT]) * recorder.B, recorder.at(rows.IDS[c.WORK])
    indices = host(recorder.indices)
    return indices[at + n:at + n + indices[at + 2 * n]]


@pytest.mark.parametrize("numbered, trainable, mode", [(True, True, c.TRAIN), (False, True, c.TRAIN), (True, False, c.TRAIN),
                                                       (False, False, c.TRAIN), (True, True, c.PREDICT),
                                                       (False, True, c.PREDICT)])
@pytest.mark.parametrize("pattern", ["padded", "one position"])
def test_embedding(pattern, numbered, trainable, mode):
    network, chunk, recorder, rows = run_ids(pattern, numbered, np.float64, trainable=trainable, mode=mode)
    inputs.embedding_forward(recorder, rows.EMBEDDING, 0.0)
    replay(recorder)
    numpy_inputs.embedding_forward(chunk, rows.EMBEDDING, 0.0)
    row, size = rows.EMBEDDING, chunk.y(rows.EMBEDDING).size
    at = recorder.at(row[c.Y])
    wanted = chunk.scratch.mem.copy()
    if numbered:  # rows in the card's order; those behind the last distinct token stay as they were
        table = chunk.params.theta[row[c.PARAM]:].reshape(-1, row[c.F_OUT])
        found = distinct(recorder, rows)
        wanted[at:at + len(found) * 5] = table[found].ravel()
    assert size
    np.testing.assert_array_equal(host(recorder.mem), wanted)


@DTYPES
@EVERY_ORDER
@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "plain"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_gradient_of_the_table(pattern, numbered, order, dtype):
    network, chunk, recorder, rows = run_ids(pattern, numbered, dtype)
    E, row, n = 5, rows.EMBEDDING, int(rows.IDS[c.T_OUT]) * recorder.B
    if numbered:  # DY has a row a number, and the two give different numbers
        replay(recorder)
        by_id = np.random.default_rng(8).normal(size=(17, E)).astype(dtype)
        mem, found = host(recorder.mem), distinct(recorder, rows)
        mem[recorder.at(row[c.DY]):][:len(found) * E] = by_id[found].ravel()
        CARD.put(mem, recorder.mem)
        theirs = chunk.tokens(row)[1]
        chunk.scratch.mem[recorder.at(row[c.DY]):][:len(theirs) * E] = by_id[theirs].ravel()
    numpy_inputs.embedding_backward(chunk, row, 0.0)
    ours, theirs = updates(network, chunk.params.theta)
    numpy_finish.finish_gradient(chunk.params.theta, chunk.params.grads.copy(), chunk.sums.tokens, chunk.sums.token_ids[:n],
                                 ours, host(recorder.hyper))
    recorder.operation_begins()
    inputs.embedding_backward(recorder, row, 0.0)
    recorder.operation_begins()
    finish.finish(recorder, theirs)
    replay(recorder, order)
    np.testing.assert_allclose(host(theirs.gradient), ours.gradient, rtol=0, atol=TOLERANCE[dtype] * 10)
    assert (ours.gradient[network.n_dense:] != 0).any()


@DTYPES
@pytest.mark.parametrize("pattern", ["words", "padded", "one id", "one position", "falling"])
@pytest.mark.parametrize("columns", [1, 3, 10])
def test_sums_by_token(columns, pattern, dtype):
    _, _, recorder, rows = run_ids(pattern, True, dtype)
    n, rng = int(rows.IDS[c.T_OUT]) * recorder.B, np.random.default_rng(2)
    source, target = rng.normal(size=n * 14 + 9).astype(dtype), rng.normal(size=n * 17 + 9).astype(dtype)
    matrices = [Matrix(CARD.put(source), 2, 14, 1, 3), Matrix(CARD.put(target), 3, 17, 2, 5)]
    inputs.sum_by_token(recorder, rows.RECURRENT, *matrices, columns)
    results = []
    for order in ORDERS:
        CARD.put(target, matrices[1].array)
        replay(recorder, order)
        results.append(host(matrices[1].array))
    np.testing.assert_array_equal(*results)
    numbers = host(recorder.indices)[recorder.at(rows.IDS[c.WORK]):][:n]
    D, j = numbers.max() + 1, np.arange(columns)
    wanted = np.zeros((D, columns), dtype)
    np.add.at(wanted, numbers, source[2 + np.arange(n)[:, None] * 14 + j + 3 * (j >= 1)])
    at = 3 + np.arange(D)[:, None] * 17 + j + 5 * (j >= 2)
    np.testing.assert_allclose(results[0][at], wanted, rtol=0, atol=TOLERANCE[dtype] * 10)
    target[at] = results[0][at]
    np.testing.assert_array_equal(results[0], target)  # nothing else was written


def test_sums_do_not_depend_on_the_timing():
    """Blocks of the sort in any order give the same lists: they come from counts, not from who was first."""
    _, _, recorder, rows = run_ids("padded", True, np.float32)
    replay(recorder, ORDERS[0])
    first = host(recorder.tokens.lists)
    replay(recorder, ORDERS[1])
    np.testing.assert_array_equal(host(recorder.tokens.lists), first)
