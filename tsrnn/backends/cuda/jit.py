"""The one place that imports `numba.cuda`: kernels by the numbers they are made for, and whether there is a card at all.

`numba.cuda` comes with the package numba-cuda.  Its successor numba-cuda-mlir has the same interface; then this file changes.
"""

from __future__ import annotations

import functools

import numba
import numpy as np

try:
    from numba import cuda
except ImportError:  # a Numba that left its CUDA target to packages of their own
    cuda = None

SIMULATED = bool(numba.config.ENABLE_CUDASIM)
# Threads of a block where each works for itself, rows and columns of a block's tile of a product, and so on: real blocks fill a
# multiprocessor, simulated ones are small because a thread is simulated by thousands of Python steps.
THREADS = 4 if SIMULATED else 256
# Indices in hot loops: Numba looks whether a signed one is negative, and that costs about as much as the access.
index = np.uint64
REMEDY = 'use device="cpu", or device="auto" for whichever is there'


class NoGPUError(RuntimeError):
    """`device="cuda"` on a machine where it cannot work."""


@functools.cache
def why_not() -> str:
    """Why nothing can run on a card here, with the remedy; empty where it can."""
    if SIMULATED:
        return ""
    try:
        import numba_cuda  # noqa: F401
    except ImportError:
        return f'the package numba-cuda is missing; pip install "tsrnn[gpu]" (CUDA 13) or "tsrnn[gpu-cu12]", or {REMEDY}'
    try:
        if cuda.is_available():
            return ""
        reason = getattr(cuda, "cuda_error", lambda: None)() or "no NVIDIA driver or no NVIDIA GPU was found"
    except Exception as error:  # whatever a half-installed driver comes up with
        reason = f"the NVIDIA driver does not work ({error})"
    return f"{reason}; install the driver (nvidia-smi shows whether it works), or {REMEDY}"


def family(make):
    """Turns ``make(*numbers) -> kernel function`` into a table of kernels, each compiled where it is launched first.

    Element types and sizes are constants of a kernel: so it unrolls what has to lie in registers, and no literal promotes
    float32 to float64.  `make` may return options of the real compiler as well: ``(function, {"launch_bounds": threads})``.
    """
    @functools.cache
    def member(*numbers):
        made = make(*numbers)
        function, options = made if isinstance(made, tuple) else (made, {})
        return cuda.jit(function) if SIMULATED else cuda.jit(**options)(function)

    return functools.update_wrapper(member, make)


def device(make):
    """The same for functions that kernels call; they are inlined."""
    @functools.cache
    def member(*numbers):
        return cuda.jit(make(*numbers), device=True, inline="always")

    return functools.update_wrapper(member, make)


def unrolled(n: int, make):
    """A device function that does make(0), ..., make(n - 1) with its argument, a tuple: a loop unrolled for certain.

    What a loop does to registers must not depend on what a compiler thinks of its length.
    """
    if n == 1:
        return make(0)
    half = n // 2
    first, rest = unrolled(half, make), unrolled(n - half, lambda i: make(half + i))

    def function(args):
        first(args)
        rest(args)
    return cuda.jit(function, device=True, inline="always")


def allow_shared(kernel, args, nbytes: int) -> None:
    """Lets a kernel take more dynamic shared memory than the 48 KiB that a launch has without asking."""
    if nbytes <= 48 << 10 or SIMULATED:
        return
    from cuda.bindings import driver
    from numba.cuda.cudadrv.driver import driver as checked

    compiled = kernel.compile(tuple(map(kernel.typeof_pyval, args)))
    function = compiled._codelibrary.get_cufunc()
    attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    checked.cuKernelSetAttribute(attribute, nbytes, function.handle, function.device.id)


def number_type(array):
    """float32 or float64 as NumPy has it, the key of most families."""
    return np.dtype(array.dtype).type
