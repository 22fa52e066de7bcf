"""Data sets that come with the package: no network, no further library."""

from tsrnn.datasets._prices import load_prices

__all__ = ["load_prices"]
