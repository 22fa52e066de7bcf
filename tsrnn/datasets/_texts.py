"""Labelled texts in flat arrays, and reading them from an archive, a folder or a CSV file."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
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
_CSV_LABELS = {"0": 0, "0.0": 0, "false": 0, "neg": 0, "negative": 0, "1": 1, "1.0": 1, "true": 1, "pos": 1, "positive": 1}
_CSV_RATINGS = {"": 0, **{f"{stars}{end}": stars for stars in range(11) for end in ("", ".0")}}
# far above what the archive has (100,000 members, 0.4 GB in all; no review above 14 kB, 66 MB together), far below what harms
MAX_TEXT, MAX_TEXTS, MAX_READ, MAX_ARCHIVE, MAX_MEMBERS = 4 << 20, 512 << 20, 64 << 20, 4 << 30, 500_000


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
    size: int = 0

    def add(self, name: str, content: bytes) -> None:
        part, label, number, rating = _parsed(name)
        if (part, label, number) in self.found:
            raise DatasetDamagedError(f"{self.place} holds review {part}/{_LABELS[label]}/{number} twice; keep one of them.")
        self.size += len(content)
        if self.size > MAX_TEXTS:
            raise DatasetDamagedError(f"{self.place} has more than {MAX_TEXTS:,} bytes of reviews; at most those are read.")
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

    def seek(self, position: int) -> int:
        """As a file's, forward: every header is behind the last one, or reading would never end."""
        if position < self._file.tell():
            raise DatasetDamagedError(f"{self._place} has a header that leads back, to byte {position:,}; it is damaged or "
                                      "meant to harm, and nothing of it is used.")
        if position > MAX_ARCHIVE:
            raise DatasetDamagedError(f"{self._place} unpacks to more than {MAX_ARCHIVE:,} bytes, which the reviews do not.")
        return self._file.seek(position)

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
    with _explained(path, ValueError, RecursionError), _unpacked(path) as file:
        bounded = _Bounded(file, str(path))
        tar = tarfile.open(fileobj=bounded, mode="r:")  # type: ignore[call-overload]
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
    if not 0 <= member.size <= limit:
        raise DatasetDamagedError(f"{path} has a member {member.name!r} of {member.size:,} bytes; at most {limit:,} are read.")


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    """A file opened for reading, through gzip where it begins so, whatever its name is."""
    with open(path, "rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if zipped:
            with gzip.GzipFile(fileobj=raw) as file:
                yield file  # type: ignore[misc]
        else:
            yield raw


def read_whole(path: Path, limit: int) -> bytes:
    """The content of a file, gzip'd or not.

    Raises
    ------
    DatasetDamagedError
        Where it cannot be unpacked, or has more than `limit` bytes then.
    """
    blocks, size = [], 0
    with _explained(path), _unpacked(path) as file:
        while block := file.read(1 << 20):
            size += len(block)
            if size > limit:
                raise DatasetDamagedError(f"{path} has more than {limit:,} bytes, unpacked; at most those are read.")
            blocks.append(block)
    return b"".join(blocks)


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
    """All rows of a CSV file, gzip'd or not: columns `review`, `label` (or `sentiment`), and `rating` if any.

    Raises
    ------
    DatasetError
        Where these columns are not there.
    DatasetDamagedError
        Where a row lacks a field or has one too many, where a label or rating is none, or where it is no CSV file in UTF-8.
    """
    rows = _csv_rows(path)
    columns = next(rows, [])
    label = "label" if "label" in columns else "sentiment"
    if columns.count(label) != 1 or columns.count("review") != 1:
        raise DatasetError(f"{path} has the columns {columns}; rename them, so that there is one 'review' and one 'label'.")
    texts, labels, ratings = [], [], []
    for number, fields in enumerate(rows, start=1):
        where = f"in data row {number} of {path}"
        if len(fields) != len(columns):
            raise DatasetDamagedError(f"{len(columns)} fields must be {where}, and there are {len(fields)}; put a text with "
                                      "commas in double quotes, and leave an empty field rather than none.")
        row = dict(zip(columns, fields))
        texts.append(row["review"].encode("utf-8"))
        labels.append(_looked_up(row[label], _CSV_LABELS, f"the {label} {where}", f"one of {', '.join(_CSV_LABELS)}"))
        ratings.append(_looked_up(row.get("rating", ""), _CSV_RATINGS, f"the rating {where}",
                                  "a whole number up to 10, or empty where it is not known"))
    return Texts.make(texts, labels, ratings)


def _csv_rows(path: Path) -> Iterator[list[str]]:
    """The fields of each row, the header first; blank lines are left out."""
    text = utf8(read_whole(path, MAX_TEXTS), str(path)).decode("utf-8-sig")
    csv.field_size_limit(max(csv.field_size_limit(), MAX_TEXT))  # it is the whole process's: raised, and never lowered
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        yield from filter(None, rows)
    except csv.Error as error:
        raise DatasetDamagedError(f"{path} is no complete CSV file ({error} in line {rows.line_num}); copy it again, or put "
                                  "the texts in double quotes, and double those that they contain.") from error


def _looked_up(text: str, known: dict[str, int], what: str, rule: str) -> int:
    value = known.get(text.strip().lower())
    if value is None:
        raise DatasetDamagedError(f"{what} is {text!r}; it must be {rule}.")
    return value
