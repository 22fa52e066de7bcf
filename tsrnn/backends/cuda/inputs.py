"""Samples and token ids gathered; embedding."""

from __future__ import annotations


def gather(recorder, row, rate):
    raise NotImplementedError


def gather_ids(recorder, row, rate):
    raise NotImplementedError


def embedding_forward(recorder, row, rate):
    raise NotImplementedError


def embedding_backward(recorder, row, rate):
    raise NotImplementedError
