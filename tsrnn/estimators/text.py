"""`TextClassifier`: texts in, probabilities out."""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from tsrnn._warn import warn
from tsrnn.data.pretrained import make_table
from tsrnn.device import backend_of
from tsrnn.estimators import _targets
from tsrnn.estimators._base import draw_seed
from tsrnn.estimators._callbacks import CallbackSupportMixin, hand_on
from tsrnn.estimators._cooccurrence import cooccurrence_vectors
from tsrnn.estimators._declare import Parameterised, param
from tsrnn.estimators._explain import Explanation, gradient_times_input
from tsrnn.estimators._inputs import about
from tsrnn.estimators._params import POSITIVE_INT
from tsrnn.estimators._problem import Validation, split_rows
from tsrnn.estimators._telling import check_unchanged
from tsrnn.estimators._texts import Learnt, check_whole, encode_any, is_ids, learn_ids, learn_texts, name_tokens, sized
from tsrnn.estimators.sequence import SequenceClassifier
from tsrnn.estimators.vectorizer import SequenceVectorizer

EMBEDDING_DIM = 64  # without pretrained vectors
NEIGHBOURS = "cooccurrence"
VECTORS = 2         # what a seed's random stream is for, see `training`
FITTED = ("classes_", "n_outputs_", "n_iter_", "loss_", "best_loss_", "loss_curve_", "validation_scores_",
          "best_validation_score_", "best_iter_", "history_")  # what is handed on of the network's


class TextClassifier(
        ClassifierMixin, CallbackSupportMixin, Parameterised,
        without=("vocabulary_size", "embedding_weights", "return_sequences", "n_channels", "layers"),
        defaults={"max_tokens": 20_000, "maxlen": 400, "cell": "gru", "bidirectional": True, "pooling": "max",
                  "mask_zero": True, "dropout": 0.5, "input_dropout": 0.5, "batch_size": 32, "max_iter": 20,
                  "early_stopping": True, "n_iter_no_change": 5, "dtype": "float32"}):
    """Recurrent network for classification of texts: `SequenceVectorizer` and `SequenceClassifier` in one estimator.

    Two classes share one output with a sigmoid, more have a softmax.  All parameters of both are parameters here, but those
    that one tells the other; for layers of your own put the two into a pipeline.

    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    vectorizer_ : SequenceVectorizer
        Text to ids: `vocabulary_`, `words_`.  It knows no words after a fit on ids without a `vocabulary`.
    classifier_ : SequenceClassifier
        The network: `weights_`, `get_weights`, `set_weights`.
    coverage_ : float or None
        Share of the vocabulary's words that pretrained `vectors` have; None without such.
    history_ : dict of str to list
        Keras' keys: loss, val_loss, accuracy, val_accuracy, seconds; an entry an epoch.
    n_iter_, best_iter_ : int
        Epochs of the last fit, and the best of them (from 1) by the validation score, or else by the training loss.
    loss_, best_loss_, loss_curve_ : float, float, list of float
        Training loss of the last and of the best epoch, and of all.
    validation_scores_, best_validation_score_ : list of float, float, or None
        Accuracy on the validation set after each epoch, and at `best_iter_`; None without any.

    Notes
    -----
    X is texts (a list, Series, array or generator of str) or ids of words, in any method: n sequences (T_i,) or padded
    (n, T), as `SequenceVectorizer` or `fetch_imdb` give them.  From ids all zeros, which are padding, are taken; then they
    are cut and padded as texts are.  Ids beyond the vocabulary become 2, out of vocabulary; after a fit on ids the vocabulary
    is those up to the largest, but below `max_tokens`.

    scikit-learn's callbacks (`set_callbacks`) see the network, whose X are ids, epoch by epoch.

    With `warm_start` and `partial_fit` the vocabulary and its vectors stay those of the first fit.

    Examples
    --------
    >>> from tsrnn import TextClassifier
    >>> from tsrnn.datasets import make_reviews
    >>> X_train, X_test, y_train, y_test = make_reviews(400, random_state=0)
    >>> model = TextClassifier(maxlen=40, max_iter=2, random_state=0).fit(X_train, y_train)  # doctest: +SKIP
    >>> print(model.explain("good, not bad at all"))  # doctest: +SKIP
    """

    _parameters = {**SequenceVectorizer._parameters, **SequenceClassifier._parameters}

    embedding_dim: int | None = param(
        None, [POSITIVE_INT, None], f"Length of the words' vectors; None is that of `vectors`, or {EMBEDDING_DIM} without.")
    vectors: Any = param(
        "cooccurrence", [str, os.PathLike, HasMethods(["__getitem__", "__contains__"]), None],
        'Word vectors that the embedding begins with.  "cooccurrence" finds them in the training texts, without looking at '
        "labels: words that stand beside the same words get like vectors (in `fit`; `partial_fit` draws them).  Or pretrained "
        "ones: a text file of GloVe or word2vec, gzip or plain, or a mapping word → vector; words without one are drawn at "
        "random.  With `train_embedding=False` they stay as they are; give `vocabulary` then, so that words that the training "
        "texts lack are known by their vectors.  None draws all.")

    classifier_: SequenceClassifier
    vectorizer_: SequenceVectorizer
    classes_: np.ndarray
    coverage_: float | None
    _vocabulary_size: int
    _seed: int

    # ---------------------------------------------------------------------------------------------------------- fit

    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Learns the vocabulary, and trains the network.

        Parameters
        ----------
        X : iterable of str, or ids (n, T), or n sequences (T_i,) of ids
        y : array-like of shape (n,)
            Labels: strings, bools, numbers; at least two classes.
        sample_weight : array-like of shape (n,), default=None
        X_val, y_val, sample_weight_val : default=None
            Validation set, for `early_stopping` in the place of a part of X.  Words that X lacks are unknown in it.

        Returns
        -------
        self : TextClassifier
        """
        return self._fit(X, y, sample_weight, Validation(X_val, y_val, sample_weight_val))

    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Goes through X once; needs ``early_stopping=False``.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.  The first call cannot learn words from a part of the texts: it needs the parameter `vocabulary`, or
            ids.
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever come; needed in the first call.

        Returns
        -------
        self : TextClassifier
        """
        return self._fit(X, y, sample_weight, Validation(), partial=True, classes=classes)

    def _fit(self, X, y, sample_weight, validation: Validation, *, partial: bool = False, classes: Any = None):
        """`fit` and `partial_fit`; the estimator changes when all has gone well."""
        self._validate_params()
        backend_of(self.device, fitting=True)  # without a GPU that is asked for no text is read
        X, resume = sized(X), (partial or self.warm_start) and hasattr(self, "classifier_")
        layout = _targets.Layout(len(X), None)
        y = _targets.check_class_targets(self, y, layout)
        if not (resume or partial) and len(np.unique(y)) < 2:
            raise ValueError(f"y contains 1 class(es), while a minimum of 2 classes is required by {type(self).__name__}; pass "
                             "texts of all classes.")
        check_whole(X)
        weights, seed = _targets.check_weights(sample_weight, layout), self._seed if resume else draw_seed(self.random_state)
        X_val, y_val, weights_val = validation
        if X_val is not None:
            with about("X_val"):
                check_whole(X_val := sized(X_val))
        elif self.early_stopping and not partial and y_val is None and weights_val is None:
            # parted here already: the words of texts to stop by are as little known as those of later ones
            rows, others = split_rows(self, layout, y, seed, weights, weights)
            X_val, y_val, weights_val = _safe_indexing(X, others), y[others], weights[others]
            X, y, weights = _safe_indexing(X, rows), y[rows], weights[rows]
        fitted: dict[str, Any] = {"_seed": seed}
        if resume:
            vectorizer, size = self.vectorizer_, self._vocabulary_size
            check_unchanged(vectorizer.get_params(), self._parameters_of(SequenceVectorizer))
            ids = encode_any(X, vectorizer, size)
            dim = self.embedding_dim or self.classifier_.embedding_dim
            classifier = copy.copy(self.classifier_).set_params(**self._network_parameters(size, dim, seed))
        else:
            vectorizer = SequenceVectorizer(**self._parameters_of(SequenceVectorizer))
            learnt = self._learn(X, weights > 0, vectorizer, partial)
            ids, size = learnt.ids, learnt.size
            table, fitted["coverage_"] = self._table(vectorizer, learnt, seed, partial)
            dim = self.embedding_dim or EMBEDDING_DIM if table is None else table.shape[1]
            classifier = SequenceClassifier(**self._network_parameters(size, dim, seed), embedding_weights=table)
        if X_val is not None:
            X_val = encode_any(X_val, vectorizer, size)
        hand_on(self, classifier)
        if partial:
            classifier.partial_fit(ids, y, weights, classes)
        else:
            classifier.fit(ids, y, weights, X_val=X_val, y_val=y_val, sample_weight_val=weights_val)
        hand_on(None, classifier)
        classifier.set_params(embedding_weights=None)  # they have done their duty, and may be large
        fitted.update({name: getattr(classifier, name) for name in FITTED}, vectorizer_=vectorizer, classifier_=classifier,
                      _vocabulary_size=size)
        self.__dict__.update(fitted)
        return self

    def _parameters_of(self, kind: type[Parameterised]) -> dict[str, Any]:
        """Those of `kind` that are ours as well."""
        return {name: getattr(self, name) for name in kind._parameters if name in self._parameters}

    def _network_parameters(self, size: int, dim: int | None, seed: int) -> dict[str, Any]:
        """Those of the `SequenceClassifier`."""
        return {**self._parameters_of(SequenceClassifier), "vocabulary_size": size, "embedding_dim": dim, "random_state": seed}

    def _learn(self, X, counts: np.ndarray, vectorizer: SequenceVectorizer, partial: bool) -> Learnt:
        if is_ids(X):
            return learn_ids(X, counts, vectorizer, partial)
        if partial and self.vocabulary is None:
            raise ValueError("partial_fit cannot learn the vocabulary from a part of the texts; give the parameter vocabulary, "
                             "say SequenceVectorizer().fit(texts).vocabulary_, or begin with fit.")
        return learn_texts(X, counts, vectorizer)

    def _table(self, vectorizer: SequenceVectorizer, learnt: Learnt, seed: int,
               partial: bool) -> tuple[np.ndarray | None, float | None]:
        """The embedding's table, and the share of words that have a vector; None where it is drawn."""
        vectors = self.vectors
        if isinstance(vectors, str) and vectors == NEIGHBOURS:
            if partial:
                return None, None
            return cooccurrence_vectors(learnt.encoded, learnt.size, self.embedding_dim or EMBEDDING_DIM, seed), None
        if vectors is None:
            return None, None
        if isinstance(vectors, (str, os.PathLike)) and not os.path.exists(vectors):
            raise FileNotFoundError(f'vectors={vectors!r} is no file; give the path of one, a mapping, "{NEIGHBOURS}" or None.')
        if not hasattr(vectorizer, "vocabulary_"):
            raise ValueError("vectors are found by words, and X holds ids; give the parameter vocabulary, word to id, or "
                             "pass texts.")
        found = make_table(vectors, vectorizer.vocabulary_, learnt.size, np.random.default_rng([seed, VECTORS]))
        if self.embedding_dim not in (None, found.table.shape[1]):
            raise ValueError(f"embedding_dim={self.embedding_dim}, but vectors has {found.table.shape[1]} numbers a word; "
                             "leave embedding_dim at None.")
        if found.coverage < 0.5:
            warn(f"vectors has only {found.found.sum()} of the {found.n_words} words of the vocabulary; the others "
                 "were drawn at random.")
        return found.table, found.coverage

    # ------------------------------------------------------------------------------------------------------ predict

    def predict(self, X):
        """Predicts labels.

        Parameters
        ----------
        X : iterable of str, or ids (n, T), or n sequences (T_i,) of ids

        Returns
        -------
        y : ndarray of shape (n,)
        """
        ids = self._fitted_ids(X)
        return self.classifier_.predict(ids)

    def predict_proba(self, X):
        """Probabilities of the classes, in the order of `classes_`.

        Parameters
        ----------
        X : iterable of str, or ids (n, T), or n sequences (T_i,) of ids

        Returns
        -------
        p : ndarray of shape (n, n_classes)
        """
        ids = self._fitted_ids(X)
        return self.classifier_.predict_proba(ids)

    def predict_log_proba(self, X):
        """Logarithms of `predict_proba`.

        Parameters
        ----------
        X : iterable of str, or ids (n, T), or n sequences (T_i,) of ids

        Returns
        -------
        log_p : ndarray of shape (n, n_classes)
            -inf where a probability is 0.
        """
        ids = self._fitted_ids(X)
        return self.classifier_.predict_log_proba(ids)

    def _fitted_ids(self, X) -> np.ndarray:
        """X as the fitted network reads it."""
        check_is_fitted(self)
        X = sized(X)
        if len(X) == 0:
            raise ValueError("Found array with 0 sample(s) (shape=(0,)) while a minimum of 1 is required by "
                             f"{type(self).__name__}.")
        return encode_any(X, self.vectorizer_, self._vocabulary_size)

    def explain(self, text, target=None) -> Explanation:
        """What each word of a text adds to the decision: gradient times input.

        Parameters
        ----------
        text : str, or (T,) ids
            One text.
        target : label, default=None
            The class that is explained.  Default: of two classes the second, ``classes_[1]``, else the predicted one.

        Returns
        -------
        explanation : Explanation
            `words`, `contributions`, `prediction`; shows itself in notebooks, ``print`` gives plain text, and
            ``to_text(color=True)`` and ``to_html()`` colours.

        Raises
        ------
        ValueError
            `target` is no class, or `text` several texts.

        Notes
        -----
        Contributions are a first-order view of a network that is not linear: they need not sum up to the score.
        """
        if not isinstance(text, str) and np.ndim(text) != 1:
            raise ValueError(f"text must be one string, or the ids of one text (T,); got {type(text).__name__}: for several "
                             "texts call explain for each.")
        ids = np.asarray(self._fitted_ids([text])[0])
        names, n_left_out = name_tokens(text, self.vectorizer_)
        classes = self.classes_.tolist()
        proba = self.classifier_.predict_proba([ids])[0]
        predicted = int(proba.argmax())
        if target is not None and target not in classes:
            raise ValueError(f"target={target!r} is no class; it must be one of {classes}.")
        chosen = classes.index(target) if target is not None else (1 if len(classes) == 2 else predicted)
        network, theta = self.classifier_._network, self.classifier_._state.theta
        contributions, score = gradient_times_input(network, theta, ids, chosen)
        return Explanation(names, contributions[ids != 0], classes[predicted], classes[chosen], float(proba[chosen]), score,
                           n_left_out)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags
