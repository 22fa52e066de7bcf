"""Networks that together launch every kernel of the CUDA backend, for the check of what the compiler makes of them.

A kernel is compiled once for each dtype and each set of its numbers, however many networks launch it.
"""

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

SEQ = {"return_sequences": True}
CELLS = {"lstm": (LSTM, {}), "gru": (GRU, {}), "rnn": (RNN, {}), "rnn relu": (RNN, {"activation": "relu"})}
SIZES = {"lstm": (16, 64, 128, 256), "gru": (64, 128, 256), "rnn": (64, 256), "rnn relu": (16,)}  # each is a kind of its own
LOSSES = {"squared_error": (1.0,), "absolute_error": (1.0,), "huber": (0.7,), "poisson": (1.0,), "quantile": (0.1, 0.9),
          "binary_crossentropy": (1.0,), "categorical_crossentropy": (1.0,)}
STEPS = 70  # long enough for sequences that several threads share


def _recurrent():
    for name, (cell, options) in CELLS.items():
        for H in SIZES[name]:
            yield f"{name} {H}", ([cell(H, **options, **SEQ), cell(H, **options), Dense(2)], (STEPS, 5), "squared_error")
        if name != "rnn relu":
            both = [Bidirectional(cell(48, recurrent_dropout=0.2, **SEQ)), Bidirectional(cell(32), "sum")]
            yield f"{name}, both directions", ([*both, Dense(1)], (STEPS, 5), "squared_error")


# name → arguments of a `Network`: layers, input shape, loss and, where there are some, its numbers
COMPILED = {
    **dict(_recurrent()),
    **{loss: ([Flatten(), Dense(2)], (3, 2), loss, numbers) for loss, numbers in LOSSES.items()},
    "dense": ([Dense(64, "tanh"), Dense(64, "relu"), Dense(64, "sigmoid"), Flatten(), Dense(300), Dense(2)], (6, 5),
              "squared_error"),
    "merges": ([Bidirectional(RNN(64, **SEQ), "sum"), Bidirectional(RNN(64, **SEQ), "mul"), Bidirectional(RNN(64), "ave"),
                Dense(1)], (STEPS, 3), "squared_error"),
    "convolutions": ([Conv1D(32, 3, activation="relu"), MaxPooling1D(2), Conv1D(16, 4, "valid", "tanh"), AveragePooling1D(2),
                      Conv1D(8, 3, activation="sigmoid"), Conv1D(8, 1), LSTM(16), Dense(1)], (STEPS, 5), "squared_error"),
    "long windows": ([Dense(4), AveragePooling1D(65), MaxPooling1D(65), Flatten(), Dense(1)], (65 * 65, 2), "squared_error"),
    "global max": ([Dense(8), GlobalMaxPooling1D(), Dense(1)], (STEPS, 5), "squared_error"),
    "global mean": ([Dense(8), GlobalAveragePooling1D(), Dense(1)], (STEPS, 5), "squared_error"),
    "distributed": ([Reshape((5, 14, 5)), TimeDistributed([Conv1D(8, 3), MaxPooling1D(2), Dropout(0.2), Flatten()]), GRU(16),
                     Reshape((4, 4)), Flatten(), Dense(1)], (STEPS, 5), "squared_error"),
    "activations": ([Activation("tanh"), Dense(4), Activation("relu"), Activation("sigmoid"), Activation("linear"), Flatten(),
                     Dense(2)], (6, 3), "squared_error"),
    "dropouts": ([Dropout(0.2), LSTM(16, input_dropout=0.3, **SEQ), Dropout(0.2), LSTM(256, recurrent_dropout=0.2), Dense(1)],
                 (STEPS, 5), "squared_error"),
    "distinct tokens": ([Embedding(500, 16, mask_zero=True), Bidirectional(LSTM(64, **SEQ)), GlobalMaxPooling1D(), Dense(1)],
                        (STEPS,), "binary_crossentropy"),
    "distinct tokens, gru": ([Embedding(500, 16), Bidirectional(GRU(64)), Dense(1)], (STEPS,), "binary_crossentropy"),
    "distinct tokens, rnn": ([Embedding(500, 16), RNN(64), Dense(1)], (STEPS,), "binary_crossentropy"),
    "tokens": ([Embedding(500, 16), Dropout(0.2), Conv1D(16, 5, activation="relu"), GlobalAveragePooling1D(), Dense(1)],
               (STEPS,), "binary_crossentropy"),
}

# of those, the ones that are compiled for large batches, for masked sequences and for float64 as well
MANY = {"lstm 64", "dense", "convolutions", "distinct tokens"}
MASKED = {name for name in COMPILED if not name.endswith(("16", "64", "128", "256"))} - {"merges", "dropouts"}
WIDE = {"lstm 16", "gru 256", "distinct tokens, gru", "tokens", "distributed", "activations", "long windows", "global max",
        "global mean", *LOSSES}

# families whose float32 kernels compute in float64 on purpose → why
SUMS = "losses, weights and norms are summed in float64"
RATES = "a step's constants come in float64 and are rounded once"
DOUBLE = {
    "executor.take_turn": SUMS, "losses.every_position": SUMS, "losses.add_parts": SUMS, "finish.regularise": SUMS,
    "finish.conclude": SUMS, "finish.adam": RATES, "finish.rmsprop": RATES, "finish.sgd": RATES,
}
# families that spill, bytes a thread at most → why it may be
FULL = ("a block of the whole sequence takes every register that there is; what is spilled is read once a step, from the "
        "first-level cache")
SPILLS = {"sequence.forward": (64, FULL), "sequence.backward": (64, FULL)}
