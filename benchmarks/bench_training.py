"""Time of a training step, beside PyTorch, Keras on TensorFlow and JAX.

    python benchmarks/bench_training.py                               # this package alone, all works
    python benchmarks/bench_training.py --against torch,keras,jax --python keras=PATH --python jax=PATH --json training.json
    python benchmarks/bench_training.py --against torch mnist-rows lstm-60 --pairs 7

Each contender has a process of its own, pinned to the same cores, and reads its number of threads back; `--python` names the
interpreter of one that lives in another environment. They start from equal weights and see equal batches; the losses of the
first ten steps are compared before anything is timed, and the first one must be ours. Then turns alternate (A B, B A, ...): a
turn is one pass over the work's batches behind one that does not count, a figure the median of the turns with the smallest and
the largest, a ratio the median of the pairs' ratios. Adam, no clipping; PyTorch's is fused and it flushes denormal numbers,
Keras' and JAX' steps are compiled in the way that is fastest here. IMDB works read the real reviews where TSRNN_DATA or
../shared/data has them.

GFLOP/s nominal counts the products of the forward pass three times; "done" what is left of them (`_arithmetic.py`), and its
share is of the FMA peak: what all threads reach at once in a loop of multiply-adds that touches registers only, in the same
run.
"""

from __future__ import annotations

import argparse
import statistics
import time

import _arithmetic
import _peak
import numpy as np
from _peers import add_options, limit_threads, parse
from _results import Check, Results, Row
from _worker import Worker, start, stop
from _works import RATIO_BARS, SHARE_BARS, WORKS, Work, real_ids

PEERS = ("torch", "keras", "jax")
STEPS = 10  # whose losses are compared
TOLERANCE = 1e-4  # of the first one: the outputs of equal weights; the others depend on details of each Adam


def measure(work: Work, data: tuple[np.ndarray, np.ndarray], workers: dict[str, Worker], pairs: int) -> Row:
    """Losses and seconds a step of one work for all contenders."""
    weights, how = work.weights(), {}
    for name, worker in workers.items():
        how[name] = worker.build(work, *data, weights).get("how", "")
    losses = {name: worker.curve(STEPS) for name, worker in workers.items()}
    curves = {name: f"{curve[0]:.5f} -> {curve[-1]:.5f}, differs by {difference(losses['tsrnn'], curve):.0e}"
              for name, curve in losses.items()}
    print(f"{work.name}: losses of {STEPS} steps: {curves}", flush=True)
    if wrong := [name for name, curve in losses.items() if not difference(losses["tsrnn"][:1], curve) < TOLERANCE]:
        raise RuntimeError(f"{work.name}: the first loss of {', '.join(wrong)} is not ours; the times of different models are "
                           "not compared")
    row = Row(work.name, "training step", {name: [] for name in workers}, more={"losses": losses, "how": how})
    for name in workers:
        workers[name].epoch()  # warm caches and memory
    for pair in range(pairs):
        for name in list(workers)[::1 if pair % 2 == 0 else -1]:
            time.sleep(0.05)  # the other's idle threads have stopped spinning by then
            row.seconds[name].append(workers[name].epoch())
    return row


def difference(ours: list[float], theirs: list[float]) -> float:
    """The largest difference of two curves, as a part of ours."""
    return max(abs(a - b) / max(abs(a), 1e-12) for a, b in zip(ours, theirs))


def rate(row: Row, work: Work, X: np.ndarray, threads: int) -> None:
    """Adds GFLOP/s, the peaks, and what is asked."""
    arithmetic, seconds = _arithmetic.training(work, X), statistics.median(row.seconds["tsrnn"])
    peak, product = _peak.fma_peak(work.dtype, threads), _peak.product_peak(work.dtype, threads)
    share = arithmetic.done / seconds / peak
    row.more |= {"gflop": arithmetic._asdict(), "gflops": {"nominal": arithmetic.nominal / seconds,
                                                           "done": arithmetic.done / seconds},
                 "fma_peak": peak, "product_peak": product, "share": share}
    if work.name in RATIO_BARS:
        row.checks.append(Check("times as fast as the fastest peer", row.fastest(), RATIO_BARS[work.name]))
    if work.name in SHARE_BARS:
        row.checks.append(Check("share of the FMA peak", share, SHARE_BARS[work.name]))
    nominal, done = row.more["gflops"].values()
    print(f"{work.name}: {arithmetic.nominal:.3g} GFLOP nominal, {arithmetic.done:.3g} done; {nominal:.0f} and {done:.0f} "
          f"GFLOP/s; FMA peak {peak:.0f}, product peak {product:.0f}: {share:.0%} of the FMA peak")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time of a training step.")
    parser.add_argument("works", nargs="*", metavar="work", help=f"{', '.join(WORKS)}; default all")
    parser.add_argument("--pairs", type=int, default=5, help="turns of each contender")
    parser.add_argument("--generated", action="store_true", help="generated ids, even where the real reviews are at hand")
    add_options(parser, PEERS)
    arguments = parse(parser, argv)
    if unknown := [work for work in arguments.works if work not in WORKS]:
        parser.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(WORKS)}")
    if arguments.pairs < 1:
        parser.error(f"--pairs {arguments.pairs} must be at least 1")
    limit_threads(arguments.threads)
    works = [WORKS[name] for name in arguments.works or WORKS]
    reads_ids = any(work.vocabulary for work in works)
    ids = real_ids() if reads_ids and not arguments.generated else None
    results = Results("training", arguments.json, threads=arguments.threads, pairs=arguments.pairs,
                      ids="none" if not reads_ids else "generated" if ids is None else "real reviews")
    print(f"ids: {results.document['settings']['ids']}")
    workers = start(["tsrnn", *arguments.against], arguments.threads, arguments.python)
    try:
        results.contenders({name: worker.about for name, worker in workers.items()})
        for work in works:
            data = work.data(ids if work.vocabulary else None)
            row = measure(work, data, workers, arguments.pairs)
            rate(row, work, data[0], arguments.threads)
            results.add(row)
    finally:
        stop(workers)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
