"""Labelled texts in flat arrays, and reading them from an archive, a folder or a CSV file."""

from __future__ import annotations

import contextlib
import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from tsrnn.datasets._download import DatasetDamagedError, DatasetError

PARTS = ("train", "test")
_LABELS = ("neg", "pos")
_MEMBER = re.compile(r"(?:.*/)?(train|test)/(neg|pos)/(\d{1,9})_(\d{1,2})\.txt")
_CSV_LABELS = {"0": 0, "neg": 0, "negative": 0, "1": 1, "pos": 1, "positive": 1}
# far above what the archive has (100,000 members, 0.4 GB in all, no review above 14 kB), far below what harms
MAX_TEXT, MAX_READ, MAX_ARCHIVE, MAX_MEMBERS = 16 << 20, 64 << 20, 4 << 30, 500_000


@dataclass(frozen=True)
class Texts:
    """One part of a labelled data set.

    Attributes
    ----------
    utf8 : bytes
        All texts, one behind the other.
    offsets : ndarray of shape (n + 1,), int64
        Where each begins in it, and the end.
    labels : ndarray of shape (n,), int64
        0 negative, 1 positive.
    ratings : ndarray of shape (n,), int8
        Stars from 1 to 10; 0 where they are not known.
    """

    utf8: bytes
    offsets: np.ndarray
    labels: np.ndarray
    ratings: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self) -> Iterator[bytes]:
        """The texts in UTF-8."""
        ends = self.offsets.tolist()
        return (self.utf8[start:end] for start, end in zip(ends[:-1], ends[1:]))

    @classmethod
    def make(cls, texts: list[bytes], labels: Any, ratings: Any) -> Texts:
        """From one bytes object a text."""
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(text) for text in texts], out=offsets[1:])
        return cls(b"".join(texts), offsets, np.asarray(labels, np.int64), np.asarray(ratings, np.int8))

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file keeps of it."""
        return {"utf8": np.frombuffer(self.utf8, np.uint8), "offsets": self.offsets, "labels": self.labels,
                "ratings": self.ratings}

    @classmethod
    def from_arrays(cls, utf8: np.ndarray, offsets: np.ndarray, labels: np.ndarray, ratings: np.ndarray) -> Texts:
        """From `arrays()`, checked.

        Raises
        ------
        ValueError
            Where they do not fit together.
        """
        kinds = [("utf8", utf8, np.uint8), ("offsets", offsets, np.int64), ("labels", labels, np.int64),
                 ("ratings", ratings, np.int8)]
        for name, array, dtype in kinds:
            if array.dtype != dtype or array.ndim != 1:
                raise ValueError(f"its array {name} has dtype {array.dtype} and {array.ndim} dimensions")
        n = len(labels)
        fitting = len(offsets) == n + 1 and len(ratings) == n and offsets[0] == 0 and offsets[-1] == len(utf8)
        if not fitting or (np.diff(offsets) < 0).any():
            raise ValueError("its arrays do not fit together")
        return cls(utf8.tobytes(), offsets, labels, ratings)


def joined(parts: list[Texts]) -> Texts:
    """Several parts, one behind the other."""
    return Texts.make([row for part in parts for row in part.rows()], np.concatenate([part.labels for part in parts]),
                      np.concatenate([part.ratings for part in parts]))


@dataclass
class _Collector:
    """Reviews as they come, by part, label and number."""

    place: str
    found: dict[tuple[str, int, int], tuple[bytes, int]] = field(default_factory=dict)

    def add(self, name: str, content: bytes) -> None:
        part, label, number, rating = _parsed(name)
        if (part, label, number) in self.found:
            raise DatasetDamagedError(f"{self.place} holds review {part}/{_LABELS[label]}/{number} twice; keep one of them.")
        self.found[part, label, number] = utf8(content, f"{name} of {self.place}"), rating

    def texts(self) -> dict[str, Texts]:
        """Negative reviews first, by their numbers: the same order from an archive and from a folder."""
        keys = sorted(self.found)
        rows = {part: [self.found[key] for key in keys if key[0] == part] for part in PARTS}
        labels = {part: [key[1] for key in keys if key[0] == part] for part in PARTS}
        return {part: Texts.make([text for text, _ in rows[part]], labels[part], [stars for _, stars in rows[part]])
                for part in PARTS if rows[part]}


def _parsed(name: str) -> tuple[str, int, int, int]:
    match = _MEMBER.fullmatch(name)
    assert match is not None
    return match[1], _LABELS.index(match[2]), int(match[3]), int(match[4])


def utf8(content: bytes, what: str) -> bytes:
    """The same bytes, once it is sure that they are UTF-8."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DatasetDamagedError(f"{what} is not UTF-8 ({error.reason} at byte {error.start}); convert it.") from None
    return content


# ------------------------------------------------------------------------------------------------ archive


class _Bounded:
    """What tarfile reads from: it stops what would fill memory or never end (headers have sizes of their own)."""

    def __init__(self, file: IO[bytes], place: str):
        self._file, self._place, self.last = file, place, b""

    def read(self, size: int = -1) -> bytes:
        """As a file's."""
        if not 0 <= size <= MAX_READ:
            raise DatasetDamagedError(f"{self._place} has a header of {size:,} bytes; at most {MAX_READ:,} are read.")
        self.last = self._file.read(size)
        return self.last

    def seek(self, position: int, whence: int = 0) -> int:
        """As a file's; forward only in gzip'd ones."""
        if position > MAX_ARCHIVE:
            raise DatasetDamagedError(f"{self._place} unpacks to more than {MAX_ARCHIVE:,} bytes, which the reviews do not.")
        return self._file.seek(position, whence)

    def tell(self) -> int:
        """As a file's."""
        return self._file.tell()


def read_archive(path: Path) -> dict[str, Texts]:
    """The parts "train" and "test" of a .tar or .tar.gz in the layout of aclImdb_v1; nothing is unpacked to disk.

    Raises
    ------
    DatasetDamagedError
        Where it is cut short or no archive, or where a member has a path that leads out of it, is a link or a device, or is
        too large, or where there are too many.
    """
    collector, n_members = _Collector(str(path)), 0
    with _explained(path, ValueError, RecursionError), open(path, "rb") as raw, contextlib.ExitStack() as stack:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file: Any = stack.enter_context(gzip.GzipFile(fileobj=raw)) if zipped else raw
        bounded = _Bounded(file, str(path))
        tar = stack.enter_context(tarfile.open(fileobj=bounded, mode="r:"))  # type: ignore[call-overload]
        while (member := tar.next()) is not None:
            tar.members.clear()  # it would remember them all
            n_members += 1
            if n_members > MAX_MEMBERS:
                raise DatasetDamagedError(f"{path} has more than {MAX_MEMBERS:,} members; the reviews have 100,000.")
            _check_member(member, path)
            if member.isreg() and _MEMBER.fullmatch(member.name):
                content = tar.extractfile(member)
                assert content is not None
                collector.add(member.name, content.read())
        if len(bounded.last) != tarfile.BLOCKSIZE or any(bounded.last):  # tarfile takes a header it cannot read for the end
            raise DatasetDamagedError(f"{path} is cut short or damaged after {n_members:,} members; copy or download it again.")
        if len(file.read(MAX_READ)) == MAX_READ:  # gzip compares its checksum at the very end
            raise DatasetDamagedError(f"{path} goes on after its end; it is not the archive of the reviews.")
    return collector.texts()


def _check_member(member: tarfile.TarInfo, path: Path) -> None:
    steps = member.name.replace("\\", "/").split("/")
    if ".." in steps or steps[0] == "" or re.match(r"[A-Za-z]:", steps[0]):
        raise DatasetDamagedError(f"{path} has a member with the path {member.name!r}, which leads out of it; it is not the "
                                  "archive of the reviews, and nothing of it is used.")
    if not (member.isreg() or member.isdir()):
        raise DatasetDamagedError(f"{path} has a member {member.name!r} that is a link or a device; it is not the archive of "
                                  "the reviews, and nothing of it is used.")
    limit = MAX_TEXT if _MEMBER.fullmatch(member.name) else MAX_ARCHIVE
    if member.size > limit:
        raise DatasetDamagedError(f"{path} has a member {member.name!r} of {member.size:,} bytes; at most {limit:,} are read.")


@contextlib.contextmanager
def _explained(path: Path, *more: type[Exception]) -> Iterator[None]:
    """One error for all the ways in which a packed file can be damaged."""
    damages: tuple[type[Exception], ...] = (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, *more)
    try:
        yield
    except damages as error:
        raise DatasetDamagedError(f"{path} cannot be read: it is cut short or damaged ({error}); copy or download it again."
                                  ) from error


# ------------------------------------------------------------------------------------------------ folder and CSV


def read_folder(path: Path, parts: tuple[str, ...]) -> dict[str, Texts]:
    """`parts` of a folder in the layout of aclImdb, or of one that has CSV files (``imdb_train.csv.gz``, ``train.csv``)."""
    tables = {part: _table_of(path, part) for part in parts}
    if any(tables.values()):
        return {part: read_csv(table) for part, table in tables.items() if table is not None}
    root = path / "aclImdb" if (path / "aclImdb").is_dir() else path
    collector = _Collector(str(root))
    for part in parts:
        for label in _LABELS:
            for file in (root / part / label).glob("*.txt"):
                name = file.relative_to(root).as_posix()
                if _MEMBER.fullmatch(name):
                    if file.stat().st_size > MAX_TEXT:
                        raise DatasetDamagedError(f"{file} has {file.stat().st_size:,} bytes; at most {MAX_TEXT:,} are read.")
                    collector.add(name, file.read_bytes())
    return collector.texts()


def _table_of(folder: Path, part: str) -> Path | None:
    names = (f"{stem}{part}.csv{packed}" for stem in ("imdb_", "") for packed in ("", ".gz"))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read_csv(path: Path) -> Texts:
    """All rows of a CSV file, gzip'd if its name ends so: columns `review`, `label` (or `sentiment`), and `rating` if any."""
    import pandas as pd

    try:
        with _explained(path):
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DatasetDamagedError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DatasetDamagedError(f"{path} is no complete CSV file ({str(error).strip()}); copy it again.") from error
    label = next((name for name in ("label", "sentiment") if name in frame), None)
    if label is None or "review" not in frame:
        raise DatasetError(f"{path} has the columns {', '.join(map(str, frame.columns))}; rename them, so that there is a "
                           "'review' and a 'label'.")
    labels = frame[label].str.strip().str.lower().map(_CSV_LABELS)
    ratings = pd.to_numeric(frame["rating"], errors="coerce").fillna(0) if "rating" in frame else 0 * labels.fillna(0)
    for name, wrong, rule in (("label", labels.isna(), f"one of {', '.join(_CSV_LABELS)}"),
                              ("rating", ~ratings.between(0, 10), "a number up to 10")):
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            value = frame[label if name == "label" else name].iloc[row]
            raise DatasetDamagedError(f"{path} has the {name} {value!r} in data row {row + 1}; it must be {rule}.")
    return Texts.make([text.encode("utf-8") for text in frame["review"]], labels, ratings)
