"""Settings of a forecaster found by scikit-learn's grid search: on one series, and on a panel that is cut by date.

Every fold is fitted on what lies before it, so no setting is chosen with rows that its model has seen.  The score is minus
the mean absolute scaled error of rolling forecasts: -1 is as good as the naive forecast was within the training rows.
"""

import warnings

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit

from tsrnn import GRURegressor, PanelTimeSeriesSplit, WindowForecaster


def make_load(n_days, phase=0.0, seed=0):
    """Hourly Series: a daily wave that is stronger on weekdays, and noise."""
    rng = np.random.default_rng(seed)
    hours = pd.date_range("2026-01-05", periods=24 * n_days, freq="h", name="ds")
    day = np.sin(2 * np.pi * (hours.hour / 24 + phase)) * np.where(hours.day_of_week < 5, 1.0, 0.5)
    return pd.Series(100 + 20 * day + rng.normal(0, 3, len(hours)), hours, name="y")


def show(search):
    for values, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        print(f"{score:.3f}", values)


def main(n_days=60, max_iter=20, n_series=4, n_jobs=None):
    network = GRURegressor(hidden_layer_sizes=(16,), early_stopping=True, max_iter=max_iter, batch_size=64, random_state=0)
    model = WindowForecaster(network, window=48, horizon=12, seasonality=24)

    series = make_load(n_days)
    grid = {"regressor__hidden_layer_sizes": [(8,), (32,)], "patch": [1, 12]}
    one = GridSearchCV(model, grid, cv=TimeSeriesSplit(n_splits=2, test_size=24 * 7), n_jobs=n_jobs)

    panel = pd.concat({f"house {k}": make_load(n_days, k / 8, seed=k) for k in range(n_series)}, names=["unique_id", "ds"])
    panel = panel.reset_index()
    grid = {"scaler": ["window", "standard"], "calendar_features": [(), ("hour", "dayofweek")]}
    many = GridSearchCV(model, grid, cv=PanelTimeSeriesSplit(n_splits=2, test_size=24 * 7), n_jobs=n_jobs)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # few epochs on purpose
        for title, search, y in (("one series", one, series), ("a panel", many, panel)):
            search.fit(y)  # the best setting is fitted again on all rows, and forecasts
            print(f"{title}, -MASE of {search.n_splits_} folds:")
            show(search)
            print(search.best_estimator_.predict())
    return one, many


if __name__ == "__main__":
    main()
