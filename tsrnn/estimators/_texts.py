"""What X may be in the text mode: texts, or ids of words in any form; and what a text's words are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import _safe_indexing

from tsrnn.data.vocabulary import FIRST_WORD, PADDING, SPECIAL, START, UNKNOWN, Encoded, check_documents, pad, split
from tsrnn.estimators._problem import check_largest
from tsrnn.estimators.vectorizer import SequenceVectorizer


def sized(X: Any) -> Any:
    """X, or the list of what a generator gives.  Raises ValueError or TypeError where X is one text, or no collection."""
    if isinstance(X, (str, bytes, Mapping, Set)) or not hasattr(X, "__iter__") or getattr(X, "ndim", 1) == 0:
        check_documents(X)  # raises
    return X if isinstance(X, Sequence) or hasattr(X, "shape") else list(X)


def check_whole(X: Any) -> None:
    """Raises what is wrong with a text or with ids, under its number in the whole of X: later X comes in parts."""
    if is_ids(X):
        read_ids(X)
    else:
        for _ in check_documents(X):
            pass


class Learnt(NamedTuple):
    """What texts have taught."""

    ids: np.ndarray  # of all of them, as the network reads them
    encoded: Encoded  # the whole of those that count
    size: int        # ids there are


def learn_texts(X: Any, counts: np.ndarray, vectorizer: SequenceVectorizer) -> Learnt:
    """Fits `vectorizer` on the texts that count (n,)."""
    encoded = vectorizer._learn(X if counts.all() else _safe_indexing(X, np.flatnonzero(counts)))
    ids = vectorizer._finish(encoded) if counts.all() else vectorizer.transform(X)
    return Learnt(ids, encoded, vectorizer.vocabulary_size_)


def learn_ids(X: Any, counts: np.ndarray, vectorizer: SequenceVectorizer, partial: bool) -> Learnt:
    """The same for ids: their largest is the last word, or with `partial` the parameters say how many there are."""
    encoded = read_ids(X)
    known = encoded._replace(lengths=encoded.lengths * counts, ids=encoded.ids[np.repeat(counts, encoded.lengths)])
    if vectorizer.vocabulary is not None:
        size = vectorizer.fit([]).vocabulary_size_
    elif partial and vectorizer.max_tokens is None:
        raise ValueError("partial_fit on ids must know how many there are; give max_tokens, the largest id plus one.")
    else:
        size = int(known.ids.max(initial=FIRST_WORD)) + 1
        if vectorizer.max_tokens is None:
            check_largest(size - 1, "max_tokens")
        else:
            size = vectorizer.max_tokens if partial else min(size, vectorizer.max_tokens)
    return Learnt(in_form(encoded, vectorizer, size), _within(known, size), size)


def is_ids(X: Any) -> bool:
    """Whether X holds sequences of ids.  Everything else counts as texts, whose checks know what to say."""
    if getattr(X, "ndim", 1) == 2:
        kinds = [getattr(X, "dtype", None)] if not hasattr(X, "columns") else list(X.dtypes)
        return all(getattr(kind, "kind", "O") in "biuf" for kind in kinds)
    first = next(iter(X), None)
    if isinstance(first, (list, tuple)):
        return not any(isinstance(word, str) for word in first)
    return getattr(first, "ndim", 0) > 0


def read_ids(X: Any) -> Encoded:
    """Ids (n, T), or n sequences (T_i,), without padding.

    Raises
    ------
    ValueError
        Sequences with more than one axis, or values that are no whole numbers from 0 on.
    """
    rows = [np.asarray(row) for row in (_values(X) if hasattr(X, "to_numpy") else X)]
    for n, row in enumerate(rows):
        if row.ndim != 1 or (row.size and row.dtype.kind not in "iuf"):
            raise ValueError(f"X[{n}] has shape {row.shape} and values of type {row.dtype}; with token ids each text must be a "
                             "sequence (T_i,) of whole numbers.")
    flat = np.concatenate([row for row in rows if row.size] or [np.empty(0, np.int32)])
    wrong = ~((flat >= 0) & (flat <= np.iinfo(np.int32).max) & (flat == np.floor(flat)))  # of NaN everything is false
    if wrong.any():
        raise ValueError(f"X contains {flat[wrong][0]}, which is no token id; ids are whole numbers from 0 on.")
    encoded = Encoded(flat.astype(np.int32), np.array([len(row) for row in rows], np.int64))
    return encoded.where(encoded.ids != PADDING)


def _values(X: Any) -> np.ndarray:
    """The values of a frame or Series; pandas' own whole numbers, which may be missing, as floats."""
    if getattr(X, "ndim", 1) == 2 and any(getattr(kind, "kind", "O") != "O" for kind in X.dtypes):
        return X.to_numpy(float, na_value=np.nan)
    return X.to_numpy()


def _within(encoded: Encoded, size: int) -> Encoded:
    return encoded._replace(ids=np.where(encoded.ids < size, encoded.ids, np.int32(UNKNOWN)))


def in_form(encoded: Encoded, vectorizer: SequenceVectorizer, size: int) -> np.ndarray:
    """Ids without padding as `vectorizer` gives those of texts; ids from `size` on become UNKNOWN."""
    encoded = _within(encoded, size)
    if vectorizer.maxlen is None:
        return split(encoded)
    return pad(encoded, vectorizer.maxlen, vectorizer.padding, vectorizer.truncating)


def encode_any(X: Any, vectorizer: SequenceVectorizer, size: int) -> np.ndarray:
    """Texts or ids as the network reads them."""
    if is_ids(X):
        return in_form(read_ids(X), vectorizer, size)
    if vectorizer.vocabulary is None and not hasattr(vectorizer, "vocabulary_"):
        raise ValueError("X holds texts, but the fit was on ids and there is no vocabulary; pass ids, or give the parameter "
                         "vocabulary (word to id) before the fit.")
    return vectorizer.transform(X)


def name_tokens(text: Any, vectorizer: SequenceVectorizer) -> tuple[list[str], int]:
    """The words of a text, or of ids, that the network reads, and how many it does not.

    Unknown words of a text are there as they stand in it; ids without a word are called "#17".
    """
    if isinstance(text, str):
        names = vectorizer.build_analyzer()(text)
        if not vectorizer.oov_token:
            names = [name for name in names if name in vectorizer.vocabulary_]
        if vectorizer.start_token:
            names = [SPECIAL[START], *names]
    else:
        words = vectorizer.words_ if hasattr(vectorizer, "vocabulary_") else np.array(SPECIAL[:START + 1], object)
        ids = read_ids([text]).ids.tolist()
        names = [words[i] if i < len(words) else f"#{i}" for i in ids]
    kept = len(names) if vectorizer.maxlen is None else min(len(names), vectorizer.maxlen)
    cut = len(names) - kept
    left, shown = (names[:cut], names[cut:]) if vectorizer.truncating == "pre" else (names[kept:], names[:kept])
    return shown, len(left) - left.count(SPECIAL[START])
