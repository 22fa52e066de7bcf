"""One direction of a recurrent layer: the time loop that all cells share."""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.numpy import gru, lstm, rnn
from tsrnn.backends.numpy.feedforward import keep_scale

CELLS = {c.LSTM: lstm, c.GRU: gru, c.RNN: rnn}


class Layer:
    """The row's arrays.  States: row t + 1 belongs to step t, and `previous` is where the step before it lies."""

    def __init__(self, chunk, row, rate):
        T, H, rows, ld, col = row[c.T_IN], row[c.F_OUT], chunk.rows(row), row[c.LD], row[c.COL]
        self.cell, self.shape = c.CELLS[row[c.CODE]], (T, rows, H)
        self.h = chunk.view(row[c.H_SEQ], T + 2, rows, ld)[:, :, col:col + H]
        self.c = chunk.view(row[c.C_SEQ], T + 2, rows, H) if self.cell.has_cell_state else None
        gates = (T, rows, self.cell.slots * H)
        self.work = chunk.view(row[c.WORK], *gates) if row[c.KEEP] else np.empty(gates, self.h.dtype)
        self.drop = None
        if row[c.H_DROP] != c.NONE:
            self.drop = keep_scale(chunk, row, rate, (T, rows, H), True)[0]
            self.h_drop = chunk.view(row[c.H_DROP], T, rows, H)
        self.mask = chunk.mask(row)
        self.steps = range(T - 1, -1, -1) if row[c.REVERSE] else range(T)
        self.act = row[c.ACT]
        G = self.cell.gates * H
        shapes = ((row[c.F_IN], G), (H, G), (G,), (G,))
        at = np.cumsum([0] + [int(np.prod(s)) for s in shapes])
        self.params = [chunk.param(row, s, o) for s, o in zip(shapes, at)]
        self.grads = [chunk.param(row, s, o, grad=True) for s, o in zip(shapes, at)] if chunk.grads is not None else None
        self.previous = (lambda t: t + 2) if row[c.REVERSE] else (lambda t: t)
        self.first, self.last = (T + 1, 1) if row[c.REVERSE] else (0, T)


def forward(chunk, row, rate):
    a = Layer(chunk, row, rate)
    cell = CELLS[row[c.CODE]]
    W_ih, W_hh, b_ih, b_hh = a.params
    x = _inputs(chunk, row)
    if not row[c.OPTION]:
        a.h[a.first] = 0
        if a.c is not None:
            a.c[a.first] = 0
    for t in a.steps:
        before, now = a.previous(t), t + 1
        h = a.h[before]
        if a.drop is not None:
            a.h_drop[t] = h * a.drop
            h = a.h_drop[t]
        cell.forward(a, t, x[t] @ W_ih + b_ih, h @ W_hh + b_hh, before, now)
        if a.mask is not None:  # a masked step changes nothing
            still = ~a.mask[t]
            a.h[now][still] = a.h[before][still]
            if a.c is not None:
                a.c[now][still] = a.c[before][still]
    if not row[c.SEQUENCE]:
        _columns(chunk, row, c.Y)[...] = a.h[a.last]


def _inputs(chunk, row):
    """X (T, B, F), from the distinct tokens' rows where these are what there is."""
    if row[c.SLOTS] == c.NONE:
        return chunk.x(row)
    return chunk.view(row[c.X], row[c.T_IN] * chunk.B, row[c.F_IN])[chunk.tokens(row, c.SLOTS)[0]]


def _columns(chunk, row, column):
    """The direction's columns of Y or DY, (T or 1, B, H)."""
    steps = row[c.T_IN] if row[c.SEQUENCE] else 1
    full = chunk.view(row[column], steps, chunk.rows(row), row[c.LD])
    part = full[:, :, row[c.COL]:row[c.COL] + row[c.F_OUT]]
    return part if row[c.SEQUENCE] else part[0]


def backward(chunk, row, rate):
    a = Layer(chunk, row, rate)
    cell = CELLS[row[c.CODE]]
    W_ih, W_hh = a.params[:2]
    dW_ih, dW_hh, db_ih, db_hh = a.grads
    x, dy = _inputs(chunk, row), _columns(chunk, row, c.DY)
    T, rows, H = a.shape
    dh = chunk.view(row[c.DH], rows, H)
    dc = chunk.view(row[c.DC], rows, H) if a.c is not None else None
    dh[...] = 0 if row[c.SEQUENCE] else dy
    if dc is not None:
        dc[...] = 0
    dx = np.zeros_like(x)
    for t in reversed(a.steps):
        before = a.previous(t)
        if row[c.SEQUENCE]:
            dh += dy[t]
        real = np.ones(rows, bool) if a.mask is None else a.mask[t]
        new_dh, new_dc, gx, gh = cell.backward(a, t, dh, dc, before)
        for g in (gx, gh):
            g[~real] = 0
        dW_ih += x[t].T @ gx
        dW_hh += (a.h[before] if a.drop is None else a.h_drop[t]).T @ gh
        db_ih += gx.sum(axis=0)
        db_hh += gh.sum(axis=0)
        dx[t] = gx @ W_ih.T
        through = gh @ W_hh.T
        new_dh += through if a.drop is None else through * a.drop
        dh[real] = new_dh[real]
        if dc is not None:
            dc[real] = new_dc[real]
    if row[c.SLOTS] != c.NONE:
        numbers, ids = chunk.tokens(row, c.SLOTS)
        by_position, dx = dx, np.zeros((len(ids), row[c.F_IN]), dx.dtype)
        np.add.at(dx, numbers, by_position)
    chunk.put_dx(row, dx)
