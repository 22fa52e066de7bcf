"""LSTM, GRU and vanilla RNN layers, and `Bidirectional` around one of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tsrnn import initializers
from tsrnn.backends import contract as c
from tsrnn.layers.base import (
    ACTIVATIONS,
    Builder,
    Group,
    Layer,
    Param,
    Shape,
    Value,
    dropout_rate,
    flag,
    need_steps,
    one_of,
    positive_int,
)
from tsrnn.layers.cells import CELLS

SLICE = 4096  # gates a sample that are worked on at a time: 256 KiB for 16 samples in float32, which stays in the cache
MERGES = {"concat": c.NONE, "sum": c.MERGE_SUM, "mul": c.MERGE_MUL, "ave": c.MERGE_AVE}


@dataclass(frozen=True)
class Recurrent(Layer):
    """What the three cells share; see `LSTM`, `GRU`, `RNN`."""

    units: int
    return_sequences: bool = False
    input_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    recurrent_bias: bool = True

    cell = ""  # name in the table of cells

    def __post_init__(self):
        name = type(self).__name__
        object.__setattr__(self, "units", positive_int(name, "units", self.units))
        for key in ("return_sequences", "recurrent_bias"):
            object.__setattr__(self, key, flag(name, key, getattr(self, key)))
        for rate in ("input_dropout", "recurrent_dropout"):
            object.__setattr__(self, rate, dropout_rate(name, rate, getattr(self, rate)))

    def output_shape(self, shape: Shape) -> Shape:
        steps, _ = need_steps(self, shape)
        return (steps, self.units) if self.return_sequences else (self.units,)

    def groups(self, shape: Shape) -> list[Group]:
        return [Group(self.cell, self.direction_params(shape))]

    def direction_params(self, shape: Shape, suffix: str = "") -> tuple[Param, ...]:
        """Parameters of one direction: W_ih (G H, F), W_hh (G H, H), b_ih (G H), b_hh (G H)."""
        features, units = need_steps(self, shape)[1], self.units
        columns = CELLS[self.cell].gates * units
        bias = initializers.lstm_bias if self.cell == "lstm" else initializers.zeros
        return (
            Param("W_ih" + suffix, (columns, features), lambda rng: initializers.glorot_uniform(rng, (features, columns))),
            Param("W_hh" + suffix, (columns, units), lambda rng: initializers.orthogonal(rng, (units, columns))),
            Param("b_ih" + suffix, (columns,), lambda rng: bias(rng, (columns,)), penalised=False),
            Param("b_hh" + suffix, (columns,), lambda rng: initializers.zeros(rng, (columns,)), penalised=False,
                  trainable=self.recurrent_bias),
        )

    def reads_tokens(self, train: bool) -> bool:
        return not (train and self.input_dropout)  # that is another vector in each sample

    def lower(self, builder: Builder, value: Value) -> Value:
        out, _ = lower_directions(self, builder, value, (False,), ld=self.units)
        return out[0]

    def apply(self, weights, x, state=None, lengths=None):
        """Runs the layer alone, as PyTorch's ``out, (h_n, c_n) = lstm(x, (h_0, c_0))``.

        Parameters
        ----------
        weights : dict of str to array
            ``W_ih (G H, F)``, ``W_hh (G H, H)``, ``b_ih (G H)``, ``b_hh (G H)``; ``G`` is 4 (LSTM), 3 (GRU) or 1 (RNN).
        x : array of shape (n, T, F)
            NaN is not refused; it goes through to the output, as in PyTorch.
        state : array (n, H), or for the LSTM a pair (h, c) of them; default zeros
        lengths : array of shape (n,), optional
            Real steps of each sample, 0 to T; behind them the state stands still.

        Returns
        -------
        y : array of shape (n, T, H)
            The state after every step.
        state : like `state`
            The state after the last real step.
        """
        from tsrnn.layers._apply import apply_recurrent

        return apply_recurrent(self, weights, x, state, lengths)


@dataclass(frozen=True)
class LSTM(Recurrent):
    r"""Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    (n, T, F) → (n, H), or (n, T, H) with `return_sequences`.  With a = W_ih x + b_ih + W_hh h + b_hh in four parts:
    i = σ(a_i), f = σ(a_f), g = tanh(a_g), o = σ(a_o); c' = f c + i g; h' = o tanh(c').

    Parameters
    ----------
    units : int
        H.
    return_sequences : bool, default False
        One output a step instead of the last one.
    input_dropout, recurrent_dropout : float, default 0
        Rates of dropout on x and on h where it enters W_hh; one mask for all steps of a sample (Gal & Ghahramani 2016).
    recurrent_bias : bool, default True
        PyTorch has two biases, whose sum an optimizer moves twice as far as one; False keeps b_hh at 0, as Keras' LSTM and
        SimpleRNN have it.
    """

    cell = "lstm"


@dataclass(frozen=True)
class GRU(Recurrent):
    r"""Gated recurrent unit (Cho et al. 2014), reset gate after the product as in cuDNN, PyTorch and Keras.

    (n, T, F) → (n, H), or (n, T, H) with `return_sequences`.
    r = σ(W_r x + b_r + U_r h + d_r), z = σ(W_z x + b_z + U_z h + d_z), n = tanh(W_n x + b_n + r (U_n h + d_n));
    h' = (1 - z) n + z h.  Parameters as `LSTM`.
    """

    cell = "gru"


@dataclass(frozen=True)
class RNN(Recurrent):
    """Vanilla recurrent layer (Elman 1990): h' = act(W_ih x + b_ih + W_hh h + b_hh).

    (n, T, F) → (n, H), or (n, T, H) with `return_sequences`.  `activation` is "tanh" or "relu"; the rest as `LSTM`.
    """

    activation: str = "tanh"

    cell = "rnn"

    def __post_init__(self):
        super().__post_init__()
        one_of("RNN", "activation", self.activation, ("tanh", "relu"))


@dataclass(frozen=True)
class Bidirectional(Layer):
    """A recurrent layer run forwards and backwards in time.

    Parameters
    ----------
    layer : LSTM, GRU or RNN
    merge : {"concat", "sum", "mul", "ave"}, default "concat"
        How the two outputs become one; "concat" puts the forward one first.
    """

    layer: Recurrent
    merge: str = "concat"

    def __post_init__(self):
        if not isinstance(self.layer, Recurrent):
            raise ValueError(f"Bidirectional: layer={self.layer!r} must be an LSTM, GRU or RNN.")
        one_of("Bidirectional", "merge", self.merge, MERGES)

    def output_shape(self, shape: Shape) -> Shape:
        inner = self.layer.output_shape(shape)
        return inner[:-1] + (2 * inner[-1],) if self.merge == "concat" else inner

    def groups(self, shape: Shape) -> list[Group]:
        params = self.layer.direction_params(shape) + self.layer.direction_params(shape, "_reverse")
        return [Group(self.layer.cell, params)]

    def reads_tokens(self, train: bool) -> bool:
        return self.layer.reads_tokens(train)

    def lower(self, builder: Builder, value: Value) -> Value:
        units, concat = self.layer.units, self.merge == "concat"
        outs, source = lower_directions(self.layer, builder, value, (False, True), ld=2 * units if concat else units)
        if concat:
            return outs[0]
        out = builder.output(outs[0], outs[0].shape)
        builder.row(c.MERGE, outs[0], out, X2=outs[1].y, DX2=outs[1].dy, CODE=MERGES[self.merge])
        return out


def lower_directions(layer: Recurrent, builder: Builder, value: Value, directions: tuple[bool, ...], ld: int,
                     keep_state: bool = False) -> tuple[list[Value], Value]:
    """Rows of one or two directions.  With ``ld = 2 H`` both write into one buffer, side by side."""
    cell, units, steps, repeat = CELLS[layer.cell], layer.units, value.steps, value.repeat
    param = builder.next_group()
    size = sum(p.size for p in layer.direction_params(value.shape))
    if layer.input_dropout and builder.train:
        dropped = builder.output(value, value.shape, grad=value.dy != c.NONE)
        builder.row(c.DROPOUT, value, dropped, rate=layer.input_dropout, STREAM=builder.next_stream(), OPTION=1)
        value = dropped
    outs: list[Value] = []
    shared, after = ld > units, replace(value, slots=c.NONE)
    has_tokens = value.slots != c.NONE
    table = builder.buffer(steps * (cell.slots * units + c.GAP)) if has_tokens else c.NONE  # one direction's at a time
    keeps = builder.train or builder.keeps_gates
    slice_steps = min(steps, max(1, SLICE // (cell.slots * units * repeat)))
    for n, reverse in enumerate(directions):
        if n and shared:
            out, h_seq = outs[0], int(builder.rows[-1][c.H_SEQ])
        else:
            h_seq = builder.buffer((steps + 2) * ld * repeat)
            if layer.return_sequences:  # the states are the output: rows 1..T
                out = replace(after, shape=(steps, ld), y=h_seq + ld * repeat)
                out = replace(out, dy=builder.buffer(steps * ld * repeat) if builder.train else c.NONE)
            else:
                out = builder.output(after, (ld,), mask=c.NONE)
        recurrent_dropout = layer.recurrent_dropout if builder.train else 0.0
        builder.row(
            c.RECURRENT, value, out, rate=recurrent_dropout, F_OUT=units, LD=ld, COL=units * n if shared else 0,
            MASK_OUT=c.NONE, PARAM=param + n * size, CODE=cell.code, REVERSE=int(reverse),
            SEQUENCE=int(layer.return_sequences), H_SEQ=h_seq,
            C_SEQ=builder.buffer((steps + 2) * units * repeat) if cell.has_cell_state else c.NONE,
            WORK=builder.buffer((steps if keeps else 1) * cell.slots * units * repeat), KEEP=int(keeps),
            SLICE_STEPS=slice_steps, SLICE=builder.buffer(slice_steps * (cell.slots * units + c.GAP) * repeat),
            H_DROP=builder.buffer((steps + 1) * units * repeat) if recurrent_dropout else c.NONE,
            DH=builder.buffer(2 * units * repeat) if builder.train else c.NONE,
            DC=builder.buffer(units * repeat) if builder.train and cell.has_cell_state else c.NONE,
            SLOTS=value.slots, TABLE=table,
            STREAM=builder.next_stream(), OPTION=int(keep_state), ACT=ACTIVATIONS[getattr(layer, "activation", "tanh")],
            # backward runs bottom to top: the last direction writes dx, those above it add to it
            ADD_DX=int(n < len(directions) - 1))
        outs.append(out)
    return outs, value
