"""Ctrl-C ends a fit, at any moment, and leaves a state that can be used and gone on from."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from test_training import data, fit

from tsrnn import engine

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
def test_interruptions_leave_a_consistent_history():
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread only")
    train, state, rng = data(8), fit(data(8), 1, val=data(8)), np.random.default_rng(0)

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for turn in range(2000):
            if turn >= 60 and state.n_epochs > 10:  # on a busy machine most turns end before an epoch does
                break
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(5e-4, 3e-3))
                fit(train, 10**9, state=state, val=train, stop_early=False, learning_rate_init=1e-6)
            except KeyboardInterrupt:  # before the first epoch or after the last one
                pass
            assert {len(values) for values in (*state.history.values(), state.validation_scores)} == {state.n_epochs}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert state.n_epochs > 10 and np.isfinite(state.theta).all()
