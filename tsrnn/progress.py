"""The progress bar of a fit: epochs, loss, speed, time left.  Nothing is imported or printed where it is off."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

SECONDS_BETWEEN_UPDATES = 0.1


class Progress:
    """A context manager; with ``verbose=False`` it does nothing.

    Parameters
    ----------
    verbose : bool
    n_epochs, n_samples : int
        Of the fit, and of each epoch.
    """

    def __init__(self, verbose: bool, n_epochs: int, n_samples: int):
        self.verbose, self.n_epochs, self.n_samples = bool(verbose), n_epochs, n_samples
        self._bar: Any = None
        self._task: Any = None
        self._seen, self._told, self._updated = 0, 0, 0.0

    def __enter__(self) -> Progress:
        if self.verbose:
            from rich.errors import LiveError
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            bar = Bar(TextColumn("epoch {task.fields[epoch]}/{task.fields[n_epochs]}"), BarColumn(bar_width=20),
                      TextColumn("{task.fields[logs]}"), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
            try:
                bar.start()
            except LiveError:  # older versions of rich show one bar at a time: this fit has none
                return self
            self._bar = bar
            self._task = bar.add_task("", total=self.n_epochs * self.n_samples, epoch=0, n_epochs=self.n_epochs, logs="",
                                      speed="")
            self._started = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def batch(self, n_samples: int, loss: float) -> None:
        """A batch is done; `loss` is the epoch's so far."""
        if self._bar is None:
            return
        self._seen += n_samples
        now = time.perf_counter()
        if now - self._updated >= SECONDS_BETWEEN_UPDATES:
            self._updated = now
            self._update(self._told + 1, f"loss {loss:.4f}")

    def epoch(self, logs: dict[str, float]) -> None:
        """An epoch is done."""
        if self._bar is None:
            return
        self._told += 1
        self._update(self._told, "  ".join(f"{name} {value:.4f}" for name, value in logs.items() if name != "seconds"))

    def _update(self, epoch: int, logs: str) -> None:
        speed = self._seen / max(time.perf_counter() - self._started, 1e-9)
        self._bar.update(self._task, completed=self._seen, epoch=epoch, logs=logs,
                         speed=f"{speed:,.0f} samples/s")


def track(items: Sequence, what: str, verbose: bool) -> Iterable:
    """`items`, with a bar that counts them where `verbose` says so."""
    if not verbose:
        return items
    from rich.progress import track as bar

    return bar(items, description=what)


def counter(n: int, what: str, verbose: bool) -> Callable[[], object]:
    """To be called for each of `n` things that is done; with a bar as in `track`."""
    numbers = iter(track(range(n), what, verbose))
    next(numbers, None)
    return lambda: next(numbers, None)
