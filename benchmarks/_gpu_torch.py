"""PyTorch on the card: cuDNN's LSTM and GRU, eager or captured as CUDA graphs, with TF32 or without."""

from __future__ import annotations

import time

import numpy as np
from _gpu_works import GpuWork
from _imdb_peers import BATCH
from _imdb_peers import Torch as ImdbOnCpu

CONTENDERS = {"torch": (False, False), "torch graph": (True, False), "torch tf32": (False, True),
              "torch graph tf32": (True, True)}  # name → (captured, TF32)


def set_tf32(on: bool) -> None:
    import torch

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = on


class Torch:
    """A layer with a Linear on its last state and fused Adam, on `device`; on a CPU there is nothing to capture."""

    def __init__(self, work: GpuWork, captured: bool = False, tf32: bool = False, device: str = "cuda"):
        import torch

        self.torch, self.tf32, self.device, self.ragged = torch, tf32, device, work.ragged
        set_tf32(tf32)
        x, y, lengths = work.data()
        self.x, self.y, self.lengths = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device), torch.from_numpy(lengths)
        self.layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[work.cell](work.features, work.units, batch_first=True)
        self.head = torch.nn.Linear(work.units, 1)
        self.modules = torch.nn.ModuleDict({"layer": self.layer, "head": self.head}).to(device)
        with torch.no_grad():
            for name, array in work.weights().items():
                self.parameter(name).copy_(torch.from_numpy(array))
        self.packed = None
        self.optimizer = torch.optim.Adam(self.modules.parameters(), lr=1e-3, fused=True, capturable=device == "cuda")
        self.found = self.compute()
        if captured and work.ragged:  # a captured step cannot read lengths of the host: packed beforehand
            self.packed = self.pack()
        phases = {"forward": self.forward, "gradient": self.gradient, "training step": self.step}
        self.phases = {name: self.capture(phase) for name, phase in phases.items()} if captured else phases

    def parameter(self, name: str):
        """Our name → PyTorch's tensor."""
        layer, _, short = name.partition(".")
        kind, _, which = short.partition("_")
        return getattr(self.head if layer.startswith("dense") else self.layer,
                       {"W": "weight", "b": "bias"}[kind] + (f"_{which}_l0" if which else ""))

    def begin(self) -> None:
        set_tf32(self.tf32)

    def sync(self) -> None:
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def pack(self):
        pack = self.torch.nn.utils.rnn.pack_padded_sequence
        return pack(self.x, self.lengths, batch_first=True, enforce_sorted=False)

    def outputs(self):
        state = self.layer(self.x if not self.ragged else self.pack() if self.packed is None else self.packed)[1]
        return self.head((state[0] if isinstance(state, tuple) else state)[0])[:, 0]

    def forward(self):
        return self.torch.nn.functional.mse_loss(self.outputs(), self.y)

    def gradient(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.forward().backward()

    def step(self) -> None:
        self.gradient()
        self.optimizer.step()

    def capture(self, phase):
        """The phase as one launch, after some that warm up on a stream of their own."""
        cuda = self.torch.cuda
        stream, graph = cuda.Stream(), cuda.CUDAGraph()
        stream.wait_stream(cuda.current_stream())
        with cuda.stream(stream):
            for _ in range(3):
                phase()
        cuda.current_stream().wait_stream(stream)
        self.optimizer.zero_grad(set_to_none=True)
        with cuda.graph(graph):
            self.kept = phase()
        return graph.replay

    def results(self) -> dict[str, np.ndarray]:
        """Outputs and gradients from the weights that were given, eager: a capture replays the same kernels."""
        return self.found

    def compute(self) -> dict[str, np.ndarray]:
        self.gradient()
        names = [f"{layer}.{name}" for layer, name in self.names()]
        found = {name: self.parameter(name).grad.cpu().numpy() for name in names}
        with self.torch.no_grad():
            return {"outputs": self.outputs().cpu().numpy(), **found}

    def names(self):
        kind = type(self.layer).__name__.lower() + "_0"
        return [(kind, name) for name in ("W_ih", "W_hh", "b_ih", "b_hh")] + [("dense_0", "W"), ("dense_0", "b")]


def make(name: str, work: GpuWork, device: str = "cuda") -> Torch:
    captured, tf32 = CONTENDERS[name]
    return Torch(work, captured, tf32, device)


class Imdb(ImdbOnCpu):
    """The tutorial's network, its reviews on the card from the first epoch on."""

    def __init__(self, cell: str, seed: int, device: str = "cuda"):
        super().__init__(cell, seed, 1, 1)
        self.device, self.rows = device, None
        self.modules.to(device)

    def epoch(self, X: np.ndarray, y: np.ndarray) -> float:
        torch = self.torch
        set_tf32(False)
        started = time.perf_counter()
        if self.rows is None:
            self.rows = torch.from_numpy(X).to(self.device), torch.from_numpy(y.astype(np.float32)).to(self.device)
        ids, targets = self.rows
        self.modules.train()
        total = torch.zeros((), device=self.device)
        for rows in torch.randperm(len(ids), device=self.device).split(BATCH):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(self._forward(ids[rows]), targets[rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        total.item()  # everybody tells the loss of an epoch
        return time.perf_counter() - started
