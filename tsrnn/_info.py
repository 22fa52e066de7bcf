"""What a report of a problem needs to say about the machine: versions, processor, threads, GPU, kernel cache."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = ("numba", "llvmlite", "numpy", "scipy", "pandas", "scikit-learn", "joblib", "yfinance", "matplotlib", "numba-cuda")


def show_versions(gpu=False):
    """Print the versions of tsrnn and what it stands on, the processor, threads and kernel cache.

    Parameters
    ----------
    gpu : bool, default=False
        Also look for an NVIDIA GPU, which starts the CUDA driver.
    """
    for title, rows in collect_info(gpu=gpu).items():
        print(f"\n{title}")
        width = max(map(len, rows))
        for name, value in rows.items():
            print(f"  {name:<{width}}  {value}")


def collect_info(gpu=False) -> dict[str, dict[str, str]]:
    """What `show_versions` prints: section -> name -> text."""
    info = {"Versions": _versions(), "Processor": _processor(), "Kernel cache": _kernel_cache()}
    if gpu:
        info["GPU"] = _gpu()
    return info


def _versions():
    import tsrnn

    rows = {"tsrnn": tsrnn.__version__, "Python": platform.python_version(), "platform": platform.platform()}
    for library in _LIBRARIES:
        try:
            rows[library] = version(library)
        except PackageNotFoundError:
            rows[library] = "not installed"
    return rows


def _processor():
    # no optional import here: a broken Numba must not keep the rest from being shown
    rows = {"name": _processor_name(), "cores": f"{os.cpu_count()}, of which this process may use {_usable_cores()}"}
    try:
        from tsrnn.backends.cpu.jit import target_features

        rows["vector width"] = f"{vector_bits(target_features(), platform.machine())} bits"
        from tsrnn.parallel import effective_n_jobs

        rows["threads"] = f"{effective_n_jobs(None)} with n_jobs=None"
    except ImportError as error:
        rows["kernels"] = f"not usable ({error})"
    return rows


def _usable_cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def vector_bits(features: str, machine: str) -> int:
    """Width of a vector register, from LLVM's list of features (``"+avx2,-avx512f"``) and the machine's name."""
    features_on = {name[1:] for name in features.split(",") if name.startswith("+")}
    if "avx512f" in features_on:
        return 512
    if "avx" in features_on:
        return 256
    if {"sse2", "neon", "asimd"} & features_on or machine.lower() in ("x86_64", "amd64", "aarch64", "arm64"):
        return 128
    return 64


def _processor_name():
    try:
        if sys.platform == "linux":
            with open("/proc/cpuinfo", encoding="utf-8") as file:
                names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
            if names:
                return names[0]
        if sys.platform == "darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return platform.processor() or platform.machine()


def _kernel_cache():
    try:
        from tsrnn.backends.cpu.jit import cache_status

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of is printed here
            status = cache_status()
    except ImportError as error:
        return {"folder": f"unknown ({error})"}
    if status.path is None:
        return {"folder": "none: no place is writable; set TSRNN_CACHE_DIR to a folder that can be written"}
    kernels = f"{status.entries} ({status.bytes / 2**20:.1f} MiB)" if status.entries else "none yet; tsrnn warmup compiles them"
    return {"folder": f"{status.path}{'' if status.writable else ' (read-only)'}", "kernels": kernels}


def _gpu():
    try:
        from tsrnn.device import why_not

        if why_not():
            return {"CUDA": f"not usable: {why_not()}"}
        from numba import config, cuda

        if config.ENABLE_CUDASIM:
            return {"CUDA": "simulated, because NUMBA_ENABLE_CUDASIM is set"}
        device = cuda.get_current_device()
        name = device.name.decode() if isinstance(device.name, bytes) else device.name
        free, total = cuda.current_context().get_memory_info()
        return {"CUDA": name, "compute capability": ".".join(map(str, device.compute_capability)),
                "memory": f"{total / 2**30:.1f} GiB, of which {free / 2**30:.1f} are free"}
    except Exception as error:  # drivers fail in many ways; none of them is a reason not to print the rest
        return {"CUDA": f"not usable ({type(error).__name__}: {error})"}
