"""What benchmarks give back: scores of `bench_accuracy.py`, times of the others, and the one form in which both are written."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import resource
import statistics
import sys
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1
VERSIONS = ("tsrnn", "numpy", "numba", "llvmlite", "scipy", "scikit-learn")  # of this process; peers tell their own


@dataclass
class Result:
    """A task's scores, one a seed, and what they are held against."""

    task: str
    measure: str             # "accuracy" (higher is better) or an error (lower is better): "RMSE", "OWA", "points off" ...
    scores: list[float]
    bars: dict[str, float]   # what the mean has to reach, or to stay below; empty: only reported
    seconds: list[float] = field(default_factory=list)
    note: str = ""           # whatever else belongs beside the scores

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))

    @property
    def passed(self) -> bool:
        higher = self.measure == "accuracy"
        return all(self.mean >= bar if higher else self.mean < bar for bar in self.bars.values())


def describe(result: Result) -> str:
    """One line: task, mean, single scores, what they are held against, seconds, note."""
    show = "{:.2%}".format if result.measure == "accuracy" else "{:.4g}".format
    bars = ", ".join(f"{name} {show(bar)}" for name, bar in result.bars.items()) or "reported"
    verdict = "" if not result.bars else "  ok" if result.passed else "  MISSED"
    seconds = f"  [{np.mean(result.seconds):.1f} s a fit]" if result.seconds else ""
    note = f"  {result.note}" if result.note else ""
    return (f"{result.task:38} {result.measure:10} {show(result.mean):>8}  ({', '.join(map(show, result.scores))})  "
            f"against {bars}{verdict}{seconds}{note}")


# ------------------------------------------------------------------------------------------------ times


@dataclass
class Check:
    """A figure that is asked for; `value` None: not measured, since there was nobody to compare with."""

    what: str
    value: float | None
    bar: float
    at_least: bool = True  # else: at most

    @property
    def met(self) -> bool | None:
        return None if self.value is None else bool(self.value >= self.bar if self.at_least else self.value <= self.bar)

    def __str__(self) -> str:
        verdict = {None: "not measured", True: "met", False: "MISSED"}[self.met]
        value = "" if self.value is None else f"{self.value:.3g}, "
        return f"{self.what}: {value}{'at least' if self.at_least else 'at most'} {self.bar:g} asked: {verdict}"


@dataclass
class Row:
    """A work that contenders did in turns.

    Parameters
    ----------
    work : str
    what : str
        "training step", "inference", "whole script" ...
    seconds : dict of str to list of float
        Contender → its turns, in the order of the turns.
    checks : list of Check
    more : dict
        Whatever else was measured.
    """

    work: str
    what: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    def ratios(self) -> dict[str, float]:
        """Peer → how many times our time it takes: the median over the pairs of turns."""
        ours = self.seconds.get("tsrnn", [])
        return {name: statistics.median(b / a for a, b in zip(ours, theirs)) for name, theirs in self.seconds.items()
                if name != "tsrnn" and ours}

    def fastest(self, without: tuple[str, ...] = ()) -> float | None:
        """The smallest of the ratios: of the peers, the fastest; None without any."""
        return min((ratio for name, ratio in self.ratios().items() if name not in without), default=None)

    def __str__(self) -> str:
        """One line of a console's table."""
        line = f"{self.work:24}"
        for name, turns in self.seconds.items():
            line += f" {name} {duration(statistics.median(turns))} ({duration(min(turns))} - {duration(max(turns))})"
        line += "".join(f"; {name} / tsrnn {ratio:.2f}" for name, ratio in self.ratios().items())
        return "\n    ".join([line, *map(str, self.checks), *([self.more["note"]] if "note" in self.more else [])])


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    unit, name = next((u, n) for u, n in ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (0, "")) if seconds >= u)
    return f"{seconds / unit:.3g} {name}" if unit else f"{seconds} s"


class Results:
    """Rows as they come: each is printed, and all are written again after it.

    Parameters
    ----------
    benchmark : str
    path : str or None
        None: nothing is written.
    settings : dict
    """

    def __init__(self, benchmark: str, path: str | None, **settings: Any):
        self.path = Path(path) if path else None
        self.document = {"format": FORMAT, "benchmark": benchmark, "machine": machine(), "settings": settings,
                         "contenders": {}, "rows": []}

    def contenders(self, about: dict[str, dict]) -> None:
        self.document["contenders"].update(about)

    def add(self, row: Row | Result) -> None:
        if isinstance(row, Row):
            print(row, flush=True)
            self.document["rows"].append(asdict(row) | {"ratios": row.ratios()})
        else:
            print(describe(row), flush=True)
            self.document["rows"].append(asdict(row) | {"mean": row.mean, "passed": row.passed})
        self.write()

    def write(self) -> None:
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.document, indent=1), encoding="utf-8")


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system, date and versions."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    versions = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # its sources are on the path
            versions[name] = getattr(sys.modules.get(name), "__version__", "from sources")
    return {"processor": model, "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}",
            "date": datetime.now().astimezone().isoformat(timespec="seconds"), "versions": versions,
            "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None}


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MB."""
    return in_megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def in_megabytes(ru_maxrss: int) -> float:
    """What the system reports as the largest resident memory, in MB."""
    return ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
