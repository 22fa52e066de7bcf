"""What each word of a text adds to a decision: gradient times input, from the backward pass of training."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tsrnn import layers as kinds
from tsrnn.data import batches
from tsrnn.engine import Engine
from tsrnn.layers.recurrent import Recurrent
from tsrnn.network import Network
from tsrnn.parallel import Team

_FOR, _AGAINST = (31, 119, 180), (230, 97, 1)  # blue and orange, told apart by colour-blind eyes too
BELOW = -1e30  # any logit; finite in every float type
_TOLD = 8  # words that the plain text has of each kind


@dataclass(frozen=True)
class Explanation:
    """How the words of a text speak for a class and against it.

    Attributes
    ----------
    words : list of str
        Those that the network reads, in order, "[START]" included where the text begins with it.
    contributions : ndarray of shape (len(words),)
        Gradient of `score` with respect to each position's embedding vector, times that vector: to first order what `score`
        would lose were the vector 0.  Positive numbers speak for `target`.
    prediction : label
        What `predict` gives.
    target : label
        The class that is explained.
    probability : float
        Of `target`.
    score : float
        With two classes the log-odds of `target`, with more its log-probability.
    n_left_out : int
        Words that `maxlen` cut off, "[START]" not counted: the network does not see them.
    """

    words: list[str]
    contributions: np.ndarray
    prediction: Any
    target: Any
    probability: float
    score: float
    n_left_out: int = 0

    @property
    def shades(self) -> np.ndarray:
        """Contributions scaled to [-1, 1]: the largest of the text is 1 or -1."""
        largest = np.abs(self.contributions).max(initial=0.0)
        return self.contributions / (largest or 1.0)

    def to_html(self) -> str:
        """HTML: each word on its colour, blue for the target and orange against it; the number when pointed at."""
        spans = [_span(word, value, shade) for word, value, shade in
                 zip(self.words, self.contributions.tolist(), self.shades.tolist())]
        return (f'<div style="line-height:1.9"><p>{html.escape(self._head())} '
                f'<span style="background:{_rgba(_FOR, 0.6)}">for</span> '
                f'<span style="background:{_rgba(_AGAINST, 0.6)}">against</span></p><p>{" ".join(spans)}</p></div>')

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_text(self, color: bool = False) -> str:
        """For a terminal; control characters of the text, which it would obey, are blanks.

        Parameters
        ----------
        color : bool
            All words on colours, by ANSI sequences (24 bit); else the strongest words with their contributions, plain.
        """
        if color:
            words = [_ansi(printable(word), shade) for word, shade in zip(self.words, self.shades)]
            return "\n".join([self._head(), " ".join(words)])
        order = np.argsort(-self.contributions, kind="stable").tolist()
        speaking = [i for i in order if self.contributions[i] > 0][:_TOLD]
        against = [i for i in reversed(order) if self.contributions[i] < 0][:_TOLD]
        return "\n".join([self._head(), "  for:     " + self._listed(speaking), "  against: " + self._listed(against)])

    def __str__(self) -> str:
        return self.to_text()

    def _listed(self, positions: Sequence[int]) -> str:
        return ", ".join(f"{printable(self.words[i])} {self.contributions[i]:+.3g}" for i in positions) or "nothing"

    def _head(self) -> str:
        cut = f", {self.n_left_out} word{'s' * (self.n_left_out > 1)} cut off" if self.n_left_out else ""
        return printable(f"prediction {self.prediction}; {self.target} with probability {self.probability:.3f}{cut}")


def printable(text: str) -> str:
    """Someone else's text as one line without anything that a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _span(word: str, value: float, shade: float) -> str:
    colour = _rgba(_FOR if shade > 0 else _AGAINST, abs(shade))
    return f'<span style="background:{colour};padding:0 2px" title="{value:+.4g}">{html.escape(word)}</span>'


def _rgba(colour: tuple[int, int, int], alpha: float) -> str:
    return f"rgba({colour[0]},{colour[1]},{colour[2]},{alpha:.2f})"


def _ansi(word: str, shade: float) -> str:
    if abs(shade) < 0.05:
        return word
    # black on a colour between white and the full one: readable on dark terminals and on light ones
    red, green, blue = (round(255 + (full - 255) * abs(shade)) for full in (_FOR if shade > 0 else _AGAINST))
    return f"\x1b[38;2;0;0;0;48;2;{red};{green};{blue}m{word}\x1b[0m"


def gradient_times_input(network: Network, theta: np.ndarray, ids: np.ndarray, target: int) -> tuple[np.ndarray, float]:
    """What each position of one text adds to a class's score.

    Parameters
    ----------
    network : Network
        Trained, an embedding first, one output a text.
    theta : (P,) array
    ids : (T,) int32 array
    target : int
        Number of the class.

    Returns
    -------
    contributions : (T,) float64 array
        Gradient times input; 0 where padding is masked.
    score : float
        What the gradient is of: the log-odds of the class with two classes, else its log-probability.
    """
    assert network.embedding is not None
    binary = network.output_shape(len(ids)) == (1,)
    # |logit - y| has the slope 1 for every y below the logit; the cross-entropy is -log p
    loss, y = ("absolute_error", BELOW) if binary else ("categorical_crossentropy", target)
    sign = (1.0 if target else -1.0) if binary else -1.0
    # behind an activation an embedding gives each position its vector, and gets its gradient; theta stays the same
    first = [replace(network.embedding, trainable=True), kinds.Activation("linear")]
    layers = [*first, *map(_without_dropout, network.layers[1:])]
    probe = Network(layers, network.input_shape, loss, backend=network.backend_name)
    sequences = batches.from_flat(ids, 1, len(ids), 1, len(ids))
    data = batches.make_data(sequences, theta.dtype, np.full((1, 1), y, theta.dtype))
    with Team(1) as team:
        engine = Engine(probe, batches.plain(theta), team)  # of a model in a memory map it is read-only
        gradient = engine.input_gradient(data, np.arange(1))[0].astype(np.float64)
        logits = engine.predict(data)[0].astype(np.float64)
    table = network.views(theta)["embedding_0.W"]
    contributions = sign * np.einsum("te,te->t", gradient, table[ids].astype(np.float64)) + 0.0  # no -0
    score = sign * logits[0] if binary else logits[target] - np.logaddexp.reduce(logits)
    return contributions, float(score)


def _without_dropout(layer: kinds.Layer) -> kinds.Layer:
    """The layer as it is when predicting."""
    if isinstance(layer, kinds.Dropout):
        return kinds.Dropout(0.0)
    still: dict[str, Any] = {"input_dropout": 0.0, "recurrent_dropout": 0.0}
    if isinstance(layer, Recurrent):
        return replace(layer, **still)
    if isinstance(layer, kinds.Bidirectional):
        return replace(layer, layer=replace(layer.layer, **still))
    if isinstance(layer, kinds.TimeDistributed):
        return replace(layer, layers=tuple(map(_without_dropout, layer.layers)))
    return layer
