"""Figures, axes, colours, bands, dates and legends: what all pictures share."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

# colours that stay apart for colour-blind readers (Okabe and Ito)
TRUTH, HISTORY, NAIVE = "#000000", "0.45", "#56B4E9"
MODELS = ("#D55E00", "#009E73", "#CC79A7", "#0072B2", "#E69F00")
_ALPHA = 0.22       # of a single band; several lie over each other
_LEGEND_COLUMNS = 5


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


def _new_figure(size: tuple[float, float]):
    """A figure that a notebook and ``plt.show()`` show, or outside of both one that pyplot does not know.

    pyplot keeps each figure until it is closed and may start a window system, which ends badly in a thread.  So it is used only
    where somebody looks: in an interactive session, or where the program has imported it.
    """
    figure = require_matplotlib()
    if hasattr(sys, "ps1") or sys.flags.interactive or "matplotlib.pyplot" in sys.modules:
        import matplotlib.pyplot as plt

        return plt.figure(figsize=size, layout="constrained")
    return figure(figsize=size, layout="constrained")


def make_axes(ax: Any, n: int, what: str) -> tuple[np.ndarray, Any, bool]:
    """The axes for n pictures, their figure, and whether it is a new one.

    Parameters
    ----------
    ax : Axes, array-like of Axes or None
        The user's; None makes a figure.
    n : int
        Pictures.
    what : str
        What there are n of, for the message.

    Returns
    -------
    axes : object array of shape (n,)
    figure : matplotlib.figure.Figure
    new : bool
    """
    if ax is None:
        columns = 1 if n <= 3 else 2
        rows = math.ceil(n / columns)
        figure = _new_figure((8 if columns == 1 else 12, 4.5 if n == 1 else 1 + 2.4 * rows))
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for spare in axes[n:]:
            spare.remove()
        return axes[:n], figure, True
    axes = np.array(ax, dtype=object).ravel()
    for each in axes:
        if not hasattr(each, "fill_between"):
            raise TypeError(f"ax={each!r} is not a matplotlib Axes; make one with figure.subplots().")
    if len(axes) != n:
        raise ValueError(f"ax has {len(axes)} axes for {n} {what}; pass {n} of them, or ax=None for a new figure.")
    return axes, axes[0].figure, False


def to_x(times: Any) -> np.ndarray:
    """Positions of times on an axis: dates as datetime64 (zoned ones in UTC), others as they are."""
    import pandas as pd

    index = pd.Index(times)
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    if isinstance(index, pd.DatetimeIndex) and index.tz is not None:
        index = index.tz_convert(None)
    return index.to_numpy()


def label_times(ax: Any, times: Any) -> None:
    """Short dates in the zone of the times, or whole numbers."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import MaxNLocator

    x = to_x(times)
    if np.issubdtype(x.dtype, np.datetime64):
        zone = getattr(getattr(times, "dtype", None), "tz", None)
        locator = AutoDateLocator(tz=zone, minticks=3, maxticks=8)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))
    elif np.issubdtype(x.dtype, np.integer):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def model_colors(n: int) -> list[str]:
    """n colours, again from the first where they run out."""
    return [MODELS[i % len(MODELS)] for i in range(n)]


def draw_bands(ax: Any, x: np.ndarray, bands: Mapping[float, tuple], *, label: str = "", **style) -> dict:
    """An interval fan: the widest level first and lightest, the narrower ones over it.

    Parameters
    ----------
    ax : Axes
    x : array of shape (n,)
    bands : dict of level to (lower, upper), each of shape (n,)
        In percent.  NaN interrupts a band.
    label : str
        What comes before the level in the legend.
    **style
        For `Axes.fill_between`.

    Returns
    -------
    artists : dict of level to polygons
    """
    style = {"alpha": _ALPHA, "linewidth": 0, "zorder": 1.5, **style}
    return {level: ax.fill_between(x, *bands[level], label=f"{label}{level:g} % interval", **style)
            for level in sorted(bands, reverse=True)}


def add_legend(axes: Iterable[Any], figure: Any, new: bool) -> Any:
    """One legend for all axes: below a new figure, where it covers nothing; else where the first axes has room.

    Bands of one colour lie over each other, so the legend shows them as dark as they come out.
    """
    axes = list(axes)
    handles: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels()):
            handles.setdefault(label, handle)
    bands = [label for label, handle in handles.items() if hasattr(handle, "get_paths")]
    lines = [label for label in handles if label not in bands]
    labels = lines + bands[::-1]  # from the narrowest
    entries = [handles[label] for label in labels]
    if not labels:
        return None
    if new:
        rows = math.ceil(len(labels) / _LEGEND_COLUMNS)
        columns = math.ceil(len(labels) / rows)  # filled column by column, all rows as even as can be
        legend = figure.legend(entries, labels, loc="outside lower center", ncols=columns, fontsize="small", frameon=False)
    else:
        legend = axes[0].legend(entries, labels, loc="best", fontsize="small", framealpha=0.8)
    below: dict[Any, float] = {}  # colour -> share of the background that still shows
    for label, handle in reversed(list(zip(labels, legend.legend_handles))):
        if label in bands:
            *color, alpha = handle.get_facecolor()
            below[tuple(color)] = below.get(tuple(color), 1.0) * (1 - alpha)
            handle.set_facecolor((*color, 1 - below[tuple(color)]))
    return legend


def dress(ax: Any, title: str) -> None:
    """A light grid and the title on the left."""
    ax.set_axisbelow(True)
    ax.grid(alpha=0.3)
    ax.set_title(title, loc="left", fontsize="medium")
