"""A model of language: which word (or character) comes next, and texts written with it.

    python examples/next_word.py                                  # generated reviews, no network
    python examples/next_word.py book.txt --level char --temperature 0.7
"""

import argparse
from pathlib import Path

import numpy as np

from tsrnn import SequenceClassifier, SequenceVectorizer
from tsrnn.datasets import make_reviews

STEPS = 32  # tokens that a training sequence has, and that a prediction looks back on


def fit(ids, vocabulary_size, **parameters):
    """A network with an answer at every step: the token after it.  Returns it, and its perplexity on the last tenth."""
    if parameters.get("bidirectional"):
        raise ValueError("bidirectional=True reads the text from its end, too: it would see the word that it has to guess.")
    n = (len(ids) - 1) // STEPS * STEPS
    X, y = ids[:n].reshape(-1, STEPS), ids[1:n + 1].reshape(-1, STEPS)
    cut = len(X) * 9 // 10
    settings = {"cell": "gru", "hidden_layer_sizes": (128,), "embedding_dim": 32, "learning_rate_init": 5e-3, "batch_size": 16,
                "max_iter": 40, "early_stopping": True, "n_iter_no_change": 3, "random_state": 0}
    model = SequenceClassifier(vocabulary_size=vocabulary_size, return_sequences=True, **settings | parameters)
    model.fit(X[:cut], y[:cut], X_val=X[cut:], y_val=y[cut:])
    return model, float(np.exp(min(model.history_["val_loss"])))


def write(model, ids, length, temperature=1.0, random_state=0):
    """`length` more tokens; a low temperature keeps to the likely ones, 1 draws as the model believes."""
    rng, ids = np.random.default_rng(random_state), list(ids)
    for _ in range(length):
        logits = np.log(model.predict_proba(np.array([ids[-STEPS:]]))[0, -1] + 1e-12) / temperature
        p = np.exp(logits - logits.max())
        ids.append(int(rng.choice(model.classes_, p=p / p.sum())))
    return ids


def main(path=None, level="word", temperature=0.8, length=60, **parameters):
    text = Path(path).read_text(encoding="utf-8") if path else " . ".join(make_reviews(3000, random_state=0)[0])
    vectorizer = SequenceVectorizer(maxlen=None, tokenizer=list if level == "char" else str.split, start_token=False)
    ids = vectorizer.fit_transform([text])[0]
    model, perplexity = fit(ids, vectorizer.vocabulary_size_, **parameters)
    counts = np.bincount(ids) / len(ids)
    alone = float(np.exp(-np.log(counts[ids[-len(ids) // 10:]]).mean()))
    print(f"perplexity {perplexity:.1f}; by the frequency of the tokens alone {alone:.1f}")
    written = write(model, ids[:STEPS], length, temperature)
    print(("" if level == "char" else " ").join(vectorizer.words_[written]))
    return perplexity, alone, written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?")
    parser.add_argument("--level", choices=("word", "char"), default="word")
    parser.add_argument("--temperature", type=float, default=0.8)
    main(**vars(parser.parse_args()))
