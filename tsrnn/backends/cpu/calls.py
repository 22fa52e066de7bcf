"""Kernels called by address: compiled once, where Numba would compile what a kernel calls into each of its callers again.

The products are most of a kernel's machine code, and a network has one or two of all cells; so their addresses stand in the
rows of a plan (the columns from `contract.ADDRESSES` on), and the functions here stand for them: `matmul(row, ...)` is
`microkernels.matmul(...)`.
"""

from __future__ import annotations

import functools

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from tsrnn.backends import contract as c
from tsrnn.backends.cpu import gru, lstm, microkernels, rnn
from tsrnn.backends.cpu.vectors import I64

MATMUL, MATMUL_TN, COLUMN_SUMS, PACK, CELL_FORWARD, CELL_BACKWARD = range(c.ADDRESSES, c.N_COLUMNS)
# arguments: "A" an array of floats, "I" one of integers, "i" an integer
_PRODUCTS = {
    MATMUL: (microkernels.matmul, "AiiAiiiAiii"), MATMUL_TN: (microkernels.matmul_tn, "AiiAiiAiiiii"),
    COLUMN_SUMS: (microkernels.column_sums, "AiiAiii"), PACK: (microkernels.pack, "AiiiiiAi"),
}
_CELL = "AIii"
_CELLS = {
    (c.LSTM, c.TANH): (lstm.forward, lstm.backward), (c.GRU, c.TANH): (gru.forward, gru.backward),
    (c.RNN, c.TANH): (rnn.forward_tanh, rnn.backward_tanh), (c.RNN, c.RELU): (rnn.forward_relu, rnn.backward_relu),
}


@functools.cache
def address(kernel, signature):
    """Where the machine code of `kernel` for these argument types begins; compiled, or read from disk, if need be.

    Asked for once: an interruption within LLVM's own calls can free its memory twice.
    """
    if signature not in kernel.overloads:
        kernel.compile(signature)
    compiled = kernel.overloads[signature]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


def _signature(form, dtype):
    kinds = {"A": types.Array(numba.from_dtype(dtype), 1, "C"), "I": types.Array(types.int64, 1, "C"), "i": types.int64}
    return tuple(kinds[kind] for kind in form)


def fill_in_products(row, dtype, train):
    """Write the addresses of the products that a plan's row needs for an element type into the row."""
    if row[c.OP] in (c.RECURRENT, c.DENSE, c.CONV):
        for column, (kernel, form) in _PRODUCTS.items():
            if train or column in (MATMUL, PACK):
                row[column] = address(kernel, _signature(form, dtype))


def fill_in_cell(row, dtype, train):
    """The same for its cell, if it has one."""
    if row[c.OP] == c.RECURRENT:
        forward, backward = _CELLS[row[c.CODE], row[c.ACT]]
        row[CELL_FORWARD] = address(forward, _signature(_CELL, dtype))
        row[CELL_BACKWARD] = address(backward, _signature(_CELL, dtype)) if train else 0


def compile_callees(op, dtype):
    """Compile whatever a row of this operation may call."""
    row = np.zeros(c.N_COLUMNS, np.int64)
    row[c.OP], dtype = op, np.dtype(dtype)
    fill_in_products(row, dtype, train=True)
    for cell, activation in _CELLS if op == c.RECURRENT else ():
        row[c.CODE], row[c.ACT] = cell, activation
        fill_in_cell(row, dtype, train=True)


def _calling(column, row, *arguments):
    """An intrinsic's type and code: a call of the kernel whose address is in a column of `row`, with borrowed arguments."""
    floats = {a for a in arguments if isinstance(a, types.Array) and a.dtype != types.int64}
    if len(floats) != 1 or any(not isinstance(a, types.Array) and a != types.int64 for a in arguments):
        # others would be misread
        raise TypingError(f"a kernel called by address takes one type of float array and int64, got {arguments}")

    def codegen(context, builder, signature, values):
        rows = context.make_array(signature.args[0])(context, builder, values[0]).data
        _emit_call(context, builder, builder.load(builder.gep(rows, [I64(column)])), signature.args[1:], values[1:])
        return context.get_dummy_value()

    return types.void(row, *arguments), codegen


def _emit_call(context, builder, address, argument_types, values):
    function_type = context.call_conv.get_function_type(types.none, argument_types)
    kernel = builder.inttoptr(address, function_type.as_pointer())
    context.call_conv.call_function(builder, kernel, types.none, argument_types, values)


@intrinsic
def call(typing_context, address, row, rate, chunk):
    """Calls the operation at `address`, or another kernel of three arguments that was compiled for these types."""

    def codegen(context, builder, signature, values):
        _emit_call(context, builder, values[0], signature.args[1:], values[1:])
        return context.get_dummy_value()

    return types.void(types.int64, row, rate, chunk), codegen


@intrinsic
def matmul(typing_context, row, A, a0, lda, P, p0, K, N, C, c0, ldc, M):
    """`microkernels.matmul`."""
    return _calling(MATMUL, row, A, a0, lda, P, p0, K, N, C, c0, ldc, M)


@intrinsic
def matmul_tn(typing_context, row, A, a0, lda, B, b0, ldb, C, c0, ldc, M, N, K):
    """`microkernels.matmul_tn`."""
    return _calling(MATMUL_TN, row, A, a0, lda, B, b0, ldb, C, c0, ldc, M, N, K)


@intrinsic
def column_sums(typing_context, row, B, b0, ldb, C, c0, N, K):
    """`microkernels.column_sums`."""
    return _calling(COLUMN_SUMS, row, B, b0, ldb, C, c0, N, K)


@intrinsic
def pack_matrix(typing_context, row, W, w0, row_stride, col_stride, K, N, P, p0):
    """`microkernels.pack`."""
    return _calling(PACK, row, W, w0, row_stride, col_stride, K, N, P, p0)


@intrinsic
def cell_forward(typing_context, row, mem, places, samples, H):
    """One step of the row's cell for some samples; places in `pointwise`."""
    return _calling(CELL_FORWARD, row, mem, places, samples, H)


@intrinsic
def cell_backward(typing_context, row, mem, places, samples, H):
    """The same backward."""
    return _calling(CELL_BACKWARD, row, mem, places, samples, H)


# ------------------------------------------------------------------------------------------------------------ references


def _without_owner(context, builder, kind, value):
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo = ir.Constant(array.meminfo.type, None)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        members = cgutils.unpack_tuple(builder, value)
        members = [_without_owner(context, builder, *member) for member in zip(kind.types, members, strict=True)]
        return context.make_tuple(builder, kind, members)
    return value


@intrinsic
def borrowed(typing_context, arrays):
    """The same array, or tuple of arrays, without its owner.

    Numba counts references by atomic operations, one for each view.  Where threads share the arrays, their counters wander from
    core to core: dearer than a small operation.  The caller of the compiled code keeps the arrays alive.
    """

    def codegen(context, builder, signature, values):
        return _without_owner(context, builder, signature.args[0], values[0])

    return arrays(arrays), codegen
