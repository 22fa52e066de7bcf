"""The benchmark of recurrent layers on a card, on tiny works in the simulator; no time is looked at."""

import argparse
import importlib
import importlib.util
import json
import os
import sys

import numpy as np
import pytest
from conftest import ROOT

from tsrnn.backends.cuda import jit

HAS_TORCH = importlib.util.find_spec("torch") is not None
TINY = "--units 3 --batches 2 --steps 3 --features 2 --pairs 1 --seconds 1e-4 --threads 1".split()


@pytest.fixture
def bench(monkeypatch):
    """Imports one of their modules."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def test_a_dry_run(bench, tmp_path, capsys):
    if not jit.SIMULATED:
        pytest.skip("there is a GPU: gpu_check.py runs the benchmark itself")
    path = tmp_path / "gpu.json"
    options = ["--dry-run", "--no-imdb", "--cells", "gru", "--kinds", "ragged", "--json", str(path)]
    assert bench("bench_gpu").main([*options, *TINY]) == 0
    document = json.loads(path.read_text(encoding="utf-8"))
    assert [row["what"] for row in document["rows"]] == ["forward", "gradient", "training step"]
    step = document["rows"][-1]
    assert step["work"] == "gru H 3 B 2 T 3 ragged" and set(step["seconds"]) == {"tsrnn", *["torch"] * HAS_TORCH}
    for error in step["more"]["errors"].values():
        assert 0 < error["outputs"] < 1e-6 and 0 < error["gradients"] < 1e-5
    launches = step["more"]["launches"]
    assert launches["forward"] < launches["gradient"] <= launches["training step"]
    assert step["checks"][0]["bar"] == 2.0 and (step["checks"][0]["value"] is not None) == HAS_TORCH
    assert step["more"]["roofline"]["tsrnn"] > 0 and document["card"]["bandwidth"] > 0
    table = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "| gru H 3 B 2 T 3 ragged | tsrnn |" in table and "at least 2 asked" in table and table in capsys.readouterr().out


@pytest.mark.skipif(not HAS_TORCH, reason="what PyTorch does is seen where it is installed")
def test_pytorch_alone(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(jit, "SIMULATED", False)
    path = tmp_path / "gpu.json"
    assert bench("bench_gpu").main(["--dry-run", "--json", str(path), *TINY]) == 0
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert rows[0]["what"] == "epoch" and len(rows) == 1 + 3 * 4 and all(set(row["seconds"]) == {"torch"} for row in rows)


@pytest.mark.parametrize(("simulated", "why"), [(True, "NUMBA_ENABLE_CUDASIM=1 simulates one"), (False, "no driver here")])
def test_without_a_card_it_ends_with_one_line(simulated, why, bench, monkeypatch):
    monkeypatch.setattr(jit, "SIMULATED", simulated)
    monkeypatch.setattr(jit, "why_not", lambda: "" if simulated else "no driver\nhere")
    with pytest.raises(SystemExit) as ended:
        bench("bench_gpu").main([])
    assert why in str(ended.value) and "\n" not in str(ended.value)


class Fake:
    """A contender with these errors."""

    def __init__(self, exact, by, ran):
        def phase():
            ran.append(self)
        self.phases, self.launches = dict.fromkeys(("forward", "gradient", "training step"), phase), {}
        self.found = {name: array + by * abs(array).max() for name, array in exact.items()}

    def results(self):
        return self.found

    def begin(self):
        pass

    sync = begin


def test_who_is_wrong_or_fails_is_not_timed(bench, monkeypatch):
    script, ran = bench("bench_gpu"), []
    work = bench("_gpu_works").GpuWork("lstm", 3, 2, 3, 2)
    exact = bench("_gpu_tsrnn").reference(work, 1)

    def contenders(work, names, device, row):
        row.more["failed"]["torch graph"] = "OutOfMemoryError: 9 GB"
        return {"tsrnn": Fake(exact, 1e-3, ran), "torch": Fake(exact, 1e-6, ran), "torch tf32": Fake(exact, 1e-3, ran)}

    monkeypatch.setattr(script, "contenders", contenders)
    arguments = argparse.Namespace(threads=1, seconds=1e-6, pairs=2, dry_run=False)
    rows = script.measure(work, [], arguments, "cpu", {"fma_peak": 1.0, "bandwidth": 1.0})
    assert all(set(row.seconds) == {"torch", "torch tf32"} for row in rows), "TF32 is allowed more"
    assert set(rows[0].more["failed"]) == {"tsrnn", "torch graph"} and ran and rows[-1].checks[0].value is None
    document = {"rows": [{**vars(row), "ratios": {}, "checks": []} for row in rows], "contenders": {}, "card": None,
                "machine": {"date": "2030-01-01", "versions": {"numpy": "1", "numba": "1"}}, "not_measured": ["more"]}
    table = bench("_gpu_table").markdown(document)
    assert "OutOfMemoryError" in table and "too large, not timed" in table and "in the time given: more" in table


def test_a_contender_that_cannot_be_made_is_written_down(bench):
    works, row = bench("_gpu_works"), bench("_results").Row("mine", "forward", more={"failed": {}})
    assert bench("bench_gpu").contenders(works.GpuWork("no such cell", 3, 2, 3), ["tsrnn", "torch"], "cpu", row) == {}
    assert set(row.more["failed"]) == {"tsrnn", "torch"} and "KeyError" in row.more["failed"]["tsrnn"]


def test_works_and_what_they_take_at_least(bench):
    works = bench("_gpu_works")
    work = works.GpuWork("gru", 5, 7, 11, 3)
    real, rows = 7 * 11, 3 * 5
    assert work.least("forward")[0] == 2 * real * rows * (3 + 5)
    assert work.least("gradient")[0] == 2 * real * rows * (2 * (3 + 5) + 5) == work.least("training step")[0]
    ragged = works.GpuWork("gru", 5, 64, 40, 3, ragged=True)
    lengths = ragged.data()[2]
    assert lengths.max() == 40 and 10 <= lengths.min() < 20
    assert ragged.least("forward")[0] == 2 * lengths.sum() * rows * (3 + 5)
    assert [one.name for one in works.works(["lstm"], [3, 4], [2], [5], 8, ["padded", "ragged"])] == [
        "lstm H 3 B 2 T 5", "lstm H 4 B 2 T 5", "lstm H 3 B 2 T 5 ragged", "lstm H 4 B 2 T 5 ragged"]
    X, y = works.synthetic_reviews(4000)
    assert X.dtype == np.int32 and 0.18 < np.mean(X == 0) < 0.21 and 0.4 < y.mean() < 0.6
    assert ((X[:, 1:] != 0) | (X[:, :-1] == 0)).all(), "padding is in front"


def test_what_is_run_once_where_a_card_is(bench, monkeypatch, tmp_path, capsys):
    check = bench("gpu_check")

    def step(name, script, limit=20.0, **environment):
        return check.Step(name, [sys.executable, "-c", script], limit, environment)

    made = [step("fine", "import os; print('set to', os.environ['ONE'])", ONE="two"), step("wrong", "raise SystemExit(3)"),
            check.Step("absent", ["no-such-command"], 5, {}), step("long", "import time; time.sleep(60)", 0.5),
            step("rest", "import sys; print(sys.argv[1:])", 0)]
    monkeypatch.setattr(check, "steps", lambda folder: made)
    monkeypatch.setattr(check, "has_card", lambda: True)
    assert check.main(["--out", str(tmp_path), "--seconds", "60"]) == 1
    found = {one["step"]: one["status"] for one in json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))}
    assert found == {"fine": "passed", "wrong": "failed with status 3", "absent": "not run", "long": "ended after 0 s",
                     "rest": "passed"}
    assert "set to two" in (tmp_path / "fine.txt").read_text() and "--limit" in (tmp_path / "rest.txt").read_text()
    assert check.main(["--out", str(tmp_path), "--only", "fine"]) == 0
    assert check.main(["--out", str(tmp_path), "--only", "fine", "--seconds", "1"]) == 1, "there is no time for it"
    with pytest.raises(SystemExit):
        check.main(["--only", "fine", "nothing"])
    assert "the steps are fine, wrong" in capsys.readouterr().err


def test_the_steps_of_the_check(bench, monkeypatch, tmp_path):
    check = bench("gpu_check")
    steps = {step.name: step for step in check.steps(tmp_path)}
    assert list(steps) == ["machine", "fits", "quick", "tests", "memcheck", "racecheck", "full"]
    files = [word for step in steps.values() for word in step.command if word.endswith(".py")]
    assert all(os.path.isfile(name) for name in files) and any("test_cuda_recurrent" in name for name in files)
    for name in ("quick", "full"):
        bench("bench_gpu").parse(steps[name].command[2:])
    monkeypatch.setattr(check, "has_card", lambda: False)
    with pytest.raises(SystemExit, match="no GPU that works"):
        check.main(["--out", str(tmp_path)])
