"""The progress bar: what it says, that it always ends, and that it costs nothing where it is off."""

import subprocess
import sys
from pathlib import Path

import pytest

from tsrnn import progress
from tsrnn.progress import Progress

ROOT = Path(__file__).resolve().parents[1]


class Bar:
    """Stands in for rich's bar: keeps what it is told."""

    def __init__(self):
        self.updates = []

    def update(self, task, **fields):
        self.updates.append(fields)

    def stop(self):
        self.updates.append("stop")


def started(monkeypatch, now):
    """A bar for 2 epochs of 100 samples under a clock of our own."""
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    bar = Progress(False, 2, 100)
    bar._bar, bar._started = Bar(), now[0]
    return bar, bar._bar.updates


def test_off_it_prints_and_imports_nothing():
    code = """if True:
    import sys
    from tsrnn.progress import Progress
    with Progress(False, 3, 100) as bar:
        bar.batch(50, 0.5)
        bar.epoch({"loss": 0.5, "seconds": 1.0})
    assert not {"rich", "numpy", "numba"} & set(sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == done.stderr == ""


@pytest.mark.parametrize("verbose", [True, 1])
def test_on_it_shows_epoch_losses_speed_and_time_left(capsys, verbose):
    with Progress(verbose, 3, 100) as bar:
        for _ in range(2):
            bar.batch(60, 0.7)
            bar.batch(40, 0.6)
            bar.epoch({"loss": 0.51236, "val_loss": 0.25, "seconds": 9.0})
    shown = capsys.readouterr().out
    assert "epoch 2/3" in shown and "loss 0.5124  val_loss 0.2500" in shown and "samples/s" in shown and "seconds" not in shown


def test_it_counts_samples_epochs_and_speed(monkeypatch):
    now = [10.0]
    bar, updates = started(monkeypatch, now)
    for second in range(4):
        now[0] += 0.5
        bar.batch(50, second / 10)
        if second % 2:
            bar.epoch({"loss": 0.125, "accuracy": 1.0, "seconds": 1.0})
    end = "loss 0.1250  accuracy 1.0000"
    told = [(50, 1, "loss 0.0000"), (100, 1, "loss 0.1000"), (100, 1, end),
            (150, 2, "loss 0.2000"), (200, 2, "loss 0.3000"), (200, 2, end)]
    assert [(u["completed"], u["epoch"], u["logs"]) for u in updates] == told
    assert {u["speed"] for u in updates} == {"100 samples/s"}


def test_it_is_redrawn_ten_times_a_second_and_at_the_end_of_epochs(monkeypatch):
    now = [10.0]
    bar, updates = started(monkeypatch, now)
    for _ in range(1000):
        now[0] += 0.001
        bar.batch(1, 0.5)
    assert 9 <= len(updates) <= 11
    bar.epoch({"loss": 0.5})
    bar.epoch({"loss": 0.4})
    assert [u["logs"] for u in updates[-2:]] == ["loss 0.5000", "loss 0.4000"]


def test_it_ends_whatever_happens():
    bar = Progress(False, 1, 1)
    bar._bar = Bar()
    with pytest.raises(KeyboardInterrupt), bar:
        raise KeyboardInterrupt
    assert bar._bar.updates == ["stop"]


def test_two_bars_at_once(capsys):
    """Fits in several threads, or one inside another's callback: the second bar may not bring the fit down."""
    with Progress(True, 1, 10) as outer, Progress(True, 1, 10) as inner:
        for bar in (outer, inner):
            bar.batch(10, 0.5)
            bar.epoch({"loss": 0.5})
    assert "0.5000" in capsys.readouterr().out


def test_a_fit_goes_on_where_no_second_bar_can_be_shown(monkeypatch):
    from rich import errors, live

    def start(self, refresh=False):
        raise errors.LiveError("Only one live display may be active at once")

    monkeypatch.setattr(live.Live, "start", start)
    with Progress(True, 1, 10) as bar:
        bar.batch(10, 0.5)
        bar.epoch({"loss": 0.5})


def test_a_fit_shows_it(capsys, monkeypatch):
    import numpy as np

    from tsrnn import LSTMRegressor

    X = np.linspace(0, 1, 40).reshape(10, 4)
    model = LSTMRegressor(hidden_layer_sizes=(3,), max_iter=2, tol=0.0, random_state=0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        model.fit(X, X[:, 0])
        assert capsys.readouterr() == ("", "")
        shown = model.set_params(verbose=True).fit(X, X[:, 0])
    assert f"loss {shown.loss_:.4f}" in capsys.readouterr().out
