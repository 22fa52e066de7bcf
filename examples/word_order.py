"""Where the order of words decides: a bag of words guesses, a recurrent network reads; and words that training never saw.

    python examples/word_order.py
"""

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tsrnn import LSTMClassifier, SequenceVectorizer
from tsrnn.datasets import make_reviews

SENTENCES = ["I love playing ball", "I do not love playing ball", "The film was good, not bad at all.",
             "The film was bad, not good at all."]
SYNONYMS = ["like enjoy adore love cherish", "hate dislike despise detest loathe", "contempt disgust hatred scorn",
            "fondness sympathy affection tenderness",
            "good great wonderful brilliant superb lovely excellent delightful marvellous",
            "bad terrible awful dreadful boring poor horrible dismal atrocious"]


def network(vectorizer, max_iter, **parameters):
    settings = {"embedding_dim": 16, "vocabulary_size": vectorizer.vocabulary_size_, "mask_zero": True, "batch_size": 32,
                "learning_rate_init": 0.01, "max_iter": max_iter, "n_iter_no_change": np.inf, "random_state": 0}
    return LSTMClassifier((32,), **settings | parameters)


def shared_vectors(vectorizer, dim=16):
    """Vectors at random, but one for all words of like meaning: what pretrained vectors know, in its simplest form."""
    vectors = np.random.default_rng(0).normal(size=(vectorizer.vocabulary_size_, dim))
    for words in SYNONYMS:
        ids = [vectorizer.vocabulary_[word] for word in words.split()]
        vectors[ids] = vectors[ids[0]]
    return vectors


def main(n=4000, max_iter=15):
    texts, texts_test, y, y_test = make_reviews(n, random_state=0)
    bag = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, y)
    vectorizer = SequenceVectorizer(maxlen=None).fit(texts)
    lstm = network(vectorizer, max_iter).fit(vectorizer.transform(texts), y)
    order = {"bag of words": bag.score(texts_test, y_test), "LSTM": lstm.score(vectorizer.transform(texts_test), y_test)}
    praise = lstm.predict_proba(vectorizer.transform(SENTENCES))[:, 1]
    print("accuracy on reviews:", ", ".join(f"{name} {score:.3f}" for name, score in order.items()))
    print("\n".join(f"  {p:4.0%} praise: {text}" for text, p in zip(SENTENCES, praise)))

    # the reviews to test on have other words of praise and blame: love for like, affection for fondness
    texts, texts_test, y, y_test = make_reviews(n, hold_out_synonyms=True, random_state=0)
    vectorizer.fit(texts + texts_test)  # the words are known, though none of the new ones has ever had a label
    X, X_test = vectorizer.transform(texts), vectorizer.transform(texts_test)
    drawn = network(vectorizer, max_iter).fit(X, y).score(X_test, y_test)
    shared = network(vectorizer, max_iter, embedding_weights=shared_vectors(vectorizer), train_embedding=False).fit(X, y)
    synonyms = {"vectors of its own": drawn, "shared vectors": shared.score(X_test, y_test)}
    print("accuracy on new synonyms:", ", ".join(f"{name} {score:.3f}" for name, score in synonyms.items()))
    return order, praise, synonyms


if __name__ == "__main__":
    main()
