"""Film reviews, from raw text to a trained classifier: curves, errors, and what each word adds to a decision.

    python examples/imdb_sentiment.py                   # IMDB: 25,000 + 25,000 reviews, downloaded once (84 MB)
    python examples/imdb_sentiment.py --folder reviews  # read from the archive, its folder or imdb_train.csv, imdb_test.csv
    python examples/imdb_sentiment.py --generated       # generated reviews: no download, a minute
"""

import argparse
import sys
from pathlib import Path

from sklearn.metrics import ConfusionMatrixDisplay

from tsrnn import TextClassifier
from tsrnn.datasets import fetch_imdb, make_reviews
from tsrnn.plotting import HistoryDisplay

SENTENCES = ["A wonderful film, I loved every minute of it.", "It was boring and the acting was terrible.",
             "The film was good, not bad at all.", "The film was bad, not good at all."]


def load(folder=None, generated=False, n=None):
    """Texts and labels to learn from and to test on, n of each or all."""
    if generated:
        return make_reviews(2 * (n or 2000), test_size=0.5, random_state=0)
    (X, y), (X_test, y_test) = (fetch_imdb(part, source=folder, return_X_y=True, verbose=True) for part in ("train", "test"))
    return X[:n], X_test[:n], y[:n], y_test[:n]


def main(folder=None, generated=False, n=None, picture="imdb_sentiment.png", **parameters):
    X, X_test, y, y_test = load(folder, generated, n)
    n_val = len(X) // 10  # in random order
    if generated:  # short texts, and few
        parameters = {"maxlen": 40, "batch_size": 16, "n_iter_no_change": 4, "learning_rate_init": 3e-3} | parameters
    model = TextClassifier(**{"random_state": 0, "verbose": True} | parameters)
    model.fit(X[n_val:], y[n_val:], X_val=X[:n_val], y_val=y[:n_val])

    predicted = model.predict(X_test)
    accuracy = (predicted == y_test).mean()
    print(f"accuracy on {len(y_test)} reviews: {accuracy:.3f}, after the best of {model.n_iter_} epochs, {model.best_iter_}")
    display = HistoryDisplay.from_estimator(model)
    display.figure_.savefig(picture, dpi=130)
    confusion = ConfusionMatrixDisplay.from_predictions(y_test, predicted, display_labels=["pans", "praises"])
    confusion.figure_.savefig(Path(picture).with_stem(f"{Path(picture).stem}_confusion"))
    print(f"true class (rows) and predicted one (columns):\n{confusion.confusion_matrix}")

    explanations = [model.explain(sentence) for sentence in SENTENCES]
    for explanation in explanations:
        print(explanation.to_text(color=sys.stdout.isatty()))  # in a notebook: the explanation alone
    return model, accuracy, confusion.confusion_matrix, explanations


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder")
    parser.add_argument("--generated", action="store_true")
    parser.add_argument("-n", type=int, help="reviews of each part; default: all, 2000 generated")
    main(**vars(parser.parse_args()))
