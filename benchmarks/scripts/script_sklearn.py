"""Import, fit 1,000 windows for one epoch, predict: another model, the MLP of scikit-learn on flattened windows."""

import warnings

import numpy as np
from sklearn.neural_network import MLPRegressor

warnings.filterwarnings("ignore", "Stochastic Optimizer")  # one epoch is meant

series = np.sin(np.arange(1060) / 7).astype(np.float32)
X = np.lib.stride_tricks.sliding_window_view(series[:-1], 60)[:1000]
y = series[60:1060]

model = MLPRegressor(hidden_layer_sizes=(64,), batch_size=64, max_iter=1, random_state=0).fit(X, y)
prediction = model.predict(X)
print(prediction.shape, float(np.mean((prediction - y) ** 2)))
