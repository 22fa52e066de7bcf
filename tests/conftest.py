"""Fixtures for all tests, and a simulated card where there is none."""

import os
import signal
from pathlib import Path

import cudasim

if os.environ.get("TSRNN_TEST_CARD") == "ptx":
    import ptx_card

    ptx_card.install()
else:
    cudasim.install()  # before anything imports Numba

import pytest

ROOT = Path(__file__).resolve().parents[1]

# a suite that a script starts in the background inherits an ignored Ctrl-C, and so would all processes that it starts
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
