"""`fetch_imdb`: labelled film reviews, from disk, else from Stanford's server."""

from __future__ import annotations

import contextlib
import logging
import math
import numbers
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tsrnn.datasets import _keras_ids, _texts
from tsrnn.datasets._cache import home_of
from tsrnn.datasets._download import (
    DatasetDamagedError,
    DatasetError,
    Patience,
    Remote,
    digest,
    download,
    part_of,
)
from tsrnn.datasets._lock import locked
from tsrnn.datasets._texts import PARTS, Texts

logger = logging.getLogger("tsrnn")

ARCHIVE = Remote("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz", "aclImdb_v1.tar.gz",
                 "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe", 200 << 20)
WORD_INDEX = Remote("https://storage.googleapis.com/tensorflow/tf-keras-datasets/imdb_word_index.json", "imdb_word_index.json",
                    "027313fe9a320280f3bf0fac5baf58c4a683cf39a7ed9c3d3d3912bde4284cf6", 20 << 20)
_CACHE = "imdb.npz"
_FORMAT = 1
_ARCHIVES, _TABLES = (".tar.gz", ".tgz", ".tar"), (".csv", ".csv.gz")
_DESCR = """Large Movie Review Dataset v1.0: 25,000 reviews for training and 25,000 for testing, half of them negative (at most
4 of 10 stars) and half positive (at least 7). No film is in both parts. Line breaks of the web page are left as "<br />".

Andrew L. Maas, Raymond E. Daly, Peter T. Pham, Dan Huang, Andrew Y. Ng, Christopher Potts (2011). Learning Word Vectors for
Sentiment Analysis. ACL, 142-150. https://ai.stanford.edu/~amaas/data/sentiment
"""


def fetch_imdb(
    subset: Literal["train", "test", "all"] = "train",
    *,
    data_home: str | os.PathLike | None = None,
    as_ids: bool = False,
    num_words: int | None = None,
    word_index: str | os.PathLike | None = None,
    shuffle: bool = True,
    random_state: int | np.random.RandomState | None = 42,
    source: str | os.PathLike | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
    timeout: float = 30.0,
    verbose: bool = False,
) -> Any:
    """Film reviews and whether they praise or pan: 25,000 to learn from, 25,000 to be tested on.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        Which part; "all" is both.
    data_home : str or path-like, default=None
        Folder to keep the reviews in, in its folder ``imdb`` (66 MB); None as in `get_data_home`.
    as_ids : bool, default=False
        Whether reviews are arrays of ids, those of ``keras.datasets.imdb``: 1 begins a review, a word of rank r (1: the most
        frequent) is r + 3, 2 is a word that `num_words` excludes, and words that Keras' index lacks are left out. The tags
        ``<br />`` were not stripped: "br" is the word of rank 7.
    num_words : int, default=None
        With `as_ids`: ids are below this number, as Keras counts. None: all of the 88,584 words.
    word_index : str or path-like, default=None
        With `as_ids`: a copy of Keras' ``imdb_word_index.json``, or another JSON object of words and ranks, gzip'd or not.
        None: it is downloaded as well (1.6 MB).
    shuffle : bool, default=True
        Whether the reviews are put in random order. False: the negative ones come first.
    random_state : int, RandomState instance or None, default=42
        Of the shuffling.
    source : str or path-like, default=None
        Where to read instead of `data_home` and the network: the archive ``aclImdb_v1.tar.gz``, its unpacked folder, a folder
        with ``imdb_train.csv`` and ``imdb_test.csv`` (or ``.csv.gz``), or one CSV file, which is taken whole, whatever
        `subset` is. A CSV file has the columns `review` and `label` (0 or 1, False or True, neg or pos, negative or positive;
        it may be called `sentiment`), and maybe `rating` (0 to 10, or empty). Nothing of it is kept.
    download_if_missing : bool, default=True
        False: never use the network.
    return_X_y : bool, default=False
        Whether ``(data, target)`` is returned instead of a Bunch.
    n_retries : int, default=3
        How often a download that breaks is gone on with.
    delay, timeout : float, default=1.0, 30.0
        Seconds between these tries, and seconds without a byte after which one is given up.
    verbose : bool, default=False
        Whether to show the progress of a download.

    Returns
    -------
    Bunch
        `data` (list of str, or of int32 arrays of shape (T_i,)), `target` (ndarray of shape (n,), int64: 0 negative, 1
        positive), `target_names`, `ratings` (ndarray of shape (n,), int8: stars from 1 to 10, 0 unknown), `DESCR`, and
        `word_index` (dict of word to rank) with `as_ids`.

    Raises
    ------
    ValueError, TypeError
        For an argument that makes no sense, before anything is read.
    DatasetOfflineError
        Where the download failed after all tries. What has come is gone on with next time.
    DatasetDamagedError
        Where a file is not what it should be. Nothing of it is kept.
    DatasetError
        Where the data are not there and `download_if_missing` is False, or where the disk is full or cannot be written: what
        has come is gone on with. All three are OSErrors.

    Notes
    -----
    The archive is checked by its hash, read member by member and never unpacked to disk. It is removed once the reviews lie in
    one file ``imdb.npz``, which is written whole or not at all. Two processes that fetch at once wait for each other.
    123 texts are in both parts.

    Examples
    --------
    >>> from tsrnn.datasets import fetch_imdb
    >>> X_train, y_train = fetch_imdb("train", return_X_y=True)      # doctest: +SKIP
    """
    from sklearn.utils import Bunch, check_random_state

    _check(subset, as_ids, num_words, word_index, n_retries, delay, timeout)
    generator = check_random_state(random_state)
    fetcher = _Fetcher(home_of(data_home) / "imdb", download_if_missing, Patience(n_retries, delay, timeout), verbose)
    index = fetcher.index(word_index) if as_ids else None
    parts = PARTS if subset == "all" else (subset,)
    texts = fetcher.texts(parts) if source is None else _supplied(Path(source).expanduser(), parts)
    order = np.arange(len(texts))
    if shuffle:
        generator.shuffle(order)
    data: list = (_keras_ids.encode(texts.rows(), index, num_words) if index is not None
                  else [row.decode("utf-8") for row in texts.rows()])
    data, target = [data[i] for i in order], texts.labels[order]
    if return_X_y:
        return data, target
    more = {"word_index": index} if index is not None else {}
    return Bunch(data=data, target=target, target_names=["neg", "pos"], ratings=texts.ratings[order], DESCR=_DESCR, **more)


def _check(subset: Any, as_ids: bool, num_words: Any, word_index: Any, n_retries: Any, delay: Any, timeout: Any) -> None:
    if subset not in (*PARTS, "all"):
        raise ValueError(f"subset={subset!r} must be one of 'train', 'test', 'all'.")
    for name, value in (("num_words", num_words), ("word_index", word_index)):
        if value is not None and not as_ids:
            raise ValueError(f"{name}={value!r} has a meaning for ids alone; pass as_ids=True as well.")
    if num_words is not None and not (_whole(num_words) and num_words > _keras_ids.OUT_OF_VOCABULARY):
        raise ValueError(f"num_words={num_words!r} must be a whole number above 2, the id of excluded words.")
    if not (_whole(n_retries) and n_retries >= 0):
        raise ValueError(f"n_retries={n_retries!r} must be a whole number, 0 or more.")
    for name, value, least in (("delay", delay, 0.0), ("timeout", timeout, 1e-3)):
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not least <= float(value) < math.inf:
            raise ValueError(f"{name}={value!r} must be a number of seconds, {least:g} or more.")


def _whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _supplied(path: Path, parts: tuple[str, ...]) -> Texts:
    """The parts from a file or folder of the user's."""
    name = path.name.lower()
    if not path.exists():
        raise FileNotFoundError(f"source={str(path)!r} does not exist; give the archive, its folder or a CSV file.")
    if path.is_dir():
        found = _texts.read_folder(path, parts)
    elif name.endswith(_TABLES):
        texts = _texts.read_csv(path)
        if not len(texts):
            raise DatasetDamagedError(f"{path} has no rows; give a CSV file with reviews.")
        return texts
    elif name.endswith(_ARCHIVES):
        found = _texts.read_archive(path)
    else:
        raise ValueError(f"source={str(path)!r} must be a folder or end with {', '.join((*_ARCHIVES, *_TABLES))}.")
    return _chosen(found, parts, path)


def _chosen(found: dict[str, Texts], parts: tuple[str, ...], path: Path) -> Texts:
    missing = [part for part in parts if part not in found]
    if missing:
        raise DatasetDamagedError(f"{path} has no reviews for {' and '.join(missing)}; it must hold {missing[0]}/neg/0_3.txt "
                                  f"and so on, or be a folder with imdb_{missing[0]}.csv.")
    return found[parts[0]] if len(parts) == 1 else _texts.joined([found[part] for part in parts])


class _Fetcher:
    """What lies in one folder, and how it gets there."""

    def __init__(self, folder: Path, may_download: bool, patience: Patience, verbose: bool):
        self.folder, self.may_download, self.patience, self.verbose = folder, may_download, patience, verbose

    def texts(self, parts: tuple[str, ...]) -> Texts:
        """From the cache; where there is none, it is made of the archive."""
        found = self._cached(parts)
        if found is not None:
            self._tidy()
        else:
            self._must_be_had(ARCHIVE)
            with self._locked():
                found = self._cached(parts)  # another process may have made it while this one waited
                if found is None:
                    found = _chosen(self._made(), parts, self.folder)
        return found

    def index(self, path: str | os.PathLike | None) -> dict[str, int]:
        """Keras' word index, or the one at `path`."""
        if path is not None:
            return _keras_ids.read_word_index(Path(path).expanduser())
        kept = self.folder / WORD_INDEX.name
        if not self._has_index(kept):
            self._must_be_had(WORD_INDEX)
            with self._locked():
                if not self._has_index(kept):
                    os.replace(self._downloaded(WORD_INDEX), kept)
        return _keras_ids.read_word_index(kept)

    def _has_index(self, kept: Path) -> bool:
        if not kept.exists():
            return False
        if not self._is_whole(kept, WORD_INDEX):  # it may be one of the user's
            raise DatasetDamagedError(f"{kept} is not Keras' word index: its sha256 is another. Remove it, so that that one is "
                                      "downloaded, or pass word_index= its path, so that it is used.")
        return True

    def _cached(self, parts: tuple[str, ...]) -> Texts | None:
        path = self.folder / _CACHE
        try:
            with np.load(path, allow_pickle=False) as arrays:
                if int(arrays["format"]) != _FORMAT:
                    raise ValueError(f"it has format {int(arrays['format'])}, not {_FORMAT}")
                names = ("utf8", "offsets", "labels", "ratings")
                found = [Texts.from_arrays(**{name: arrays[f"{part}_{name}"] for name in names}) for part in parts]
        except FileNotFoundError:
            return None
        except Exception as error:  # damaged bytes make numpy, zipfile and the unpackers raise nearly anything
            logger.warning("%s cannot be used (%s); it must be made anew", path, error)
            return None
        return found[0] if len(found) == 1 else _texts.joined(found)

    def _made(self) -> dict[str, Texts]:
        """Read the archive, the user's or a downloaded one, and write the cache."""
        supplied = self.folder / ARCHIVE.name
        downloaded = None if self._is_whole(supplied, ARCHIVE) else self._downloaded(ARCHIVE)
        found = _texts.read_archive(downloaded or supplied)
        _chosen(found, PARTS, downloaded or supplied)
        try:
            self._keep(found)
        except OSError as error:  # a full disk must not cost what has been fetched
            logger.warning("%s is not kept on disk: %s", self.folder / _CACHE, error)
            return found
        if downloaded is not None:
            downloaded.unlink(missing_ok=True)
        return found

    def _tidy(self) -> None:
        """Remove the archive of a process that was killed between keeping the reviews and removing it."""
        part = part_of(ARCHIVE, self.folder)
        if part.exists():
            with contextlib.suppress(OSError), self._locked():
                part.unlink(missing_ok=True)

    def _keep(self, found: dict[str, Texts]) -> None:
        """Write the cache whole or not at all; the lock is held."""
        arrays = {f"{part}_{name}": array for part in PARTS for name, array in found[part].arrays().items()}
        path = self.folder / f"{_CACHE}.part"
        try:
            with open(path, "wb") as file:
                np.savez(file, format=np.int64(_FORMAT), **arrays)  # type: ignore[arg-type]
            os.replace(path, self.folder / _CACHE)  # atomic: readers see all of it or nothing
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise

    def _downloaded(self, remote: Remote) -> Path:
        part = part_of(remote, self.folder)
        if not self.may_download and not (part.is_file() and digest(part) == remote.sha256):
            raise DatasetError(f"{self.folder / remote.name} is not there whole, and download_if_missing=False. "
                               f"{self._hint(remote)}")
        return download(remote, self.folder, self.patience, hint=self._hint(remote), verbose=self.verbose)

    def _must_be_had(self, remote: Remote) -> None:
        """Fail before any folder is made where nothing can come of it."""
        if not (self.may_download or (self.folder / remote.name).exists() or part_of(remote, self.folder).exists()):
            self._downloaded(remote)

    def _is_whole(self, path: Path, remote: Remote) -> bool:
        if not path.is_file():
            return False
        found = digest(path)
        if found != remote.sha256:
            logger.warning("%s is not used: its sha256 is %s, not %s", path, found, remote.sha256)
        return found == remote.sha256

    def _hint(self, remote: Remote) -> str:
        other = "word_index=" if remote is WORD_INDEX else "source="
        return (f"Without a network: download {remote.url} elsewhere and save it as {self.folder / remote.name}, or pass "
                f"{other} its path.")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(self.folder))
            except OSError as error:
                raise DatasetError(f"{self.folder} cannot be written ({error}); set data_home= or TSRNN_DATA_HOME to a folder "
                                   "that can be, or pass source=, and word_index= for ids, the path of a file.") from error
            yield
