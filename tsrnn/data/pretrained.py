"""Pretrained word vectors: GloVe's and word2vec's text files, and the table that an embedding begins with."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tsrnn.data.vocabulary import PADDING

_GZIP, _ZIP, _BOM = b"\x1f\x8b", b"PK\x03\x04", b"\xef\xbb\xbf"


class WordVectors(NamedTuple):
    """The vectors of a vocabulary."""

    table: np.ndarray  # (V, E) float32, a row an id
    found: np.ndarray  # (V,) bool: ids whose vector was given; the others were drawn, and that of padding is 0
    n_words: int       # words of the vocabulary

    @property
    def coverage(self) -> float:
        """Share of the vocabulary's words whose vector was given."""
        return float(self.found.sum()) / self.n_words


def read_vectors(path: str | os.PathLike, vocabulary: Collection[str]) -> dict[str, np.ndarray]:
    """The vectors that a text file of GloVe, word2vec or fastText has for some words.

    A line is a word and its numbers, with single blanks (or tabs) between them; word2vec's first line, the numbers of words and
    of dimensions, is recognised.  The file is read as a stream, gzip or plain, UTF-8; only vectors of the vocabulary are kept.

    Parameters
    ----------
    path : str or path
    vocabulary : collection of str
        Words as they stand in the file, upper and lower case apart.  Of a word that comes twice the first vector counts.

    Returns
    -------
    vectors : dict of str to (E,) float32 array
        In the order of the file; words that it lacks are left out.

    Raises
    ------
    ValueError
        A line without the right number of numbers, a file that ends too early, or one of another kind.  The message has the
        line.
    OSError
        The file cannot be read.
    """
    wanted = {word.encode("utf-8", "surrogatepass"): word for word in vocabulary}
    path = Path(path)
    vectors: dict[str, np.ndarray] = {}
    with open(path, "rb") as raw:
        magic = raw.peek(4)
        if magic.startswith(_ZIP):
            raise ValueError(f"{path.name} is a ZIP archive; unpack it, or pack its member with gzip.")
        try:
            for word, vector in _lines(gzip.open(raw) if magic.startswith(_GZIP) else raw, path.name, wanted):
                vectors.setdefault(wanted[word], vector)
        except EOFError:
            raise ValueError(f"{path.name} ends in the middle of its gzip stream; fetch it again.") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path.name} is damaged: {error}; fetch it again.") from None
    return vectors


def _lines(lines: BinaryIO | gzip.GzipFile, name: str, wanted: Collection[bytes]) -> Iterator[tuple[bytes, np.ndarray]]:
    """Word and vector of each line with a wanted word; every line is checked for its length."""
    first = lines.readline().removeprefix(_BOM).rstrip()
    if not first:
        raise ValueError(f"{name} begins with an empty line or has none; a line must be a word and its numbers.")
    fields = first.split()
    promised = int(fields[0]) if len(fields) == 2 and all(field.isdigit() for field in fields) else None
    size, separator = (int(fields[1]), b" ") if promised is not None else (len(fields) - 1, b"\t" if b"\t" in first else b" ")
    if size < 1:
        raise ValueError(_bad(name, 1, first, "has no numbers behind its word"))
    n_lines = 0
    for number, line in enumerate(lines if promised is not None else _chain(first, lines), start=1 + (promised is not None)):
        line = line.rstrip()
        if number == 2 and promised is not None and b"\t" in line:
            separator = b"\t"
        found = line.count(separator)
        if found < size:
            raise ValueError(_bad(name, number, line, f"has {found} numbers where {size} are due"))
        n_lines += 1
        word, _, rest = line.partition(separator)
        if found == size and word in wanted:  # with more fields the word itself has blanks, as a few of GloVe's
            yield word, _numbers(rest, separator, name, number, line)
    if promised is not None and n_lines < promised:
        raise ValueError(f"{name} has {n_lines} vectors, but its first line promises {promised}; it was cut off: fetch it "
                         "again.")


def _chain(first: bytes, lines: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    yield first
    yield from lines


def _numbers(text: bytes, separator: bytes, name: str, number: int, line: bytes) -> np.ndarray:
    try:
        vector = np.array(text.split(separator), dtype=np.float32)
    except ValueError:
        raise ValueError(_bad(name, number, line, "has something that is no number")) from None
    if not np.isfinite(vector).all():
        raise ValueError(_bad(name, number, line, "has NaN or infinity"))
    return vector


def _bad(name: str, number: int, line: bytes, what: str) -> str:
    shown = line[:30].decode("utf-8", "replace")
    return (f"{name}, line {number} ({shown!r}): it {what}.  A line must be a word and its numbers with single blanks between "
            "them, as in the text files of GloVe and word2vec; fetch a damaged file again, convert a binary one.")


def make_table(vectors: Any, vocabulary: Mapping[str, int], vocabulary_size: int, rng: np.random.Generator) -> WordVectors:
    """The table of an embedding from pretrained vectors.

    Parameters
    ----------
    vectors : str, path or mapping
        See `read_vectors`; or word → (E,) numbers: anything with ``word in vectors`` and ``vectors[word]``.
    vocabulary : mapping
        Word → id.
    vocabulary_size : int
        V, rows of the table; ids of words lie below it.
    rng : numpy.random.Generator
        Draws the vectors of words (and of ids that are no words) that have none: normal, with mean and deviation of the given
        ones in each dimension, or where these are all the same, of all their numbers (1 without any).  Padding gets zeros.

    Raises
    ------
    ValueError
        No word has a vector, vectors of different lengths, or values that are no finite numbers.
    """
    given = read_vectors(vectors, vocabulary) if isinstance(vectors, (str, os.PathLike)) else \
        {word: vectors[word] for word in vocabulary if word in vectors}
    if not given:
        raise ValueError(f"vectors has none of the {len(vocabulary)} words of the vocabulary ({next(iter(vocabulary))!r} is "
                         "the first); they must be of the same language, and written the same (upper or lower case).")
    arrays = [_vector(word, vector) for word, vector in given.items()]
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        raise ValueError(f"vectors holds vectors of the lengths {sorted(lengths)}; all must have the same.")
    known = np.array(arrays)
    table = rng.normal(known.mean(axis=0), _spread(known), (vocabulary_size, known.shape[1])).astype(np.float32)
    found = np.zeros(vocabulary_size, bool)
    rows = [vocabulary[word] for word in given]
    table[rows], found[rows] = known, True
    table[PADDING] = 0
    return WordVectors(table, found, max(1, len(vocabulary)))


def _spread(known: np.ndarray) -> np.ndarray:
    """Deviation in each dimension, never 0: words without a vector must not all be one word, as with a single known one."""
    return np.where(np.ptp(known, axis=0) > 0, known.std(axis=0), known.std() if np.ptp(known) > 0 else 1.0)


def _vector(word: str, vector: Any) -> np.ndarray:
    try:
        array = np.asarray(vector, np.float64)
    except (TypeError, ValueError):
        array = np.empty((0, 0))
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise ValueError(f"vectors[{word!r}] must be finite numbers (E,), got {vector!r:.60}.")
    return array
