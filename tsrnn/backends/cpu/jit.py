"""`jit`: Numba's decorator as every kernel of the package uses it, with a disk cache of the package's own.

Numba's stock cache keys a kernel by its own file only, so a changed callee in another file leaves old machine code in use.
Here the folder is named after everything that machine code depends on: the environment (Python, Numba, LLVM, processor)
and a hash of all sources under `tsrnn.backends`, which calls nothing above it.  Both are computed at the first
compilation: importing hashes and compiles nothing.  An entry is one file with a checksum, named after function and
argument types and written atomically, so processes may share the folder; a damaged entry is compiled again.  Without a
usable folder everything still runs.

Kernels are module globals of `tsrnn.backends`.  Functions of other modules (tests, notebooks) compile without the disk cache,
because the folder's name says nothing about their sources; what they call is still cached.

With ``NUMBA_DISABLE_JIT=1`` the package imports, and calling a kernel raises a clear error: kernels hold vector
instructions that have no Python form.  The ``numpy`` backend is the readable definition to step through.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import pickle
import platform
import re
import shutil
import sys
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import llvmlite.binding as llvm
import numba
from numba.core import config

logger = logging.getLogger("tsrnn")

PACKAGE = __name__.partition(".")[0]
ROOT = Path(__file__).resolve().parents[1]  # backends/: kernels call nothing above it
OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False, "fastmath": False, "no_cfunc_wrapper": True}

_IMPORTED_AT = time.time()
_FOLDER_NAME = re.compile(r"[0-9a-f]{8}-[0-9a-f]{16}")
_MAGIC = b"tsrnn-kernel-1\n"
_KEPT_OLD_FOLDERS = 2
_FOREIGN_FOLDER_DAYS = 60
_kernels: list[Any] = []
_said: set[str] = set()


class CacheWarning(RuntimeWarning):
    """Kernels are compiled in this process but cannot be read from or kept on disk."""


class _NoCacheError(Exception):
    """The cache cannot be used, wherever it lies."""


class CacheStatus(NamedTuple):
    """What the kernel cache holds for this version of the package on this machine."""

    path: Path | None
    writable: bool
    entries: int
    bytes: int


# ------------------------------------------------------------------------------------------------ the decorator


def jit(function: Callable | None = None, **options: Any) -> Any:
    """Decorate a kernel: compiled at the first call, without the GIL, strict arithmetic, cached on disk.

    Parameters
    ----------
    function : callable
        A module-level function.
    **options
        Options of `numba.njit` that replace those of `OPTIONS` (``inline="always"``, for instance).

    Raises
    ------
    TypeError
        If the function captures variables: such a kernel could never be found on disk again.
    """
    if function is None:
        return functools.partial(jit, **options)
    if function.__closure__ is not None:
        names = ", ".join(function.__code__.co_freevars)
        raise TypeError(f"kernel {function.__qualname__} captures {names}; make it a module global or an argument")
    if config.DISABLE_JIT:
        return _refuse(function)
    dispatcher = numba.njit(**{**OPTIONS, **options})(function)
    if _in_package(function):
        _attach_cache(dispatcher, function)
        _kernels.append(dispatcher)
    return dispatcher


def inner(function: Callable) -> Any:
    """Decorate what only kernels call: `jit` without the wrapper for Python, which takes long where an argument is a chunk.

    There is nothing that Python could call: it would crash.
    """
    return jit(function, no_cpython_wrapper=True)


def is_compiled(kernel: Any, signature: tuple) -> bool:
    """Whether a kernel for these argument types is in memory or on disk."""
    if signature in kernel.overloads:
        return True
    cache = getattr(kernel, "_cache", None)
    return isinstance(cache, PackageCache) and cache.holds(signature, kernel.targetctx.codegen())


def all_kernels() -> tuple[Any, ...]:
    """The package's kernels (Numba dispatchers) of all modules imported so far."""
    return tuple(_kernels)


def _in_package(function: Callable) -> bool:
    return function.__module__.startswith(f"{PACKAGE}.backends.")


def _refuse(function: Callable) -> Callable:
    @functools.wraps(function)
    def refused(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"NUMBA_DISABLE_JIT={config.DISABLE_JIT} keeps kernel {function.__qualname__} from being compiled; "
            "unset NUMBA_DISABLE_JIT, or use the numpy backend"
        )

    return refused


def _attach_cache(dispatcher: Any, function: Callable) -> None:
    """Give the dispatcher our cache, if this Numba still has the (private) places that it needs."""
    from numba.core import compiler, serialize

    needed = (
        hasattr(dispatcher, "_cache"),
        hasattr(compiler.CompileResult, "_reduce"),
        hasattr(compiler.CompileResult, "_rebuild"),
        hasattr(serialize, "dumps"),
    )
    if all(needed):
        dispatcher._cache = PackageCache(function)
    else:
        _warn_once(f"numba {numba.__version__} is too new for the kernel cache; kernels are compiled in every process")


# ------------------------------------------------------------------------------------------------ where it lies


def target_features() -> str:
    """The processor features that Numba compiles for, as LLVM writes them: ``"+avx,+avx2,-avx512f,..."``."""
    if config.CPU_FEATURES is not None:
        return config.CPU_FEATURES
    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:
        return ""
    if not config.ENABLE_AVX:
        features = type(features)({name: on and not name.startswith("avx") for name, on in features.items()})
    return features.flatten()


def _environment_hash() -> str:
    parts = [platform.machine(), sys.platform, sys.implementation.cache_tag, numba.__version__, llvmlite.__version__]
    parts += [config.CPU_NAME or llvm.get_host_cpu_name(), target_features()]
    parts += [str(getattr(config, name, "")) for name in ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO_DEFAULT")]
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:8]


def _source_hash() -> str:
    """Hash of every source file that kernels are made of: all of `tsrnn.backends`, which imports nothing above it.

    After an upgrade under a running process, what was imported is no longer what lies on disk: then `_NoCacheError`.
    """
    digest = hashlib.sha256()
    paths = sorted(ROOT.rglob("*.py"))
    if not paths:
        raise _NoCacheError(f"there are no sources in {ROOT}")
    for path in paths:
        if path.stat().st_mtime > _IMPORTED_AT:
            raise _NoCacheError(f"{path.name} has changed since it was imported; restart Python")
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _base_folder() -> Path:
    if chosen := os.environ.get("TSRNN_CACHE_DIR"):
        return Path(chosen).absolute()
    if config.CACHE_DIR:
        return Path(config.CACHE_DIR).absolute() / PACKAGE
    if sys.platform == "win32":
        home = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        return Path(home) / PACKAGE / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / PACKAGE
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / PACKAGE


@functools.cache
def cache_folder() -> Path | None:
    """The folder of this version's kernels, made if need be; None where there cannot be one."""
    try:
        base = _base_folder()
        folder = base / f"{_environment_hash()}-{_source_hash()}"
        if folder.is_dir():
            with contextlib.suppress(OSError):  # somebody else's folder: it can still be read
                os.utime(folder)  # the folders used last are the ones kept
        else:
            folder.mkdir(parents=True, exist_ok=True)
            _prune(base, folder)
    except (OSError, RuntimeError, _NoCacheError) as error:  # RuntimeError: there is no home
        _warn_not_kept(error)
        return None
    return folder


def _warn_not_kept(error: BaseException) -> None:
    remedy = "" if isinstance(error, _NoCacheError) else "; set TSRNN_CACHE_DIR to a folder that can be written"
    _warn_once(f"every process compiles the kernels again, they are not kept on disk: {error}{remedy}")


def _prune(base: Path, current: Path) -> None:
    """Delete the folders of old versions: all but the newest two, and those of other machines unused for long."""
    machine = current.name.partition("-")[0]
    old = [path for path in base.iterdir() if _FOLDER_NAME.fullmatch(path.name) and path != current and path.is_dir()]
    ages = {path: time.time() - path.stat().st_mtime for path in old}
    own = sorted((path for path in old if path.name.startswith(machine)), key=ages.__getitem__)
    foreign = [path for path in old if path not in own and ages[path] > _FOREIGN_FOLDER_DAYS * 86400]
    for path in own[_KEPT_OLD_FOLDERS:] + foreign:
        shutil.rmtree(path, ignore_errors=True)


def cache_status() -> CacheStatus:
    """Where the kernel cache lies and what it holds."""
    folder = cache_folder()
    if folder is None:
        return CacheStatus(None, False, 0, 0)
    sizes = [path.stat().st_size for path in folder.glob("*.kernel")]
    return CacheStatus(folder, os.access(folder, os.W_OK), len(sizes), sum(sizes))


def _warn_once(message: str) -> None:
    """One warning a process, whatever goes wrong: the first trouble explains the others."""
    if "warned" not in _said:
        _said.add("warned")
        warnings.warn(message, CacheWarning, stacklevel=2)


def _tell_once(folder: Path | None) -> None:
    if "told" not in _said:
        _said.add("told")
        logger.info("compiling kernels (once; kept in %s)" if folder else "compiling kernels%s", folder or "")


# ------------------------------------------------------------------------------------------------ one kernel's entries


class PackageCache:
    """The cache of one kernel; Numba's dispatcher calls its methods under the compiler lock."""

    def __init__(self, function: Callable) -> None:
        code = function.__code__
        self._name = f"{function.__module__}.{function.__qualname__}".replace("<", "").replace(">", "")
        self._stamp = f"{code.co_firstlineno}"
        self._enabled = True

    @property
    def cache_path(self) -> str | None:
        folder = cache_folder()
        return None if folder is None else str(folder)

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def flush(self) -> None:
        """Delete the kernel's entries."""
        for path in (cache_folder() or Path(os.devnull)).glob(f"{self._name}-*.kernel"):
            path.unlink(missing_ok=True)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled kernel for these argument types, or None where it has to be compiled."""
        folder = cache_folder() if self._enabled else None
        result = None
        if folder is not None:
            target_context.refresh()
            path = self._path(folder, sig, target_context.codegen())
            try:
                result = self._read(path, sig, target_context)
            except FileNotFoundError:
                pass
            except Exception as error:  # whatever is wrong with an entry, compiling replaces it
                _warn_once(f"kernel cache entry {path} is damaged ({error!r}); it is compiled again")
        if result is None:
            _tell_once(folder)
        return result

    def holds(self, sig: Any, codegen: Any) -> bool:
        """Whether there is an entry for these argument types."""
        folder = cache_folder() if self._enabled else None
        return folder is not None and self._path(folder, sig, codegen).exists()

    def save_overload(self, sig: Any, result: Any) -> None:
        """Keep a compiled kernel; trouble is told once and never stops the caller."""
        folder = cache_folder() if self._enabled else None
        if folder is None or not self._lasts(result):
            return
        try:
            self._write(self._path(folder, sig, result.library.codegen), result)
        except Exception as error:
            _warn_not_kept(error)

    def _path(self, folder: Path, sig: Any, codegen: Any) -> Path:
        key = repr((tuple(getattr(sig, "args", sig)), codegen.magic_tuple(), self._stamp))
        return folder / f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.kernel"

    def _read(self, path: Path, sig: Any, target_context: Any) -> Any:
        content = path.read_bytes()
        start = len(_MAGIC) + 32
        payload = content[start:]
        if content[:start] != _MAGIC + hashlib.sha256(payload).digest():
            raise ValueError("checksum differs")
        result = self._unpack(payload, target_context)
        if tuple(result.signature.args) != tuple(getattr(sig, "args", sig)):
            raise ValueError(f"holds {result.signature}")
        return result

    def _write(self, path: Path, result: Any) -> None:
        payload = self._pack(result)
        path.parent.mkdir(parents=True, exist_ok=True)  # another process may have pruned it
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.part")
        try:
            part.write_bytes(_MAGIC + hashlib.sha256(payload).digest() + payload)
            os.replace(part, path)  # atomic: a reader sees no entry, an old one or this one
        except OSError:
            part.unlink(missing_ok=True)
            if not path.exists():  # Windows refuses to replace a file that another process reads: it is the same
                raise


    @staticmethod
    def _lasts(result: Any) -> bool:
        """Whether it means the same in another process."""
        return not (result.lifted or result.library.has_dynamic_globals)

    @staticmethod
    def _pack(result: Any) -> bytes:
        from numba.core.serialize import dumps

        return dumps(result._reduce())

    @staticmethod
    def _unpack(payload: bytes, target_context: Any) -> Any:
        from numba.core.compiler import CompileResult

        return CompileResult._rebuild(target_context, *pickle.loads(payload))


# ------------------------------------------------------------------------------------------------ forks


def _guard_forks() -> None:
    """Fork only between compilations: a child must not inherit a compiler lock that a thread of its parent held."""
    from numba.core.compiler_lock import global_compiler_lock

    llvm_lock = getattr(getattr(llvm.ffi, "lib", None), "_lock", None)

    def before() -> None:
        global_compiler_lock.acquire()
        if llvm_lock is not None:
            llvm_lock.__enter__()

    def after() -> None:
        if llvm_lock is not None:
            llvm_lock.__exit__(None, None, None)
        global_compiler_lock.release()

    os.register_at_fork(before=before, after_in_parent=after, after_in_child=after)


if hasattr(os, "register_at_fork"):  # not on Windows
    _guard_forks()
