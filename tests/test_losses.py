"""Losses: closed forms, scikit-learn's values, weights, masks, extreme logits, links."""

import naive
import numpy as np
import pytest
from gradcheck import KEY
from networks import LOSSES
from sklearn import metrics

from tsrnn.backends import contract as c
from tsrnn.engine import Engine
from tsrnn.layers import Activation, Dense
from tsrnn.losses import LOSSES as TABLE
from tsrnn.network import Network
from tsrnn.parallel import Team

BACKENDS = pytest.mark.parametrize("backend", ["numpy", "cpu"])
EVERY_LOSS = pytest.mark.parametrize("loss, params", [case[:2] for case in LOSSES], ids=[case[0] for case in LOSSES])


def evaluate(loss, logits, targets, params=(1.0,), weights=None, backend="cpu", dtype=np.float64):
    """Mean loss, share of right answers and gradient with respect to `logits` (n, K) or (n, T, K)."""
    logits, targets = np.asarray(logits, dtype), np.asarray(targets, dtype)
    n, K = logits.shape[0], logits.shape[-1]
    T = logits.shape[1] if logits.ndim == 3 else 1
    # the identity in front, so that the logits' gradient is dense_0's input
    network = Network([Dense(K)], (T, K), loss, params, backend=backend)
    theta = np.concatenate([np.eye(K).ravel(), np.zeros(K)]).astype(dtype)
    weights = np.ones((n, T)) if weights is None else np.asarray(weights, float).reshape(n, -1)
    per_step = targets.size // (n * T)
    totals = (weights * np.ones((n, T))).sum(axis=1)
    data = c.Data(logits.ravel(), np.zeros(1, np.int32), np.arange(n) * T * K, np.full(n, T), targets.ravel(),
                  np.arange(n) * T * per_step, weights.astype(dtype), totals)
    engine = Engine(network, theta, Team(1))
    value, right, out = engine.evaluate(data)
    np.testing.assert_array_equal(out, logits.reshape(n, -1))
    gradient = np.empty(network.n_params, dtype)
    total, _ = engine.gradient(data, np.arange(n), KEY, gradient)
    np.testing.assert_allclose(total / totals.sum(), value, rtol=1e-12)
    return value, right, network.views(gradient)["dense_0.b"].copy()


def random_case(loss, params, n=30, K=None, seed=0):
    rng = np.random.default_rng(seed)
    K = K or (len(params) * 2 if loss == "quantile" else 4)
    logits = rng.normal(scale=2, size=(n, K))
    if loss == "categorical_crossentropy":
        return logits, rng.integers(0, K, (n, 1))
    if loss == "binary_crossentropy":
        return logits, rng.integers(0, 2, (n, K))
    if loss == "poisson":
        return logits, rng.poisson(2, (n, K))
    return logits, rng.normal(size=(n, K // len(params) if loss == "quantile" else K))


@EVERY_LOSS
@BACKENDS
def test_weighted_mean_of_the_closed_form(loss, params, backend):
    logits, targets = random_case(loss, params)
    weights = np.random.default_rng(1).uniform(0, 3, 30)
    values = [naive.loss_value(loss, p, y, params) for p, y in zip(logits, targets)]
    got = evaluate(loss, logits, targets, params, weights, backend)[0]
    np.testing.assert_allclose(got, np.average(values, weights=weights), rtol=1e-12)


@BACKENDS
def test_values_are_scikit_learns(backend):
    logits, y = random_case("squared_error", ())
    w = np.random.default_rng(1).uniform(0, 3, 30)
    np.testing.assert_allclose(evaluate("squared_error", logits, y, weights=w, backend=backend)[0],
                               metrics.mean_squared_error(y, logits, sample_weight=w), rtol=1e-12)
    np.testing.assert_allclose(evaluate("absolute_error", logits, y, weights=w, backend=backend)[0],
                               metrics.mean_absolute_error(y, logits, sample_weight=w), rtol=1e-12)
    got = evaluate("quantile", np.repeat(logits, 2, axis=1), y, (0.1, 0.7), w, backend)[0]
    expected = np.mean([metrics.mean_pinball_loss(y, logits, sample_weight=w, alpha=q) for q in (0.1, 0.7)])
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    counts = np.random.default_rng(2).poisson(2, y.shape) + 1.0
    got = evaluate("poisson", logits, counts, weights=w, backend=backend)[0]
    best = evaluate("poisson", np.log(counts), counts, weights=w, backend=backend)[0]
    deviance = metrics.mean_poisson_deviance(counts.ravel(), np.exp(logits).ravel(), sample_weight=w.repeat(4))
    np.testing.assert_allclose(2 * (got - best), deviance, rtol=1e-11)
    classes = np.random.default_rng(3).integers(0, 4, 30)
    value, right, _ = evaluate("categorical_crossentropy", logits, classes, weights=w, backend=backend)
    probabilities = TABLE["categorical_crossentropy"].link(logits)
    np.testing.assert_allclose(value, metrics.log_loss(classes, probabilities, sample_weight=w, labels=range(4)), rtol=1e-12)
    np.testing.assert_allclose(right, metrics.accuracy_score(classes, logits.argmax(axis=1), sample_weight=w), rtol=1e-12)
    binary = classes % 2
    value, right, _ = evaluate("binary_crossentropy", logits[:, :1], binary, weights=w, backend=backend)
    probabilities = TABLE["binary_crossentropy"].link(logits[:, 0])
    np.testing.assert_allclose(value, metrics.log_loss(binary, probabilities, sample_weight=w), rtol=1e-12)
    np.testing.assert_allclose(right, metrics.accuracy_score(binary, logits[:, 0] > 0, sample_weight=w), rtol=1e-12)


@EVERY_LOSS
@BACKENDS
def test_gradients_of_the_closed_form(loss, params, backend):
    logits, targets = random_case(loss, params)
    _, _, gradient = evaluate(loss, logits, targets, params, backend=backend)
    step = 1e-6
    for k in range(logits.shape[1]):
        shift = np.eye(logits.shape[1])[k] * step
        above, below = (np.mean([naive.loss_value(loss, p, y, params) for p, y in zip(shifted, targets)])
                        for shifted in (logits + shift, logits - shift))
        np.testing.assert_allclose(gradient[k], (above - below) / (2 * step), rtol=1e-6, atol=1e-9)


@EVERY_LOSS
@BACKENDS
def test_one_target_a_step(loss, params, backend):
    logits, targets = random_case(loss, params)
    weights = np.random.default_rng(1).uniform(0, 3, 30)
    flat = evaluate(loss, logits, targets, params, weights, backend)
    steps = evaluate(loss, logits.reshape(6, 5, -1), targets.reshape(6, 5, -1), params, weights, backend)
    for a, b in zip(flat, steps):
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@BACKENDS
def test_extreme_logits_are_finite(backend, dtype):
    for logit in (-1000.0, 1000.0):
        for y in (0, 1):
            value, _, gradient = evaluate("binary_crossentropy", [[logit]], [[y]], backend=backend, dtype=dtype)
            assert value == (1000.0 if (logit > 0) != (y == 1) else 0.0)
            assert gradient[0] == (logit > 0) - y
    for y, expected in ((0, 0.0), (1, 2000.0), (2, 1000.0)):
        value, _, gradient = evaluate("categorical_crossentropy", [[1000.0, -1000.0, 0.0]], [y], backend=backend, dtype=dtype)
        assert value == pytest.approx(expected, abs=1e-9)
        np.testing.assert_allclose(gradient, np.array([1.0, 0, 0]) - np.eye(3)[y], atol=1e-12)
    value, _, gradient = evaluate("poisson", [[-1000.0]], [[2]], backend=backend, dtype=dtype)
    assert value == 2000 and gradient[0] == -2
    for loss in ("squared_error", "absolute_error", "huber"):
        value, _, gradient = evaluate(loss, [[1000.0, -1000.0]], [[0, 0]], backend=backend, dtype=dtype)
        assert np.isfinite(value) and np.isfinite(gradient).all()


@BACKENDS
def test_poisson_overflow_shows_as_infinite(backend):
    with np.errstate(over="ignore"):
        assert evaluate("poisson", [[1000.0]], [[2]], backend=backend)[0] == np.inf


@BACKENDS
def test_small_probabilities_keep_their_digits(backend):
    value, _, gradient = evaluate("binary_crossentropy", [[-40.0]], [[0]], backend=backend)
    np.testing.assert_allclose([value, gradient[0]], [np.exp(-40), np.exp(-40)], rtol=1e-12)


@BACKENDS
def test_kinks_and_ties(backend):
    for loss in ("absolute_error", "huber", "quantile"):
        value, _, gradient = evaluate(loss, [[1.0]], [[1.0]], (0.3,), backend=backend)
        assert value == 0 and gradient[0] == 0
    value, _, gradient = evaluate("huber", [[2.0]], [[0.0]], (0.5,), backend=backend)
    assert value == 0.5 * (2 - 0.25) and gradient[0] == 0.5
    assert evaluate("categorical_crossentropy", [[1.0, 1.0]], [0], backend=backend)[1] == 1  # the first of equals
    assert evaluate("categorical_crossentropy", [[1.0, 1.0]], [1], backend=backend)[1] == 0
    assert evaluate("binary_crossentropy", [[0.0]], [[0]], backend=backend)[1] == 1


@BACKENDS
def test_multilabel_is_right_where_all_labels_are(backend):
    logits, labels = [[1, -1], [1, 1], [-1, -1.0]], [[1, 0], [1, 0], [0, 0]]
    assert evaluate("binary_crossentropy", logits, labels, backend=backend)[1] == pytest.approx(2 / 3)


@BACKENDS
def test_quantile_outputs_are_ordered_by_target_then_quantile(backend):
    logits = [[0.0, 0, 0, 10, 10, 10]]
    value, _, gradient = evaluate("quantile", logits, [[1.0, 9.0]], (0.1, 0.5, 0.8), backend=backend)
    np.testing.assert_allclose(gradient * 6, [-0.1, -0.5, -0.8, 0.9, 0.5, 0.2], rtol=1e-12)
    np.testing.assert_allclose(value * 6, 0.1 + 0.5 + 0.8 + 0.9 + 0.5 + 0.2, rtol=1e-12)


def test_links():
    x = np.array([[-1000.0, 0.0, 1000.0], [1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(TABLE["squared_error"].link(x), x)
    np.testing.assert_array_equal(TABLE["quantile"].link(x), x)
    np.testing.assert_allclose(TABLE["poisson"].link(x[1]), np.exp(x[1]))
    np.testing.assert_allclose(TABLE["binary_crossentropy"].link(x[0]), [0, 0.5, 1])
    soft = TABLE["categorical_crossentropy"].link(x)
    np.testing.assert_allclose(soft.sum(axis=1), 1)
    np.testing.assert_allclose(soft[0], [0, 0, 1])
    classification = [loss.name for loss in TABLE.values() if loss.is_classification]
    assert classification == ["binary_crossentropy", "categorical_crossentropy"]
    assert {case[0] for case in LOSSES} == set(TABLE)


@BACKENDS
def test_an_activation_may_stand_before_the_last_layer(backend):
    network = Network([Activation("relu"), Dense(1)], (1, 2), backend=backend)
    engine = Engine(network, np.array([2.0, 3.0, 0.5]), Team(1))
    data = c.Data(np.array([1.0, -1.0]), np.zeros(1, np.int32), np.zeros(1, np.int64), np.ones(1, np.int64), np.zeros(1),
                  np.zeros(1, np.int64), np.ones((1, 1)), np.ones(1))
    assert engine.predict(data)[0, 0] == 2.5
