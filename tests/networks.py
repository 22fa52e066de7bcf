"""Networks that the tests of gradients, backends and parity share."""

from __future__ import annotations

from tsrnn.layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    AveragePooling1D,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    MaxPooling1D,
    Reshape,
    TimeDistributed,
)
from tsrnn.layers.recurrent import Recurrent

BY_CELL = {cls.cell: cls for cls in Recurrent.__subclasses__()}  # a new cell is tested wherever the others are
CELLS = [(name, {}) for name in BY_CELL] + [("rnn", {"activation": "relu"})]
CELL_IDS = [name + "".join(f"-{value}" for value in options.values()) for name, options in CELLS]
DIRECTIONS = ("forward", "concat", "sum", "mul", "ave")
LENGTHS = [6, 3, 1, 5, 2]     # right padding behind them
PADDING = [0, 3, 5, 6, 1]     # leading zeros of ids: none, some, all but one, all
LOSSES = [("squared_error", (1.0,), 2), ("absolute_error", (1.0,), 2), ("huber", (0.7,), 2), ("poisson", (1.0,), 2),
          ("quantile", (0.1, 0.5, 0.8), 6), ("binary_crossentropy", (1.0,), 2), ("categorical_crossentropy", (1.0,), 3)]


def recurrent(cell, options, direction="forward", sequences=False, units=3, **more):
    """One recurrent layer."""
    layer = BY_CELL[cell](units, return_sequences=sequences, **options, **more)
    return layer if direction == "forward" else Bidirectional(layer, merge=direction)


def with_mask(layers, mask):
    """`layers` behind an input of a kind: (layers, input_shape, data options).  "none", "right" (lengths) or "left" (zeros)."""
    if mask == "left":
        return [Embedding(7, 3, mask_zero=True), *layers], (6,), {"padding": PADDING}
    return [Dense(3, "tanh"), *layers], (6, 3), {"lengths": LENGTHS} if mask == "right" else {}


SEQ = {"return_sequences": True}
# layers in front of which any mask may stand: name → layers
MASKABLE = {
    "stacked": [LSTM(4, **SEQ), GRU(3, **SEQ), RNN(2), Dense(2)],
    "stacked bidirectional": [Bidirectional(LSTM(2, **SEQ)), Bidirectional(GRU(2, **SEQ), "sum"), Bidirectional(RNN(3)),
                              Dense(1)],
    "many outputs a step": [Bidirectional(GRU(2, **SEQ), "mul"), Dense(3, "sigmoid"), Dense(2)],
    "global max": [LSTM(3, **SEQ), GlobalMaxPooling1D(), Dense(2)],
    "global mean": [Bidirectional(GRU(3, **SEQ)), GlobalAveragePooling1D(), Dense(2)],
    "pooling only": [GlobalMaxPooling1D(), Dense(4, "relu"), Dense(1)],
    "conv same": [Conv1D(4, 3, activation="relu"), LSTM(3), Dense(1)],
    "conv same even": [Conv1D(3, 4, activation="tanh"), GRU(3, **SEQ), Dense(1)],
    "conv wide": [Conv1D(3, 9, activation="sigmoid"), RNN(2), Dense(1)],
    "conv twice": [Conv1D(3, 2), Conv1D(4, 3, activation="relu"), GlobalAveragePooling1D(), Dense(1)],
    "conv one": [Conv1D(3, 1), LSTM(3, **SEQ), Dense(1)],
    "max pooling": [Conv1D(4, 3), MaxPooling1D(2), LSTM(3), Dense(1)],
    "max pooling of states": [LSTM(3, **SEQ), MaxPooling1D(2), GRU(2, **SEQ), Dense(1)],
    "average pooling": [Conv1D(3, 3, activation="tanh"), AveragePooling1D(2), GRU(3), Dense(1)],
    "average pooling of states": [GRU(3, **SEQ), AveragePooling1D(4), Dense(2)],
    "pool of one": [MaxPooling1D(1), AveragePooling1D(1), LSTM(2), Dense(1)],
    "short pool": [MaxPooling1D(9), AveragePooling1D(5), RNN(2), Dense(1)],
    "activation": [Activation("sigmoid"), GRU(3, **SEQ), Activation("tanh"), LSTM(2), Activation("relu"), Dense(1)],
    "dense a step": [Dense(4, "relu"), LSTM(3, **SEQ), Dense(3, "tanh"), RNN(2), Dense(2)],
    "dropout": [Dropout(0.3), LSTM(4, **SEQ), Dropout(0.4), GRU(3), Dropout(0.2), Dense(2)],
    "input dropout": [LSTM(4, input_dropout=0.4, **SEQ), GRU(3, input_dropout=0.3), Dense(1)],
    "recurrent dropout": [LSTM(4, recurrent_dropout=0.4, **SEQ), GRU(3, recurrent_dropout=0.3, **SEQ),
                          RNN(3, recurrent_dropout=0.3), Dense(1)],
    "all dropout, both directions": [Bidirectional(LSTM(3, **SEQ, input_dropout=0.3, recurrent_dropout=0.4)), Dropout(0.3),
                                     Bidirectional(GRU(3, input_dropout=0.3, recurrent_dropout=0.4), "sum"), Dense(1)],
    "steps distributed": [TimeDistributed(Dense(3, "tanh")), LSTM(2, **SEQ), TimeDistributed([Dense(3, "relu"), Dense(2)]),
                          GRU(2), Dense(1)],
}
# networks of steps of a fixed number: name → (layers, input_shape)
FIXED = {
    "dense only": ([Flatten(), Dense(5, "sigmoid"), Dense(3, "relu"), Dense(2)], (4, 2)),
    "linear": ([Flatten(), Dense(2)], (4, 2)),
    "flatten states": ([LSTM(3, **SEQ), Flatten(), Dense(2)], (4, 2)),
    "conv valid": ([Conv1D(4, 3, "valid", "tanh"), LSTM(3), Dense(1)], (6, 2)),
    "conv valid whole": ([Dense(3), Conv1D(4, 6, "valid"), Flatten(), Dense(1)], (6, 2)),
    "reshape": ([Reshape((3, 8)), GRU(3), Dense(1)], (12, 2)),
    "reshape to more steps": ([Dense(4), Reshape((12, -1)), RNN(3), Dense(1)], (6, 2)),
    "reshape back": ([LSTM(4), Reshape((2, 2)), GRU(2, **SEQ), Reshape((-1,)), Dense(1)], (5, 2)),
    "reshape odd": ([Dense(3), Reshape((9, 2)), LSTM(2), Dense(1)], (6, 2)),
    "cnn-lstm": ([Reshape((3, 4, 2)), TimeDistributed([Conv1D(4, 3, activation="relu"), MaxPooling1D(2), Flatten()]), LSTM(3),
                  Dense(1)], (12, 2)),
    "cnn-lstm valid": ([Reshape((3, 4, 2)), TimeDistributed(Conv1D(3, 2, "valid", "tanh")),
                        TimeDistributed(AveragePooling1D(2)), TimeDistributed(Flatten()), GRU(3), Dense(1)], (12, 2)),
    "hierarchical": ([Reshape((3, 4, 2)), TimeDistributed([Bidirectional(LSTM(2, **SEQ)), GRU(3)]), RNN(2, **SEQ), Dense(1)],
                     (12, 2)),
    "hierarchical dropout": ([Reshape((3, 4, 2)),
                              TimeDistributed([Dropout(0.3), GRU(3, input_dropout=0.3, recurrent_dropout=0.4), Dropout(0.2)]),
                              LSTM(2, recurrent_dropout=0.3), Dense(1)], (12, 2)),
    "distributed global": ([Reshape((3, 4, 2)), TimeDistributed([Conv1D(3, 3), GlobalMaxPooling1D(), Activation("tanh")]),
                            TimeDistributed(Dense(3)), GlobalAveragePooling1D(), Dense(1)], (12, 2)),
    "distributed mean, reshape": (
        [Reshape((2, 4, 3)),
         TimeDistributed([Dense(2, "tanh"), Reshape((2, 4)), Activation("sigmoid"), GlobalAveragePooling1D()]),
         Flatten(), Dense(2)], (8, 3)),
    "nested": ([Reshape((2, 3, 2)), TimeDistributed(TimeDistributed(Dense(3, "tanh"))), TimeDistributed(LSTM(2)), Flatten(),
                Dense(1)], (6, 2)),
    "one step": ([Conv1D(3, 3), MaxPooling1D(2), Bidirectional(LSTM(3)), Dense(1)], (1, 2)),
    "wide": ([LSTM(19), Dense(2)], (3, 17)),
    "embedding": ([Embedding(5, 4), LSTM(3), Dense(2)], (6,)),
    "embedding duplicates": ([Embedding(2, 3), GlobalAveragePooling1D(), Dense(1)], (6,)),
    "embedding, dropout": ([Embedding(7, 4), Dropout(0.4), Conv1D(3, 3), GRU(3, **SEQ), GlobalMaxPooling1D(), Dense(1)], (6,)),
    "embedding, flat": ([Embedding(4, 2), Flatten(), Dense(2)], (5,)),
}
