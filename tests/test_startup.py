"""No surprises: what importing, a first fit and a later process do to the disk, the screen and the generators."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tsrnn

PACKAGE = Path(tsrnn.__file__).resolve().parent

FIT = """
import warnings
import numpy as np
from tsrnn import LSTMRegressor
from tsrnn.backends.cpu.jit import CacheWarning, all_kernels, cache_folder
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    X = np.random.default_rng(0).normal(size=(40, 5))
    model = LSTMRegressor(hidden_layer_sizes=(4,), max_iter=3, tol=0.0, random_state=0).fit(X, X[:, 0])
    prediction = model.predict(X).sum()
of_cache = [str(w.message) for w in told if w.category is CacheWarning]
misses = sum(sum(kernel.stats.cache_misses.values()) for kernel in all_kernels())
"""


def python(code, package=PACKAGE, prefix=(), cwd=None, **environment):
    """Run code in a fresh interpreter with the copy of the package at `package`; returns what it prints."""
    path = os.pathsep.join(filter(None, [str(package.parent), os.environ.get("PYTHONPATH")]))
    settings = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": path, **environment}
    settings = {name: value for name, value in settings.items() if value is not None}
    done = subprocess.run([*prefix, sys.executable, "-c", code], env=settings, cwd=cwd or package.parent, capture_output=True,
                          text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert not done.stderr, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.fixture(scope="module")
def warm():
    """Prediction and cache folder of a process that finds all kernels on disk: the second one."""
    python(FIT)
    prediction, misses, told, folder = python(FIT + "print(prediction, misses, of_cache, cache_folder(), sep='\\n')")
    if folder == "None":
        pytest.skip("there is no writable kernel cache here")
    assert (misses, told) == ("0", "[]")
    return prediction, Path(folder)


@pytest.fixture
def copy(tmp_path):
    """A copy of the package's sources."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "copy" / "tsrnn", ignore=shutil.ignore_patterns("__pycache__")))


def own_cache(folder, tmp_path):
    """A copy of a cache folder as the only one of a new cache."""
    return shutil.copytree(folder, tmp_path / "cache" / folder.name)


def test_importing_and_constructing_compiles_and_hashes_nothing():
    code = """
from sklearn.base import clone
from tsrnn import *
from tsrnn import CNNLSTMClassifier, LSTMRegressor, layers
from tsrnn.backends.cpu.jit import all_kernels, cache_folder
import tsrnn.backends.cpu
model = clone(LSTMRegressor(layers=[layers.LSTM(3), layers.Dense(1)]))
repr(model), model.get_params(), CNNLSTMClassifier()
print(len(all_kernels()) > 20, sum(len(kernel.signatures) for kernel in all_kernels()), cache_folder.cache_info().currsize)
"""
    assert python(code) == ["True 0 0"]


def test_a_warm_process_compiles_nothing(warm):
    assert float(warm[0]) != 0  # the fixture has seen it


def test_a_fit_writes_only_the_kernel_cache_and_prints_nothing(warm, tmp_path):
    """Every file that is opened for writing, and every folder made, under Python's own eyes."""
    watch = """
import os, sys
touched = []
def watch(event, args):
    if event == "open" and isinstance(args[0], (str, bytes)) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        touched.append(os.fsdecode(args[0]))
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "socket.connect"):
        touched.append(f"{event} {args[0]}")
sys.addaudithook(watch)
"""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    code = watch + FIT + "print([path for path in touched if path != os.devnull])"
    settings = {"HOME": str(tmp_path / "home"), "TSRNN_CACHE_DIR": str(warm[1].parent), "cwd": tmp_path / "here"}
    assert python(code, **settings) == ["[]"]  # nothing else on the screen, either
    assert not list((tmp_path / "home").iterdir()) and not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize("random_state", [None, 0])
def test_a_fit_leaves_the_global_generators_and_the_threads_alone(random_state):
    import pickle
    import random
    import threading
    import warnings

    import numpy as np

    def state():
        return pickle.dumps((random.getstate(), np.random.get_state()))  # noqa: NPY002

    X = np.linspace(0, 1, 60).reshape(12, 5)
    model = tsrnn.LSTMRegressor(hidden_layer_sizes=(3,), max_iter=2, dropout=0.5, early_stopping=True)
    model.set_params(random_state=random_state)
    before, threads = state(), threading.active_count()  # importing scikit-learn, just now, has drawn a number itself
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, X[:, 0]).predict(X)
    assert state() == before and threading.active_count() == threads


def test_a_damaged_entry_is_told_once_and_stops_nothing(warm, tmp_path):
    cache = own_cache(warm[1], tmp_path)
    damaged = sorted(cache.glob("*executor.train-*.kernel"))
    assert damaged
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-9] + b"nonsense!")
    code = FIT + "print(prediction, misses, len(of_cache), 'is damaged' in str(of_cache), sep='\\n')"
    assert python(code, TSRNN_CACHE_DIR=str(cache.parent)) == [warm[0], "1", "1", "True"]
    assert python(code, TSRNN_CACHE_DIR=str(cache.parent)) == [warm[0], "0", "0", "False"]


def test_an_edited_callee_is_compiled_again(warm, copy, tmp_path):
    """The hyperbolic tangent becomes another function, in another file than that of the kernel that calls it."""
    code = """
import numpy as np, tsrnn
from tsrnn.backends import contract
from tsrnn.backends.cpu.feedforward import activate
values = np.linspace(-1, 1, 5)
activate(contract.TANH, values)
print(tsrnn.__file__, sum(activate.stats.cache_hits.values()), *values.round(3), sep="\\n")
"""
    cache = str(own_cache(warm[1], tmp_path).parent)
    tanh, sigmoid = ["-0.762", "-0.462", "0.0", "0.462", "0.762"], ["0.269", "0.378", "0.5", "0.622", "0.731"]
    home = str(copy / "__init__.py")
    assert python(code, copy, TSRNN_CACHE_DIR=cache) == [home, "1", *tanh]  # equal sources share their kernels
    with (copy / "backends" / "cpu" / "activations.py").open("a") as file:
        file.write("\ntanh = sigmoid\n")
    assert python(code, copy, TSRNN_CACHE_DIR=cache) == [home, "0", *sigmoid]
    assert python(code, copy, TSRNN_CACHE_DIR=cache) == [home, "1", *sigmoid]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="folders are made read-only in another way there")
def test_a_read_only_installation_without_a_home_works(warm, copy, tmp_path):
    prefix = ()
    if os.geteuid() == 0:  # the superuser may write everywhere; without capabilities only where the mode says so
        prefix = (shutil.which("setpriv"), "--bounding-set=-all", "--inh-caps=-all")
        if prefix[0] is None:
            pytest.skip("tests run as root, and there is no setpriv to give its rights up")
    home = tmp_path / "home"
    home.mkdir()
    folders = [home, *(path for path in (copy.parent, copy, *copy.rglob("*")) if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    nowhere = dict.fromkeys(("TSRNN_CACHE_DIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"))
    code = FIT + "import tsrnn\nprint(tsrnn.__file__, prediction, cache_folder(), *of_cache, sep='\\n')"
    try:
        file, prediction, folder, *told = python(code, copy, prefix, cwd=home, HOME=str(home), **nowhere)
    finally:
        for folder_ in folders:
            folder_.chmod(0o755)
    assert (file, prediction, folder) == (str(copy / "__init__.py"), warm[0], "None")
    assert len(told) == 1 and "set TSRNN_CACHE_DIR" in told[0]
    assert not list(home.iterdir()) and not list(copy.rglob("__pycache__"))
