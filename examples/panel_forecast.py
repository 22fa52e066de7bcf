"""One network for a panel of shops: series of unequal length, promotions known ahead, and a shop that it has never seen.

Sales have a weekly pattern that depends on the kind of shop.  A global model learns it from all shops together; `local=True`
fits a small network to each; the seasonal naive forecast repeats the last week.
"""


import numpy as np
import pandas as pd

from tsrnn import GRURegressor, WindowForecaster, metrics

WEEK = {"city": [1, 1, 1, 1.1, 1.4, 1.8, 0.4], "suburb": [0.8, 0.8, 0.9, 0.9, 1.1, 1.5, 1.2]}


def make_shops(n_shops, days, seed=0):
    """Long frames: sales y (unique_id, ds, y) and covariates (unique_id, ds, promotion, kind), 14 days longer than y."""
    rng = np.random.default_rng(seed)
    frames = []
    for shop in range(n_shops):
        n = int(rng.integers(days // 2, days)) + 14  # the shops opened on different days
        ds = pd.date_range(end="2026-03-15", periods=n, name="ds")
        kind = ("city", "suburb")[shop % 2]
        promotion = rng.random(n) < 0.1
        size = rng.uniform(50, 500) * np.exp(np.cumsum(rng.normal(0, 0.01, n)))
        sales = size * np.array(WEEK[kind])[ds.day_of_week] * (1 + 0.5 * promotion) * np.exp(rng.normal(0, 0.1, n))
        frames.append(pd.DataFrame({"unique_id": f"shop {shop}", "ds": ds, "y": sales, "promotion": promotion, "kind": kind}))
    y = pd.concat([frame.iloc[:-14] for frame in frames], ignore_index=True)[["unique_id", "ds", "y"]]
    return y, pd.concat(frames, ignore_index=True).drop(columns="y").astype({"promotion": float})


def main(n_shops=20, days=500, max_iter=100, n_splits=4):
    y, X = make_shops(n_shops + 1, days)
    new = y["unique_id"] == f"shop {n_shops}"  # opened too late for the fit
    known, new = y[~new], y[new]
    network = GRURegressor(hidden_layer_sizes=(32,), early_stopping=True, max_iter=max_iter, batch_size=64,
                           learning_rate_init=5e-3, random_state=0)
    model = WindowForecaster(network, window=28, horizon=14, seasonality=7, calendar_features=["dayofweek"],
                             static_covariates=["kind"])

    result = model.backtest(known, X, n_splits=n_splits, level=80)
    result["local"] = model.set_params(local=True).backtest(known, X, n_splits=n_splits)["GRURegressor"]
    scores = metrics.evaluate(result, y_train=known, seasonality=7, naive="seasonal_naive")
    print(scores[["n", "mae", "mase", "skill", "coverage-80"]].round(3))

    model.set_params(local=False).fit(known, X)
    ahead = model.predict(X=X, level=80)  # the rows of X behind the end of each shop
    unseen = model.predict(y=new, X=X, level=80)  # the same network on another history
    print(f"\nskill against the last value {model.skill_:.3f}, against the last week {model.seasonal_skill_:.3f}")
    print(unseen.head(7).to_string(index=False, float_format="%.1f"))
    return scores, ahead, unseen


if __name__ == "__main__":
    main()
