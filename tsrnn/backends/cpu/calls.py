"""Kernels called by address: compiled once, where Numba would compile what a kernel calls into each of its callers again.

The products are most of a kernel's machine code, so their addresses stand in the rows of a plan (`contract.PRODUCTS`), and
the functions here stand for them: `matmul(row, ...)` is `microkernels.matmul(...)`.
"""

from __future__ import annotations

from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from tsrnn.backends import contract as c
from tsrnn.backends.cpu import microkernels
from tsrnn.backends.cpu.jit import jit

MATMUL, MATMUL_TN, COLUMN_SUMS, PACK = range(c.PRODUCTS, c.N_COLUMNS)
# "A": an array of floats, "i": an integer
_FORMS = {
    MATMUL: (microkernels.matmul, "AiiAiiiAiii"), MATMUL_TN: (microkernels.matmul_tn, "AiiAiiAiiiii"),
    COLUMN_SUMS: (microkernels.column_sums, "AiiAiii"), PACK: (microkernels.pack, "AiiiiiAi"),
}


def address(kernel, signature):
    """Where the machine code of `kernel` for these argument types begins; compiled, or read from disk, if need be."""
    kernel.compile(signature)
    compiled = kernel.overloads[signature]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


def fill_in_products(rows, floats):
    """Write the products' addresses for an array type into the rows that have parameters."""
    for column, (kernel, form) in _FORMS.items():
        signature = tuple(floats if kind == "A" else types.int64 for kind in form)
        needed = [n for n, row in enumerate(rows) if row[c.OP] in (c.RECURRENT, c.DENSE, c.CONV)]
        if needed:
            rows[needed, column] = address(kernel, signature)


def _calling(arguments):
    """Signature and code of a call by address with the arguments in a tuple."""

    def codegen(context, builder, signature, values):
        argument_types = signature.args[1].types
        function_type = context.call_conv.get_function_type(types.none, argument_types)
        kernel = builder.inttoptr(values[0], function_type.as_pointer())
        unpacked = cgutils.unpack_tuple(builder, values[1])
        context.call_conv.call_function(builder, kernel, types.none, argument_types, unpacked)
        return context.get_dummy_value()

    return types.void(types.int64, arguments), codegen


@intrinsic
def call(typing_context, address, arguments):
    """Calls the kernel at `address`, which was compiled for the types in the tuple `arguments` and returns nothing."""
    return _calling(arguments)


@intrinsic
def _call_product(typing_context, address, arguments):
    """The same with arguments that must be one kind of array, and integers of 64 bits: others would be misread."""
    arrays = {argument for argument in arguments.types if isinstance(argument, types.Array)}
    if len(arrays) != 1 or any(not isinstance(a, types.Array) and a != types.int64 for a in arguments.types):
        raise TypingError(f"a product takes one type of array and int64, got {arguments.types}")
    return _calling(arguments)


@jit(inline="always")
def matmul(row, A, a0, lda, P, p0, K, N, C, c0, ldc, M):
    """`microkernels.matmul`."""
    _call_product(row[MATMUL], (A, a0, lda, P, p0, K, N, C, c0, ldc, M))


@jit(inline="always")
def matmul_tn(row, A, a0, lda, B, b0, ldb, C, c0, ldc, M, N, K):
    """`microkernels.matmul_tn`."""
    _call_product(row[MATMUL_TN], (A, a0, lda, B, b0, ldb, C, c0, ldc, M, N, K))


@jit(inline="always")
def column_sums(row, B, b0, ldb, C, c0, N, K):
    """`microkernels.column_sums`."""
    _call_product(row[COLUMN_SUMS], (B, b0, ldb, C, c0, N, K))


@jit(inline="always")
def pack_matrix(row, W, w0, row_stride, col_stride, K, N, P, p0):
    """`microkernels.pack`."""
    _call_product(row[PACK], (W, w0, row_stride, col_stride, K, N, P, p0))
