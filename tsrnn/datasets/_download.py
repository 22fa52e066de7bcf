"""One file by HTTP: checked by its hash, resumed after a break."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tsrnn.progress import track

logger = logging.getLogger("tsrnn")

_BLOCK = 1 << 16
_BROKEN = (http.client.HTTPException, OSError)  # URLError, time-outs and resets are OSErrors
_WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}


class DatasetError(OSError):
    """A data set could not be had; base class of the causes."""


class DatasetOfflineError(DatasetError):
    """The server could not be reached, broke off, or refused."""


class DatasetDamagedError(DatasetError):
    """A file is not what it should be: other content, cut short, or with members that do not belong there."""


@dataclass(frozen=True)
class Remote:
    """A file on a server.

    Attributes
    ----------
    url, name : str
        Where it is, and what it is called on disk.
    sha256 : str
    max_bytes : int
        Nothing longer is taken.
    """

    url: str
    name: str
    sha256: str
    max_bytes: int


@dataclass(frozen=True)
class Patience:
    """How long a download waits: `n_retries` further tries `delay` seconds apart, `timeout` seconds without any byte."""

    n_retries: int = 3
    delay: float = 1.0
    timeout: float = 30.0


def digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def part_of(remote: Remote, folder: Path) -> Path:
    """Where its bytes are gathered."""
    return folder / f"{remote.name}.part"


def download(remote: Remote, folder: Path, patience: Patience, *, hint: str, verbose: bool = False) -> Path:
    """The path of the complete and checked file ``<name>.part`` in `folder`; the caller renames or removes it.

    What an earlier call left there is gone on with: the server is asked for the rest, and where it sends all, the beginning is
    skipped. The caller holds the folder's lock.

    Raises
    ------
    DatasetOfflineError
        After all tries; what has come stays for the next call. `hint` says how to supply the file by hand.
    DatasetDamagedError
        Where the complete file has another hash; it is removed.
    DatasetError
        Where it cannot be written or read; what has come stays.
    """
    part = part_of(remote, folder)
    resumed = part.exists()
    for attempt in range(patience.n_retries + 1):
        if attempt:
            time.sleep(patience.delay)
        try:
            if not (part.exists() and digest(part) == remote.sha256):
                _continue(remote, part, patience.timeout, verbose)
            found = digest(part)
        except _Interrupted as error:
            logger.warning("%s: %s (try %d of %d)", remote.url, error, attempt + 1, patience.n_retries + 1)
            if not error.may_pass or attempt == patience.n_retries:
                raise DatasetOfflineError(f"{remote.url} could not be downloaded: {error}. {hint}") from error
            resumed = part.exists()
            continue
        except OSError as error:
            raise DatasetError(f"{remote.url} cannot be kept as {part}: {error}. Make room there, or set data_home= or "
                               f"TSRNN_DATA_HOME to a folder with more; what has come is gone on with. {hint}") from error
        if found == remote.sha256:
            return part
        part.unlink()
        if not resumed or attempt == patience.n_retries:
            raise DatasetDamagedError(f"{remote.url} sent a file with sha256 {found}, and it must be {remote.sha256}; it was "
                                      f"removed. Try again later: the server may be at fault, or a proxy between. {hint}")
        logger.warning("%s: the pieces do not fit together; it is downloaded from its beginning", remote.url)
        resumed = False
    raise AssertionError("unreachable")


class _Interrupted(Exception):
    """The server or the way to it failed; `may_pass` says whether another try makes sense."""

    def __init__(self, message: str, may_pass: bool = True):
        super().__init__(message)
        self.may_pass = may_pass


def _continue(remote: Remote, part: Path, timeout: float, verbose: bool) -> None:
    """Fetch what `part` lacks."""
    start = part.stat().st_size if part.exists() else 0
    with _opened(remote, start, timeout) as response:
        if response is None:  # it has no such range: what lies here is not the beginning of its file
            part.unlink()
            raise _Interrupted("the server has less than was already downloaded, which is dropped")
        if response.status == 206 and not (start and _range_start(response) == start):
            part.unlink(missing_ok=True)
            raise _Interrupted("the server sent another range than was asked for")
        skip = 0 if response.status == 206 else start  # all of it is sent, or the page of a proxy, which must not cost `part`
        length = response.headers.get("Content-Length", "")
        total = start - skip + int(length) if length.isdecimal() else None
        if (total or 0) > remote.max_bytes:
            raise _Interrupted(f"it has {total:,} bytes, and at most {remote.max_bytes:,} are expected", may_pass=False)
        with open(part, "ab") as file:
            expected = (total or remote.max_bytes) - (start - skip)
            got = start - skip + _copy(response, file, expected, skip, remote.name, timeout, verbose)
        if total is not None and got < total:
            raise _Interrupted(f"the connection ended after {got:,} of {total:,} bytes")
        if got < start:
            raise _Interrupted(f"the server sent {got:,} bytes in place of the file, of which {start:,} are here; if these are "
                               f"wrong, remove {part}")


@contextlib.contextmanager
def _opened(remote: Remote, start: int, timeout: float) -> Iterator[http.client.HTTPResponse | None]:
    """The server's answer to a request for the bytes from `start` on; None where it says that there are none."""
    headers = {"User-Agent": "tsrnn", **({"Range": f"bytes={start}-"} if start else {})}
    request = urllib.request.Request(remote.url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            yield None
            return
        raise _Interrupted(f"the server answers {error.code} {error.reason}", error.code in _WORTH_ANOTHER_TRY) from error
    except _BROKEN as error:
        raise _Interrupted(_text(error, timeout)) from error
    with response:
        yield response


def _copy(response: http.client.HTTPResponse, file: IO[bytes], n_bytes: int, skip: int, name: str, timeout: float,
          verbose: bool) -> int:
    """Write what comes behind the first `skip` bytes, `n_bytes` at most; the size of all. Before a failure whole blocks are."""
    size = 0
    for _ in track(range(-(-n_bytes // _BLOCK)), f"{name} (64 kB blocks)", verbose):
        try:
            block = response.read(min(_BLOCK, n_bytes - size))
        except _BROKEN as error:
            raise _Interrupted(_text(error, timeout)) from error
        if not block:
            break
        file.write(block[max(0, skip - size):])
        size += len(block)
    return size


def _range_start(response: http.client.HTTPResponse) -> int:
    """First byte of a 206 answer ("bytes 100-199/200"); -1 where it does not say."""
    first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdecimal() else -1


def _text(error: BaseException, timeout: float) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return f"the server was silent for {timeout:g} s"
    return f"{type(reason).__name__}: {reason}" if isinstance(reason, BaseException) else str(reason)
