"""The next sessions of a share with intervals, and what a backtest says of such forecasts, beside repeating the last price.

    python examples/stock_forecast.py             # the embedded prices: Google, 2004 to 2008, no network
    python examples/stock_forecast.py AAPL        # a symbol of Yahoo Finance; its prices are kept on disk for a day
    python examples/stock_forecast.py --plot stock.png
"""

import argparse
import warnings

from tsrnn import LSTMRegressor, StockForecaster, datasets, metrics


def main(ticker=None, horizon=5, n_splits=60, max_iter=50, plot=None):
    prices = datasets.fetch_prices(ticker, "2015-01-01") if ticker else datasets.load_prices()
    network = LSTMRegressor(hidden_layer_sizes=(32,), early_stopping=True, max_iter=max_iter, batch_size=64, random_state=0)
    forecaster = StockForecaster(
        network, window=30, horizon=horizon, features=("open", "high", "low", "close", "volume", "rsi_14", "volatility_20"))

    # many forecasts of the past: fitted once, before the first cutoff, on what was known there
    result = forecaster.backtest(prices, n_splits=n_splits, level=80)
    scores = metrics.evaluate(result, y_train=prices["close"])
    print(f"{n_splits} cutoffs, {horizon} sessions each:", scores.T.round(3).to_string(), sep="\n")

    # is the difference more than luck?  A row a cutoff, in time order
    truth, model, other = (result.pivot_table(index="cutoff", columns=result.groupby("cutoff").cumcount(), values=column)
                           for column in ("y", "LSTMRegressor", "naive"))
    test = metrics.diebold_mariano(truth, model, other)
    print(f"Diebold-Mariano: statistic {test.statistic:+.2f} (below 0 the network lost less), p = {test.pvalue:.2f}")

    # the sessions to come: weekdays, as no calendar is given
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that repeating the price does better is printed below
        forecaster.fit(prices)
    forecast = forecaster.predict(level=[80, 95])
    verdict = "no skill found" if forecaster.skill_ <= 0 else "better than repeating the last price on the rows held out"
    print(f"\nskill {forecaster.skill_:+.3f}: {verdict}", forecast.round(2).to_string(), sep="\n")
    if plot:
        from tsrnn.plotting import ForecastDisplay

        ForecastDisplay.from_estimator(forecaster).figure_.savefig(plot, dpi=120)
    return forecast, scores, test


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("ticker", nargs="?")
    parser.add_argument("--horizon", type=int, default=5)
    parser.add_argument("--plot", help="picture to write")
    main(**vars(parser.parse_args()))
