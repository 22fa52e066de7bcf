"""The end of a training step on the card, in the simulator, against the NumPy backend."""

import cudasim

cudasim.install()

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from cuda_operations import ORDERS, host, pair, replay, set_hyper, updates  # noqa: E402
from gradcheck import make_data  # noqa: E402

from tsrnn.backends.cuda import finish, inputs  # noqa: E402
from tsrnn.backends.cuda.place import CARD  # noqa: E402
from tsrnn.backends.numpy import finish as numpy_finish  # noqa: E402
from tsrnn.backends.numpy import inputs as numpy_inputs  # noqa: E402
from tsrnn.backends.solvers import NO_SOLVER, SOLVERS  # noqa: E402
from tsrnn.layers import Activation, Dense, Embedding, GlobalMaxPooling1D  # noqa: E402
from tsrnn.network import Network  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # simulated threads do not see what NumPy shall ignore
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
EVERY_SOLVER = pytest.mark.parametrize("solver", [*SOLVERS, "sgd with Nesterov"])
HYPER = {"LR": 0.01, "BETA_1": 0.9, "BETA_2": 0.99, "EPSILON": 1e-7, "MOMENTUM": 0.8, "WEIGHT_DECAY": 0.1, "CORRECT_1": 1.7,
         "CORRECT_2": 1.3}


class Step:
    """A batch whose gradients are there, and the ends of its step in both backends."""

    def __init__(self, solver, dtype, table=True, trainable=True, frozen=(), loss=3.5, **hyper):
        layers = [Embedding(13, 3, trainable=trainable), Activation("linear"), GlobalMaxPooling1D()] if table else []
        self.network = Network([*layers, Dense(4), Dense(2)], (5,) if table else (3,), backend="numpy")
        if not table:
            self.network = Network([Dense(4), Dense(2)], (1, 3), backend="numpy")
        data = make_data(self.network, n=4, steps=5 if table else 1, dtype=dtype)
        self.chunk, self.recorder, rows = pair(self.network, data, dtype)
        self.hyper = set_hyper(self.recorder, **{**HYPER, "NESTEROV": solver == "sgd with Nesterov", **hyper})
        CARD.put(np.array([loss, 2.0]), self.recorder.sums)
        self.loss = loss
        row = SOLVERS.get(solver, SOLVERS["sgd"])
        self.code = NO_SOLVER if solver is None else row.code
        self.ours, self.theirs = updates(self.network, self.chunk.params.theta, self.code, row.n_moments, frozen)
        self.positions = 0
        if table:
            numpy_inputs.gather_ids(self.chunk, rows.IDS, 0.0)
            numpy_inputs.embedding_backward(self.chunk, rows.EMBEDDING, 0.0)
            inputs.gather_ids(self.recorder, rows.IDS, 0.0)
            inputs.embedding_backward(self.recorder, rows.EMBEDDING, 0.0)
            self.positions = self.chunk.sums.token_ids.size if trainable else 0
        self.recorder.operation_begins()
        finish.finish(self.recorder, self.theirs)

    def numpy(self):
        """The step as the definition makes it; returns its penalty."""
        params, sums = self.chunk.params, self.chunk.sums
        norm, penalty = numpy_finish.finish_gradient(params.theta, params.grads.copy(), sums.tokens,
                                                     sums.token_ids[:self.positions], self.ours, self.hyper)
        self.norm = norm
        if self.code != NO_SOLVER and np.isfinite(norm) and np.isfinite(self.loss):
            numpy_finish.apply_update(params.theta, self.ours, self.hyper, norm)
        return penalty

    def compare(self, dtype, order=ORDERS[0]):
        """One step on both: all that it has written."""
        penalty, recorder = self.numpy(), self.recorder
        replay(recorder, order)
        close = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
        np.testing.assert_allclose(host(self.theirs.gradient), self.ours.gradient, **close)
        np.testing.assert_allclose(host(recorder.theta), self.chunk.params.theta, **close)
        np.testing.assert_allclose(host(self.theirs.moments), self.ours.moments, **close)
        np.testing.assert_allclose(host(recorder.turn.losses)[0], [self.loss, 2, penalty], rtol=TOLERANCE[dtype])
        return penalty

    def state(self):
        """What a step changes."""
        return [host(array) for array in (self.recorder.theta, self.theirs.moments)]


@DTYPES
@pytest.mark.parametrize("order", ORDERS, ids=["first to last", "last to first"])
@pytest.mark.parametrize("table", [True, False], ids=["table", "dense"])
@EVERY_SOLVER
def test_steps(solver, table, order, dtype):
    step = Step(solver, dtype, table)
    before = step.state()
    step.compare(dtype, order)
    assert all((a != b).mean() > 0.5 for a, b in zip(before, step.state()))
    np.testing.assert_array_equal(host(step.recorder.turn.clock), [1, 0])


@DTYPES
@EVERY_SOLVER
@pytest.mark.parametrize("hyper", [{"L2": 0.3}, {"CLIP_VALUE": 0.2}, {"CLIP_NORM": 0.5}, {"CLIP_NORM": 1e6},
                                   {"L2": 0.3, "CLIP_VALUE": 0.2, "CLIP_NORM": 0.1}], ids=str)
def test_penalty_and_clipping(hyper, solver, dtype):
    step = Step(solver, dtype, frozen=[(2, 7), (30, 42)], **hyper)
    penalty = step.compare(dtype)
    assert (penalty > 0) == ("L2" in hyper)
    assert not (host(step.theirs.gradient)[30:32]).any() or "L2" in hyper


@DTYPES
@EVERY_SOLVER
def test_a_table_that_is_not_trained_stays(solver, dtype):
    step = Step(solver, dtype, trainable=False)
    table = host(step.recorder.theta)[step.network.n_trained:]
    assert table.size == 39
    step.compare(dtype)
    np.testing.assert_array_equal(host(step.recorder.theta)[step.network.n_trained:], table)


@EVERY_SOLVER
@pytest.mark.parametrize("what", ["loss nan", "loss inf", "gradient nan", "gradient inf", "gradient -inf", "table nan"])
@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_what_is_not_finite_changes_nothing(clip, what, solver):
    where, value = what.split()
    step = Step(solver, np.float32, loss=float(value) if where == "loss" else 1.0, CLIP_VALUE=clip, CLIP_NORM=clip)
    recorder = step.recorder
    if where == "gradient":
        grads = host(recorder.grads)
        grads[3] = float(value)
        CARD.put(grads, recorder.grads)
    if where == "table":
        CARD.put(np.full(recorder.mem.size, np.nan, np.float32), recorder.mem)
    before = step.state()
    for _ in range(2):  # nor does any later step
        replay(recorder)
        for a, b in zip(before, step.state()):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(host(recorder.turn.clock), [0, 1])
        np.testing.assert_equal(host(recorder.turn.losses)[0, 0], step.loss)
        grads = host(recorder.grads)
        grads[3] = 0
        CARD.put(grads, recorder.grads)  # a step that would be sound
        CARD.put(np.ones(2), recorder.sums)


@DTYPES
@pytest.mark.parametrize("loss", [1.0, np.nan])
def test_without_a_solver_the_gradient_is_left(loss, dtype):
    step = Step(None, dtype, loss=loss, L2=0.2, CLIP_VALUE=0.3, CLIP_NORM=0.01)
    before = step.state()
    step.compare(dtype)
    for a, b in zip(before, step.state()):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(host(step.recorder.turn.clock), [1, 0])
    assert step.norm > 0.01


def test_two_steps_follow_each_other():
    """The second reads its own constants and writes its own losses."""
    step = Step("adam", np.float64)
    turn, recorder = step.recorder.turn, step.recorder
    turn.hyper, turn.losses = CARD.put(np.stack([step.hyper, step.hyper * 0.5])), CARD.zeros((2, 3), np.float64)
    B = recorder.B
    turn.order, turn.bounds = CARD.put(np.arange(2 * B)[::-1] % B), CARD.put(np.array([[0, B], [B, 2 * B]]))
    turn.keys = CARD.zeros((2, 2), np.uint32)
    recorder.launches[0] = recorder.launches[0]._replace(args=(
        turn.clock, turn.bounds, turn.order, recorder.data.totals, turn.hyper, turn.keys, recorder.samples, recorder.total,
        recorder.hyper, recorder.key))
    recorder.launches[-2] = recorder.launches[-2]._replace(args=tuple(
        turn.losses if getattr(arg, "shape", None) == (1, 3) else arg for arg in recorder.launches[-2].args))
    step.numpy()
    replay(recorder)
    np.testing.assert_allclose(host(recorder.theta), step.chunk.params.theta, rtol=1e-12)
    step.hyper = step.hyper * 0.5
    step.numpy()
    replay(recorder)
    np.testing.assert_allclose(host(recorder.theta), step.chunk.params.theta, rtol=1e-12)
    np.testing.assert_array_equal(host(turn.losses)[:, 0], [3.5, 3.5])
    np.testing.assert_array_equal(host(turn.clock), [2, 0])
