"""Readers of the real data sets that benchmarks and tests use in place; none of them is part of the project."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import numpy as np


def data_folder() -> Path:
    """The folder that TSRNN_DATA names, else ``../shared/data`` beside the project.

    Raises
    ------
    FileNotFoundError
        Where there is no such folder.
    """
    folder = Path(os.environ.get("TSRNN_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder} with real data; set TSRNN_DATA to one")
    return folder


def mnist() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """X (60000, 28, 28) float32 in [0, 1], y (60000,) int64, and the test part (10000); a step is a row of the image."""
    folder = data_folder() / "mnist"
    parts = []
    for part in ("train", "t10k"):
        images, labels = (next(iter(sorted(folder.glob(f"{part}-{kind}-*.gz")))) for kind in ("images", "labels"))
        parts += [_idx(images).astype(np.float32) / np.float32(255), _idx(labels).astype(np.int64)]
    return tuple(parts)


def _idx(path: Path) -> np.ndarray:
    """An array of bytes in the idx format: two zeros, type 8, rank, sizes as big-endian int32, values."""
    content = gzip.decompress(path.read_bytes())
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"{path.name} is not an idx file of bytes")
    rank = content[3]
    shape = np.frombuffer(content, ">i4", rank, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def ucr(name: str) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray], np.ndarray]:
    """Sequences (T_i, C) float64, labels, and those of the test part, of a data set of the UCR / UEA archive."""
    folder = data_folder() / "ucr" / name
    return *_ts(folder / f"{name}_TRAIN.ts.gz"), *_ts(folder / f"{name}_TEST.ts.gz")


def _ts(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """The `.ts` format: a sample a line, channels between colons, the label last."""
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    samples = [line.split(":") for line in lines[lines.index("@data") + 1:] if line.strip()]
    X = [np.array([channel.split(",") for channel in sample[:-1]], dtype=float).T for sample in samples]
    return X, np.array([sample[-1].strip() for sample in samples])


def airline() -> np.ndarray:
    """Airline passengers, 144 months from January 1949 on (Box & Jenkins 1976), float64."""
    with (data_folder() / "classics" / "airline-passengers.csv").open(newline="") as file:
        return np.array([float(row["Passengers"]) for row in csv.DictReader(file)])


def mackey_glass() -> np.ndarray:
    """Mackey-Glass series with delay 17 (Mackey & Glass 1977), 10,000 steps, float64."""
    return np.loadtxt(data_folder() / "classics" / "MackeyGlass_t17.txt.gz")
