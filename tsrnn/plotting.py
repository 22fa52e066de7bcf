"""Pictures of forecasts; needs matplotlib (``pip install "tsrnn[plot]"``), imported only when something is drawn."""

from __future__ import annotations

import numpy as np

__all__ = ["plot_forecast"]

# colours that stay apart for colour-blind readers (Okabe and Ito)
_TRUE, _FORECAST, _NAIVE = "#000000", "#D55E00", "#56B4E9"


def require_matplotlib():
    """Return matplotlib's `Figure`, or raise an ImportError that names the remedy.

    Figures are made without pyplot: no backend is chosen and no global state is touched, so it works without a display
    and in any thread.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('pictures need matplotlib; install it with: pip install "tsrnn[plot]"') from error
    return Figure


def plot_forecast(
    y_true, y_pred, y_naive=None, *, index=None, history=None, title=None, label="forecast", ylabel="price", last=60
):
    """Draw a forecast beside the truth and the naive forecast.

    The upper panel shows the whole test part after the history; the lower one its last steps, where a forecast and the naive
    one can be told apart.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        What happened and what was forecast.
    y_naive : array-like of shape (n,), default=None
        The naive forecast.
    index : array-like of shape (n,), default=None
        Dates or numbers of the n steps; default: the index of `y_true` if it has one, else 0, 1, ...
    history : Series, default=None
        What was known before the test part, with an index that goes with `index`.
    title : str, default=None
        The picture's title.
    label : str, default="forecast"
        The forecast's name in the legend.
    ylabel : str, default="price"
        What the values are.
    last : int, default=60
        Steps in the lower panel.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``figure.savefig(path)``.

    Raises
    ------
    ImportError
        Where matplotlib is missing.
    ValueError
        Where lengths differ, the series are empty, or `last` is below 1.
    """
    lines = {"truth": (y_true, _TRUE, 1.6), "naive: repeat the last value": (y_naive, _NAIVE, 3.6)}
    lines[label] = (y_pred, _FORECAST, 1.4)  # on top of the wide naive line, which it often covers
    lines = {name: (np.asarray(values, float).ravel(), *how) for name, (values, *how) in lines.items() if values is not None}
    n = len(lines["truth"][0])
    if index is None:
        index = y_true.index if hasattr(y_true, "iloc") else np.arange(n)
    sizes = {name: len(line[0]) for name, line in lines.items()} | {"index": len(index)}
    if n == 0 or len(set(sizes.values())) > 1:
        raise ValueError(f"a picture needs series of one length, at least 1 step; got {sizes}.")
    if last < 1:
        raise ValueError(f"last={last!r} must be at least 1 step.")
    index, last = np.asarray(index), min(last, n)

    figure = require_matplotlib()(figsize=(10, 7.5), layout="constrained")
    top, bottom = figure.subplots(2, 1)
    if history is not None:
        top.plot(np.asarray(history.index), np.asarray(history, float), color="0.6", linewidth=1, label="training part")
        top.axvline(index[0], color="0.4", linewidth=0.8, linestyle=":")
    for axes, part, thickness in ((top, slice(None), 0.6), (bottom, slice(n - last, None), 1.0)):
        for name, (values, color, width) in lines.items():
            axes.plot(index[part], values[part], color=color, linewidth=thickness * width, label=name)
        axes.set_ylabel(ylabel)
        axes.grid(alpha=0.3)
    bottom.set_title(f"The last {last} steps", fontsize="medium", loc="left")
    top.legend(loc="upper left", fontsize="small", framealpha=0.9)
    if title:
        top.set_title(title, loc="left")
    if np.issubdtype(index.dtype, np.datetime64):
        _short_dates(top, bottom)
    return figure


def _short_dates(*all_axes):
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    for axes in all_axes:
        locator = AutoDateLocator()
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
