"""PyTorch as a contender."""

from __future__ import annotations

import time

import numpy as np
from _peers import timed_calls
from _works import Work


class Torch:
    """Fused Adam, inference mode, denormal numbers flushed to zero; all threads or, where that is faster, one.

    Our kernels flush, too; vanishing gradients become denormal numbers, which cost PyTorch's GRU five times the time.
    """

    def __init__(self, threads: int):
        import torch

        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        self.torch, self.threads = torch, threads

    def describe(self) -> dict:
        return {"version": f"PyTorch {self.torch.__version__}", "threads": self.torch.get_num_threads()}

    def build(self, work: Work, X: np.ndarray, y: np.ndarray, weights: dict) -> dict:
        torch, functional = self.torch, self.torch.nn.functional
        self.work, self.weights = work, weights
        self.X = torch.from_numpy(X).split(work.batch)
        self.y = torch.from_numpy(y.astype(np.int64) if work.loss == "categorical_crossentropy" else y).split(work.batch)
        self.loss = {"squared_error": functional.mse_loss, "binary_crossentropy": functional.binary_cross_entropy_with_logits,
                     "categorical_crossentropy": functional.cross_entropy}[work.loss]
        self._start()
        how = self._fastest(lambda: self._step(self.X[0], self.y[0]))
        self._start()
        return {"how": how}

    def _fastest(self, call) -> str:
        """Sets the number of threads with which `call` takes least: small works are not worth the second one."""
        found = []
        for threads in {1, self.threads}:
            self.torch.set_num_threads(threads)
            call()
            found.append((timed_calls(call, 0.2), threads))
        self.torch.set_num_threads(min(found)[1])
        return f"{min(found)[1]} threads"

    def _start(self) -> None:
        """A module with the given weights, and its optimizer."""
        torch, nn, work = self.torch, self.torch.nn, self.work
        self.modules = nn.ModuleDict()
        for name, size, units in work.layers:
            kind = name.partition("_")[0]
            if kind == "embedding":
                self.modules[name] = nn.Embedding(size, units)
            elif kind == "conv1d":
                self.modules[name] = nn.Conv1d(size, units, 3, padding="same")
            elif kind == "dense":
                self.modules[name] = nn.Linear(size, units)
            else:
                self.modules[name] = {"lstm": nn.LSTM, "gru": nn.GRU}[kind](size, units, batch_first=True,
                                                                            bidirectional=work.bidirectional)
        self.modules.to(getattr(torch, work.dtype))
        with torch.no_grad():
            for name, array in self.weights.items():
                module, _, parameter = name.partition(".")
                target = self._parameter(self.modules[module], parameter)
                target.copy_(torch.from_numpy(array))
                if name.startswith("lstm") and parameter.startswith("b_hh"):
                    target.requires_grad_(False)  # one bias
        trained = [parameter for parameter in self.modules.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=1e-3, fused=True)

    def _parameter(self, module, name: str):
        """Our name → PyTorch's: ``W_ih_reverse`` is ``weight_ih_l0_reverse``, ``W`` is ``weight``."""
        kind, _, rest = name.partition("_")
        first, _, direction = rest.partition("_")
        suffix = f"_{first}_l0{'_' + direction if direction else ''}" if rest else ""
        return getattr(module, {"W": "weight", "b": "bias"}[kind] + suffix)

    def _forward(self, x):
        h = None
        for name, module in self.modules.items():
            if name.startswith("conv"):
                x = module(x.transpose(1, 2)).relu().transpose(1, 2)
            elif name.startswith("dense"):
                x = module(h.transpose(0, 1).flatten(1))  # the last state of each direction
            elif name.startswith("embedding"):
                x = module(x)
            else:
                x, h = module(x)
                h = h[0] if isinstance(h, tuple) else h
        return x

    def _step(self, x, y):
        x = self._forward(x)
        loss = self.loss(x if self.work.loss == "categorical_crossentropy" else x[:, 0], y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def curve(self, n: int) -> list[float]:
        losses = [self._step(self.X[0], self.y[0]).item() for _ in range(n)]
        self._start()
        return losses

    def epoch(self) -> float:
        for _ in range(2):  # the first one warms up
            started = time.perf_counter()
            for x, y in zip(self.X, self.y):
                self._step(x, y)
        return (time.perf_counter() - started) / len(self.X)

    def prepare(self, work: Work, X: np.ndarray, weights: dict) -> np.ndarray:
        self.work, self.weights = work, weights
        self._start()
        self.modules.eval()
        self.x = self.torch.from_numpy(X)
        with self.torch.inference_mode():
            self._fastest(lambda: self._forward(self.x))
            out = self._forward(self.x)
            if work.is_classification:
                out = out.sigmoid() if work.outputs == 1 else out.softmax(1)
        return out.numpy()

    def infer(self, seconds: float) -> float:
        with self.torch.inference_mode():
            return timed_calls(lambda: self._forward(self.x), seconds)

    def small_nets(self, X: np.ndarray, y: np.ndarray, settings: dict, threads: int) -> dict:
        """A loop over the series X (N, n, T, 1), y (N, n), as users write it; seconds, and the number of nets."""
        torch, batch = self.torch, settings["batch"]
        torch.set_num_threads(threads)
        losses, started = [], time.perf_counter()
        for X_i, y_i in zip(torch.from_numpy(X), torch.from_numpy(y)):
            lstm, dense = torch.nn.LSTM(X.shape[3], settings["units"], batch_first=True), torch.nn.Linear(settings["units"], 1)
            optimizer = torch.optim.Adam([*lstm.parameters(), *dense.parameters()], lr=1e-3, fused=True)
            for _ in range(settings["epochs"]):
                losses.append(0.0)
                for rows in torch.randperm(len(X_i)).split(batch):
                    prediction = dense(lstm(X_i[rows])[1][0][0])[:, 0]
                    loss = torch.nn.functional.mse_loss(prediction, y_i[rows])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    losses[-1] += loss.item() * len(rows) / len(X_i)
        seconds = time.perf_counter() - started
        last = losses[settings["epochs"] - 1::settings["epochs"]]
        return {"seconds": seconds, "nets": len(X), "loss": float(np.mean(last)), "how": f"a loop, threads {threads}"}
