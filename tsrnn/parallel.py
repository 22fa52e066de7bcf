"""The one place with threads: how many may be used, and a team of them that lives as long as a fit.

Kernels release the GIL, so plain Python threads run them side by side; none of Numba's threading layers is used.  What a
thread computes is fixed by its arguments alone (chunks out, fixed tree in), so the number of threads never changes a bit
and everything here may fall back to fewer of them.
"""

from __future__ import annotations

import numbers
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Protocol

# ------------------------------------------------------------------------------------------------ how many threads


def effective_n_jobs(n_jobs: int | None = None) -> int:
    """Number of threads that `n_jobs` stands for, here and now.

    Parameters
    ----------
    n_jobs : int or None, default=None
        None: all cores that this process may use, but 1 inside a worker of joblib, loky, Dask or a multiprocessing pool,
        whose neighbours have the other cores.  Positive: that many.  Negative, as in joblib: -1 is what None is, -2 one
        less, and so on, at least 1.

    Returns
    -------
    n_threads : int
        At least 1.

    Raises
    ------
    TypeError
        If `n_jobs` is not an integer.
    ValueError
        If `n_jobs` is 0.
    """
    if n_jobs is not None and (isinstance(n_jobs, bool) or not isinstance(n_jobs, numbers.Integral)):
        raise TypeError(f"n_jobs={n_jobs!r} must be an integer or None; use None or -1 for all cores")
    if n_jobs == 0:
        raise ValueError("n_jobs=0 has no meaning; use None or -1 for all cores, or the number of threads")
    if n_jobs is not None and n_jobs > 0:
        return int(n_jobs)
    available = 1 if in_worker() else usable_cores()
    return available if n_jobs is None else max(1, available + 1 + int(n_jobs))


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and the quota of its control group (containers)."""
    try:
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not every system has it
        cores = os.cpu_count() or 1
    quota = _cgroup_quota()
    return cores if quota is None else max(1, min(cores, quota))


def _cgroup_quota() -> int | None:
    """Cores' worth of time that the control group grants, rounded up; None: no limit, or no such system."""
    try:
        if os.path.exists("/sys/fs/cgroup/cpu.max"):
            quota, period = _read("/sys/fs/cgroup/cpu.max").split()
        else:
            quota = _read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
            period = _read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
        return -(-int(quota) // int(period)) if int(quota) > 0 and int(period) > 0 else None
    except (OSError, ValueError):  # "max" is no integer either
        return None


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def in_worker() -> bool:
    """Whether this code runs in a worker whose neighbours use the other cores; imports nothing for the answer."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.current_process().daemon:
        return True
    return _in_joblib() or _in_loky() or _in_dask()


def _in_joblib() -> bool:
    # Joblib's backends, threads and sequential ones included, run their tasks under a backend one level down.
    joblib = sys.modules.get("joblib.parallel")
    try:
        return joblib is not None and (joblib.get_active_backend()[0].nesting_level or 0) > 0
    except AttributeError:  # half imported, or another joblib than today's
        return False


def _in_loky() -> bool:
    names = ("joblib.externals.loky.process_executor", "loky.process_executor")
    return any(getattr(sys.modules.get(name), "_CURRENT_DEPTH", 0) > 0 for name in names)


def _in_dask() -> bool:
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return False
    try:
        distributed.get_worker()
    except (ValueError, AttributeError):
        return False
    return True


# ---------------------------------------------------------------------------------------------------- others' threads

_blas_turn = threading.Lock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS has one thread; that is a setting of the whole process, so callers take turns."""
    from threadpoolctl import threadpool_limits

    with _blas_turn, threadpool_limits(1, "blas"):
        yield


gpu_turn = threading.RLock()  # threads that use the GPU take turns, call by call: launches of one are never amid another's


# ---------------------------------------------------------------------------------------------------- the team


class Meeting(Protocol):
    """Where calls that run at the same time wait for each other."""

    def begin(self, n_threads: int) -> None:
        """So many calls will be made."""

    def abort(self) -> None:
        """One of them may never be made: those who wait for it shall end."""


_Job = tuple[Callable, tuple, Meeting | None]


class _Worker:
    """A thread and its letter box: `job` is the truth, what lies in `wake` only says that it is worth a look."""

    __slots__ = ("error", "job", "thread", "wake")

    def __init__(self, done: SimpleQueue) -> None:
        self.job: _Job | None = None  # None: nothing to do, or done
        self.error: BaseException | None = None
        self.wake: SimpleQueue = SimpleQueue()
        self.thread = threading.Thread(target=_work, args=(self, done), name="tsrnn", daemon=True)


_STOP: _Job = (lambda: None, (), None)


def _work(worker: _Worker, done: SimpleQueue) -> None:
    while True:
        worker.wake.get()
        job = worker.job
        if job is _STOP:
            return
        if job is None:
            continue
        try:
            job[0](*job[1])
        except BaseException as error:  # raised again in the caller's thread
            worker.error = error
            if job[2] is not None:
                job[2].abort()
        del job
        worker.job = None
        done.put(None)


class Team:
    """Threads that run one function on different arguments, again and again.

    ::

        with Team(effective_n_jobs(n_jobs)) as team:
            team.run(kernel, [(..., 0, 2), (..., 1, 2)])

    The caller's thread is one of the team; the others start at the first `run` that needs them and end with the context.
    A team belongs to one thread; any number of teams may run side by side.  In a forked child, where threads do not
    exist, a team starts anew; where no thread can be started (at interpreter exit) the caller does all the work.

    Parameters
    ----------
    n_threads : int
        Threads, the caller's included.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = max(1, int(n_threads))
        self._forget()

    def _forget(self) -> None:
        self._workers: list[_Worker] = []
        self._done: SimpleQueue = SimpleQueue()
        self._process = os.getpid()
        self._may_start = True
        self._busy = False  # jobs may be under way: cleared only when all have ended
        self._meeting: Meeting | None = None  # theirs

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def run(self, function: Callable[..., Any], per_thread_args: Sequence[tuple], meeting: Meeting | None = None) -> None:
        """Call ``function(*args)`` for every entry of `per_thread_args`; returns when all calls have ended.

        Entry 0 and those that no thread is left for run in the caller's thread.

        Parameters
        ----------
        function : callable
        per_thread_args : sequence of tuple
        meeting : Meeting, optional
            Where the calls wait for each other.  Then entries that no thread is left for are not called: the meeting hears how
            many calls there will be before the first one begins, and when one of them may not come.

        Raises
        ------
        BaseException
            What a call raised, the caller's own first; not before all calls have ended, a KeyboardInterrupt included.
        """
        n_others = min(len(per_thread_args), self.n_threads) - 1
        if n_others < 1:
            if meeting is not None:
                meeting.begin(1)
            for args in per_thread_args[: None if meeting is None else 1]:
                function(*args)
            return
        if self._process != os.getpid():
            self._forget()
        if self._busy:
            self._settle(None)  # a second interruption has cut the end of the last run short
        self._busy = True
        error: BaseException | None = None
        try:
            self._fork_join(function, per_thread_args, n_others, meeting)
        except BaseException as caught:  # raised again when nothing runs any more
            error = caught
        if error is not None or any(worker.error is not None for worker in self._workers):
            error = self._settle(error)
        self._busy = False
        if error is not None:
            try:
                raise error
            finally:
                error = None  # a traceback that refers to itself would keep the arrays of its frames alive

    def _fork_join(self, function: Callable, per_thread_args: Sequence[tuple], n_others: int, meeting: Meeting | None) -> None:
        workers = self._started(n_others)
        rest = per_thread_args[1 + len(workers) :]
        self._meeting = meeting
        if meeting is not None:
            meeting.begin(1 + len(workers))
            rest = ()
        for worker, args in zip(workers, per_thread_args[1:], strict=False):
            worker.job = (function, args, meeting)
            worker.wake.put(None)
        function(*per_thread_args[0])
        for args in rest:
            function(*args)
        self._wait()

    def close(self) -> None:
        """Wait for the threads and end them; a later `run` starts new ones."""
        workers, same_process = self._workers, self._process == os.getpid()
        if not workers or not same_process or sys.is_finalizing():
            self._forget()
            return
        error = self._settle(None)
        for worker in workers:
            worker.job = _STOP
            worker.wake.put(None)
        for worker in workers:
            error = _persist(worker.thread.join, error)
        self._forget()
        if error is not None:
            raise error

    def _started(self, n_others: int) -> list[_Worker]:
        """The first `n_others` workers, or as many of them as can be started."""
        while self._may_start and len(self._workers) < n_others and not sys.is_finalizing():
            worker = _Worker(self._done)
            try:
                worker.thread.start()
                self._workers.append(worker)
            except BaseException as error:  # the thread may run all the same, if it was an interruption
                self._workers = [other for other in self._workers if other is not worker]
                worker.job = _STOP
                worker.wake.put(None)
                if not isinstance(error, RuntimeError):
                    raise
                self._may_start = False  # no more threads: a limit of the system, or the interpreter is going down
        return self._workers[:n_others]

    def _wait(self) -> None:
        """Wait until every worker is idle."""
        for worker in self._workers:
            while worker.job is not None:
                self._done.get()
        while not self._done.empty():
            self._done.get()

    def _settle(self, error: BaseException | None) -> BaseException | None:
        """Wait until every worker is idle, whatever happens meanwhile; returns the first error of all."""
        while any(worker.job is not None for worker in self._workers):
            if self._meeting is not None:
                error = _persist(self._meeting.abort, error)
            for worker in self._workers:
                worker.wake.put(None)  # the caller may have been interrupted between a job and its wake-up
            error = _persist(self._wait, error)
        for worker in self._workers:
            error, worker.error = error or worker.error, None
        self._busy = False
        return error


def _persist(blocking_call: Callable[[], Any], error: BaseException | None) -> BaseException | None:
    """Block; an interruption is kept for later, the first one of all is returned."""
    try:
        blocking_call()
    except BaseException as interruption:  # the caller raises it when nothing runs any more
        return error or interruption
    return error
