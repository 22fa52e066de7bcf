"""Makes `keras_losses.npz`: what Keras' training loses on generated reviews, and the weights that it starts from.

    python tests/make_keras_golden.py        # where keras and jax are installed

`test_keras_parity.py` holds this package against the file, and where Keras is installed against Keras itself.

Keras runs on JAX. On TensorFlow the gradient of an embedding names a row once for each of its tokens, and Keras' Adam squares
these parts one by one: its second moment is their sum of squares, not the square of their sum that Adam is defined by (and
that Keras has on JAX and PyTorch), and a frequent word moves many times the learning rate.
"""

import os
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).with_name("keras_losses.npz")
CELLS = ("lstm", "gru")
N_BATCHES, BATCH, STEPS, VOCABULARY, EMBEDDING, UNITS = 50, 32, 40, 300, 12, 8


def batches():
    """X (50, 32, 40) int32 padded in front, y (50, 32): words by Zipf's law, nine of ten odd in class 1, even in 0."""
    random = np.random.RandomState(0)  # its stream never changes, a Generator's may
    y = random.randint(0, 2, (N_BATCHES, BATCH))
    pairs = np.arange(2, VOCABULARY // 2)
    words = 2 * random.choice(pairs, (N_BATCHES, BATCH, STEPS), p=1 / pairs / np.sum(1 / pairs))
    X = words + (random.random_sample(words.shape) < 0.1 + 0.8 * y[:, :, None])
    lengths = random.randint(1, 2 * STEPS, (N_BATCHES, BATCH, 1))  # half of them are cut
    X[STEPS - np.arange(STEPS) > lengths] = 0
    return X.astype(np.int32), y


def keras_model(cell, vocabulary=VOCABULARY, embedding=EMBEDDING, units=UNITS):
    """The tutorial's network without dropout, compiled and built."""
    os.environ["KERAS_BACKEND"] = "jax"  # read when it is imported
    import keras

    keras.utils.set_random_seed(0)
    inner = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell](units)
    model = keras.Sequential([keras.Input((None,), dtype="int32"), keras.layers.Embedding(vocabulary, embedding),
                              keras.layers.Bidirectional(inner), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    return model


def train_keras(model, X, y):
    """Losses (n,) of a step on each of n batches."""
    losses = []
    for ids, labels in zip(X, y):
        model.reset_metrics()  # else the answer is the mean of all batches so far
        losses.append(float(model.train_on_batch(ids, labels[:, None])))
    return np.array(losses)


def main():
    made = {}
    for cell in CELLS:
        model = keras_model(cell)
        made |= {f"{cell}.{n}": array for n, array in enumerate(model.get_weights())}
        made[f"{cell}.losses"] = train_keras(model, *batches())
        print(f"{cell}: loss {made[f'{cell}.losses'][0]:.6f} -> {made[f'{cell}.losses'][-1]:.6f}")
    np.savez_compressed(GOLDEN, **made)
    print(f"{GOLDEN.name}: {GOLDEN.stat().st_size / 1000:.1f} KB")


if __name__ == "__main__":
    main()
