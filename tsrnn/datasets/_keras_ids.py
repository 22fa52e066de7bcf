"""Texts as the ids of `keras.datasets.imdb`: its word index, its tokeniser."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tsrnn.datasets._download import DatasetDamagedError
from tsrnn.datasets._texts import read_whole

START, OUT_OF_VOCABULARY, INDEX_FROM = 1, 2, 3  # a word of rank r (1: the most frequent) has the id r + INDEX_FROM
_MAX_BYTES = 20 << 20  # unpacked; Keras' index has 1.6 MB
_FILTERED = b'!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
# Only the letters A to Z were made lower-case: the ids were made from bytes. With str.lower 21 words of the training
# reviews ("Ångström") are not in the index; this way all are, and the mean lengths are those of Keras' arrays.
_TABLE = bytes.maketrans(_FILTERED, b" " * len(_FILTERED)).lower()


def encode(texts: Iterable[bytes], word_index: dict[str, int], num_words: int | None) -> list[np.ndarray]:
    """The ids of each text, behind a start.

    Parameters
    ----------
    texts : iterable of bytes
        In UTF-8.
    word_index : dict of str to int
        Rank of each word. Words that it lacks are left out, as in Keras' arrays (2.6 in a test review).
    num_words : int or None
        Ids from this number on become 2.

    Returns
    -------
    list of ndarray of shape (T_i,), int32
    """
    ids = {word.encode("utf-8"): rank + INDEX_FROM for word, rank in word_index.items()}
    if num_words is not None:
        ids = {word: number if number < num_words else OUT_OF_VOCABULARY for word, number in ids.items()}
    return [np.array([START, *(ids[word] for word in text.translate(_TABLE).split(b" ") if word in ids)], np.int32)
            for text in texts]


def read_word_index(path: Path) -> dict[str, int]:
    """Rank of each word from a JSON file, which may be gzip'd.

    Raises
    ------
    DatasetDamagedError
        Where the ranks are not 1 to the number of words, or where it is no JSON object, or a huge one.
    """
    try:
        index = json.loads(read_whole(path, _MAX_BYTES))
        if not isinstance(index, dict) or not index:
            raise ValueError("it is no JSON object of words")
        if not all(type(rank) is int for rank in index.values()) or sorted(index.values()) != list(range(1, len(index) + 1)):
            raise ValueError(f"the ranks of its {len(index):,} words are not 1 to {len(index):,}")
        "".join(index).encode("utf-8")  # JSON can hold halves of characters ("\\ud800"), and no text has them
    except (ValueError, RecursionError) as error:
        raise DatasetDamagedError(f"{path} is no word index such as Keras' imdb_word_index.json: {error}.") from error
    return index
