"""Where each operation's weights lie, packed for the products of forward and backward.

DENSE: W, W^T.  CONV: W of every tap, then W^T of every tap.  RECURRENT: the bias of all slots; W_ih of the shared gates, of
the others; W_hh; and the same three transposed.
"""

from __future__ import annotations

from tsrnn.backends import contract as c
from tsrnn.backends.cpu.calls import pack_matrix
from tsrnn.backends.cpu.jit import inner, jit
from tsrnn.backends.cpu.microkernels import packed_size


def assign_pack(rows, itemsize):
    """Fills the column PACK; returns the elements that `packed` takes."""
    size = 0
    for row in rows:
        row[c.PACK] = size
        inputs, outputs = int(row[c.F_IN]), int(row[c.F_OUT])
        if row[c.OP] in (c.DENSE, c.CONV):
            taps = int(row[c.KERNEL]) if row[c.OP] == c.CONV else 1
            size += taps * (packed_size(inputs, outputs, itemsize) + packed_size(outputs, inputs, itemsize))
        elif row[c.OP] == c.RECURRENT:
            cell = c.CELLS[row[c.CODE]]
            shared, apart = cell.shared * outputs, (cell.gates - cell.shared) * outputs
            size += cell.slots * outputs
            for K, N in ((inputs, shared), (inputs, apart), (outputs, shared + apart)):
                size += packed_size(K, N, itemsize) + packed_size(N, K, itemsize)
    return max(size, 1)


@inner
def gates(code):
    """(gates, shared gates) of a cell; see `contract.Cell`."""
    if code == c.LSTM:
        return 4, 4
    if code == c.GRU:
        return 3, 2
    return 1, 1


@inner
def recurrent_offsets(row, itemsize):
    """Offsets in `packed`: bias, W_ih shared, W_ih apart, W_hh, and the three transposed."""
    F, H = row[c.F_IN], row[c.F_OUT]
    G, shared = gates(row[c.CODE])
    bias = row[c.PACK]
    ih = bias + (2 * G - shared) * H
    ih_apart = ih + packed_size(F, shared * H, itemsize)
    hh = ih_apart + packed_size(F, (G - shared) * H, itemsize)
    ih_t = hh + packed_size(H, G * H, itemsize)
    ih_apart_t = ih_t + packed_size(shared * H, F, itemsize)
    hh_t = ih_apart_t + packed_size((G - shared) * H, F, itemsize)
    return bias, ih, ih_apart, hh, ih_t, ih_apart_t, hh_t


@inner
def _pack_recurrent(row, theta, packed):
    F, H = row[c.F_IN], row[c.F_OUT]
    G, shared = gates(row[c.CODE])
    columns, apart = G * H, (G - shared) * H
    first = shared * H
    bias, ih, ih_apart, hh, ih_t, ih_apart_t, hh_t = recurrent_offsets(row, theta.itemsize)
    w_ih = row[c.PARAM]
    w_hh = w_ih + F * columns
    b_ih = w_hh + H * columns
    b_hh = b_ih + columns
    for j in range(first):
        packed[bias + j] = theta[b_ih + j] + theta[b_hh + j]
    for j in range(first, columns):
        packed[bias + j] = theta[b_hh + j]
        packed[bias + apart + j] = theta[b_ih + j]
    pack_matrix(row, theta, w_ih, columns, 1, F, first, packed, ih)
    pack_matrix(row, theta, w_ih + first, columns, 1, F, apart, packed, ih_apart)
    pack_matrix(row, theta, w_hh, columns, 1, H, columns, packed, hh)
    pack_matrix(row, theta, w_ih, 1, columns, first, F, packed, ih_t)
    pack_matrix(row, theta, w_ih + first, 1, columns, apart, F, packed, ih_apart_t)
    pack_matrix(row, theta, w_hh, 1, columns, columns, H, packed, hh_t)


@jit
def pack(plan, theta, packed):
    """See the contract."""
    for n in range(plan.rows.shape[0]):
        row = plan.rows[n]
        op, F, O = row[c.OP], row[c.F_IN], row[c.F_OUT]
        if op == c.RECURRENT:
            _pack_recurrent(row, theta, packed)
        elif op == c.DENSE or op == c.CONV:
            taps = row[c.KERNEL] if op == c.CONV else 1
            for k in range(taps):
                w = row[c.PARAM] + k * F * O
                at = row[c.PACK] + k * packed_size(F, O, theta.itemsize)
                at_t = row[c.PACK] + taps * packed_size(F, O, theta.itemsize) + k * packed_size(O, F, theta.itemsize)
                pack_matrix(row, theta, w, O, 1, F, O, packed, at)
                pack_matrix(row, theta, w, 1, O, O, F, packed, at_t)
