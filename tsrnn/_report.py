"""What the command line shows: the bar of a fit, tables for a terminal of 80 columns, pictures."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsrnn._classify import MAJORITY, NAMES, NETWORK, Classification
from tsrnn._forecast import Backtest, Forecast, Source
from tsrnn._read_csv import time_text

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table
    from rich.text import Text

_DOTS = 130  # of a picture, an inch
_MANY = 10   # rows of a table
_WIDE = 48   # characters of a text in a table
_CLASSES = 6  # side by side in a table of 80 columns


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """All rows as CSV in UTF-8, separated by commas; a file that is there is replaced by the whole new one or not at all."""
    path = path.resolve()
    if (path.exists() and not path.is_file()) or not os.access(path.parent, os.W_OK):
        frame.to_csv(path, index=False)  # a device, or no room for a second file: then in place
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")  # the suffix may ask for compression
    try:
        frame.to_csv(part, index=False)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def fit_bar(show: bool, n_fits: int, n_epochs: int) -> Iterator[Callable | None]:
    """A bar on standard error while fits run, gone afterwards; gives the `on_epoch_end` that moves it.

    It is a function of its own, because regressors are cloned and their parameters copied, which a bar cannot be.
    """
    if not show:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn(),
                   console=Console(stderr=True), transient=True)
    task, fit = bar.add_task("fitting", total=None), 0

    def on_epoch_end(epoch: int, logs: dict) -> None:
        nonlocal fit
        fit += epoch == 0
        bar.update(task, total=n_fits, completed=min(fit, n_fits) - 1 + (epoch + 1) / n_epochs,
                   description=f"fit {fit} of {n_fits}, epoch {epoch + 1}, loss {logs['loss']:.4f}")

    with bar:
        yield on_epoch_end


# --------------------------------------------------------------------------------------------------------------- tables


def print_forecast(result: Forecast) -> None:
    """Table, verdict and what was fitted."""
    source, settings, table = result.source, result.settings, result.table
    write, times = number_writer(source), [time_text(time) for time in table.index]
    title = f"{source.series.name} of {source.name}, {_count(len(table), 'step')} after {time_text(source.series.index[-1])}"
    point, naive = ((name, [write(value) for value in table[column]])
                    for name, column in ((settings.label, "forecast"), ("naive", "naive")))
    bands = [(f"{level:g} %", [f"{write(low)} … {write(high)}" for low, high in zip(table[f"lo-{level:g}"],
                                                                                  table[f"hi-{level:g}"])])
             for level in settings.level]
    epochs = _count(result.forecaster.regressor_.n_iter_, "epoch")
    _show(title, _side_by_side(times, [point], bands, [naive]), result.verdict,
          f"Fitted on {_count(len(source.series), 'row')}, {epochs}, {result.seconds:.1f} s.")


def _side_by_side(times: list[str], left: list, bands: list, right: list) -> list[Table]:
    """A table of all columns (header, texts); the `bands` that the terminal has no room for in further ones below it."""
    tables = []
    while left or bands:
        fitting = len(bands)
        while fitting > bool(not left) and not _fits(_filled(times, left + bands[:fitting] + right)):
            fitting -= 1
        tables.append(_filled(times, left + bands[:fitting] + right))
        left, bands, right = [], bands[fitting:], []
    return tables


def _filled(times: list[str], columns: list) -> Table:
    table = _table("", *(header for header, _ in columns))
    for row in zip(times, *(texts for _, texts in columns)):
        table.add_row(*row)
    return table


def _fits(table: Table) -> bool:
    console = _console()
    wide = console.options.update(width=10_000)
    return table.__rich_measure__(console, wide).maximum <= console.width


_SCORES = (
    ("mae", "mean absolute error", None),
    ("rmse", "root mean squared error", None),
    ("mape", "MAPE", "{:.2f} %"),
    ("smape", "sMAPE", "{:.2f} %"),
    ("mase", "MASE", "{:.3f}"),
    ("skill", "skill", "{:+.1%}"),
    ("directional_accuracy", "direction of the first step", "{:.1%}"),
)


def print_backtest(result: Backtest) -> None:
    """Table of scores, verdict and what was forecast."""
    source, settings, scores = result.source, result.settings, result.scores
    first, last = (time_text(result.frame["ds"].iloc[row]) for row in (0, -1))
    write = number_writer(source)
    title = f"{source.series.name} of {source.name}, {first} to {last}"
    shown = _table("", settings.label, "naive")
    rows = list(_SCORES)
    for level in settings.level:
        rows += [(f"coverage-{level:g}", f"within the {level:g} % interval", "{:.1%}"),
                 (f"width-{level:g}", "its mean width", None)]
    for key, label, form in rows:
        values = [scores[key].iloc[i] for i in (0, 1)]
        if math.isfinite(values[0]):
            texts = [write(value) if form is None else form.format(value) for value in values]
            shown.add_row(label, *(text if math.isfinite(value) else "–" for text, value in zip(texts, values)))
    made = f"{_count(result.n_cutoffs, 'forecast')} of {_count(settings.horizon, 'step')}"
    if result.n_cutoffs > 1:
        made += f", {_count(result.step, 'row')} apart"
    fits = -(-result.n_cutoffs // result.refit) if result.refit else 1
    model = "a model fitted once, before the first of them" if fits == 1 else f"{fits} models, each fitted on the rows before"
    _show(title, [shown], result.verdict, *_direction(result), f"{made}, by {model}; {result.seconds:.1f} s.")


def _direction(result: Backtest) -> list[str]:
    """What the direction has to be held against."""
    if math.isnan(result.share_up):
        return []
    return [f"The naive forecast repeats the last value and has no direction; {result.share_up:.1%} of first steps went up."]


def print_classification(result: Classification) -> None:
    """Accuracy beside simpler models', where the network errs, verdict, then what was asked for: predictions, explanations."""
    source, rows = result.labelled, result.rows
    scores = _table("", "accuracy")
    names = NAMES | {NETWORK: result.settings.network, MAJORITY: f"{NAMES[MAJORITY]}, {_short(_most_frequent(result), 20)}"}
    for name, accuracy in result.accuracy.items():
        scores.add_row(_plain(names[name]), f"{accuracy:.1%}")
    epochs = f"{_count(result.model.n_iter_, 'epoch')}, the best of which is {result.model.best_iter_}"
    fitted = f"Trained on {rows['train']} texts and stopped by {rows['validation']}, {epochs}; {result.seconds:.1f} s."
    seen = [f"{rows['held_out_seen']} of the texts held out are among these too."] if rows["held_out_seen"] else []
    _show(_short(f"{source.label_column} of {source.name}", 78), [scores, _errors(result)], result.verdict, fitted, *seen)
    if result.predicted is not None:
        _print_predictions(result)
    console = _console()
    for explanation in result.explanations:
        coloured = console.is_terminal and not console.no_color
        console.print()
        console.print(_ansi(explanation.to_text(color=True)) if coloured else _plain(explanation.to_text()))


def _most_frequent(result: Classification) -> str:
    labels = result.labelled.labels.tolist()
    return max(result.classes, key=labels.count)


def _errors(result: Classification) -> Table:
    """The confusion matrix, or where it has too many classes the most frequent errors."""
    classes, matrix = result.classes, result.confusion
    if len(classes) <= _CLASSES:
        table = _table("true class", *(f"as {_short(name, 10)}" for name in classes))
        for name, row in zip(classes, matrix.tolist()):
            table.add_row(_plain(_short(name, 20)), *map(str, row))
        return table
    table = _table("most frequent errors: true class", "taken for", "texts")
    errors = sorted(((count, i, j) for i, row in enumerate(matrix.tolist()) for j, count in enumerate(row) if count and i != j),
                    key=lambda error: (-error[0], *error[1:]))
    for count, i, j in errors[:_MANY]:
        table.add_row(_plain(_short(classes[i], 24)), _plain(_short(classes[j], 24)), str(count))
    return table


def _print_predictions(result: Classification) -> None:
    """All lines of standard input, the first rows of a file."""
    assert result.predicted is not None and result.unlabelled is not None
    table, frame = _table("text", "prediction", "probability"), result.predicted
    n_shown = len(frame) if result.unlabelled.is_stdin else min(len(frame), _MANY)
    columns = (frame[name].iloc[:n_shown] for name in (result.unlabelled.text_column, "prediction", "probability"))
    for text, prediction, probability in zip(*columns):
        known = probability == probability
        table.add_row(_plain(_short(text, _WIDE)), _plain(_short(prediction, 16) if known else "–"),
                      f"{probability:.3f}" if known else "–")
    console = _console()
    console.print(table)
    if n_shown < len(frame):
        console.print(f"These are the first {n_shown} of {len(frame)} rows; --out and --json have them all.")


def _short(text: str, width: int) -> str:
    """One line of it."""
    text = " ".join(str(text[:20 * width]).split())
    return text if len(text) <= width else text[:width - 1] + "…"


def _plain(text: str) -> Text:
    """Someone else's text: no colours, and nothing that a terminal would obey."""
    from rich.text import Text

    from tsrnn.estimators._explain import printable

    return Text("\n".join(map(printable, text.split("\n"))))


def _ansi(text: str) -> Text:
    from rich.text import Text

    return Text.from_ansi(text)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def number_writer(source: Source) -> Callable[[float], str]:
    """Writes values with the digits that the series' own steps make worth reading."""
    steps = source.series.diff().abs()
    usual, largest = steps[steps > 0].median(), source.series.abs().max()
    digits = 2 if math.isnan(usual) else max(0, 2 - math.floor(math.log10(usual)))
    return (f"{{:.{digits}f}}" if digits < 9 and largest < 1e10 else "{:.6g}").format


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if number else "left", overflow="fold")
    return table


def _console():
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def _show(title: str, tables: list[Table], *sentences: str) -> None:
    console = _console()
    console.print(title, style="bold")
    for table in tables:
        console.print(table)
    for sentence in sentences:
        console.print(sentence)


# ------------------------------------------------------------------------------------------------------------- pictures


def draw_forecast(result: Forecast, path: Path) -> None:
    """History, forecast, intervals and naive forecast."""
    from tsrnn.plotting import ForecastDisplay

    label = result.settings.label
    frame = result.table.drop(columns="naive").rename(columns=lambda name: label if name == "forecast" else f"{label}-{name}")
    display = ForecastDisplay.from_frame(frame, history=result.source.series)
    _save(display, path, f"{result.source.series.name} of {result.source.name}: {_count(len(frame), 'step')} by {label}")


def draw_backtest(result: Backtest, path: Path) -> None:
    """Forecasts beside what came, and their error by horizon where there are several."""
    from tsrnn.plotting import BacktestDisplay, require_matplotlib

    label, source = result.settings.label, result.source
    frame = result.frame[[name for name in result.frame.columns if not name.startswith("naive-")]]
    frame = frame.rename(columns=lambda name: name.replace(result.model, label)).assign(unique_id="y")  # the title names it
    several = result.settings.horizon > 1
    figure = require_matplotlib()(figsize=(10, 8 if several else 4.5), layout="constrained")
    axes = figure.subplots(1 + several, 1, squeeze=False)[:, 0]
    display = BacktestDisplay.from_frame(frame, history=source.series, ax=axes[0])
    if several:
        BacktestDisplay.from_frame(frame, history=source.series, kind="error", ax=axes[1])
    _save(display, path, f"{source.series.name} of {source.name}: {display.ax_.get_title(loc='left')}")


def draw_history(result: Classification, path: Path) -> None:
    """Loss and accuracy of each epoch."""
    from tsrnn.plotting import HistoryDisplay

    source = result.labelled
    display = HistoryDisplay.from_estimator(result.model)
    _save(display, path, f"{source.label_column} of {source.name}: training of {result.settings.network}")


def _save(display: Any, path: Path, title: str) -> None:
    display.ax_.set_title(title, loc="left", fontsize="medium")  # as the display's own
    display.figure_.savefig(path, dpi=_DOTS)
