"""Pretrained vectors: text files of GloVe, word2vec and fastText, damaged ones, and the embedding that begins with them."""

import gzip

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from tsrnn import SequenceVectorizer, TextClassifier
from tsrnn.data.pretrained import make_table, read_vectors
from tsrnn.datasets import _reviews, make_reviews

WORDS = {"good": 4, "bad": 5, "café": 6, "zzz": 7}
GLOVE = "the 0.1 0.2 -0.3\ngood 1 2 3\n. . 9 9 9\ncafé -1e-1 0 1\nGood 7 7 7\nbad 4 5 6\ngood 8 8 8\n"
EXPECTED = {"good": [1, 2, 3], "café": [-0.1, 0, 1], "bad": [4, 5, 6]}


def write(folder, text, name="vectors.txt"):
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("text", [
    GLOVE,
    "7 3\n" + GLOVE,                                    # word2vec and fastText: a header
    "\ufeff7 3\r\n" + GLOVE.replace("\n", " \r\n"),     # byte order mark, blanks at the ends
    GLOVE.rstrip("\n"),
    GLOVE.replace(". . 9", "dot 9").replace(" ", "\t"),
    "7 3\n" + GLOVE.replace(". . 9", "dot 9").replace(" ", "\t"),
])
@pytest.mark.parametrize("packed", [False, True])
def test_formats(text, packed, tmp_path):
    path = write(tmp_path, gzip.compress(text.encode()) if packed else text)
    found = read_vectors(str(path) if packed else path, WORDS)
    assert {word: pytest.approx(vector.tolist()) for word, vector in found.items()} == EXPECTED
    assert list(found) == ["good", "café", "bad"] and all(vector.dtype == np.float32 for vector in found.values())


def test_one_dimension_and_words_that_are_numbers(tmp_path):
    assert read_vectors(write(tmp_path, "2007 1.5\nx 2\n"), ["2007"]) == {"2007": np.float32([1.5])}
    assert read_vectors(write(tmp_path, "2 1\n2007 5\nx 2\n"), ["2007"]) == {"2007": np.float32([5])}


@pytest.mark.parametrize(("text", "message"), [
    ("good 1 2\nbad 1\n", r"vectors.txt, line 2 \('bad 1'\): it has 1 numbers where 2 are due"),
    ("2 2\ngood 1 2\nbad 1\n", r"line 3 .*has 1 numbers where 2 are due"),
    ("good 1 2\n\nbad 1 2\n", "line 2 .*has 0 numbers where 2 are due"),
    ("good 1 2\nbad 1 x\n", "line 2 .*no number"),
    ("good 1 2\nbad 1 nan\n", "line 2 .*NaN or infinity"),
    ("good 1 2\nbad 1  2 3\n", None),
    ("3 2\ngood 1 2\nbad 1 2\n", "has 2 vectors, but its first line promises 3"),
    ("", "begins with an empty line"),
    ("good\n", "line 1 .*has no numbers"),
    (b"2 2\ngood \x00\x01\x9f\nx \x81\n", "line 2 .*convert a binary one"),
    (b"PK\x03\x04....", "ZIP archive"),
    (gzip.compress(GLOVE.encode() * 1000, mtime=0)[:60], "ends in the middle of its gzip stream"),
    (gzip.compress(b"good 1 2\n", mtime=0)[:10] + b"\xff" * 20, "vectors.txt is damaged: .*; fetch it again"),
    (gzip.compress(b"good 1 2\n", mtime=0) + b"\x1f\x8b\x00\x00", "is damaged|ends in the middle"),
])
def test_damaged_files(text, message, tmp_path):
    path = write(tmp_path, text)
    if message is None:
        assert list(read_vectors(path, WORDS)) == ["good"]  # more fields than numbers: a word with blanks
        return
    with pytest.raises(ValueError, match=message):
        read_vectors(path, WORDS)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_vectors(tmp_path / "no", WORDS)


def test_the_table(tmp_path):
    rng = np.random.default_rng
    found = make_table(write(tmp_path, GLOVE), WORDS, 9, rng(0))
    assert found.table.shape == (9, 3) and found.table.dtype == np.float32 and found.coverage == 0.75
    assert found.found.tolist() == [False] * 4 + [True] * 3 + [False] * 2
    np.testing.assert_allclose(found.table[4:7], [EXPECTED[word] for word in ("good", "bad", "café")])
    assert not found.table[0].any() and found.table[7].any()
    np.testing.assert_array_equal(make_table(EXPECTED, WORDS, 9, rng(0)).table, found.table)  # in another order
    assert (make_table(EXPECTED, WORDS, 9, rng(1)).table[7] != found.table[7]).all()


@pytest.mark.parametrize("vectors", [
    {"good": [1, 2, 3]}, {"good": [2.0]}, {word: [0.1, 7.0] for word in ("good", "bad", "café")}])
def test_words_without_a_vector_differ_however_few_have_one(vectors):
    found = make_table(vectors, WORDS, 9, np.random.default_rng(0))
    drawn = found.table[1:][~found.found[1:]]
    assert found.table[4].tolist() == np.float32(vectors["good"]).tolist() and np.isfinite(drawn).all()
    assert len(np.unique(drawn, axis=0)) == len(drawn) and not (drawn == found.table[4]).any()


@pytest.mark.parametrize(("vectors", "message"), [
    ({"nothing": [1, 2]}, "none of the 4 words"), ({"good": [1, 2], "bad": [1]}, r"the lengths \[1, 2\]"),
    ({"good": [1, np.inf]}, r"vectors\['good'\] must be finite"), ({"good": "x"}, r"vectors\['good'\] must be finite"),
    ({"good": [[1, 2]]}, r"vectors\['good'\] must be finite")])
def test_mappings_that_do_not_fit(vectors, message):
    with pytest.raises(ValueError, match=message):
        make_table(vectors, WORDS, 8, np.random.default_rng(0))


# ------------------------------------------------------------------------------------------------------ in the classifier

pytestmark = pytest.mark.filterwarnings("ignore", category=ConvergenceWarning)
SETTINGS = {"hidden_layer_sizes": (4,), "maxlen": 6, "max_iter": 30, "early_stopping": False, "random_state": 0, "n_jobs": 1,
            "learning_rate_init": 0.02, "batch_size": 4, "dropout": 0.0, "input_dropout": 0.0,
            "n_iter_no_change": 100}
TEXTS, LABELS = ["good film", "bad film", "a good plot", "a bad plot"] * 4, [1, 0, 1, 0] * 4
VECTORS = {"good": [2.0, 0.1], "bad": [-2.0, 0.1], "lovely": [1.9, 0.0], "film": [0.0, 1.0], "plot": [0.0, 0.9],
           "a": [0.1, 0.5]}


def test_frozen_vectors_know_words_that_training_lacks():
    model = TextClassifier(vectors=VECTORS, train_embedding=False, vocabulary=list(VECTORS), **SETTINGS).fit(TEXTS, LABELS)
    assert model.predict(["lovely film", "good film", "bad film"]).tolist() == [1, 1, 0] and model.coverage_ == 1
    np.testing.assert_allclose(model.classifier_.weights_["embedding_0.W"][4:], list(VECTORS.values()), rtol=1e-6)


def test_trained_vectors_begin_with_the_given_ones(tmp_path):
    path = write(tmp_path, "\n".join(f"{word} {x} {y}" for word, (x, y) in VECTORS.items() if word != "plot"))
    model = TextClassifier(vectors=path, **{**SETTINGS, "max_iter": 1, "learning_rate_init": 1e-6}).fit(TEXTS, LABELS)
    table, ids = model.classifier_.weights_["embedding_0.W"], model.vectorizer_.vocabulary_
    assert model.coverage_ == 0.8
    np.testing.assert_allclose(table[ids["bad"]], [-2, 0.1], atol=1e-4)
    assert table[ids["bad"]].tolist() != np.float32([-2, 0.1]).tolist() and "lovely" not in ids
    again = TextClassifier(**model.get_params()).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(again.classifier_.weights_["embedding_0.W"], table)


def test_what_does_not_go_together():
    with pytest.raises(ValueError, match="embedding_dim=3, but vectors has 2 numbers a word"):
        TextClassifier(vectors=VECTORS, embedding_dim=3, **SETTINGS).fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="X holds ids; give the parameter vocabulary"):
        TextClassifier(vectors=VECTORS, **SETTINGS).fit([[1, 4], [1, 5]], [0, 1])
    with pytest.warns(UserWarning, match="only 1 of the 5 words"):
        TextClassifier(vectors={"good": [1, 2]}, **{**SETTINGS, "max_iter": 1}).fit(TEXTS, LABELS)


def test_going_on_keeps_what_was_learnt():
    model = TextClassifier(vectors=VECTORS, warm_start=True, **{**SETTINGS, "max_iter": 2}).fit(TEXTS, LABELS)
    before, coverage = model.classifier_.get_weights()["embedding_0.W"], model.coverage_
    model.set_params(learning_rate_init=1e-9).fit(TEXTS, LABELS)
    np.testing.assert_allclose(model.classifier_.get_weights()["embedding_0.W"], before, atol=1e-6)
    assert model.coverage_ == coverage and len(model.history_["loss"]) == 4


def test_shared_vectors_solve_reviews_with_words_that_training_never_had():
    X_train, X_test, y_train, y_test = make_reviews(1600, hold_out_synonyms=True, random_state=0)
    rng, vectors = np.random.default_rng(0), {}
    for kind in (_reviews._ADJECTIVES, _reviews._VERBS, _reviews._FEELINGS):
        for usual, held_out in zip(kind.usual, kind.held_out):
            meaning = rng.normal(size=16)
            vectors.update({word: meaning + 0.1 * rng.normal(size=16) for word in usual + held_out})
    others = SequenceVectorizer().fit(X_train + X_test).vocabulary_
    vectors = {**{word: rng.normal(size=16) for word in others}, **vectors}
    settings = {"maxlen": None, "cell": "gru", "hidden_layer_sizes": (32,), "embedding_dim": 16, "dropout": 0.2,
                "input_dropout": 0.0, "max_iter": 8, "batch_size": 32, "learning_rate_init": 0.01, "early_stopping": False,
                "random_state": 0, "n_jobs": 1}
    knowing = TextClassifier(vectors=vectors, vocabulary=list(vectors), train_embedding=False, **settings)
    assert knowing.fit(X_train, y_train).score(X_test, y_test) > 0.9
    assert TextClassifier(**settings).fit(X_train, y_train).score(X_test, y_test) < 0.65
