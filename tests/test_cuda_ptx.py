"""Tests of the CUDA backend once more, on the code that the compiler makes for a card (`ptx_card`): real blocks and tiles."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cudasim import has_gpu

HERE = Path(__file__).parent
CHOSEN = [  # every kernel that compiles takes a second: so few networks, with much in them
    "test_it_agrees_with_the_definition[lstm, concat, left]",
    "test_it_agrees_with_the_definition[gru, concat, right]",
    "test_it_agrees_with_the_definition[max pooling, right]",
    "test_it_agrees_with_the_definition[conv valid]",
    "test_steps_of_a_solver_agree[adam]",
    "test_a_loss_that_is_not_finite_changes_nothing",
]


@pytest.mark.slow
@pytest.mark.skipif(has_gpu(), reason="there is a card: the tests run on it")
def test_on_the_compilers_code():
    environment = os.environ | {"TSRNN_TEST_CARD": "ptx", "NUMBA_ENABLE_CUDASIM": "0"}
    tests = [f"{HERE / 'test_cuda_backend.py'}::{name}" for name in CHOSEN]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    found = subprocess.run(command, env=environment, cwd=HERE.parent, capture_output=True, text=True, timeout=1200)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    assert re.search(rf"\b{len(CHOSEN)} passed", found.stdout) and "skipped" not in found.stdout
