"""Fixtures for all tests."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_folder():
    """The folder with real data; tests that use it carry the mark `data` and skip where it is absent."""
    folder = Path(os.environ.get("TSRNN_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder} with real data; set TSRNN_DATA to one")
    return folder


@pytest.fixture(scope="session")
def prices():
    """The embedded prices; do not write to them."""
    from tsrnn.datasets import load_prices

    return load_prices()
