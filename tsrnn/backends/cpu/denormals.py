"""Denormal numbers as zero while a kernel runs.

Gradients that vanish over many steps end as denormal numbers, and x86 processors take a hundred times longer for each of
them: a GRU's backward pass over 200 steps took ten times its time.  The processor's control register belongs to the
thread, so a kernel sets it on entry and puts the caller's back on exit.  Elsewhere than on x86 nothing is done.
"""

from __future__ import annotations

import platform

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
FLUSH_TO_ZERO, DENORMALS_ARE_ZERO = 0x8000, 0x0040

_I32 = ir.IntType(32)


def _call(builder, name, pointer):
    byte_pointer = ir.IntType(8).as_pointer()
    type_ = ir.FunctionType(ir.VoidType(), [byte_pointer])
    function = builder.module.globals.get(name) or ir.Function(builder.module, type_, name)
    builder.call(function, [builder.bitcast(pointer, byte_pointer)])


@intrinsic
def flush_denormals(typing_context):
    """Switches denormals off; returns the control register as it was, for `restore_denormals`."""

    def codegen(context, builder, signature, arguments):
        if not IS_X86:
            return _I32(0)
        place = builder.alloca(_I32)
        _call(builder, "llvm.x86.sse.stmxcsr", place)
        before = builder.load(place)
        builder.store(builder.or_(before, _I32(FLUSH_TO_ZERO | DENORMALS_ARE_ZERO)), place)
        _call(builder, "llvm.x86.sse.ldmxcsr", place)
        return before

    return types.uint32(), codegen


@intrinsic
def restore_denormals(typing_context, before):
    """Puts the control register back."""

    def codegen(context, builder, signature, arguments):
        if IS_X86:
            place = builder.alloca(_I32)
            builder.store(arguments[0], place)
            _call(builder, "llvm.x86.sse.ldmxcsr", place)
        return context.get_dummy_value()

    return types.void(types.uint32), codegen
