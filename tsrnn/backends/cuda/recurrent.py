"""One direction of a recurrent layer: products with W_ih for all steps at once, and the time loop."""

from __future__ import annotations

import numpy as np

from tsrnn.backends import contract as c
from tsrnn.backends.cuda import inputs, products, sequence, steps
from tsrnn.backends.cuda.dropout import constants, scale_of
from tsrnn.backends.cuda.jit import cuda, family, most_shared
from tsrnn.backends.cuda.products import Matrix

STATIC = 1024  # bytes of shared memory that a kernel of `sequence` takes beside its tile, at most


class Layer:
    """Where the row's arrays lie: ints, as kernels take them.

    Attributes
    ----------
    cell : contract.Cell
    T, rows, H, F, G, ld : int
        G: columns of W_ih and W_hh; ld: elements from one row of states to the next.
    W_ih, W_hh, b_ih, b_hh, work, h, c, drop, dh, dc, mask : int
        Where they begin; `h` is the direction's column.
    previous : int
        States of a step's predecessor lie so many rows behind the row block of the step's number.
    """

    def __init__(self, recorder, row):
        self.cell, self.code, self.act = c.CELLS[row[c.CODE]], int(row[c.CODE]), int(row[c.ACT])
        self.T, self.rows, self.F, self.H = int(row[c.T_IN]), recorder.rows(row), int(row[c.F_IN]), int(row[c.F_OUT])
        self.G, self.width, self.ld = self.cell.gates * self.H, self.cell.slots * self.H, int(row[c.LD])
        self.col, self.reverse, self.is_sequence = int(row[c.COL]), int(row[c.REVERSE]), bool(row[c.SEQUENCE])
        self.W_ih = int(row[c.PARAM])
        self.W_hh = self.W_ih + self.F * self.G
        self.b_ih = self.W_hh + self.H * self.G
        self.b_hh = self.b_ih + self.G
        self.work, self.h = recorder.at(row[c.WORK]), recorder.at(row[c.H_SEQ]) + self.col
        self.c = recorder.at(row[c.C_SEQ]) if self.cell.has_cell_state else 0
        self.dropped, self.masked = bool(row[c.H_DROP] != c.NONE), bool(row[c.MASK_IN] != c.NONE)
        self.drop = recorder.at(row[c.H_DROP]) if self.dropped else 0
        self.mask = recorder.at(row[c.MASK_IN]) if self.masked else 0
        self.has_tokens = bool(row[c.SLOTS] != c.NONE)
        self.numbers = recorder.at(row[c.SLOTS]) if self.has_tokens else 0
        self.n = self.T * self.rows
        self.steps = range(self.T - 1, -1, -1) if self.reverse else range(self.T)
        self.previous = 2 * self.rows if self.reverse else 0
        table = Matrix(recorder.mem, recorder.at(row[c.TABLE]) if self.has_tokens else 0, self.width + c.GAP)
        self.x_of_positions = self._x_parts(Matrix(recorder.mem, self.work, self.width))
        self.x_parts = self._x_parts(table) if self.has_tokens else self.x_of_positions
        # of the T * B rows that tokens may take, D are there
        self.limit = (recorder.indices, self.numbers + 2 * self.n) if self.has_tokens else None

    def _x_parts(self, matrix):
        """Columns of WORK or TABLE that hold x parts: the GRU keeps its last gate's beside the h part."""
        shared = self.cell.shared * self.H
        return matrix if shared == self.G else matrix._replace(split=shared, jump=self.G - shared)

    def entered(self, recorder):
        """h as it entered W_hh, a row a position."""
        if self.dropped:
            return Matrix(recorder.mem, self.drop, self.H)
        return Matrix(recorder.mem, self.h + self.previous * self.ld, self.ld)

    def looked_at(self):
        """The states that the cell's backward looks at, and their row length."""
        return (self.c, self.H) if self.cell.has_cell_state else (self.h, self.ld)


def fits_a_block(recorder, a) -> bool:
    """Whether blocks of `sequence` have room for the weights, forward and backward and with whatever rows.

    So the batch's size does not matter, which must not change a prediction.
    """
    if a.H > sequence.LARGEST[recorder.dtype]:
        return False
    size = next(size for size in sequence.SIZES if size >= a.H)
    tiles = [tile_of(recorder.dtype, a.code, size, R) for tile_of in (sequence.forward_tile, sequence.backward_tile)
             for R in sequence.choices(size)]
    most = max(map(sequence.shared_size, tiles)) * np.dtype(recorder.dtype).itemsize
    return most + STATIC <= most_shared()


def plan_blocks(recorder, a, tile_of):
    """The units' padded number and the block's rows for `sequence`'s kernels, and the tile they give."""
    size = next(size for size in sequence.SIZES if size >= a.H)
    R = sequence.rows_of_block(recorder.dtype, size, a.rows)
    tile = tile_of(recorder.dtype, a.code, size, R)
    return size, R, tile, sequence.shared_size(tile) * np.dtype(recorder.dtype).itemsize


@family
def draw(dtype):
    """Recurrent dropout's mask (rows, H), the same for all steps."""
    scale_at = scale_of(dtype)

    def kernel(n, mem, samples, key, H, stream, target, limit, scale):
        i = cuda.grid(1)
        if i < n:
            row = i // H
            sub = row // samples.size
            sample = samples[row - sub * samples.size]
            mem[target + i] = scale_at(key[0], key[1], stream, sample, sub, i - row * H, limit, scale)
    return kernel


def forward(recorder, row, rate):
    a = Layer(recorder, row)
    x = Matrix(recorder.mem, recorder.at(row[c.X]), a.F)
    W_ih = Matrix(recorder.theta, a.W_ih, a.G)
    products.nn(recorder, x, W_ih, a.x_parts, a.n, a.F, a.G, biases=(a.b_ih,), limit=a.limit)
    if a.dropped:
        recorder.each(draw(recorder.dtype), a.rows * a.H, recorder.mem, recorder.samples, recorder.key, a.H, int(row[c.STREAM]),
                      a.drop + a.n * a.H, *constants(recorder.dtype, rate))
    y = c.NONE if a.is_sequence else recorder.at(row[c.Y]) + a.col
    if not fits_a_block(recorder, a):
        steps.forward(recorder, a, int(row[c.OPTION]), y)
        return
    size, R, tile, shared = plan_blocks(recorder, a, sequence.forward_tile)
    kernel = sequence.forward(recorder.dtype, a.code, a.act, size, R, a.masked, a.dropped, a.has_tokens)
    recorder.launch(kernel, -(-a.rows // R), tile.threads, recorder.mem, recorder.mask, recorder.indices, recorder.theta,
                    a.T, a.rows, a.H, a.reverse, int(row[c.OPTION]), a.W_hh, a.mask, a.work, a.x_parts.at, a.x_parts.ld,
                    a.numbers, a.h, a.ld, a.c, a.drop, y, shared=shared)


def backward(recorder, row, rate):
    a = Layer(recorder, row)
    dy, dh, dc = (recorder.at(row[c.DY]) + a.col, recorder.at(row[c.DH]),
                  recorder.at(row[c.DC]) if a.cell.has_cell_state else 0)
    if not fits_a_block(recorder, a):
        steps.backward(recorder, a, dy, dh, dc)
    else:
        size, R, tile, shared = plan_blocks(recorder, a, sequence.backward_tile)
        kernel = sequence.backward(recorder.dtype, a.code, a.act, size, R, a.masked, a.dropped, a.is_sequence)
        recorder.launch(kernel, -(-a.rows // R), tile.threads, recorder.mem, recorder.mask, recorder.theta, a.T, a.rows, a.H,
                        a.reverse, a.W_hh, a.mask, a.work, *a.looked_at(), a.drop, dy, a.ld, dh, dc, shared=shared)
    products.tn(recorder, a.entered(recorder), Matrix(recorder.mem, a.work, a.width), Matrix(recorder.grads, a.W_hh, a.G),
                a.n, a.H, a.G, biases=(a.b_hh,))
    if a.has_tokens:
        inputs.sum_by_token(recorder, row, a.x_of_positions, a.x_parts, a.G)
    x = Matrix(recorder.mem, recorder.at(row[c.X]), a.F)
    products.tn(recorder, x, a.x_parts, Matrix(recorder.grads, a.W_ih, a.G), a.n, a.F, a.G, biases=(a.b_ih,), limit=a.limit)
    if row[c.DX] != c.NONE:
        products.nt(recorder, a.x_parts, Matrix(recorder.theta, a.W_ih, a.G), Matrix(recorder.mem, recorder.at(row[c.DX]), a.F),
                    a.n, a.G, a.F, add=bool(row[c.ADD_DX]), limit=a.limit)
