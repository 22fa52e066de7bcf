"""From texts to token ids and back: tokens, vocabulary, padding.

Ids follow Keras' IMDB data: 0 is padding, 1 the start of a text, 2 any word outside the vocabulary, 3 nothing; the most
frequent word has 4.  The ids of many texts are one flat array and the length of each text (`Encoded`), as everywhere in this
package where sequences differ in length.  Words pass through C loops only (`map`, `dict.get`, `numpy.fromiter`): a text costs a
few calls, whatever its length.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from itertools import count, filterfalse, pairwise, repeat
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

PADDING, START, UNKNOWN, FIRST_WORD = 0, 1, 2, 4
MOST = np.iinfo(np.int32).max  # of an id
SPECIAL = ("[PAD]", "[START]", "[OOV]", "[UNUSED]")  # what ids below FIRST_WORD are called

# What Keras' tokenizer leaves together: everything but ASCII blanks and its filter characters, which are ASCII's punctuation
# without the apostrophe.
TOKEN_PATTERN = r"[^\t-\r !-&(-/:-@\[-`{-~]+"
_BETWEEN = bytes(byte for byte in range(128) if not re.match(TOKEN_PATTERN, chr(byte)))
_BLANKED = bytes.maketrans(_BETWEEN, b" " * len(_BETWEEN))

class Encoded(NamedTuple):
    """Token ids of many texts."""

    ids: np.ndarray      # int32, all texts one behind the other
    lengths: np.ndarray  # int64, ids of each text

    @property
    def bounds(self) -> np.ndarray:
        """Where each text begins, and the end of the last."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    def where(self, kept: np.ndarray) -> Encoded:
        """The ids for which `kept` is true."""
        before = np.concatenate([[0], np.cumsum(kept)])
        return Encoded(self.ids[kept], np.diff(before[self.bounds]))


class Analyzer(NamedTuple):
    """Text → tokens."""

    find: Callable[[str], Iterable[str]]
    lowercase: bool
    stop_words: frozenset[str]

    def __call__(self, text: str) -> list[str]:
        tokens = self.find(text.lower() if self.lowercase else text)
        return list(filterfalse(self.stop_words.__contains__, tokens) if self.stop_words else tokens)


# ------------------------------------------------------------------------------------------------------------ texts, tokens


def check_documents(raw_documents: Any) -> Iterator[str]:
    """The texts one after the other, each checked when it comes.

    Parameters
    ----------
    raw_documents : iterable of str
        List, Series, array, generator.

    Raises
    ------
    TypeError
        Not iterable, without order (a set, a dict), or a text that is no string: the message has its row.
    ValueError
        One string, or more than one axis.
    """
    if isinstance(raw_documents, (str, bytes)):
        raise ValueError("Iterable over raw text documents expected, string object received; pass a list: [text].")
    if getattr(raw_documents, "ndim", 1) != 1:
        raise ValueError(f"raw_documents must have one axis, got shape {tuple(raw_documents.shape)}; pass one column of texts, "
                         "as frame['review'].")
    if isinstance(raw_documents, (Mapping, Set)) or not hasattr(raw_documents, "__iter__"):
        raise TypeError(f"raw_documents must be a sequence of texts, got {type(raw_documents).__name__}; pass a list.")
    return _each_checked(raw_documents)


def _each_checked(raw_documents: Iterable[Any]) -> Iterator[str]:
    for row, text in enumerate(raw_documents):
        if isinstance(text, str):
            yield text
            continue
        what = f"raw_documents[{row}] is {text!r:.40} ({type(text).__name__}), not a string"
        if isinstance(text, bytes):
            raise TypeError(f'{what}; decode it first, with the encoding that it has: text.decode("utf-8").')
        raise TypeError(f'{what}; leave such rows out, or fill them: Series.fillna("").')


def make_analyzer(*, lowercase: bool = True, token_pattern: str = TOKEN_PATTERN,
                  tokenizer: Callable[[str], Iterable[str]] | None = None, stop_words: Collection[str] = ()) -> Analyzer:
    """A function that gives the tokens of a text.

    Parameters
    ----------
    lowercase : bool
        Before anything else.
    token_pattern : str
        A regular expression; tokens are what it finds, or its group where it has one.
    tokenizer : callable, optional
        Takes the place of `token_pattern`: text → tokens.
    stop_words : collection of str
        Tokens that are left out.

    Raises
    ------
    ValueError
        `token_pattern` is no regular expression or has more than one group.
    """
    if tokenizer is not None:
        find: Callable[[str], Iterable[str]] = tokenizer
    elif token_pattern == TOKEN_PATTERN:
        find = _find_words
    else:
        find = _compile(token_pattern).findall
    return Analyzer(find, lowercase, frozenset(stop_words))


def _find_words(text: str) -> Iterable[str]:
    """What TOKEN_PATTERN finds, but faster: bytes below 128 mean the same in UTF-8 wherever they stand."""
    plain = text.encode("utf-8", "surrogatepass").translate(_BLANKED).decode("utf-8", "surrogatepass")
    return filter(None, plain.split(" "))


def _compile(token_pattern: str) -> re.Pattern:
    try:
        pattern = re.compile(token_pattern)
    except re.error as error:
        raise ValueError(f"token_pattern={token_pattern!r} is no regular expression: {error}.") from None
    if pattern.groups > 1:
        raise ValueError(f"token_pattern={token_pattern!r}: More than 1 capturing group in token pattern. Only a single group "
                         "should be captured; write the others as (?:...).")
    return pattern


# --------------------------------------------------------------------------------------------------------------- vocabulary


def learn(documents: Iterable[Sequence[str]], *, max_tokens: int | None = None,
          min_df: int | float = 1) -> tuple[dict[str, int], Encoded]:
    """The most frequent words of tokenised texts, and the ids of the texts.

    Parameters
    ----------
    documents : iterable of sequences of str
        Read once.
    max_tokens : int, optional
        Ids lie below it, the four that are no words among them.  Default: all words.
    min_df : int or float
        Texts that a word must be in: their number, or (float) their share.

    Returns
    -------
    vocabulary : dict
        Word → id, by frequency; words of one frequency in alphabetical order (code points), so that the order of the texts
        does not matter.
    encoded : Encoded

    Raises
    ------
    ValueError
        No word is left.
    TypeError
        A token is no string.
    """
    tokens, encoded = _number(documents)
    if not tokens:
        raise ValueError("empty vocabulary; perhaps the documents only contain stop words")
    counts = np.bincount(encoded.ids, minlength=len(tokens))
    alphabet = np.array(sorted(range(len(tokens)), key=tokens.__getitem__))
    least = min_df if isinstance(min_df, Integral) else min_df * len(encoded.lengths)
    if least > 1:
        alphabet = alphabet[_document_frequency(encoded, len(tokens))[alphabet] >= least]
    if not len(alphabet):
        raise ValueError(f"After pruning, no terms remain. Try a min_df lower than {min_df}.")
    order = alphabet[np.argsort(-counts[alphabet], kind="stable")]
    order = order[:None if max_tokens is None else max_tokens - FIRST_WORD]
    ids = np.arange(FIRST_WORD, FIRST_WORD + len(order), dtype=np.int32)
    table = np.full(len(tokens), UNKNOWN, np.int32)
    table[order] = ids
    vocabulary = {tokens[i]: id_ for i, id_ in zip(order.tolist(), ids.tolist())}
    return vocabulary, Encoded(table[encoded.ids], encoded.lengths)


def _number(documents: Iterable[Sequence[str]]) -> tuple[list[str], Encoded]:
    """The distinct tokens in order of their first appearance, and texts as positions among them."""
    positions: defaultdict[str, int] = defaultdict(count().__next__)
    encoded = _encode(documents, lambda tokens: map(positions.__getitem__, tokens))
    for token in positions:
        if not isinstance(token, str):
            raise TypeError(f"the tokenizer gave {token!r:.40} ({type(token).__name__}); its tokens must be strings.")
    return list(positions), encoded


def _encode(documents: Iterable[Sequence[str]], look_up: Callable[[Sequence[str]], Iterable[int]]) -> Encoded:
    parts = [np.fromiter(look_up(tokens), np.int32, len(tokens)) for tokens in documents]
    lengths = np.fromiter(map(len, parts), np.int64, len(parts))
    return Encoded(np.concatenate(parts) if parts else np.empty(0, np.int32), lengths)


def _document_frequency(encoded: Encoded, n_tokens: int) -> np.ndarray:
    """Number of texts that each token is in."""
    rows = np.repeat(np.arange(len(encoded.lengths)), encoded.lengths)
    return np.bincount(np.unique(rows * n_tokens + encoded.ids) % n_tokens, minlength=n_tokens)


def check_vocabulary(vocabulary: Any, max_tokens: int | None = None) -> dict[str, int]:
    """A given vocabulary as a dict word → id.

    Parameters
    ----------
    vocabulary : mapping or iterable of str
        Word → id; or words in the order of their ids, the first gets 4 (of a set: in alphabetical order).
    max_tokens : int, optional
        Words with ids from there on are left out.

    Raises
    ------
    ValueError
        Nothing in it, words or ids twice, ids below 4 or too large for int32.
    TypeError
        Words that are no strings, ids that are no whole numbers, or one string.
    """
    if isinstance(vocabulary, (str, bytes)):
        raise TypeError(f"vocabulary must be a mapping word → id or words, got one string: {vocabulary!r:.40}.")
    if isinstance(vocabulary, Mapping):
        words, ids = list(vocabulary), list(vocabulary.values())
    else:
        words = sorted(vocabulary) if isinstance(vocabulary, Set) else list(vocabulary)
        ids = list(range(FIRST_WORD, FIRST_WORD + len(words)))
    for word, id_ in zip(words, ids):
        if not isinstance(word, str) or not isinstance(id_, Integral) or isinstance(id_, bool):
            raise TypeError(f"vocabulary has {word!r:.40}: {id_!r:.40}; it must give a string a whole number.")
        if id_ < FIRST_WORD:
            raise ValueError(f"vocabulary has {word!r}: {id_}, but ids below {FIRST_WORD} are no words (padding, start, out of "
                             f"vocabulary, unused); add {FIRST_WORD - 1} to ranks that begin with 1.")
        if int(id_) > MOST:
            raise ValueError(f"vocabulary has {word!r}: {id_}, but ids are at most {MOST} (int32); number the words from "
                             f"{FIRST_WORD} on.")
    known = dict(zip(words, map(int, ids)))
    if len(known) < len(words):
        twice = next(word for word, last in zip(words, ids) if known[word] != last)
        raise ValueError(f"Duplicate term in vocabulary: {twice!r}")
    if len(set(known.values())) < len(known):
        raise ValueError("Vocabulary contains repeated indices.")
    kept = {word: id_ for word, id_ in known.items() if max_tokens is None or id_ < max_tokens}
    if not kept:
        raise ValueError("empty vocabulary passed to fit" if not known else
                         f"vocabulary has no id below max_tokens={max_tokens}; give a larger max_tokens, or None.")
    return kept


# ------------------------------------------------------------------------------------------------------------ ids and back


def encode(documents: Iterable[Sequence[str]], vocabulary: dict[str, int]) -> Encoded:
    """Tokenised texts as ids; words outside the vocabulary become UNKNOWN."""
    return _encode(documents, lambda tokens: map(vocabulary.get, tokens, repeat(UNKNOWN)))


def drop_unknown(encoded: Encoded) -> Encoded:
    """Without the words outside the vocabulary."""
    return encoded.where(encoded.ids != UNKNOWN)


def add_start(encoded: Encoded) -> Encoded:
    """Each text begins with START."""
    return Encoded(np.insert(encoded.ids, encoded.bounds[:-1], START), encoded.lengths + 1)


def pad(encoded: Encoded, maxlen: int, padding: str = "pre", truncating: str = "pre") -> np.ndarray:
    """Ids (n, maxlen), int32, as Keras' `pad_sequences` gives: zeros stand, and ids are lost, in front or behind."""
    kept = np.minimum(encoded.lengths, maxlen)
    begins = encoded.bounds[1:] - kept if truncating == "pre" else encoded.bounds[:-1]
    columns = maxlen - kept if padding == "pre" else np.zeros_like(kept)
    out = np.full((len(kept), maxlen), PADDING, np.int32)
    for row, begin, column, size in zip(out, begins.tolist(), columns.tolist(), kept.tolist()):
        row[column:column + size] = encoded.ids[begin:begin + size]
    return out


def split(encoded: Encoded) -> np.ndarray:
    """Ids as an object array of n arrays (T_i,), int32."""
    out = np.empty(len(encoded.lengths), object)
    for i, part in enumerate(np.split(encoded.ids, encoded.bounds[1:-1]) if len(out) else ()):
        out[i] = part
    return out


def name_ids(vocabulary: Mapping[str, int]) -> np.ndarray:
    """The words by id, (largest id + 1,), objects; ids without a word have the names in SPECIAL."""
    words = np.full(max(vocabulary.values()) + 1, SPECIAL[-1], object)
    words[:FIRST_WORD] = SPECIAL
    words[list(vocabulary.values())] = list(vocabulary)
    return words


def decode(X: Any, words: np.ndarray) -> list[list[str]]:
    """The words of ids, without padding and start.

    Parameters
    ----------
    X : (n, T) or n sequences (T_i,)
        Whole numbers.
    words : (V,) array
        See `name_ids`.

    Raises
    ------
    ValueError
        Not this shape, or something that is no id below V.
    """
    rows = [np.asarray(row) for row in (X.to_numpy() if hasattr(X, "to_numpy") else X)]
    if any(row.ndim != 1 for row in rows):
        raise ValueError("X must be (n, T), or n sequences of ids (T_i,); one sequence goes into a list: [ids].")
    flat = np.concatenate(rows) if rows else np.empty(0, np.int32)
    if flat.dtype.kind not in "iuf":
        raise ValueError(f"X holds values of type {flat.dtype}; ids are whole numbers.")
    wrong = ~((flat >= 0) & (flat < len(words)) & (flat == np.floor(flat)))  # of NaN everything is false
    if wrong.any():
        raise ValueError(f"X contains {flat[wrong][0]}, which is no id; ids are whole numbers from 0 to {len(words) - 1}.")
    shown = Encoded(flat, np.array([len(row) for row in rows], np.int64)).where((flat != PADDING) & (flat != START))
    found = words[shown.ids.astype(np.int64)].tolist()
    return [found[begin:end] for begin, end in pairwise(shown.bounds.tolist())]
