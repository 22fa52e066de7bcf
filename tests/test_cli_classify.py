"""``tsrnn classify``: texts of CSV files and standard input, what is printed and written, one line for bad input."""

import csv
import json
import re
import signal
import threading
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tsrnn import TextClassifier, _classify, _report
from tsrnn.cli import BAD_INPUT, app
from tsrnn.datasets import make_reviews

QUICK = ("--epochs", 1, "--hidden", 2, "--maxlen", 12)
ROWS = 60


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, ["classify", *(str(argument) for argument in arguments)], input=stdin)


def facts(*arguments, **how):
    result = run(*arguments, "--json", *QUICK, **how)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def reviews():
    texts, _, y, _ = make_reviews(ROWS + 20, test_size=20, random_state=0)
    return pd.DataFrame({"id": range(ROWS), "review": texts, "sentiment": np.where(y, "pos", "neg")})


@pytest.fixture
def train(tmp_path, reviews):
    path = tmp_path / "train.csv"
    reviews.to_csv(path, index=False)
    return path


@pytest.fixture
def new(tmp_path):
    """Texts with what CSV files may hold."""
    path = tmp_path / "new.csv"
    texts = ['He said "good", not bad', "two\nlines; of, text", "", "NaN", "[bold]😀 <br /> :smile:", "\t ", "007"]
    pd.DataFrame({"id": [f"{i:03}" for i in range(7)], "Review": texts, "note": ["NA", "", "1.0", "x", "y", "z", "null"]}
                 ).to_csv(path, index=False)
    return path


class TestTable:
    def test_fits_a_terminal(self, train, new):
        result = run(train, new, "--explain", *QUICK)
        assert result.exit_code == 0, result.output
        words = ("sentiment of", "GRU(2)", "TF-IDF + logistic regression", "the most frequent class", "as neg", "as pos",
                 "texts held out", "Trained on 42 texts and stopped by 6, 1 epoch", "two lines; of, text", "[bold]😀",
                 ":smile:", "for:", "against:")
        assert all(word in result.stdout for word in words) and "\x1b" not in result.stdout
        assert max(map(len, result.stdout.splitlines())) <= 80
        assert "has 3 of 7 rows without a text" in result.stderr

    def test_the_best_stands_first_and_is_named(self, train):
        result = run(train, *QUICK).stdout
        scores = [float(score) for score in re.findall(r"^ (?:GRU|TF-IDF|the most).* ([\d.]+)% ", result, re.MULTILINE)]
        assert len(scores) == 3 and scores == sorted(scores, reverse=True)
        first = re.search(r"^ (GRU|TF-IDF|the most)", result, re.MULTILINE)[1]
        best = {"GRU": "The network", "TF-IDF": "TF-IDF + logistic regression", "the most": "The most frequent class"}[first]
        tie = first == "GRU" and scores[0] == scores[1]
        assert ("are right, as many as with" if tie else f"{best} is better: {scores[0]}%") in " ".join(result.split())

    def test_many_classes_and_rows(self, tmp_path):
        frame = pd.DataFrame({"text": [f"w{i % 9} a b" for i in range(99)], "label": [f"kind {i % 9}" for i in range(99)]})
        frame.to_csv(tmp_path / "a.csv", index=False)
        result = run(tmp_path / "a.csv", tmp_path / "a.csv", *QUICK)
        assert result.exit_code == 0 and "most frequent errors" in result.stdout and "first 10 of 99 rows" in result.stdout
        assert "of the texts held out are among these too" in result.stdout

    def test_what_a_terminal_would_obey(self, train):
        result = run(train, "-", "--explain", *QUICK, stdin="a \x1b]0;title\x07 \x1b[31mred\n")
        assert result.exit_code == 0 and "\x1b" not in result.stdout and "\x07" not in result.stdout

    def test_colours_in_a_terminal(self, train, monkeypatch):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.delenv("NO_COLOR", raising=False)
        assert "\x1b[" in run(train, "-", "--explain", *QUICK, stdin="good").stdout


class TestJson:
    def test_of_a_file(self, train, new):
        found = facts(train, new, "--explain")
        assert found["source"] | {"name": ""} == {
            "name": "", "text": "review", "label": "sentiment", "classes": {"neg": ROWS // 2, "pos": ROWS // 2}}
        assert found["rows"] == {"train": 42, "validation": 6, "held_out": 12, "held_out_seen": 0}
        assert set(found["accuracy"]) == {"network", "tfidf_logistic_regression", "majority"}
        confusion = np.array(found["confusion"])
        assert confusion.sum() == 12 and np.trace(confusion) / 12 == pytest.approx(found["accuracy"]["network"])
        assert confusion.sum(axis=1).tolist() == [6, 6] and found["accuracy"]["majority"] == 0.5
        assert [i for i, value in enumerate(found["predictions"]["probability"]) if value is None] == [2, 3, 5]
        assert set(found["predictions"]["prediction"]) <= {"neg", "pos", None}
        assert len(found["explanations"]) == 4 and found["explanations"][0]["words"][-3:] == ["good", "not", "bad"]

    def test_same_seed_same_result(self, train):
        one, two, other = (facts(train, "-", "--seed", seed, stdin="good\nbad") for seed in (1, 1, 2))
        assert one["predictions"] == two["predictions"] != other["predictions"] and one["accuracy"] == two["accuracy"]

    @pytest.mark.parametrize("cell", _classify.CELLS)
    def test_cells(self, train, cell):
        assert facts(train, "--cell", cell)["cell"] == cell

    def test_lines(self, train):
        found = facts(train, "-", stdin="good, not bad\r\n\r\n\ufeffbad")["predictions"]
        assert [value is None for value in found["prediction"]] == [False, True, False]
        latin = facts(train, "-", "--encoding", "latin-1", stdin="tr\xe8s bon\n".encode("latin-1"))
        assert len(latin["predictions"]["prediction"]) == 1

    def test_explains_texts_held_out_where_there_are_no_others(self, train):
        assert len(facts(train, "--explain")["explanations"]) == 5


def test_it_learns(tmp_path):
    """What bag of words cannot: the order of words."""
    texts, others, y, y_others = make_reviews(1600, random_state=0)
    pd.DataFrame({"text": texts, "label": y}).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame({"text": others}).to_csv(tmp_path / "b.csv", index=False)
    found = json.loads(run(tmp_path / "a.csv", tmp_path / "b.csv", "--json", "--hidden", 24, "--maxlen", 40).stdout)
    assert list(found["accuracy"])[0] == "network" and found["accuracy"]["network"] > 0.9
    assert found["accuracy"]["tfidf_logistic_regression"] < 0.65 and found["verdict"].startswith("The network is better: ")
    right = np.array(found["predictions"]["prediction"]).astype(int) == y_others
    assert right.mean() > 0.9


class TestFiles:
    def test_out_keeps_the_columns(self, train, new, tmp_path):
        out = tmp_path / "out.csv"
        result = run(train, new, "--out", out, "--plot", tmp_path / "a.png", *QUICK)
        assert result.exit_code == 0 and f"Predictions: {out}" in result.stdout and f"Picture: {tmp_path}" in result.stdout
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
        with open(new, newline="", encoding="utf-8") as before, open(out, newline="", encoding="utf-8") as after:
            before, after = list(csv.reader(before)), list(csv.reader(after))
        assert after[0] == ["id", "Review", "note", "prediction", "probability"]
        assert [row[:3] for row in after] == before
        assert all((row[3] in ("neg", "pos") and 0.5 <= float(row[4]) <= 1) == (i not in (2, 3, 5))
                   for i, row in enumerate(after[1:]))

    def test_out_of_lines(self, train, tmp_path):
        assert run(train, "-", "--out", tmp_path / "o.csv", *QUICK, stdin="good\nbad, really\n").exit_code == 0
        assert pd.read_csv(tmp_path / "o.csv")["text"].tolist() == ["good", "bad, really"]

    @pytest.mark.parametrize("separator", [";", "\t", "|"])
    @pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
    def test_separators_and_encodings(self, tmp_path, reviews, separator, encoding):
        path = tmp_path / "a.csv"
        reviews.assign(sentiment=reviews["sentiment"].str.replace("pos", "très bon")).rename(columns=str.upper).to_csv(
            path, index=False, sep=separator, encoding=encoding)
        labelled = _classify.read_labelled(str(path), _classify.Settings(encoding=encoding))
        assert labelled.texts.tolist() == reviews["review"].tolist() and set(labelled.labels) == {"neg", "très bon"}
        assert (labelled.text_column, labelled.label_column) == ("REVIEW", "SENTIMENT")

    def test_columns_by_name(self, tmp_path, reviews):
        reviews.assign(text="-", stars=reviews["sentiment"], label=1).to_csv(tmp_path / "a.csv", index=False)
        found = facts(tmp_path / "a.csv", "--text", "review", "--label", "Stars")["source"]
        assert (found["text"], found["label"]) == ("review", "stars")

    def test_one_column_needs_no_name(self, train, tmp_path):
        (tmp_path / "b.csv").write_text("what they wrote\ngood\nbad\n")
        assert len(facts(train, tmp_path / "b.csv")["predictions"]["prediction"]) == 2

    def test_rows_that_cannot_be_learnt_from(self, tmp_path, reviews):
        path = tmp_path / "a.csv"
        odd = pd.DataFrame({"review": ["", np.nan, "NaN", "a", "b", "c"], "sentiment": ["pos"] * 3 + ["", np.nan, "rare"]})
        pd.concat([reviews, odd]).to_csv(path, index=False)
        result = run(path, "--json", *QUICK)
        assert "has 3 of 66 rows without a text in column 'review'" in result.stderr
        assert "has 2 of 66 rows without a label in column 'sentiment'" in result.stderr
        assert "has classes with less than 5 rows, which are left out: 'rare'." in result.stderr
        assert json.loads(result.stdout)["source"]["classes"] == {"neg": ROWS // 2, "pos": ROWS // 2}

    def test_one_very_long_text(self, tmp_path, reviews):
        """Arrays of str would give all texts its room."""
        frame = pd.concat([reviews] * 4, ignore_index=True)
        frame.loc[len(frame)] = [0, "good " * 100_000, "pos"]
        frame.to_csv(tmp_path / "a.csv", index=False)
        facts(tmp_path / "a.csv")  # what is imported and compiled does not count
        tracemalloc.start()
        try:
            found = facts(tmp_path / "a.csv")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 100e6 and 0 < found["rows"]["held_out_seen"] <= 48

    def test_texts_without_a_word(self, tmp_path):
        """Signs that are words to the network may be none to TF-IDF."""
        pd.DataFrame({"text": ["😀", "☹"] * 10, "label": [0, 1] * 10}).to_csv(tmp_path / "a.csv", index=False)
        result = run(tmp_path / "a.csv", "--json", *QUICK)
        assert result.exit_code == 0 and "TF-IDF + logistic regression is left out" in result.stderr
        assert set(json.loads(result.stdout)["accuracy"]) == {"network", "majority"}


def test_split():
    labels = np.array(["a"] * 95 + ["b"] * 5)
    parts = _classify.split_rows(labels, 0)
    assert sorted(np.concatenate(parts)) == list(range(100)) and [len(part) for part in parts] == [70, 10, 20]
    assert [(labels[part] == "b").sum() for part in parts] == [3, 1, 1]


def test_verdict_is_honest():
    right = {"network": np.arange(100) < 90, "tfidf_logistic_regression": np.arange(100) < 95, "majority": np.arange(100) < 50}
    assert _classify._verdict(right) == (
        "TF-IDF + logistic regression is better: 95.0% of the 100 texts held out are right, 90.0% with the network. Such a "
        "difference may well be chance (p = 0.06).")
    right["network"] = np.arange(100) < 99
    assert "The network is better: 99.0%" in _classify._verdict(right)
    right["tfidf_logistic_regression"] = right["network"]
    assert "as many as with TF-IDF" in _classify._verdict(right)


def test_defaults_are_the_estimator_s():
    ours, theirs = _classify.Settings(), TextClassifier()
    assert (ours.most_epochs, (ours.hidden,), ours.cell, ours.max_tokens, ours.maxlen) == (
        theirs.max_iter, theirs.hidden_layer_sizes, theirs.cell, theirs.max_tokens, theirs.maxlen)


def test_progress(train):
    with _report.fit_bar(True, 1, 1) as on_epoch_end:
        assert on_epoch_end is not None
    assert run(train, "--verbose", "--json", *QUICK).stdout.startswith("{")
    assert "epoch" not in run(train, "--quiet", "--json", *QUICK).stderr


def test_ctrl_c(train, tmp_path, monkeypatch):
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread only")

    @contextmanager
    def bar(*_):
        yield lambda epoch, logs: signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("tsrnn._report.fit_bar", bar)
    result = run(train, train, "--out", tmp_path / "o.csv", *QUICK)
    assert result.exit_code == 130 and result.stdout == "" and result.stderr.splitlines()[-1] == "interrupted"
    assert not (tmp_path / "o.csv").exists()


class TestBadInput:
    @pytest.mark.parametrize("arguments, message", [
        (["none.csv"], "there is no file none.csv"), (["."], ". is a folder"), (["-"], "there is no file -"),
        (["a.csv", "none.csv"], "there is no file none.csv"),
        (["a.csv", "--cell", "cnn-lstm"], "--cell=cnn-lstm is unknown; use lstm, gru, rnn."),
        (["a.csv", "--encoding", "utf-9"], "--encoding=utf-9 is unknown"),
        (["a.csv", "--encoding", "base64"], "--encoding=base64 is unknown"),
        (["a.csv", "--text", "body"], "a.csv has no column 'body'; set --text to one of: id, review, sentiment."),
        (["a.csv", "--label", "stars"], "a.csv has no column 'stars'; set --label to one of: id, review, sentiment."),
        (["a.csv", "--label", "review"], "--text and --label are both the column 'review'"),
        (["a.csv", "--label", "id"], "has 60 different values in 60 rows, and 0 with 5 rows or more"),
        (["a.csv", "--out", "o.csv"], "--out=o.csv is for predictions"),
        (["a.csv", "a.csv", "--out", "./a.csv"], "--out=a.csv is the file that is learnt from"),
        (["a.csv", "a.csv", "--out", "-"], "--out=- is no file's name"),
        (["a.csv", "done.csv", "--out", "o.csv"], "done.csv has a column 'prediction' already"),
        (["a.csv", "two.csv"], "two.csv has no column called text, review, sentence, message or comment; set --text to one"),
        (["a.csv", "--plot", "a.xyz"], "--plot=a.xyz must end in a picture's extension"),
        (["one.csv"], "column 'label' of one.csv has one class, 'yes', and two are needed"),
        (["missing.csv"], "has 0 different values in 0 rows"), (["nameless.csv"], "set --label to one of: text, stars."),
        (["empty.csv"], "empty.csv is empty"), (["header.csv"], "header.csv has a header and no rows"),
        (["commas.csv"], "has rows with more fields than its header; put texts that contain ',' in double quotes"),
        (["open.csv"], "cannot be read as a CSV file"), (["zip.csv.gz"], "cannot be read as a CSV file"),
        (["latin.csv"], "latin.csv is not written in utf-8"), (["utf16.csv"], "say what it is, for example --encoding=cp1252"),
        (["a.csv", "latin.csv"], "latin.csv is not written in utf-8"),
        (["signs.csv"], "empty vocabulary"), (["a.csv", "-"], "standard input has no line"),
    ])
    def test_one_clear_line(self, train, arguments, message, monkeypatch):
        folder = train.parent
        monkeypatch.chdir(folder)
        train.rename("a.csv")
        for name, text in (("one", "text,label\n" + "a,yes\n" * 9), ("empty", ""), ("header", "text,label\n"),
                           ("two", "a,b\n1,2\n"), ("done", "review,prediction\na,b\n"), ("nameless", "text,stars\na,1\n"),
                           ("commas", "text,label\nwell, yes,1\nno,0\n"), ("open", 'text,label\n"a,1\nb,0\n'),
                           ("missing", "text,label\n,1\n,0\n"), ("signs", "text,label\n" + "!!!,1\n???,0\n" * 9)):
            (folder / f"{name}.csv").write_text(text)
        (folder / "zip.csv.gz").write_text("text,label\n")
        (folder / "latin.csv").write_bytes("text,label\ntr\xe8s,1\n".encode("latin-1"))
        (folder / "utf16.csv").write_bytes("text,label\na,1\n".encode("utf-16"))
        result = run(*arguments)
        errors = result.stderr.splitlines()
        assert result.exit_code == BAD_INPUT and result.stdout == "" and not (folder / "o.csv").exists()
        assert errors[-1].startswith("error: ") and message in errors[-1], errors
        assert all(line.startswith("warning: ") for line in errors[:-1]) and (len(errors) == 1 or arguments == ["missing.csv"])

    def test_lines_in_another_encoding(self, train):
        result = run(train, "-", stdin=b"tr\xe8s bon\n")
        assert result.exit_code == BAD_INPUT and "standard input is not written in utf-8" in result.stderr


def test_a_file_of_predictions_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    frame, path, link = pd.DataFrame({"a": [1, 2]}), tmp_path / "out.csv", tmp_path / "link.csv"
    path.write_text("old")
    link.symlink_to(path)

    def full(self, target, **_):
        Path(target).write_text("a\n")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(pd.DataFrame, "to_csv", full)
        _report.write_csv(frame, path)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 2
    _report.write_csv(frame, link)
    assert path.read_text() == "a\n1\n2\n" and link.is_symlink() and len(list(tmp_path.iterdir())) == 2
    _report.write_csv(frame, Path("/dev/null"))
    assert not Path("/dev/null").is_file()
