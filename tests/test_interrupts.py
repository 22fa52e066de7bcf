"""Ctrl-C ends a fit, at any moment, and leaves a state that can be used and gone on from."""

import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from test_training import data, fit, network

from tsrnn import engine, parallel, training
from tsrnn.data import batches
from tsrnn.training import State

PLACES = {"train", "run", "_fork_join", "begin", "_wait", "_started"}  # functions that a line at a time is interrupted in
needs_signals = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers")


def test_ctrl_c_between_epochs():
    def interrupt(epoch, logs):
        if epoch == 1:
            raise KeyboardInterrupt

    state = fit(data(), 9, on_epoch_end=interrupt)
    assert state.stopped == "interrupted" and state.n_epochs == 2 and "2 epochs" in state.message
    assert np.array_equal(fit(data(), 3, state=state).theta, fit(data(), 5).theta)


@needs_signals
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_ctrl_c_at_any_moment(n_jobs, monkeypatch):
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread only")
    monkeypatch.setattr(engine, "PARALLEL_WORK", 0)
    fit(data(40), 1)  # compiled
    started = time.monotonic()
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    state = fit(data(40), 10**9, n_jobs=n_jobs, batch_size=40, stop_early=False, learning_rate_init=1e-6)
    timer.join()
    assert state.stopped == "interrupted" and time.monotonic() - started < 30
    assert {len(values) for values in state.history.values()} == {state.n_epochs} and state.n_epochs > 0
    assert np.isfinite(state.theta).all() and fit(data(40), 2, state=state, stop_early=False).stopped == "max_iter"


@needs_signals
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_interruptions_leave_a_consistent_history(n_jobs, monkeypatch):
    monkeypatch.setattr(engine, "PARALLEL_WORK", 0)
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread only")
    net, train, rng = network(), data(40), np.random.default_rng(0)
    state = fit(train, 1, net, val=train)

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for turn in range(2000):
            if turn >= 60 and state.n_epochs > 10:  # on a busy machine most turns end before an epoch does
                break
            try:
                # again after a second: Python drops an exception that is raised while it collects garbage
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(5e-4, 3e-3), 1.0)
                fit(train, 10**9, net, state, val=train, stop_early=False, learning_rate_init=1e-6, n_jobs=n_jobs)
            except KeyboardInterrupt:  # before the first epoch or after the last one
                pass
            assert {len(values) for values in (*state.history.values(), state.validation_scores)} == {state.n_epochs}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert state.n_epochs > 10 and np.isfinite(state.theta).all()
    assert state.n_steps >= 4 * state.n_epochs
    for thread in threading.enumerate():  # an interruption while a team was being closed may leave one, but none at work
        frame = sys._current_frames().get(thread.ident)
        while frame is not None and thread.name == "tsrnn":
            assert frame.f_code.co_name != "_work" or frame.f_locals["worker"].job in (None, parallel._STOP)
            frame = frame.f_back


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_an_interruption_anywhere_around_a_slice_leaves_whole_steps(n_jobs, monkeypatch):
    """Before the first thread has entered compiled code nothing has changed, after that all steps of the slice are made."""
    monkeypatch.setattr(engine, "PARALLEL_WORK", 0)
    monkeypatch.setattr(training.Trainer, "observe", lambda self, *_: setattr(self, "pace", 100))
    train = data(80)
    thetas = {0: State.create(network(), 0, np.float64).theta}
    for n in range(1, 9):
        thetas[n] = fit(batches.take(train, np.arange(10 * n)), 1, shuffle=False).theta

    class Traced:
        """Raises at the given line event of the engine's and the team's code."""

        def __init__(self, at):
            self.left = at

        def __call__(self, frame, event, argument):
            if frame.f_code.co_filename.endswith(("parallel.py", "engine.py", "training.py")):
                if event == "line" and frame.f_code.co_name in PLACES:
                    self.left -= 1
                    if self.left == 0:
                        raise KeyboardInterrupt
                return self
            return None

    seen = set()
    for at in range(1, 400):
        state, trace = State.create(network(), 0, np.float64), Traced(at)
        sys.settrace(trace)
        try:
            fit(train, 1, state=state, shuffle=False, n_jobs=n_jobs)
        finally:
            sys.settrace(None)
        if trace.left > 0:
            break
        assert state.stopped == "interrupted" and np.array_equal(state.theta, thetas[state.n_steps]), at
        seen.add(state.n_steps)
    assert seen == {0, 1, 8} and at > 30
