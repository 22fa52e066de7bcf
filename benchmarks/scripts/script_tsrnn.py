"""Import, fit 1,000 windows for one epoch, predict: as users of this package write it."""

import warnings

import numpy as np

from tsrnn import LSTMRegressor

warnings.filterwarnings("ignore", "Stochastic Optimizer")  # one epoch is meant

series = np.sin(np.arange(1060) / 7).astype(np.float32)
X = np.lib.stride_tricks.sliding_window_view(series[:-1], 60)[:1000, :, None]
y = series[60:1060]

model = LSTMRegressor(hidden_layer_sizes=(64,), batch_size=64, max_iter=1, random_state=0)
model.fit(X, y)
prediction = model.predict(X)
print(prediction.shape, float(np.mean((prediction - y) ** 2)))
