"""The reviews of the IMDB tutorial as Keras has them, and Keras' weights under this package's names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from _data import data_folder

from tsrnn.data import vocabulary
from tsrnn.datasets import fetch_imdb

NUM_WORDS, MAXLEN = 10_000, 200


def imdb() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """X (25000, 200) int32, y (25000,) int64, and the test part: the ids of ``keras.datasets.imdb``, cut and padded in front.

    The training part is shuffled, the same way every time.
    """
    return *reviews("train"), *reviews("test")


def reviews(subset: str) -> tuple[np.ndarray, np.ndarray]:
    """X (25000, 200) int32 and y (25000,) int64 of one part: "train" or "test"."""
    folder = data_folder() / "imdb"
    ids, target = fetch_imdb(subset, as_ids=True, num_words=NUM_WORDS, source=folder, return_X_y=True,
                             word_index=folder / "keras_imdb_word_index.json.gz")
    lengths = np.array([len(review) for review in ids])
    return vocabulary.pad(vocabulary.Encoded(np.concatenate(ids), lengths), MAXLEN), target


def from_keras(weights: Sequence[np.ndarray], cell: str = "lstm") -> dict[str, np.ndarray]:
    """What `set_weights` takes, from Keras' ``get_weights()`` of Embedding, a recurrent layer in one or two directions, Dense.

    Keras' matrices are (in, out).  Its LSTM has our order of gates (its c is our g) and one bias, which is our ``b_ih``: ours
    must be ``LSTM(units, recurrent_bias=False)``.  Its GRU has both biases, and its gates z r h are our r z n.
    """
    table, *recurrent, kernel, bias = weights
    made = {"embedding_0.W": table}
    for suffix, (W_ih, W_hh, b) in zip(("", "_reverse"), zip(*[iter(recurrent)] * 3)):
        both = b if cell == "gru" else np.stack([b, np.zeros_like(b)])
        for name, array in {"W_ih": W_ih, "W_hh": W_hh, "b_ih": both[0], "b_hh": both[1]}.items():
            made[f"{cell}_0.{name}{suffix}"] = (_reset_first(array) if cell == "gru" else array).T
    return {**made, "dense_0.W": kernel.T, "dense_0.b": bias}


def _reset_first(array: np.ndarray) -> np.ndarray:
    """Columns z r h → r z n."""
    update, reset, new = np.split(array, 3, axis=-1)
    return np.concatenate([reset, update, new], axis=-1)
