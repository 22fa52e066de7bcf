"""The card's memory, simulated: what is put there comes back, samples of one form share a place, no array is empty."""

import cudasim

cudasim.install()

from types import SimpleNamespace  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402

from tsrnn.backends import contract as c  # noqa: E402
from tsrnn.backends.cuda import jit  # noqa: E402
from tsrnn.backends.cuda.place import CARD  # noqa: E402


def samples(n, first=0.0):
    """Of n steps each; the ids are empty."""
    starts = np.arange(3) * n
    return c.Data(np.arange(3.0 * n) + first, np.zeros(0, np.int32), starts, np.full(3, n), np.ones(3), np.arange(3),
                  np.ones((3, 1)), np.ones(3))


def back(there, like):
    out = np.zeros_like(like)
    CARD.get(there, out)
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint8])
def test_arrays_come_and_go(dtype):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    there = CARD.put(array)
    np.testing.assert_array_equal(back(there, array), array)
    assert CARD.put(array[::-1], there) is there
    np.testing.assert_array_equal(back(there, array), array[::-1])
    zeros = CARD.zeros((3, 4), dtype)
    np.testing.assert_array_equal(back(zeros, array), 0 * array)
    assert CARD.zeros((0, 4), dtype).shape == (1, 4) and CARD.empty(0, dtype).size == 1


def test_samples_of_one_form_share_a_place():
    first, other = samples(5), samples(5, first=100.0)
    there = CARD.put_data(first)
    assert CARD.fits(there, other) and not CARD.fits(there, samples(6))
    assert not CARD.fits(there, first._replace(values=first.values.astype(np.float32)))
    again = CARD.put_data(other, there)
    assert all(one is two for one, two in zip(again, there))
    for array, one in zip(other, there):
        np.testing.assert_array_equal(back(one, array), array)


def test_what_was_recorded_with_samples_goes_with_them():
    scratch, old, new = CARD.scratch(8, 0, 0, np.float64), CARD.put_data(samples(5)), CARD.put_data(samples(6))
    out = CARD.empty((3, 2), np.float64)
    recordings = {name: SimpleNamespace(mode=mode, out=out) for name, mode in (("old", c.PREDICT), ("new", c.PREDICT))}
    scratch.recordings = {(3, c.PREDICT, *map(id, old)): recordings["old"], (3, c.PREDICT, *map(id, new)): recordings["new"]}
    scratch.workspaces.append(CARD.empty(32, np.uint8))
    assert CARD.beside([scratch], [old, new]) == sum(a.nbytes for a in (*old, *new)) + 2 * out.nbytes + 32
    CARD.forget([scratch], old)
    assert list(scratch.recordings.values()) == [recordings["new"]]


def test_no_room(monkeypatch):
    def full(*_):
        raise RuntimeError("[CUresult.CUDA_ERROR_OUT_OF_MEMORY] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")

    monkeypatch.setattr(jit.cuda, "device_array", full)
    with pytest.raises(MemoryError, match=r"The GPU has no room for 8,000,000 bytes more .* take a smaller batch_size"):
        CARD.zeros(1_000_000, np.float64)
