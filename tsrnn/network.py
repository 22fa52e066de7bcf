"""From a list of layers to one flat parameter vector and to the plan that a backend executes."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import NamedTuple

import numpy as np

from tsrnn import backends
from tsrnn.backends import contract as c
from tsrnn.layers.base import Builder, Group, Layer, Param, Shape, Value
from tsrnn.layers.dense import Dense
from tsrnn.layers.embedding import Embedding
from tsrnn.losses import LOSSES


class ParamSpec(NamedTuple):
    """Where a parameter lies in theta."""

    name: str    # "lstm_0.W_ih"
    offset: int
    param: Param

    @property
    def shape(self) -> tuple:
        return self.param.shape


@dataclass(frozen=True)
class Lowered:
    """A plan for sequences of one length, and the memory that a chunk of it takes."""

    plan: c.Plan
    steps: int
    masked: bool
    mem: int       # floats a sample
    indices: int   # ints a sample
    numbering: int  # ints besides, whatever the number of samples
    mask: int      # bytes a sample
    pack: int      # elements of the backend's rearranged parameters, the same for all plans of a network and dtype
    tokens: int    # floats a sample that the embedding's gradient takes
    work: int      # multiply-adds of the forward pass a sample, roughly: whether threads pay
    out_steps: int
    out_features: int


class Network:
    """Layers with their parameters laid into one flat vector.

    Parameters
    ----------
    layers : sequence of Layer
    input_shape : tuple
        ``(T, C)``, or ``(T,)`` in front of an `Embedding`; T is None where lengths vary.
    loss : str
        A name in `tsrnn.losses.LOSSES`.
    loss_params : sequence of float
        Huber's delta, or the quantiles.
    backend : {"cpu", "cuda", "numpy"}
    """

    def __init__(self, layers: Sequence[Layer], input_shape: Shape, loss: str = "squared_error",
                 loss_params: Sequence[float] = (1.0,), backend: str = "cpu"):
        self.layers = check_layers(layers)
        self.input_shape = tuple(input_shape)
        if loss not in LOSSES:
            raise ValueError(f"loss={loss!r} is unknown; use one of {', '.join(map(repr, LOSSES))}.")
        self.loss = LOSSES[loss]
        self.loss_params = tuple(float(p) for p in loss_params)
        self.backend_name = backend
        first = self.layers[0]
        self.embedding = first if isinstance(first, Embedding) else None
        out = self._shapes(self.input_shape)[-1]
        if len(out) > 2:
            raise ValueError(f"The network ends with {out} a sample; it must end with a Dense layer.")
        self.offsets, self.specs, self.n_params, self.n_dense = lay_out(self._groups(self.input_shape))
        self._lowered: dict[tuple, Lowered] = {}
        self._elsewhere: dict[str, Network] = {}

    def __reduce__(self):  # everything else follows from the arguments, and initializers do not pickle
        return Network, (self.layers, self.input_shape, self.loss.name, self.loss_params, self.backend_name)

    @property
    def is_ids(self) -> bool:
        """Whether the network reads token ids."""
        return self.embedding is not None

    @property
    def mask_zero(self) -> bool:
        """Whether id 0 is padding."""
        return self.embedding is not None and self.embedding.mask_zero

    @property
    def backend(self) -> ModuleType:
        return backends.get(self.backend_name)

    def on(self, backend: str) -> Network:
        """The same network as another backend runs it: it has plans of its own, and the same theta."""
        if backend == self.backend_name:
            return self
        if backend not in self._elsewhere:
            there = Network(self.layers, self.input_shape, self.loss.name, self.loss_params, backend)
            self._elsewhere.setdefault(backend, there)  # another thread may have been faster
        return self._elsewhere[backend]

    @functools.cached_property
    def penalised(self) -> np.ndarray:
        """(k, 2) int64: the spans of theta that L2 acts on."""
        spans = [(s.offset, s.offset + s.param.size) for s in self.specs if s.param.penalised]
        return np.array(spans, np.int64).reshape(-1, 2)

    @functools.cached_property
    def frozen(self) -> list[slice]:
        """Spans of theta that are not trained, but for an embedding table."""
        return [slice(s.offset, s.offset + s.param.size) for s in self.specs if not (s.param.trainable or s.param.sparse)]

    @property
    def n_trained(self) -> int:
        """Parameters from the first on that the optimizer sees: all, or those before a table that is not trained."""
        return self.n_params if self.embedding is None or self.embedding.trainable else self.n_dense

    def _shapes(self, shape: Shape) -> list[Shape]:
        shapes = [tuple(shape)]
        for layer in self.layers:
            shapes.append(layer.output_shape(shapes[-1]))
        return shapes

    def _groups(self, shape: Shape) -> list[Group]:
        return [g for layer, inner in zip(self.layers, self._shapes(shape)) for g in layer.groups(inner)]

    def output_shape(self, steps: int | None) -> Shape:
        """Shape of one sample's output: ``(K,)``, or ``(T_out, K)`` with one output a step."""
        return self._shapes((steps,) + self.input_shape[1:])[-1]

    def init(self, rng: np.random.Generator, dtype=np.float64) -> np.ndarray:
        """Fresh parameters; they depend on `rng` and the layers only, and are drawn in float64 for every dtype."""
        theta = np.empty(self.n_params, dtype)
        for spec in self.specs:
            theta[spec.offset:spec.offset + spec.param.size] = spec.param.init(rng).ravel()
        return theta

    def views(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """Name → view of `theta` in PyTorch's layout."""
        return {spec.name: spec.param.public(theta, spec.offset) for spec in self.specs}

    def lower(self, steps: int, dtype, *, train: bool, masked: bool) -> Lowered:
        """The plan for sequences of `steps` steps; `masked` where some of them may be padding."""
        key = (int(steps), np.dtype(dtype), bool(train), bool(masked))
        lowered = self._lowered.get(key)
        if lowered is None:
            if len(self._lowered) > 256:  # ragged data: one entry a length
                self._lowered.clear()
            lowered = self._lowered[key] = self._lower(*key)
        return lowered  # not looked up again: another thread may have cleared the table

    def _lower(self, steps: int, dtype: np.dtype, train: bool, masked: bool) -> Lowered:
        if sum(group.size for group in self._groups((steps,) + self.input_shape[1:])) != self.n_params:
            raise ValueError(f"The network was built for {self.input_shape[0]} steps and cannot take {steps}: its Flatten or "
                             "Reshape needs sequences of one length.")
        builder = Builder(train, masked, self.offsets, keeps_gates=self.backend.place.keeps_gates)
        value = Value((steps,) + self.input_shape[1:], mask=builder.mask_buffer(steps) if masked else c.NONE)
        source, numbering = replace(value, mask=c.NONE), 0
        if self.is_ids:
            numbered = self.layers[1].reads_tokens(train)
            value = replace(value, ids=builder.index_buffer(2 * steps + 1 if numbered else steps))
            value = replace(value, slots=value.ids if numbered else c.NONE)
            size = self.embedding.vocabulary_size if self.embedding else 0
            # where prediction numbers, training must leave the table of numbers alone: they share the memory
            numbering = size if self.layers[1].reads_tokens(False) else 0
            builder.row(c.IDS, source, value, T_IN=steps, F_IN=1, T_OUT=steps, F_OUT=1, WORK=value.ids,
                        VOCABULARY=size if numbered else 0,
                        OPTION=self.mask_zero + 2 * numbered)
        else:
            value = builder.output(value, value.shape, grad=False)
            builder.row(c.INPUT, source, value)
        for layer in self.layers:
            value = layer.lower(builder, value)
        builder.row(c.LOSS, value, value, CODE=self.loss.code, MASK_OUT=c.NONE)
        rows = np.array(builder.rows)
        pack = self.backend.assign_pack(rows, dtype.itemsize)
        plan = c.Plan(rows, np.array(builder.rates), np.array(self.loss_params), self.backend.kernels(rows, dtype, train))
        tokens = steps * self.embedding.embedding_dim if self.embedding and self.embedding.trainable and train else 0
        return Lowered(plan, steps, masked, builder.mem, builder.indices, numbering, builder.mask, pack, tokens,
                       forward_work(rows), value.steps, value.features)


def shared_network(layers: Sequence[Layer], input_shape: Shape, loss: str, loss_params: Sequence[float]) -> Network:
    """A `Network` that all fits of this architecture have in common: nothing in it changes but its table of plans.

    Of a thousand small networks only the first is built and lowered.  Parameters and errors are those of `Network`.
    """
    layers = check_layers(layers)
    try:
        return _cached_network(layers, tuple(input_shape), loss, tuple(map(float, loss_params)))
    except TypeError:  # a layer of somebody else's that has no hash
        return Network(layers, input_shape, loss, loss_params)


@functools.lru_cache(maxsize=64)
def _cached_network(layers: tuple[Layer, ...], input_shape: Shape, loss: str, loss_params: tuple[float, ...]) -> Network:
    return Network(layers, input_shape, loss, loss_params)


def forward_work(rows: np.ndarray) -> int:
    """Multiply-adds of the plan's products for one sample."""
    total = 0
    for row in rows.tolist():
        taps = {c.DENSE: row[c.F_IN], c.CONV: row[c.F_IN] * row[c.KERNEL]}.get(row[c.OP], 1)
        if row[c.OP] == c.RECURRENT:
            taps = c.CELLS[row[c.CODE]].gates * (row[c.F_IN] + row[c.F_OUT])
        total += row[c.REPEAT] * max(row[c.T_IN], row[c.T_OUT]) * row[c.F_OUT] * taps
    return total


def check_layers(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """`layers` as a tuple, if they make a network."""
    if isinstance(layers, (Layer, str)) or not isinstance(layers, Iterable):
        raise ValueError(f"layers={layers!r} must be a list of layers.")
    layers = tuple(layers)
    for n, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise ValueError(f"layers holds {layer!r}, which is not a layer of tsrnn.layers.")
        if n and isinstance(layer, Embedding) or any(isinstance(inner, Embedding) for inner in getattr(layer, "layers", ())):
            raise ValueError(f"{layer!r}: an Embedding takes token ids and must be the first layer.")
    if not layers or not isinstance(layers[-1], Dense) or layers[-1].activation != "linear":
        last = repr(layers[-1]) if layers else "nothing"
        raise ValueError(f"The last layer is {last}; it must be a linear Dense(n_outputs): the loss brings its own sigmoid or "
                         "softmax.")
    return layers


def lay_out(groups: Sequence[Group]) -> tuple[list[int], list[ParamSpec], int, int]:
    """Offsets of the groups, specs of all parameters, and the sizes of theta with and without embedding tables."""
    counts: dict[str, int] = {}
    offsets, specs = [0] * len(groups), []
    names = []
    for group in groups:
        counts[group.kind] = counts.get(group.kind, -1) + 1
        names.append(f"{group.kind}_{counts[group.kind]}")
    sparse = [any(p.sparse for p in group.params) for group in groups]
    end = n_dense = 0
    for wanted in (False, True):
        for n, group in enumerate(groups):
            if sparse[n] is wanted:
                offsets[n] = end
                end += group.size
        n_dense = n_dense if wanted else end
    for n, group in enumerate(groups):
        at = offsets[n]
        for param in group.params:
            specs.append(ParamSpec(f"{names[n]}.{param.name}", at, param))
            at += param.size
    return offsets, specs, end, n_dense
