"""The second process that compiles half of a first training: when it starts, and what its troubles cost."""

import multiprocessing.process
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from tsrnn import LSTMRegressor
from tsrnn.backends.cpu import ahead, executor
from tsrnn.backends.cpu.jit import is_compiled

RNG = np.random.default_rng(0)


@pytest.fixture
def started(monkeypatch):
    """The processes that get started; nothing else keeps them from it."""
    processes = []

    def start(dtype):
        process = real(dtype)
        processes.append(process)
        return process

    real = ahead._start
    monkeypatch.setattr(ahead, "_start", start)
    monkeypatch.setattr(ahead, "_may_start", lambda: True)
    monkeypatch.setattr(ahead, "_started", set())
    monkeypatch.setattr(ahead, "_CODE", "pass")
    return processes


def test_the_other_half_is_what_a_fit_calls():
    X = RNG.normal(size=(16, 3, 2)).astype(np.float32)
    LSTMRegressor((4,), max_iter=1, batch_size=16).fit(X, X[:, 0, 0])
    kinds = executor._types(np.dtype(np.float32)).train
    assert executor.train.signatures.count(kinds) == 1
    assert is_compiled(executor.train, kinds)
    executor.compile_training("float32")  # what the process calls; finds everything compiled
    assert not is_compiled(executor.train, kinds[:-1])


def test_it_runs_beside_the_body_and_is_waited_for(started, monkeypatch):
    monkeypatch.setattr(ahead, "_CODE", "import sys, time; time.sleep(0.2); sys.exit(len(sys.argv[1]))")
    with ahead.other_half(np.dtype(np.float32), is_compiled=False):
        assert started[0].poll() is None
    assert started[0].returncode == len("float32")


def test_it_imports_this_package_and_not_another(started, monkeypatch, tmp_path):
    place = tmp_path / "place"
    code = f"import sys; from tsrnn.backends.cpu import executor; open({str(place)!r}, 'w').write(executor.__file__)"
    monkeypatch.setattr(ahead, "_CODE", code)
    monkeypatch.chdir(tmp_path)
    with ahead.other_half(np.dtype(np.float64), is_compiled=False):
        pass
    assert place.read_text() == executor.__file__


def test_it_starts_once_and_only_where_something_is_missing(started):
    for dtype, is_there in ((np.float32, True), (np.float32, False), (np.float32, False), (np.float64, False)):
        with ahead.other_half(np.dtype(dtype), is_there):
            pass
    assert len(started) == 2


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "import os; os.abort()"], ids=["fails", "crashes"])
def test_its_trouble_is_nobody_elses(started, monkeypatch, code):
    monkeypatch.setattr(ahead, "_CODE", code)
    with ahead.other_half(np.dtype(np.float32), is_compiled=False):
        pass
    assert started[0].returncode != 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_it_ends_with_the_body_that_fails(started, monkeypatch, error):
    monkeypatch.setattr(ahead, "_CODE", "import time; time.sleep(60)")
    begun = time.monotonic()
    with pytest.raises(error), ahead.other_half(np.dtype(np.float32), is_compiled=False):
        raise error
    assert started[0].poll() is not None
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_no_process_can_be_started(started, monkeypatch, error):
    def refuse(*args, **options):
        raise error("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with ahead.other_half(np.dtype(np.float32), is_compiled=False):
        pass
    assert started == [None]


def test_workers_embedded_interpreters_and_single_cores_start_none(monkeypatch, tmp_path):
    monkeypatch.setattr(ahead, "all_kernels", list)
    monkeypatch.setattr(ahead, "cache_status", lambda: ahead_status(True))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    assert ahead._may_start()
    for target, name, value in ((ahead, "cache_status", lambda: ahead_status(False)),
                                (os, "sched_getaffinity", lambda process: {0}),
                                (sys, "executable", "/opt/blender/blender"), (sys, "executable", None),
                                (multiprocessing.process, "parent_process", object),
                                (ahead, "all_kernels", lambda: [executor.train])):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, value, raising=False)
            if name == "all_kernels":
                executor.compile_training("float32")
            assert not ahead._may_start(), name


def ahead_status(writable):
    from tsrnn.backends.cpu.jit import CacheStatus

    return CacheStatus(None, writable, 0, 0)
