"""The FMA peak of the machine: a loop of independent vector multiply-adds that touches registers only."""

from __future__ import annotations

import threading
import time

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tsrnn.backends.cpu.jit import target_features

_FEATURES = frozenset(target_features().split(","))
VECTOR_BYTES = 64 if "+avx512f" in _FEATURES else 32 if "+avx" in _FEATURES else 16
# latency of 4 or 5 cycles times two or four units: 12 chains hide it with 16 registers, 24 with 32
CHAINS = 24 if "+avx512f" in _FEATURES or "+neon" in _FEATURES else 12
SECONDS = 0.02  # of a loop: many times what starting the threads takes


@intrinsic
def _multiply_add_loop(typing_context, count, x):
    """`CHAINS` chains ``c = fma(x, x, c)``, `count` steps of each (count > 0); returns the sum of all lanes' first elements."""
    element = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}[x]
    lanes = VECTOR_BYTES * 8 // x.bitwidth
    vector, i32, i64 = ir.VectorType(element, lanes), ir.IntType(32), ir.IntType(64)

    def codegen(context, builder, signature, arguments):
        count, x = arguments
        undefined = ir.Constant(vector, ir.Undefined)
        splat = builder.shuffle_vector(builder.insert_element(undefined, x, i32(0)), undefined,
                                       ir.Constant(ir.VectorType(i32, lanes), None))
        name, types3 = f"llvm.fma.v{lanes}f{signature.args[1].bitwidth}", [vector] * 3
        fma = builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(vector, types3), name)
        before, loop, done = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        k, chains = builder.phi(i64), [builder.phi(vector) for _ in range(CHAINS)]
        after = [builder.call(fma, [splat, splat, chain]) for chain in chains]
        following = builder.add(k, i64(1))
        k.add_incoming(i64(0), before)
        k.add_incoming(following, loop)
        for n, (chain, later) in enumerate(zip(chains, after)):
            chain.add_incoming(ir.Constant(vector, [float(n)] * lanes), before)  # equal chains would become one
            chain.add_incoming(later, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
        builder.position_at_end(done)
        total = builder.extract_element(after[0], i32(0))
        for value in after[1:]:
            total = builder.fadd(total, builder.extract_element(value, i32(0)))
        return total

    return x(types.int64, x), codegen


@numba.njit(nogil=True)
def _loop(count, x):
    return _multiply_add_loop(count, x)


def fma_peak(dtype: str, threads: int, turns: int = 32) -> float:
    """GFLOP/s of all threads at once, the best of some turns.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    threads : int
    turns : int
        Of about 20 ms each.  Other work on the machine makes the peak look lower, and our share of it higher: so they are many.
    """
    x = np.dtype(dtype).type(1e-3)
    _loop(1, x)
    count = 100_000
    while (seconds := _seconds(count, x, 1)) < SECONDS / 2:
        count *= 2
    count = max(1, int(count * SECONDS / seconds))
    flop = 2 * CHAINS * VECTOR_BYTES // x.itemsize * count * threads
    return 1e-9 * flop / min(_seconds(count, x, threads) for _ in range(turns))


def _seconds(count: int, x: np.floating, threads: int) -> float:
    """From the moment at which all threads are there to the end of the last one."""
    starts, ends, gate = [0.0] * threads, [0.0] * threads, threading.Barrier(threads)

    def work(number: int) -> None:
        gate.wait()
        starts[number] = time.perf_counter()
        _loop(count, x)
        ends[number] = time.perf_counter()

    team = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    return max(ends) - min(starts)


def product_peak(dtype: str, threads: int) -> float:
    """GFLOP/s of the kernels' matrix product, all threads at once, operands in the cache."""
    from tsrnn.backends.cpu import microkernels
    from tsrnn.parallel import Team

    M, K, N, repeats = 256, 128, 512, 20

    def multiply(A, P, C):
        for _ in range(repeats):
            microkernels.matmul(A, 0, K, P, 0, K, N, C, 0, N, M)

    operands = [tuple(np.zeros(size, dtype) for size in (M * K, K * N, M * N)) for _ in range(threads)]
    seconds = []
    with Team(threads) as team:
        for _ in range(10):
            started = time.perf_counter()
            team.run(multiply, operands)
            seconds.append(time.perf_counter() - started)
    return 2e-9 * M * K * N * repeats * threads / min(seconds)
