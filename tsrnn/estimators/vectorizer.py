"""Texts in, token ids out: the transformer in front of an embedding."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from sklearn.utils._param_validation import HasMethods, Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_is_fitted

from tsrnn._warn import warn
from tsrnn.data.vocabulary import (
    FIRST_WORD,
    TOKEN_PATTERN,
    Analyzer,
    Encoded,
    add_start,
    check_documents,
    check_vocabulary,
    decode,
    drop_unknown,
    encode,
    learn,
    make_analyzer,
    name_ids,
    pad,
    split,
)
from tsrnn.estimators._declare import Parameterised, param
from tsrnn.estimators._params import POSITIVE_INT


class SequenceVectorizer(TransformerMixin, Parameterised):
    """Texts as sequences of token ids, which an embedding reads.

    Ids follow Keras' IMDB data: 0 is padding, 1 the start of a text, 2 any word outside the vocabulary, 3 is not used; the most
    frequent word has id 4, and words of one frequency stand in alphabetical order.  By default tokens are those of Keras'
    tokenizer: in lower case, split at ASCII's blanks and punctuation except the apostrophe, so that ``"<br />"`` is the word
    "br".  Signs beyond ASCII do not split: no-break spaces, curly quotes, dashes and the ellipsis stay in their words;
    ``token_pattern=r"[\\w']+"`` takes letters, digits and apostrophes alone.  Parameters have the names and meanings of
    scikit-learn's `CountVectorizer` and of Keras' `pad_sequences`.

    {parameters}

    Attributes
    ----------
    vocabulary_ : dict
        Word → id.
    vocabulary_size_ : int
        Largest id plus one: what `SequenceClassifier` takes as `vocabulary_size`.  At most `max_tokens`.
    words_ : (vocabulary_size_,) array of str
        Id → word; "[PAD]", "[START]", "[OOV]" and "[UNUSED]" for ids that are no words.

    Notes
    -----
    The start is an id like the others, and `maxlen` counts it: as in Keras, `truncating="pre"` takes it off long texts.  An
    empty text is the start alone; without `start_token` it has no ids at all, which a network can read only as padding, so
    leave `start_token` on where `maxlen` is None.

    Examples
    --------
    >>> from tsrnn import SequenceVectorizer
    >>> vectorizer = SequenceVectorizer(maxlen=6)
    >>> vectorizer.fit_transform(["A good film.", "Not good at all!"])
    array([[0, 0, 1, 5, 4, 8],
           [0, 1, 9, 4, 7, 6]], dtype=int32)
    >>> vectorizer.inverse_transform(vectorizer.transform(["a bad film"]))
    ['a [OOV] film']
    """

    _positional = ("max_tokens", "maxlen")

    max_tokens: int | None = param(
        10_000, [Interval(Integral, FIRST_WORD + 1, None, closed="left"), None],
        "All ids lie below it, as with Keras' `num_words`: the `max_tokens - 4` most frequent words are kept.  None keeps all.")
    maxlen: int | None = param(
        200, [POSITIVE_INT, None], "Ids of each text, padded or truncated to.  None: ragged, as many ids as each text has.")
    padding: str = param("pre", [StrOptions({"pre", "post"})], "Where zeros stand in texts that are shorter than `maxlen`.")
    truncating: str = param("pre", [StrOptions({"pre", "post"})], "Where longer texts are cut: at the beginning or the end.")
    lowercase: bool = param(True, ["boolean"], "Texts are read in lower case.")
    token_pattern: str = param(
        TOKEN_PATTERN, [str], "Regular expression of a token, or with one group, which is the token then.")
    tokenizer: Callable[[str], Iterable[str]] | None = param(
        None, [callable, None], "Text to tokens, in the place of `token_pattern`; `list` takes characters, `str.split` ")
    stop_words: str | Collection[str] | None = param(
        None, [StrOptions({"english"}), list, tuple, set, frozenset, None],
        'Words that are left out; "english" is the list of scikit-learn, which has "not" in it.')
    start_token: bool = param(True, ["boolean"], "Each text begins with id 1.")
    oov_token: bool = param(True, ["boolean"], "Words outside the vocabulary become id 2; otherwise they are left out.")
    min_df: int | float = param(
        1, [Interval(RealNotInt, 0, 1, closed="both"), POSITIVE_INT],
        "Texts that a word must be in to get an id: their number, or their share if it is a float.")
    vocabulary: Mapping[str, int] | Iterable[str] | None = param(
        None, [Mapping, HasMethods("__iter__"), None],
        "Word to id, from 4 on, or words in the order of their ids; nothing is learned then.  Keras' word index has ranks, "
        "which become ids so: `{word: rank + 3 for word, rank in index.items()}`.")

    def fit(self, raw_documents, /, y=None):
        """Learns the vocabulary.

        Parameters
        ----------
        raw_documents : iterable of str
            Texts: a list, Series, array or generator.
        y : None
            Not looked at.

        Returns
        -------
        self : SequenceVectorizer
        """
        self._learn(raw_documents)
        return self

    def fit_transform(self, raw_documents, /, y=None):
        """Learns the vocabulary and gives the ids of the texts; they are read once.

        Parameters
        ----------
        raw_documents : iterable of str
        y : None
            Not looked at.

        Returns
        -------
        X : (n, maxlen) array of int32, or n arrays (T_i,)
            See `transform`.
        """
        return self._finish(self._learn(raw_documents))

    def transform(self, raw_documents, /):
        """The ids of texts.

        Parameters
        ----------
        raw_documents : iterable of str

        Returns
        -------
        X : (n, maxlen) array of int32, or n arrays (T_i,)
            With ``maxlen=None`` an object array of n int32 arrays.

        Raises
        ------
        TypeError
            A text is no string; the message has its row.
        NotFittedError
            There is no vocabulary yet.
        """
        self._check_vocabulary()
        return self._finish(encode(self._tokens(raw_documents), self.vocabulary_))

    def inverse_transform(self, X) -> list[str]:
        """Texts of ids: words with a blank between them, without padding and start, "[OOV]" for words outside the vocabulary.

        Parameters
        ----------
        X : (n, T) array, or n sequences (T_i,)

        Returns
        -------
        texts : list of str
        """
        return [" ".join(tokens) for tokens in decode(X, self.words_)]

    def build_analyzer(self) -> Analyzer:
        """A function that gives the list of tokens of a text, stop words left out."""
        return make_analyzer(lowercase=self.lowercase, token_pattern=self.token_pattern, tokenizer=self.tokenizer,
                             stop_words=self.get_stop_words())

    def get_stop_words(self) -> frozenset[str]:
        """The words that are left out."""
        if self.stop_words == "english":
            return ENGLISH_STOP_WORDS
        if isinstance(self.stop_words, str):
            raise ValueError(f"not a built-in stop list: {self.stop_words}; give \"english\" or the words themselves.")
        return frozenset(self.stop_words or ())

    def get_feature_names_out(self, input_features=None):
        """Names of the columns, "token0" to the last; they are positions, not words.

        Parameters
        ----------
        input_features : None
            Not looked at.

        Returns
        -------
        names : (maxlen,) array of str

        Raises
        ------
        ValueError
            ``maxlen=None``: there are no columns.
        """
        self._check_vocabulary()
        if self.maxlen is None:
            raise ValueError("maxlen=None gives sequences of different lengths, which have no columns to name; set maxlen.")
        return np.array([f"token{i}" for i in range(self.maxlen)], dtype=object)

    @property
    def words_(self) -> np.ndarray:
        """Id → word."""
        self._check_vocabulary()
        return name_ids(self.vocabulary_)

    def _learn(self, raw_documents) -> Encoded:
        """Sets the vocabulary; the ids of the texts."""
        self._validate_params()
        given = None if self.vocabulary is None else self._given(self.vocabulary)
        self._warn_of_contradictions(given or ())
        documents = self._tokens(raw_documents)
        if given is None:
            vocabulary, encoded = learn(documents, max_tokens=self.max_tokens, min_df=self.min_df)
        else:
            vocabulary, encoded = given, encode(documents, given)
        self.vocabulary_ = vocabulary
        self.vocabulary_size_ = max(vocabulary.values()) + 1
        return encoded

    def _given(self, vocabulary: Any) -> dict[str, int]:
        """The vocabulary that is given, up to `max_tokens`."""
        words = vocabulary if isinstance(vocabulary, Collection) else list(vocabulary)
        given = check_vocabulary(words, self.max_tokens)
        if len(given) < len(words):
            warn(f"{len(words) - len(given)} of {len(words)} words of the given vocabulary have ids from "
                  f"max_tokens={self.max_tokens} on and are left out; max_tokens=None keeps all.")
        return given

    def _tokens(self, raw_documents) -> Iterator[list[str]]:
        """The tokens of each text, when they are asked for."""
        analyze = self.build_analyzer()
        return (analyze(text) for text in check_documents(raw_documents))

    def _finish(self, encoded: Encoded) -> np.ndarray:
        """Ids of words as ids of texts."""
        if not self.oov_token:
            encoded = drop_unknown(encoded)
        if self.start_token:
            encoded = add_start(encoded)
        if self.maxlen is None:
            return split(encoded)
        return pad(encoded, self.maxlen, self.padding, self.truncating)

    def _check_vocabulary(self) -> None:
        """As with `CountVectorizer`, a given vocabulary needs no fit."""
        if self.vocabulary is not None and not hasattr(self, "vocabulary_"):
            self.fit([])
        check_is_fitted(self)

    def _warn_of_contradictions(self, given: Collection[str]) -> None:
        """Warns of parameters without effect, in scikit-learn's words."""
        if self.tokenizer is not None and self.token_pattern != TOKEN_PATTERN:
            warn("The parameter 'token_pattern' will not be used since 'tokenizer' is not None")
        analyze = self.build_analyzer()
        find = analyze._replace(stop_words=frozenset())
        missed = sorted({token for word in analyze.stop_words for token in find(word)} - analyze.stop_words)
        if missed:
            warn("Your stop_words may be inconsistent with your preprocessing. Tokenizing the stop words generated tokens "
                  f"{missed} not in stop_words.")
        upper = [word for word in given if word != word.lower()] if self.lowercase else []
        if upper:
            warn(f"Upper case characters found in vocabulary while 'lowercase' is True: {len(upper)} of {len(given)} words, "
                  f"{upper[0]!r} the first. These entries will not be matched with any documents")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.requires_fit = self.vocabulary is None
        return tags
