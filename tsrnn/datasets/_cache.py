"""Snapshots of prices on disk: one file each, written whole, checked when read.

Adjusted prices change backwards with every dividend, so nothing is ever appended to a file: a snapshot is what the vendor said
at one moment. A file is gzip'd: one line of JSON that says what it holds, with a checksum, then plain CSV.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import uuid
import zlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = 1


def get_data_home(data_home: str | os.PathLike | None = None) -> str:
    """Path of the folder where fetched data are kept; it is made if need be.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder; "~" is the user's home. None: the environment variable ``TSRNN_DATA_HOME``, else ``~/tsrnn_data``.

    Returns
    -------
    str

    Examples
    --------
    >>> from tsrnn.datasets import get_data_home
    >>> folder = get_data_home()      # doctest: +SKIP
    """
    folder = home_of(data_home)
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def home_of(data_home: str | os.PathLike | None) -> Path:
    """As `get_data_home`, but nothing is made."""
    chosen = data_home if data_home is not None else os.environ.get("TSRNN_DATA_HOME") or Path("~", "tsrnn_data")
    return Path(chosen).expanduser()


@dataclass(frozen=True)
class Key:
    """What one file is about."""

    source: str
    ticker: str
    interval: str
    adjust: bool

    def path(self, home: Path) -> Path:
        """Source and interval come first, so that no ticker makes a name that Windows reserves (CON.DE, AUX)."""
        kind = "adjusted" if self.adjust else "raw"
        return home / "prices" / f"{self.source}-{self.interval}-{kind}-{self.ticker}.csv.gz"


@dataclass(frozen=True)
class Snapshot:
    """Prices as the vendor gave them at one moment.

    Attributes
    ----------
    key : Key
    start, end : datetime.date or None
        The range that was asked for, `end` excluded; None: from the first price, up to the moment of `fetched`.
    fetched : datetime.datetime
        UTC.
    frame : pandas.DataFrame
        Tidy: index `date`, float64 columns.
    """

    key: Key
    start: date | None
    end: date | None
    fetched: datetime
    frame: pd.DataFrame

    def covers(self, start: date | None, end: date | None) -> bool:
        """Whether all rows of the range that there were at the moment of `fetched` are in it."""
        from_start = self.start is None or (start is not None and self.start <= start)
        return from_start and (self.end is None or (end is not None and end <= self.end))

    def is_current(self, end: date | None, now: datetime, max_age: timedelta | None) -> bool:
        """Whether rows up to `end` can have changed or come since; a range that was over by then has no age."""
        over = self.fetched.date() - timedelta(days=1)  # days before have ended in every time zone
        if max_age is None or (end is not None and end <= over):
            return True
        return timedelta(0) <= now - self.fetched <= max_age


def save(snapshot: Snapshot, home: Path) -> None:
    """Write the snapshot's file whole or not at all; processes may write the same one at once.

    Raises
    ------
    OSError
        Where it cannot be written.
    """
    key = snapshot.key
    body = snapshot.frame.to_csv(date_format="%Y-%m-%d", lineterminator="\n").encode()  # floats as repr: exact
    head = {
        "format": _FORMAT, "source": key.source, "ticker": key.ticker, "interval": key.interval, "adjust": key.adjust,
        "start": _text(snapshot.start), "end": _text(snapshot.end), "fetched": snapshot.fetched.isoformat(),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    content = gzip.compress(json.dumps(head).encode() + b"\n" + body, mtime=0)
    path = key.path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with open(part, "xb") as file:  # not mkstemp, whose files nobody else may read
            file.write(content)
        os.replace(part, path)  # atomic: a reader sees the old snapshot or this one
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def load(key: Key, home: Path) -> Snapshot | None:
    """Read the snapshot's file; None where there is none.

    Raises
    ------
    ValueError
        Where the file is damaged or holds something else.
    OSError
        Where it cannot be read.
    """
    try:
        content = key.path(home).read_bytes()
    except FileNotFoundError:
        return None
    try:
        head, _, body = gzip.decompress(content).partition(b"\n")
        fields = json.loads(head)
        if fields["sha256"] != hashlib.sha256(body).hexdigest():
            raise ValueError("its checksum differs")
        if fields["format"] != _FORMAT:
            raise ValueError(f"it has format {fields['format']}, not {_FORMAT}")
        found = Key(fields["source"], fields["ticker"], fields["interval"], fields["adjust"])
        if found != key:
            raise ValueError(f"it holds {found}")
        start, end = (date.fromisoformat(fields[name]) if fields[name] else None for name in ("start", "end"))
        return Snapshot(key, start, end, datetime.fromisoformat(fields["fetched"]), _frame(body))
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:  # gzip's BadGzipFile is an OSError
        raise ValueError(str(error) or type(error).__name__) from error


def _frame(body: bytes) -> Any:
    import pandas as pd

    frame = pd.read_csv(io.BytesIO(body), index_col="date", dtype=str)  # read_csv's own floats are not exact everywhere
    frame.index = pd.to_datetime(frame.index, format="%Y-%m-%d").as_unit("us").rename("date")
    return frame.astype("float64")


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
