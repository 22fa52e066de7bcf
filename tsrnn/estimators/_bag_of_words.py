"""The model to beat where texts are classified: TF-IDF and logistic regression, which know no order of words."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def fit_bag_of_words(texts: Any, y: Any) -> Any:
    """Fits it.

    Parameters
    ----------
    texts : list of str
    y : array-like of shape (n,)
        Labels.

    Returns
    -------
    pipeline : Pipeline

    Raises
    ------
    ValueError
        Where no text has a word.
    """
    pipeline = make_pipeline(TfidfVectorizer(token_pattern=r"(?u)\b\w+\b"), LogisticRegression(max_iter=1000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # close enough to its optimum to be compared with
        return pipeline.fit(texts, y)
