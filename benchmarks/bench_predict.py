"""Time of inference: this package's `predict`, from NumPy array to NumPy array with all its checks, beside the peers' bare
calls.

    python benchmarks/bench_predict.py --against torch,keras,jax,sklearn --python keras=PATH --json predict.json

PyTorch: the module under `inference_mode`, on a tensor of its own; Keras: a `tf.function`, compiled by XLA or not, whichever is
faster; JAX: jitted. All have equal weights, and their outputs are compared before anything is timed. scikit-learn's MLP on the
flattened window is another model (its outputs are its own) that does the same service. Processes and turns are those of
`bench_training.py`; a turn is a quarter of a second.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import numpy as np
from _peers import add_options, limit_threads, parse
from _results import Check, Results, Row
from _worker import Worker, start, stop
from _works import WORKS, Work, real_ids

PEERS = ("torch", "keras", "jax", "sklearn")
CASES = {work.name: work for work in (
    WORKS["imdb-bilstm-128"], WORKS["imdb-bilstm-32"], WORKS["cnn-lstm-10"],
    replace(WORKS["lstm-60"], name="one-window", batch=1), WORKS["tiny"])}
RATIO_BARS = {"imdb-bilstm-128": 3.0, "imdb-bilstm-32": 2.0, "cnn-lstm-10": 1.2}
OVER_TORCH = 50e-6  # seconds that one window may take more than PyTorch's bare call
TOLERANCE = 1e-5    # of outputs near 1, in float32


def measure(work: Work, X: np.ndarray, workers: dict[str, Worker], pairs: int, seconds: float) -> Row:
    """Outputs compared, then seconds a call."""
    X, weights = X[:work.batch], work.weights()
    outputs = {name: worker.prepare(work, X, weights) for name, worker in workers.items()}
    away = {name: float(abs(outputs["tsrnn"] - out).max()) for name, out in outputs.items() if out is not None}
    if wrong := {name: value for name, value in away.items() if not value < TOLERANCE}:
        raise RuntimeError(f"{work.name}: outputs differ by {wrong} from ours, which is more than {TOLERANCE}; the times of "
                           "different models are not compared")
    row = Row(work.name, "inference", {name: [] for name in workers}, more={"outputs differ by": away})
    for name in workers:
        workers[name].infer(seconds / 5)
    for pair in range(pairs):
        for name in list(workers)[::1 if pair % 2 == 0 else -1]:
            time.sleep(0.05)  # the other's idle threads have stopped spinning by then
            row.seconds[name].append(workers[name].infer(seconds))
    if work.name in RATIO_BARS:
        row.checks.append(Check("times as fast as the fastest peer", row.fastest(("sklearn",)), RATIO_BARS[work.name]))
    if work.name == "one-window":
        more = None
        if "torch" in workers:
            more = 1e6 * statistics.median(a - b for a, b in zip(row.seconds["tsrnn"], row.seconds["torch"]))
        row.checks.append(Check("µs more than PyTorch's bare call", more, 1e6 * OVER_TORCH, at_least=False))
    return row


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time of inference.")
    parser.add_argument("works", nargs="*", metavar="work", help=f"{', '.join(CASES)}; default all")
    parser.add_argument("--pairs", type=int, default=5, help="turns of each contender")
    parser.add_argument("--seconds", type=float, default=0.25, help="of a turn")
    add_options(parser, PEERS)
    arguments = parse(parser, argv)
    if unknown := [work for work in arguments.works if work not in CASES]:
        parser.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(CASES)}")
    limit_threads(arguments.threads)
    works = [CASES[name] for name in arguments.works or CASES]
    ids = real_ids() if any(work.vocabulary for work in works) else None
    results = Results("predict", arguments.json, threads=arguments.threads, pairs=arguments.pairs)
    workers = start(["tsrnn", *arguments.against], arguments.threads, arguments.python)
    try:
        results.contenders({name: worker.about for name, worker in workers.items()})
        for work in works:
            X, _ = work.data(ids if work.vocabulary else None)
            # a network that reads ids has no MLP beside it
            able = {name: worker for name, worker in workers.items() if not (work.vocabulary and name == "sklearn")}
            results.add(measure(work, X, able, arguments.pairs, arguments.seconds))
    finally:
        stop(workers)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
