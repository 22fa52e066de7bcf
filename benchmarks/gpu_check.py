"""All that is to be run once where there is an NVIDIA card, in one command and at most ten minutes.

    python benchmarks/gpu_check.py --out results/gpu

Fits beside the CPU's, a quick benchmark, the CUDA tests on the card, compute-sanitizer's memcheck and racecheck over small
fits, and then as much of the full benchmark as the time allows. Each step's output goes to a file of the folder, what came of
them to `summary.json`; a step that fails or takes too long does not keep the others from being run. Ends with status 1 where
one failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5"]
BENCH = [sys.executable, str(ROOT / "benchmarks" / "bench_gpu.py")]
LAST = 30  # seconds that the last step leaves for its own end


class Step(NamedTuple):
    """A command, and seconds after which it is ended."""

    name: str
    command: list[str]
    limit: float
    environment: dict[str, str]


def steps(folder: Path) -> list[Step]:
    """In the order in which they are worth most; a limit of 0 is all the time that is left."""
    tests = sorted(str(path) for path in (ROOT / "tests").glob("test_cuda_*.py")
                   if path.stem not in ("test_cuda_compile", "test_cuda_fit"))
    fits = str(ROOT / "tests" / "test_cuda_fit.py")
    made = [Step("machine", ["nvidia-smi"], 20, {}), Step("fits", [*PYTEST, fits], 150, {}),
            Step("quick", [*BENCH, "--quick", "--limit", "80", "--json", str(folder / "gpu_quick.json")], 120, {}),
            Step("tests", [*PYTEST, "--maxfail=20", *tests], 180, {})]
    for tool, chosen in (("memcheck", "epoch"), ("racecheck", "epoch and (lstm or gru or imdb)")):
        made.append(Step(tool, [sanitizer(), "--tool", tool, "--error-exitcode", "9", *PYTEST, fits, "-k", chosen], 120,
                         {"TSRNN_SMALL_FITS": "1"}))
    return [*made, Step("full", [*BENCH, "--no-imdb", "--pairs", "3", "--json", str(folder / "gpu.json")], 0, {})]


def sanitizer() -> str:
    """compute-sanitizer of a toolkit, on the path or where toolkits lie; a name that does not exist without one."""
    found = shutil.which("compute-sanitizer")
    places = [Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin", *(Path(place) / "nvidia" for place in sys.path)]
    for place in places:
        found = found or next((str(path) for path in place.glob("**/compute-sanitizer") if os.access(path, os.X_OK)), None)
    return found or "compute-sanitizer"


def run(step: Step, folder: Path, left: float) -> dict:
    """What came of a step, its output in the folder."""
    limit, command = min(step.limit or left, left), list(step.command)
    if not step.limit:
        command += ["--limit", f"{max(1.0, left - LAST):.0f}"]
    path = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH")]))
    started, ended = time.perf_counter(), "done"
    with (folder / f"{step.name}.txt").open("w", encoding="utf-8") as out:
        print(" ".join(command), file=out, flush=True)
        try:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True,
                                       env={**os.environ, "PYTHONPATH": path, **step.environment})
        except OSError as error:
            print(error, file=out)
            return {"step": step.name, "status": "not run", "why": str(error), "seconds": 0.0}
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # a sanitizer and what it looks at
            status, ended = process.wait(), f"ended after {limit:.0f} s"
    verdict = ended if ended != "done" else "passed" if status == 0 else f"failed with status {status}"
    return {"step": step.name, "status": verdict, "seconds": time.perf_counter() - started}


def has_card() -> bool:
    sys.path.insert(0, str(ROOT))
    from tsrnn.backends.cuda.jit import SIMULATED, why_not

    return not SIMULATED and not why_not()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Everything that needs an NVIDIA card.")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "gpu", metavar="FOLDER")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="some of the steps")
    parser.add_argument("--seconds", type=float, default=580, help="for all steps together")
    arguments = parser.parse_args(argv)
    chosen = [step for step in steps(arguments.out) if arguments.only is None or step.name in arguments.only]
    if not chosen or arguments.only and len(chosen) < len(set(arguments.only)):
        parser.error(f"--only {' '.join(arguments.only)}: the steps are {', '.join(s.name for s in steps(arguments.out))}")
    if not has_card():
        raise SystemExit("gpu_check: there is no GPU that works here; nvidia-smi shows whether the driver does.")
    arguments.out.mkdir(parents=True, exist_ok=True)
    started, found = time.perf_counter(), []
    for step in chosen:
        left = arguments.seconds - (time.perf_counter() - started)
        found.append(run(step, arguments.out, left) if left > 5 else
                     {"step": step.name, "status": "not run", "why": "no time was left", "seconds": 0.0})
        print(f"{step.name:10} {found[-1]['status']}, {found[-1]['seconds']:.0f} s {found[-1].get('why', '')}", flush=True)
        (arguments.out / "summary.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    return int(any(one["status"] != "passed" for one in found))


if __name__ == "__main__":
    raise SystemExit(main())
