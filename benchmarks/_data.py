"""Readers of the real data sets that benchmarks and tests use in place; none of them is part of the project."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd


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


def etth1() -> pd.DataFrame:
    """Electricity transformer temperature (Zhou et al. 2021), 17,420 hours, seven columns, dates as index."""
    return pd.read_csv(data_folder() / "ett" / "ETTh1.csv.gz", index_col="date", parse_dates=True)


def exchange_rate() -> pd.DataFrame:
    """Exchange rates of eight currencies (Lai et al. 2018), 7,588 days, numbered: the file's dates are made up."""
    return pd.read_csv(data_folder() / "exchange_rate" / "exchange_rate_ltsf.csv.gz").drop(columns="date")


def shanghai() -> pd.DataFrame:
    """Shanghai Composite (Lu et al. 2020), 7,127 sessions from July 1991 to August 2020, eight columns, dates as index."""
    frame = pd.read_csv(data_folder() / "stocks" / "sse_composite_1991_2020.csv.gz", index_col="date", parse_dates=True)
    return frame.set_axis(["open", "high", "low", "close", "volume", "turnover", "ups and downs", "change"], axis=1)


def stocks() -> pd.DataFrame:
    """Share prices of 505 companies, February 2013 to February 2018, long: date, open, high, low, close, volume, name."""
    frame = pd.read_csv(data_folder() / "stocks" / "all_stocks_5yr.csv.gz", parse_dates=["date"])
    return frame.rename(columns=str.lower)
