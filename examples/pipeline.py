"""A recurrent network in scikit-learn's tools: Pipeline, StandardScaler, cross-validation, grid search.

The data are noisy waves of three shapes, 40 values each: rows of an ordinary 2-D X, which every scikit-learn transformer takes.
"""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tsrnn import LSTMClassifier


def make_waves(n, steps=40, seed=0):
    """X (n, steps) and the shape's name: sine, square or saw, each with its own frequency, phase and noise."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0.5, 1.5, (n, 1)) * np.linspace(0, 4, steps) + rng.uniform(0, 1, (n, 1))
    shapes = {"sine": np.sin(2 * np.pi * phase), "square": np.sign(np.sin(2 * np.pi * phase)), "saw": 2 * (phase % 1) - 1}
    y = rng.choice(list(shapes), n)
    X = np.choose([list(shapes).index(name) for name in y], [wave.T for wave in shapes.values()]).T
    return (50 + 10 * (X + rng.normal(0, 0.3, X.shape))).astype(np.float32), y


def main(n=900, max_iter=40, units=(8, 32), n_jobs=None):
    X, y = make_waves(n)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    model = make_pipeline(StandardScaler(), LSTMClassifier(max_iter=max_iter, batch_size=32, random_state=0))
    grid = {
        "lstmclassifier__hidden_layer_sizes": [(u,) for u in units],
        "lstmclassifier__learning_rate_init": [1e-3, 1e-2],
    }
    search = GridSearchCV(model, grid, cv=3, n_jobs=n_jobs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # few epochs on purpose
        search.fit(X_train, y_train)  # the scaler sees the training folds only
    for values, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        print(f"{score:.3f}", {name.partition("__")[2]: value for name, value in values.items()})
    score = search.score(X_test, y_test)
    print(f"test accuracy of the best: {score:.3f} (the most frequent class: {max(np.mean(y_test == k) for k in set(y)):.3f})")
    return search, score


if __name__ == "__main__":
    main()
