"""Losses on the card, in the simulator, against the NumPy backend."""

import cudasim

cudasim.install()

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from cuda_operations import ORDERS, host, pair, replay  # noqa: E402
from gradcheck import make_data  # noqa: E402
from networks import LOSSES  # noqa: E402

from tsrnn.backends import contract as c  # noqa: E402
from tsrnn.backends.cuda import losses  # noqa: E402
from tsrnn.backends.cuda.place import CARD  # noqa: E402
from tsrnn.backends.numpy import losses as numpy_losses  # noqa: E402
from tsrnn.layers import Dense  # noqa: E402
from tsrnn.network import Network  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # simulated threads do not see what NumPy shall ignore
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
EVERY_LOSS = pytest.mark.parametrize("loss, params, K", [*LOSSES, *((loss, params, 9) for loss, params, _ in LOSSES)])
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}
LENGTHS = [6, 3, 0, 5, 2]


def make(loss, params, K, dtype, mode=c.TRAIN, T=6, lengths=LENGTHS, masked=True, weights=None, scale=2.0):
    """Logits in both memories; the mask of the lengths where it is asked for."""
    network = Network([Dense(K)], (T, 2), loss, params, backend="numpy")
    data = make_data(network, lengths=lengths, steps=T, dtype=dtype, weights=weights)
    chunk, recorder, rows = pair(network, data, dtype, mode=mode, masked=masked)
    logits = chunk.x(rows.LOSS)
    logits[...] = np.random.default_rng(5).normal(scale=scale, size=logits.shape)
    if loss == "binary_crossentropy":  # some samples are right
        logits[:, ::2] = np.abs(logits[:, ::2]) * (2 * numpy_losses._targets(chunk, rows.LOSS)[:, ::2] - 1)
    mask = chunk.mask(rows.LOSS)
    if mask is not None:
        mask[...] = np.arange(T)[:, None] < np.asarray(lengths)[chunk.samples]
        CARD.put(chunk.scratch.mask, recorder.mask)
    CARD.put(chunk.scratch.mem, recorder.mem)
    return chunk, recorder, rows.LOSS


def compare(chunk, recorder, row, dtype, order=ORDERS[0]):
    with np.errstate(all="ignore"):
        numpy_losses.loss(chunk, row, recorder.mode == c.TRAIN)
    losses.loss(recorder, row)
    replay(recorder, order)
    sums, mem = host(recorder.sums), host(recorder.mem)
    np.testing.assert_allclose(sums, chunk.sums.loss[0], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    np.testing.assert_allclose(mem, chunk.scratch.mem, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    return sums, mem


@DTYPES
@pytest.mark.parametrize("order", ORDERS, ids=["first to last", "last to first"])
@pytest.mark.parametrize("masked", [True, False], ids=["masked", "plain"])
@EVERY_LOSS
def test_losses(loss, params, K, masked, order, dtype):
    lengths = LENGTHS if masked else [6] * 5
    chunk, recorder, row = make(loss, params, K, dtype, masked=masked, lengths=lengths)
    before = chunk.scratch.mem.copy()
    sums, mem = compare(chunk, recorder, row, dtype, order)
    assert sums[0] > 0 and (mem != before).any()
    assert (sums[1] > 0) == (loss in ("binary_crossentropy", "categorical_crossentropy")), sums


@EVERY_LOSS
def test_nothing_is_learnt_from_an_evaluation(loss, params, K):
    chunk, recorder, row = make(loss, params, K, np.float64, c.EVALUATE)
    before = chunk.scratch.mem.copy()
    compare(chunk, recorder, row, np.float64)
    np.testing.assert_array_equal(host(recorder.mem), before)


@EVERY_LOSS
@pytest.mark.parametrize("T, lengths", [(1, [1]), (1, [1] * 9), (9, [9])])
def test_one_step_and_one_sample(loss, params, K, T, lengths):
    compare(*make(loss, params, K, np.float32, T=T, lengths=lengths, masked=False), np.float32)


@EVERY_LOSS
@pytest.mark.parametrize("weights", ["a sample", "some zero", "all zero"])
def test_weights(loss, params, K, weights):
    values = np.random.default_rng(1).uniform(0, 2, (5, 1 if weights == "a sample" else 6))
    values *= 0 if weights == "all zero" else values > 0.8
    chunk, recorder, row = make(loss, params, K, np.float64, weights=values)
    sums, mem = compare(chunk, recorder, row, np.float64)
    assert (sums[0] == 0) == (weights == "all zero")
    gradient = mem[recorder.at(row[c.DX]):][:6 * 5 * K]
    assert gradient.any() == (weights != "all zero")


def test_a_batch_whose_weights_sum_to_nothing_has_no_gradient():
    chunk, recorder, row = make("squared_error", (1.0,), 2, np.float64)
    nothing = np.zeros_like(chunk.data.totals)
    chunk.data = chunk.data._replace(totals=nothing)
    CARD.put(nothing, recorder.data.totals)
    _, mem = compare(chunk, recorder, row, np.float64)
    assert not mem[recorder.at(row[c.DX]):][:6 * 5 * 2].any()


@EVERY_LOSS
def test_nothing_lies_behind_the_last_target(loss, params, K):
    """The targets of masked steps are never read: here there are none."""
    chunk, recorder, row = make(loss, params, K, np.float64, lengths=[6, 3, 6, 5, 2])
    last = int(chunk.data.target_starts[-1])  # of the sample with 2 steps
    per_step = 1 if loss == "categorical_crossentropy" else K // (len(params) if loss == "quantile" else 1)
    recorder.data = recorder.data._replace(targets=CARD.put(chunk.data.targets[:last + 2 * per_step]))
    compare(chunk, recorder, row, np.float64)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@EVERY_LOSS
def test_what_is_not_finite_reaches_the_loss(loss, params, K, value):
    chunk, recorder, row = make(loss, params, K, np.float32)
    logits = chunk.x(row)
    logits[1, :, K - 1] = value
    with np.errstate(all="ignore"):
        numpy_losses.loss(chunk, row, True)
    CARD.put(chunk.scratch.mem, recorder.mem)
    losses.loss(recorder, row)
    replay(recorder)
    assert np.isfinite(host(recorder.sums)[0]) == np.isfinite(chunk.sums.loss[0, 0])
    if np.isnan(value):
        assert np.isnan(host(recorder.sums)[0])


@pytest.mark.parametrize("loss, params, K", [case for case in LOSSES if case[0] != "poisson"])
def test_extreme_logits(loss, params, K):
    """In float32 e^1000 is infinite, in float64 e^1000 too: losses that need no such power are finite."""
    sums, mem = compare(*make(loss, params, K, np.float64, scale=2000.0), np.float64)
    assert np.isfinite(sums).all() and np.isfinite(mem).all()


@pytest.mark.parametrize("K", [3, 9])
def test_the_first_of_equal_logits_is_the_answer(K):
    chunk, recorder, row = make("categorical_crossentropy", (1.0,), K, np.float64)
    chunk.x(row)[...] = np.random.default_rng(0).integers(0, 2, chunk.x(row).shape)
    CARD.put(chunk.scratch.mem, recorder.mem)
    compare(chunk, recorder, row, np.float64)


@DTYPES
@pytest.mark.parametrize("K", [1, 3, 9])
@pytest.mark.parametrize("T", [1, 6])
def test_logits(T, K, dtype):
    chunk, recorder, row = make("squared_error", (1.0,), K, dtype, c.PREDICT, T, [T] * 5, masked=False)
    out = CARD.zeros((5, T * K), dtype)
    losses.write_logits(recorder, row, out)
    replay(recorder)
    np.testing.assert_array_equal(host(out), chunk.x(row).transpose(1, 0, 2).reshape(5, -1))
