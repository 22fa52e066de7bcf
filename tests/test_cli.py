"""The command line: what it prints, exit codes, one line for bad input."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tsrnn
from tsrnn.cli import BAD_INPUT, app

ROOT = Path(tsrnn.__file__).resolve().parents[1]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def csv(tmp_path, prices):
    """A small file as data vendors write it, newest first."""
    path = tmp_path / "small.csv"
    prices[["open", "close"]][-160:].iloc[::-1].rename(columns=str.title).rename_axis("Date").to_csv(path)
    return path


def test_version_and_help():
    assert run("--version").output.strip() == f"tsrnn {tsrnn.__version__}"
    assert all(command in run("--help").output for command in ("forecast", "warmup", "info"))


@pytest.mark.parametrize("arguments", [["-m", "tsrnn"], ["-m", "tsrnn.cli"]])
def test_runs_as_a_module(arguments, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, *arguments, "--version"], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60
    )
    assert result.returncode == 0 and result.stdout.strip() == f"tsrnn {tsrnn.__version__}"


def test_info():
    result = run("info")
    assert result.exit_code == 0
    assert all(word in result.output for word in ("tsrnn", "vector width", "threads", "GPU", "Kernel cache"))


class TestForecast:
    quick = ("--epochs", 2, "--hidden", 4, "--window", 10)

    def test_table_stands_beside_the_naive_forecast(self, csv):
        result = run("forecast", csv, *self.quick)
        assert result.exit_code == 0, result.output
        assert all(word in result.output for word in ("MAE", "RMSE", "R²", "directional accuracy", "LSTM(4)", "naive"))
        assert re.search("is better: the model's mean absolute error|have the same mean absolute error", result.output)
        assert "prices rose on" in result.output

    @pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
    def test_json_and_cells(self, csv, cell):
        facts = json.loads(run("forecast", csv, "--cell", cell, "--json", *self.quick).stdout)
        assert facts["cell"] == cell and facts["column"] == "Close" and facts["n_test"] == 32
        assert len(facts["forecast"]["y_pred"]) == 32 and facts["test_to"] == "2008-10-14"
        assert facts["scores"]["naive"]["mae"] > 0 and facts["epochs"] <= 2

    def test_files_of_yfinance(self, tmp_path, prices):
        """`Ticker.history` writes local times across daylight saving, `download` three header lines."""
        close = prices["close"][-160:]
        eastern = close.set_axis(close.index.tz_localize("America/New_York")).to_frame("Close").rename_axis("Date")
        eastern.to_csv(tmp_path / "history.csv")
        (tmp_path / "download.csv").write_text("Price,Close\nTicker,GOOG\nDate,\n" + close.to_csv(header=False))
        assert {text[-6:] for text in eastern.index.astype(str)} == {"-05:00", "-04:00"}
        files = (tmp_path / "history.csv", tmp_path / "download.csv")
        one, two = (json.loads(run("forecast", file, "--json", *self.quick).stdout) for file in files)
        assert one["forecast"] == two["forecast"] and one["test_to"] == "2008-10-14"

    def test_same_seed_same_forecast(self, csv):
        one, two, other = (json.loads(run("forecast", csv, "--json", *self.quick, "--seed", seed).stdout) for seed in (1, 1, 2))
        assert one["forecast"] == two["forecast"] != other["forecast"]

    def test_embedded_prices_and_picture(self, tmp_path):
        result = run("forecast", *self.quick, "--plot", tmp_path / "a.png")
        assert result.exit_code == 0 and "209 one-day forecasts" in result.output
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")

    def test_progress_goes_nowhere_unless_asked(self, csv):
        result = run("forecast", csv, "--json", *self.quick)
        assert result.stderr == ""

    def test_scores_are_sane(self):
        """On real prices no honest day-ahead model is far from the naive one, in either direction."""
        facts = json.loads(run("forecast", "--json").stdout)
        assert abs(facts["skill"]) < 0.1
        assert facts["scores"]["model"]["r2"] > 0.95


class TestBadInput:
    @pytest.mark.parametrize("arguments, message", [
        (["none.csv"], "there is no file none.csv"),
        (["--column", "closing"], "no column 'closing'; choose one of: open, high"),
        (["--cell", "transformer"], "--cell=transformer is unknown; use lstm, gru or rnn."),
        (["--window", 2000], "window=2000 leaves 0 windows"),
        (["--test-fraction", 1.5], "test_fraction=1.5 must lie between 0 and 1"),
        (["--plot", "a.xyz"], "--plot=a.xyz must end in a picture's extension"),
        (["--plot", "none/a.png"], "there is no folder none"),
    ])
    def test_one_clear_line(self, arguments, message, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        result = run("forecast", *arguments)
        assert result.exit_code == BAD_INPUT and result.stdout == ""
        assert result.stderr.startswith("error: ") and message in result.stderr
        assert len(result.stderr.splitlines()) == 1

    def test_too_short_a_series(self, tmp_path):
        (tmp_path / "a.csv").write_text("close\n" + "\n".join(map(str, range(1, 20))))
        result = run("forecast", tmp_path / "a.csv")
        assert result.exit_code == BAD_INPUT and "window=30 leaves 0 windows to learn from in 19 rows" in result.stderr

    def test_a_file_without_rows(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("a.csv").write_text("")
        Path("b.csv").write_text("Date,Close\n")
        for name, message in {"a.csv": "a.csv is empty", "b.csv": "b.csv has a header and no rows"}.items():
            result = run("forecast", name)
            assert result.exit_code == BAD_INPUT and result.stderr.startswith(f"error: {message}; give a CSV file")
            assert len(result.stderr.splitlines()) == 1

    def test_too_large_a_network(self, csv):
        result = run("forecast", csv, "--json", "--hidden", 99_999_999)
        assert result.exit_code == BAD_INPUT and len(result.stderr.splitlines()) == 1
        assert "--hidden=99999999 with --window=30 needs more memory" in result.stderr and "PiB" in result.stderr
        assert "100000000" in run("forecast", csv, "--hidden", 10_000_000_000).stderr.replace("10000000000", "")  # the most

    def test_missing_matplotlib(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        result = run("forecast", "--plot", "a.png")
        assert result.exit_code == BAD_INPUT and 'pip install "tsrnn[plot]"' in result.stderr

    @pytest.mark.parametrize("arguments", [["--window", 0], ["--epochs", 0], ["--hidden", "x"], ["--nonsense"]])
    def test_wrong_options(self, arguments):
        result = run("forecast", *arguments)
        assert result.exit_code == BAD_INPUT and "Traceback" not in result.output


def test_warmup_says_where_the_kernels_are():
    result = run("warmup")
    assert result.exit_code == 0 and "Kernels ready in" in result.output
