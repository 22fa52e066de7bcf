"""A model of language: which word (or character) comes next, and texts written with it.

    python examples/next_word.py [book.txt] [--level char] [--temperature 0.7]  # without a book: generated reviews
"""

import argparse
from pathlib import Path

import numpy as np

from tsrnn import SequenceClassifier, SequenceVectorizer
from tsrnn.datasets import make_reviews

STEPS = 32  # tokens that a training sequence has, and that a prediction looks back on


def fit(ids, vocabulary_size, **parameters):
    """A network that tells the next token at each step, its perplexity, that by frequency alone, the share of tokens scored."""
    if len(ids) <= 10 * STEPS:
        raise ValueError(f"the text has {len(ids)} tokens; more than {10 * STEPS} are needed, so give a longer one.")
    if parameters.get("bidirectional"):
        raise ValueError("bidirectional=True reads the text from its end, too: it would see the word that it has to guess.")
    rows = np.lib.stride_tricks.sliding_window_view(ids, STEPS + 1)[::STEPS]
    X, y, cut = rows[:, :-1], rows[:, 1:], len(rows) * 9 // 10
    known = np.isin(y[cut:], y[:cut])  # what training lacks is no class: any one stands for it, with the weight 0
    settings = {"cell": "gru", "hidden_layer_sizes": (128,), "embedding_dim": 32, "learning_rate_init": 5e-3, "batch_size": 16,
                "max_iter": 40, "early_stopping": True, "n_iter_no_change": 3, "random_state": 0}
    model = SequenceClassifier(vocabulary_size=vocabulary_size, return_sequences=True, **settings | parameters)
    model.fit(X[:cut], y[:cut], X_val=X[cut:], y_val=np.where(known, y[cut:], y[0, 0]), sample_weight_val=known)
    counts = np.bincount(y[:cut].ravel())
    losses = model.history_["val_loss"][model.best_iter_ - 1], np.log(y[:cut].size / counts[y[cut:][known]]).mean()
    return model, *np.exp(losses), known.mean()


def write(model, ids, length, temperature=1.0, random_state=0):
    """`length` more tokens; a low temperature keeps to the likely ones, 1 draws as the model believes."""
    rng, ids = np.random.default_rng(random_state), list(ids)
    for _ in range(length):
        logits = np.log(model.predict_proba(np.array([ids[-STEPS:]]))[0, -1] + 1e-12) / temperature
        ids.append(int(model.classes_[np.argmax(logits + rng.gumbel(size=len(logits)))]))  # a draw from softmax(logits)
    return ids


def main(path=None, level="word", temperature=0.8, length=60, **parameters):
    text = Path(path).read_text(encoding="utf-8") if path else " . ".join(make_reviews(3000, random_state=0)[0])
    vectorizer = SequenceVectorizer(maxlen=None, tokenizer=list if level == "char" else str.split, start_token=False)
    ids = vectorizer.fit([text[:len(text) * 9 // 10]]).transform([text])[0]
    model, perplexity, alone, known = fit(ids, vectorizer.vocabulary_size_, **parameters)
    print(f"perplexity {perplexity:.1f} on the {known:.1%} of tokens that are known; by their frequency alone {alone:.1f}")
    written = write(model, ids[:STEPS], length, temperature)
    print(("" if level == "char" else " ").join(vectorizer.words_[written]))
    return perplexity, alone, written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?")
    parser.add_argument("--level", choices=("word", "char"), default="word")
    parser.add_argument("--temperature", type=float, default=0.8)
    main(**vars(parser.parse_args()))
