"""Import, fit 1,000 windows for one epoch, predict: as users of Keras write it."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

keras.utils.set_random_seed(0)

series = np.sin(np.arange(1060) / 7).astype(np.float32)
X = np.lib.stride_tricks.sliding_window_view(series[:-1], 60)[:1000, :, None]
y = series[60:1060]

model = keras.Sequential([keras.Input((60, 1)), keras.layers.LSTM(64), keras.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(X, y, batch_size=64, epochs=1, verbose=0)
prediction = model.predict(X, batch_size=500, verbose=0)[:, 0]
print(prediction.shape, float(np.mean((prediction - y) ** 2)))
