"""Generated reviews: order decides, counts of words do not."""

import re

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tsrnn import LSTMClassifier
from tsrnn.datasets import make_reviews

GOOD = set("good great wonderful brilliant superb lovely excellent delightful marvellous like enjoy adore love cherish "
           "fondness sympathy affection tenderness".split())
BAD = set("bad terrible awful dreadful boring poor horrible dismal atrocious hate dislike despise detest loathe contempt "
          "disgust hatred scorn".split())
HELD_OUT = set("excellent delightful marvellous love cherish affection tenderness horrible dismal atrocious detest loathe "
               "hatred scorn".split())
NEGATIONS, BETWEEN = {"not", "never", "no"}, {"really", "very", "so", "particularly", "especially", "feel"}


def words(text):
    return re.findall(r"[a-z]+", text.lower())


def verdicts(text):
    """What each opinion says, by the words before it; punctuation does not count."""
    tokens = words(text)
    for at, word in enumerate(tokens):
        if word in GOOD | BAD:
            before = at - 1
            while tokens[before] in BETWEEN and before > 0:
                before -= 1
            yield int((word in GOOD) != (at > 0 and tokens[before] in NEGATIONS))


def bag_of_words(n, seed, **options):
    X_train, X_test, y_train, y_test = make_reviews(n, random_state=seed, **options)
    model = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=2000)).fit(X_train, y_train)
    return model.score(X_test, y_test)


@pytest.mark.parametrize("hold_out", [False, True])
def test_order_decides_every_review(hold_out):
    X_train, X_test, y_train, y_test = make_reviews(4000, hold_out_synonyms=hold_out, random_state=0)
    for text, label in zip(X_train + X_test, [*y_train, *y_test]):
        assert set(verdicts(text)) == {label}, text


@pytest.mark.parametrize("n, seed", [(1000, 0), (1000, 1), (4000, 2), (10_000, 3)])
def test_bag_of_words_does_not_solve_it(n, seed):
    assert bag_of_words(n, seed) <= 0.65
    assert bag_of_words(n, seed, hold_out_synonyms=True) <= 0.65


def test_short_sequences_of_words_do():
    X_train, X_test, y_train, y_test = make_reviews(4000, random_state=0)
    model = make_pipeline(CountVectorizer(ngram_range=(1, 3), token_pattern=r"\w+"), LogisticRegression(max_iter=2000, C=10))
    assert model.fit(X_train, y_train).score(X_test, y_test) > 0.85


def test_a_recurrent_network_solves_it():
    X_train, X_test, y_train, y_test = make_reviews(1000, random_state=0)
    known = {word: at + 4 for at, word in enumerate(dict.fromkeys(word for text in X_train for word in words(text)))}
    train, test = ([np.array([1, *(known.get(word, 2) for word in words(text))], np.int32) for text in part]
                   for part in (X_train, X_test))
    model = LSTMClassifier((32,), embedding_dim=16, vocabulary_size=len(known) + 4, learning_rate_init=0.01, batch_size=32,
                           max_iter=30, tol=0.0, n_iter_no_change=30, random_state=0)
    with pytest.warns(Warning, match="Maximum iterations"):
        model.fit(train, y_train)
    assert model.score(test, y_test) >= 0.95
    sentences = ["I love playing ball", "I do not love playing ball", "good, not bad at all", "bad, not good at all"]
    encoded = [np.array([1, *(known[word] for word in words(text))], np.int32) for text in sentences]
    assert model.predict(encoded).tolist() == [1, 0, 1, 0]


def test_parts_are_balanced_and_share_no_text():
    X_train, X_test, y_train, y_test = make_reviews(3001, test_size=0.3, random_state=np.random.RandomState(5))
    assert len(X_train) == len(y_train) == 2100 and len(X_test) == len(y_test) == 901
    assert y_train.sum() == 1050 and y_test.sum() in (450, 451) and y_train.dtype == np.int64
    assert len({*X_train, *X_test}) == 3001
    lengths = [len(words(text)) for text in X_train]
    assert min(lengths) <= 4 and max(lengths) >= 35 and np.std(lengths) > 5
    assert np.any(np.diff(y_train[:20]) == 0)  # neither sorted nor alternating


def test_held_out_synonyms_are_in_one_part_only():
    X_train, X_test, _, _ = make_reviews(2000, hold_out_synonyms=True, random_state=0)
    opinions = [{word for text in part for word in words(text)} & (GOOD | BAD) for part in (X_train, X_test)]
    assert opinions == [(GOOD | BAD) - HELD_OUT, HELD_OUT]
    X_train, X_test, _, _ = make_reviews(2000, random_state=0)
    for part in (X_train, X_test):
        assert {word for text in part for word in words(text)} & (GOOD | BAD) == GOOD | BAD


def test_both_sentences_of_the_tutorial_come():
    every = "\n".join(make_reviews(100_000, random_state=0)[0])
    assert "I love playing ball" in every and "I do not love playing ball" in every


def test_one_seed_one_set():
    first, same, other = (make_reviews(50, random_state=seed) for seed in (3, 3, 4))
    assert first[0] == same[0] and first[1] == same[1] and np.array_equal(first[3], same[3]) and first[0] != other[0]
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make_reviews(50, random_state=0)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("arguments", [
    {"n_samples": 3}, {"n_samples": 10.0}, {"n_samples": True}, {"test_size": 0.0}, {"test_size": 1.0}, {"test_size": True},
    {"test_size": 1}, {"test_size": 999}, {"test_size": "half"}, {"test_size": float("nan")},
    {"n_samples": 4, "test_size": 0.2}, {"hold_out_synonyms": "no"}, {"hold_out_synonyms": 1},
])
def test_arguments_without_sense_are_told(arguments):
    name = next(iter(arguments))
    with pytest.raises(ValueError, match=name):
        make_reviews(**arguments)
