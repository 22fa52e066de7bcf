"""The cells by name, and the LSTM behind a convolution."""

from __future__ import annotations

from tsrnn.estimators.sequence import SequenceClassifier, SequenceRegressor

CNN = {"conv_filters": (32,), "pool_size": 2}


class LSTMRegressor(SequenceRegressor, fixed={"cell": "lstm"}):
    """Long short-term memory for regression on sequences.

    {parameters}

    {attributes}
    """


class LSTMClassifier(SequenceClassifier, fixed={"cell": "lstm"}):
    """Long short-term memory for classification of sequences, or of each of their steps.

    {parameters}

    {attributes}
    """


class GRURegressor(SequenceRegressor, fixed={"cell": "gru"}):
    """Gated recurrent units for regression on sequences.

    {parameters}

    {attributes}
    """


class GRUClassifier(SequenceClassifier, fixed={"cell": "gru"}):
    """Gated recurrent units for classification of sequences, or of each of their steps.

    {parameters}

    {attributes}
    """


class RNNRegressor(SequenceRegressor, fixed={"cell": "rnn"}):
    """Vanilla recurrent network for regression on sequences.

    {parameters}

    {attributes}
    """


class RNNClassifier(SequenceClassifier, fixed={"cell": "rnn"}):
    """Vanilla recurrent network for classification of sequences, or of each of their steps.

    {parameters}

    {attributes}
    """


class CNNLSTMRegressor(SequenceRegressor, fixed={"cell": "lstm"}, defaults=CNN):
    """Long short-term memory behind convolutions, for regression on sequences.

    {parameters}

    {attributes}
    """


class CNNLSTMClassifier(SequenceClassifier, fixed={"cell": "lstm"}, defaults=CNN):
    """Long short-term memory behind convolutions, for classification of sequences, or of each of their steps.

    {parameters}

    {attributes}
    """
