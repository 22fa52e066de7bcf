"""Layers: specifications that a `Network` lowers to a plan.  Names and meanings are those of Keras."""

from tsrnn.layers.base import Layer
from tsrnn.layers.conv1d import Conv1D
from tsrnn.layers.dense import Activation, Dense
from tsrnn.layers.dropout import Dropout
from tsrnn.layers.embedding import Embedding
from tsrnn.layers.pooling import AveragePooling1D, GlobalAveragePooling1D, GlobalMaxPooling1D, MaxPooling1D
from tsrnn.layers.recurrent import GRU, LSTM, RNN, Bidirectional
from tsrnn.layers.wrappers import Flatten, Reshape, TimeDistributed

__all__ = ["Activation", "AveragePooling1D", "Bidirectional", "Conv1D", "Dense", "Dropout", "Embedding", "Flatten", "GRU",
           "GlobalAveragePooling1D", "GlobalMaxPooling1D", "LSTM", "Layer", "MaxPooling1D", "RNN", "Reshape",
           "TimeDistributed"]
