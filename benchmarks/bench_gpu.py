"""Time of recurrent layers on an NVIDIA card, beside PyTorch's (cuDNN), and of an epoch of the IMDB tutorial.

    python benchmarks/bench_gpu.py --json results/gpu.json --quick      # some works, a minute
    python benchmarks/bench_gpu.py --json results/gpu.json              # all of them; --limit SECONDS ends it in time

A layer of H units reads (B, T, 64), a Dense its last state; squared error. Phases: forward with the loss, keeping what the
gradient needs; forward and gradient; the training step, with Adam (PyTorch's is fused). "backward" is the second less the
first. PyTorch eager and captured as a CUDA graph, without TF32 and with it; ragged batches as a PackedSequence, packed in the
step where it is eager. Outputs and gradients of all are compared with float64 on the CPU before anything is timed; who is too
far off is not timed, and the script ends with status 1.

All run in one process on equal weights; turns alternate (A B, B A, ...), a turn is as many calls as take `--seconds`, between
two synchronisations; a figure is the median of the turns, a ratio that of the pairs. The roofline: the time that the products
take at the peak of multiply-adds, or the least traffic at the bandwidth of copies, whichever is longer, both measured in the
same run; that the steps of a sequence wait for each other is not in it. `--dry-run` runs tiny works on the CPU (this package
in Numba's simulator with NUMBA_ENABLE_CUDASIM=1, else not at all): it proves the script, and its times mean nothing.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import statistics
import time
from pathlib import Path

import numpy as np
from _gpu_table import markdown
from _gpu_works import PHASES, GpuWork, synthetic_reviews, works
from _peers import usable_cores
from _results import Check, Results, Row

FULL = {"units": (32, 64, 96, 128, 256, 512), "batches": (32, 64, 128, 512), "steps": (60, 200)}
QUICK = {"units": (64, 256), "batches": (64,), "steps": (60,)}
TINY = {"units": (4,), "batches": (3,), "steps": (5,)}
TOLERANCE = {False: 1e-4, True: 2e-2}  # with TF32; of the largest gradient of an array, or of outputs near 1
IMDB_SECONDS = 3.0
REVIEWS = 25_000


def bar(work: GpuWork) -> float:
    """Times as fast as the faster one of PyTorch's training steps without TF32 that ours must be."""
    if work.units > 128:
        return 0.7
    return 2.0 if work.ragged else 1.5 if work.units <= 64 else 1.0


def errors(found: dict[str, np.ndarray], exact: dict[str, np.ndarray]) -> dict[str, float]:
    """The largest errors of the outputs, and of an array of gradients as a part of its largest."""
    away = [abs(found[name] - exact[name]).max() / max(abs(exact[name]).max(), 1e-12) for name in exact if name != "outputs"]
    return {"outputs": float(abs(found["outputs"] - exact["outputs"]).max()), "gradients": float(max(away))}


def check(work: GpuWork, made: dict, threads: int, row: Row) -> dict:
    """The contenders whose results are right; what is wrong with the others, and all errors, go to the row."""
    from _gpu_tsrnn import reference

    exact = reference(work, threads)
    row.more["errors"] = {name: errors(one.results(), exact) for name, one in made.items()}
    told = ", ".join(f"{name} {error['outputs']:.0e} / {error['gradients']:.0e}" for name, error in row.more["errors"].items())
    print(f"{work.name}: errors of outputs / gradients against float64: {told}", flush=True)
    wrong = {name for name, error in row.more["errors"].items()
             if not max(error.values()) < TOLERANCE[name.endswith("tf32")]}
    row.more["failed"] |= {name: f"errors {row.more['errors'][name]} are too large, not timed" for name in wrong}
    return {name: one for name, one in made.items() if name not in wrong}


def contenders(work: GpuWork, names: list[str], device: str, row: Row) -> dict:
    """Each made, or its failure written down: one that a card has no room for must not end the others."""
    made = {}
    for name in names:
        try:
            if name == "tsrnn":
                from _gpu_tsrnn import Tsrnn

                made[name] = Tsrnn(work)
            else:
                from _gpu_torch import make

                made[name] = make(name, work, device)
        except Exception as error:  # out of memory, what cannot be captured ...
            row.more["failed"][name] = f"{type(error).__name__}: {error}"
            print(f"{work.name}: {name} failed: {row.more['failed'][name]}", flush=True)
    return made


def turn(one, phase: str, calls: int) -> float:
    """Seconds a call."""
    one.begin()
    one.sync()
    started = time.perf_counter()
    for _ in range(calls):
        one.phases[phase]()
    one.sync()
    return (time.perf_counter() - started) / calls


def measure(work: GpuWork, names: list[str], arguments, device: str, roof: dict | None) -> list[Row]:
    """Errors first, then a row a phase."""
    rows = [Row(work.name, phase, more={"failed": {}}) for phase in PHASES]
    made = check(work, contenders(work, names, device, rows[0]), arguments.threads, rows[0])
    if "tsrnn" in made:
        rows[0].more["launches"] = made["tsrnn"].launches
    for row in rows:
        row.more = {**rows[0].more, "roofline": {}}
        calls = {}
        for name, one in made.items():
            row.seconds[name] = []
            for _ in range(1 if arguments.dry_run else 3):  # compile, load, capture
                seconds = turn(one, row.what, 1)
            calls[name] = 1 if arguments.dry_run else max(1, min(256, int(arguments.seconds / max(seconds, 1e-6))))
        for pair in range(arguments.pairs):
            for name in list(made)[::1 if pair % 2 == 0 else -1]:
                row.seconds[name].append(turn(made[name], row.what, calls[name]))
        if roof:
            operations, moved = work.least(row.what)
            least = max(operations / roof["fma_peak"], moved / roof["bandwidth"]) * 1e-9
            row.more["roofline"] = {name: least / statistics.median(turns) for name, turns in row.seconds.items()}
    rate(work, rows[-1])
    made.clear()
    gc.collect()  # the next work needs the memory
    return rows


def rate(work: GpuWork, row: Row) -> None:
    """What is asked of a training step."""
    fair = row.fastest(tuple(name for name in row.seconds if name.endswith("tf32")))
    row.checks.append(Check("times as fast as cuDNN without TF32", fair, bar(work)))


def imdb(arguments, names: list[str], device: str) -> Row:
    """Seconds of an epoch of the tutorial's network, behind one that warms up."""
    row = Row("IMDB, bilstm", "epoch", more={"failed": {}, "roofline": {}})
    X, y = reviews(arguments)
    row.more["note"] = f"{len(X)} reviews, {np.mean(X == 0):.1%} padding"
    made = {}
    for name in names:
        try:
            module = __import__("_gpu_tsrnn" if name == "tsrnn" else "_gpu_torch")
            made[name] = module.Imdb("bilstm", 0, device)
            made[name].epoch(X, y)
            row.seconds[name] = []
        except Exception as error:  # as above
            made.pop(name, None)
            row.more["failed"][name] = f"{type(error).__name__}: {error}"
            print(f"IMDB: {name} failed: {row.more['failed'][name]}", flush=True)
    for pair in range(min(3, arguments.pairs)):
        for name in list(made)[::1 if pair % 2 == 0 else -1]:
            row.seconds[name].append(made[name].epoch(X, y))
    ours = statistics.median(row.seconds["tsrnn"]) if "tsrnn" in row.seconds else None
    row.checks.append(Check("seconds of an epoch", ours, IMDB_SECONDS, at_least=False))
    return row


def reviews(arguments) -> tuple[np.ndarray, np.ndarray]:
    """The real ones where a folder is given, else as many like them."""
    if arguments.imdb is None:
        return synthetic_reviews(150 if arguments.dry_run else REVIEWS, 6 if arguments.dry_run else 200)
    os.environ["TSRNN_DATA"] = str(arguments.imdb)
    from _imdb import reviews

    return reviews("train")


# ------------------------------------------------------------------------------------------------ the command line


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time of recurrent layers on an NVIDIA card.")
    parser.add_argument("--quick", action="store_true", help="some works only")
    parser.add_argument("--dry-run", action="store_true", help="tiny works without a card: proves that the script runs")
    for name, one in (("units", int), ("batches", int), ("steps", int)):
        parser.add_argument(f"--{name}", type=one, nargs="+", metavar="N")
    parser.add_argument("--cells", nargs="+", choices=("lstm", "gru"), default=["lstm", "gru"])
    parser.add_argument("--kinds", nargs="+", choices=("padded", "ragged"), default=["padded", "ragged"])
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=5, help="turns of each contender")
    parser.add_argument("--seconds", type=float, default=0.01, help="of a turn")
    parser.add_argument("--limit", type=float, default=np.inf, help="seconds after which no further work is begun")
    parser.add_argument("--imdb", type=Path, metavar="FOLDER", help="which has imdb with the real reviews; else drawn ids")
    parser.add_argument("--no-imdb", action="store_true", help="layers alone")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of the reference on the CPU")
    parser.add_argument("--json", metavar="FILE", help="results; the table goes beside it, as Markdown")
    arguments = parser.parse_args(argv)
    sizes = TINY if arguments.dry_run else QUICK if arguments.quick else FULL
    for name in sizes:
        setattr(arguments, name, getattr(arguments, name) or sizes[name])
    if arguments.pairs < 1 or not arguments.seconds > 0:
        parser.error(f"--pairs {arguments.pairs} and --seconds {arguments.seconds} must be positive")
    if arguments.imdb is not None and not (arguments.imdb / "imdb").is_dir():
        parser.error(f"--imdb {arguments.imdb} has no folder imdb; give the folder that holds it, or leave it out")
    return arguments


def there(dry_run: bool) -> tuple[list[str], str]:
    """The contenders, and PyTorch's device; SystemExit with one line where nothing can run."""
    from tsrnn.backends.cuda.jit import SIMULATED, why_not

    has_torch = importlib.util.find_spec("torch") is not None
    if dry_run:
        names = (["tsrnn"] if SIMULATED else []) + (["torch"] if has_torch else [])
        if not names:
            raise SystemExit("bench_gpu: --dry-run needs PyTorch (pip install torch) or NUMBA_ENABLE_CUDASIM=1.")
        return names, "cpu"
    if SIMULATED or why_not():
        why = "NUMBA_ENABLE_CUDASIM=1 simulates one; unset it" if SIMULATED else " ".join(why_not().split())
        raise SystemExit(f"bench_gpu: there is no GPU to measure: {why}.")
    if not has_torch:
        print("PyTorch is not installed (pip install torch): this package alone")
        return ["tsrnn"], "cuda"
    import torch
    from _gpu_torch import CONTENDERS

    if not torch.cuda.is_available():
        raise SystemExit(f"bench_gpu: PyTorch {torch.__version__} does not see the GPU; install one built for it.")
    return ["tsrnn", *CONTENDERS], "cuda"


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    names, device = there(arguments.dry_run)
    started, roof = time.perf_counter(), None
    chosen = works(arguments.cells, arguments.units, arguments.batches, arguments.steps, arguments.features, arguments.kinds)
    results = Results("gpu", arguments.json, pairs=arguments.pairs, seconds=arguments.seconds, dry_run=arguments.dry_run)
    results.contenders(versions(names))
    if "tsrnn" in names:
        import _gpu_peak

        roof = _gpu_peak.about()
        roof |= {"fma_peak": _gpu_peak.fma_peak(roof["multiprocessors"]), "bandwidth": _gpu_peak.bandwidth()}
        print(f"{roof['name']}: {roof['fma_peak']:.0f} GFLOP/s of float32 multiply-adds, {roof['bandwidth']:.0f} GB/s copied")
    results.document["card"] = roof
    left = []
    if not arguments.no_imdb:
        able = ["torch"] if arguments.dry_run else ["tsrnn", "torch"]  # the simulator would take an hour
        results.add(imdb(arguments, [name for name in names if name in able], device))
    for work in chosen:
        if time.perf_counter() - started > arguments.limit:
            left.append(work.name)
            continue
        for row in measure(work, names, arguments, device, roof):
            results.add(row)
    results.document["not_measured"] = left
    results.write()
    table = markdown(results.document)
    print(f"\n{table}")
    if arguments.json:
        Path(arguments.json).with_suffix(".md").write_text(table, encoding="utf-8")
    return int(any(row["more"]["failed"] for row in results.document["rows"]))


def versions(names: list[str]) -> dict[str, dict]:
    """Contender → its version."""
    found = {}
    if "tsrnn" in names:
        import tsrnn

        found["tsrnn"] = {"version": f"tsrnn {tsrnn.__version__}"}
    if "torch" in names:
        import torch

        cudnn = torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else "none"
        found["torch"] = {"version": f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {cudnn}"}
    return found


if __name__ == "__main__":
    raise SystemExit(main())
