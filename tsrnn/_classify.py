"""What the command line does with texts: read them, train a classifier, score it beside simpler ones, predict."""

from __future__ import annotations

import codecs
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tsrnn._read_csv import check_file, find_column, find_separator
from tsrnn.device import backend_of

if TYPE_CHECKING:
    import pandas as pd

    from tsrnn import TextClassifier
    from tsrnn.estimators._explain import Explanation

CELLS = ("lstm", "gru", "rnn")
TEXT_NAMES = ("text", "review", "sentence", "message", "comment")
LABEL_NAMES = ("label", "sentiment", "class", "target", "category")
STDIN = "-"
NETWORK, BAG, MAJORITY = "network", "tfidf_logistic_regression", "majority"
_EXPLAINED = 5   # texts
_PATIENCE = 5    # epochs: the rows to stop by may be few
_BATCH, _UPDATES = 32, 64  # texts of a batch, or less where an epoch would have fewer batches than this
_FEWEST = 5      # rows of a class: it has one to stop by and one to be scored on then
_MOST_CLASSES = 1000
_MISSING = ("", "nan", "NaN")  # as pandas and NumPy write them
_ADDED = ("prediction", "probability")


@dataclass(frozen=True)
class Settings:
    """The options of the command."""

    text: str | None = None
    label: str | None = None
    most_epochs: int = 20
    hidden: int = 64
    cell: str = "gru"
    max_tokens: int = 20_000
    maxlen: int = 400
    seed: int = 0
    encoding: str = "utf-8"
    device: str = "cpu"

    def __post_init__(self):
        backend_of(self.device, fitting=True)  # before anything is read
        if self.cell not in CELLS:
            raise ValueError(f"--cell={self.cell} is unknown; use {', '.join(CELLS)}.")
        try:
            "".encode(self.encoding)
            codecs.lookup(self.encoding)
        except LookupError:
            raise ValueError(f"--encoding={self.encoding} is unknown; use utf-8, utf-16, cp1252, latin-1 or another one of "
                             "Python's.") from None

    @property
    def network(self) -> str:
        """Of the model: "GRU(64)"."""
        return f"{self.cell.upper()}({self.hidden})"


# ----------------------------------------------------------------------------------------------------------------- read


@dataclass(frozen=True)
class Labelled:
    """Texts to learn from."""

    name: str
    text_column: str
    label_column: str
    texts: np.ndarray   # (n,) of str
    labels: np.ndarray  # (n,) of str


@dataclass(frozen=True)
class Unlabelled:
    """Texts to classify."""

    name: str
    frame: pd.DataFrame  # all cells are str, as the file has them
    text_column: str

    @property
    def is_stdin(self) -> bool:
        """Whether they are lines of standard input."""
        return self.name == STDIN

    @property
    def there(self) -> np.ndarray:
        """(n,) bool: which rows have a text."""
        return ~_missing(self.frame[self.text_column])


def read_labelled(path: str, settings: Settings) -> Labelled:
    """The rows of a CSV file that have a text and a label; warns of others."""
    frame = _read_csv(path, settings.encoding)
    text = _column(frame, path, "text", settings.text, TEXT_NAMES)
    label = _column(frame, path, "label", settings.label, LABEL_NAMES)
    if text == label:
        raise ValueError(f"--text and --label are both the column {text!r} of {path}; give one of them another column.")
    frame = frame.assign(**{label: frame[label].str.strip()})
    n_rows = len(frame)
    for column, what in ((text, "text"), (label, "label")):
        missing = _missing(frame[column])
        if missing.any():
            _warn(f"{path} has {missing.sum()} of {n_rows} rows without a {what} in column {column!r}; they are left out.")
        frame = frame[~missing]
    frame = _frequent(frame, label, path)
    return Labelled(path, text, label, frame[text].to_numpy(object), frame[label].to_numpy(object))


def _frequent(frame, label, path):
    """Without the classes that are too rare to learn and be scored on."""
    counts = frame[label].value_counts(sort=False)
    remedy = "give the column of labels with --label, and rows of all classes."
    if len(counts) == 1:
        raise ValueError(f"column {label!r} of {path} has one class, {counts.index[0]!r}, and two are needed; {remedy}")
    rare = counts[counts < _FEWEST]
    if not 2 <= len(counts) - len(rare) <= _MOST_CLASSES:
        raise ValueError(f"column {label!r} of {path} has {len(counts)} different values in {len(frame)} rows, and "
                         f"{len(counts) - len(rare)} with {_FEWEST} rows or more; 2 to {_MOST_CLASSES} are needed: {remedy}")
    if len(rare):
        shown = ", ".join(map(repr, rare.index[:3])) + (", ..." if len(rare) > 3 else "")
        _warn(f"{path} has classes with less than {_FEWEST} rows, which are left out: {shown}.")
    return frame[~frame[label].isin(rare.index)]


def read_unlabelled(name: str, settings: Settings, text_column: str, to_file: bool = False) -> Unlabelled:
    """The texts of a CSV file, or with the name "-" the lines of standard input.

    Parameters
    ----------
    name : str
    settings : Settings
    text_column : str
        What the column is called in the file that is learnt from.
    to_file : bool
        Whether columns are to be added.
    """
    if name == STDIN:
        return _read_lines(settings.encoding)
    frame = _read_csv(name, settings.encoding)
    wanted = settings.text
    if wanted is None and find_column(frame.columns, text_column) is not None:
        wanted = text_column
    found = _column(frame, name, "text", wanted, TEXT_NAMES) if frame.shape[1] > 1 or wanted else frame.columns[0]
    taken = [column for column in _ADDED if column in frame]
    if to_file and taken:
        raise ValueError(f"{name} has a column {taken[0]!r} already, which --out would add; rename it.")
    return Unlabelled(name, frame, found)


def _read_lines(encoding):
    import pandas as pd

    if sys.stdin is None:
        raise ValueError("standard input is closed; give a CSV file, or pipe lines of text into the command.")
    try:
        text = sys.stdin.buffer.read().decode(_signed(encoding))
    except UnicodeError as error:
        raise _wrong_encoding("standard input", encoding, error) from None
    lines = text.removesuffix("\n").split("\n") if text else []
    if not lines:
        raise ValueError("standard input has no line; write one text a line.")
    return Unlabelled(STDIN, pd.DataFrame({"text": [line.removesuffix("\r") for line in lines]}, dtype=object), "text")


def _read_csv(path, encoding):
    """All cells as text, as they stand in the file but for blanks behind separators; missing ones are empty."""
    import pandas as pd

    remedy = "a CSV file with a header line, a column of texts and one of labels"
    check_file(path, remedy)
    how = {"encoding": _signed(encoding)}
    try:
        how["sep"] = find_separator(path, **how)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # pandas would drop what a row has too many
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False, skipinitialspace=True, **how)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} is empty; give {remedy}.") from None
    except pd.errors.ParserWarning:
        raise ValueError(f"{path} has rows with more fields than its header; put texts that contain {how['sep']!r} in double "
                         "quotes.") from None
    except UnicodeError as error:
        raise _wrong_encoding(path, encoding, error) from None
    except (MemoryError, ImportError):
        raise
    except Exception as error:  # each way of packing files has errors of its own, without a common base
        raise ValueError(f"{path} cannot be read as a CSV file: {error or type(error).__name__}") from error
    if frame.empty:
        raise ValueError(f"{path} has a header and no rows; give {remedy}.")
    return frame.fillna("").astype(object)


def _signed(encoding):
    """UTF-8 with the mark that some programs put before it, or without."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _wrong_encoding(name, encoding, error):
    where = f" at byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
    return ValueError(f"{name} is not written in {encoding} ({getattr(error, 'reason', error)}{where}); say what it is, for "
                      "example --encoding=cp1252 or --encoding=utf-16.")


def _column(frame, path, what, wanted, names):
    """The column called `wanted`, or else the first of `names` that there is."""
    for name in names if wanted is None else (wanted,):
        found = find_column(frame.columns, name)
        if found is not None:
            return found
    columns = ", ".join(map(str, frame.columns[:30])) + (", ..." if frame.shape[1] > 30 else "")
    asked = f"called {', '.join(names[:-1])} or {names[-1]}" if wanted is None else repr(wanted)
    raise ValueError(f"{path} has no column {asked}; set --{what} to one of: {columns}.")


def _missing(column) -> np.ndarray:
    return column.str.strip().isin(_MISSING).to_numpy(bool)


def _warn(message):
    warnings.warn(message, UserWarning, stacklevel=2)


# ------------------------------------------------------------------------------------------------------------- classify


@dataclass(frozen=True)
class Classification:
    """A trained classifier, how good it is, and what it says of other texts."""

    labelled: Labelled
    settings: Settings
    model: TextClassifier
    rows: dict[str, int]         # train, validation, held_out, and how many of the held out texts are in the training part
    accuracy: dict[str, float]   # on the texts held out, of the network and of the simpler models, the best one first
    verdict: str
    confusion: np.ndarray        # (n_classes, n_classes) of int: rows are the true classes, columns the predicted ones
    predicted: pd.DataFrame | None  # as the file, and prediction and probability
    unlabelled: Unlabelled | None
    explanations: list[Explanation]
    seconds: float

    @property
    def classes(self) -> list[str]:
        """Labels, sorted."""
        return self.model.classes_.tolist()

    def as_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        from tsrnn import __version__

        labelled, settings = self.labelled, asdict(self.settings)
        del settings["text"], settings["label"]
        values, counts = np.unique(labelled.labels, return_counts=True)
        facts = {
            "tsrnn": __version__, **settings, "seconds": round(self.seconds, 3),
            "source": {"name": labelled.name, "text": str(labelled.text_column), "label": str(labelled.label_column),
                       "classes": dict(zip(values.tolist(), counts.tolist()))},
            "rows": self.rows, "epochs": self.model.n_iter_, "best_epoch": self.model.best_iter_,
            "history": {name: [float(value) for value in column] for name, column in self.model.history_.items()},
            "accuracy": self.accuracy, "verdict": self.verdict, "classes": self.classes, "confusion": self.confusion.tolist(),
        }
        if self.predicted is not None:
            facts["predictions"] = {name: [value if value == value else None for value in self.predicted[name].tolist()]
                                    for name in _ADDED}
        if self.explanations:
            facts["explanations"] = [{
                "words": list(shown.words), "contributions": [float(value) for value in shown.contributions],
                "prediction": shown.prediction, "target": shown.target, "probability": float(shown.probability),
            } for shown in self.explanations]
        return facts


def classify(labelled: Labelled, settings: Settings, unlabelled: Unlabelled | None = None, explain: bool = False,
             on_epoch_end: Callable | None = None) -> Classification:
    """Train on 7 of 10 rows, stop by the next and score on the last two; then predict."""
    from tsrnn import TextClassifier

    texts, labels = labelled.texts, labelled.labels
    train, validation, test = split_rows(labels, settings.seed)
    model = TextClassifier(
        hidden_layer_sizes=(settings.hidden,), cell=settings.cell, max_tokens=settings.max_tokens, maxlen=settings.maxlen,
        max_iter=settings.most_epochs, n_iter_no_change=_PATIENCE, batch_size=min(_BATCH, max(8, len(train) // _UPDATES)),
        random_state=settings.seed, device=settings.device, on_epoch_end=on_epoch_end,
    )
    started = time.perf_counter()
    model.fit(list(texts[train]), labels[train], X_val=list(texts[validation]), y_val=labels[validation])
    seconds = time.perf_counter() - started
    seen = np.concatenate([train, validation])
    predictions = {NETWORK: model.predict(list(texts[test])), **_others(texts[seen], labels[seen], texts[test])}
    right = {name: values == labels[test] for name, values in predictions.items()}
    accuracy = {name: float(hits.mean()) for name, hits in right.items()}
    known = set(texts[seen])  # no array of str: it would give each text the room of the longest
    rows = {"train": len(train), "validation": len(validation), "held_out": len(test),
            "held_out_seen": sum(text in known for text in texts[test])}
    shown = list(texts[test]) if unlabelled is None else list(unlabelled.frame[unlabelled.text_column][unlabelled.there])
    return Classification(
        labelled=labelled, settings=settings, model=model, rows=rows, seconds=seconds,
        accuracy=dict(sorted(accuracy.items(), key=lambda item: -item[1])), verdict=_verdict(right),
        confusion=_confusion(labels[test], predictions[NETWORK], model.classes_),
        unlabelled=unlabelled, predicted=None if unlabelled is None else _predict(model, unlabelled),
        explanations=[model.explain(text) for text in shown[:_EXPLAINED]] if explain else [],
    )


def split_rows(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows to learn from, to stop by, and to score on: about 70, 10 and 20 % of each class, and one row at least."""
    rng = np.random.default_rng(seed)
    parts: tuple[list, list, list] = ([], [], [])
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        n_test, n_validation = max(1, len(rows) // 5), max(1, len(rows) // 10)
        for part, chosen in zip(parts, np.split(rows, [len(rows) - n_test - n_validation, len(rows) - n_test])):
            part.append(chosen)
    train, validation, test = (np.sort(np.concatenate(part)) for part in parts)
    return train, validation, test


def _others(texts, labels, held_out):
    """What simpler models say, which learn from all rows that the network sees."""
    from tsrnn.estimators._bag_of_words import fit_bag_of_words

    values, counts = np.unique(labels, return_counts=True)
    predictions = {MAJORITY: np.full(len(held_out), values[counts.argmax()], object)}
    try:
        predictions[BAG] = fit_bag_of_words(list(texts), labels).predict(list(held_out))
    except ValueError as error:  # no text has a word
        _warn(f"TF-IDF + logistic regression is left out: {error}")
    return predictions


def _confusion(truth, predicted, classes):
    matrix = np.zeros((len(classes), len(classes)), int)
    np.add.at(matrix, (np.searchsorted(classes, truth), np.searchsorted(classes, predicted)), 1)
    return matrix


def _predict(model, unlabelled):
    """The frame with two more columns; empty ones where there is no text."""
    frame, there = unlabelled.frame.copy(), unlabelled.there
    prediction, probability = np.full(len(frame), None, object), np.full(len(frame), np.nan)
    if there.any():
        proba = model.predict_proba(list(frame[unlabelled.text_column][there]))
        prediction[there], probability[there] = model.classes_[proba.argmax(1)], proba.max(1)
    if not there.all():
        name = "standard input" if unlabelled.is_stdin else unlabelled.name
        _warn(f"{name} has {(~there).sum()} of {len(frame)} rows without a text; they get no prediction.")
    return frame.assign(**dict(zip(_ADDED, (prediction, probability))))


# ---------------------------------------------------------------------------------------------------------------- words

NAMES = {NETWORK: "the network", BAG: "TF-IDF + logistic regression", MAJORITY: "the most frequent class"}


def _verdict(right: dict[str, np.ndarray]) -> str:
    """Which model is right more often, and whether that may be chance, in plain words."""
    from scipy.stats import binomtest

    rival = max((name for name in right if name != NETWORK), key=lambda name: right[name].mean())
    network, other = right[NETWORK], right[rival]
    only, only_other = int((network & ~other).sum()), int((other & ~network).sum())
    told = f"{network.mean():.1%} of the {len(network)} texts held out are right"
    if only == only_other:
        return f"{told}, as many as with {NAMES[rival]}."
    better, worse = (NETWORK, rival) if only > only_other else (rival, NETWORK)
    p = binomtest(only, only + only_other).pvalue  # of the texts that one model alone has right: McNemar's exact test
    chance = (f"Such a difference may well be chance (p = {p:.2f})." if p > 0.05
              else f"Chance alone hardly explains that (p = {p:.2g}).")
    name = NAMES[better][0].upper() + NAMES[better][1:]
    return (f"{name} is better: {right[better].mean():.1%} of the {len(network)} texts held out are right, "
            f"{right[worse].mean():.1%} with {NAMES[worse]}. {chance}")
