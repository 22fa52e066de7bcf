"""One direction of a recurrent layer."""

from __future__ import annotations


def forward(recorder, row, rate):
    raise NotImplementedError


def backward(recorder, row, rate):
    raise NotImplementedError
