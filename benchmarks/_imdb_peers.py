"""The contenders of `bench_imdb.py`: the tutorial's network in this package, Keras and PyTorch.

Each has `version`, `epoch(X, y)`, which trains on all rows once, and `logits(X)`; only its constructor imports the library.
A cell is lstm, gru, or with two directions bilstm, bigru.
"""

from __future__ import annotations

import importlib
import os

import numpy as np

VOCABULARY, EMBEDDING, UNITS, DROPOUT, BATCH, RATE = 10_000, 128, 64, 0.5, 128, 1e-3


class Tsrnn:
    """This package."""

    def __init__(self, cell: str, seed: int, epochs: int, threads: int):
        import tsrnn
        from tsrnn import SequenceClassifier, layers

        self.version = f"tsrnn {tsrnn.__version__}"
        # one bias, as Keras' LSTM has it
        inner = layers.GRU(UNITS) if cell.endswith("gru") else layers.LSTM(UNITS, recurrent_bias=False)
        network = [layers.Embedding(VOCABULARY, EMBEDDING), layers.Bidirectional(inner) if cell.startswith("bi") else inner,
                   layers.Dropout(DROPOUT), layers.Dense(1)]
        self.model = SequenceClassifier(layers=network, batch_size=BATCH, learning_rate_init=RATE, epsilon=1e-7, clip_norm=None,
                                        max_iter=epochs, n_iter_no_change=np.inf, tol=0, restore_best=False, n_jobs=threads,
                                        random_state=seed)

    def epoch(self, X: np.ndarray, y: np.ndarray) -> None:
        self.model.partial_fit(X, y, classes=[0, 1])

    def logits(self, X: np.ndarray) -> np.ndarray:
        return self.model.predict_proba(X)[:, 1] - 0.5


class Keras:
    """Keras 3, compiled as its defaults are, on its usual backend."""

    backend = "tensorflow"

    def __init__(self, cell: str, seed: int, epochs: int, threads: int):
        os.environ["KERAS_BACKEND"] = self.backend
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import keras

        library = importlib.import_module(self.backend)
        if self.backend == "tensorflow":
            library.config.threading.set_intra_op_parallelism_threads(threads)
        self.version = f"Keras {keras.__version__} ({self.backend} {library.__version__})"
        keras.utils.set_random_seed(seed)
        layers = keras.layers
        inner = (layers.GRU if cell.endswith("gru") else layers.LSTM)(UNITS)
        self.model = keras.Sequential([layers.Embedding(VOCABULARY, EMBEDDING),
                                       layers.Bidirectional(inner) if cell.startswith("bi") else inner,
                                       layers.Dropout(DROPOUT), layers.Dense(1)])
        self.model.compile(keras.optimizers.Adam(RATE), keras.losses.BinaryCrossentropy(from_logits=True))

    def epoch(self, X: np.ndarray, y: np.ndarray) -> None:
        self.model.fit(X, y, batch_size=BATCH, verbose=0)

    def logits(self, X: np.ndarray) -> np.ndarray:
        return self.model.predict(X, batch_size=512, verbose=0)[:, 0]


class KerasOnJax(Keras):
    """The same on JAX: one gradient a row of the embedding, where TensorFlow's has one for every token, each squared by itself.

    XLA takes the cores that the process may use.
    """

    backend = "jax"


class Torch:
    """PyTorch, with fused Adam and Keras' initial weights: its own embedding, of variance 1, learns another way."""

    def __init__(self, cell: str, seed: int, epochs: int, threads: int):
        import torch

        self.torch, self.version = torch, f"PyTorch {torch.__version__}"
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)  # as our kernels do; its GRU is five times slower without
        torch.manual_seed(seed)
        nn, directions = torch.nn, 2 if cell.startswith("bi") else 1
        kind = nn.GRU if cell.endswith("gru") else nn.LSTM
        self.modules = nn.ModuleList([nn.Embedding(VOCABULARY, EMBEDDING),
                                      kind(EMBEDDING, UNITS, batch_first=True, bidirectional=directions == 2),
                                      nn.Dropout(DROPOUT), nn.Linear(directions * UNITS, 1)])
        self._start(kind is nn.LSTM)
        trained = [parameter for parameter in self.modules.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=RATE, eps=1e-7, fused=True)

    def _start(self, is_lstm: bool) -> None:
        init = self.torch.nn.init
        for name, parameter in self.modules.named_parameters():
            if "bias" in name:
                init.zeros_(parameter)
            elif "weight_hh" in name:
                init.orthogonal_(parameter)
            elif name == "0.weight":
                init.uniform_(parameter, -0.05, 0.05)
            else:
                init.xavier_uniform_(parameter)
            if is_lstm and "bias_ih" in name:
                parameter.data[UNITS:2 * UNITS] = 1.0  # of the forget gate
            parameter.requires_grad_(not (is_lstm and "bias_hh" in name))  # one bias

    def _forward(self, ids):
        embedding, recurrent, dropout, dense = self.modules
        _, state = recurrent(embedding(ids))
        last = state[0] if isinstance(state, tuple) else state  # (directions, n, H)
        return dense(dropout(last.transpose(0, 1).flatten(1)))[:, 0]

    def epoch(self, X: np.ndarray, y: np.ndarray) -> None:
        torch = self.torch
        ids, targets = torch.from_numpy(X), torch.from_numpy(y.astype(np.float32))
        self.modules.train()
        for rows in torch.randperm(len(ids)).split(BATCH):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(self._forward(ids[rows]), targets[rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def logits(self, X: np.ndarray) -> np.ndarray:
        self.modules.eval()
        with self.torch.inference_mode():
            return np.concatenate([self._forward(part).numpy() for part in self.torch.from_numpy(X).split(512)])


CONTENDERS = {"tsrnn": Tsrnn, "keras": Keras, "keras-jax": KerasOnJax, "torch": Torch}
