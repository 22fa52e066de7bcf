"""`BacktestDisplay`: how forecasts made in the past turned out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tsrnn.plotting import _axes, _frames
from tsrnn.plotting.forecast import check_forecaster

if TYPE_CHECKING:
    import pandas as pd

_KINDS = ("series", "error", "coverage")
_FEW = 12  # horizons, up to which each has a marker


class BacktestDisplay:
    """Forecasts from several cutoffs beside the truth, their error by horizon, or how often the truth lay in the intervals.

    Make it with `from_estimator` or `from_frame`.

    Parameters
    ----------
    frame : DataFrame
        Long: unique_id, ds, cutoff, y, and for each model ``<model>``, ``<model>-lo-80``, ``<model>-hi-80``, ...; a column
        ``naive`` is drawn as such.
    history : DataFrame, default=None
        Long: unique_id, ds, y.  All rows of the series, for the truth between forecasts.
    seasonality : int, default=1
        Rows that the naive forecast repeats, for the legend.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
    ax_ : matplotlib.axes.Axes
        The first of `axes_`.
    axes_ : ndarray of shape (n_axes,)
        One a series with ``kind="series"``, else one.
    lines_ : list of dict of str to Line2D
        For each axes: "y_true" and "naive" and each model by its name; the levels with ``kind="coverage"``.
    bands_ : list of dict of float to polygons
        For each axes, by level; empty but for ``kind="series"``.
    legend_ : matplotlib.legend.Legend
    """

    def __init__(self, frame: pd.DataFrame, *, history: pd.DataFrame | None = None, seasonality: int = 1):
        self.frame = frame
        self.history = history
        self.seasonality = seasonality

    @classmethod
    def from_estimator(
        cls, forecaster, y, X=None, *, n_splits=5, step=None, refit=False, level=(80, 95), kind="series", series=None,
        max_series=1, ax=None, line_kwargs=None, band_kwargs=None,
    ):
        """Backtests and draws.  The forecaster itself is not changed.

        Parameters
        ----------
        forecaster : forecaster
            It need not be fitted.
        y, X
            As in its `fit`.
        n_splits, step, refit
            As in its `backtest`.
        level : sequence of float, default=(80, 95)
            Intervals, in percent; None or empty for none.
        kind, series, max_series, ax, line_kwargs, band_kwargs
            See `plot`.

        Returns
        -------
        display : BacktestDisplay

        Raises
        ------
        TypeError
            Where it is no forecaster.
        ValueError
            Where `kind` or a series is unknown.
        """
        _axes.require_matplotlib()
        check_forecaster(forecaster)
        _check_kind(kind)
        level = list(level) if level is not None and len(level) else None
        frame = forecaster.backtest(y, X, n_splits=n_splits, step=step, refit=refit, level=level)
        history, seasonality = _history(forecaster, y, _frames.plain_ids(frame)), getattr(forecaster, "seasonality", 1)
        return cls.from_frame(
            frame, history=history, seasonality=seasonality, kind=kind, series=series, max_series=max_series, ax=ax,
            line_kwargs=line_kwargs, band_kwargs=band_kwargs,
        )

    @classmethod
    def from_frame(
        cls, frame, *, history=None, seasonality=1, kind="series", series=None, max_series=1, model=None, ax=None,
        line_kwargs=None, band_kwargs=None,
    ):
        """Draws a backtest that exists already.

        Parameters
        ----------
        frame : DataFrame
            What `backtest` returned.
        history : Series, DataFrame or array, default=None
            The y of the backtest, for the naive forecast and for the truth between forecasts.  Without it there is a naive
            forecast only where the frame has the truth at each cutoff.
        seasonality : int, default=1
            Rows of a season, which the naive forecast repeats; above 1 it needs a history.
        kind, series, max_series, model, ax, line_kwargs, band_kwargs
            See `plot`.

        Returns
        -------
        display : BacktestDisplay

        Raises
        ------
        TypeError
            Where `frame` is no DataFrame.
        ValueError
            Where columns are missing, or the history has no row at a cutoff.
        """
        _axes.require_matplotlib()
        _check_frame(frame)
        frame = _frames.plain_ids(frame)
        seasonality = _frames.check_count("seasonality", seasonality)
        if history is not None:
            history = _frames.rename_series(_frames.as_long(history), list(dict.fromkeys(frame["unique_id"])))
        display = cls(_with_naive(frame, history, seasonality), history=history, seasonality=seasonality)
        return display.plot(ax, kind=kind, series=series, max_series=max_series, model=model, line_kwargs=line_kwargs,
                            band_kwargs=band_kwargs)

    def plot(self, ax=None, *, kind="series", series=None, max_series=1, model=None, line_kwargs=None, band_kwargs=None):
        """Draws.

        Parameters
        ----------
        ax : matplotlib Axes or array of Axes, default=None
            One for each series with ``kind="series"``, else one.  None makes a figure: with pyplot in an interactive session or
            where pyplot is imported, so that it is shown; else without, so that nothing is kept and any thread may draw.
        kind : {"series", "error", "coverage"}, default="series"
            "series": the truth, and the forecasts of cutoffs far enough apart not to overlap.  "error": mean absolute error by
            horizon beside the naive forecast's; that of several series is in units of each one's mean naive error.
            "coverage": share of truths within each interval by horizon, beside the nominal share.
        series : name or list of names, default=None
            None: the first `max_series` with ``kind="series"``, else all.
        max_series : int, default=1
            See `series`.
        model : str or list of str, default=None
            Models with ``kind="error"`` (None: all); a single one with the other kinds (None: the first).
        line_kwargs : dict, default=None
            For the `Axes.plot` of the forecasts, errors or shares.
        band_kwargs : dict, default=None
            For the `Axes.fill_between` of the intervals.

        Returns
        -------
        display : BacktestDisplay
        """
        _check_kind(kind)
        _frames.check_count("max_series", max_series)
        known = list(dict.fromkeys(self.frame["unique_id"]))
        names = _frames.choose_series(known, series, max_series if kind == "series" else len(known))
        frame = _with_horizon(self.frame[self.frame["unique_id"].isin(names)])
        levels = _frames.forecast_columns(frame.drop(columns=["horizon", "naive"], errors="ignore"))
        models = _frames.choose_models(list(levels), model)
        if kind != "error" and model is not None and len(models) > 1:
            raise ValueError(f"model={model!r}: kind={kind!r} shows one model; name one of {models}.")
        self.axes_, self.figure_, new = _axes.make_axes(ax, len(names) if kind == "series" else 1, kind)
        self.ax_, style = self.axes_[0], line_kwargs or {}
        if kind == "series":
            drawn = [self._draw_series(axes, frame, name, models[0], levels[models[0]], style, band_kwargs or {})
                     for axes, name in zip(self.axes_, names)]
        elif kind == "error":
            drawn = [(self._draw_error(self.ax_, frame, models, style), {})]
        else:
            drawn = [(_draw_coverage(self.ax_, frame, models[0], levels[models[0]], style), {})]
        self.lines_, self.bands_ = [lines for lines, _ in drawn], [bands for _, bands in drawn]
        self.legend_ = _axes.add_legend(self.axes_, self.figure_, new)
        return self

    def _draw_series(self, ax, frame, name, model, levels, line_kwargs, band_kwargs) -> tuple[dict, dict]:
        """Truth and forecasts of one series."""
        mine = frame[frame["unique_id"] == name].sort_values(["cutoff", "ds"], kind="stable")
        kept, cutoffs = _apart(mine), mine["cutoff"].nunique()
        path = _interrupted(kept)
        truth = mine.drop_duplicates("ds").sort_values("ds")
        if self.history is not None:
            past = self.history[self.history["unique_id"] == name]
            truth = past[(past["ds"] >= mine["cutoff"].min()) & (past["ds"] <= mine["ds"].max())]
        sides = {level: (path[low].to_numpy(float), path[high].to_numpy(float)) for level, (low, high) in levels.items()}
        bands = _axes.draw_bands(ax, _axes.to_x(path["ds"].array), sides, **{"color": _axes.MODELS[0], **band_kwargs})
        x = _axes.to_x(truth["ds"].array)
        lines = {"y_true": ax.plot(x, truth["y"].to_numpy(float), color=_axes.TRUTH, linewidth=1.3, label="truth",
                                   marker="o" if len(x) < 3 else None, markersize=3.5)[0]}
        marks = {"marker": "o", "markersize": 3.5} if len(kept) <= 3 * _FEW else {}
        style = {"color": _axes.MODELS[0], "linewidth": 1.8, "label": str(model), **marks, **line_kwargs}
        lines[model], = ax.plot(_axes.to_x(path["ds"].array), path[model].to_numpy(float), **style)
        shown = kept["cutoff"].nunique()
        if kept["horizon"].max() > 1:
            for number, cutoff in enumerate(_axes.to_x(kept["cutoff"].drop_duplicates().array)):
                ax.axvline(cutoff, color="0.35", linewidth=0.9, linestyle=":", zorder=1, label="" if number else "cutoff")
        _axes.label_times(ax, truth["ds"].array)
        of = "" if name in ("y", None) else f"{name}: "
        counted = f"{shown} of {cutoffs} cutoffs (the others overlap)" if shown < cutoffs else _plural(shown, "cutoff")
        _axes.dress(ax, f"{of}{counted}")
        return lines, bands

    def _draw_error(self, ax, frame, models, line_kwargs) -> dict:
        """Mean absolute error by horizon."""
        shown = [*(["naive"] if "naive" in frame else []), *models]
        errors = frame[shown].sub(frame["y"], axis=0).abs().astype(float)
        label, n = "mean absolute error", frame["unique_id"].nunique()
        if n > 1 and "naive" in shown:
            unit = errors["naive"].groupby(frame["unique_id"]).transform("mean")
            errors = errors.div(unit.where(unit > 0), axis=0)
            label = "mean absolute error / naive error of the series"
        by_horizon = errors.groupby(frame["horizon"]).mean()
        lines = {}
        for column, color in zip(shown, ([_axes.NAIVE] if "naive" in shown else []) + _axes.model_colors(len(models))):
            naive = column == "naive"
            style = {"color": color, "linewidth": 2.4 if naive else 1.8, **_marks(by_horizon)}
            still = naive and (frame["naive"] == 0).all()
            style |= {"label": _frames.naive_label(self.seasonality, still)} if naive else {"label": str(column), **line_kwargs}
            lines[column], = ax.plot(by_horizon.index.to_numpy(), by_horizon[column].to_numpy(), **style)
        ax.set_ylim(bottom=0)
        _horizon_axis(ax, label)
        _axes.dress(ax, f"Error by horizon ({_counted(frame)})")
        return lines


def _draw_coverage(ax, frame, model, levels, line_kwargs) -> dict:
    """Share of truths within each interval by horizon."""
    if not levels:
        raise ValueError(f"{model!r} has no intervals in this backtest; make it with level=[80, 95].")
    known = frame[frame["y"].notna()]
    lines = {}
    for color, level in zip(_axes.model_colors(len(levels)), sorted(levels)):
        low, high = levels[level]
        inside = known["y"].between(known[low], known[high]).astype(float).where(known[low].notna())
        share = 100 * inside.groupby(known["horizon"]).mean()
        ax.axhline(level, color=color, linewidth=1.2, linestyle="--", zorder=1)
        style = {"color": color, "linewidth": 1.8, "label": f"within the {level:g} % interval", **_marks(share), **line_kwargs}
        lines[level], = ax.plot(share.index.to_numpy(), share.to_numpy(), **style)
    ax.set_ylim(min(ax.get_ylim()[0], min(levels) - 10), 102)
    _horizon_axis(ax, "share of truths, %")
    _axes.dress(ax, f"{model}: coverage by horizon, nominal dashed ({_counted(frame)})")
    return lines


def _marks(by_horizon: Any) -> dict:
    return {"marker": "o", "markersize": 3.5} if len(by_horizon) <= _FEW else {}


def _horizon_axis(ax: Any, ylabel: str) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set(xlabel="horizon, steps", ylabel=ylabel)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _counted(frame: pd.DataFrame) -> str:
    series, cutoffs = frame["unique_id"].nunique(), frame["cutoff"].nunique()
    return f"{series} series, {_plural(cutoffs, 'cutoff')}"


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _history(forecaster: Any, y: Any, frame: pd.DataFrame) -> pd.DataFrame | None:
    """The series that were backtested: from y, or where y is more than that (prices, symbols) from the last fit."""
    ids = list(dict.fromkeys(frame["unique_id"]))
    panel = getattr(forecaster, "history_", None)
    makers = [lambda: _frames.rename_series(_frames.as_long(y), ids), lambda: _frames.panel_frame(panel)]
    for make in makers if panel is not None else makers[:1]:
        try:
            history = make()
        except ValueError:  # a symbol is no series
            continue
        if all(frame.loc[frame["unique_id"] == name, "cutoff"].isin(_frames.of(history, name)["ds"]).all() for name in ids):
            return history
    return None


def _check_kind(kind: Any) -> None:
    if kind not in _KINDS:
        raise ValueError(f"kind={kind!r} is unknown; use one of {', '.join(map(repr, _KINDS))}.")


def _check_frame(frame: Any) -> None:
    if not hasattr(frame, "columns"):
        raise TypeError(f"frame is a {type(frame).__name__}; pass the long frame that backtest returned.")
    missing = [column for column in _frames.KEYS if column not in frame.columns]
    if missing:
        raise ValueError(f"the frame lacks {missing}; that of a backtest has unique_id, ds, cutoff, y and <model>.")
    if len(frame) == 0:
        raise ValueError("the backtest has no row; there is nothing to draw.")


def _with_horizon(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a column horizon: 1 for the step after the cutoff."""
    frame = frame.sort_values(["unique_id", "cutoff", "ds"], kind="stable")
    return frame.assign(horizon=frame.groupby(["unique_id", "cutoff"], sort=False).cumcount() + 1)


def _with_naive(frame: pd.DataFrame, history: pd.DataFrame | None, seasonality: int) -> pd.DataFrame:
    """The frame with a column naive, where the value at every cutoff is known."""
    import pandas as pd

    frame = _with_horizon(frame)
    if seasonality > 1 and "seasonal_naive" in frame:
        frame = frame.drop(columns="naive", errors="ignore").rename(columns={"seasonal_naive": "naive"})
    frame = frame.drop(columns="seasonal_naive", errors="ignore")
    known = history if history is not None else frame.drop_duplicates(["unique_id", "ds"])
    if "naive" in frame or (history is None and seasonality > 1):
        return frame.drop(columns="horizon")
    values = np.full(len(frame), np.nan)
    names = frame["unique_id"].to_numpy()
    for name in dict.fromkeys(names):
        rows = np.flatnonzero(names == name)
        past = known[known["unique_id"] == name].sort_values("ds", kind="stable")
        at = pd.Index(past["ds"]).get_indexer(pd.Index(frame["cutoff"].iloc[rows]))
        if (at < 0).any():
            if history is None:
                return frame.drop(columns="horizon")
            first = frame["cutoff"].iloc[rows[at < 0][0]]
            raise ValueError(f"history has no row of series {name!r} at the cutoff {first}; pass the y of the backtest.")
        filled = past["y"].astype(float).ffill().to_numpy()
        ahead = (frame["horizon"].to_numpy()[rows] - 1) % seasonality
        back = at - seasonality + 1 + ahead
        values[rows] = filled[np.where(at + 1 >= seasonality, back, at)]
    return frame.drop(columns="horizon").assign(naive=values)


def _apart(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the cutoffs that begin where the one before has ended."""
    ends = frame.groupby("cutoff", sort=True)["ds"].max()
    kept, end = [], None
    for cutoff, last in ends.items():
        if end is None or cutoff >= end:
            kept.append(cutoff)
            end = last
    return frame[frame["cutoff"].isin(kept)]


def _interrupted(frame: pd.DataFrame) -> pd.DataFrame:
    """Forecasts one behind the other, with a row of NaN between cutoffs; those of one step are one line."""
    import pandas as pd

    if frame["horizon"].max() == 1:
        return frame
    parts = []
    for _, part in frame.groupby("cutoff", sort=True):
        gap = part.iloc[-1:].copy()
        gap[[column for column in part.columns if column not in ("unique_id", "ds", "cutoff", "horizon")]] = np.nan
        parts += [part, gap]
    return pd.concat(parts[:-1], ignore_index=True)
