"""The Python blocks of README and of the guide run, one after the other, and give the figures that stand beside them."""

import re

import numpy as np
import pytest
from conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def run(path):
    """The names that a page's Python blocks define; blocks that need a network are marked "py"."""
    text, names = path.read_text(encoding="utf-8"), {"__name__": path.stem}
    for block in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        lines_before = text[:block.start(1)].count("\n")
        exec(compile("\n" * lines_before + block[1], path, "exec"), names)  # a traceback names the page's line
    return names


@pytest.fixture(autouse=True)
def _quiet_and_offline(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TSRNN_DATA_HOME", str(tmp_path))
    fresh = np.random.SeedSequence
    monkeypatch.setattr(np.random, "SeedSequence", lambda *seed: fresh(*seed or [0]))  # models without random_state repeat
    pytest.importorskip("matplotlib").use("agg")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_readme():
    names = run(ROOT / "README.md")
    assert names["model"]
    forecaster, scores = names["forecaster"], names["scores"]
    assert forecaster.skill_ == pytest.approx(0.87, abs=0.03) and forecaster.seasonal_skill_ == pytest.approx(0.53, abs=0.04)
    assert scores.loc["GRURegressor", "skill"] == pytest.approx(0.85, abs=0.03)
    assert scores.loc["GRURegressor", "coverage-80"] == pytest.approx(0.82, abs=0.05)
    assert names["stock"].skill_ == pytest.approx(-0.05, abs=0.08)  # 32 seeds: mean -0.045, standard deviation 0.022
    assert names["reader"].score(names["texts_test"], names["labels_test"]) == pytest.approx(0.99, abs=0.02)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_guide():
    names = run(ROOT / "docs" / "guide_forecasting.md")
    forecaster, scores = names["forecaster"], names["scores"].loc["Ridge"]
    assert (forecaster.skill_, forecaster.seasonal_skill_) == pytest.approx((0.86, 0.45), abs=0.006)
    assert tuple(scores[["mae", "skill", "coverage-80", "coverage-95"]]) == pytest.approx((1.96, 0.83, 0.82, 0.96), abs=0.006)
    assert names["stock"].skill_ == pytest.approx(-0.12, abs=0.006)
    assert names["days"].regressor_.n_features_in_ == 24 and names["paths"].shape == (200, 24)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_from_keras():
    names = run(ROOT / "docs" / "from_keras.md")
    assert names["accuracy"] > 0.9 and len(names["model"].history_["val_accuracy"]) == 12
    texts = ["The film was not bad at all.", "The film was not good at all."]
    assert names["pipeline"].predict(texts).tolist() == [1, 0]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_text_guide():
    names = run(ROOT / "docs" / "guide_text.md")
    assert (names["accuracy"], names["bag_accuracy"]) == (pytest.approx(0.99, abs=0.02), pytest.approx(0.49, abs=0.02))
    texts = ["The film was not bad at all.", "The film was not good at all."]
    assert names["model"].predict(texts).tolist() == [1, 0] == names["search"].predict(texts).tolist()
    assert names["ids"].tolist() == [[0, 0, 0, 1, 25, 165, 46, 31], [0, 0, 0, 0, 1, 2, 144, 2]]
    assert names["back"] == ["a very good film", "[OOV] of [OOV]"]
    assert names["search"].best_score_ > 0.85 and names["explanation"].prediction == 1


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"
