"""Solvers, clipping, L2, gradient sums and schedules: the definition by hand, against Numba, and against PyTorch."""

import pickle

import numpy as np
import pytest

from tsrnn import optimizers
from tsrnn.backends import contract, solvers
from tsrnn.backends.cpu import denormals, finish
from tsrnn.backends.cpu.jit import jit
from tsrnn.backends.numpy import finish as numpy

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
NO_SPANS = np.zeros((0, 2), np.int64)
SIZE = 3333  # four blocks; not a multiple of any vector width or number of lanes


class Numba:
    """The Numba backend with the signatures of the definition; its work in shares for three threads, one after the other."""

    @staticmethod
    def finish_gradient(theta, grads, tokens, token_ids, update, hyper):
        for thread in (1, 2, 0):
            finish.finish_gradient(theta, grads, tokens, token_ids, update, hyper, thread, 3)
        return finish.norm_and_penalty(update.squares, hyper[solvers.L2])

    @staticmethod
    def apply_update(theta, update, hyper, norm):
        for thread in (2, 0, 1):
            finish.apply_update(theta, theta.size, update, hyper, norm, thread, 3)


def make_update(gradient, n_dense=None, solver=solvers.NO_SOLVER, moments=None, spans=NO_SPANS, table=(0, 0, 0)):
    """What the end of a step works on; `n_dense`: how much of the gradient is no embedding table."""
    moments = np.zeros((1, 0), gradient.dtype) if moments is None else moments
    squares = np.full((contract.n_blocks(n_dense or gradient.size, *table[1:]), 2), np.nan)
    return contract.Update(solver, gradient, moments, spans, NO_SPANS, np.array(table), squares)


def step(backend, solver, theta, gradient, moments, hyper, spans=NO_SPANS):
    """One chunk's gradient to the optimizer's step, unless the norm is not finite; returns norm and L2 penalty."""
    update = make_update(np.empty_like(gradient), None, solver, moments, spans)
    nothing = np.zeros(0, gradient.dtype), np.zeros(0, np.int32)
    norm, penalty = backend.finish_gradient(theta, gradient[None].copy(), *nothing, update, hyper)
    backend.apply_update(theta, update, hyper, norm)
    return norm, penalty


def run_steps(backend, name, dtype=np.float64, n_steps=10, spans=NO_SPANS, scale=1.0, **constants):
    """Minimise something smooth from a fixed start; returns theta and moments."""
    rng = np.random.default_rng(0)
    theta, target = rng.standard_normal((2, SIZE)).astype(dtype)
    solver = optimizers.get_solver(name)
    moments = np.zeros((solver.n_moments, SIZE), dtype)
    hyper = optimizers.make_hyper(**constants)
    for number in range(1, n_steps + 1):
        optimizers.start_steps(hyper[None], number, 0.05 / number)
        gradient = (np.sin(theta - target) * dtype(scale)).astype(dtype)
        step(backend, solver.code, theta, gradient, moments, hyper, spans)
    return theta, moments


cpu = Numba
BACKENDS = pytest.mark.parametrize("backend", [numpy, cpu], ids=["numpy", "cpu"])
CASES = [
    ("adam", {}),
    ("adam", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-4, "l2": 0.1}),
    ("adamw", {"weight_decay": 0.3}),
    ("rmsprop", {"beta_2": 0.9}),
    ("sgd", {"momentum": 0.0}),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True, "l2": 0.2}),
    ("adam", {"clip_norm": 1.0}),
    ("sgd", {"clip_value": 0.1, "clip_norm": 0.7, "l2": 0.2}),
]
IDS = [f"{name}-{'-'.join(constants)}" for name, constants in CASES]
SPANS = np.array([[3, 70], [100, 3333]])


@pytest.mark.parametrize("name, constants", CASES, ids=IDS)
def test_numba_equals_numpy(name, constants):
    for expected, got in zip(
        run_steps(numpy, name, spans=SPANS, **constants), run_steps(cpu, name, spans=SPANS, **constants), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)
    for expected, got in zip(
        run_steps(numpy, name, np.float32, spans=SPANS, **constants),
        run_steps(cpu, name, np.float32, spans=SPANS, **constants),
        strict=True,
    ):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def torch_optimizer(torch, name, parameters, constants):
    betas = constants.get("beta_1", 0.9), constants.get("beta_2", 0.999)
    epsilon = constants.get("epsilon", 1e-8)
    if name == "adam":
        return torch.optim.Adam(parameters, betas=betas, eps=epsilon)
    if name == "adamw":
        return torch.optim.AdamW(parameters, betas=betas, eps=epsilon, weight_decay=constants["weight_decay"])
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, alpha=betas[1], eps=epsilon)
    momentum, nesterov = constants.get("momentum", 0.9), constants.get("nesterov", False)
    return torch.optim.SGD(parameters, lr=0.1, momentum=momentum, nesterov=nesterov)


@BACKENDS
@pytest.mark.parametrize("name, constants", CASES, ids=IDS)
def test_ten_steps_equal_pytorch(backend, name, constants):
    torch = pytest.importorskip("torch")
    theta, target = torch.from_numpy(np.random.default_rng(0).standard_normal((2, SIZE)))
    theta = torch.nn.Parameter(theta.clone())
    optimizer = torch_optimizer(torch, name, [theta], constants)
    for step in range(1, 11):
        optimizer.param_groups[0]["lr"] = 0.05 / step
        gradient = torch.sin(theta.detach() - target)
        for start, stop in SPANS:
            gradient[start:stop] += constants.get("l2", 0.0) * theta.detach()[start:stop]
        if "clip_value" in constants:
            gradient = gradient.clamp(-constants["clip_value"], constants["clip_value"])
        if "clip_norm" in constants:
            gradient *= min(1.0, constants["clip_norm"] / float(gradient.norm()))
        theta.grad = gradient
        optimizer.step()
    got, _ = run_steps(backend, name, spans=SPANS, **constants)
    np.testing.assert_allclose(got, theta.detach().numpy(), rtol=1e-12, atol=1e-12)


@BACKENDS
@DTYPES
def test_clipping_norm_and_penalty(backend, dtype):
    rng = np.random.default_rng(1)
    theta, raw = rng.standard_normal((2, SIZE)).astype(dtype)
    spans, l2, limit, clip_norm, rate = np.array([[10, 200]]), 0.3, 0.4, 0.5, 0.1
    g = raw.astype(np.float64)
    g[10:200] += l2 * theta[10:200]
    g = np.clip(g, -limit, limit)
    expected_norm, expected_penalty = np.linalg.norm(g), 0.5 * l2 * np.sum(theta[10:200].astype(np.float64) ** 2)
    expected = theta - rate * g * clip_norm / expected_norm
    hyper = optimizers.make_hyper(momentum=0.0, clip_norm=clip_norm, clip_value=limit, l2=l2)
    optimizers.start_steps(hyper[None], 1, rate)
    norm, penalty = step(backend, solvers.SGD, theta, raw, np.zeros((1, SIZE), dtype), hyper, spans)
    rtol = 1e-6 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose([norm, penalty], [expected_norm, expected_penalty], rtol=rtol)
    np.testing.assert_allclose(theta, expected, rtol=10 * rtol, atol=rtol)


@BACKENDS
def test_a_small_gradient_is_not_clipped(backend):
    free, _ = run_steps(backend, "sgd", scale=1e-3)
    limited, _ = run_steps(backend, "sgd", scale=1e-3, clip_norm=1.0, clip_value=1.0)
    np.testing.assert_array_equal(free, limited)


@jit
def flushed_step(theta, moments, hyper):
    """The solver's step as `train` does it: with denormal numbers off."""
    control = denormals.flush_denormals()
    finish._adam(theta, np.zeros_like(theta), moments[0], moments[1], hyper, 1.0, False)
    denormals.restore_denormals(control)


@pytest.mark.skipif(not denormals.IS_X86, reason="only x86 is slow with denormal numbers")
@DTYPES
def test_moments_do_not_stay_denormal(dtype):
    tiny = np.finfo(dtype).smallest_normal / dtype(8)
    theta, moments = np.ones(SIZE, dtype), np.full((2, SIZE), tiny, dtype)
    hyper = optimizers.make_hyper()
    optimizers.start_steps(hyper[None], 1, 0.1)
    flushed_step(theta, moments, hyper)
    assert not moments.any()
    assert np.all(np.full(3, tiny) * dtype(0.5) > 0)  # the caller's thread computes as before


# ------------------------------------------------------------------------------------------------ sums of gradients


def tree(rows):
    """The fixed tree by recursion: the left half of a power of two, then the right one."""
    if len(rows) == 1:
        return rows[0]
    half = 1 << (len(rows) - 1).bit_length() - 1
    return tree(rows[:half]) + tree(rows[half:])


@BACKENDS
@DTYPES
@pytest.mark.parametrize("n_chunks", [1, 2, 3, 4, 5, 7, 8, 13])
def test_reduction_is_the_fixed_tree_bit_for_bit(backend, dtype, n_chunks):
    grads = np.random.default_rng(3).standard_normal((n_chunks, 2500)).astype(dtype)
    expected, gradient, hyper = tree(grads.copy()), np.full(2507, 9, dtype), optimizers.make_hyper()
    nothing = np.zeros(0, dtype), np.zeros(0, np.int32)
    norm, _ = backend.finish_gradient(np.zeros(2507, dtype), grads, *nothing, make_update(gradient[:2500]), hyper)
    np.testing.assert_array_equal(gradient[:2500], expected)
    np.testing.assert_array_equal(gradient[2500:], 9)
    np.testing.assert_allclose(norm, np.linalg.norm(expected.astype(np.float64)), rtol=1e-13)


@BACKENDS
@DTYPES
@pytest.mark.parametrize("V, E", [(11, 5), (700, 5), (3, 1500), (40, 64)])
def test_embedding_gradients(backend, dtype, V, E):
    rng = np.random.default_rng(4)
    n, offset = 3 * V, 4
    ids = rng.integers(-1, V, n).astype(np.int32)  # -1: nothing
    tokens = rng.standard_normal(n * E + 10).astype(dtype)  # longer than needed: memory of a full batch
    expected = np.zeros((V, E), dtype)
    for i, token in enumerate(ids):
        if token >= 0:
            expected[token] += tokens[i * E:(i + 1) * E]
    gradient = np.full(offset + V * E + 3, 7, dtype)
    update = make_update(gradient[:offset + V * E], offset, table=(offset, V, E))
    norm, _ = backend.finish_gradient(np.zeros_like(gradient), np.ones((1, offset), dtype), tokens, ids, update,
                                      optimizers.make_hyper())
    np.testing.assert_array_equal(gradient[offset:-3].reshape(V, E), expected)
    np.testing.assert_array_equal(gradient[[0, 1, 2, 3, -3, -2, -1]], [1, 1, 1, 1, 7, 7, 7])
    np.testing.assert_allclose(norm, np.sqrt(4 + np.square(expected, dtype=np.float64).sum()), rtol=1e-13)


@DTYPES
@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.5, "clip_value": 0.3, "l2": 0.1}])
def test_shares_of_any_number_of_threads_have_the_same_bits(dtype, clip):
    rng = np.random.default_rng(5)
    V, E, n_dense, results = 60, 70, 2500, []
    theta, ids = rng.standard_normal(n_dense + V * E).astype(dtype), rng.integers(-1, V, 200).astype(np.int32)
    grads, tokens = rng.standard_normal((5, n_dense)).astype(dtype), rng.standard_normal(200 * E).astype(dtype)
    hyper = optimizers.make_hyper(**clip)
    optimizers.start_steps(hyper[None], 1, 0.1)
    spans = np.array([[100, 1500], [n_dense, n_dense + 100]])
    for n in (1, 2, 5):
        values, moments, rows = theta.copy(), np.zeros((2, theta.size), dtype), grads.copy()
        update = make_update(np.empty_like(theta), n_dense, solvers.ADAM, moments, spans, (n_dense, V, E))
        update = update._replace(frozen=np.array([[900, 1200]]))
        for thread in range(n):
            finish.finish_gradient(values, rows, tokens, ids, update, hyper, thread, n)
        norm, penalty = finish.norm_and_penalty(update.squares, hyper[solvers.L2])
        for thread in range(n):
            finish.apply_update(values, n_dense, update, hyper, norm, thread, n)
        results.append((values.tobytes(), moments.tobytes(), norm, penalty))
        assert clip or np.array_equal(values[900:1200], theta[900:1200])
        assert not (values == theta).all() and np.isfinite(norm)
    assert results[0] == results[1] == results[2]


def test_constants_of_many_steps_are_those_of_each():
    hyper = np.tile(optimizers.make_hyper(beta_1=0.8), (50, 1))
    optimizers.start_steps(hyper, 7, 0.1)
    for i, row in enumerate(hyper):
        alone = optimizers.make_hyper(beta_1=0.8)
        optimizers.start_steps(alone[None], 7 + i, 0.1)
        assert np.array_equal(row, alone)
    np.testing.assert_allclose(hyper[3, [solvers.CORRECT_1, solvers.CORRECT_2]], [1 / (1 - 0.8**10), (1 - 0.999**10) ** -0.5])


# ------------------------------------------------------------------------------------------------ constants, schedules


@pytest.mark.parametrize(
    "constants, word",
    [({"beta_1": 1.0}, "beta_1=1.0"), ({"clip_norm": -1.0}, "clip_norm=-1.0"), ({"clip_value": 0.0}, "clip_value=0.0"),
     ({"epsilon": -1e-8}, "epsilon"), ({"weight_decay": np.nan}, "weight_decay=nan"), ({"momentum": 2}, "momentum=2")],
)  # fmt: skip
def test_bad_constants(constants, word):
    with pytest.raises(ValueError, match=word):
        optimizers.make_hyper(**constants)


def test_unknown_names():
    with pytest.raises(ValueError, match="solver='lbfgs' is unknown; use one of 'adam'"):
        optimizers.get_solver("lbfgs")
    with pytest.raises(ValueError, match="learning_rate='step' is unknown"):
        optimizers.schedule("step", 1e-3, 10)
    with pytest.raises(ValueError, match="learning_rate_init=0 must"):
        optimizers.schedule("constant", 0, 10)


def test_constant_and_cosine():
    assert [optimizers.schedule("constant", 0.1, 5).rate(epoch) for epoch in (0, 4, 9)] == [0.1] * 3
    rates = [optimizers.schedule("cosine", 0.1, 10).rate(epoch) for epoch in range(12)]
    np.testing.assert_allclose(rates[:10], 0.05 * (1 + np.cos(np.pi * np.arange(10) / 10)))
    assert rates[10] == rates[11] == rates[9] > 0


def test_plateau_lowers_the_rate_after_five_epochs_without_progress():
    plateau = optimizers.schedule("plateau", 0.1, 100, tol=0.01)
    seen = []
    for loss in [1.0, 0.9, *[0.895] * 5, 0.5, *[0.5] * 10]:
        plateau.observe(loss)
        seen.append(plateau.rate(0))
    np.testing.assert_allclose(seen, [0.1] * 6 + [0.02] * 6 + [0.004] * 5 + [0.0008])
    interrupted = optimizers.schedule("plateau", 0.1, 100, tol=0.01)
    for loss in [1.0] * 5 + [0.5] * 5:  # four epochs without progress, one with, four without
        interrupted.observe(loss)
    assert interrupted.rate(0) == 0.1
    for _ in range(100):
        plateau.observe(np.nan)
    assert plateau.rate(0) == 1e-6


def test_a_pickled_schedule_goes_on():
    plateau = optimizers.schedule("plateau", 0.1, 100)
    for _ in range(4):
        plateau.observe(1.0)
    copy = pickle.loads(pickle.dumps(plateau))
    assert copy == plateau
    for _ in range(2):
        plateau.observe(1.0), copy.observe(1.0)
    assert copy == plateau and plateau.rate(0) == pytest.approx(0.02)


def test_callable_rates_are_checked():
    halving = optimizers.schedule(lambda epoch: 0.1 * 0.5**epoch, 1e-3, 10)
    assert halving.rate(2) == pytest.approx(0.025)
    for bad in (-1.0, np.nan, np.inf, None, "fast"):
        with pytest.raises(ValueError, match="for epoch 3; it must return a finite rate"):
            optimizers.schedule(lambda epoch, bad=bad: bad, 1e-3, 10).rate(3)
