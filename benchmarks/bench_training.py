"""Time of a training step, beside PyTorch where it is installed.

    python benchmarks/bench_training.py                               # this package alone, all works
    python benchmarks/bench_training.py --against torch mnist-rows lstm-60 --pairs 7 --json times.json

Each contender has a process of its own, pinned to the same cores, and reads its number of threads back.  They start from
equal weights and see equal batches; the losses of the first ten steps are compared before anything is timed.  Then turns
alternate (A B, B A, ...): a turn is one pass over the work's batches, a figure the median of the turns with the smallest and
the largest, the ratio the median of the pairs' ratios.  Fused Adam, float32, no clipping.  GFLOP/s counts the products of the
forward pass three times; its share is of what the kernels' product reaches with its operands in the cache, in the same run.
Import, first step with an empty kernel cache, and first step in a later process are timed apart, on the work mnist-rows.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path

from _peers import CONTENDERS, WORKS, limit_threads, usable_cores

STARTUP_WORK = "mnist-rows"


class Worker:
    """A contender in a process of its own; attribute calls go there and back."""

    def __init__(self, name: str, threads: int, cache: str | None = None):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, name, threads, cache), daemon=True)
        self.process.start()
        theirs.close()
        self.about = self.connection.recv()

    def __getattr__(self, method: str):
        def call(*arguments):
            self.connection.send((method, arguments))
            return self.connection.recv()

        return call

    def close(self) -> None:
        self.connection.send(None)
        self.process.join()


def serve(connection, name: str, threads: int, cache: str | None) -> None:
    """What a worker does: imports, says who it is, and answers calls until it gets None."""
    if cache is not None:
        os.environ["TSRNN_CACHE_DIR"] = cache
    cores = limit_threads(threads)
    started = time.perf_counter()
    contender = CONTENDERS[name](threads)
    connection.send({"import_seconds": time.perf_counter() - started, "cores": cores, **contender.describe()})
    while (request := connection.recv()) is not None:
        method, arguments = request
        connection.send(getattr(contender, method)(*arguments))


def first_step(name: str, threads: int, cache: str, weights: dict | None) -> tuple[float, float, dict]:
    """Seconds of the import and of the first step in a fresh process, and the weights."""
    worker = Worker(name, threads, cache)
    started = time.perf_counter()
    weights = worker.build(WORKS[STARTUP_WORK], weights).get("weights", weights)
    worker.curve(1)
    seconds = time.perf_counter() - started
    worker.close()
    return worker.about["import_seconds"], seconds, weights


def startup(names: list[str], threads: int) -> dict:
    """Import, first step cold and first step warm; only this package compiles, and keeps what it has compiled."""
    found, weights = {}, None
    with tempfile.TemporaryDirectory() as cache:
        for name in names:
            _, cold, weights = first_step(name, threads, cache, weights)
            seconds, warm, weights = first_step(name, threads, cache, weights)
            found[name] = {"import": seconds, "first_step_cold": cold, "first_step_warm": warm}
            print(f"{name:6} import after NumPy {seconds:.2f} s; first step {cold:.2f} s, in a later process {warm:.2f} s")
    return found


def measure(work, workers: dict[str, Worker], pairs: int) -> dict:
    """Losses and seconds a step of one work for all contenders."""
    ours = workers["tsrnn"].build(work, None)
    for name, worker in workers.items():
        if name != "tsrnn":
            worker.build(work, ours["weights"])
    losses = {name: worker.curve(10) for name, worker in workers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for name in workers:
        workers[name].epoch()  # warm caches and memory
    for pair in range(pairs):
        for name in list(workers)[::1 if pair % 2 == 0 else -1]:
            time.sleep(0.05)  # the other's idle threads have stopped spinning by then
            seconds[name].append(workers[name].epoch())
    return {"gflop": ours["gflop"], "losses": losses, "seconds": seconds, "peak": workers["tsrnn"].product_peak()}


def describe(work, found: dict) -> str:
    """A row of the table."""
    row = f"{work.name:16}"
    for times in found["seconds"].values():
        unit, name = (1e3, "ms") if statistics.median(times) > 1e-3 else (1e6, "µs")
        row += f" {unit * statistics.median(times):8.2f} ({unit * min(times):.2f} - {unit * max(times):.2f}) {name}"
    ours = found["seconds"]["tsrnn"]
    rate = found["gflop"] / statistics.median(ours)
    row += f"  {rate:5.0f} GFLOP/s = {rate / found['peak']:4.0%} of {found['peak']:.0f}"
    curves = list(found["losses"].values())
    row += f"  loss {curves[0][0]:.5f} -> {curves[0][-1]:.5f}"
    for name, theirs in found["seconds"].items():
        if name != "tsrnn":
            ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
            difference = max(abs(a - b) / abs(a) for a, b in zip(curves[0], found["losses"][name], strict=True))
            row += f" (differs {difference:.0e})  {name} / tsrnn {ratio:.2f}"
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description="Time of a training step.")
    parser.add_argument("works", nargs="*", metavar="work", help=f"{', '.join(WORKS)}; default all")
    parser.add_argument("--against", choices=[name for name in CONTENDERS if name != "tsrnn"])
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--pairs", type=int, default=5, help="turns of each contender")
    parser.add_argument("--no-startup", action="store_true", help="leave out import and first steps (about a minute)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if unknown := [work for work in arguments.works if work not in WORKS]:
        parser.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(WORKS)}")
    if hasattr(os, "getloadavg"):
        print(f"load of the machine before: {os.getloadavg()[0]:.1f} (where it is not near 0, times are no use)")
    names = ["tsrnn"] + ([arguments.against] if arguments.against else [])
    report: dict = {"startup": {} if arguments.no_startup else startup(names, arguments.threads), "works": {}}
    workers = {name: Worker(name, arguments.threads) for name in names}
    report["contenders"] = {name: worker.about for name, worker in workers.items()}
    for name, about in report["contenders"].items():
        print(f"{name:6} {about['version']}, {about['threads']} threads on {about['cores']} cores")
    print("median time of a step (smallest - largest turn)", " | ".join(names))
    for name in arguments.works or WORKS:
        report["works"][name] = measure(WORKS[name], workers, arguments.pairs)
        print(describe(WORKS[name], report["works"][name]), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(report, indent=2))
    for worker in workers.values():
        worker.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
