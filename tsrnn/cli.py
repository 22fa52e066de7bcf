"""The command ``tsrnn``; ``tsrnn --help`` says what it can do."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

import tsrnn
from tsrnn.backends import NoGPUError

app = typer.Typer(
    name="tsrnn", help="Recurrent networks for scikit-learn.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False,
)
BAD_INPUT, NO_DATA, INTERRUPTED = 2, 3, 130
EXIT_CODES = "Exit codes: 0 all went well, 2 bad input, 3 prices could not be fetched, 130 interrupted by Ctrl-C."
MOST_HIDDEN = 100_000_000  # the number of weights, its square, must fit the sizes of arrays


class _Interrupted(BaseException):
    """Ctrl-C; by a name of its own because a fit ends early at a KeyboardInterrupt, and what follows goes on."""


def main() -> None:
    """Entry point of the console script and of ``python -m tsrnn``."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # what a terminal cannot write must not cost a minute of training
    try:
        try:
            app(prog_name="tsrnn")
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # what is still to be written may fail too
    except OSError as error:  # a full disk, say; other errors end in `_session`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter tries again
        if isinstance(error, BrokenPipeError):  # head has seen enough
            sys.exit(1)
        _tell("error: the output cannot be written", error)
        sys.exit(BAD_INPUT)


@contextmanager
def _session(too_large: str = "there is not enough memory", quiet: bool = False) -> Iterator[None]:
    """Turns what goes wrong into one line on standard error and an exit code, warnings and log into lines there.

    `too_large` says what to shrink where memory is short, `quiet` leaves out the log's information.
    """
    with _ctrl_c(), _log(quiet), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("default", UserWarning)
        warnings.filterwarnings("ignore", "Stochastic Optimizer", UserWarning)  # the epochs stand below the table
        warnings.showwarning = _once()
        try:
            yield
        except (ValueError, OSError, ImportError, MemoryError, NoGPUError) as error:
            _tell(f"error: {too_large}" if isinstance(error, MemoryError) else "error", error)
            raise typer.Exit(_code(error)) from None
        except _Interrupted:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None


# what the library says of its parameters, in the options of the command line
_OPTIONS = (
    (r"use transform='diff' or None", "use --transform=diff or --transform=none"),
    (r"(?<![\w-])transform='?(\w+)'?", lambda match: f"--transform={match[1].replace('_', '-').lower()}"),
    (r"(?<![\w-])(window|horizon|level|features|refit|step|start|end|maxlen)=", r"--\1="),
    (r"""(?<![\w-])device=["']?(\w+)["']?""", r"--device=\1"),
    (r"(?<![\w-])n_splits=", "--n-splits="), (r"(?<![\w-])validation_fraction\b", "--validation-fraction"),
    (r"(?<![\w-])max_tokens=", "--max-tokens="), (r"(?<![\w-])max_iter=", "--epochs="),
    (r"(?<![\w-])download_if_missing=False", "--offline"),
    (r"raise timeout=, pass source= for another vendor, or --offline for", "or use --offline for"),
    (r", or pass source= for another vendor", ""), (r", or take the gaps with missing=\"keep\"", ""),
    (r"set data_home= or TSRNN_DATA_HOME", "set TSRNN_DATA_HOME"), (r", say by y\.asfreq\(\.\.\.\)", ""),
    (r"\by (holds|has)\b", r"the series \1"), (r"\b(of|in) y\b", r"\1 the series"),
)


def _tell(what: str, message: object) -> None:
    typer.echo(f"{what}: {_in_options(message) or type(message).__name__}", err=True)


def _in_options(message: object) -> str:
    """One line, in the words of the command line."""
    text = " ".join(str(message).split())
    for pattern, words in _OPTIONS:
        text = re.sub(pattern, words, text)
    return text


def _once():
    """A `warnings.showwarning` of one line; what differs in its numbers only is said once.

    Where times are irregular, so many as a regular series would have in between are not told as well.
    """
    said = set()

    def show(message, *_):
        text = re.sub(r"\d+", "0", str(message))
        irregular = any("are irregular" in other for other in said)
        if text not in said and not (irregular and "missing between the rows" in text):
            said.add(text)
            _tell("warning", message)

    return show


def _code(error: BaseException) -> int:
    from tsrnn.datasets import PriceError

    return NO_DATA if isinstance(error, PriceError) else BAD_INPUT


@contextmanager
def _ctrl_c() -> Iterator[None]:
    """Ctrl-C ends the command; one that is ignored, as in a script's background, stays so, and so does another thread's."""
    def interrupt(*_):
        raise _Interrupted

    try:
        before = signal.getsignal(signal.SIGINT)
        ours = before is signal.default_int_handler and bool(signal.signal(signal.SIGINT, interrupt))
    except ValueError:  # signals belong to the main thread
        ours = False
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _log(quiet: bool) -> Iterator[None]:
    """The package's log on standard error: the first fit on a machine waits for the compiler, and says so."""
    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            typer.echo(_in_options(self.format(record)), err=True)  # to sys.stderr as it is now: above a bar

    logger, handler = logging.getLogger("tsrnn"), Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"tsrnn {tsrnn.__version__}")
        raise typer.Exit


@app.callback(epilog=EXIT_CODES)
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


# what `forecast` and `backtest` share
Name = Annotated[str | None, typer.Argument(
    metavar="TICKER | FILE.csv", show_default=False,
    help="A CSV file with a header, or a ticker symbol, whose prices are fetched; none: the embedded prices.")]
Column = Annotated[str, typer.Option(help="Column to forecast.")]
Horizon = Annotated[int, typer.Option(min=1, help="Steps to forecast.")]
Window = Annotated[int, typer.Option(min=1, help="Rows that a forecast sees.")]
Cell = Annotated[str, typer.Option(help="lstm, gru, rnn or cnn-lstm.")]
Hidden = Annotated[int, typer.Option(min=1, max=MOST_HIDDEN, help="Hidden units.")]
Level = Annotated[list[str], typer.Option(
    metavar="PERCENT", help="Intervals in percent, repeated or separated by commas; \"none\": no intervals.")]
Transform = Annotated[str, typer.Option(
    help="What the model sees and forecasts: log-return, log, diff, none (the values); auto: log-returns, or differences where "
         "a value is 0 or negative.")]
Features = Annotated[str, typer.Option(
    show_default=False, help="Columns and indicators that the model sees beside the closing price, separated by commas: "
                             "volume,rsi_14.")]
Epochs = Annotated[int, typer.Option(min=1, help="Most epochs; the fit stops early by itself.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random state of the fit.")]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda (an NVIDIA GPU) or auto, which takes what there is.")]
Validation = Annotated[float, typer.Option(
    min=0.01, max=0.49, help="Share of the rows, the last ones, for intervals and skill; as many before decide when to stop.")]
Start = Annotated[str | None, typer.Option(help="First date.", show_default=False)]
End = Annotated[str | None, typer.Option(help="The date after the last one.", show_default=False)]
DateFormat = Annotated[str | None, typer.Option(
    metavar="FORMAT", show_default=False, help="How a file writes its dates, as strptime has it: \"%d/%m/%Y\".")]
Offline = Annotated[bool, typer.Option("--offline", help="Never use the network: a ticker's prices as fetched earlier.")]
Plot = Annotated[Path | None, typer.Option(help="Write a picture (PNG, PDF, SVG) to this file.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")]
Verbose = Annotated[bool | None, typer.Option(
    "--verbose/--quiet", show_default=False, help="Show the progress of the fit; default: where standard error is a terminal.")]


@app.command(epilog=EXIT_CODES)
def forecast(
    name: Name = None, column: Column = "close", horizon: Horizon = 5, window: Window = 30, cell: Cell = "lstm",
    hidden: Hidden = 32, level: Level = ["80", "95"], transform: Transform = "auto", features: Features = "",  # noqa: B006
    epochs: Epochs = 100, seed: Seed = 0, device: Device = "cpu", validation_fraction: Validation = 0.1, start: Start = None,
    end: End = None, date_format: DateFormat = None, offline: Offline = False, plot: Plot = None,
    as_json: AsJson = False, verbose: Verbose = None,
) -> None:
    """Forecast what comes next, with intervals, beside the naive forecast that repeats the last value."""
    with _session(_memory(hidden, window), quiet=as_json):
        from tsrnn import _forecast, _report

        settings = _forecast.Settings(column, horizon, window, cell, hidden, transform, _names(features), _levels(level),
                                      epochs, seed, validation_fraction, device)
        _check_outputs(plot)
        source = _forecast.read_source(name, settings, start, end, offline, date_format)
        with _report.fit_bar(_is_shown(verbose), 2, epochs) as on_epoch_end:
            result = _forecast.forecast(source, settings, on_epoch_end)
        if plot is not None:
            _report.draw_forecast(result, plot)
    _print(result, _report.print_forecast, as_json, {"Picture": plot})


@app.command(epilog=EXIT_CODES)
def backtest(
    name: Name = None, column: Column = "close", horizon: Horizon = 5, window: Window = 30, cell: Cell = "lstm",
    hidden: Hidden = 32, level: Level = ["80", "95"], transform: Transform = "auto", features: Features = "",  # noqa: B006
    n_splits: Annotated[int | None, typer.Option(
        min=1, show_default=False, help="Forecasts to make; default: all in the last fifth of the rows.")] = None,
    step: Annotated[int | None, typer.Option(
        min=1, show_default=False, help="Rows from one forecast to the next; default: 1, or what makes 1000.")] = None,
    refit: Annotated[int, typer.Option(
        min=0, help="Fit anew for every so many forecasts; 0: once, before the first.")] = 0,
    epochs: Epochs = 100, seed: Seed = 0, device: Device = "cpu", validation_fraction: Validation = 0.1, start: Start = None,
    end: End = None, date_format: DateFormat = None, offline: Offline = False, plot: Plot = None,
    out: Annotated[Path | None, typer.Option(
        help="Write all forecasts to this CSV file: unique_id, ds, cutoff, y, the forecasts and bounds.",
        show_default=False)] = None,
    as_json: AsJson = False, verbose: Verbose = None,
) -> None:
    """Forecast the last part of a series from many days in the past, and score that beside the naive forecast."""
    with _session(_memory(hidden, window), quiet=as_json):
        from tsrnn import _forecast, _report

        settings = _forecast.Settings(column, horizon, window, cell, hidden, transform, _names(features), _levels(level),
                                      epochs, seed, validation_fraction, device)
        _check_outputs(plot, out)
        source = _forecast.read_source(name, settings, start, end, offline, date_format)
        n_splits, step = _forecast.plan_cutoffs(len(source.series), horizon, n_splits, step)
        n_fits = 2 * -(-n_splits // refit) if refit else 2  # each ends with one on all rows
        with _report.fit_bar(_is_shown(verbose), n_fits, epochs) as on_epoch_end:
            result = _forecast.backtest(source, settings, n_splits, step, refit, on_epoch_end)
        if plot is not None:
            _report.draw_backtest(result, plot)
        if out is not None:
            _report.write_csv(result.frame, out)
    _print(result, _report.print_backtest, as_json, {"Picture": plot, "Forecasts": out})


@app.command(epilog=EXIT_CODES)
def classify(
    train: Annotated[str, typer.Argument(metavar="TRAIN.csv", help="A CSV file with a header, texts and their labels.")],
    predict: Annotated[str | None, typer.Argument(
        metavar="PREDICT.csv | -", show_default=False,
        help="A CSV file of texts to classify, or -: lines of standard input.")] = None,
    text: Annotated[str | None, typer.Option(
        show_default=False, help="Column of texts; default: text, review, sentence, message or comment.")] = None,
    label: Annotated[str | None, typer.Option(
        show_default=False, help="Column of labels; default: label, sentiment, class, target or category.")] = None,
    epochs: Epochs = 20, hidden: Hidden = 64,
    cell: Annotated[str, typer.Option(help="lstm, gru or rnn; it reads in both directions.")] = "gru",
    max_tokens: Annotated[int, typer.Option(min=5, max=MOST_HIDDEN, help="Size of the vocabulary.")] = 20_000,
    maxlen: Annotated[int, typer.Option(min=1, max=MOST_HIDDEN, help="Words of a text that are read: the last ones.")] = 400,
    seed: Seed = 0, device: Device = "cpu",
    encoding: Annotated[str, typer.Option(help="Of the files and of standard input.")] = "utf-8",
    out: Annotated[Path | None, typer.Option(
        show_default=False, help="Write PREDICT.csv, with prediction and probability added, to this CSV file.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what words add to decisions, for up to 5 texts.")] = False,
    plot: Plot = None, as_json: AsJson = False, verbose: Verbose = None,
) -> None:
    """Train a classifier of texts, score it on texts held out beside TF-IDF + logistic regression, and classify others."""
    with _session(_memory(hidden, maxlen, "maxlen"), quiet=as_json):
        from tsrnn import _classify, _report

        settings = _classify.Settings(text, label, epochs, hidden, cell, max_tokens, maxlen, seed, encoding, device)
        _check_outputs(plot, out)
        if out is not None and predict is None:
            raise ValueError(f"--out={out} is for predictions; give a second file, or - for lines of standard input.")
        labelled = _classify.read_labelled(train, settings)
        if out is not None and out.exists() and out.samefile(train):
            raise ValueError(f"--out={out} is the file that is learnt from; give another one.")
        if predict == _classify.STDIN and sys.stdin is not None and sys.stdin.isatty():
            typer.echo("Write texts to classify, one a line, and end with Ctrl-D (Windows: Ctrl-Z, Enter).", err=True)
        others = predict and _classify.read_unlabelled(predict, settings, labelled.text_column, out is not None)
        with _report.fit_bar(_is_shown(verbose), 1, epochs) as on_epoch_end:
            result = _classify.classify(labelled, settings, others or None, explain, on_epoch_end)
        if plot is not None:
            _report.draw_history(result, plot)
        if out is not None:
            _report.write_csv(result.predicted, out)
    _print(result, _report.print_classification, as_json, {"Picture": plot, "Predictions": out})


def _memory(hidden: int, rows: int, option: str = "window") -> str:
    return f"--hidden={hidden} with --{option}={rows} needs more memory than there is; use smaller ones"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _levels(texts: list[str]) -> tuple[float, ...]:
    names = _names(",".join(texts))
    if names in ((), ("none",)):
        return ()
    try:
        levels = sorted({float(name.removesuffix("%")) for name in names})
    except ValueError:
        levels = []
    if not levels or not all(1 <= level < 100 for level in levels):
        raise ValueError(f"--level={','.join(names)} must be percentages from 1 to below 100, such as 80,95, or none.")
    return tuple(levels)


def _is_shown(verbose: bool | None) -> bool:
    return sys.stderr.isatty() if verbose is None else verbose


def _check_outputs(plot: Path | None, out: Path | None = None) -> None:
    """Before the fit: a wrong path or a missing library must not cost a minute of training."""
    for option, path in (("plot", plot), ("out", out)):
        if str(path) == "-":
            raise ValueError(f"--{option}=- is no file's name; standard output is for the table, or for --json.")
    if plot is not None:
        from tsrnn.plotting import require_matplotlib

        known = require_matplotlib()().canvas.get_supported_filetypes()
        if plot.suffix.lstrip(".").lower() not in known:
            raise ValueError(f"--plot={plot} must end in a picture's extension, one of: {', '.join(sorted(known))}.")
    for option, path in (("plot", plot), ("out", out)):
        if path is None:
            continue
        if path.is_dir():
            raise ValueError(f"--{option}={path} is a folder; give a file's name.")
        if not path.parent.is_dir():
            raise ValueError(f"--{option}={path}: there is no folder {path.parent}.")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise ValueError(f"--{option}={path} cannot be written.")


def _print(result: Any, table: Any, as_json: bool, files: dict[str, Path | None]) -> None:
    if as_json:
        typer.echo(json.dumps(result.as_dict(), allow_nan=False))
        return
    table(result)
    for what, path in files.items():
        if path is not None:
            typer.echo(f"{what}: {path}")


@app.command()
def warmup() -> None:
    """Compile all kernels now, so that no later fit waits for the compiler."""
    from rich.console import Console
    from rich.progress import Progress

    with _session(quiet=True), Progress(console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task("compiling")

        def show(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        seconds = tsrnn.warmup(progress=show)
    from tsrnn._info import collect_info

    cache = collect_info()["Kernel cache"]
    typer.echo(f"Kernels ready in {seconds:.1f} s; cache: {cache['folder']}")


@app.command()
def info() -> None:
    """Print versions, processor, threads, GPU and kernel cache."""
    tsrnn.show_versions(gpu=True)


if __name__ == "__main__":
    main()
