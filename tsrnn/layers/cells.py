"""The table of recurrent cells: name → code, gates, biases.  A new cell is one row here and one file in each backend."""

from __future__ import annotations

from tsrnn.backends import contract as c

CELLS: dict[str, c.Cell] = {"lstm": c.CELLS[c.LSTM], "gru": c.CELLS[c.GRU], "rnn": c.CELLS[c.RNN]}
