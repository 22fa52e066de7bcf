"""Handwritten digits read row by row: two stacked LSTMs with dropout, put together from layers.

    python examples/mnist_rows.py FOLDER     # the folder with MNIST's four .gz files
    python examples/mnist_rows.py            # without files: scikit-learn's small digits (8 x 8 pixels)
"""

import argparse
import gzip
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from tsrnn import SequenceClassifier
from tsrnn.layers import LSTM, Dense, Dropout


def load(folder=None):
    """X (n, rows, pixels of a row) float32 from 0 to 1, and y; training part, then test part."""
    if folder is None:
        digits = load_digits()
        X = (digits.images / 16).astype(np.float32)
        X_train, X_test, y_train, y_test = train_test_split(X, digits.target, test_size=0.25, random_state=0)
        return X_train, y_train, X_test, y_test
    arrays = []
    for part in ("train", "t10k"):
        images, labels = (gzip.decompress(min(Path(folder).glob(f"{part}-{kind}-*.gz")).read_bytes())
                          for kind in ("images-idx3", "labels-idx1"))
        arrays.append(np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28).astype(np.float32) / np.float32(255))
        arrays.append(np.frombuffer(labels, np.uint8, offset=8))
    return arrays


def main(folder=None, epochs=None, units=64, n_train=None, verbose=True):
    X_train, y_train, X_test, y_test = load(folder)
    epochs = epochs or (10 if folder else 40)
    model = SequenceClassifier(
        layers=[LSTM(units, return_sequences=True), Dropout(0.2), LSTM(units), Dropout(0.2), Dense(10)],
        batch_size=64, max_iter=epochs, learning_rate="cosine", learning_rate_init=3e-3, random_state=0, verbose=verbose)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is meant
        model.fit(X_train[:n_train], y_train[:n_train])
    accuracy = model.score(X_test, y_test)
    print(f"{len(X_train[:n_train])} images of {X_train.shape[1]} rows, {epochs} epochs: test accuracy {accuracy:.2%}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--epochs", type=int, help="default 10, or 40 for the small digits")
    main(**vars(parser.parse_args()))
