"""IMDB: `TextClassifier()` as it comes, beside bags of words."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
from _data import data_folder
from _results import Result
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tsrnn import TextClassifier
from tsrnn.datasets import fetch_imdb


def imdb(seeds: Iterable[int]) -> list[Result]:
    """25,000 reviews to learn from, 25,000 to be tested on; the best one stands first.

    The settings of `TextClassifier` and the linear model's strength with bigrams (1 or 10) were chosen on 20,000 / 5,000
    training reviews.
    """
    (texts, y), (texts_test, y_test) = (fetch_imdb(part, source=data_folder() / "imdb", return_X_y=True)
                                        for part in ("train", "test"))
    network = Result("IMDB, TextClassifier()", "accuracy", [], {"bar": 0.885})
    for seed in seeds:
        _fit(network, TextClassifier(random_state=seed), texts, y, texts_test, y_test)
    words = Result("IMDB, TF-IDF, logistic regression", "accuracy", [], {})
    _fit(words, make_pipeline(TfidfVectorizer(), LogisticRegression()), texts, y, texts_test, y_test)
    pairs = Result("IMDB, the same with pairs of words", "accuracy", [], {})
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), max_features=200_000, sublinear_tf=True)
    _fit(pairs, make_pipeline(vectorizer, LogisticRegression(C=10, max_iter=1000)), texts, y, texts_test, y_test)
    return sorted([network, words, pairs], key=lambda result: -result.mean)


def _fit(result: Result, model, texts, y, texts_test, y_test) -> None:
    started = time.perf_counter()
    model.fit(texts, y)
    result.seconds.append(time.perf_counter() - started)
    result.scores.append(float(np.mean(model.predict(texts_test) == y_test)))
    if isinstance(model, TextClassifier):
        result.note += f"{' ' if result.note else ''}{model.n_iter_} epochs, best {model.best_iter_};"
