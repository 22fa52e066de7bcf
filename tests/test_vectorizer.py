"""SequenceVectorizer: scikit-learn's manners, Keras' ids."""

import gzip
import json
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from tsrnn import SequenceClassifier, SequenceVectorizer
from tsrnn.data.vocabulary import TOKEN_PATTERN

TEXTS = ["A good film.", "Not good at all!", ""]

# The first two training reviews of keras.datasets.imdb.load_data(), as it gives them, and their rows in imdb_train.csv.gz.
KERAS_IDS = {
    13076: """
        1 14 22 16 43 530 973 1622 1385 65 458 4468 66 3941 4 173 36 256 5 25 100 43 838 112 50 670 22665 9 35 480
        284 5 150 4 172 112 167 21631 336 385 39 4 172 4536 1111 17 546 38 13 447 4 192 50 16 6 147 2025 19 14 22 4
        1920 4613 469 4 22 71 87 12 16 43 530 38 76 15 13 1247 4 22 17 515 17 12 16 626 18 19193 5 62 386 12 8 316 8
        106 5 4 2223 5244 16 480 66 3785 33 4 130 12 16 38 619 5 25 124 51 36 135 48 25 1415 33 6 22 12 215 28 77 52
        5 14 407 16 82 10311 8 4 107 117 5952 15 256 4 31050 7 3766 5 723 36 71 43 530 476 26 400 317 46 7 4 12118
        1029 13 104 88 4 381 15 297 98 32 2071 56 26 141 6 194 7486 18 4 226 22 21 134 476 26 480 5 144 30 5535 18
        51 36 28 224 92 25 104 4 226 65 16 38 1334 88 12 16 283 5 16 4472 113 103 32 15 16 5345 19 178 32""",
    10654: """
        1 194 1153 194 8255 78 228 5 6 1463 4369 5012 134 26 4 715 8 118 1634 14 394 20 13 119 954 189 102 5 207 110
        3103 21 14 69 188 8 30 23 7 4 249 126 93 4 114 9 2300 1523 5 647 4 116 9 35 8163 4 229 9 340 1322 4 118 9 4
        130 4901 19 4 1002 5 89 29 952 46 37 4 455 9 45 43 38 1543 1905 398 4 1649 26 6853 5 163 11 3215 10156 4
        1153 9 194 775 7 8255 11596 349 2637 148 605 15358 8003 15 123 125 68 23141 6853 15 349 165 4362 98 5 4 228
        9 43 36893 1157 15 299 120 5 120 174 11 220 175 136 50 9 4373 228 8255 5 25249 656 245 2350 5 4 9837 131 152
        491 18 46151 32 7464 1212 14 9 6 371 78 22 625 64 1382 9 8 168 145 23 4 1690 15 16 4 1355 5 28 6 52 154 462
        33 89 78 285 16 145 95""",
}
APPLICABLE = [  # scikit-learn leaves estimators of texts alone, but for cloning; these checks need no X
    "check_estimator_cloneable", "check_estimator_repr", "check_parameters_default_constructible", "check_mixin_order",
    "check_no_attributes_set_in_init", "check_get_params_invariance", "check_set_params", "check_param_validation",
    "check_valid_tag_types", "check_do_not_raise_errors_in_init_or_set_params"]


def lists(X):
    return [row.tolist() for row in X]


# ----------------------------------------------------------------------------------------------- scikit-learn's manners


@pytest.mark.parametrize("check", APPLICABLE)
def test_scikit_learn_check(check):
    getattr(estimator_checks, check)("SequenceVectorizer", SequenceVectorizer())


def test_signature_and_tags():
    assert list(SequenceVectorizer().get_params()) == sorted(SequenceVectorizer._parameters)
    assert SequenceVectorizer(50, 7).get_params()["maxlen"] == 7
    with pytest.raises(TypeError):
        SequenceVectorizer(50, 7, "post")
    tags = SequenceVectorizer().__sklearn_tags__()
    assert tags.input_tags.string and not tags.input_tags.two_d_array and tags.requires_fit
    for name in ("lowercase", "tokenizer", "stop_words", "min_df", "vocabulary"):  # the same defaults as there
        assert SequenceVectorizer().get_params()[name] == CountVectorizer().get_params()[name]


def test_fit_transform_is_fit_and_transform_of_any_iterable():
    expected = [[1, 5, 4, 8], [1, 9, 4, 7, 6], [1]]
    vectorizer = SequenceVectorizer(maxlen=None)
    for wrap in (list, tuple, iter, np.array, pd.Series, lambda x: pd.Series(x, dtype="string")):
        assert lists(clone(vectorizer).fit_transform(wrap(TEXTS))) == expected
        assert lists(clone(vectorizer).fit(wrap(TEXTS)).transform(wrap(TEXTS))) == expected
    assert vectorizer.fit(TEXTS) is vectorizer
    assert vectorizer.vocabulary_ == {"good": 4, "a": 5, "all": 6, "at": 7, "film": 8, "not": 9}
    assert vectorizer.vocabulary_size_ == 10 == len(vectorizer.words_)


@pytest.mark.parametrize("kwargs", [{}, {"maxlen": None}, {"tokenizer": str.split}, {"token_pattern": r"\w+"},
                                    {"stop_words": ["at"]}, {"vocabulary": ["good", "film"]}])
def test_clone_and_pickle(kwargs):
    vectorizer = SequenceVectorizer(**kwargs)
    X = vectorizer.fit_transform(TEXTS)
    assert not hasattr(clone(vectorizer), "vocabulary_")
    for other in (clone(vectorizer).fit(TEXTS), pickle.loads(pickle.dumps(vectorizer))):
        assert lists(other.transform(TEXTS)) == lists(X)
    assert pickle.loads(pickle.dumps(vectorizer.build_analyzer()))("Good at x") == vectorizer.build_analyzer()("Good at x")


def test_set_output_and_column_transformer():
    series = pd.Series(TEXTS, index=[3, 5, 9])
    frame = SequenceVectorizer(maxlen=2).set_output(transform="pandas").fit_transform(series)
    assert frame.columns.tolist() == ["token0", "token1"] and frame.index.tolist() == [3, 5, 9]
    assert set(frame.dtypes) == {np.dtype(np.int32)} and frame.loc[9].tolist() == [0, 1]
    columns = make_column_transformer((SequenceVectorizer(maxlen=2), "text"), remainder="passthrough")
    assert columns.fit_transform(pd.DataFrame({"text": TEXTS, "stars": 1})).tolist() == [[4, 8, 1], [7, 6, 1], [0, 1, 1]]
    ragged = SequenceVectorizer(maxlen=None).set_output(transform="pandas")
    with pytest.raises(ValueError, match="maxlen=None .* set maxlen"):
        ragged.fit_transform(TEXTS)


def test_not_fitted():
    for method in ("transform", "inverse_transform"):
        with pytest.raises(NotFittedError):
            getattr(SequenceVectorizer(), method)([[4]] if method == "inverse_transform" else TEXTS)
    with pytest.raises(NotFittedError):
        SequenceVectorizer().get_feature_names_out()
    assert not hasattr(SequenceVectorizer(), "words_")


def test_a_failed_fit_keeps_the_vocabulary():
    vectorizer = SequenceVectorizer().fit(TEXTS)
    before = vectorizer.vocabulary_
    for texts in ([], ["..."], ["new", None]):
        with pytest.raises((ValueError, TypeError)):
            vectorizer.fit(texts)
    assert vectorizer.vocabulary_ is before


@pytest.mark.filterwarnings("ignore", category=ConvergenceWarning)
def test_grid_search_over_the_pipeline():
    texts, y = ["good fine", "bad awful film", "a good film", "bad"] * 6, ["pos", "neg"] * 12
    net = SequenceClassifier(embedding_dim=8, hidden_layer_sizes=(4,), max_iter=15, learning_rate_init=0.05, random_state=0)
    search = GridSearchCV(make_pipeline(SequenceVectorizer(20), net), {
        "sequencevectorizer__maxlen": [3, None], "sequencevectorizer__stop_words": [None, ["good", "bad"]]}, cv=2)
    search.fit(pd.Series(texts), y)
    assert search.best_score_ == 1.0 and search.best_params_["sequencevectorizer__stop_words"] is None
    assert search.predict(texts).tolist() == y


# --------------------------------------------------------------------------------------------------------------- parameters


def test_padding_truncating_start_and_unknown_words():
    fitted = SequenceVectorizer(8).fit(["b b b a a a a c c d"])  # a 4, b 5, c 6, d 7
    def ids(text="a b x c d", **kwargs):
        return SequenceVectorizer(vocabulary=fitted.vocabulary_, **kwargs).fit_transform([text])[0].tolist()
    assert ids(maxlen=8) == [0, 0, 1, 4, 5, 2, 6, 7]
    assert ids(maxlen=8, padding="post") == [1, 4, 5, 2, 6, 7, 0, 0]
    assert ids(maxlen=3) == [2, 6, 7]  # as in Keras the start goes first
    assert ids(maxlen=3, truncating="post") == [1, 4, 5]
    assert ids(maxlen=None, start_token=False) == [4, 5, 2, 6, 7]
    assert ids(maxlen=None, oov_token=False) == [1, 4, 5, 6, 7]
    assert ids(maxlen=4, oov_token=False) == [4, 5, 6, 7]  # left out before it is cut
    with pytest.warns(UserWarning, match="2 of 4 words of the given vocabulary"):
        assert ids(max_tokens=6, maxlen=None) == [1, 4, 5, 2, 2, 2]
    assert ids("", maxlen=None, start_token=False) == [] and ids("", maxlen=2, start_token=False) == [0, 0]


@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=6).map(" ".join), max_size=5), st.integers(5, 9), st.booleans(),
       st.booleans())
def test_all_ids_lie_below_max_tokens_and_come_back(texts, max_tokens, start, unknown):
    texts = [*texts, "a"]
    vectorizer = SequenceVectorizer(max_tokens, maxlen=8, start_token=start, oov_token=unknown)
    X = vectorizer.fit_transform(texts)
    assert X.dtype == np.int32 and X.shape == (len(texts), 8) and X.min() >= 0
    assert X.max() < vectorizer.vocabulary_size_ <= max_tokens
    stand_in = {True: ["[OOV]"], False: []}[unknown]
    for text, back in zip(texts, vectorizer.inverse_transform(X)):
        assert back.split() == [part for w in text.split() for part in ([w] if w in vectorizer.vocabulary_ else stand_in)]


def test_stop_words():
    texts = ["The film is not bad", "a film"]
    assert set(SequenceVectorizer(stop_words=("the", "a")).fit(texts).vocabulary_) == {"film", "is", "not", "bad"}
    vectorizer = SequenceVectorizer(maxlen=None, stop_words="english").fit(texts)
    assert set(vectorizer.vocabulary_) == {"film", "bad"}
    assert vectorizer.inverse_transform(vectorizer.transform(["the film was not seen"])) == ["film [OOV]"]  # out, not unknown
    with pytest.raises(ValueError, match="not a built-in stop list: french"):
        SequenceVectorizer(stop_words="french").build_analyzer()


def test_warnings_of_parameters_without_effect():
    with pytest.warns(UserWarning, match=r"stop_words may be inconsistent .*\['the'\]"):
        SequenceVectorizer(stop_words=["The"]).fit(TEXTS)
    with pytest.warns(UserWarning, match="'token_pattern' will not be used"):
        SequenceVectorizer(tokenizer=str.split, token_pattern=".").fit(TEXTS)
    with pytest.warns(UserWarning, match="Upper case characters found in vocabulary .* 1 of 2 words, 'Film'"):
        SequenceVectorizer(vocabulary=["Film", "good"]).fit(TEXTS)
    SequenceVectorizer(vocabulary=["Film"], lowercase=False).fit(TEXTS)


def test_warnings_point_at_the_user_whatever_the_folder_is_called(tmp_path):
    path = str(tmp_path / "sklearn" / "joblib" / "user.py")
    with pytest.warns(UserWarning, match="will not be used") as caught:
        exec(compile("def use(vectorizer):\n    vectorizer.fit(['a'])\nuse(vectorizer)", path, "exec"),
             {"vectorizer": SequenceVectorizer(tokenizer=str.split, token_pattern=".")})
    assert [(warning.filename, warning.lineno) for warning in caught] == [(path, 2)]


def test_words_of_a_given_vocabulary_that_max_tokens_leaves_out():
    words = [f"w{i}" for i in range(30)]
    ids = {word: id_ for id_, word in enumerate(words, start=4)}
    for vocabulary in (words, set(words), ids, pd.Series(words), np.array(words), (word for word in words)):
        with pytest.warns(UserWarning, match="20 of 30 words of the given vocabulary have ids from max_tokens=14 on and are "
                                             "left out; max_tokens=None keeps all"):
            vectorizer = SequenceVectorizer(14, vocabulary=vocabulary).fit([])
        assert len(vectorizer.vocabulary_) == 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for max_tokens in (34, None):
            assert SequenceVectorizer(max_tokens, vocabulary=ids).fit([]).vocabulary_ == ids
    with pytest.raises(ValueError, match=r"'good': 1099511627776, but ids are at most 2147483647 \(int32\)"):
        SequenceVectorizer(None, vocabulary={"good": 2**40}).transform(["good"])


def test_a_given_vocabulary_needs_no_fit_and_learns_nothing():
    vectorizer = SequenceVectorizer(maxlen=3, vocabulary={"good": 7, "film": 4})
    assert vectorizer.transform(["good old film"]).tolist() == [[7, 2, 4]]
    assert not vectorizer.__sklearn_tags__().requires_fit
    assert vectorizer.fit(["something else"]).vocabulary_ == {"good": 7, "film": 4} and vectorizer.vocabulary_size_ == 8
    with pytest.raises(TypeError, match=r"raw_documents\[1\]"):
        vectorizer.fit(["a", None])
    with pytest.raises(ValueError, match="ids below 4 are no words"):
        SequenceVectorizer(vocabulary={"the": 1}).fit(TEXTS)


def test_signs_beyond_ascii_stay_in_their_words():
    """As the docstring says, and how to take them off."""
    text = "a\u00a0film “great” don't—ever…"
    assert SequenceVectorizer().build_analyzer()(text) == ["a\u00a0film", "“great”", "don't—ever…"]
    assert SequenceVectorizer(token_pattern=r"[\w']+").build_analyzer()(text) == ["a", "film", "great", "don't", "ever"]


def test_characters():
    vectorizer = SequenceVectorizer(maxlen=None, tokenizer=list, lowercase=False)
    X = vectorizer.fit_transform(["to be", "or\nnot"])
    assert "".join(vectorizer.words_[X[1][1:]]) == "or\nnot"


# ------------------------------------------------------------------------------------------------------------- odd texts


def test_odd_texts():
    vectorizer = SequenceVectorizer(maxlen=4).fit(["good <br />film 😀", "good"])
    assert vectorizer.transform([]).shape == (0, 4)
    X = vectorizer.transform(["", "   ", "good", "unseen", "<b>GOOD</b>", "😀", "\ud800 \0", "good " * 100_000])
    good, smile = vectorizer.vocabulary_["good"], vectorizer.vocabulary_["😀"]
    assert X.tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 1, good], [0, 0, 1, 2], [1, 2, good, 2], [0, 0, 1, smile],
                          [0, 1, 2, 2], [good] * 4]
    assert vectorizer.inverse_transform(X)[4:6] == ["[OOV] good [OOV]", "😀"]


@pytest.mark.parametrize("method", ["fit", "fit_transform", "transform"])
@pytest.mark.parametrize("documents, error, message", [
    ("one text", ValueError, "string object received"), (["a", np.nan], TypeError, r"raw_documents\[1\] is nan \(float\)"),
    ([b"a"], TypeError, r"raw_documents\[0\] is b'a' .* text.decode"), (pd.DataFrame({"t": TEXTS}), ValueError, "one axis"),
    ([["a", "b"]], TypeError, r"\['a', 'b'\] \(list\)"), (7, TypeError, "got int")])
def test_what_is_no_list_of_texts(method, documents, error, message):
    with pytest.raises(error, match=message):
        getattr(SequenceVectorizer().fit(TEXTS), method)(documents)


# ------------------------------------------------------------------------------------------------------------- real data


@pytest.fixture(scope="module")
def imdb(data_folder):
    """Training reviews and Keras' word index."""
    with gzip.open(data_folder / "imdb" / "keras_imdb_word_index.json.gz", "rt", encoding="utf-8") as file:
        index = json.load(file)
    return pd.read_csv(data_folder / "imdb" / "imdb_train.csv.gz", keep_default_na=False)["review"], index


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:.* words of the given vocabulary have ids from max_tokens=10000 on")  # as `num_words` is
@pytest.mark.parametrize("num_words", [None, 10_000])
def test_ids_are_those_of_keras(imdb, num_words):
    reviews, index = imdb
    vocabulary = {word: rank + 3 for word, rank in index.items() if word == word.lower()}
    X = SequenceVectorizer(num_words, None, vocabulary=vocabulary).transform(reviews[list(KERAS_IDS)])
    for found, text in zip(X, KERAS_IDS.values()):
        keras = [int(i) for i in text.split()]
        assert found.tolist() == [i if num_words is None or i < num_words else 2 for i in keras]  # what `num_words` does


@pytest.mark.data
def test_the_vocabulary_is_that_of_keras(imdb):
    """The same tokens, hence the same counts; among words of one frequency Keras' order depends on that of its texts."""
    reviews, index = imdb
    vectorizer = SequenceVectorizer(max_tokens=None, maxlen=None)
    counts = np.bincount(np.concatenate(vectorizer.fit_transform(reviews)), minlength=vectorizer.vocabulary_size_)
    keras = [word for word in sorted(index, key=index.get) if word in vectorizer.vocabulary_]
    # 'É' and the like: Keras' index was made by a tokenizer that lower-cased ASCII alone
    assert len(keras) > len(index) - 25 and len(vectorizer.vocabulary_) < len(keras) + 25
    in_keras_order = counts[[vectorizer.vocabulary_[word] for word in keras[:10_000]]]
    assert in_keras_order.tolist() == counts[4:10_004].tolist()
    assert keras[:200] == vectorizer.words_[4:204].tolist()


def test_the_default_pattern_is_written_in_the_signature():
    assert SequenceVectorizer().token_pattern == TOKEN_PATTERN
