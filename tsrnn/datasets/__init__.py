"""Data sets: embedded ones without a network, and prices by ticker symbol, which are kept on disk."""

from tsrnn.datasets._cache import get_data_home
from tsrnn.datasets._errors import (
    EmptyPricesError,
    FetchError,
    HalfFilledError,
    NotCachedError,
    OfflineError,
    PriceError,
    RateLimitError,
    SourceError,
    UnknownTickerError,
)
from tsrnn.datasets._fetch import fetch_prices
from tsrnn.datasets._prices import load_prices

__all__ = [
    "EmptyPricesError", "FetchError", "HalfFilledError", "NotCachedError", "OfflineError", "PriceError", "RateLimitError",
    "SourceError", "UnknownTickerError", "fetch_prices", "get_data_home", "load_prices",
]
