"""The IMDB tutorial: accuracy after every epoch, time and memory, beside Keras and PyTorch where they are installed.

    python benchmarks/bench_imdb.py                                       # this package alone, 3 seeds of 12 epochs
    python benchmarks/bench_imdb.py --against keras torch --epochs 3 --seeds 0 --cells bilstm --json imdb.json

Embedding(10000, 128), LSTM(64) in two directions, Dropout(0.5), Dense(1); batches of 128, Adam 1e-3; the last 200 ids of a
review, padded in front, no mask.  Rows "all" train on the 25,000 training reviews and show the accuracy on the 25,000 test
reviews after every epoch, as the tutorial does.  Rows "chosen" train on the first 90 % of the training reviews; the epoch is
that of the highest accuracy on the other 10 % (the first, of equal ones), and the test reviews tell how good it is.

Every run has a process of its own, and contenders take turns, seed by seed.  Seconds are those of training alone, the median
of the epochs but the first, which compiles; memory is the peak of the process with its imports and data.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from _imdb_peers import CONTENDERS
from _peers import limit_threads, usable_cores
from _results import Check, Results, Row, peak_memory

CELLS = ("bilstm", "lstm", "bigru", "gru")
HELD_OUT = 0.1
NAMES = ("X_train", "y_train", "X_test", "y_test")


def prepare(folder: str) -> None:
    """The reviews as arrays on disk: made in another process than those whose memory is measured."""
    from _imdb import imdb

    for name, array in zip(NAMES, imdb()):
        np.save(Path(folder) / f"{name}.npy", array)


def run(folder: str, name: str, cell: str, seed: int, rows: str, epochs: int, threads: int) -> dict:
    """One training: accuracies and seconds by epoch, and memory in MB; ``rows`` is "all" or "chosen"."""
    limit_threads(threads)
    X, y, X_test, y_test = (np.load(Path(folder) / f"{part}.npy") for part in NAMES)
    kept = len(X) if rows == "all" else round(len(X) * (1 - HELD_OUT))
    contender = CONTENDERS[name](cell, seed, epochs, threads)
    found: dict = {"contender": name, "version": contender.version, "cell": cell, "seed": seed, "rows": rows, "test": [],
                   "validation": [], "seconds": [], "megabytes_before": peak_memory()}
    for epoch in range(epochs):
        started = time.perf_counter()
        contender.epoch(X[:kept], y[:kept])
        found["seconds"].append(time.perf_counter() - started)
        for part, ids, labels in (("validation", X[kept:], y[kept:]), ("test", X_test, y_test)):
            if len(ids):
                found[part].append(float(np.mean((contender.logits(ids) > 0) == labels)))
        print(f"  {name} {cell} seed {seed} {rows}: epoch {epoch + 1}, test {found['test'][-1]:.4f}, "
              f"{found['seconds'][-1]:.1f} s", file=sys.stderr, flush=True)
    return {**found, "megabytes": peak_memory()}


def chosen(found: dict) -> int:
    """The epoch, from 0, that the validation part chooses."""
    return int(np.argmax(found["validation"]))


def in_a_process(function, *arguments):
    """Calls `function` in a fresh process, which ends with the call."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def describe(runs: list[dict]) -> str:
    """The row of one contender, cell and choice of rows: means over the seeds."""
    first, tests = runs[0], np.mean([found["test"] for found in runs], axis=0)
    seconds = [value for found in runs for value in found["seconds"][1:] or found["seconds"]]
    head = f"{first['contender']:9} {first['cell']:7} {first['rows']:7}"
    tail = (f"{statistics.median(seconds):7.1f} ({min(seconds):.1f} - {max(seconds):.1f})"
            f"{max(found['megabytes'] for found in runs):8.0f} ({max(found['megabytes_before'] for found in runs):.0f})")
    if first["rows"] == "all":
        return f"{head}{tail}  {' '.join(f'{value:.4f}' for value in tests)}"
    picks = [(chosen(found) + 1, found["test"][chosen(found)]) for found in runs]
    singles = ", ".join(f"{value:.4f} at epoch {epoch}" for epoch, value in picks)
    return f"{head}{tail}  {np.mean([value for _, value in picks]):.4f} ({singles})"


def rows_of(runs: list[dict]) -> list[Row]:
    """Seconds of an epoch and peak memory, a row a cell; contenders' turns are the epochs of all runs but each first one."""
    made = []
    for cell in dict.fromkeys(found["cell"] for found in runs):
        these = [found for found in runs if found["cell"] == cell]
        row = Row(f"IMDB, {cell}", "epoch", more={"runs": these, "megabytes": {}})
        for name in dict.fromkeys(found["contender"] for found in these):
            mine = [found for found in these if found["contender"] == name]
            row.seconds[name] = [value for found in mine for value in found["seconds"][1:] or found["seconds"]]
            row.more["megabytes"][name] = max(found["megabytes"] for found in mine)
        row.more["note"] = "peak MB: " + ", ".join(f"{name} {value:.0f}" for name, value in row.more["megabytes"].items())
        theirs = [value for name, value in row.more["megabytes"].items() if name != "tsrnn"]
        if "tsrnn" in row.seconds:
            row.checks.append(Check("peak memory of the smallest peer / ours",
                                    min(theirs) / row.more["megabytes"]["tsrnn"] if theirs else None, 1.0))
        made.append(row)
    return made


def table(runs: list[dict]) -> str:
    """All rows; runs of one kind are neighbours, whatever the order in which they were made."""
    lines = ["contender cell rows | seconds an epoch (smallest - largest) | peak MB (before training) | test accuracy, mean of "
             "the seeds: after each epoch, or at the epoch chosen on the validation part"]
    kinds = dict.fromkeys((found["contender"], found["cell"], found["rows"]) for found in runs)
    for kind in sorted(kinds, key=lambda kind: (CELLS.index(kind[1]), kind[2], list(CONTENDERS).index(kind[0]))):
        lines.append(describe([found for found in runs if (found["contender"], found["cell"], found["rows"]) == kind]))
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The IMDB tutorial: accuracy after every epoch, time and memory.")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=["bilstm", "lstm", "bigru"])
    parser.add_argument("--rows", nargs="+", choices=["all", "chosen"], default=["all", "chosen"])
    parser.add_argument("--against", nargs="*", choices=[name for name in CONTENDERS if name != "tsrnn"], default=[])
    parser.add_argument("--without-tsrnn", action="store_true", help="the others alone")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--json", metavar="FILE", help="every run, written after each one")
    arguments = parser.parse_args()
    if arguments.epochs < 1:
        parser.error(f"--epochs {arguments.epochs} must be at least 1")
    return arguments


def main() -> int:
    arguments = parse()
    if hasattr(os, "getloadavg"):
        print(f"load of the machine before: {os.getloadavg()[0]:.1f} (where it is not near 0, times are no use)")
    names = [] if arguments.without_tsrnn else ["tsrnn"]
    for name in arguments.against:
        if all(importlib.util.find_spec(part) for part in name.split("-")):
            names.append(name)
        else:
            print(f"{name} is not installed here and is left out")
    runs: list[dict] = []
    results = Results("imdb", arguments.json, threads=arguments.threads, epochs=arguments.epochs)
    with tempfile.TemporaryDirectory() as folder:
        in_a_process(prepare, folder)
        for cell in arguments.cells:
            for seed in arguments.seeds:
                for rows in arguments.rows:
                    for name in names:
                        runs.append(in_a_process(run, folder, name, cell, seed, rows, arguments.epochs, arguments.threads))
                        results.document["runs"] = runs
                        results.write()
    for version in dict.fromkeys(found["version"] for found in runs):
        print(f"{version}, {arguments.threads} threads")
    print(table(runs) if runs else "nothing was run")
    del results.document["runs"]
    for row in rows_of(runs):
        results.add(row)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
