"""How cost grows with the work, with threads, and with the number of networks; and the memory that training takes.

    python benchmarks/bench_scaling.py                                       # all parts
    python benchmarks/bench_scaling.py nets --against torch --python torch=PATH --json scaling.json

growth   time of an LSTM as steps, rows and batch are doubled twice, as a part of proportional growth
widths   GFLOP/s done for 32 to 256 units, and for 32 to 256 features; the largest drop from a smaller size to a larger one
threads  training steps with one thread and with all
memory   what a fit takes beyond its data, for 4,000 to 64,000 windows, each in a process of its own
nets     a net of 16 units for each of 1,000 series (200 windows of 20 values, 30 epochs, batches of 32), with one thread and
         with all; beside a PyTorch loop over 20 of them, with the number of threads that is faster for it, scaled up

Sizes that are compared are measured in turns, each in a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from dataclasses import replace

import _arithmetic
import numpy as np
from _peers import add_options, limit_threads, parse
from _results import Check, Results, Row
from _worker import Worker, start, stop
from _works import WORKS, Work

GROWTH_BAR, DROP_BAR, NETS_BAR, THREADS_BAR = 1.15, 0.25, 20.0, 1.8
MEMORY_BAR = 0.1  # of what the data grow by
LSTM = Work("lstm", 60, 8, (64,), 64, batches=16)
SIZES = (32, 64, 128, 256)
ROWS = (4_000, 16_000, 64_000)
THREAD_WORKS = ("imdb-bilstm-32", "cnn-lstm-10", "lstm-60", "2-lstm-128")
NETS = {"units": 16, "epochs": 30, "batch": 32}
WINDOW, WINDOWS, SAMPLE = 20, 200, 20


def turns(works: list[Work], threads: list[int], pairs: int, python: dict[str, str]) -> list[list[float]]:
    """Seconds a step of each work, in a process each, in alternating order."""
    workers = {str(n): Worker("tsrnn", count, python) for n, count in enumerate(threads)}
    try:
        for work, worker in zip(works, workers.values()):
            worker.build(work, *work.data(), work.weights())
            worker.epoch()
        found: list[list[float]] = [[] for _ in works]
        for pair in range(pairs):
            for n in list(range(len(works)))[::1 if pair % 2 == 0 else -1]:
                found[n].append(workers[str(n)].epoch())
    finally:
        stop(workers)
    return found


def growth(arguments: argparse.Namespace, results: Results) -> None:
    """A size doubled twice: the worse of the two ratios is held against the bar."""
    for what, name in (("steps", "T"), ("batches", "n"), ("batch", "B")):
        works = [replace(LSTM, **{what: getattr(LSTM, what) * factor}) for factor in (1, 2, 4)]
        found = turns(works, [arguments.threads] * 3, arguments.pairs, arguments.python)
        more = 1 if what == "batches" else 2  # a step costs the same however many there are
        ratios = [statistics.median(b / a / more for a, b in zip(*pair)) for pair in itertools.pairwise(found)]
        row = Row(f"LSTM, {name} doubled twice", "growth", more={
            "sizes": [getattr(work, what) for work in works], "seconds_a_step": found, "time / proportional": ratios})
        row.checks.append(Check("time / proportional", max(ratios), GROWTH_BAR, at_least=False))
        results.add(row)


def widths(arguments: argparse.Namespace, results: Results) -> None:
    for what, name in (("units", "H"), ("features", "F")):
        works = [replace(LSTM, batches=8, **{what: (size,) if what == "units" else size}) for size in SIZES]
        found = turns(works, [arguments.threads] * len(works), arguments.pairs, arguments.python)
        rates = [_arithmetic.training(work, work.data()[0]).done / statistics.median(seconds)
                 for work, seconds in zip(works, found)]
        drop = max(1 - later / earlier for earlier, later in itertools.combinations(rates, 2))
        row = Row(f"LSTM, {name} from 32 to 256", "widths", more={"sizes": SIZES, "rates": rates, "largest_drop": drop})
        row.more["note"] = "GFLOP/s: " + ", ".join(f"{name} {size}: {rate:.0f}" for size, rate in zip(SIZES, rates))
        row.checks.append(Check("largest drop of GFLOP/s", drop, DROP_BAR, at_least=False))
        results.add(row)


def threads(arguments: argparse.Namespace, results: Results) -> None:
    for name in THREAD_WORKS:
        one, several = turns([WORKS[name]] * 2, [1, arguments.threads], arguments.pairs, arguments.python)
        ratio = statistics.median(a / b for a, b in zip(one, several))
        row = Row(name, f"1 -> {arguments.threads} threads", {"tsrnn": several})
        row.more |= {"one_thread": one, "times_as_fast": ratio}
        row.more["note"] = f"{ratio:.2f} times as fast as with one thread"
        results.add(row)


def memory(arguments: argparse.Namespace, results: Results) -> None:
    found = []
    for n in ROWS:
        with Worker("tsrnn", arguments.threads, arguments.python) as worker:
            found.append(worker.fit_memory(replace(LSTM, batches=n // LSTM.batch)))
    growth = (found[-1]["beyond"] - found[0]["beyond"]) / (found[-1]["data"] - found[0]["data"])
    row = Row("LSTM, 4,000 to 64,000 windows", "memory", more={"rows": ROWS, "megabytes": found})
    row.checks.append(Check("growth of memory beyond the data / growth of the data", growth, MEMORY_BAR, at_least=False))
    row.more["note"] = "MB: " + ", ".join(f"{n:,} rows {m['data']:.0f} and {m['beyond']:.1f} beyond"
                                          for n, m in zip(ROWS, found))
    results.add(row)


def nets(arguments: argparse.Namespace, results: Results) -> None:
    """Seconds a network: ours on all threads and on one, and a sample of PyTorch's, in turns."""
    names = ["tsrnn", *arguments.against]
    rng, share = np.random.default_rng(0), max(1, arguments.nets // arguments.pairs)
    series = np.sin(np.arange(WINDOW + WINDOWS) / rng.uniform(2, 9, (share, 1)))
    series += 0.1 * rng.normal(size=series.shape)
    X = np.lib.stride_tricks.sliding_window_view(series[:, :-1], WINDOW, 1)[:, :WINDOWS, :, None].astype(np.float32)
    y, few = series[:, WINDOW:].astype(np.float32), max(1, min(SAMPLE, share) // arguments.pairs)
    workers = start(names, arguments.threads, arguments.python)
    seconds: dict[str, list[float]] = {name: [] for name in ("one thread", *names)}
    last: dict[str, dict] = {}
    try:
        best = {"tsrnn": arguments.threads}
        for name in arguments.against:
            trial = {n: workers[name].small_nets(X[:2], y[:2], NETS, n)["seconds"] for n in (1, arguments.threads)}
            best[name] = min(trial, key=lambda n: trial[n])
        for pair in range(arguments.pairs):
            for name in list(seconds)[::1 if pair % 2 == 0 else -1]:
                ours = name in ("tsrnn", "one thread")
                n = share if ours else few
                last[name] = workers["tsrnn" if ours else name].small_nets(X[:n], y[:n], NETS, best.get(name, 1))
                seconds[name].append(last[name]["seconds"] / last[name]["nets"])
    finally:
        stop(workers)
    one = seconds.pop("one thread")
    scale = statistics.median(a / b for a, b in zip(one, seconds["tsrnn"]))
    row = Row("small nets, each", "many networks", seconds, more={"one_thread": one, "times_as_fast": scale, "last": last,
                                                                 "nets": share * arguments.pairs})
    row.checks.append(Check("times as fast as a PyTorch loop", row.ratios().get("torch"), NETS_BAR))
    row.checks.append(Check(f"times as fast with {arguments.threads} threads as with 1", scale, THREADS_BAR))
    row.more["note"] = f"ours: {last['tsrnn']['how']}; mean loss of the last epoch: " + ", ".join(
        f"{name} {found['loss']:.4f} ({found['nets']} nets)" for name, found in last.items())
    results.add(row)


PARTS = {"growth": growth, "widths": widths, "threads": threads, "memory": memory, "nets": nets}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="How cost grows.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; default all")
    parser.add_argument("--pairs", type=int, default=3, help="turns of each size")
    parser.add_argument("--nets", type=int, default=1000, help="networks of the part nets, over all turns")
    add_options(parser, ("torch",))
    arguments = parse(parser, argv)
    if unknown := [part for part in arguments.parts if part not in PARTS]:
        parser.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    limit_threads(arguments.threads)
    results = Results("scaling", arguments.json, threads=arguments.threads, pairs=arguments.pairs, nets=arguments.nets)
    for part in arguments.parts or PARTS:
        PARTS[part](arguments, results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
