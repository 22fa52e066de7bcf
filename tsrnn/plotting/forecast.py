"""`ForecastDisplay`: what was, what is forecast and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tsrnn.plotting import _axes, _frames

if TYPE_CHECKING:
    import pandas as pd

_FEW = 12    # steps, up to which each has a marker
_MANY = 200  # steps, beyond which the line is thin


class ForecastDisplay:
    """History, forecast, interval fan, naive forecast and, where it is known, the truth; one axes a series.

    Make it with `from_estimator` or `from_frame`.

    Parameters
    ----------
    forecast : DataFrame
        Long: unique_id, ds, and for each model ``<model>``, ``<model>-lo-80``, ``<model>-hi-80``, ...
    history : DataFrame, default=None
        Long: unique_id, ds, y.
    y_true : DataFrame, default=None
        Long: unique_id, ds, y.
    naive : DataFrame, default=None
        Long: unique_id, ds, naive.
    seasonality : int, default=1
        Rows that the naive forecast repeats, for the legend.
    of_changes : bool, default=False
        The series are returns or other changes, whose naive forecast is 0; for the legend.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
    ax_ : matplotlib.axes.Axes
        The first of `axes_`.
    axes_ : ndarray of shape (n_series,)
    lines_ : list of dict of str to Line2D
        For each axes: "history", "y_true", "naive", and each model by its name.  Lines after the history begin at its last
        point.
    bands_ : list of dict of (str, float) to polygons
        For each axes, by model and level.
    legend_ : matplotlib.legend.Legend
    """

    def __init__(self, forecast: pd.DataFrame, *, history=None, y_true=None, naive=None, seasonality: int = 1,
                 of_changes: bool = False):
        self.forecast = forecast
        self.history = history
        self.y_true = y_true
        self.naive = naive
        self.seasonality = seasonality
        self.of_changes = of_changes

    @classmethod
    def from_estimator(
        cls, forecaster, horizon=None, X=None, *, level=(80, 95), y=None, y_true=None, series=None, max_series=1,
        n_history=None, ax=None, line_kwargs=None, band_kwargs=None,
    ):
        """Forecasts and draws.

        Parameters
        ----------
        forecaster : forecaster
            Fitted.
        horizon : int, default=None
            Steps; None is the forecaster's own.
        X : array-like, default=None
            Covariates of the steps to forecast, as in its `predict`.
        level : sequence of float, default=(80, 95)
            Intervals, in percent; None or empty for none.
        y : array-like, default=None
            Other histories, as in its `predict`; None is what it was fitted on and updated with.
        y_true : array-like, default=None
            What happened: of the kind of y, or values from the first forecast step on.  Rows after the last are not drawn.
        series : name or list of names, default=None
            Of a panel.  None: the first `max_series` that have a forecast.
        max_series : int, default=1
            See `series`.
        n_history : int, default=None
            Last rows of the history to draw; None: three horizons or two seasons, at least 60.
        ax, line_kwargs, band_kwargs
            See `plot`.

        Returns
        -------
        display : ForecastDisplay

        Raises
        ------
        TypeError
            Where it is no forecaster.
        ValueError
            Where it is not fitted, or a series is unknown.
        """
        _axes.require_matplotlib()
        check_forecaster(forecaster)
        prediction = forecaster.predict(horizon, X, level=list(level) if level is not None and len(level) else None, y=y)
        panel = forecaster.history_
        history = _frames.panel_frame(panel) if y is None else _frames.given_frame(y, panel)
        ids = list(panel.ids) if history is None else list(dict.fromkeys(history["unique_id"]))
        begin = 0 if panel.form.dated or history is None else history["ds"].max() + 1
        forecast = _frames.prediction_frame(prediction, panel.form.kind, ids, begin, model_name(forecaster))
        display = cls._chosen(forecast, history, y_true, series, max_series, getattr(forecaster, "seasonality", 1),
                              getattr(forecaster, "target", None) == "return")
        return display.plot(ax, n_history=n_history, line_kwargs=line_kwargs, band_kwargs=band_kwargs)

    @classmethod
    def from_frame(
        cls, frame, *, history=None, y_true=None, model=None, series=None, max_series=1, seasonality=1, n_history=None, ax=None,
        line_kwargs=None, band_kwargs=None,
    ):
        """Draws forecasts that exist already.

        Parameters
        ----------
        frame : DataFrame or Series
            Long: unique_id, ds, ``<model>``, ``<model>-lo-80``, ``<model>-hi-80``, ...; or the same columns of one series, with
            the times as its index; or, beside a wide `history`, a column a series.
        history : Series, DataFrame or array, default=None
            What was known, as the y of `fit`.
        y_true : Series, DataFrame or array, default=None
            What happened, as the history, or values from the first forecast step on.
        model : str or list of str, default=None
            Models to draw; None is all.
        series, max_series, n_history
            As in `from_estimator`.
        seasonality : int, default=1
            Rows of a season, which the naive forecast repeats; it needs a history.
        ax, line_kwargs, band_kwargs
            See `plot`.

        Returns
        -------
        display : ForecastDisplay
        """
        _axes.require_matplotlib()
        past = None if history is None else _frames.as_long(history)
        ids = ["y"] if past is None else list(dict.fromkeys(past["unique_id"]))
        forecast = _frames.any_frame(frame, ids, wide=hasattr(history, "columns"))
        if past is not None:
            past = _frames.rename_series(past, list(dict.fromkeys(forecast["unique_id"])))
        if model is not None:
            forecast = _frames.only_models(forecast, model)
        display = cls._chosen(forecast, past, y_true, series, max_series, seasonality)
        return display.plot(ax, n_history=n_history, line_kwargs=line_kwargs, band_kwargs=band_kwargs)

    @classmethod
    def _chosen(cls, forecast, history, y_true, series, max_series, seasonality, of_changes=False):
        """The display of the chosen series."""
        import pandas as pd

        _frames.check_count("max_series", max_series)
        seasonality = _frames.check_count("seasonality", seasonality)
        models = list(_frames.forecast_columns(forecast))
        if len(forecast) == 0:
            raise ValueError("the frame of forecasts has no row; there is nothing to draw.")
        known = list(dict.fromkeys(forecast["unique_id"]))
        if series is None:  # series that were left out have no forecast to show
            there = forecast.loc[forecast[models].notna().any(axis=1), "unique_id"]
            known = list(dict.fromkeys(there)) or known
        ids = _frames.choose_series(known, series, max_series)
        forecast = pd.concat([_frames.of(forecast, name).sort_values("ds", kind="stable") for name in ids], ignore_index=True)
        naive = None
        if history is not None:
            history = history[history["unique_id"].isin(ids)]
            lengths = history.groupby("unique_id").size().reindex(ids, fill_value=0)
            if lengths.min() < seasonality:
                seasonality = 1
            naive = _frames.naive_frame(forecast, history, ids, seasonality, of_changes)
        truth = _frames.truth_frame(y_true, forecast, ids)
        return cls(forecast, history=history, y_true=truth, naive=naive, seasonality=seasonality, of_changes=of_changes)

    def plot(self, ax=None, *, n_history=None, line_kwargs=None, band_kwargs=None):
        """Draws.

        Parameters
        ----------
        ax : matplotlib Axes or array of Axes, default=None
            One for each series.  None makes a figure: with pyplot in an interactive session or where pyplot is imported, so
            that it is shown; else without, so that nothing is kept and any thread may draw.
        n_history : int, default=None
            Last rows of the history to draw; None: three horizons or two seasons, at least 60.
        line_kwargs : dict, default=None
            For the `Axes.plot` of the forecast.
        band_kwargs : dict, default=None
            For the `Axes.fill_between` of the intervals.

        Returns
        -------
        display : ForecastDisplay
        """
        ids = list(dict.fromkeys(self.forecast["unique_id"]))
        if n_history is not None:
            _frames.check_count("n_history", n_history, 0)
        self.axes_, self.figure_, new = _axes.make_axes(ax, len(ids), "series")
        self.ax_, self.lines_, self.bands_ = self.axes_[0], [], []
        for axes, name in zip(self.axes_, ids):
            lines, bands = self._draw(axes, name, n_history, line_kwargs or {}, band_kwargs or {})
            self.lines_.append(lines)
            self.bands_.append(bands)
            _axes.dress(axes, self._title(name, len(ids)))
        self.legend_ = _axes.add_legend(self.axes_, self.figure_, new)
        return self

    def _title(self, name: Any, n_series: int) -> str:
        if n_series > 1:
            return str(name)
        models, steps = list(_frames.forecast_columns(self.forecast)), len(self.forecast)
        by = f" by {models[0]}" if len(models) == 1 else ""
        of = "" if name in ("y", None) else f"{name}: "
        return f"{of}forecast of {steps} step{'s' if steps > 1 else ''}{by}"

    def _draw(self, ax: Any, name: Any, n_history: int | None, line_kwargs: dict, band_kwargs: dict) -> tuple[dict, dict]:
        """One series."""
        forecast = _frames.of(self.forecast, name)
        lines: dict[str, Any] = {}
        bands: dict[tuple[str, float], Any] = {}
        start = _Start()
        if self.history is not None:
            past = _frames.of(self.history, name)
            shown = max(60, 3 * len(forecast), 2 * self.seasonality) if n_history is None else n_history
            start = _Start.at_the_end_of(past, forecast)
            past = past.iloc[max(len(past) - shown, 0):]
            if len(past):
                x = _axes.to_x(past["ds"].array)
                style = {"color": _axes.HISTORY, "linewidth": 1.3, "marker": "o" if len(past) < 3 else None, "markersize": 3.5}
                lines["history"], = ax.plot(x, past["y"].to_numpy(float), label="history", **style)
                ax.axvline(x[-1], color="0.5", linewidth=0.8, linestyle=":", zorder=1)
        marks = {"marker": "o", "markersize": 3.5, "markevery": slice(start.n, None)} if len(forecast) <= _FEW else {}
        if self.naive is not None:
            part = _frames.of(self.naive, name)
            style = {"color": _axes.NAIVE, "linewidth": 2.4, "zorder": 1.8,
                     "label": _frames.naive_label(self.seasonality, self.of_changes)}
            lines["naive"], = ax.plot(start.x(part), start.y(part["naive"]), **style, **marks)
        models = _frames.forecast_columns(forecast)
        for color, (model, levels) in zip(_axes.model_colors(len(models)), models.items()):
            sides = {level: (start.y(forecast[low]), start.y(forecast[high])) for level, (low, high) in levels.items()}
            before = f"{model} " if len(models) > 1 else ""
            drawn = _axes.draw_bands(ax, start.x(forecast), sides, label=before, **{"color": color, **band_kwargs})
            bands |= {(model, level): band for level, band in drawn.items()}
            style = {"color": color, "linewidth": 1.8 if len(forecast) <= _MANY else 1.1, "label": str(model), **marks}
            lines[model], = ax.plot(start.x(forecast), start.y(forecast[model]), **style | line_kwargs)
        if self.y_true is not None:
            truth = _frames.of(self.y_true, name)
            style = {"color": _axes.TRUTH, "linewidth": 1.3, "label": "truth", **marks}
            lines["y_true"], = ax.plot(start.x(truth), start.y(truth["y"]), **style)
        _axes.label_times(ax, forecast["ds"].array)
        return lines, bands


class _Start:
    """The last known point, from which lines and bands begin, or nothing."""

    def __init__(self, time: Any = None, value: float | None = None):
        self.time, self.value, self.n = time, value, int(value is not None)

    @classmethod
    def at_the_end_of(cls, past: pd.DataFrame, forecast: pd.DataFrame) -> _Start:
        """None where the last value is missing or does not lie before the forecast."""
        if len(past) == 0 or np.isnan(past["y"].iloc[-1]) or not past["ds"].iloc[-1] < forecast["ds"].iloc[0]:
            return cls()
        return cls(_axes.to_x(past["ds"].array)[-1], float(past["y"].iloc[-1]))

    def x(self, part: pd.DataFrame) -> np.ndarray:
        x = _axes.to_x(part["ds"].array)
        return np.concatenate([np.asarray([self.time], x.dtype), x]) if self.n else x

    def y(self, column: pd.Series) -> np.ndarray:
        y = column.to_numpy(float)
        return np.concatenate([[self.value], y]) if self.n else y


def check_forecaster(forecaster: Any) -> None:
    """TypeError where it is none."""
    if not (hasattr(forecaster, "predict") and hasattr(forecaster, "backtest")) or isinstance(forecaster, type):
        raise TypeError(f"{forecaster!r} is no forecaster; pass a fitted one, such as WindowForecaster(Ridge()).fit(y).")


def model_name(forecaster: Any) -> str:
    """Of what forecasts: the regressor, or the forecaster itself."""
    inner = getattr(forecaster, "regressor_", None)
    if isinstance(inner, Mapping):  # one a series
        inner = next(iter(inner.values()), None)
    if isinstance(inner, list):  # an ensemble
        inner = inner[0]
    return type(forecaster if inner is None else inner).__name__
