"""Pooling over windows of steps and over the whole sequence."""

from __future__ import annotations


def max_forward(recorder, row, rate):
    raise NotImplementedError


def max_backward(recorder, row, rate):
    raise NotImplementedError


def average_forward(recorder, row, rate):
    raise NotImplementedError


def average_backward(recorder, row, rate):
    raise NotImplementedError
