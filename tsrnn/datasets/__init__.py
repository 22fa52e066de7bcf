"""Data sets: embedded and generated ones without a network; prices by ticker symbol and film reviews, kept on disk.

Names are looked up at their first use, as those of the package itself: most programs need one of them.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

_NAMES = {
    "_cache": ("get_data_home",),
    "_download": ("DatasetDamagedError", "DatasetError", "DatasetOfflineError"),
    "_errors": ("EmptyPricesError", "FetchError", "HalfFilledError", "NotCachedError", "OfflineError", "PriceError",
                "RateLimitError", "SourceError", "UnknownTickerError"),
    "_fetch": ("fetch_prices",),
    "_imdb": ("fetch_imdb",),
    "_prices": ("load_prices",),
    "_reviews": ("make_reviews",),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "DatasetDamagedError", "DatasetError", "DatasetOfflineError", "EmptyPricesError", "FetchError", "HalfFilledError",
    "NotCachedError", "OfflineError", "PriceError", "RateLimitError", "SourceError", "UnknownTickerError", "fetch_imdb",
    "fetch_prices", "get_data_home", "load_prices", "make_reviews",
]

if TYPE_CHECKING:
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


def __getattr__(name):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return value


def __dir__():
    return sorted({*globals(), *__all__})
