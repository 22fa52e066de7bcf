"""`make_reviews`: generated reviews in which the order of the words decides."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class _Opinions:
    """Words for one kind of clause; the first index says whether they praise (1) or pan (0)."""

    usual: tuple[tuple[str, ...], tuple[str, ...]]
    held_out: tuple[tuple[str, ...], tuple[str, ...]]

    def words(self, which: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """All of them, or the "usual" ones, or the "held_out" ones."""
        if which == "all":
            return self.usual[0] + self.held_out[0], self.usual[1] + self.held_out[1]
        return self.usual if which == "usual" else self.held_out


_ADJECTIVES = _Opinions(
    (("bad", "terrible", "awful", "dreadful", "boring", "poor"),
     ("good", "great", "wonderful", "brilliant", "superb", "lovely")),
    (("horrible", "dismal", "atrocious"), ("excellent", "delightful", "marvellous")))
_VERBS = _Opinions((("hate", "dislike", "despise"), ("like", "enjoy", "adore")), (("detest", "loathe"), ("love", "cherish")))
_FEELINGS = _Opinions((("contempt", "disgust"), ("fondness", "sympathy")), (("hatred", "scorn"), ("affection", "tenderness")))

_THINGS = ("the film", "the movie", "the story", "the acting", "the music", "the ending", "the cast", "the script",
           "the camera work", "the first half", "the last scene", "the dialogue", "the leading lady", "the whole evening")
_PEOPLE = ("I", "we", "you", "they", "my friends", "most people", "the critics", "our children")
_PASTIMES = ("playing ball", "watching it", "the songs", "long films", "the old cinema", "stories of this kind", "the jokes",
             "the second part", "his earlier work", "films about trains", "the book", "going out")
_DEGREES = ("really ", "very ", "so ", "particularly ", "especially ")
_NEUTRAL = ("I did not read the book before", "it was shown on a Sunday", "it does not rain in this town", "I saw it twice",
            "we sat in the third row", "the director was not there", "nobody in the row ahead was tall",
            "they never sold popcorn", "it runs for two hours", "there was no other film that day", "my brother drove us home",
            "the hall was not full", "it is set in Berlin and in Rome", "not a single train was late", "it was made in May",
            "the tickets cost ten euros", "she is not from here", "the subtitles were in French", "we went with my aunt",
            "I do not live near the cinema")
_JOINTS = (". ", ", and ", "; ", ". ", " - ", ", ")


def make_reviews(
    n_samples: int = 1000,
    *,
    test_size: float | int = 0.25,
    hold_out_synonyms: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Short reviews that praise or pan by what "not" stands before: "good, not bad at all" and "bad, not good at all".

    Words of praise and of blame, with and without a negation, are equally frequent in both classes, so a linear model on the
    counts of words guesses. In four of five reviews a word of one kind and a negated one of the other stand together, and what
    is left for any model without order is nothing; the fifth is one clause with an opinion, such as "I love playing ball" or
    "I do not love playing ball". Clauses without an opinion, some of them with a negation, come in between.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of reviews in both parts together. No text comes twice.
    test_size : float or int, default=0.25
        Share or number of them in the part to test on.
    hold_out_synonyms : bool, default=False
        Whether the part to test on has opinions of its own: "love", "affection" and "excellent" there, where the reviews to
        learn from have "like", "fondness" and "good". A model must know from elsewhere that these are close, as pretrained
        embeddings do.
    random_state : int, RandomState instance or None, default=None

    Returns
    -------
    X_train, X_test : list of str
    y_train, y_test : ndarray of shape (n,), int64
        1 praises, 0 pans; as many of each, or one more. The order is that of ``train_test_split``.

    Raises
    ------
    ValueError
        Where a part would have no review of some class, or an argument makes no sense.

    Examples
    --------
    >>> from tsrnn.datasets import make_reviews
    >>> X_train, X_test, y_train, y_test = make_reviews(random_state=0)
    >>> len(X_train), len(X_test)
    (750, 250)
    """
    from sklearn.utils import check_random_state

    if not isinstance(hold_out_synonyms, (bool, np.bool_)):
        raise ValueError(f"hold_out_synonyms={hold_out_synonyms!r} must be True or False.")
    n_test = _n_test(n_samples, test_size)
    generator = check_random_state(random_state)
    seen: set[str] = set()
    words = ("usual", "held_out") if hold_out_synonyms else ("all", "all")
    X_train, y_train = _part(int(n_samples) - n_test, words[0], generator, seen)
    X_test, y_test = _part(n_test, words[1], generator, seen)
    return X_train, X_test, y_train, y_test


def _n_test(n_samples: Any, test_size: Any) -> int:
    if isinstance(n_samples, bool) or not isinstance(n_samples, numbers.Integral) or n_samples < 4:
        raise ValueError(f"n_samples={n_samples!r} must be a whole number, 4 or more: two of each class.")
    if isinstance(test_size, bool) or not isinstance(test_size, (numbers.Integral, float, np.floating)):
        raise ValueError(f"test_size={test_size!r} must be a share between 0 and 1 or a number of reviews.")
    if isinstance(test_size, numbers.Integral):
        n_test = int(test_size)
    else:
        n_test = math.ceil(float(test_size) * int(n_samples)) if 0 < float(test_size) < 1 else 0
    if not 2 <= n_test <= int(n_samples) - 2:
        raise ValueError(f"test_size={test_size!r} of n_samples={n_samples} must leave at least 2 reviews in either part; "
                         "choose a share between 0 and 1, a number of reviews, or more samples.")
    return n_test


def _part(n: int, which: str, generator: np.random.RandomState, seen: set[str]) -> tuple[list[str], np.ndarray]:
    """n reviews that are not in `seen`, which grows."""
    labels = np.arange(n) % 2
    generator.shuffle(labels)
    writer, texts = _Writer(which, generator.random_sample), []
    for label in labels.tolist():
        while (text := writer.review(label)) in seen:
            pass
        seen.add(text)
        texts.append(text)
    return texts, labels.astype(np.int64)


class _Writer:
    """Writes reviews with the opinions of one list; `draw` gives random numbers in [0, 1)."""

    def __init__(self, which: str, draw: Callable[[], float]):
        self._draw = draw
        self._adjectives, self._verbs, self._feelings = (kind.words(which) for kind in (_ADJECTIVES, _VERBS, _FEELINGS))

    def review(self, label: int) -> str:
        """One text: an opinion, or two that agree, of which one is negated; and neutral clauses."""
        if self._draw() < 0.2:
            clauses = [self._opinion(label, self._draw() < 0.5)]
        elif self._draw() < 0.3:
            clauses = [self._verdict(label)]
        else:
            clauses = self._shuffled([self._opinion(label, False), self._opinion(label, True)])
        for _ in range(int(5 * self._draw() ** 2)):  # 0 to 4, few more often than many
            neutral = self._one(_NEUTRAL)
            if neutral not in clauses:
                clauses.insert(int(self._draw() * (len(clauses) + 1)), neutral)
        return self._joined(clauses)

    def _one(self, choices: Sequence[str]) -> str:
        return choices[int(self._draw() * len(choices))]

    def _shuffled(self, clauses: list[str]) -> list[str]:
        return clauses if self._draw() < 0.5 else clauses[::-1]

    def _opinion(self, label: int, negated: bool) -> str:
        """A clause that praises (1) or pans (0); negated, it does so with a word of the other kind."""
        kind, people = label ^ negated, self._one(_PEOPLE)
        degree = self._one(_DEGREES) if self._draw() < 0.25 else ""
        tail = " at all" if negated and self._draw() < 0.3 else ""
        form = self._draw()
        if form < 0.5:
            verb = self._one(("was not ", "was never ", "is not ")) if negated else self._one(("was ", "is "))
            return f"{self._one(_THINGS)} {verb}{degree}{self._one(self._adjectives[kind])}{tail}"
        if form < 0.8:
            degree = degree.replace("very", "really").replace("so", "really")
            verb = self._one(("do not ", "never ", "did not ")) if negated else ""
            return f"{people} {verb}{degree}{self._one(self._verbs[kind])} {self._one(_PASTIMES)}{tail}"
        verb = self._one(("feel no ", "do not feel ", "never feel ")) if negated else "feel "
        return f"{people} {verb}{self._one(self._feelings[kind])} for {self._one(_PASTIMES)}{tail}"

    def _verdict(self, label: int) -> str:
        """Two adjectives, one of them negated: "good, not bad at all"."""
        plain = self._one(self._adjectives[label])
        negated = f"not {self._one(self._adjectives[1 - label])}" + self._one(("", " at all", " in the least"))
        start = self._one(("", "", f"{self._one(_THINGS)} was ", "I call it "))
        return start + ", ".join(self._shuffled([plain, negated]))

    def _joined(self, clauses: list[str]) -> str:
        text = clauses[0]
        for clause in clauses[1:]:
            text += self._one(_JOINTS) + clause
        sentences = [sentence[0].upper() + sentence[1:] for sentence in text.split(". ")]
        return ". ".join(sentences) + self._one((".", ".", "!", ""))
