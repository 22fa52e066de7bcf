"""Channels that know of one another: a pump's pressure runs ahead of the temperature that it drives.

The columns of a wide frame are series of one model, each by itself; ``multivariate=True`` joins them as channels of one
series, so that each is forecast from all.  The channels' forecasts stand beside repeating the last value and beside a
linear model on the same windows.
"""

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge

from tsrnn import LSTMRegressor, WindowForecaster, metrics


def make_plant(n, delay=8, seed=0):
    """Wide frame (n, 2), a row every ten minutes: temperature follows pressure, bent and smoothed, `delay` rows later."""
    rng = np.random.default_rng(seed)
    pressure = np.zeros(n + delay)
    for t in range(1, n + delay):
        pressure[t] = 0.9 * pressure[t - 1] + rng.normal(0, 0.5)
    driven = pd.Series(np.tanh(pressure)).ewm(span=3).mean().to_numpy()
    index = pd.date_range("2026-01-01", periods=n, freq="10min", name="time")
    return pd.DataFrame({"pressure": 5 + pressure[delay:], "temperature": 60 + 8 * driven[:n] + rng.normal(0, 0.3, n)}, index)


def main(n=6000, max_iter=100, n_splits=100, horizon=6):
    frame = make_plant(n)
    network = LSTMRegressor(hidden_layer_sizes=(32,), early_stopping=True, max_iter=max_iter, batch_size=64,
                            learning_rate_init=5e-3, random_state=0)
    settings = {"window": 24, "horizon": horizon, "scaler": "standard"}
    models = {
        "LSTM, joined": WindowForecaster(network, multivariate=True, **settings),
        "LSTM, each alone": WindowForecaster(network, **settings),
        "Ridge, joined": WindowForecaster(Ridge(), multivariate=True, **settings),
    }
    keys, tables = ["unique_id", "cutoff", "ds", "y", "naive"], []
    for name, model in models.items():
        table = model.backtest(frame, n_splits=n_splits, level=80).set_index(keys)
        tables.append(table.set_axis([column.replace(type(model.regressor).__name__, name) for column in table], axis=1))
    result = pd.concat(tables, axis=1).reset_index()
    scores = metrics.evaluate(result, by="unique_id")
    print(f"{n_splits} cutoffs, {horizon} rows each:", scores[["mae", "skill", "coverage-80"]].round(3), sep="\n")

    forecaster = models["LSTM, joined"].fit(frame)
    forecast = forecaster.predict(level=80)
    paths = forecaster.simulate(500, random_state=0)  # whole futures, both channels together: (500, horizon, 2)
    share = np.mean(paths[:, :, 1].max(axis=1) > 68)
    print("", forecast.round(2).to_string(), f"chance that the temperature exceeds 68 within the hour: {share:.0%}", sep="\n")
    return scores, forecast, paths


if __name__ == "__main__":
    main()
