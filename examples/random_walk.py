"""Why repeating the last value is hard to beat: random walks, where nothing else can be known, and what models make of them.

Each walk is forecast one step ahead over its last part, by a network fitted to what lies before.  No forecast can have a
skill above 0 but by luck; R² is near 1 all the same, for the naive forecast too, because levels hardly move in one step.
"""

import numpy as np

from tsrnn import LSTMRegressor, WindowForecaster

SETTINGS = {
    "levels, scaler of the series": {"scaler": "standard"},
    "levels, scaler of the window": {"scaler": "window"},
    "differences": {"transform": "diff"},
}


def r2(y, forecast):
    return 1 - np.sum((y - forecast) ** 2) / np.sum((y - y.mean()) ** 2)


def main(n_walks=20, n=1000, n_test=200, max_iter=50):
    walks = [np.random.default_rng(seed).normal(size=n).cumsum() for seed in range(n_walks)]
    skills = {}
    print(f"{n_walks} walks, {n_test} one-step forecasts each      mean skill   median   worst     best   median R² (naive)")
    for name, settings in SETTINGS.items():
        rows = []
        for walk in walks:
            network = LSTMRegressor(
                hidden_layer_sizes=(16,), early_stopping=True, max_iter=max_iter, batch_size=64, random_state=0)
            result = WindowForecaster(network, window=30, **settings).backtest(walk, n_splits=n_test)
            y, model, naive = (result[column].to_numpy() for column in ("y", "LSTMRegressor", "naive"))
            rows.append((1 - np.abs(y - model).mean() / np.abs(y - naive).mean(), r2(y, model), r2(y, naive)))
        skill, ours, theirs = np.transpose(rows)
        print(f"{name:45} {skill.mean():+10.3f} {np.median(skill):+8.3f} {skill.min():+7.2f} {skill.max():+8.2f}"
              f" {np.median(ours):9.2f} ({np.median(theirs):.2f})")
        skills[name] = skill
    return skills


if __name__ == "__main__":
    main()
