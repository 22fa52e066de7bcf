"""Dropout from counter-based random bits; the words are those of `tsrnn.backends.numpy.randomness`."""

from __future__ import annotations


def dropout_forward(recorder, row, rate):
    raise NotImplementedError


def dropout_backward(recorder, row, rate):
    raise NotImplementedError
