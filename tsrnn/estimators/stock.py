"""`StockForecaster`: prices, volumes and indicators in, the next sessions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from tsrnn.data.mirror import labels, panel_future
from tsrnn.data.panel import Panel, read_panel
from tsrnn.data.reading import read_numbers
from tsrnn.data.scaling import CHANGES
from tsrnn.data.sessions import sessions, usual_sessions
from tsrnn.data.stocks import ALONE, OHLCV, Stocks, feature_matrix, read_stocks, tidy_name
from tsrnn.estimators._declare import param
from tsrnn.estimators._repeat import Nothing
from tsrnn.estimators._several import check_device
from tsrnn.estimators.forecast import WindowForecaster
from tsrnn.estimators.presets import CNNLSTMRegressor, LSTMRegressor

if TYPE_CHECKING:
    import pandas as pd


class StockForecaster(WindowForecaster, defaults={"transform": "log_return", "window": 30},
                      fixed={"multivariate": False, "past_covariates": (), "static_covariates": ()}):
    """Forecasts share prices from open, high, low, close, volume and indicators.

    The rows of a stock are its trading sessions: weekends, holidays and gaps are not filled.  Prices forecast a day ahead are
    rarely better than yesterday's; `skill_` says by how much.

    {parameters}

    Attributes
    ----------
    regressor_ : regressor, or dict of stock to regressor
        Fitted; with `n_ensembles` a list in the place of each regressor.
    skill_ : float
        1 - mean absolute error / that of repeating the last price (of returns of 0 where these are the target), on the rows
        held out, each stock in units of the latter.  Below 0 the last price does better, and a warning says so.
    seasonal_skill_ : float
        The same against repeating the last season.
    skipped_ : dict
        Stocks that cannot be forecast, and why; their forecasts are NaN.
    history_ : Panel
        Targets and features, with the rows that `update` brought.

    See Also
    --------
    WindowForecaster : For everything that is no price.
    tsrnn.datasets.fetch_prices : Prices by ticker symbol, with a choice of dates and vendor.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from tsrnn import StockForecaster
    >>> from tsrnn.datasets import load_prices
    >>> forecast = StockForecaster(Ridge(1000)).fit(load_prices()).predict()
    >>> f"{forecast.index[0]:%A, %B %d}: {forecast.iloc[0]:.0f}"
    'Wednesday, October 15: 361'
    """

    target: str = param(
        "close", [StrOptions({"close", "return"})], "What is forecast: the closing price, or its log-return from session to "
                                                    "session; `transform` is for prices only.")
    features: Sequence[str] = param(
        OHLCV, ["array-like"], "Columns of the frame in any spelling (\"Adj Close\", \"adj_close\"), and indicators such as "
        "\"rsi_14\" or \"volatility_20\" (`tsrnn.data.indicators.INDICATORS`).  The target itself is always seen.  Where "
        "changes are forecast (`transform`, or returns as the target), open, high, low, volume and adj_close enter as changes "
        "too, else as they are; other columns always as they are.")
    calendar: Any = param(
        None, [object], "Sessions to come: a pandas offset or holiday calendar, their dates, or a calendar of "
        "exchange_calendars or pandas_market_calendars.  None: weekdays (the days of the week of the history where these are "
        "others; weeks or months where its rows are).")

    _past = ()
    _static = ()

    @classmethod
    def lu2020(cls, random_state=None, **parameters) -> StockForecaster:
        """The CNN-LSTM of Lu et al. (2020).

        "A CNN-LSTM-based model to forecast stock prices", Complexity 2020, 6622927: ten days of eight standardised columns, a
        convolution of 32 filters of width 1 with tanh, pooling (of width 1: all stays), an LSTM of 64 units; Adam on the
        absolute error in batches of 64.  With ``validation_fraction=0`` for 100 epochs, as in the paper; else for as many of
        them as were best on rows held out.

        Parameters
        ----------
        random_state : int, RandomState or None
        **parameters
            In place of those of the paper, say ``features=["open", "high", "low", "volume"]`` where prices come without
            turnover.

        Returns
        -------
        forecaster : StockForecaster
        """
        regressor = CNNLSTMRegressor(conv_filters=(32,), conv_kernel_size=1, conv_activation="tanh", pool_size=1,
                                     hidden_layer_sizes=(64,), loss="absolute_error", learning_rate_init=1e-3, clip_norm=None,
                                     batch_size=64, max_iter=100, n_iter_no_change=100, random_state=random_state)
        paper = {"regressor": regressor, "window": 10, "transform": None, "scaler": "standard",
                 "features": (*OHLCV, "turnover", "ups_and_downs", "change")}
        return cls(**(paper | parameters))

    def fit(self, y, X=None):
        """Learns from prices.

        Parameters
        ----------
        y : str, sequence of str, frame, long frame or dict of frames
            A ticker symbol or several (`tsrnn.datasets.fetch_prices` gets all of their prices, from disk or the network); a
            frame of one stock with dates as index or in a column date; a long frame with a column unique_id, ticker, symbol or
            name; what ``yfinance.download`` returned; or frames by name.
        X : None
            Features come from the prices' own frame.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError
            For columns, features or dates that cannot be used; the message names the stock.
        PriceError
            For ticker symbols whose prices cannot be had.
        """
        check_device(self._regressor)
        stocks = self._stocks(y)
        panel = self._read(stocks, X)
        if self.calendar is not None:
            panel_future(panel, self.horizon)  # a calendar that ends too early is an error now, not after a long fit
        self._fit_panel(panel)
        self._frames = stocks.frames
        return self._report()

    def update(self, y_new, X=None, epochs: int = 0):
        """Appends new sessions; indicators go on from the ones before.

        Parameters
        ----------
        y_new : frame, long frame or dict of frames
            Sessions behind the fitted ones.  No ticker symbols: after a dividend prices are adjusted back to the first day, and
            would not fit to those that are here.
        X : None
        epochs : int, default=0
            As in `WindowForecaster.update`.

        Returns
        -------
        self : object
        """
        check_is_fitted(self)
        stocks = self._stocks(y_new, follows=True)
        super().update(stocks, X, epochs)
        self._frames = self._frames | self._continued(stocks)
        return self

    def _stocks(self, y: Any, follows: bool = False) -> Stocks:
        """Prices, whatever they came as."""
        if isinstance(y, Stocks):
            return y
        self._validate_params()
        is_one = isinstance(y, str)
        if is_one or _are_words(y):
            if follows:
                raise ValueError(f"y={y!r}: prices that are fetched anew may be adjusted otherwise than the fitted ones; fit "
                                 "again, or pass a frame of the sessions that follow.")
            from tsrnn.datasets import fetch_prices

            y = fetch_prices(y if is_one else list(y))
        return read_stocks(y, self._names)

    @property
    def _names(self) -> list[str]:
        """Features in tidy spelling; the target is a channel of its own."""
        return [name for name in dict.fromkeys(map(tidy_name, self.features)) if name != "close"]

    def _continued(self, stocks: Stocks) -> dict[Any, pd.DataFrame]:
        """Frames behind those of the fit."""
        import pandas as pd

        return {name: pd.concat([self._frames[name], new]) if name in self._frames else new
                for name, new in stocks.frames.items()}

    def _read(self, y, X, like: Panel | None = None, follows: bool = False) -> Panel:
        _check_no_covariates(X)
        stocks, names = self._stocks(y, follows), self._names
        if like is not None:
            self._check_like(stocks, names, like)
        frames = self._continued(stocks) if follows else stocks.frames  # indicators look back
        targets, tables = [], []
        for name, frame in frames.items():
            rows = slice(len(frame) - len(stocks.frames[name]), None)
            targets.append(self._target(frame)[rows])
            tables.append(self._features(frame, name, names)[rows])
        alone = None if like is None else replace(like, form=replace(like.form, past=()))  # features are no X
        panel = read_panel(_together(stocks, targets, self.target), calendar_features=self._calendar, like=alone)
        step = panel.form.step
        if like is None:
            step = usual_sessions(panel.times, step) if self.calendar is None else sessions(self.calendar)
        past = tables[0] if len(tables) == 1 else np.concatenate(tables)
        return replace(panel, past=past, form=replace(panel.form, past=tuple(names), step=step))

    def _check_like(self, stocks: Stocks, names: list[str], like: Panel) -> None:
        if tuple(names) != like.form.past:
            raise ValueError(f"features={names} are not those of the fit, {list(like.form.past)}; fit again.")
        if stocks.single != (like.form.kind == "series"):
            one, many = "one stock by itself", "several stocks (or a dict of one)"
            raise ValueError(f"y is {one if stocks.single else many}, the fit had {many if stocks.single else one}; pass "
                             f"{'a dict of frames, {name: frame}' if stocks.single else 'a single frame'}.")

    def _target(self, frame: pd.DataFrame) -> np.ndarray:
        close = frame["close"].to_numpy()
        return np.diff(np.log(close), prepend=np.nan) if self.target == "return" else close

    def _features(self, frame: pd.DataFrame, name: Any, names: list[str]) -> np.ndarray:
        try:
            table = feature_matrix(frame, names, self.transform in CHANGES or self.target == "return")
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        return read_numbers(table, f"a feature of {name}") if table.size else table

    def _ahead(self, panel: Panel, X, horizon: int) -> tuple[Panel, np.ndarray]:
        _check_no_covariates(X)
        return super()._ahead(panel, X, horizon)

    def _naive(self, season: int) -> Any:
        # the last price once more is a return of 0, not the last return
        return Nothing() if self.target == "return" and season == 1 else super()._naive(season)

    @staticmethod
    def _tell_holes(panel: Panel) -> None:
        """Sessions are rows, whatever lies between them."""

    def _reason(self, panel: Panel, s: int) -> str:
        reason = super()._reason(panel, s)
        rows = np.arange(max(int(panel.bounds[s + 1]) - self._reach, int(panel.bounds[s])), panel.bounds[s + 1])
        for name, column in zip((self.target, *panel.form.past), (panel.values[:, 0], *panel.past.T)):
            missing = rows[np.isnan(column[rows])]
            if len(missing) and reason.startswith("missing"):
                return f"{reason} ({name} on {panel.times[missing[-1]]:%Y-%m-%d})"
        return reason

    @property
    def _transform(self) -> str | None:  # type: ignore[override]
        return None if self.target == "return" else self.transform

    @property
    def _settings(self):
        return replace(super()._settings, transform=self._transform)

    @property
    def _regressor(self) -> Any:
        if self.regressor is not None:
            return self.regressor
        # changes of prices are nearly all chance: a net that is not held back learns that by heart
        return LSTMRegressor(hidden_layer_sizes=(16,), dropout=0.5, alpha=1.0, early_stopping=True, max_iter=100, batch_size=64)


def _are_words(y: Any) -> bool:
    """Whether y is a list (an array, an Index) of ticker symbols."""
    import pandas as pd

    some = isinstance(y, (Sequence, np.ndarray, pd.Index, pd.Series)) and not isinstance(y, Stocks) and len(y) > 0
    return some and all(isinstance(ticker, str) for ticker in y)


def _check_no_covariates(X: Any) -> None:
    if X is not None:
        raise ValueError("StockForecaster takes its features from the prices' own frame: add columns to it and name them in "
                         "features, or use WindowForecaster for other covariates; X must be None.")


def _together(stocks: Stocks, targets: list[np.ndarray], name: str) -> Any:
    """One stock's target as a Series; several in a long frame."""
    import pandas as pd

    if stocks.single:
        return pd.Series(targets[0], index=stocks.frames[ALONE].index, name=name)
    first, *others = (frame.index for frame in stocks.frames.values())
    ids = labels(stocks.frames).repeat([len(values) for values in targets])
    return pd.DataFrame({"unique_id": ids, "ds": first.append(others), "y": np.concatenate(targets)})
