"""The disk cache of compiled kernels: reused, renewed, healed, shared; and forks during a compilation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tsrnn.backends.cpu import jit as module
from tsrnn.backends.cpu.jit import CacheWarning, all_kernels, jit

CALLEE = "from tsrnn.backends.cpu.jit import jit\n\n@jit\ndef scale(x):\n    return 2.0 * x\n"
CALLER = """
from tsrnn.backends.cpu.jit import jit
from tsrnn.backends.callee import scale

@jit
def total(values):
    result = 0.0
    for value in values:
        result += scale(value)
    return result
"""
RUN = """
import logging, sys, warnings
import numpy as np
logging.basicConfig(level=logging.INFO, format="LOG %(message)s", stream=sys.stderr)
warnings.simplefilter("always")
from tsrnn.backends.caller import total
from tsrnn.backends.cpu.jit import cache_status
value = total(np.arange(4.0))
total(np.arange(4.0, dtype=np.float32))
print(value, sum(total.stats.cache_hits.values()), cache_status().entries)
"""


class Sandbox:
    """A small package of the same name with the real `jit` module, and a cache folder."""

    def __init__(self, folder: Path) -> None:
        self.package, self.cache = folder / "tsrnn", folder / "cache"
        home = self.package / "backends" / "cpu"
        home.mkdir(parents=True)
        for place in (self.package, home.parent, home):
            (place / "__init__.py").touch()
        shutil.copy(module.__file__, home / "jit.py")
        (home.parent / "callee.py").write_text(CALLEE)
        (home.parent / "caller.py").write_text(CALLER)

    def start(self, code=RUN, **env):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "PYTHON"))}
        settings = {"TSRNN_CACHE_DIR": str(self.cache), "PYTHONDONTWRITEBYTECODE": "1"}
        pipe, here = subprocess.PIPE, self.package.parent  # the current folder comes first on Python's path
        command = [sys.executable, "-c", code]
        return subprocess.Popen(command, env=inherited | settings | env, cwd=here, stdout=pipe, stderr=pipe, text=True)

    def finish(self, process):
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out.split(), err

    def run(self, code=RUN, **env):
        return self.finish(self.start(code, **env))

    def folders(self):
        return sorted(self.cache.iterdir())

    def entries(self):
        return sorted(self.cache.rglob("*.kernel"))


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


def test_the_second_process_compiles_nothing_and_an_edited_callee_compiles_again(sandbox):
    out, err = sandbox.run()
    assert out == ["12.0", "0", "4"]  # two kernels, two types
    assert err.count("LOG compiling kernels") == 1 and "Warning" not in err
    assert sandbox.run() == (["12.0", "2", "4"], "")

    (sandbox.package / "backends" / "callee.py").write_text(CALLEE.replace("2.0", "3.0"))
    out, err = sandbox.run()
    assert out == ["18.0", "0", "4"] and err.count("LOG compiling kernels") == 1
    assert len(sandbox.folders()) == 2  # the old version stays usable


def test_importing_neither_compiles_nor_hashes_nor_writes(sandbox):
    code = (
        "import tsrnn.backends.caller as c; from tsrnn.backends.cpu import jit\n"
        "assert not c.total.signatures and jit.cache_folder.cache_info().currsize == 0"
    )
    assert sandbox.run(code) == ([], "")
    assert not sandbox.cache.exists()


def test_damaged_entries_are_told_once_and_healed(sandbox):
    sandbox.run()
    kinds = {
        "truncated": lambda content: content[: len(content) // 2],
        "altered": lambda content: content[:-100] + bytes([content[-100] ^ 255]) + content[-99:],
        "empty": lambda content: b"",
        "foreign": lambda content: b"x" * 999,
    }
    for path, damage in zip(sandbox.entries(), kinds.values(), strict=True):
        path.write_bytes(damage(path.read_bytes()))
    out, err = sandbox.run()
    assert out == ["12.0", "0", "4"]
    assert err.count("CacheWarning") == 1 and "damaged" in err
    assert sandbox.run() == (["12.0", "2", "4"], "")


def test_no_writable_place_is_told_once_and_stops_nothing(sandbox):
    sandbox.cache.write_text("a file where the folder should be")
    out, err = sandbox.run()
    assert out == ["12.0", "0", "0"]
    assert err.count("CacheWarning") == 1 and "set TSRNN_CACHE_DIR" in err


def test_a_full_disk_is_told_once_and_stops_nothing(sandbox):
    broken = "import pathlib\ndef full(*_): raise OSError(28, 'No space left on device')\npathlib.Path.write_bytes = full\n"
    out, err = sandbox.run(broken + RUN)
    assert out == ["12.0", "0", "0"]
    assert err.count("CacheWarning") == 1 and "No space left" in err
    assert not [path for path in sandbox.cache.rglob("*") if path.is_file()]


def test_entries_can_be_read_where_nothing_can_be_written(sandbox):
    sandbox.run()
    read_only = "import os\ndef no(*_, **__): raise PermissionError(13, 'Read-only')\nos.utime = no\nos.replace = no\n"
    assert sandbox.run(read_only + RUN) == (["12.0", "2", "4"], "")


def test_processes_that_start_together_share_the_folder(sandbox):
    processes = [sandbox.start() for _ in range(4)]
    for process in processes:
        out, err = sandbox.finish(process)
        assert out[0] == "12.0" and "Warning" not in err
    assert sandbox.run() == (["12.0", "2", "4"], "")
    assert len([path for path in sandbox.cache.rglob("*") if path.is_file()]) == 4  # no parts left over


def test_without_the_private_names_of_numba_there_is_no_cache(sandbox):
    changed = "from numba.core.compiler import CompileResult\ndel CompileResult._rebuild\n"
    out, err = sandbox.run(changed + RUN)
    assert out[0] == "12.0" and not sandbox.entries()
    assert err.count("CacheWarning") == 1 and "is too new for the kernel cache" in err


def test_private_names_of_numba_that_work_differently_stop_nothing(sandbox):
    changed = "from numba.core.compiler import CompileResult\nCompileResult._reduce = lambda self, other: None\n"
    out, err = sandbox.run(changed + RUN)
    assert out[0] == "12.0" and not sandbox.entries()
    assert err.count("CacheWarning") == 1


def test_sources_that_changed_after_the_import_are_not_trusted(sandbox):
    ahead = time.time() + 3600
    os.utime(sandbox.package / "backends" / "cpu" / "jit.py", (ahead, ahead))
    out, err = sandbox.run()
    assert out == ["12.0", "0", "0"]
    assert "jit.py has changed since it was imported; restart Python" in err and "TSRNN_CACHE_DIR" not in err


def test_the_environment_names_the_folder(sandbox):
    sandbox.run()
    sandbox.run(NUMBA_OPT="1")
    first, second = (path.name.split("-") for path in sandbox.folders())
    assert first[0] != second[0] and first[1] == second[1]


def test_disabled_jit_imports_and_says_what_to_do(sandbox):
    code = "from tsrnn.backends.caller import total\ntry: total([1.0])\nexcept RuntimeError as error: print(error)"
    out, _ = sandbox.run(code, NUMBA_DISABLE_JIT="1")
    assert "unset NUMBA_DISABLE_JIT" in " ".join(out)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="XDG folders")
@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"XDG_CACHE_HOME": "{home}/x"}, "x/tsrnn"),
        ({"XDG_CACHE_HOME": ""}, ".cache/tsrnn"),
        ({"NUMBA_CACHE_DIR": "{home}/n"}, "n/tsrnn"),
        ({"NUMBA_CACHE_DIR": "{home}/n", "TSRNN_CACHE_DIR": "{home}/t"}, "t"),
    ],
)
def test_where_the_folder_lies(sandbox, tmp_path, env, expected):
    code = "from tsrnn.backends.cpu.jit import cache_folder; print(cache_folder().parent)"
    settings = {"HOME": str(tmp_path), "TSRNN_CACHE_DIR": ""} | {k: v.format(home=tmp_path) for k, v in env.items()}
    assert sandbox.run(code, **settings)[0] == [str(tmp_path / expected)]


def test_old_versions_are_deleted_except_the_newest_two(tmp_path):
    now = time.time()
    ages = {"aaaaaaaa-" + f"{n:016x}": n * 60.0 for n in range(6)}  # this machine's, number 0 the current one
    ages |= {"bbbbbbbb-" + "0" * 16: 86400.0, "cccccccc-" + "0" * 16: 100 * 86400.0}  # other machines'
    ages |= {"my-data": 1e9}
    for name, age in ages.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "k.kernel").touch()
        os.utime(tmp_path / name, (now - age, now - age))
    module._prune(tmp_path, tmp_path / next(iter(ages)))
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == set(list(ages)[:3]) | {"bbbbbbbb-" + "0" * 16, "my-data"}


def test_a_kernel_that_captures_variables_is_refused():
    factor = 2.0

    def kernel(x):
        return factor * x

    with pytest.raises(TypeError, match="captures factor"):
        jit(kernel)


def test_kernels_of_the_package_are_listed_and_those_of_others_stay_off_the_disk():
    from tsrnn.backends.cpu.microkernels import matmul

    assert matmul in all_kernels()
    assert isinstance(matmul._cache, module.PackageCache)

    @jit
    def ours(x):
        return x + 1

    assert ours(1) == 2
    assert ours not in all_kernels() and ours.stats.cache_path is None


def test_cache_status_counts_entries():
    status = module.cache_status()
    if status.path is None:
        pytest.skip("no writable cache here")
    assert status.entries == len(list(status.path.glob("*.kernel")))
    assert (status.bytes > 0) == (status.entries > 0)


def test_the_warning_is_a_runtime_warning():
    assert issubclass(CacheWarning, RuntimeWarning)


FORKS = """
import faulthandler, os, threading, time
import numba
from tsrnn.backends.cpu.jit import jit
faulthandler.dump_traceback_later(100, exit=True)
done = False
def compile_in_a_loop():
    while not done:
        numba.njit(lambda x: x + 1)(1)
thread = threading.Thread(target=compile_in_a_loop)
thread.start()
late = 0
for number in range(12):
    time.sleep(0.01 + 0.007 * number)
    child = os.fork()
    if child == 0:
        os._exit(0 if numba.njit(lambda x: x * 2)(4) == 8 else 1)
    deadline = time.monotonic() + 20
    while True:
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            late += status != 0
            break
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            late += 1
            break
        time.sleep(0.005)
    if late:
        break
done = True
thread.join()
print("late", late)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_during_a_compilation_can_compile(sandbox):
    out, _ = sandbox.run(FORKS)
    assert out == ["late", "0"]
