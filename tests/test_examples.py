"""Every example runs, does what it says, and stays short."""

import importlib.util
import re

import numpy as np
import pytest
from conftest import ROOT

FILES = sorted((ROOT / "examples").glob("*.py"))


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_is_short_and_tested(path):
    assert len(path.read_text().splitlines()) <= 60
    assert f"test_{path.stem}" in globals(), f"{path.name} is run by no test here"


def test_mnist_rows():
    assert load("mnist_rows").main(epochs=20, units=32, verbose=False) > 0.8  # scikit-learn's digits


@pytest.mark.data
def test_mnist_rows_on_mnist(data_folder):
    assert load("mnist_rows").main(data_folder / "mnist", epochs=2, units=32, n_train=4000, verbose=False) > 0.5


def test_vanishing_gradient(tmp_path):
    pytest.importorskip("matplotlib")
    steps, path = 40, tmp_path / "picture.png"
    norms, curves = load("vanishing_gradient").main(path, steps=steps, updates=100)
    assert path.read_bytes().startswith(b"\x89PNG")
    left = {name: norm[0] / norm[-1] for name, norm in norms.items()}
    assert max(left["RNN"], left["LSTM"], left["GRU"]) < 1e-2  # forgotten
    assert min(left["LSTM, bias + 4"], left["GRU, bias + 4"]) > 0.1  # kept
    assert curves["clip_norm=1.0"][-20:].mean() < 0.5 < curves["clip_norm=None"][-20:].mean()


def test_states():
    out, one_by_one, (h, c), (h_last, c_last), h_short = load("states").main()
    np.testing.assert_array_equal(one_by_one, out)
    np.testing.assert_array_equal(h_last, h)
    np.testing.assert_array_equal(c_last, c)
    np.testing.assert_array_equal(h, out[:, -1])
    np.testing.assert_array_equal(h_short[-1], out[-1, 1])


def test_pipeline():
    search, score = load("pipeline").main(n=300, max_iter=30, units=(16,))
    assert score > 0.7
    assert len(search.cv_results_["params"]) == 2


def test_stock_forecast(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "picture.png"
    forecast, scores, test = load("stock_forecast").main(horizon=3, n_splits=8, max_iter=3, plot=path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert forecast.index[0] == np.datetime64("2008-10-15") and len(forecast) == 3  # the embedded prices end the day before
    inner, outer = (forecast[[f"LSTMRegressor-{end}-{level}" for end in ("lo", "hi")]].to_numpy() for level in (80, 95))
    assert (outer[:, 0] <= inner[:, 0]).all() and (inner[:, 0] < inner[:, 1]).all() and (inner[:, 1] <= outer[:, 1]).all()
    assert scores.loc["naive", "skill"] == 0 and scores.loc["LSTMRegressor", "skill"] > -1
    assert 0 <= test.pvalue <= 1


def test_panel_forecast():
    scores, ahead, unseen = load("panel_forecast").main(n_shops=6, days=300, max_iter=8, n_splits=2)
    assert len(ahead) == 6 * 14 and len(unseen) == 14
    assert set(unseen["unique_id"]) == {"shop 6"}
    assert np.isfinite(unseen.iloc[:, 2:].to_numpy(float)).all()
    assert scores.loc["GRURegressor", "mae"] < scores.loc["naive", "mae"]


def test_multivariate():
    scores, forecast, paths = load("multivariate").main(n=1500, max_iter=8, n_splits=20)
    joined, alone = (scores.loc[(f"LSTM, {how}", "temperature"), "mae"] for how in ("joined", "each alone"))
    assert joined < 0.8 * alone  # it sees what drives it
    assert forecast.shape == (6, 6) and paths.shape == (500, 6, 2)


def test_grid_search():
    one, many = load("grid_search").main(n_days=30, max_iter=2, n_series=2)
    assert all(np.isfinite(search.cv_results_["mean_test_score"]).all() for search in (one, many))
    assert set(many.best_params_) == {"scaler", "calendar_features"}
    assert len(one.best_estimator_.predict()) == 12 and len(many.best_estimator_.predict()) == 24


def test_random_walk():
    skills = load("random_walk").main(n_walks=2, n=400, n_test=100, max_iter=10)
    levels, _, changes = (np.mean(skill) for skill in skills.values())
    assert -0.06 < changes < 0.04  # nothing to be known, and nothing made up
    assert levels < changes - 0.1


def test_next_word(tmp_path):
    example = load("next_word")
    perplexity, alone, written = example.main(length=20, max_iter=4)
    assert perplexity < alone / 4 and len(written) == example.STEPS + 20
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat. " * 200, encoding="utf-8")
    perplexity, _, written = example.main(text, "char", temperature=0.1, length=48, max_iter=30)
    assert perplexity < 1.5
    assert written[:24] == written[24:48] == written[48:72], "what it has learnt by heart"
    with pytest.raises(ValueError, match="it would see the word that it has to guess"):
        example.main(length=1, bidirectional=True)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("level", ["word", "char"])
def test_next_word_of_a_book_whose_end_has_words_of_its_own(level, tmp_path, capsys):
    example, text = load("next_word"), tmp_path / "text.txt"
    small = {"hidden_layer_sizes": (4,), "embedding_dim": 4, "max_iter": 2}
    text.write_text("once " + "the cat sat on the mat . " * 100 + "ξένος zyx the " * 20, encoding="utf-8")
    perplexity, alone, _ = example.main(text, level, length=3, **small)
    assert 1 < perplexity < 30 and 1 < alone < 30
    assert 10 < float(re.search(r"on the ([\d.]+)% of tokens that are known", capsys.readouterr().out)[1]) < 95
    text.write_text("a short text. " * 10, encoding="utf-8")
    with pytest.raises(ValueError, match=r"the text has \d+ tokens; more than 320 are needed"):
        example.main(text, level, **small)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_next_word_is_scored_on_what_training_has():
    ids = np.append(np.tile([4, 4, 5], 200), np.full(60, 6)).astype(np.int32)  # the last two of 20 rows are held out
    model, perplexity, alone, known = load("next_word").fit(ids, 7, hidden_layer_sizes=(4,), embedding_dim=4, max_iter=3)
    y = ids[577:641].reshape(2, 32)
    scored = y != 6
    p = np.take_along_axis(model.predict_proba(ids[576:640].reshape(2, 32)), (y[..., None] == 5).astype(int), 2)[..., 0]
    assert model.classes_.tolist() == [4, 5] and known == scored.mean() < 0.5
    assert perplexity == pytest.approx(np.exp(-np.log(p[scored]).mean()), rel=1e-5)
    share = np.mean(ids[1:577] == 4)
    assert alone == pytest.approx(np.exp(-np.log(np.where(y[scored] == 4, share, 1 - share)).mean()))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_word_order():
    order, praise, synonyms = load("word_order").main(n=2000, max_iter=15)
    assert order["LSTM"] >= 0.95 and order["bag of words"] <= 0.65  # what the reviews are made for
    assert (praise > 0.5).tolist() == [True, False, True, False]
    assert synonyms["vectors of its own"] <= 0.65 and synonyms["shared vectors"] >= 0.95


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_imdb_sentiment(tmp_path):
    pytest.importorskip("matplotlib").use("agg")
    path = tmp_path / "picture.svg"
    model, accuracy, confusion, explanations = load("imdb_sentiment").main(
        generated=True, n=1000, picture=path, hidden_layer_sizes=(16,), embedding_dim=16, max_iter=12, learning_rate_init=0.01,
        batch_size=32, verbose=False)
    assert accuracy > 0.8 and confusion.sum() == 1000 and np.trace(confusion) == round(1000 * accuracy)
    assert path.read_text().lstrip().startswith("<?xml") and (tmp_path / "picture_confusion.svg").is_file()
    assert path.read_text() != (tmp_path / "picture_confusion.svg").read_text() and len(list(tmp_path.iterdir())) == 2
    assert len(model.history_["val_accuracy"]) == model.n_iter_
    assert [explanation.prediction for explanation in explanations[2:]] == [1, 0]
    assert explanations[2].words[-6:] == ["was", "good", "not", "bad", "at", "all"]


@pytest.mark.data
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_imdb_sentiment_on_imdb(data_folder, tmp_path):
    pytest.importorskip("matplotlib").use("agg")
    _, accuracy, confusion, _ = load("imdb_sentiment").main(
        data_folder / "imdb", n=2000, picture=tmp_path / "picture.png", hidden_layer_sizes=(16,), maxlen=100, max_iter=4,
        batch_size=16, learning_rate_init=3e-3, verbose=False)
    assert accuracy > 0.7 and confusion.sum() == 2000
