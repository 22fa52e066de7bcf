"""Data sets: embedded and generated ones without a network; prices by ticker symbol and film reviews, kept on disk."""

from tsrnn.datasets._cache import get_data_home
from tsrnn.datasets._download import DatasetDamagedError, DatasetError, DatasetOfflineError
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
from tsrnn.datasets._imdb import fetch_imdb
from tsrnn.datasets._prices import load_prices
from tsrnn.datasets._reviews import make_reviews

__all__ = [
    "DatasetDamagedError", "DatasetError", "DatasetOfflineError", "EmptyPricesError", "FetchError", "HalfFilledError",
    "NotCachedError", "OfflineError", "PriceError", "RateLimitError", "SourceError", "UnknownTickerError", "fetch_imdb",
    "fetch_prices", "get_data_home", "load_prices", "make_reviews",
]
