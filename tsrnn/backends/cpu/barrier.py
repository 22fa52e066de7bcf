"""Threads that meet inside compiled code, over a few words of shared memory (`contract`, Meeting).

Waiting is polling: barriers of a training step are microseconds apart, and waking a parked thread costs fifty of them.  After
some polls the waiting thread offers its core to others at every turn (`sched_yield`), so that more threads than cores get on:
the one that is waited for may be the one without a core.
"""

from __future__ import annotations

import os

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tsrnn.backends import contract as c
from tsrnn.backends.cpu.denormals import IS_X86
from tsrnn.backends.cpu.jit import jit

PATIENT_POLLS = 50  # a microsecond or two of `pause`: what a thread takes to arrive that has a core and equal work

_WORD = types.Array(types.int64, 1, "C")


def _pointer(context, builder, signature, values):
    """Where the word ``values[1]`` of the array ``values[0]`` lies."""
    array = context.make_array(signature.args[0])(context, builder, values[0])
    return builder.gep(array.data, [values[1]])


@intrinsic
def load(typing_context, memory, word):
    """``memory[word]``; what its writer stored before is seen after."""

    def codegen(context, builder, signature, values):
        return builder.load_atomic(_pointer(context, builder, signature, values), "acquire", 8)

    return types.int64(_WORD, types.int64), codegen


@intrinsic
def store(typing_context, memory, word, value):
    """``memory[word] = value``, after everything stored before."""

    def codegen(context, builder, signature, values):
        builder.store_atomic(values[2], _pointer(context, builder, signature, values), "release", 8)
        return context.get_dummy_value()

    return types.void(_WORD, types.int64, types.int64), codegen


@intrinsic
def add(typing_context, memory, word, value):
    """``memory[word] += value`` in one go; returns what was there before."""

    def codegen(context, builder, signature, values):
        return builder.atomic_rmw("add", _pointer(context, builder, signature, values), values[2], "acq_rel")

    return types.int64(_WORD, types.int64, types.int64), codegen


def _external(name, result, use):
    """An intrinsic that calls the external function `name()` where `use` holds and is nothing elsewhere."""

    def define(typing_context):
        def codegen(context, builder, signature, values):
            if use:
                function = builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(result, []), name)
                builder.call(function, [])
            return context.get_dummy_value()

        return types.void(), codegen

    return define


pause = intrinsic(_external("llvm.x86.sse2.pause", ir.VoidType(), IS_X86))
let_others_run = intrinsic(_external("sched_yield", ir.IntType(32), os.name == "posix"))


@jit
def draw(meeting):
    """The next number that nobody has drawn since the last barrier, from 0."""
    return add(meeting, c.DRAWN, 1)


@jit
def meet(meeting):
    """Wait until all threads have come here; whether they have, else (ABORTED) the caller shall leave at once."""
    generation = load(meeting, c.GENERATION)
    if add(meeting, c.ARRIVED, 1) == meeting[c.N_THREADS] - 1:
        store(meeting, c.ARRIVED, 0)
        store(meeting, c.DRAWN, 0)
        store(meeting, c.GENERATION, generation + 1)
        return True
    polls = 0
    while load(meeting, c.GENERATION) == generation:
        if load(meeting, c.ABORTED) != 0:
            # a thread that has gone on, and then returned to be interrupted, may have said so: then all have been here
            return load(meeting, c.GENERATION) != generation
        if polls < PATIENT_POLLS:
            polls += 1
            pause()
        else:
            let_others_run()
    return True
