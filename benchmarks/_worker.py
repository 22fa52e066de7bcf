"""A contender in a process of its own, which may be one of another virtual environment.

As a module: `Worker`, the side that asks.  As a script, ``python _worker.py NAME THREADS``: the side that answers pickled
requests on its standard input with pickles on its standard output; what libraries print goes to standard error.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
import traceback
from pathlib import Path

from _peers import MODULES, PACKAGES, contender, limit_threads


class Worker:
    """Attribute calls go to the contender and back.

    Parameters
    ----------
    name : str
        In `_peers.MODULES`.
    threads : int
        Cores to which the process is pinned, and threads of its library.
    python : dict of str to str, optional
        Name → interpreter; default this one.
    environment : dict of str to str
        Added to this process' own.

    Raises
    ------
    RuntimeError
        Where the library is not installed, or anything fails in the process.
    """

    def __init__(self, name: str, threads: int, python: dict[str, str] | None = None, **environment: str):
        self.name, self.interpreter = name, (python or {}).get(name, sys.executable)
        command = [self.interpreter, "-u", str(Path(__file__).resolve()), name, str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env={**os.environ, **environment})
        self.about = self._answer()

    def __getattr__(self, method: str):
        def call(*arguments):
            pickle.dump((method, arguments), self.process.stdin)
            self.process.stdin.flush()
            return self._answer()

        return call

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self):
        try:
            kind, answer = pickle.load(self.process.stdout)
        except (EOFError, pickle.UnpicklingError):
            kind, answer = "failed", f"the process ended with status {self.process.wait()}"
        if kind == "missing":
            raise RuntimeError(f"{self.name} is not installed for {self.interpreter} ({answer}); install it there (pip install "
                               f"{PACKAGES[self.name]}), or name an interpreter that has it: --python {self.name}=PATH")
        if kind == "failed":
            raise RuntimeError(f"{self.name} failed in its process:\n{answer}")
        return answer

    def close(self) -> None:
        """Ends the process, and waits for that."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def start(names: list[str], threads: int, python: dict[str, str]) -> dict[str, Worker]:
    """A worker each, and a line each of what it is; the others are ended where one cannot be started."""
    workers: dict[str, Worker] = {}
    try:
        for name in names:
            workers[name] = Worker(name, threads, python)
            about = workers[name].about
            print(f"{name:7} {about['version']}, {about['threads']} threads on {about['cores']} cores", flush=True)
    except BaseException:
        stop(workers)
        raise
    return workers


def stop(workers: dict[str, Worker]) -> None:
    for worker in workers.values():
        worker.close()


def serve(name: str, threads: int) -> None:
    """Imports, says who it is, and answers until its input ends."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def reply(kind: str, answer: object) -> None:
        pickle.dump((kind, answer), replies)
        replies.flush()

    cores, started = limit_threads(threads), time.perf_counter()
    try:
        made = contender(name, threads)
    except ImportError as error:
        own = (error.name or "").partition(".")[0] in (MODULES[name][2], *PACKAGES[name].split())
        reply("missing" if own else "failed", str(error) if own else traceback.format_exc())
        return
    reply("done", {"import_seconds": time.perf_counter() - started, "cores": cores, **made.describe()})
    while True:
        try:
            method, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = "done", getattr(made, method)(*arguments)
        except Exception:  # whatever it is, the other side raises it
            answer = "failed", traceback.format_exc()
        reply(*answer)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
