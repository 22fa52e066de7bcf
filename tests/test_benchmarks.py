"""The speed benchmarks in their smallest form, so that they cannot rot; no time is looked at."""

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

BENCHMARKS = ROOT / "benchmarks"
PATH = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


@pytest.fixture
def bench(monkeypatch):
    """Imports one of their modules."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def run(script, *arguments):
    """Runs a script as users do (it pins its process to its cores); returns the results that it has written."""
    command = [sys.executable, str(BENCHMARKS / f"{script}.py"), *map(str, arguments)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": PATH}, capture_output=True, text=True, timeout=300,
                          check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return json.loads(arguments[-1].read_text(encoding="utf-8"))


def test_training(tmp_path):
    found = run("bench_training", "tiny", "--pairs", 2, "--threads", 1, "--json", tmp_path / "a.json")
    (row,) = found["rows"]
    assert found["contenders"]["tsrnn"]["threads"] == found["contenders"]["tsrnn"]["cores"] == 1
    assert (row["work"], len(row["seconds"]["tsrnn"])) == ("tiny", 2) and row["checks"] == [] and row["ratios"] == {}
    assert len(row["more"]["losses"]["tsrnn"]) == 10 and row["more"]["losses"]["tsrnn"][-1] < row["more"]["losses"]["tsrnn"][0]
    assert 0 < row["more"]["share"] < 1 and row["more"]["fma_peak"] > row["more"]["product_peak"] / 2
    assert {"processor", "cores", "date", "versions"} <= set(found["machine"])


def test_predict(tmp_path):
    found = run("bench_predict", "one-window", "--against", "sklearn", "--pairs", 2, "--seconds", 0.01,
                "--json", tmp_path / "a.json")
    (row,) = found["rows"]
    assert set(row["seconds"]) == {"tsrnn", "sklearn"} and row["ratios"]["sklearn"] > 0
    assert row["checks"][0]["value"] is None, "PyTorch was not asked"


def test_startup(tmp_path):
    found = run("bench_startup", "--times", 1, "--cold-times", 0, "--json", tmp_path / "a.json")
    assert [row["work"] for row in found["rows"]] == ["interpreter alone", "import", "whole script, warm cache"]
    assert found["rows"][2]["more"]["megabytes"]["tsrnn"] > found["rows"][0]["more"]["megabytes"]["tsrnn"] > 1


def test_small_nets(tmp_path):
    found = run("bench_scaling", "nets", "--nets", 2, "--pairs", 1, "--json", tmp_path / "a.json")
    (row,) = found["rows"]
    assert row["more"]["last"]["tsrnn"]["nets"] == 2 and 0 < row["more"]["last"]["tsrnn"]["loss"] < 1
    assert [check["value"] is None for check in row["checks"]] == [True, False]


def test_growth_widths_threads_and_memory(bench, monkeypatch, tmp_path):
    scaling, results = bench("bench_scaling"), bench("_results").Results("scaling", None)
    arguments = argparse.Namespace(threads=2, pairs=2, python={})

    def turns(works, threads, pairs, python):  # a step takes 1 s for each step, row and thread saved
        return [[work.steps * work.batch / 100 / count] * pairs for work, count in zip(works, threads)]

    class Fit:
        def __init__(self, *_):
            pass

        __enter__, __exit__ = (lambda self: self), (lambda self, *_: None)

        def fit_memory(self, work):
            return {"data": work.batches, "beyond": 5 + work.batches / 4}

    monkeypatch.setattr(scaling, "turns", turns)
    monkeypatch.setattr(scaling, "Worker", Fit)
    for part in ("growth", "widths", "threads", "memory"):
        scaling.PARTS[part](arguments, results)
    rows = {row["work"]: row for row in results.document["rows"]}
    assert [rows[f"LSTM, {what} doubled twice"]["checks"][0]["value"] for what in "TnB"] == [1, 1, 1]
    assert rows["LSTM, H from 32 to 256"]["checks"][0]["value"] < 0, "equal times for more work are no drop"
    assert rows["lstm-60"]["more"]["times_as_fast"] == 2
    assert rows["LSTM, 4,000 to 64,000 windows"]["checks"][0]["value"] == pytest.approx(0.25)


def test_memory_of_a_fit(bench):
    work = bench("_works").WORKS["tiny"]
    with bench("_worker").Worker("tsrnn", 1, PYTHONPATH=PATH) as worker:
        found = worker.fit_memory(work)
        assert found["data"] == pytest.approx(1024 * 12e-6) and found["beyond"] >= 0
        with pytest.raises(RuntimeError, match="tsrnn failed in its process:(.|\n)*no_such_method"):
            worker.no_such_method()
        assert worker.fit_memory(work)["data"] > 0, "it lives on"


@pytest.mark.parametrize("peer", ["torch", "keras", "jax"])
def test_peers_train_and_predict_the_same(peer, bench):
    missing = importlib.util.find_spec(peer) is None or peer == "keras" and importlib.util.find_spec("tensorflow") is None
    worker = bench("_worker")
    if missing:
        with pytest.raises(RuntimeError, match=rf"{peer} is not installed for .*; install it there .* --python {peer}=PATH"):
            worker.Worker(peer, 1)
        return
    works = bench("_works")
    for shape in ({"units": (5, 4), "filters": 6, "steps": 7, "features": 3}, {"cell": "gru", "bidirectional": True, "steps": 6,
                  "vocabulary": 9, "features": 4, "loss": "categorical_crossentropy", "outputs": 3, "dtype": "float64"}):
        work = works.Work("mine", batch=16, batches=1, **{"units": (5,), **shape})
        X, y = work.data()
        y = (np.arange(16) % 3).astype(work.dtype) if work.outputs > 1 else y
        curves, outputs = {}, {}
        for name in ("tsrnn", peer):
            with worker.Worker(name, 1, PYTHONPATH=PATH) as one:
                one.build(work, X, y, work.weights())
                curves[name] = one.curve(1 if peer == "keras" and work.vocabulary else 5)  # its Adam squares tokens one by one
                outputs[name] = one.prepare(work, X, work.weights())
        np.testing.assert_allclose(curves[peer], curves["tsrnn"], rtol=1e-4)
        np.testing.assert_allclose(outputs[peer], outputs["tsrnn"], atol=1e-5)


@pytest.mark.parametrize(("module", "title", "step"), [("_peer_torch", "Torch", "_step"), ("_peer_keras", "Keras", "step"),
                                                       ("_peer_jax", "Jax", "_run")])
def test_a_pass_that_warms_up_does_not_count(module, title, step, bench, monkeypatch):
    """Ours is timed in the second epoch of a fit, so peers must have a first one, too."""
    module, clock = bench(module), [0.0]
    peer = object.__new__(getattr(module, title))
    peer.X = peer.y = range(2)

    class Loss:
        numpy = block_until_ready = lambda self: None

    def one_step(x, y):
        clock[0] += 9 if clock[0] < 18 else 1
        return Loss()

    setattr(peer, step, one_step)
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    assert peer.epoch() == 1 and clock[0] == 20


@pytest.mark.parametrize("first", [0.51, np.nan])
def test_another_model_is_not_timed(first, bench):
    class Fake:
        def __init__(self, first):
            self.curve = lambda n: [first] + [0.4] * (n - 1)

        def build(self, *_):
            return {}

        def epoch(self):
            return 1.0

    training, work = bench("bench_training"), bench("_works").WORKS["tiny"]
    row = training.measure(work, work.data(), {"tsrnn": Fake(0.5), "torch": Fake(0.50001)}, 1)
    assert row.ratios() == {"torch": 1}
    with pytest.raises(RuntimeError, match="tiny: the first loss of torch is not ours"):
        training.measure(work, work.data(), {"tsrnn": Fake(0.5), "torch": Fake(first)}, 1)


def test_arithmetic(bench):
    arithmetic, works = bench("_arithmetic"), bench("_works")
    ids = np.array([[0, 0, 1, 2], [0, 0, 2, 2], [0, 0, 0, 1], [0, 0, 3, 4]], np.int32)
    # a chunk of four: five tokens; two steps in common, two of four rows
    assert arithmetic._tokens_and_rows(ids) == (5, 2 + 2 * 4)
    work = works.Work("mine", 4, 6, (3,), 4, bidirectional=True, vocabulary=5, batches=1)
    found = arithmetic.training(work, ids)
    dense = 3 * 4 * 6
    assert found.nominal == pytest.approx(2e-9 * (2 * 3 * 16 * 12 * (6 + 3) + dense))
    assert found.done == pytest.approx(2e-9 * (2 * 3 * 5 * 12 * 6 + 3 * (10 + 16) * 12 * 3 + dense))
    # values: nobody asks for the gradient of the input
    work = works.Work("mine", 4, 6, (3, 2), 4, batches=1)
    found = arithmetic.training(work, np.zeros((4, 4, 6)))
    first, second = 16 * 12 * (2 * 6 + 3 * 3), 3 * 16 * 8 * (3 + 2)
    assert found.done == pytest.approx(2e-9 * (first + second + 3 * 4 * 2))
    # of three steps each, the first and the last output read two
    work = works.Work("mine", 4, 6, (3,), 4, filters=5, batches=1)
    found = arithmetic.training(work, np.zeros((4, 4, 6)))
    assert found.done == pytest.approx(2e-9 * (2 * 4 * 10 * 6 * 5 + 3 * 16 * 12 * (5 + 3) + 3 * 4 * 3))


def test_the_peak_is_a_loop_of_vector_instructions(bench):
    peak = bench("_peak")
    assert peak.fma_peak("float32", 1, turns=1) > 0
    assembly = next(iter(peak._loop.inspect_asm().values()))
    if "+fma" in peak._FEATURES:
        loop = assembly.partition("vfmadd")[2].rpartition("vfmadd")[0]
        assert assembly.count("vfmadd") == peak.CHAINS and "(%rsp)" not in loop


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no names to read elsewhere")
def test_threads_are_counted_by_their_names(bench):
    script = """if True:
        from pathlib import Path; from threading import Event, Thread, get_native_id; from _peers import threads_named
        def work(begun):
            Path(f"/proc/self/task/{get_native_id()}/comm").write_text("of a pool"); begun.set(); stop.wait()
        stop, begun = Event(), [Event() for _ in range(3)]
        for one in begun: Thread(target=work, args=(one,)).start(); one.wait()
        print(threads_named("of a pool"), threads_named("nobody")); stop.set()"""
    done = subprocess.run([sys.executable, "-c", script], cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "0"]


def test_options(bench, capsys):
    peers = bench("_peers")

    def parsed(*argv):
        parser = argparse.ArgumentParser()
        peers.add_options(parser, ("torch",))
        return peers.parse(parser, list(argv))

    found = parsed("--against", "torch,sklearn", "--python", f"torch={sys.executable}")
    assert found.against == ["torch"] and found.python == {"torch": sys.executable}
    assert "sklearn has nothing to set against this benchmark" in capsys.readouterr().out
    for wrong, told in ((["--against", "theano"], "theano is unknown; use some of torch, keras, jax, sklearn"),
                        (["--python", "torch=/nowhere/python"], "an interpreter that exists"),
                        (["--threads", "0"], "must be 1 to")):
        with pytest.raises(SystemExit):
            parsed(*wrong)
        assert told in capsys.readouterr().err


def test_report(bench, tmp_path):
    pytest.importorskip("matplotlib")
    results, report = bench("_results"), bench("report")
    made = results.Results("training", tmp_path / "a.json", threads=2)
    made.contenders({"torch": {"version": "PyTorch 1.0", "threads": 2, "cores": 2}})
    row = results.Row("lstm-60", "training step", {"tsrnn": [1e-3, 2e-3, 3e-3], "torch": [3e-3, 4e-3, 9e-3], "jax": [9e-3] * 3})
    row.more = {"share": 0.5, "gflops": {"nominal": 9.0, "done": 8.0}, "losses": {"tsrnn": [1.0, 0.5], "torch": [1.0, 0.51]}}
    row.checks = [results.Check("times as fast as the fastest peer", row.fastest(), 2.0),
                  results.Check("share of the FMA peak", 0.5, 0.6)]
    made.add(row)
    made.add(results.Row("nets", "many", {}, [results.Check("times as fast as a PyTorch loop", None, 20.0)]))
    made.add(results.Result("MNIST", "accuracy", [0.9], {}))
    assert report.main([str(tmp_path / "a.json"), "--out", str(tmp_path / "speed.md")]) == 0
    text = (tmp_path / "speed.md").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("| lstm-60"))
    assert "| 2 ms | 4 ms (3.00 ×) | 9 ms (4.50 ×) |" in line and "≥ 2: 3, met" in line and "≥ 60%: 50%, **missed**" in line
    assert "1.0000 → 0.5000; torch 2e-02" in line and "≥ 20: not measured" in text and "MNIST" not in text
    assert (tmp_path / "images" / "speed.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "b.json").write_text("[]")
    with pytest.raises(ValueError, match="has no results in format"):
        report.read([tmp_path / "b.json"])
