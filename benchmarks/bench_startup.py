"""What a user waits for: whole scripts in fresh processes, from the start of the interpreter to its end.

    python benchmarks/bench_startup.py --against torch,keras,jax,sklearn --python keras=PATH --json startup.json

A script imports, fits an LSTM of 64 units on 1,000 windows of 60 values for one epoch, and predicts them (`scripts/`). "cold":
with an empty kernel cache, which only this package has; "warm": with the cache that the first process has left. The imports
alone are timed apart, and so is an interpreter that imports nothing. Peers take turns; medians, and the peak memory of the
process. Files are in the system's cache: every command is run once before it counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _peers import MODULES, PACKAGES, add_options, limit_threads, parse
from _results import Check, Results, Row, in_megabytes

PEERS = ("torch", "keras", "jax", "sklearn")
SCRIPTS = Path(__file__).resolve().parent / "scripts"
IMPORTS = {"tsrnn": "from tsrnn import LSTMRegressor", "torch": "import torch", "keras": "import keras", "jax": "import jax",
           "sklearn": "from sklearn.neural_network import MLPRegressor"}
WHOLE_BAR, COLD_BAR = 2.5, 12.0  # seconds


def run(command: list[str], **environment: str) -> tuple[float, float]:
    """Seconds from start to end of a process, and its peak memory in MB; RuntimeError where it fails."""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    with tempfile.TemporaryFile() as told:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=told)
        _, status, usage = os.wait4(process.pid, 0)
        seconds, process.returncode = time.perf_counter() - started, os.waitstatus_to_exitcode(status)
        if process.returncode:
            told.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}:\n{told.read().decode()}")
    return seconds, in_megabytes(usage.ru_maxrss)


def check_installed(names: list[str], python: dict[str, str]) -> None:
    for name in names:
        interpreter = python.get(name, sys.executable)
        if subprocess.run([interpreter, "-c", f"import importlib.util as u; assert u.find_spec({MODULES[name][2]!r})"],
                          stderr=subprocess.DEVNULL, check=False).returncode:
            raise RuntimeError(f"{name} is not installed for {interpreter}; install it there (pip install {PACKAGES[name]}), "
                               f"or name an interpreter that has it: --python {name}=PATH")


def cold(python: dict[str, str], times: int) -> Row:
    """The whole script with an empty cache each time."""
    row, memory = Row("whole script, cold cache", "startup", {"tsrnn": []}), []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as cache:
            seconds, megabytes = run([python.get("tsrnn", sys.executable), str(SCRIPTS / "script_tsrnn.py")],
                                     TSRNN_CACHE_DIR=cache)
        row.seconds["tsrnn"].append(seconds)
        memory.append(megabytes)
    row.more["megabytes"] = {"tsrnn": max(memory)}
    row.checks.append(Check("seconds of a first fit", statistics.median(row.seconds["tsrnn"]), COLD_BAR, at_least=False))
    return row


def in_turns(work: str, commands: dict[str, list[str]], times: int) -> Row:
    """Every command once to warm up, then in alternating order."""
    row = Row(work, "startup", {name: [] for name in commands})
    memory = {name: run(command)[1] for name, command in commands.items()}
    for turn in range(times):
        for name in list(commands)[::1 if turn % 2 == 0 else -1]:
            seconds, megabytes = run(commands[name])
            row.seconds[name].append(seconds)
            memory[name] = max(memory[name], megabytes)
    row.more |= {"megabytes": memory,
                 "note": "peak MB: " + ", ".join(f"{name} {value:.0f}" for name, value in memory.items())}
    return row


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Whole scripts in fresh processes.")
    parser.add_argument("--times", type=int, default=5, help="processes of each kind")
    parser.add_argument("--cold-times", type=int, default=1, help="processes with an empty kernel cache; 0: none")
    add_options(parser, PEERS)
    arguments = parse(parser, argv)
    names, python = ["tsrnn", *arguments.against], arguments.python
    check_installed(names, python)
    limit_threads(arguments.threads)  # processes started from here inherit it
    results = Results("startup", arguments.json, threads=arguments.threads, times=arguments.times)
    if arguments.cold_times:
        results.add(cold(python, arguments.cold_times))
    interpreters = {name: python.get(name, sys.executable) for name in names}
    results.add(in_turns("interpreter alone", {"tsrnn": [interpreters["tsrnn"], "-c", "pass"]}, arguments.times))
    results.add(in_turns("import", {name: [interpreters[name], "-c", IMPORTS[name]] for name in names}, arguments.times))
    row = in_turns("whole script, warm cache",
                   {name: [interpreters[name], str(SCRIPTS / f"script_{name}.py")] for name in names}, arguments.times)
    row.checks.append(Check("seconds of a whole script", statistics.median(row.seconds["tsrnn"]), WHOLE_BAR, at_least=False))
    row.checks.append(Check("PyTorch's script / ours", row.ratios().get("torch"), 1.0))
    results.add(row)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
