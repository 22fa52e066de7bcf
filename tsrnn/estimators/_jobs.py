"""Independent fits side by side: jobs, taken in order by threads; networks within them share the cores.

A small network leaves the threads of a single fit nothing to do, but many of them keep all cores busy, one network a core.
What a job comes to depends on itself alone, so the number of threads changes no bit.  Three things of a thread's own are
handed on: the caller's context variables (NumPy's `errstate`), scikit-learn's configuration, and warnings, which the
caller's thread gives when all is done, in the order of the jobs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from sklearn import config_context, get_config

from tsrnn._warn import Told, kept, warn
from tsrnn.parallel import Team, effective_n_jobs

BEGUN, ENDED = -1, -2  # a thread has, among the numbers of jobs that are done
SECONDS_TO_BEGIN = 1.0  # no thread can be started if none has begun by then


class Cancelled(BaseException):
    """Ends a fit that nobody waits for any more."""


class Place(NamedTuple):
    """Where the code that runs now belongs: to a job."""

    run: Run
    number: int
    threads: int  # of each of its networks
    outer: Place | None  # the job that the run belongs to


_place: ContextVar[Place | None] = ContextVar("tsrnn_job", default=None)


def threads(n_jobs: int | None) -> int | None:
    """`n_jobs` as a network may have it: within a job no more than its share."""
    place = _place.get()
    if place is None:
        return n_jobs
    if n_jobs is None and place.threads == 1:  # how many cores there are is read from files
        return 1
    return min(effective_n_jobs(n_jobs), place.threads)


def check_cancelled() -> None:
    """Raises `Cancelled` in a job whose result nobody needs: after Ctrl-C, and behind one that failed."""
    place = _place.get()
    while place is not None:
        if place.number > place.run.last:
            raise Cancelled
        place = place.outer


def in_job() -> bool:
    """Whether this code belongs to a job: half a fit is then of no use."""
    return _place.get() is not None


def run_jobs(function: Callable[[Any], Any], items: Sequence, n_jobs: int | None = None,
             done: Callable[[], object] = lambda: None) -> list:
    """What `function` makes of each item, in their order.

    Parameters
    ----------
    function : callable
        Gets an item.  It may run in another thread, and side by side with itself.
    items : sequence
    n_jobs : int or None, default=None
        Threads, as `effective_n_jobs` has them; within a job no more than this has.  Where there are fewer items than threads
        the networks of each item share the others.
    done : callable
        Called in the caller's thread for each item that is done.

    Raises
    ------
    BaseException
        What `function` raised: for the first of the items, whatever the number of threads.  No item is begun after an error;
        those before the one that failed end as they would, those behind it after their epoch.
    KeyboardInterrupt
        After Ctrl-C: nothing is begun any more, and the networks' fits that are under way end with their epoch,
        or block of short ones.
    """
    available = effective_n_jobs(threads(n_jobs))
    n_threads = max(1, min(available, len(items)))
    run = Run(function, items, max(1, available // n_threads), _place.get())
    if not items:
        return []
    if n_threads == 1:
        run.work(done)
    else:
        with warnings.catch_warnings():  # scikit-learn's checks change the filters, and threads leave them so
            run.side_by_side(n_threads, done)
    return run.outcome()


@dataclass
class Run:
    """Jobs that threads take one after the other."""

    function: Callable[[Any], Any]
    items: Sequence
    share: int  # threads of each network
    outer: Place | None

    def __post_init__(self) -> None:
        n = len(self.items)
        self.last = n - 1  # jobs behind it need not end
        self.results: list = [None] * n
        self.errors: dict[int, BaseException] = {}
        self.told: list[Told] = [[]] * n
        self.waiting: SimpleQueue[int] = SimpleQueue()
        for number in range(n):
            self.waiting.put(number)

    def work(self, done: Callable[[], object]) -> None:
        """Takes jobs until there are none."""
        while True:
            try:
                number = self.waiting.get_nowait()
            except Empty:
                return
            if number <= self.last:
                self.do(number)
                done()

    def do(self, number: int) -> None:
        """One job; what it comes to and what it warns of are kept."""
        token = _place.set(Place(self, number, self.share, self.outer))
        try:
            with kept() as self.told[number]:
                self.results[number] = self.function(self.items[number])
        except BaseException as error:  # raised again in the caller's thread
            if number <= self.last:
                self.errors[number] = error
                self.last = -1 if isinstance(error, KeyboardInterrupt) else min(self.last, number)
        finally:
            _place.reset(token)

    def side_by_side(self, n_threads: int, done: Callable[[], object]) -> None:
        """All jobs, in threads of their own; the caller's waits, and hears Ctrl-C at once."""
        events: SimpleQueue[int] = SimpleQueue()
        may_begin: SimpleQueue[None] = SimpleQueue()
        config = get_config()

        def work() -> None:
            events.put(BEGUN)
            try:
                may_begin.get(timeout=SECONDS_TO_BEGIN)
                with config_context(**config):
                    self.work(lambda: events.put(0))
            except Empty:  # Ctrl-C came before the caller's thread was there to hear it
                pass
            finally:
                events.put(ENDED)

        def wait() -> None:
            for _ in range(n_threads):
                may_begin.put(None)
            self.wait(events, done)

        with Team(n_threads + 1) as team:
            team.run(_call, [(wait,), *((copy_context().run, work) for _ in range(n_threads))])
        self.work(done)  # what threads have left undone that found a very busy machine; mostly nothing

    def wait(self, events: SimpleQueue[int], done: Callable[[], object]) -> None:
        """Until all threads that have begun have ended."""
        begun = ended = 0
        try:
            while not begun or ended < begun:
                try:
                    event = events.get(timeout=SECONDS_TO_BEGIN)
                except Empty:
                    if not begun:  # no thread can be started: this one will do all
                        return
                    continue
                begun, ended = begun + (event == BEGUN), ended + (event == ENDED)
                if event >= 0:
                    done()
        except BaseException:
            self.last = -1
            raise

    def outcome(self) -> list:
        """Results; gives the warnings, and raises the first error."""
        first = min(self.errors, default=len(self.items))
        for told in self.told[:first + 1]:
            for message, category in told:
                warn(message, category)
        if not self.errors:
            return self.results
        error = self.errors[first]
        self.errors.clear()
        try:
            raise error
        finally:
            del error  # a traceback that refers to itself would keep the arrays of its frames alive


def _call(function: Callable[..., object], *args: Any) -> None:
    function(*args)
