"""A lock on a folder: one process, or thread, at a time."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

logger = logging.getLogger("tsrnn")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, which is made if need be; wait while another process, or thread, holds it.

    The operating system holds the lock, not the presence of the file ``.lock``: it ends with its process however that ends,
    so no lock can be stale. Where the file system has no locks, none is held, and a warning says so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, told = folder / ".lock", False
    with open(path, "a+", encoding="utf-8") as file:
        while not _try_lock(file, path):
            if not told:
                told = True
                logger.warning("waiting for another process (%s) that holds %s", _holder(path), path)
            time.sleep(0.1)
        try:
            with contextlib.suppress(OSError):
                file.truncate(0)
                file.write(f" process {os.getpid()} on {socket.gethostname()}\n")
                file.flush()
            yield
        finally:
            _unlock(file)


if sys.platform == "win32":
    import msvcrt

    _HELD = PermissionError  # what `_lock` raises while another holds it

    def _lock(file: IO[str]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

    def _unlock(file: IO[str]) -> None:
        with contextlib.suppress(OSError):
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    _HELD = BlockingIOError

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(file: IO[str]) -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)


def _holder(path: Path) -> str:
    """What the holder wrote into the file."""
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        file.seek(1)  # Windows keeps the locked byte from being read
        return file.read(200).strip() or "unknown"
    return "unknown"


def _try_lock(file: IO[str], path: Path) -> bool:
    try:
        _lock(file)
    except _HELD:
        return False
    except OSError as error:
        logger.warning("%s cannot be locked (%s): let one process at a time fetch data there", path, error)
    return True
