"""The one place that imports `numba.cuda`: kernels by the numbers they are made for, and whether there is a card at all.

`numba.cuda` comes with the package numba-cuda.  Its successor numba-cuda-mlir has the same interface; then this file changes.
"""

from __future__ import annotations

import functools

import numba
import numpy as np

from tsrnn.backends.cuda.cache import keep

try:
    from numba import cuda
    broken = None
except Exception as error:  # a Numba that left its CUDA target to packages of their own, or one too new for numba-cuda
    cuda, broken = None, error

SIMULATED = bool(numba.config.ENABLE_CUDASIM)
# Threads of a block where each works for itself, rows and columns of a block's tile of a product, and so on: real blocks fill a
# multiprocessor, simulated ones are small because a thread is simulated by thousands of Python steps.
THREADS = 4 if SIMULATED else 256
families: list[str] = []  # names of all families of kernels of the modules imported so far: module and function
# Indices in hot loops: Numba looks whether a signed one is negative, and that costs about as much as the access.
index = np.uint64
REMEDY = 'use device="cpu", or device="auto" for whichever is there'


@functools.cache
def why_not() -> str:
    """Why nothing can run on a card here, with the remedy; empty where it can."""
    if SIMULATED:
        return ""
    try:
        import numba_cuda  # noqa: F401
    except ImportError:
        return f'the package numba-cuda is missing; pip install "tsrnn[gpu]" (CUDA 13) or "tsrnn[gpu-cu12]", or {REMEDY}'
    if cuda is None:
        return (f"numba-cuda does not work with the other packages that are installed ({broken!r}); pip install --upgrade "
                f"numba-cuda cuda-core cuda-bindings, or {REMEDY}")
    try:
        if cuda.is_available():
            return ""
        reason = getattr(cuda, "cuda_error", lambda: None)() or "no NVIDIA driver or no NVIDIA GPU was found"
    except Exception as error:  # whatever a half-installed driver comes up with
        reason = f"the NVIDIA driver does not work ({error})"
    reason = " ".join(str(reason).split()).rstrip(".")
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
        return cuda.jit(function) if SIMULATED else keep(cuda.jit(**options)(function), make, numbers)

    families.append(f"{make.__module__}.{make.__qualname__}")
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


def large_device(make):
    """The same for large functions: NVVM puts them in place, as Numba would take minutes."""
    options = {} if SIMULATED else {"forceinline": True}

    @functools.cache
    def member(*numbers):
        return cuda.jit(make(*numbers), device=True, **options)

    return functools.update_wrapper(member, make)


def compiler_lock():
    """Numba's own: nobody compiles or loads a kernel while one holds it."""
    from numba.cuda.core.compiler_lock import global_compiler_lock

    return global_compiler_lock


def configured(kernel, grid, block, stream=0, shared=0):
    """``kernel[grid, block, stream, shared]`` without Numba's warning of few blocks: batches may be small."""
    if SIMULATED:
        return kernel[grid, block, stream, shared]
    from numba.cuda.core import config

    with compiler_lock():
        before = config.CUDA_LOW_OCCUPANCY_WARNINGS
        config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
        try:
            return kernel[grid, block, stream, shared]
        finally:
            config.CUDA_LOW_OCCUPANCY_WARNINGS = before


def allow_shared(kernel, args, nbytes: int) -> None:
    """Lets a kernel take more dynamic shared memory than the 48 KiB that a launch has without asking.

    Neither numba nor cuda.core asks, and the launch would fail.  It is allowed all that the card has: another launch of the
    same kernel may want more.
    """
    if nbytes <= 48 << 10 or SIMULATED:
        return
    from cuda.bindings import driver
    from numba.cuda.cudadrv.driver import driver as checked

    compiled, card = kernel.compile(tuple(map(kernel.typeof_pyval, args))), cuda.get_current_device()
    function = compiled.library.get_cufunc()
    attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    most = card.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN - function.attrs.shared
    checked.cuKernelSetAttribute(attribute, most, function.handle, card.id)


def most_shared() -> int:
    """Bytes of shared memory that a block can have: 227 KiB on an H100, 163 on an A100, 99 on cards for desktops."""
    return 1 << 30 if SIMULATED else cuda.get_current_device().MAX_SHARED_MEMORY_PER_BLOCK_OPTIN


def number_type(array):
    """float32 or float64 as NumPy has it, the key of most families."""
    return np.dtype(array.dtype).type
