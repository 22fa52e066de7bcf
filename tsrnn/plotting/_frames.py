"""What users have as long frames, and what forecasts' columns mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("unique_id", "ds", "cutoff", "y")
_SIDE = re.compile(r"(.+)-(lo|hi)-(\d+(?:\.\d+)?)")
_QUANTILE = re.compile(r"(.+)-q-(0?\.\d+)")
_MANY = 8  # choices that an error lists


def text(name: Any) -> Any:
    """The name of a series; one of several levels as its forecasts' columns have it."""
    return "-".join(map(str, name)) if isinstance(name, tuple) else name


def plain_ids(frame: pd.DataFrame) -> pd.DataFrame:
    """The long frame with one-level names."""
    if any(isinstance(name, tuple) for name in frame["unique_id"].unique()):
        return frame.assign(unique_id=[text(name) for name in frame["unique_id"]])
    return frame


def is_long(frame: Any) -> bool:
    """Whether it is a frame with columns unique_id and ds."""
    return hasattr(frame, "columns") and {"unique_id", "ds"} <= set(frame.columns)


def as_long(y: Any) -> pd.DataFrame:
    """Values in any kind as a frame of unique_id, ds and y, rows of a series in order of time.

    Arrays and Series are one series, 2-D arrays and wide frames one a column; arrays have row numbers as times.
    """
    import pandas as pd

    if is_long(y):
        if "y" not in y.columns:
            raise ValueError(f"the long frame has columns {list(y.columns)} but no y; give the values that name.")
        return plain_ids(y)[["unique_id", "ds", "y"]].sort_values(["unique_id", "ds"], kind="stable", ignore_index=True)
    if isinstance(y, pd.Series):
        y = y.to_frame("y" if y.name is None else y.name)
    elif not isinstance(y, pd.DataFrame):
        values = np.asarray(y)
        if values.ndim not in (1, 2) or values.dtype.kind not in "iuf":
            raise ValueError(f"values of shape {values.shape} and type {values.dtype} are no series; pass a 1-D or 2-D array "
                             "of numbers, a Series or a frame.")
        y = pd.DataFrame(values if values.ndim == 2 else {"y": values})
    columns = [(text(name), y[name].to_numpy()) for name in y.columns]
    parts = [pd.DataFrame({"unique_id": [name] * len(y), "ds": y.index, "y": values}) for name, values in columns]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"unique_id": [], "ds": [], "y": []})


def rename_series(frame: pd.DataFrame, ids: Sequence) -> pd.DataFrame:
    """Series of a long frame under the names in `ids`: by position where no name is known and the numbers agree.

    An array has no names, and a Series' name need not be the one that its forecast has.
    """
    names = list(dict.fromkeys(frame["unique_id"]))
    if len(names) != len(ids) or set(names) & set(ids):
        return frame
    return frame.assign(unique_id=frame["unique_id"].map(dict(zip(names, ids))))


def forecast_columns(frame: pd.DataFrame) -> dict[str, dict[float, tuple[str, str]]]:
    """Point forecasts of a long frame, each with its levels (in percent) and their lower and upper columns.

    Quantiles q and 1 - q are the level 100 (1 - 2 q).
    """
    import pandas as pd

    sides: dict[str, dict[float, dict[str, str]]] = {}
    models = []
    for column in frame.columns:
        side, quantile = _SIDE.fullmatch(str(column)), _QUANTILE.fullmatch(str(column))
        if side:
            sides.setdefault(side[1], {}).setdefault(float(side[3]), {})[side[2]] = column
        elif quantile:
            q = float(quantile[2])
            if q != 0.5:
                level = round(100 * abs(1 - 2 * q), 6)
                sides.setdefault(quantile[1], {}).setdefault(level, {})["lo" if q < 0.5 else "hi"] = column
        elif column not in KEYS:
            models.append(column)
    if not models:
        raise ValueError(f"columns {list(frame.columns)} hold no forecast; a frame of forecasts has unique_id, ds and <model>.")
    for model in models:
        if not pd.api.types.is_numeric_dtype(frame[model]):
            raise ValueError(f"column {model!r} is {frame[model].dtype}, a forecast is a number; drop the column.")
    return {model: {level: (both["lo"], both["hi"]) for level, both in sides.get(str(model), {}).items() if len(both) == 2}
            for model in models}


def choose_models(known: Sequence[str], model: Any) -> list[str]:
    """`model` as a list: None means all; a name or a list of names."""
    wanted = list(known) if model is None else [model] if isinstance(model, str) else list(model)
    return [_known(name, known, "model") for name in wanted]


def choose_series(known: Sequence, series: Any, max_series: int) -> list:
    """`series` as a list of names: None means the first `max_series`; a name or a list of names."""
    if max_series < 1:
        raise ValueError(f"max_series={max_series!r} must be at least 1.")
    if series is None:
        return list(known)[:max_series]
    if isinstance(series, (list, np.ndarray)) or hasattr(series, "to_list"):
        if len(series) == 0:
            raise ValueError("series is empty; name at least one series.")
        return [_known(name, known, "series") for name in series]
    return [_known(series, known, "series")]


def _known(name: Any, known: Sequence, what: str) -> Any:
    if name in known:
        return name
    listed = ", ".join(repr(each) for each in list(known)[:_MANY]) + (", ..." if len(known) > _MANY else "")
    raise ValueError(f"{what}={name!r} is not there; there are {len(known)}: {listed}.")


def naive_path(values: np.ndarray, horizon: int, seasonality: int) -> np.ndarray:
    """The naive forecast (horizon,) after `values`: the last season again, or without one the last value."""
    import pandas as pd

    filled = pd.Series(values, dtype=float).ffill().to_numpy()
    season = filled[-seasonality:] if len(filled) >= seasonality else filled[-1:]
    return season[np.arange(horizon) % len(season)] if len(season) else np.full(horizon, np.nan)


def naive_label(seasonality: int, of_changes: bool = False) -> str:
    """What the legend calls it."""
    if of_changes and seasonality == 1:
        return "naive: no change"
    return "naive: repeat the last value" if seasonality == 1 else f"naive: repeat the last {seasonality} steps"


def check_count(name: str, value: Any, least: int = 1) -> int:
    """A whole number, at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number, at least {least}.")
    return int(value)


def of(frame: pd.DataFrame, name: Any) -> pd.DataFrame:
    """Rows of one series."""
    return frame[frame["unique_id"] == name]


def panel_frame(panel: Any) -> pd.DataFrame:
    """A `Panel` as a long frame; joined channels are series."""
    import pandas as pd

    if len(panel.channels) > 1:
        parts = [(name, slice(None), channel) for channel, name in enumerate(panel.channels)]
    else:
        parts = [(name, slice(*panel.bounds[s:s + 2]), 0) for s, name in enumerate(panel.ids)]
    return pd.concat([pd.DataFrame({"unique_id": [text(name)] * len(panel.times[rows]), "ds": panel.times[rows],
                                    "y": panel.values[rows, channel]}) for name, rows, channel in parts], ignore_index=True)


def given_frame(y: Any, panel: Any) -> pd.DataFrame | None:
    """Histories that were given to `predict`, or None where they are no series of numbers (prices with volumes, symbols)."""
    kind = panel.form.kind
    if isinstance(y, (str, Mapping)) or (not hasattr(y, "columns") and np.asarray(y).dtype.kind not in "iuf"):
        return None
    history = as_long(y)
    if kind in ("array", "series"):
        return rename_series(history, list(panel.ids)) if history["unique_id"].nunique() == 1 else None
    return history


def prediction_frame(prediction: Any, kind: str, ids: Sequence, begin: int, model: str) -> pd.DataFrame:
    """What `predict` gave back, as a long frame.

    Parameters
    ----------
    prediction : array, Series or DataFrame
    kind : str
        Of the y that it mirrors, as in `Form`.
    ids : sequence
        Series that are known; those of a wide prediction are looked up here, others keep their columns' names.
    begin : int
        First row number of an array's forecast.
    model : str
        What forecasts.
    """
    import pandas as pd

    if is_long(prediction):
        return plain_ids(prediction)
    if not hasattr(prediction, "index"):
        values = np.asarray(prediction)
        columns = list(ids) if values.ndim == 2 else None
        prediction = pd.DataFrame(values, columns=columns, index=range(begin, begin + len(values)))
    if kind in ("wide", "matrix"):
        known = {str(name): name for name in ids}
        points = [text(column) for column in prediction.columns if not _is_side(column)]
        return split_columns(prediction, [known.get(str(name), name) for name in points], model)
    if isinstance(prediction, pd.Series) or prediction.shape[1] == 1:
        prediction = pd.DataFrame({model: np.asarray(prediction, float).ravel()}, index=prediction.index)
    return _with_keys(prediction, ids[0])


def _is_side(column: Any) -> bool:
    return bool(_SIDE.fullmatch(str(column)) or _QUANTILE.fullmatch(str(column)))


def any_frame(frame: Any, ids: Sequence, wide: bool) -> pd.DataFrame:
    """A user's frame of forecasts as a long one."""
    import pandas as pd

    if is_long(frame):
        return plain_ids(frame)
    if isinstance(frame, pd.Series):
        return _with_keys(frame.to_frame("forecast" if frame.name is None else frame.name), ids[0])
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame is a {type(frame).__name__}; pass the DataFrame or Series that predict returned.")
    if wide and set(map(str, ids)) & set(map(str, frame.columns)):
        return split_columns(frame, ids, "forecast")
    if len(ids) > 1:
        raise ValueError(f"history has {len(ids)} series, but the frame has neither unique_id nor columns of their names.")
    return _with_keys(frame, ids[0])


def _with_keys(frame: pd.DataFrame, name: Any) -> pd.DataFrame:
    out = frame.reset_index(drop=True)
    out.insert(0, "unique_id", [name] * len(out))
    out.insert(1, "ds", frame.index)
    return out


def split_columns(frame: pd.DataFrame, ids: Sequence, model: str) -> pd.DataFrame:
    """Columns <series>, <series>-lo-80, ... as rows."""
    import pandas as pd

    parts = []
    for name in ids:
        sides = (f"{name}-lo-", f"{name}-hi-", f"{name}-q-")
        mine = {}
        for number, column in enumerate(frame.columns):
            full = str(text(column))
            if full == str(name) or full.startswith(sides):
                mine[model + full[len(str(name)):]] = frame.iloc[:, number]
        if mine:
            parts.append(_with_keys(pd.DataFrame(mine), name))
    return pd.concat(parts, ignore_index=True)


def only_models(forecast: pd.DataFrame, model: Any) -> pd.DataFrame:
    """The columns of some models."""
    known = forecast_columns(forecast)
    chosen = choose_models(list(known), model)
    sides = [side for name in chosen for both in known[name].values() for side in both]
    return forecast[["unique_id", "ds", *chosen, *dict.fromkeys(sides)]]


def naive_frame(forecast: pd.DataFrame, history: pd.DataFrame, ids: Sequence, seasonality: int,
                of_changes: bool = False) -> pd.DataFrame:
    """The naive forecasts of the series at the times of their forecasts."""
    import pandas as pd

    parts = []
    for name in ids:
        times, past = of(forecast, name)["ds"], of(history, name)["y"].to_numpy(float)
        past = np.zeros(1) if of_changes and seasonality == 1 else past
        parts.append(pd.DataFrame({"unique_id": [name] * len(times), "ds": times,
                                   "naive": naive_path(past, len(times), seasonality)}))
    return pd.concat(parts, ignore_index=True)


def truth_frame(y_true: Any, forecast: pd.DataFrame, ids: Sequence) -> pd.DataFrame | None:
    """Truth at the times of the forecast; arrays begin at its first step."""
    import pandas as pd

    if y_true is None:
        return None
    if hasattr(y_true, "index") and not isinstance(y_true, list):
        truth = rename_series(as_long(y_true), ids)
        parts = [of(truth, name) for name in ids]
    else:
        values = np.asarray(y_true, float)
        values = values[:, None] if values.ndim == 1 else values
        if values.shape[1] != len(ids):
            raise ValueError(f"y_true has {values.shape[1]} columns for {len(ids)} series drawn; pass a column for each.")
        parts = []
        for name, column in zip(ids, values.T):
            times = of(forecast, name)["ds"].array[:len(column)]
            parts.append(pd.DataFrame({"unique_id": [name] * len(times), "ds": times, "y": column[:len(times)]}))
    spans = [of(forecast, name)["ds"] for name in ids]
    parts = [part[(part["ds"] >= ds.min()) & (part["ds"] <= ds.max())] for part, ds in zip(parts, spans)]
    if not any(map(len, parts)):
        raise ValueError(f"y_true has no row from {spans[0].min()} to {spans[0].max()}, the times of the forecast.")
    return pd.concat(parts, ignore_index=True)
