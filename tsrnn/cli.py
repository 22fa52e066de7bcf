"""The command ``tsrnn``; ``tsrnn --help`` says what it can do."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

import tsrnn

app = typer.Typer(
    name="tsrnn", help="Recurrent networks for scikit-learn.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False,
)
BAD_INPUT = 2
MOST_HIDDEN = 100_000_000  # the number of weights, its square, must fit the sizes of arrays


def main() -> None:
    """Entry point of the console script and of ``python -m tsrnn``."""
    app(prog_name="tsrnn")


@contextmanager
def _one_line_errors(too_large="there is not enough memory"):
    """Bad input ends the command with one line on standard error, not with a traceback; `too_large` says what to shrink."""
    try:
        yield
    except (ValueError, OSError, ImportError, MemoryError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, MemoryError):
            message = f"{too_large}: {message}"
        typer.echo(f"error: {message}", err=True)
        raise typer.Exit(BAD_INPUT) from None


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"tsrnn {tsrnn.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@app.command()
def forecast(
    file: Annotated[Path | None, typer.Argument(help="CSV file with a header; default: the embedded prices.")] = None,
    column: Annotated[str, typer.Option(help="Column to forecast.")] = "close",
    window: Annotated[int, typer.Option(min=1, help="Returns that a forecast sees.")] = 30,
    hidden: Annotated[int, typer.Option(min=1, max=MOST_HIDDEN, help="Hidden units.")] = 32,
    cell: Annotated[str, typer.Option(help="lstm, gru or rnn.")] = "lstm",
    test_fraction: Annotated[float, typer.Option(help="Share of the rows, the latest, to forecast.")] = 0.2,
    epochs: Annotated[int, typer.Option(min=1, help="Most epochs; the fit stops early by itself.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Random state of the fit.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Write a picture (PNG, PDF, SVG) to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
    verbose: Annotated[bool, typer.Option(help="Show the progress of the fit.")] = False,
) -> None:
    """Forecast prices one day ahead, beside the naive forecast that repeats yesterday's price."""
    with _one_line_errors(f"--hidden={hidden} with --window={window} needs more memory than there is; use smaller ones"):
        from tsrnn._forecast import forecast_prices, read_prices

        if plot is not None:
            _check_picture(plot)
        if not as_json:
            _tell_of_compiling()
        warnings.filterwarnings("ignore", "Stochastic Optimizer", UserWarning)  # the epochs stand below the table
        regressor = _regressor(cell, hidden, epochs, seed, verbose)
        prices = read_prices(file, column)
        result = forecast_prices(prices, regressor, window=window, test_fraction=test_fraction)
        name = f"{cell.upper()}({hidden})"
        if plot is not None:
            _draw(result, name, plot)
    if as_json:
        settings = {
            "file": None if file is None else str(file), "column": prices.name, "cell": cell, "hidden": hidden,
            "window": window, "epochs": result.regressor.n_iter_, "seed": seed, "tsrnn": tsrnn.__version__,
        }
        typer.echo(json.dumps(settings | result.as_dict()))
    else:
        _print_result(result, name, plot)


def _tell_of_compiling():
    """The first fit on a machine waits for the compiler: the package's log says so, show it."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("tsrnn").setLevel(logging.INFO)


def _regressor(cell, hidden, epochs, seed, verbose):
    if cell not in ("lstm", "gru", "rnn"):
        raise ValueError(f"--cell={cell} is unknown; use lstm, gru or rnn.")
    from tsrnn.estimators import SequenceRegressor

    return SequenceRegressor(
        cell=cell, hidden_layer_sizes=(hidden,), max_iter=epochs, batch_size=32, early_stopping=True, random_state=seed,
        verbose=verbose,
    )


def _check_picture(path):
    """Before the fit: a wrong path or a missing library must not cost a minute of training."""
    from tsrnn.plotting import require_matplotlib

    known = require_matplotlib()().canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in known:
        raise ValueError(f"--plot={path} must end in a picture's extension, one of: {', '.join(sorted(known))}.")
    if not path.parent.is_dir():
        raise ValueError(f"--plot={path}: there is no folder {path.parent}.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"--plot={path} cannot be written.")


def _draw(result, name, path):
    from tsrnn.plotting import plot_forecast

    title = f"{name} on log-returns of {result.prices.name}, one day ahead; skill against naive {result.skill:+.3f}"
    history = result.prices.iloc[: -len(result.y_true)]
    figure = plot_forecast(
        result.y_true, result.y_pred, result.y_naive, history=history, title=title, label=name, ylabel=str(result.prices.name)
    )
    figure.savefig(path, dpi=130)


_ROWS = (
    ("mae", "MAE", ".3f"),
    ("rmse", "RMSE", ".3f"),
    ("r2", "R²", ".4f"),
    ("directional_accuracy", "directional accuracy", ".1%"),
)


def _print_result(result, name, plot):
    from rich.console import Console
    from rich.table import Table

    from tsrnn._forecast import verdict

    facts = result.as_dict()
    span = f"{facts['test_from']} to {facts['test_to']}"
    table = Table(title=f"{result.prices.name}, {span}, {len(result.y_true)} one-day forecasts")
    table.add_column("")
    for title in (name, "naive"):
        table.add_column(title, justify="right")
    for key, label, form in _ROWS:
        cells = [result.scores[who][key] for who in ("model", "naive")]
        table.add_row(label, *("–" if value is None else format(value, form) for value in cells))
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(verdict(result))
    console.print(
        f"The naive forecast repeats the price of the day before, so it has no direction; prices rose on {result.share_up:.1%} "
        "of the days that moved."
    )
    stopped = f"{result.regressor.n_iter_} epochs, {result.seconds:.1f} s"
    console.print(f"Fitted on {result.n_train} windows of earlier days, {stopped}.")
    if plot is not None:
        console.print(f"Picture: {plot}")


@app.command()
def warmup() -> None:
    """Compile all kernels now, so that no later fit waits for the compiler."""
    from rich.console import Console
    from rich.progress import Progress

    with _one_line_errors(), Progress(console=Console(file=sys.stderr), transient=True) as bar:
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
