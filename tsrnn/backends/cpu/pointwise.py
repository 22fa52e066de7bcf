"""A cell's equations on vectors: one pass over the units of each sample, everything between loads and stores in registers.

What a cell reads and writes of a sample lies at up to eight places, offsets in the memory of a chunk:

=========  =============================================================================================
forward    gates (out), their sums, h before and now, c before and now, the next step's gates
backward   gates, gradients of their sums (out), h before, c before and now, dh, dc, the gates that come next
=========  =============================================================================================
"""

from __future__ import annotations

import inspect

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tsrnn.backends.cpu.activations import Number
from tsrnn.backends.cpu.vectors import I64, Vectors, float_array


class Units:
    """A vector of units of a sample: what the equations load, and where they store.

    Places are offsets in `mem`; at each lie one or more numbers a unit, each kind of them (a gate) for all units in turn.
    """

    def __init__(self, vectors, base, size, first, mask):
        self._vectors, self._builder, self._mask = vectors, vectors.builder, mask
        self._base, self._size, self._first = base, size, first

    def load(self, place, gate=0):
        """Number `gate` of these units at `place`."""
        return Number(self._builder, self._vectors.load(self._at(place, gate), self._mask))

    def store(self, number, place, gate=0):
        """Put it there."""
        self._vectors.store(number.value, self._at(place, gate), self._mask)

    def clear(self, place, gate=0):
        """Put 0 there."""
        self._vectors.store(ir.Constant(self._vectors.type, None), self._at(place, gate), self._mask)

    def prefetch(self, place, gate=0, write=False):
        """Ask for what lies there: it will be read, or written, soon."""
        self._vectors.prefetch(self._at(place, gate), write)

    def _at(self, place, gate):
        builder = self._builder
        offset = builder.add(builder.add(place, self._first), builder.mul(self._size, I64(gate)))
        return self._vectors.at(self._base, offset)


PLACES = 8


def pointwise(*passes):
    """Make the kernel of one or more functions ``equations(units, *places)``, which get a `Units` for each vector, and as many
    of the places as they name.

    Each takes all units of a sample before the next one does.  The kernel's arguments are the memory, the places of all
    samples, the number of samples, and that of units.  Units left over at the end are masked: they get what a whole vector's
    get, to the last bit.
    """

    def typed(typing_context, mem, places, samples, size):
        dtype = float_array(mem)

        def codegen(context, builder, signature, arguments):
            vectors = Vectors(context, builder, dtype)
            base, table = (vectors.pointer(signature.args[k], arguments[k], I64(0)) for k in range(2))
            samples, size = arguments[2:]
            whole, rest = builder.sdiv(size, I64(vectors.lanes)), builder.srem(size, I64(vectors.lanes))
            mask = vectors.mask(rest)
            with cgutils.for_range(builder, samples, intp=I64) as sample:
                first = builder.mul(sample.index, I64(PLACES))
                own = [builder.load(builder.gep(table, [builder.add(first, I64(k))])) for k in range(PLACES)]
                for equations in passes:
                    named = own[:len(inspect.signature(equations).parameters) - 1]
                    with cgutils.for_range(builder, whole, intp=I64) as loop:
                        equations(Units(vectors, base, size, builder.mul(loop.index, I64(vectors.lanes)), None), *named)
                    with builder.if_then(builder.icmp_signed(">", rest, I64(0)), likely=False):
                        equations(Units(vectors, base, size, builder.sub(size, rest), mask), *named)
            return context.get_dummy_value()

        return types.void(mem, places, types.int64, types.int64), codegen

    typed.__name__, typed.__doc__ = passes[0].__name__, passes[0].__doc__
    return intrinsic(typed)
