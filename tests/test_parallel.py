"""Threads: how many, and that a team of them neither hangs nor aborts whatever happens around it."""

import contextlib
import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
import types
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tsrnn import parallel
from tsrnn.parallel import Team, effective_n_jobs, usable_cores

ROOT = Path(__file__).resolve().parents[1]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def python(code, limit=60):
    """Run code in a fresh interpreter; it must end by itself, cleanly, within the limit (seconds)."""
    command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=dict(os.environ, PYTHONPATH=str(ROOT)), capture_output=True, text=True, timeout=limit)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


# ------------------------------------------------------------------------------------------------ how many threads


def test_numbers_mean_what_joblib_means():
    cores = usable_cores()
    assert 1 <= cores <= os.cpu_count()
    assert effective_n_jobs(None) == effective_n_jobs(-1) == cores
    assert effective_n_jobs(3) == 3
    assert effective_n_jobs(-2) == max(1, cores - 1)
    assert effective_n_jobs(-1000) == 1


def test_bad_n_jobs():
    for bad in (2.0, "2", True):
        with pytest.raises(TypeError, match=f"n_jobs={bad!r} must be an integer or None"):
            effective_n_jobs(bad)
    with pytest.raises(ValueError, match="n_jobs=0 has no meaning; use None or -1"):
        effective_n_jobs(0)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_is_respected():
    code = """
    import os
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from tsrnn.parallel import effective_n_jobs
    print(effective_n_jobs())
    """
    assert python(code) == "1"


@pytest.mark.parametrize("files, cores", [
    ({"cpu.max": "150000 100000"}, 2), ({"cpu.max": "max 100000"}, None),
    ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
])  # fmt: skip
def test_quota_of_the_control_group(monkeypatch, files, cores):
    monkeypatch.setattr(parallel, "_read", lambda path: files[path.removeprefix("/sys/fs/cgroup/")])
    monkeypatch.setattr(parallel.os.path, "exists", lambda path: path.endswith("cpu.max") and "cpu.max" in files)
    assert parallel._cgroup_quota() == cores


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_one_inside_a_joblib_worker(backend):
    joblib = pytest.importorskip("joblib")
    jobs = (joblib.delayed(effective_n_jobs)(n) for n in (None, -1, 3, None))
    assert joblib.Parallel(n_jobs=2, backend=backend)(jobs) == [1, 1, 3, 1]
    assert effective_n_jobs() == usable_cores()


@needs_fork
def test_one_inside_a_pool_of_processes():
    code = """
    import multiprocessing
    from tsrnn.parallel import effective_n_jobs
    if __name__ == "__main__":
        with multiprocessing.get_context("fork").Pool(1) as pool:
            print(pool.apply(effective_n_jobs))
    """
    assert python(code) == "1"


@pytest.mark.parametrize("inside", [True, False])
def test_one_inside_a_dask_worker(monkeypatch, inside):
    def get_worker():
        if not inside:
            raise ValueError("No worker found")

    monkeypatch.setitem(sys.modules, "distributed", types.SimpleNamespace(get_worker=get_worker))
    assert effective_n_jobs() == (1 if inside else usable_cores())


def test_importing_starts_and_imports_nothing():
    code = """
    import sys, threading
    import tsrnn.parallel
    tsrnn.parallel.effective_n_jobs()
    print(threading.active_count(), {"joblib", "numba", "multiprocessing", "distributed"} & set(sys.modules))
    """
    assert python(code) == "1 set()"


# ------------------------------------------------------------------------------------------------ the team


@pytest.mark.parametrize("n_threads, n_entries", [(1, 3), (2, 2), (3, 2), (2, 5), (4, 4), (3, 0)])
def test_every_entry_runs_once(n_threads, n_entries):
    calls = []
    with Team(n_threads) as team:
        for _ in range(50):
            calls.clear()
            team.run(lambda i: calls.append((i, threading.get_ident())), [(i,) for i in range(n_entries)])
            assert sorted(i for i, _ in calls) == list(range(n_entries))
            here = [i for i, thread in calls if thread == threading.get_ident()]
            assert here == [i for i in range(n_entries) if i == 0 or i >= n_threads]


def test_calls_run_side_by_side():
    barrier = threading.Barrier(3, timeout=10)
    with Team(3) as team:
        team.run(barrier.wait, [()] * 3)


def test_threads_start_late_and_end_with_the_context():
    before = threading.active_count()
    with Team(1) as team:
        team.run(time.sleep, [(0,)] * 4)
        assert threading.active_count() == before
    with Team(4) as team:
        for n_entries, started in ((1, 0), (2, 1), (4, 3), (2, 3)):
            team.run(time.sleep, [(0,)] * n_entries)
            assert threading.active_count() == before + started
    assert threading.active_count() == before


@pytest.mark.parametrize("failing, raised", [({0}, 0), ({1}, 1), ({2}, 2), ({0, 1, 2}, 0), ({1, 2}, 1)])
def test_an_exception_is_raised_after_all_calls_have_ended(failing, raised):
    ended = []

    def call(i):
        time.sleep(0.02 * i)
        ended.append(i)
        if i in failing:
            raise ArithmeticError(i)

    with Team(3) as team:
        for _ in range(3):
            ended.clear()
            with pytest.raises(ArithmeticError) as caught:
                team.run(call, [(0,), (1,), (2,)])
            assert caught.value.args == (raised,) and sorted(ended) == [0, 1, 2]
        team.run(ended.append, [(3,), (4,)])
    assert sorted(ended) == [0, 1, 2, 3, 4]


def test_where_no_thread_can_be_started_the_caller_does_it_all(monkeypatch):
    calls = []

    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with Team(3) as team:
        for _ in range(2):
            team.run(lambda i: calls.append((i, threading.get_ident())), [(0,), (1,), (2,)])
    assert calls == [(i, threading.get_ident()) for i in (0, 1, 2)] * 2


def test_finished_work_is_not_kept_alive():
    class Big:
        pass

    big = Big()
    reference = weakref.ref(big)
    gc.disable()  # not even until the next collection: a step's arrays are large
    try:
        with Team(2) as team:
            with contextlib.suppress(ZeroDivisionError):
                team.run(lambda x: 1 / 0, [(big,), (big,)])
            team.run(id, [(big,), (big,)])
            del big
            assert reference() is None
    finally:
        gc.enable()


def test_many_teams_in_many_threads():
    def work(_):
        done = []
        for _ in range(100):
            with Team(3) as team:
                for _ in range(2):
                    team.run(done.append, [(i,) for i in range(3)])
        return sum(done)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [600] * 8


# ------------------------------------------------------------------------------------------------ rough surroundings


def test_ctrl_c_waits_for_the_workers():
    code = """
    import os, signal, threading, time
    from tsrnn.parallel import Team
    ended = []
    def call(seconds):
        time.sleep(seconds)
        ended.append(seconds)
    for seconds in ((0.0, 0.6), (0.6, 0.5)):  # the caller waits for the worker; the caller is at work itself
        ended.clear()
        with Team(2) as team:
            timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            try:
                team.run(call, [(s,) for s in seconds])
            except KeyboardInterrupt:
                print(seconds[1] in ended, end=" ")
            team.run(call, [(0.01,), (0.02,)])
            print(len(ended), end=" ")
    """
    assert python(code) == "True 4 True 3"


@needs_fork  # and interval timers
def test_interruptions_at_any_moment_leave_the_team_consistent():
    code = """
    import random, signal, threading, time
    from tsrnn.parallel import Team
    running, left_running, broken, interrupted = set(), 0, 0, 0
    def call(token, n):
        running.add(token)
        try:
            sum(range(n))
        finally:
            running.discard(token)
    def interrupt(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGALRM, interrupt)
    random.seed(0)
    stop = time.monotonic() + 3
    while time.monotonic() < stop:
        team = Team(3)
        team.run(call, [(i, 0) for i in range(3)])
        for _ in range(20):
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 6e-4))
                for _ in range(500):  # not for ever: Python itself drops interruptions inside destructors
                    team.run(call, [(i, random.randrange(2000)) for i in range(3)])
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            left_running += bool(running - {0})  # the caller's own call may have been cut between add and try
            running.clear()
        done = []
        team.run(done.append, [(i,) for i in range(3)])
        broken += sorted(done) != [0, 1, 2]
        team.close()
    print(left_running, broken, threading.active_count() - 1, interrupted > 200)
    """
    assert python(code) == "0 0 0 True"


@needs_fork  # and interval timers
def test_interruptions_leave_nobody_waiting_for_the_others():
    """Calls that wait for each other, as the threads of a fit do: none is left behind at a barrier."""
    code = """
    import random, signal, threading, time
    import numpy as np
    from tsrnn.backends import contract as c
    from tsrnn.backends.cpu.barrier import meet
    from tsrnn.backends.cpu.jit import jit
    from tsrnn.parallel import Team
    @jit
    def work(meeting, thread, rounds):
        for _ in range(rounds):
            if not meet(meeting):
                return
            if thread == 0:
                meeting[c.DONE] += 1
    class Meeting:
        words = np.zeros(c.MEETING_WORDS, np.int64)
        def begin(self, n):
            self.words[:] = 0
            self.words[c.N_THREADS] = n
        def abort(self):
            self.words[c.ABORTED] = 1
    def interrupt(*_):
        raise KeyboardInterrupt
    meeting, done, interrupted = Meeting(), set(), 0
    work(np.ones(c.MEETING_WORDS, np.int64), 1, 0)
    signal.signal(signal.SIGALRM, interrupt)
    random.seed(0)
    stop = time.monotonic() + 3
    while time.monotonic() < stop:
        with Team(3) as team:
            team.run(work, [(meeting.words, i, 20) for i in range(3)], meeting)
            for _ in range(20):
                try:
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 6e-4))
                    for _ in range(500):
                        team.run(work, [(meeting.words, i, 20) for i in range(3)], meeting)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except KeyboardInterrupt:
                    interrupted += 1
                done.add(int(meeting.words[c.DONE]))
            team.run(work, [(meeting.words, i, 7) for i in range(3)], meeting)
            assert meeting.words[c.DONE] == 7
    print(done <= {0, 20}, threading.active_count() - 1, interrupted > 100)
    """
    assert python(code) == "True 0 True"


def test_an_interruption_between_a_job_and_its_wake_up():
    class Wake:
        def __init__(self, queue):
            self.get, self.real_put = queue.get, queue.put

        def put(self, item):
            self.put = self.real_put
            raise KeyboardInterrupt

    calls = []
    with Team(2) as team:
        team.run(calls.append, [(0,), (1,)])
        team._workers[0].wake = Wake(team._workers[0].wake)
        with pytest.raises(KeyboardInterrupt):
            team.run(calls.append, [(2,), (3,)])
    assert calls[2:] == [3]


def test_an_interrupted_start_leaves_no_thread(monkeypatch):
    real = threading.Thread.start

    def start(self):
        real(self)
        monkeypatch.setattr(threading.Thread, "start", real)
        raise KeyboardInterrupt

    before, calls = threading.active_count(), []
    with Team(3) as team:
        monkeypatch.setattr(threading.Thread, "start", start)
        with pytest.raises(KeyboardInterrupt):
            team.run(calls.append, [(0,), (1,), (2,)])
        assert calls == []
        team.run(calls.append, [(0,), (1,), (2,)])
        assert sorted(calls) == [0, 1, 2]
    time.sleep(0.1)
    assert threading.active_count() == before


@needs_fork
@pytest.mark.parametrize("leave", ["sys.exit(0)", "os._exit(0)", "pass"])
def test_a_child_forked_while_a_team_is_at_work(leave):
    code = f"""
    import os, sys, threading, time, warnings
    from tsrnn.parallel import Team
    warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks beside threads
    def work(team):
        done = []
        team.run(done.append, [(0,), (1,)])
        return sorted(done) == [0, 1]
    background = Team(3)
    busy = threading.Thread(target=background.run, args=(time.sleep, [(0.5,)] * 3))
    busy.start()
    time.sleep(0.05)
    with Team(2) as team, Team(2) as new:
        work(team)
        child = os.fork()
        ok = work(team) and work(new)
        if child:
            assert ok and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        elif not ok:
            os._exit(1)
        else:
            {leave}
    """
    python(code)


@needs_fork
def test_a_pool_forked_between_runs():
    code = """
    import multiprocessing, warnings
    from tsrnn.parallel import Team
    warnings.simplefilter("ignore", DeprecationWarning)
    team = Team(2)
    def work(n):
        done = []
        team.run(done.append, [(n,), (1,)])
        return sum(done)
    work(0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(work, range(8)))
    work(0)
    """
    assert python(code) == str(list(range(1, 9)))


EXITS = {
    "a daemon thread is at work": "threading.Thread(target=work, args=(60,), daemon=True).start(); time.sleep(0.3)",
    "another thread is at work": "threading.Thread(target=work, args=(0.5,)).start()",
    "an exit handler works": "import atexit; work(0.1); atexit.register(work, 0.3)",
    "a thread begins after the end": "threading.Thread(target=lambda: (time.sleep(0.3), work(0.3))).start()",
    "a team was never closed": "team = Team(3); team.run(time.sleep, [(0.0,)] * 3)",
    "an exception ends the program in a run": "work(0.2); sys.excepthook = lambda *_: os._exit(0); broken()",
}


@pytest.mark.parametrize("ending", EXITS)
def test_the_interpreter_ends_cleanly_while(ending):
    code = f"""
    import os, sys, threading, time
    import numpy as np
    import numba
    from tsrnn.parallel import Team

    @numba.njit(nogil=True)
    def kernel(x):
        for _ in range(20):
            for i in range(x.size):
                x[i] = x[i] * 0.5 + 1.0

    def work(seconds):
        arrays = [np.zeros(5000) for _ in range(3)]
        stop = time.monotonic() + seconds
        with Team(3) as team:
            while time.monotonic() < stop:
                team.run(kernel, [(x,) for x in arrays])

    def broken():
        with Team(2) as team:
            team.run(lambda i: 1 / i, [(1,), (0,)])

    kernel(np.zeros(5))
    {EXITS[ending]}
    """
    python(code)
