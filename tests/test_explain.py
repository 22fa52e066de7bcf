"""`TextClassifier.explain`: gradient times input against finite differences, and how it is shown."""

import html
import re

import joblib
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from tsrnn import TextClassifier
from tsrnn.data import batches
from tsrnn.engine import Engine
from tsrnn.layers import LSTM, Dense, Embedding
from tsrnn.network import Network
from tsrnn.parallel import Team

pytestmark = pytest.mark.filterwarnings("ignore", category=ConvergenceWarning)

SETTINGS = {"embedding_dim": 5, "hidden_layer_sizes": (4,), "maxlen": 9, "batch_size": 8, "max_iter": 6, "dtype": "float64",
            "learning_rate_init": 0.03, "input_dropout": 0.0, "early_stopping": False, "n_iter_no_change": 100,
            "random_state": 0, "n_jobs": 1}
TEXTS = ["a good film", "not a bad film at all", "a bad film", "not a good film at all", "good, good", "bad, bad"] * 4
LABELS = ["pos", "pos", "neg", "neg", "pos", "neg"] * 4


def fit(labels=LABELS, **changes):
    return TextClassifier(**{**SETTINGS, **changes}).fit(TEXTS, labels)


def by_finite_differences(model, text, target):
    """What the score changes by, a word of the vocabulary, for each percent (so to say) of its vector."""
    h, weights = 1e-4, model.classifier_.get_weights()
    number = model.classes_.tolist().index(target)

    def score(id_, factor):
        table = weights["embedding_0.W"].copy()
        table[id_] *= factor
        model.classifier_.set_weights({**weights, "embedding_0.W": table})
        p = model.predict_proba([text])[0]
        return np.log(p[number]) - (np.log(1 - p[number]) if len(p) == 2 else 0)
    ids = np.unique(model.vectorizer_.transform([text])[0])
    slopes = {id_: (score(id_, 1 + h) - score(id_, 1 - h)) / (2 * h) for id_ in ids.tolist() if id_}
    model.classifier_.set_weights(weights)
    return slopes


NETWORKS = {
    "default": {}, "last state": {"pooling": "last", "bidirectional": False},
    "LSTM, dropout everywhere": {"cell": "lstm", "dropout": 0.3, "input_dropout": 0.3, "recurrent_dropout": 0.3},
    "convolution": {"conv_filters": 6, "pool_size": 2, "pooling": "mean"}, "frozen": {"train_embedding": False},
    "without a mask": {"mask_zero": False}, "padding behind": {"padding": "post", "mask_zero": False},
    "ragged": {"maxlen": None}, "two layers": {"hidden_layer_sizes": (4, 3), "merge": "ave"},
    "no start": {"start_token": False, "maxlen": 4, "cell": "rnn"},
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_contributions_are_the_slopes_of_the_score(name, n_classes):
    labels = LABELS if n_classes == 2 else ["pos", "neg", "so so"] * 8
    model = fit(labels, **NETWORKS[name])
    text = "not good at all"  # each word once
    words = (["[START]"] if model.start_token else []) + text.split()
    for target in model.classes_:
        found = model.explain(text, target)
        slopes = by_finite_differences(model, text, target)
        ids = [model.vectorizer_.vocabulary_.get(word, 1) for word in words]
        assert found.words == words and found.target == target
        np.testing.assert_allclose(found.contributions, [slopes[id_] for id_ in ids], rtol=1e-6, atol=1e-9)
        assert np.abs(found.contributions).max() > 1e-3
        p = model.predict_proba([text])[0][model.classes_.tolist().index(target)]
        assert found.probability == p and found.score == pytest.approx(np.log(p / (1 - p)) if n_classes == 2 else np.log(p))


def test_each_position_has_its_own():
    model = fit()
    text = "good not good bad good"
    found = model.explain(text)
    repeated = found.contributions[[1, 3, 5]]
    assert len(set(repeated)) == 3
    assert repeated.sum() == pytest.approx(by_finite_differences(model, text, "pos")[model.vectorizer_.vocabulary_["good"]])


def test_two_classes_mirror_each_other_and_the_second_is_the_default():
    model = fit()
    for_, against = model.explain("a bad film", "pos"), model.explain("a bad film", target="neg")
    np.testing.assert_array_equal(for_.contributions, -against.contributions)
    assert model.explain("a bad film").target == "pos" and for_.score == pytest.approx(-against.score)
    assert for_.prediction == model.predict(["a bad film"])[0]
    three = fit(["pos", "neg", "so so"] * 8).explain("a bad film")
    assert three.target == three.prediction


def test_what_the_network_does_not_read():
    model = fit()
    long = model.explain("zzz " * 20 + "a good film")
    assert long.words == ["zzz"] * 6 + ["a", "good", "film"] and long.n_left_out == 14  # the start, cut off too, is no word
    assert str(long).splitlines()[0].endswith(", 14 words cut off")
    for words, told in ((8, ""), (9, ""), (10, ", 1 word cut off"), (11, ", 2 words cut off")):
        head = str(model.explain("good " * words)).splitlines()[0]
        assert head.endswith(told) and ("cut off" in head) == bool(told)
    assert model.set_params(truncating="post").fit(TEXTS, LABELS).explain("zzz " * 20).words == ["[START]"] + ["zzz"] * 8
    without = fit(oov_token=False).explain("zzz good zzz")
    assert without.words == ["[START]", "good"] == without.words and len(without.contributions) == 2
    empty = model.explain("")
    assert empty.words == ["[START]"] and empty.contributions.shape == (1,)
    assert fit(start_token=False).explain("").words == []


def test_ids_and_other_things():
    model = fit()
    ids = model.vectorizer_.transform(["a good zzz"])[0]
    found, expected = model.explain(ids), model.explain("a good zzz")
    assert found.words == ["[START]", "a", "good", "[OOV]"]
    np.testing.assert_array_equal(found.contributions, expected.contributions)
    nameless = TextClassifier(**SETTINGS).fit([[1, 4, 5], [1, 5, 6]] * 4, [0, 1] * 4).explain([1, 5, 6])
    assert nameless.words == ["[START]", "#5", "#6"]
    with pytest.raises(ValueError, match=r"target='x' is no class; it must be one of \['neg', 'pos'\]"):
        model.explain("good", "x")
    for several in (["good", "bad"], [["good"]], None):
        with pytest.raises((ValueError, TypeError), match=r"one string|not a string"):
            model.explain(several)


def test_a_model_in_a_memory_map(tmp_path):
    model = fit()
    joblib.dump(model, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert np.array_equal(mapped.predict_proba(TEXTS), model.predict_proba(TEXTS))
    assert str(mapped.explain(TEXTS[1])) == str(model.explain(TEXTS[1]))


def test_float32_gives_the_same_to_its_precision():
    exact = fit().explain("not a bad film at all").contributions
    model = fit(max_iter=1)
    weights = fit().classifier_.get_weights()
    low = fit(dtype="float32")
    low.classifier_.set_weights(weights)
    np.testing.assert_allclose(low.explain("not a bad film at all").contributions, exact, rtol=1e-3, atol=1e-5)
    assert model.explain("good").contributions.dtype == np.float64


def test_shown_in_html_and_in_a_terminal():
    model = fit(tokenizer=str.split)
    found = model.explain("a good <b>&amp; film")
    page = found.to_html()
    assert page == found._repr_html_() and html.escape("<b>&amp;") in page and "<b>" not in page
    alphas = [float(a) for a in re.findall(r"rgba\([\d,]+,([\d.]+)\);padding", page)]
    np.testing.assert_allclose(alphas, np.abs(found.shades), atol=0.006)
    assert max(alphas) == 1 and page.count('title="') == len(found.words)
    plain, coloured = str(found), found.to_text(color=True)
    assert "\x1b" not in plain and "for:" in plain and f"{found.contributions[2]:+.3g}" in plain
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured).splitlines()[1] == " ".join(found.words)
    assert plain.startswith(f"prediction {found.prediction}; pos with probability {found.probability:.3f}")


def test_what_a_terminal_would_obey():
    odd = ["\x1b]0;title\x07", "\x1b[31mred", "\x9b2j", "\u202e"]
    model = fit(["a\x1b[5mb", "neg"] * 12, tokenizer=str.split)
    found = model.explain(" ".join([*odd, "good"]))
    assert found.words[1:] == [*odd, "good"]
    for text in (str(found), re.sub(r"\x1b\[[\d;]*m", "", found.to_text(color=True))):
        assert all(letter.isprintable() or letter == "\n" for letter in text) and "a [5mb" in text
    assert re.findall(r"\x1b\[(?!38;2;0;0;0;48;2;\d+;\d+;\d+m|0m)", found.to_text(color=True)) == []


def test_the_engine_refuses_a_network_that_hands_no_positions_back():
    ids = batches.from_flat(np.arange(4, dtype=np.int32), 1, 4, 1, 4)
    for first in ([Embedding(4, 2), LSTM(3)], [Embedding(4, 2, trainable=False), LSTM(3, input_dropout=0.5)]):
        network = Network([*first, Dense(1)], (4,))
        theta = network.init(np.random.default_rng(0))
        with pytest.raises(ValueError, match="no gradient of each position"):
            Engine(network, theta, Team(1)).input_gradient(batches.make_data(ids, np.float64, np.zeros((1, 1))), np.arange(1))
