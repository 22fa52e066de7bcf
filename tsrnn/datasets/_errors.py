"""What can go wrong while prices are fetched: one class a cause."""

from __future__ import annotations


class PriceError(OSError):
    """Prices could not be had; base class of all causes."""


class OfflineError(PriceError):
    """The vendor could not be reached."""


class RateLimitError(PriceError):
    """The vendor refuses because it was asked too often; a `source` raises it to be asked again."""


class UnknownTickerError(PriceError):
    """The vendor does not know the ticker, or no longer."""


class EmptyPricesError(PriceError):
    """There is no price in the range asked for."""


class HalfFilledError(PriceError):
    """Single prices, whole dates or whole columns are missing."""


class SourceError(PriceError):
    """The vendor's answer cannot be used."""


class NotCachedError(PriceError):
    """The prices do not lie on disk, and downloading was forbidden."""


class FetchError(PriceError):
    """Some of several tickers failed.

    Attributes
    ----------
    errors : dict of str to PriceError
        What went wrong with each of them.
    """

    errors: dict[str, PriceError]
