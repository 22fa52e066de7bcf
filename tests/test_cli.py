"""The command line: what it prints, exit codes, one line for bad input."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import tsrnn
from tsrnn.cli import BAD_INPUT, NO_DATA, _in_options, app, main
from tsrnn.datasets import NotCachedError, OfflineError, UnknownTickerError

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
    assert all(word in run("--help").output for word in ("forecast", "backtest", "warmup", "info", "Exit codes: 0 all"))


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
    assert all(word in result.output for word in ("tsrnn", "vector width", "threads", "GPU", "CUDA", "Kernel cache"))


QUICK = ("--epochs", 2, "--hidden", 4, "--window", 10)


class TestForecast:
    def test_table_fits_a_terminal(self, csv):
        result = run("forecast", csv, *QUICK)
        assert result.exit_code == 0, result.output
        assert all(word in result.stdout for word in ("LSTM(4)", "80 %", "95 %", "naive", "2008-10-15", "2008-10-21", "epoch"))
        assert re.search("is better: the model's mean absolute error|have the same mean absolute error", result.stdout)
        assert max(map(len, result.stdout.splitlines())) <= 80

    @pytest.mark.parametrize("width", [80, 60])
    @pytest.mark.parametrize("levels", ["50,80,95", "10,50,60,70,80,90,95"])
    def test_many_levels_fit_too(self, csv, monkeypatch, width, levels):
        monkeypatch.setenv("COLUMNS", str(width))
        facts = json.loads(run("forecast", csv, *QUICK, "--level", levels, "--json").stdout)["forecast"]
        text = run("forecast", csv, *QUICK, "--level", levels).stdout
        assert max(map(len, text.splitlines())) <= width
        for level in levels.split(","):
            assert text.count(f" {level} %") == 1
            for low, high in zip(facts[f"lo-{level}"], facts[f"hi-{level}"]):
                assert f"{low:.2f} … {high:.2f}" in text
        n_tables = text.count("───\n") + text.count("─── \n")
        assert n_tables > 1 and text.count("2008-10-15") == n_tables

    @pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "cnn-lstm"])
    def test_json_and_cells(self, csv, cell):
        facts = json.loads(run("forecast", csv, "--cell", cell, "--json", "--horizon", 3, *QUICK).stdout)
        assert facts["cell"] == cell and facts["source"]["column"] == "Close" and facts["source"]["to"] == "2008-10-14"
        assert facts["forecast"]["ds"] == ["2008-10-15", "2008-10-16", "2008-10-17"]
        assert facts["forecast"]["naive"] == [362.71] * 3 and facts["epochs"] <= 2

    @pytest.mark.parametrize("options, names", [
        ((), {"lo-80", "hi-80", "lo-95", "hi-95"}), (("--level", "90"), {"lo-90", "hi-90"}), (("--level", "none"), set()),
        (("--level", "50,60%", "--level", "66.5"), {f"{end}-{level}" for end in ("lo", "hi") for level in (50, 60, 66.5)}),
    ])
    def test_levels(self, csv, options, names):
        facts = json.loads(run("forecast", csv, "--json", *options, *QUICK).stdout)
        assert set(facts["forecast"]) == {"ds", "forecast", "naive"} | names
        assert run("forecast", csv, *options, *QUICK).exit_code == 0

    def test_files_of_yfinance(self, tmp_path, prices):
        """`Ticker.history` writes local times across daylight saving, `download` three header lines."""
        close = prices["close"][-160:]
        eastern = close.set_axis(close.index.tz_localize("America/New_York")).to_frame("Close").rename_axis("Date")
        eastern.to_csv(tmp_path / "history.csv")
        (tmp_path / "download.csv").write_text("Price,Close\nTicker,GOOG\nDate,\n" + close.to_csv(header=False))
        assert {text[-6:] for text in eastern.index.astype(str)} == {"-05:00", "-04:00"}
        files = (tmp_path / "history.csv", tmp_path / "download.csv")
        one, two = (json.loads(run("forecast", file, "--json", *QUICK).stdout) for file in files)
        assert one["forecast"] == two["forecast"] and one["source"]["to"] == "2008-10-14"

    def test_same_seed_same_forecast(self, csv):
        one, two, other = (json.loads(run("forecast", csv, "--json", *QUICK, "--seed", seed).stdout) for seed in (1, 1, 2))
        assert one["forecast"] == two["forecast"] != other["forecast"]

    def test_embedded_prices_and_picture(self, tmp_path):
        result = run("forecast", *QUICK, "--features", "volume,rsi_14", "--start", "2007-06-01", "--plot", tmp_path / "a.png")
        assert result.exit_code == 0 and "the embedded prices" in result.output and f"Picture: {tmp_path}" in result.output
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")

    def test_progress_goes_to_standard_error_and_only_to_a_terminal(self, csv):
        assert "fit" not in run("forecast", csv, "--json", *QUICK).stderr
        result = run("forecast", csv, "--json", "--verbose", *QUICK)
        json.loads(result.stdout)

    def test_what_differs_in_numbers_is_warned_of_once(self, csv):
        result = run("backtest", csv, "--json", *QUICK)
        assert result.stderr.count("warning: --level=95 needs") == 1 and "skill_" not in result.stderr
        assert "Take a larger --validation-fraction" in result.stderr


class TestBacktest:
    def test_table_fits_a_terminal(self, csv):
        result = run("backtest", csv, *QUICK)
        assert result.exit_code == 0, result.output
        words = ("mean absolute error", "root mean squared error", "MAPE", "sMAPE", "MASE", "skill", "direction",
                 "within the 80 %", "LSTM(4)", "naive", "28 forecasts of 5 steps, 1 row apart")
        assert all(word in result.stdout for word in words) and max(map(len, result.stdout.splitlines())) <= 80
        assert re.search(r"is better: .*(p = [0-9.e-]+\)|too few cutoffs)", result.stdout, re.DOTALL)

    def test_constant_prices(self, tmp_path):
        rows = "".join(f"{day:%Y-%m-%d},5.1\n" for day in pd.bdate_range("2020-01-01", periods=120))
        (tmp_path / "a.csv").write_text("date,close\n" + rows)
        result = run("backtest", tmp_path / "a.csv", *QUICK)
        assert result.exit_code == 0 and "Nothing moved in the rows that were forecast" in result.stdout
        assert not re.search("inf|nan|within|skill", result.stdout)

    def test_json_picture_and_file(self, csv, tmp_path):
        result = run("backtest", csv, "--horizon", 2, "--n-splits", 4, "--step", 5, "--refit", 2, "--json", *QUICK, "--plot",
                     tmp_path / "a.svg", "--out", tmp_path / "a.csv")
        facts, frame = json.loads(result.stdout), pd.read_csv(tmp_path / "a.csv")
        assert facts["n_cutoffs"] == 4 and facts["step"] == 5 and facts["refit"] == 2
        assert frame["naive-hi-95"].to_list() == pytest.approx(facts["forecasts"]["naive-hi-95"])
        assert frame["cutoff"].to_list() == facts["forecasts"]["cutoff"] and "<svg" in (tmp_path / "a.svg").read_text()

    def test_scores_are_sane(self):
        """On real prices no honest model is far from the naive one, in either direction."""
        facts = json.loads(run("backtest", "--horizon", 1, "--json").stdout)
        assert facts["n_cutoffs"] == 209 and abs(facts["scores"]["model"]["skill"]) < 0.1
        assert 70 < 100 * facts["scores"]["model"]["coverage-80"] < 90


class TestTickers:
    """No network: `fetch_prices` is played."""

    @pytest.fixture
    def asked(self, monkeypatch, prices):
        calls = []

        def fetch(*arguments, **options):
            calls.append((arguments, options))
            return prices[-200:].drop(columns="adj_close")

        monkeypatch.setattr(tsrnn.datasets, "fetch_prices", fetch)
        return calls

    @pytest.mark.parametrize("command", ["forecast", "backtest"])
    def test_prices_are_fetched(self, asked, command):
        result = run(command, "goog", "--start", "2008-01-01", "--offline", "--column", "open", "--json", *QUICK)
        assert asked == [(("goog", "2008-01-01", None), {"download_if_missing": False})]
        facts = json.loads(result.stdout)["source"]
        assert facts["kind"] == "ticker" and facts["name"] == "goog" and facts["rows"] == 200 and facts["column"] == "open"

    @pytest.mark.parametrize("name", ["none.csv", "a/b", "NONE.CSV.GZ", "."])
    def test_files_are_never_asked_for(self, asked, name):
        assert run("forecast", name).exit_code == BAD_INPUT and not asked

    @pytest.mark.parametrize("error, message", [
        (UnknownTickerError("Nobody knows it."), "error: there is no file 'XYZ', and as a ticker symbol: Nobody"),
        (OfflineError("Yahoo cannot be\nreached."), "error: Yahoo cannot be reached."),
        (NotCachedError("..."), "error: the prices of XYZ have not been fetched for these dates; leave out --offline"),
    ])
    def test_a_source_that_fails_has_an_exit_code_of_its_own(self, monkeypatch, error, message):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr(tsrnn.datasets, "fetch_prices", fail)
        result = run("forecast", "XYZ")
        assert result.exit_code == NO_DATA == 3 and result.stderr.startswith(message) and len(result.stderr.splitlines()) == 1

    def test_what_is_no_ticker_either(self):
        result = run("forecast", "my prices")
        assert result.exit_code == BAD_INPUT and "'my prices' is neither a file nor a ticker symbol: " in result.stderr

    def test_never_fetched(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TSRNN_DATA_HOME", str(tmp_path))
        result = run("backtest", "GOOG", "--offline")
        assert result.exit_code == NO_DATA and "leave out --offline" in result.stderr


class TestCtrlC:
    def interrupt(self, monkeypatch, *arguments):
        if threading.current_thread() is not threading.main_thread():
            pytest.skip("signals reach the main thread only")

        @contextmanager
        def bar(*_):
            yield lambda epoch, logs: signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr("tsrnn._report.fit_bar", bar)
        before = signal.getsignal(signal.SIGINT)
        result = run(*arguments)
        assert signal.getsignal(signal.SIGINT) is before
        return result

    @pytest.mark.parametrize("command", ["forecast", "backtest"])
    def test_ends_the_command(self, monkeypatch, command):
        """A fit by itself ends early and leaves its regressor usable; the command must not go on with that one."""
        result = self.interrupt(monkeypatch, command, *QUICK)
        assert result.exit_code == 130 and result.stdout == "" and result.stderr.splitlines()[-1] == "interrupted"

    def test_stays_ignored_where_it_is(self, monkeypatch, csv):
        """A script's background processes inherit that."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            assert self.interrupt(monkeypatch, "forecast", csv, *QUICK).exit_code == 0
        finally:
            signal.signal(signal.SIGINT, before)


class TestBadInput:
    @pytest.mark.parametrize("command", ["forecast", "backtest"])
    @pytest.mark.parametrize("arguments, message", [
        (["none.csv"], "there is no file none.csv"),
        (["."], ". is a folder"),
        (["--column", "closing"], "no column 'closing'; choose one of: open, high"),
        (["--cell", "transformer"], "--cell=transformer is unknown; use lstm, gru, rnn, cnn-lstm."),
        (["--transform", "sqrt"], "--transform=sqrt is unknown; use auto, log-return, log, diff, none."),
        (["--level", "80,x"], "--level=80,x must be percentages"),
        (["--level", "100"], "--level=100 must be percentages"),
        (["--window", 2000], "--window=2000 must be smaller than the series ("),
        (["--horizon", 2000], "--horizon=2000"),
        (["--start", "soon"], "--start=soon is no date"),
        (["--start", "2007-01-01T00:00Z"], "--start=2007-01-01T00:00Z has a time zone"),
        (["--end", "2007-01-01T00:00+02:00"], "--end=2007-01-01T00:00+02:00 has a time zone"),
        (["--date-format", "%Y"], "--date-format goes with a file, and the embedded prices is none"),
        (["--plot", "-"], "--plot=- is no file's name"),
        (["--end", "1999-01-01"], "no row in the dates of --end=1999-01-01; it runs from 2004-08-19 to 2008"),
        (["--features", "volume", "--column", "open"], "--features goes with the closing price"),
        (["--features", "mood"], "feature 'mood' is no column"),
        (["--plot", "a.xyz"], "--plot=a.xyz must end in a picture's extension"),
        (["--plot", "none/a.png"], "there is no folder none"),
        (["--plot", "folder.png"], "--plot=folder.png is a folder"),
    ])
    def test_one_clear_line(self, command, arguments, message, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder.png").mkdir()
        result = run(command, *arguments)
        assert result.exit_code == BAD_INPUT and result.stdout == ""
        assert result.stderr.startswith("error: ") and message in result.stderr
        assert len(result.stderr.splitlines()) == 1

    def test_of_backtests(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for arguments, message in ((["--out", "none/a.csv"], "there is no folder none"), (["--n-splits", 5000], "take fewer"),
                                   (["--out", "-"], "--out=- is no file's name")):
            result = run("backtest", *arguments)
            assert result.exit_code == BAD_INPUT and message in result.stderr and len(result.stderr.splitlines()) == 1

    def test_too_short_a_series(self, tmp_path):
        for rows in (1, 19, 33):
            (tmp_path / "a.csv").write_text("close\n" + "\n".join(map(str, range(1, rows + 1))))
            result = run("forecast", tmp_path / "a.csv")
            assert result.exit_code == BAD_INPUT and "--window=30" in result.stderr
            assert result.stderr.startswith("warning: ") and len(result.stderr.splitlines()) == 2  # that there are no dates

    @pytest.mark.parametrize("command", ["forecast", "backtest"])
    def test_dates_that_leave_the_month_open(self, tmp_path, command):
        rows = "".join(f"{day:%d/%m/%Y},{10 + day.month}\n" for day in pd.date_range("2000-01-01", periods=90, freq="MS"))
        (tmp_path / "a.csv").write_text("Month,Close\n" + rows)
        result = run(command, tmp_path / "a.csv", *QUICK)
        assert result.exit_code == BAD_INPUT and len(result.stderr.splitlines()) == 1
        assert "such as '01/01/2000', whose day could be the month; say" in result.stderr and "--date-format=" in result.stderr
        result = run(command, tmp_path / "a.csv", "--date-format", "%d/%m/%Y", "--json", "--level", "none", *QUICK)
        assert json.loads(result.stdout)["source"]["to"] == "2007-06-01" and "warning" not in result.stderr

    def test_options_by_their_own_names(self, tmp_path):
        (tmp_path / "a.csv").write_text("date,close\n" + "".join(f"{year},{year - 1950}\n" for year in range(1900, 2000)))
        result = run("forecast", tmp_path / "a.csv", "--transform", "log_return", *QUICK)
        assert result.exit_code == BAD_INPUT
        assert result.stderr == ("error: --transform=log-return needs values above 0, the series holds -50; use "
                                 "--transform=diff or --transform=none, or drop these rows first.\n")
        assert _in_options("pass source= for another vendor, or download_if_missing=False; n_splits=4 and refit=2") == (
            "pass source= for another vendor, or --offline; --n-splits=4 and --refit=2")

    def test_a_file_without_rows(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("a.csv").write_text("")
        Path("b.csv").write_text("Date,Close\n")
        for name, message in {"a.csv": "a.csv is empty", "b.csv": "b.csv has a header and no rows"}.items():
            result = run("forecast", name)
            assert result.exit_code == BAD_INPUT and result.stderr.startswith(f"error: {message}; give a CSV file")
            assert len(result.stderr.splitlines()) == 1

    @pytest.mark.parametrize("command", ["forecast", "classify"])
    @pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.bz2", "a.csv.xz", "a.csv.zip", "a.csv.tar", "a.csv.tar.gz"])
    def test_damaged_and_locked_archives(self, command, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        numbers = np.random.default_rng(0).normal(size=2000)
        pd.DataFrame({"text": numbers, "label": numbers > 0, "close": numbers}).to_csv(name)
        packed = bytearray(Path(name).read_bytes())
        if name.endswith("zip"):  # it says that it is encrypted
            packed[6] |= 1
            packed[packed.rindex(b"PK\x01\x02") + 8] |= 1
        else:
            packed[len(packed) // 3:len(packed) // 2] = b"\xff" * (len(packed) // 2 - len(packed) // 3)
        if name.endswith("tar"):
            packed[:200] = b"\xff" * 200
        Path(name).write_bytes(packed)
        result = run(command, name)
        assert result.exit_code == BAD_INPUT and result.stdout == "" and len(result.stderr.splitlines()) == 1
        assert re.match(rf"error: {name} cannot be read as a CSV file: \S", result.stderr)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
    @pytest.mark.parametrize("command", ["forecast", "classify"])
    def test_what_can_be_read_only_once(self, command, tmp_path):
        """As the shell's <(...) is."""
        os.mkfifo(tmp_path / "a.csv")
        result = run(command, tmp_path / "a.csv")
        assert result.exit_code == BAD_INPUT and len(result.stderr.splitlines()) == 1
        assert "a.csv is a pipe or a device, which can be read only once; save it as a file" in result.stderr

    def test_irregular_times_are_told_once(self, tmp_path):
        times = pd.Timestamp("2020-01-01") + pd.to_timedelta([7 * n + n * n % 97 / 100 for n in range(100)], unit="h")
        rows = "".join(f"{time:%Y-%m-%d %H:%M:%S},{50 + n % 7}\n" for n, time in enumerate(times))
        (tmp_path / "a.csv").write_text("time,close\n" + rows)
        result = run("forecast", tmp_path / "a.csv", "--level", "none", *QUICK)
        assert result.exit_code == 0 and len([line for line in result.stderr.splitlines() if "rows are counted" in line]) == 1
        step = re.search(r"go on by the most frequent step \((.*)\)", result.stderr)[1]
        shown = pd.to_datetime(re.findall(r"^ (2020-\S+ \S+) ", result.stdout, re.MULTILINE))
        assert set(shown[1:] - shown[:-1]) == {pd.Timedelta(step)}

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


class TestOutput:
    """That ends early."""

    def start(self, *arguments, stdout):
        return subprocess.Popen([sys.executable, "-m", "tsrnn", *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True,
                                env={**os.environ, "PYTHONPATH": str(ROOT)})

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
    @pytest.mark.parametrize("arguments", [["forecast", *map(str, QUICK), "--level", "none"], ["info"]])
    def test_a_full_disk(self, arguments):
        with open("/dev/full", "w") as full, self.start(*arguments, stdout=full) as process:
            error = process.communicate(timeout=120)[1]
        assert process.returncode == BAD_INPUT
        assert re.fullmatch(r"error: the output cannot be written: .*\n", error)

    @pytest.mark.parametrize("arguments", [["forecast", *map(str, QUICK), "--level", "none"], ["info"]])
    def test_a_reader_that_has_seen_enough(self, arguments):
        with self.start(*arguments, stdout=subprocess.PIPE) as process:
            process.stdout.close()
            assert process.stderr.read() == "" and process.wait(60) == 1


    @pytest.mark.parametrize("command", ["forecast", "classify"])
    def test_what_the_terminal_cannot_write(self, command, tmp_path, monkeypatch):
        """Behind a whole fit there must be no error."""
        path = tmp_path / "a.csv"
        pd.DataFrame({"text": ["good 😀", "bad"] * 50, "label": ["ja 😀", "naïf"] * 50,
                      "préis": np.arange(100) + np.arange(100) % 7}).to_csv(path)
        options = {"forecast": ["--column", "préis", *QUICK], "classify": [path, "--epochs", 1, "--hidden", 2]}[command]
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
        monkeypatch.setattr(sys, "argv", ["tsrnn", command, str(path), *map(str, options)])
        with pytest.raises(SystemExit) as end:
            main()
        text = written.getvalue().decode("ascii")
        assert end.value.code == 0 and ("pr?is" if command == "forecast" else "ja ?") in text


def test_warmup_says_where_the_kernels_are():
    result = run("warmup")
    assert result.exit_code == 0 and "Kernels ready in" in result.output
