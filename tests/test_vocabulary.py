"""Texts to ids and back: Keras' tokens, a vocabulary that the order of texts does not change, exact padding."""

import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsrnn.data import vocabulary as v

KERAS_FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'  # keras.preprocessing.text.Tokenizer
TEXTS = st.text(st.one_of(st.characters(), st.sampled_from("ab' .<>\t\n\r\x0b\x1f\x85\xa0é\ud800\0")), max_size=30)
TOKENS = st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", "é", "Z", "😀"]), max_size=8), max_size=8)
words = v.make_analyzer()


def keras_tokens(text):
    """What Keras' `text_to_word_sequence` does."""
    text = text.lower().translate({ord(c): " " for c in KERAS_FILTERS})
    return [token for token in text.split(" ") if token]


# ----------------------------------------------------------------------------------------------------------------- tokens


@given(TEXTS)
def test_default_tokens_are_those_of_keras(text):
    text = re.sub("[\r\x0b\x0c]", " ", text)  # blanks in files of other systems: Keras leaves them inside words
    assert words(text) == keras_tokens(text)


@given(TEXTS)
def test_default_tokens_are_those_of_the_default_pattern(text):
    assert words(text) == re.findall(v.TOKEN_PATTERN, text.lower())


@pytest.mark.parametrize("text, tokens", [
    ("", []), ("...", []), ("Great!<br /><br />Don't MISS it", ["great", "br", "br", "don't", "miss", "it"]),
    ("'quoted'\r\nline", ["'quoted'", "line"]), ("I ❤️ it 😀", ["i", "❤️", "it", "😀"]), ("naïve ÉCOLE", ["naïve", "école"]),
    ("10/10 snake_case", ["10", "10", "snake", "case"])])
def test_tokens_of(text, tokens):
    assert words(text) == tokens


def test_analyzers():
    assert v.make_analyzer(lowercase=False)("The END") == ["The", "END"]
    assert v.make_analyzer(token_pattern=r"(?u)\b\w\w+\b")("A good, good film") == ["good", "good", "film"]
    assert v.make_analyzer(token_pattern="<(.)>")("<a> b <c>") == ["a", "c"]
    assert v.make_analyzer(tokenizer=list)("Ab") == ["a", "b"]
    assert v.make_analyzer(tokenizer=lambda text: iter(text.split()))("a b") == ["a", "b"]
    assert v.make_analyzer(stop_words={"the", "a"})("The cat, a dog") == ["cat", "dog"]


@pytest.mark.parametrize("pattern, message", [("(a", "is no regular expression"), ("(a)(b)", "More than 1 capturing group")])
def test_wrong_patterns(pattern, message):
    with pytest.raises(ValueError, match=message):
        v.make_analyzer(token_pattern=pattern)


# -------------------------------------------------------------------------------------------------------------- documents


@pytest.mark.parametrize("wrap", [
    list, tuple, iter, lambda x: (text for text in x), np.array, lambda x: np.array(x, object), pd.Series, pd.Index,
    lambda x: pd.Series(x, index=[7, 7], dtype=object), lambda x: pd.Series(x, dtype="string"),
    lambda x: pd.Series(x, dtype="category"), lambda x: np.array(x, np.dtypes.StringDType()),
    lambda x: dict(enumerate(x)).values()])
def test_documents_of_any_kind(wrap):
    texts = ["One film.", "😀"]
    assert [str(text) for text in v.check_documents(wrap(texts))] == texts
    assert [words(text) for text in v.check_documents(wrap(texts))] == [["one", "film"], ["😀"]]


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, 3, ["a"], b"caf\xe9"])
def test_a_text_that_is_no_string_is_named(missing):
    with pytest.raises(TypeError, match=r"raw_documents\[1\] is .* not a string; (leave|decode)"):
        list(v.check_documents(["a", missing, None]))


@pytest.mark.parametrize("missing", [pd.Series(["a", None], dtype="string"), pd.Series(["a", None]),
                                     np.array(["a", np.nan], object)])
def test_missing_texts_in_pandas(missing):
    with pytest.raises(TypeError, match=r"raw_documents\[1\]"):
        list(v.check_documents(missing))


@pytest.mark.parametrize("documents, error, message", [
    ("one text", ValueError, "Iterable over raw text documents expected, string object received"),
    (b"one text", ValueError, "string object received"),
    (pd.DataFrame({"review": ["a", "b"]}), ValueError, r"got shape \(2, 1\)"), (np.array([["a"]]), ValueError, "one column"),
    (np.array("a"), ValueError, r"got shape \(\)"), (None, TypeError, "got NoneType"), (3, TypeError, "got int"),
    ({"a", "b"}, TypeError, "got set"), ({"a": "b"}, TypeError, "got dict")])
def test_what_is_no_list_of_texts(documents, error, message):
    with pytest.raises(error, match=message):
        v.check_documents(documents)  # at once, not when the first text is asked for


# ------------------------------------------------------------------------------------------------------------- vocabulary


def naive_vocabulary(documents, max_tokens, min_df):
    counts = Counter(token for tokens in documents for token in tokens)
    texts = Counter(token for tokens in documents for token in set(tokens))
    least = min_df * len(documents) if isinstance(min_df, float) else min_df
    ranked = sorted((token for token in counts if texts[token] >= least), key=lambda token: (-counts[token], token))
    return {token: 4 + rank for rank, token in enumerate(ranked[:max_tokens and max_tokens - 4])}


@given(TOKENS, st.sampled_from([None, 5, 6, 100]), st.sampled_from([1, 2, 0.0, 0.3, 1.0]))
def test_learned_vocabulary_and_ids(documents, max_tokens, min_df):
    expected = naive_vocabulary(documents, max_tokens, min_df)
    if not expected:
        with pytest.raises(ValueError, match="empty vocabulary|no terms remain"):
            v.learn(documents, max_tokens=max_tokens, min_df=min_df)
        return
    vocabulary, encoded = v.learn(documents, max_tokens=max_tokens, min_df=min_df)
    assert vocabulary == expected and list(vocabulary) == list(expected)
    assert encoded.ids.tolist() == [expected.get(token, 2) for tokens in documents for token in tokens]
    assert encoded.lengths.tolist() == [len(tokens) for tokens in documents]
    again = v.encode(documents, vocabulary)
    for a, b in zip(encoded, again):
        assert a.dtype == b.dtype and a.tolist() == b.tolist()
    assert encoded.ids.dtype == np.int32 and encoded.lengths.dtype == np.int64


@given(TOKENS, st.randoms())
def test_the_order_of_texts_does_not_matter(documents, random):
    shuffled = [*documents, ["a"]]
    first = v.learn(shuffled, max_tokens=6)[0]
    random.shuffle(shuffled)
    assert v.learn(shuffled, max_tokens=6)[0] == first


def test_a_tokenizer_must_give_strings():
    with pytest.raises(TypeError, match="tokenizer gave 3 .int."):
        v.learn([["a", 3]])


def test_given_vocabularies():
    assert v.check_vocabulary(["b", "a"]) == {"b": 4, "a": 5}
    assert v.check_vocabulary({"b", "a"}) == {"a": 4, "b": 5}
    assert v.check_vocabulary({"b": np.int64(9), "a": 4}) == {"b": 9, "a": 4}
    assert v.check_vocabulary({"b": 9, "a": 4}, max_tokens=9) == {"a": 4}


@pytest.mark.parametrize("vocabulary, error, message", [
    ([], ValueError, "empty vocabulary passed to fit"), ({}, ValueError, "empty vocabulary"), ("the", TypeError, "one string"),
    (["a", "b", "a"], ValueError, "Duplicate term in vocabulary: 'a'"), ({"a": 4, "b": 4}, ValueError, "repeated indices"),
    ({"the": 1}, ValueError, "'the': 1, but ids below 4 are no words .* add 3"), ({"a": 4.0}, TypeError, "whole number"),
    ({"a": True}, TypeError, "whole number"), ([b"a"], TypeError, "string"), ({"a": 10}, ValueError, "below max_tokens=10")])
def test_vocabularies_that_are_none(vocabulary, error, message):
    with pytest.raises(error, match=message):
        v.check_vocabulary(vocabulary, max_tokens=10)


# ---------------------------------------------------------------------------------------------------------- ids and back


def encoded(rows):
    return v.Encoded(np.array([i for row in rows for i in row], np.int32), np.array([len(row) for row in rows], np.int64))


def keras_pad(rows, maxlen, padding, truncating):
    """What Keras' `pad_sequences` does."""
    out = np.zeros((len(rows), maxlen), np.int32)
    for i, row in enumerate(rows):
        if not row:
            continue
        row = row[-maxlen:] if truncating == "pre" else row[:maxlen]
        if padding == "pre":
            out[i, -len(row):] = row
        else:
            out[i, :len(row)] = row
    return out


ROWS = st.lists(st.lists(st.integers(2, 9), max_size=7), max_size=6)
SIDE = st.sampled_from(["pre", "post"])


@given(ROWS, st.integers(1, 8), SIDE, SIDE)
def test_padding_is_that_of_keras(rows, maxlen, padding, truncating):
    found = v.pad(encoded(rows), maxlen, padding, truncating)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, keras_pad(rows, maxlen, padding, truncating))


@given(ROWS)
def test_ragged_start_and_unknown(rows):
    def lists(coded):
        return [part.tolist() for part in v.split(coded)]
    assert lists(encoded(rows)) == rows
    assert lists(v.add_start(encoded(rows))) == [[1, *row] for row in rows]
    assert lists(v.drop_unknown(encoded(rows))) == [[i for i in row if i != 2] for row in rows]


def test_ragged_ids_of_one_length_stay_an_object_array():
    for length in (1, 3):
        parts = v.split(encoded([[5] * length] * 3))
        assert parts.shape == (3,) and parts.dtype == object and parts[0].dtype == np.int32


@given(ROWS, st.booleans())
def test_decoding(rows, padded):
    names = v.name_ids({"a": 4, "b": 5, "e": 8, "f": 9})
    assert names.tolist() == ["[PAD]", "[START]", "[OOV]", "[UNUSED]", "a", "b", "[UNUSED]", "[UNUSED]", "e", "f"]
    coded = v.add_start(encoded(rows))
    X = v.pad(coded, 8) if padded else v.split(coded)
    assert v.decode(X, names) == [[names[i] for i in row] for row in rows]


def test_decoding_takes_ids_of_any_kind():
    names = v.name_ids({"a": 4})
    X = np.array([[0, 1, 4], [1, 4, 2]])
    for form in (X, X.astype(float), X.astype(np.uint8), X.tolist(), pd.DataFrame(X), list(X)):
        assert v.decode(form, names) == [["a"], ["a", "[OOV]"]]
    assert v.decode([[], [4]], names) == [[], ["a"]] and v.decode([], names) == []


@pytest.mark.parametrize("X, message", [
    ([[5]], "X contains 5, .* 0 to 4"), ([[-1]], "X contains -1"), ([[1.5]], "X contains 1.5"), ([[np.nan]], "X contains nan"),
    ([4, 4], "goes into a list"), ([["a"]], "values of type"), ([[[4]]], "must be")])
def test_what_is_no_id(X, message):
    with pytest.raises(ValueError, match=message):
        v.decode(X, v.name_ids({"a": 4}))
