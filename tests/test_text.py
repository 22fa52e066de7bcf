"""TextClassifier: every form of X and y, the pipeline that it is equal to, searches, what goes wrong."""

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from threadpoolctl import threadpool_info, threadpool_limits

from tsrnn import SequenceClassifier, SequenceVectorizer, TextClassifier
from tsrnn.data.vocabulary import Encoded
from tsrnn.datasets import make_reviews
from tsrnn.estimators._cooccurrence import cooccurrence_vectors
from tsrnn.estimators._texts import learn_texts

pytestmark = [pytest.mark.filterwarnings("ignore", category=ConvergenceWarning)]

SMALL = {"embedding_dim": 6, "hidden_layer_sizes": (5,), "maxlen": 12, "batch_size": 8, "max_iter": 2, "input_dropout": 0.1,
         "random_state": 0, "n_jobs": 1}
TEXTS = [f"{word} {noun}, {end}" for word in ("good", "lovely", "bad", "awful") for noun in ("film", "cast", "music", "plot")
         for end in ("really!", "I think <br />")]
LABELS = np.repeat([1, 0], 16)
APPLICABLE = [  # scikit-learn leaves estimators of texts alone, but for cloning; these checks need no X
    "check_estimator_cloneable", "check_estimator_repr", "check_parameters_default_constructible", "check_mixin_order",
    "check_no_attributes_set_in_init", "check_get_params_invariance", "check_set_params", "check_param_validation",
    "check_valid_tag_types", "check_do_not_raise_errors_in_init_or_set_params"]


def small(**changes):
    return TextClassifier(**{**SMALL, "early_stopping": False, "n_iter_no_change": 100, **changes})


@pytest.fixture(scope="module")
def fitted():
    return small().fit(TEXTS, LABELS)


@pytest.mark.parametrize("check", APPLICABLE)
def test_scikit_learn_check(check):
    getattr(estimator_checks, check)("TextClassifier", TextClassifier())


# ------------------------------------------------------------------------------------------------------- what comes out


def test_it_learns_and_tells_how():
    model = small(max_iter=40, learning_rate_init=0.02).fit(TEXTS, LABELS)
    assert model.score(TEXTS, LABELS) == 1
    assert model.predict(["a lovely film"]) == [1] and model.predict(["awful, awful"]) == [0]
    assert len(model.history_["loss"]) == model.n_iter_ == 40 and model.loss_ < 0.3
    assert model.validation_scores_ is None and model.coverage_ is None
    proba = model.predict_proba(TEXTS)
    assert proba.shape == (32, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_array_equal(model.predict_log_proba(TEXTS), np.log(proba))


@pytest.mark.parametrize("names", [("neg", "pos"), (False, True), (3, 7)])
def test_labels_come_back_as_they_were(names, fitted):
    labels = np.array(names)[LABELS]
    model = small().fit(TEXTS, labels)
    assert model.classes_.tolist() == list(names) and model.predict(TEXTS).dtype == labels.dtype
    np.testing.assert_array_equal(model.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_three_classes():
    labels = np.arange(32) % 3
    assert small().fit(TEXTS, labels).predict_proba(TEXTS).shape == (32, 3)


def test_one_class_is_refused_and_changes_nothing(fitted):
    model = pickle.loads(pickle.dumps(fitted))
    before = model.predict_proba(TEXTS)
    with pytest.raises(ValueError, match=r"1 class\(es\), while a minimum of 2 classes is required by TextClassifier"):
        model.fit(TEXTS[:4], ["a"] * 4)
    np.testing.assert_array_equal(model.predict_proba(TEXTS), before)


@pytest.mark.parametrize("maxlen", [12, None])
def test_it_is_vectorizer_and_network_in_a_pipeline(maxlen):
    model = small(maxlen=maxlen, max_tokens=14, vectors=None).fit(TEXTS, LABELS)
    network = SequenceClassifier(embedding_dim=6, vocabulary_size=14, mask_zero=True, bidirectional=True, cell=model.cell,
                                 pooling="max", dropout=model.dropout, input_dropout=model.input_dropout,
                                 hidden_layer_sizes=(5,), batch_size=8, max_iter=2, random_state=0, dtype="float32", n_jobs=1)
    pipeline = make_pipeline(SequenceVectorizer(max_tokens=14, maxlen=maxlen), network).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(model.predict_proba(TEXTS), pipeline.predict_proba(TEXTS))
    assert pipeline.score(TEXTS, LABELS) == model.score(TEXTS, LABELS)


# ---------------------------------------------------------------------------------------------------------- forms of X


@pytest.mark.parametrize("form", [pd.Series, np.array, tuple, iter, lambda X: pd.Series(X, dtype="string"),
                                  lambda X: np.array(X, object)], ids=["series", "array", "tuple", "iter", "string", "object"])
def test_forms_of_texts(form, fitted):
    expected = fitted.predict_proba(TEXTS)
    np.testing.assert_array_equal(fitted.predict_proba(form(TEXTS)), expected)
    np.testing.assert_array_equal(small().fit(form(TEXTS), LABELS).predict_proba(TEXTS), expected)


def test_ids_of_any_form_are_their_texts(fitted):
    expected = fitted.predict_proba(TEXTS)
    padded = fitted.vectorizer_.transform(TEXTS)
    ragged = SequenceVectorizer(maxlen=None, vocabulary=fitted.vectorizer_.vocabulary_).transform(TEXTS)
    behind = np.array([np.r_[row[row > 0], row[row == 0]] for row in np.pad(padded, ((0, 0), (3, 0)))])
    for ids in (padded, ragged, list(ragged), [row.tolist() for row in ragged], behind, pd.DataFrame(padded),
                padded.astype(float)):
        np.testing.assert_array_equal(fitted.predict_proba(ids), expected)
        np.testing.assert_array_equal(small().fit(ids, LABELS).predict_proba(ids), expected)


def test_ids_beyond_the_vocabulary_are_unknown_words(fitted):
    np.testing.assert_array_equal(fitted.predict_proba([[1, 5, 10**6]]), fitted.predict_proba([[1, 5, 2]]))
    model = small(max_tokens=8).fit([[1, 5, 99], [1, 6, 4]] * 4, [0, 1] * 4)
    assert model.classifier_.vocabulary_size == 8


def test_texts_behind_a_fit_on_ids_need_a_vocabulary():
    ids, labels = [[1, 4, 5], [1, 5, 4]] * 4, [0, 1] * 4
    model = small().fit(ids, labels)
    with pytest.raises(ValueError, match="there is no vocabulary; pass ids"):
        model.predict(["good"])
    model = small(vocabulary=["good", "bad"]).fit(ids, labels)
    np.testing.assert_array_equal(model.predict_proba(["good bad"]), model.predict_proba([[1, 4, 5]]))


@pytest.mark.parametrize(("X", "error", "message"), [
    ("one text", ValueError, "pass a list"),
    ([], ValueError, "0 sample"),
    (["good", None], TypeError, r"raw_documents\[1\] is None"),
    (["good", float("nan")], TypeError, r"raw_documents\[1\] is nan"),
    ([b"good"], TypeError, "decode it first"),
    ([["good", "film"]], TypeError, r"raw_documents\[0\] is \['good', 'film'\]"),
    ({"good": 1}, TypeError, "pass a list"),
    (3, TypeError, "pass a list"),
    (np.array("abc"), ValueError, r"one axis, got shape \(\)"),
    (pd.DataFrame({"a": ["x"], "b": ["y"]}), ValueError, "one column of texts"),
    ([[1, 2.5]], ValueError, "2.5, which is no token id"),
    ([[1, -1]], ValueError, "-1, which is no token id"),
    (np.zeros((1, 2, 3)), ValueError, r"X\[0\] has shape \(2, 3\)"),
    (np.array([[1, np.nan]]), ValueError, "nan, which is no token id"),
])
def test_other_things_are_refused(X, error, message, fitted):
    with pytest.raises(error, match=message):
        fitted.predict(X)


@pytest.mark.parametrize("text", ["", "film", "zzz", "good " * 100_000, "🎬 👍", "<p>good</p>", "\ud800", "0"])
def test_odd_texts_are_read(text, fitted):
    p = fitted.predict_proba([text, "good film"])
    assert np.isfinite(p).all()
    np.testing.assert_array_equal(p[0], fitted.predict_proba([text])[0])


def test_not_fitted():
    with pytest.raises(NotFittedError):
        TextClassifier().predict(["good"])


# ---------------------------------------------------------------------------------------- validation, searches, going on


def test_validation_set_and_early_stopping():
    X_train, X_val, y_train, y_val = make_reviews(120, random_state=0)
    model = small(early_stopping=True, maxlen=30, max_iter=30, n_iter_no_change=1, tol=1.0)
    model.fit(X_train, y_train, X_val=X_val, y_val=y_val)
    assert model.n_iter_ == 3 and len(model.validation_scores_) == 3
    assert model.score(X_val, y_val) == pytest.approx(model.best_validation_score_)
    split = clone(model).fit(X_train, y_train)
    assert len(split.validation_scores_) == 3 and split.validation_scores_ != model.validation_scores_
    with pytest.raises(TypeError, match=r"X_val: raw_documents\[1\] is None"):
        model.fit(X_train, y_train, X_val=["a", None], y_val=[0, 1])


@pytest.mark.parametrize("form", ["texts", "ids"])
def test_what_is_stopped_by_teaches_no_words(form):
    """Changing a text of the part that is set aside changes the validation score, and no bit of what is learnt."""
    X = list(TEXTS) if form == "texts" else [[1, 4 + n % 7, 4 + n % 5, 4 + n % 3] for n in range(32)]
    rows = train_test_split(np.arange(32), test_size=0.1, stratify=LABELS, random_state=np.random.RandomState(0))[1]
    other = list(X)
    other[rows[0]] = "zebra " * 500 if form == "texts" else [1, 900, 900]
    a, b = (small(early_stopping=True, restore_best=False).fit(texts, LABELS) for texts in (X, other))
    assert a.history_["loss"] == b.history_["loss"] and a.history_["val_loss"] != b.history_["val_loss"]
    np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))
    if form == "texts":
        assert "zebra" not in b.vectorizer_.vocabulary_ and a.vectorizer_.vocabulary_ == b.vectorizer_.vocabulary_


def test_a_weight_of_zero_is_as_good_as_leaving_out():
    weights = np.r_[np.ones(32), 0]
    a = small().fit([*TEXTS, "zebra " * 50], [*LABELS, 0], weights)
    b = small().fit(TEXTS, LABELS)
    assert a.vectorizer_.vocabulary_ == b.vectorizer_.vocabulary_
    np.testing.assert_allclose(a.history_["loss"], b.history_["loss"], atol=0.02)


def test_early_stopping_says_what_few_texts_lack():
    for y in ([1, 0] * 4, [0] * 30 + [1]):
        with pytest.raises(ValueError, match=r"early_stopping=True .* or early_stopping=False"):
            small(early_stopping=True).fit(["good"] * len(y), y)


def test_every_parameter_of_both_is_one_and_can_be_searched():
    ours = set(TextClassifier().get_params())
    theirs = {*SequenceVectorizer().get_params(), *SequenceClassifier().get_params()}
    assert theirs - ours == {"vocabulary_size", "embedding_weights", "return_sequences", "n_channels", "layers"}
    grid = {"max_tokens": [8, None], "cell": ["gru", "rnn"], "stop_words": [None, ["film"]]}
    search = GridSearchCV(small(max_iter=1), grid, cv=2, error_score="raise").fit(TEXTS, LABELS)
    assert set(search.best_params_) == set(grid)
    assert len(cross_val_score(small(max_iter=1), pd.Series(TEXTS), LABELS, cv=2, error_score="raise")) == 2


def test_warm_start_keeps_the_vocabulary_and_goes_on():
    model = small(warm_start=True).fit(TEXTS, LABELS)
    words, first = model.vectorizer_, model.loss_
    model.fit(TEXTS[8:24], LABELS[8:24])
    assert model.vectorizer_ is words and len(model.history_["loss"]) == 4 and model.loss_ != first
    before = model.predict_proba(TEXTS)
    with pytest.raises(ValueError, match="they must stay as they were"):
        model.set_params(cell="rnn").fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="lowercase is False and was True in the fit"):
        model.set_params(cell="gru", lowercase=False).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(model.predict_proba(TEXTS), before)


def test_partial_fit():
    with pytest.raises(ValueError, match="cannot learn the vocabulary from a part"):
        small().partial_fit(TEXTS, LABELS, classes=[0, 1])
    words = SequenceVectorizer().fit(TEXTS).vocabulary_
    model = small(vocabulary=words).partial_fit(TEXTS[:16], LABELS[:16], classes=[0, 1])  # one class only
    model.partial_fit(TEXTS[16:], LABELS[16:])
    assert len(model.history_["loss"]) == 2
    whole = small(max_iter=1).fit(TEXTS, LABELS).partial_fit(TEXTS, LABELS)
    np.testing.assert_array_equal(whole.predict_proba(TEXTS), small().fit(TEXTS, LABELS).predict_proba(TEXTS))
    with pytest.raises(ValueError, match="give max_tokens"):
        small(max_tokens=None).partial_fit([[1, 4]], [0], classes=[0, 1])
    assert small(max_tokens=9).partial_fit([[1, 4]], [0], classes=[0, 1]).predict([[1, 8]]) in (0, 1)


def test_pickle_and_weights(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    assert fitted.classifier_.get_weights()["embedding_0.W"].shape == (len(fitted.vectorizer_.words_), 6)


def test_sample_and_class_weights():
    weights = np.r_[np.ones(20), np.zeros(12)]
    model = small(class_weight="balanced").fit(TEXTS, LABELS, weights)
    assert model.predict_proba(TEXTS).shape == (32, 2)
    with pytest.raises(ValueError, match="inconsistent"):
        small().fit(TEXTS, LABELS[:-1])


def test_scikit_learn_callbacks_see_the_epochs():
    callbacks = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")
    monitor = callbacks.ScoringMonitor(scoring="accuracy")
    model = small(max_iter=3).set_callbacks(monitor).fit(TEXTS, LABELS)
    assert len(monitor.get_logs().data) >= 3
    assert not {"_skl_callbacks", "_parent_callback_ctx"} & set(vars(model.classifier_))
    pickle.dumps(model.classifier_)


@pytest.mark.filterwarnings("default")
def test_warnings_point_at_the_users_line():
    with pytest.warns(ConvergenceWarning) as caught:
        small(n_iter_no_change=1).fit(TEXTS, LABELS)
        make_pipeline(SequenceVectorizer(), SequenceClassifier((2,), embedding_dim=2, max_iter=1)).fit(TEXTS, LABELS)
    assert [warning.filename for warning in caught] == [__file__] * 2


# ------------------------------------------------------------------------------------------------- vectors from the texts


def encoded(*texts):
    return Encoded(np.concatenate([np.array(text, np.int32) for text in texts]), np.array([len(text) for text in texts]))


def test_vectors_are_factors_of_the_mutual_information():
    """Against the definition, pair by pair, on dense arrays."""
    rng = np.random.default_rng(0)
    texts = [rng.choice(20, 30, p=np.arange(1, 21) / 210) for _ in range(40)]  # ids below 4 are no words
    counts = np.zeros((20, 20))
    for text in texts:
        for i, j in itertools.product(range(30), repeat=2):
            if 0 < abs(i - j) <= 5 and min(text[i], text[j]) >= 4:
                counts[text[i], text[j]] += 1 / abs(i - j)
    contexts = counts.sum(0)**0.75
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.maximum(np.log(counts / (counts.sum(1, keepdims=True) * contexts / contexts.sum())), 0)
    U, S, _ = np.linalg.svd(np.nan_to_num(information))
    table = cooccurrence_vectors(encoded(*texts), 20, 3, seed=0)
    expected = (U * np.sqrt(S))[4:, :3]
    expected *= 0.1 / np.sqrt((expected**2).mean()) * np.sign((expected * table[4:]).sum(axis=0))
    np.testing.assert_allclose(table[4:], expected, atol=2e-3)
    assert not table[0].any() and table[1:4].any()


def test_vectors_of_alike_words_are_alike():
    vectorizer = SequenceVectorizer()
    texts = [f"a {animal} drinks milk" for animal in ("cat", "dog")] + [f"the {thing} needs fuel" for thing in ("car", "bus")]
    learnt = learn_texts(texts, np.ones(4, bool), vectorizer)
    table = cooccurrence_vectors(learnt.encoded, learnt.size, 4, seed=0)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    cat, dog, car, bus = (table[vectorizer.vocabulary_[word]] for word in ("cat", "dog", "car", "bus"))
    assert cat @ dog > 0.99 and car @ bus > 0.99 and abs(cat @ car) < 0.1


@pytest.mark.parametrize("texts", [([],), ([4],), ([1, 2, 0],), ([4, 5],), ([4, 4, 4],)])
def test_vectors_of_hardly_any_words(texts):
    table = cooccurrence_vectors(encoded(*texts), 8, 4, seed=0)
    assert table.shape == (8, 4) and np.isfinite(table).all() and not table[0].any() and table[4:].any(axis=1).all()


def test_vectors_have_the_same_bits_everywhere():
    rng = np.random.default_rng(0)
    texts = encoded(*rng.integers(4, 200, (50, 40)))
    with threadpool_limits(2, "blas"):
        two = cooccurrence_vectors(texts, 200, 16, seed=3)
    np.testing.assert_array_equal(two, cooccurrence_vectors(texts, 200, 16, seed=3))
    assert (two != cooccurrence_vectors(texts, 200, 16, seed=4)).any()


def test_which_vectors_there_are():
    model = small(vectors="cooccurrence").fit(TEXTS, LABELS)
    drawn = small(vectors=None).fit(TEXTS, LABELS)
    assert model.coverage_ is drawn.coverage_ is None and model.loss_ != drawn.loss_
    words = SequenceVectorizer().fit(TEXTS).vocabulary_
    parts = [small(vectors=vectors, vocabulary=words).partial_fit(TEXTS, LABELS, classes=[0, 1]).loss_
             for vectors in ("cooccurrence", None)]
    assert parts[0] == parts[1], "a part of the texts says too little of words"


def test_fits_side_by_side_leave_blas_as_it_was():
    texts = encoded(*np.random.default_rng(0).integers(4, 400, (60, 60)))
    before, alone = threadpool_info(), cooccurrence_vectors(texts, 400, 16, seed=0)
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda _: cooccurrence_vectors(texts, 400, 16, seed=0), range(8)))
    assert threadpool_info() == before
    for table in tables:
        np.testing.assert_array_equal(table, alone)


# --------------------------------------------------------------------------------------------- refused before anything else


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize(("X", "error", "message"), [
    (set(TEXTS), TypeError, "without order|pass a list"),
    (dict(enumerate(TEXTS)), TypeError, "pass a list"),
    ([*TEXTS[:20], None, *TEXTS[21:]], TypeError, r"^raw_documents\[20\] is None"),
    ([*([[1, 4]] * 20), [1, -4], *([[1, 5]] * 11)], ValueError, "^X contains -4"),
])
def test_wrong_texts_are_named_by_their_row(X, error, message, early_stopping):
    with pytest.raises(error, match=message):
        small(early_stopping=early_stopping).fit(X, LABELS, np.r_[0, np.ones(31)])


@pytest.mark.parametrize("early_stopping", [True, False])
def test_weights_of_no_validation_set_are_refused(early_stopping):
    with pytest.raises(ValueError, match="sample_weight_val is given without X_val"):
        small(early_stopping=early_stopping).fit(TEXTS, LABELS, sample_weight_val=np.ones(3))


def test_parts_without_weight_or_class_are_told():
    with pytest.raises(ValueError, match="sample weights of the validation part are all zero"):
        rows = train_test_split(np.arange(32), test_size=0.1, stratify=LABELS, random_state=np.random.RandomState(0))[1]
        small(early_stopping=True).fit(TEXTS, LABELS, np.isin(np.arange(32), rows, invert=True))
    with pytest.raises(ValueError, match="no sample of a class is left to learn from"):
        small(early_stopping=True, validation_fraction=0.9).fit([*TEXTS, *TEXTS[:8]], ["a"] * 20 + ["b"] * 18 + ["c"] * 2)


def test_vectors_may_be_a_series_and_must_exist():
    vectors = pd.Series({"good": np.ones(6), "bad": -np.ones(6), "film": np.zeros(6), "awful": -np.ones(6)})
    with pytest.warns(UserWarning, match="has only 4 of"):
        assert small(vectors=vectors).fit(TEXTS, LABELS).coverage_ > 0
    with pytest.raises(FileNotFoundError, match='vectors=\'coocurrence\' is no file; .* "cooccurrence" or None'):
        small(vectors="coocurrence").fit(TEXTS, LABELS)


def test_an_id_like_a_hash_is_no_word():
    with pytest.raises(ValueError, match="a row for each id up to the largest; .* give max_tokens"):
        small(max_tokens=None).fit([[4, 5], [4, 2**29]], [0, 1])
