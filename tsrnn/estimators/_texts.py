"""What X may be in the text mode: texts, or ids of words in any form; and what a text's words are called."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import numpy as np

from tsrnn.data.vocabulary import PADDING, SPECIAL, START, UNKNOWN, Encoded, check_documents, pad, split
from tsrnn.estimators.vectorizer import SequenceVectorizer


def sized(X: Any) -> Any:
    """X, or the list of what a generator gives.  Raises ValueError or TypeError where X is one text, or no collection."""
    if isinstance(X, (str, bytes)) or not hasattr(X, "__iter__"):
        check_documents(X)  # raises
    return X if isinstance(X, Sized) else list(X)


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
    rows = [np.asarray(row) for row in (X.to_numpy() if hasattr(X, "to_numpy") else X)]
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


def in_form(encoded: Encoded, vectorizer: SequenceVectorizer, size: int) -> np.ndarray:
    """Ids without padding as `vectorizer` gives those of texts; ids from `size` on become UNKNOWN."""
    encoded = encoded._replace(ids=np.where(encoded.ids < size, encoded.ids, np.int32(UNKNOWN)))
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
    return (names[cut:] if vectorizer.truncating == "pre" else names[:kept]), cut
