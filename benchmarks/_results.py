"""What a task of `bench_accuracy.py` gives back, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


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
