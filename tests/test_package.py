"""Importing the package: cheap, lazy, complete, from anywhere."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import tsrnn

ROOT = Path(tsrnn.__file__).resolve().parents[1]
ESTIMATORS = sorted(name for name in tsrnn.__all__ if name.endswith(("Regressor", "Classifier")))


def python(code, *options, cwd=None, **environment):
    """Run code in a fresh interpreter that finds the package under test."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, check=True, timeout=120, cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


def own_seconds(import_log):
    """Sum of the own times of tsrnn's modules in the log of ``-X importtime``."""
    rows = re.findall(r"^import time:\s+(\d+) \|\s+\d+ \| +(\S+)$", import_log, re.MULTILINE)
    own = [int(microseconds) for microseconds, name in rows if name.partition(".")[0] == "tsrnn"]
    assert own, "the log names no module of tsrnn"
    return sum(own) / 1e6


def test_importing_loads_no_library():
    code = "import sys, tsrnn, tsrnn.datasets, tsrnn.metrics, tsrnn.plotting, tsrnn.data.windows; print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in python(code).stdout.split()}
    assert not loaded & {"numba", "llvmlite", "sklearn", "pandas", "scipy", "yfinance", "matplotlib", "typer", "rich"}


def test_package_itself_loads_no_numpy():
    assert "numpy" not in python("import sys, tsrnn; print(*sys.modules)").stdout.split()


def test_estimators_load_nothing_that_they_do_not_need():
    """scikit-learn itself may load pandas (`sklearn.base`) and rich (`sklearn.callback`)."""
    loaded = set(python("import sys; from tsrnn import LSTMRegressor; print(*sys.modules)").stdout.split())
    assert not loaded & {"yfinance", "matplotlib", "typer", "numba.cuda"}


@pytest.mark.parametrize("statement", ["import tsrnn", "from tsrnn import LSTMRegressor, layers, datasets, metrics, plotting"])
def test_own_import_time(statement):
    python(statement)  # compiles the byte code
    best = min(own_seconds(python(statement, "-X", "importtime").stderr) for _ in range(3))
    assert best <= 0.15


def test_importing_compiles_nothing_and_writes_nothing(tmp_path):
    code = "import tsrnn; from tsrnn import *; import numba; print(sum(len(k.signatures) for k in kernels()))"
    code = code.replace("kernels()", "__import__('tsrnn.backends.cpu.jit', fromlist=['x']).all_kernels()")
    result = python(code, TSRNN_CACHE_DIR=str(tmp_path / "cache"), HOME=str(tmp_path))
    assert result.stdout.strip() == "0"
    assert not (tmp_path / "cache").exists()


def test_works_from_another_folder(tmp_path):
    result = python("import tsrnn; print(len(tsrnn.datasets.load_prices()))", cwd=tmp_path)
    assert result.stdout.strip() == "1047"


@pytest.mark.parametrize("name", tsrnn.__all__)
def test_public_names_resolve(name):
    assert getattr(tsrnn, name) is not None
    assert name in dir(tsrnn)


def test_lists_of_names_agree():
    assert sorted(tsrnn.__all__) == tsrnn.__all__ == sorted([*tsrnn._NAMES, *tsrnn._SUBMODULES])
    assert len(ESTIMATORS) == 11  # ten of sequences, one of texts


def test_lists_of_data_sets_agree():
    assert tsrnn.datasets.__all__ == sorted(tsrnn.datasets._MODULE_OF)
    assert all(getattr(tsrnn.datasets, name) is not None for name in tsrnn.datasets.__all__)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_say_where_they_come_from(name):
    assert getattr(tsrnn, name).__name__ == name
    assert getattr(tsrnn, name).__module__.startswith("tsrnn.estimators")


def test_unknown_names_raise():
    with pytest.raises(AttributeError, match="no attribute 'LTSMRegressor'"):
        tsrnn.LTSMRegressor  # noqa: B018
    assert not hasattr(tsrnn, "NoSuchForecaster")


def test_version_stands_in_one_place():
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", tsrnn.__version__)
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8") if (ROOT / "pyproject.toml").exists() else ""
    assert tsrnn.__version__ not in text
    try:
        installed = version("tsrnn")
    except ModuleNotFoundError:
        pytest.skip("tsrnn is not installed, its sources are imported")
    assert installed == tsrnn.__version__


def test_show_versions_prints_what_a_report_needs(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("TSRNN_CACHE_DIR", str(tmp_path))
    tsrnn.show_versions()
    printed = capsys.readouterr().out
    for word in ("tsrnn", "Python", "numba", "scikit-learn", "vector width", "cores", "threads", "Kernel cache", "folder"):
        assert word in printed
    assert "GPU" not in printed


def test_vector_width_follows_the_features():
    from tsrnn._info import vector_bits

    assert vector_bits("+sse2,+avx,+avx2,+avx512f", "x86_64") == 512
    assert vector_bits("+sse2,+avx,+avx2,-avx512f", "x86_64") == 256
    assert vector_bits("+sse2,-avx", "x86_64") == 128
    assert vector_bits("+neon", "arm64") == 128
    assert vector_bits("", "riscv64") == 64


class TestWarmup:
    def test_rejects_unknown_types_at_once(self):
        with pytest.raises(ValueError, match="dtype='float16' is unknown; use one of"):
            tsrnn.warmup(("float32", "float16"))

    @pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
    def test_reports_progress_and_leaves_nothing_to_compile(self):
        steps = []
        assert tsrnn.warmup(progress=lambda *step: steps.append(step)) > 0
        assert [done for done, _, _ in steps] == list(range(len(steps)))
        assert {total for _, total, _ in steps} == {len(steps) - 1}
        before = _signatures()
        tsrnn.SequenceRegressor(cell="lstm", dropout=0.1, bidirectional=True, hidden_layer_sizes=(3, 2), max_iter=1).fit(
            [[[0.0], [1.0]], [[1.0], [0.0]]], [0.0, 1.0]
        )
        assert _signatures() == before


def _signatures():
    from tsrnn.backends.cpu.jit import all_kernels

    return {kernel.py_func.__qualname__: len(kernel.signatures) for kernel in all_kernels()}
