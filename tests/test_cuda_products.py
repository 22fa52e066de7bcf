"""Products of matrices, dense layers and convolutions of the CUDA backend, against NumPy."""

from __future__ import annotations

import cudasim
import numpy as np
import pytest
from cuda_rows import compare, make_row

from tsrnn.backends import contract as c
from tsrnn.backends.cuda import executor, products, tiles
from tsrnn.backends.cuda.graph import Replay
from tsrnn.backends.cuda.place import CARD
from tsrnn.backends.cuda.products import Matrix, Taps
from tsrnn.backends.cuda.recorder import Recorder

DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-13}
ORDERS = [cudasim.FIRST_TO_LAST, cudasim.LAST_TO_FIRST]
# M, K, N around tiles of 4 x 4 and 8 x 8, sums of one part and of several
SHAPES = [(1, 1, 1), (3, 4, 5), (4, 3, 4), (5, 5, 3), (7, 1, 9), (8, 8, 8), (9, 9, 7), (2, 13, 1), (1, 6, 17), (21, 2, 5)]


class Case:
    """Random matrices on the card, and a recorder to launch on."""

    def __init__(self, M, K, N, dtype, n_taps=1, rows_in=None, seed=0):
        self.rng, self.dtype = np.random.default_rng(seed), dtype
        self.X, self.DY = self.random(rows_in or M, K), self.random(M, N)
        self.W, self.biases = self.random(n_taps, K, N), self.random(2, N)
        recorder = self.recorder = Recorder.__new__(Recorder)
        recorder.dtype, recorder.launches, recorder._workspaces, recorder._taken = dtype, [], [], 0
        recorder.theta = CARD.put(np.concatenate([self.W.ravel(), self.biases.ravel()]))
        recorder.grads, recorder.indices = self.fresh(self.W.size + 2 * N), CARD.zeros(1, np.int32)
        self.x, self.dy, self.w = self.matrix(self.X), self.matrix(self.DY), Matrix(recorder.theta, 0, N)
        self.dw, self.offsets = Matrix(recorder.grads, 0, N), (self.W.size, self.W.size + N)

    def random(self, *shape):
        return self.rng.normal(size=shape).astype(self.dtype)

    def fresh(self, *shape):
        return CARD.put(np.full(int(np.prod(shape)), np.nan, self.dtype))

    def matrix(self, values):
        return Matrix(CARD.put(values.ravel()), 0, values.shape[1])

    def run(self, order=cudasim.FIRST_TO_LAST):
        self.recorder.replay = Replay(self.recorder.launches)
        with cudasim.checked(order):
            executor._replay(self.recorder)

    def check(self, array, expected, tolerance=None):
        found = array.copy_to_host()[:np.size(expected)].reshape(np.shape(expected))
        tolerance = tolerance or TOLERANCE[self.dtype]
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
        return found


@pytest.fixture(params=[0, 1], ids=["large tile", "small tile"])
def tile(request, monkeypatch):
    monkeypatch.setattr(products, "_choice", lambda dtype: products.TILES[request.param:request.param + 1])


@pytest.fixture
def parts(monkeypatch):
    """Sums are cut into parts of two rows."""
    monkeypatch.setattr(products, "PART", 2)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_products(shape, dtype, order, tile, parts):
    M, K, N = shape
    case = Case(M, K, N, dtype)
    y, dx = case.fresh(M, N), case.fresh(M, K)
    recorder = case.recorder
    products.nn(recorder, case.x, case.w, Matrix(y, 0, N), M, K, N, biases=case.offsets)
    products.nt(recorder, case.dy, case.w, Matrix(dx, 0, K), M, N, K)
    products.tn(recorder, case.x, case.dy, case.dw, M, K, N, biases=case.offsets)
    case.run(order)
    W = case.W[0]
    case.check(y, case.X @ W + case.biases.sum(axis=0))
    case.check(dx, case.DY @ W.T)
    sums = case.DY.sum(axis=0)
    case.check(recorder.grads, np.concatenate([(case.X.T @ case.DY).ravel(), sums, sums]))


@pytest.mark.parametrize("act", [c.LINEAR, c.TANH, c.RELU, c.SIGMOID])
@pytest.mark.parametrize("n_biases", [0, 1])
def test_activation_of_a_product(act, n_biases):
    case = Case(5, 3, 6, np.float64)
    y = case.fresh(5, 6)
    products.nn(case.recorder, case.x, case.w, Matrix(y, 0, 6), 5, 3, 6, biases=case.offsets[:n_biases], act=act)
    case.run()
    a = case.X @ case.W[0] + (case.biases[0] if n_biases else 0)
    case.check(y, [a, np.tanh(a), np.maximum(a, 0), 1 / (1 + np.exp(-a))][act])


def test_added_gradient_and_no_biases():
    case = Case(9, 5, 6, np.float64)
    before = case.random(9, 5)
    dx = case.matrix(before)
    products.nt(case.recorder, case.dy, case.w, dx, 9, 6, 5, add=True)
    products.tn(case.recorder, case.x, case.dy, case.dw, 9, 5, 6)
    case.run()
    case.check(dx.array, before + case.DY @ case.W[0].T)
    case.check(case.recorder.grads, (case.X.T @ case.DY).ravel())
    assert np.isnan(case.recorder.grads.copy_to_host()[30:]).all(), "only what was asked for is written"


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("real", [1, 4, 7, 11])
def test_rows_of_choice_and_only_the_first(real, dtype, order, tile, parts):
    M, K, N = 11, 5, 6
    case = Case(M, K, N, dtype)
    recorder, chosen = case.recorder, case.rng.integers(0, M, M)
    ints = CARD.put(np.concatenate([[-1, real, -1], chosen]).astype(np.int32))
    y, dx = case.fresh(M, N), case.fresh(M, K)
    products.nn(recorder, case.x, case.w, Matrix(y, 0, N), M, K, N, rows=(ints, 3), limit=(ints, 1))
    products.nt(recorder, case.dy, case.w, Matrix(dx, 0, K), M, N, K, limit=(ints, 1))
    products.tn(recorder, case.x, case.dy, case.dw, M, K, N, rows=(ints, 3), limit=(ints, 1), biases=case.offsets[:1])
    case.run(order)
    X, DY = case.X[chosen[:real]], case.DY[:real]
    case.check(y, X @ case.W[0])
    case.check(dx, DY @ case.W[0].T)
    case.check(recorder.grads, np.concatenate([(X.T @ DY).ravel(), DY.sum(axis=0)]))
    for rest in (y.copy_to_host()[real * N:], dx.copy_to_host()[real * K:]):
        assert np.isnan(rest).all(), "rows that do not exist are not written"


@pytest.mark.parametrize("dtype", DTYPES)
def test_split_columns_and_rows_apart(dtype, tile):
    """Columns from `split` on lie further behind, in each of the three matrices."""
    M, K, N, split, jump, ld = 6, 7, 9, 4, 3, 15
    case = Case(M, K, N, dtype)
    recorder = case.recorder
    x, dy, w, y, dx, dw = (case.random(2 + M * ld) for _ in range(6))
    x, dy, y, dx = (np.concatenate([part, case.random(2)]) for part in (x, dy, y, dx))
    w, dw = (np.concatenate([part, case.random(2 + ld)]) for part in (w, dw))

    def of(array, columns):
        rows = 2 + ld * np.arange(M if array is not w and array is not dw else K)[:, None]
        j = np.arange(columns)
        return rows + j + np.where(j >= split, jump, 0)

    put = {name: Matrix(CARD.put(array), 2, ld, split, jump)
           for name, array in {"x": x, "dy": dy, "w": w, "y": y, "dx": dx, "dw": dw}.items()}
    products.nn(recorder, put["x"], put["w"], put["y"], M, K, N)
    products.nt(recorder, put["dy"], put["w"], put["dx"], M, N, K, add=True)
    products.tn(recorder, put["x"], put["dy"], put["dw"], M, K, N)
    case.run()
    X, W, DY = x[of(x, K)], w[of(w, N)], dy[of(dy, N)]
    y[of(y, N)], dw[of(dw, N)] = X @ W, X.T @ DY
    dx[of(dx, K)] += DY @ W.T
    for name, expected in {"y": y, "dx": dx, "dw": dw}.items():
        case.check(put[name].array, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("T_in", "T_out", "width", "pad"), [(5, 5, 3, 1), (6, 3, 4, 0), (1, 1, 5, 2), (3, 3, 8, 3)])
@pytest.mark.parametrize(("rows", "K", "N"), [(1, 1, 1), (2, 3, 5), (3, 6, 2)])
def test_taps(T_in, T_out, width, pad, rows, K, N, dtype, tile, parts):
    M, M_in = T_out * rows, T_in * rows
    case = Case(M, K, N, dtype, width, M_in)
    y, dx = case.fresh(M, N), case.fresh(M_in, K)
    recorder, taps = case.recorder, Taps(width, -pad * rows, rows, M_in)
    products.nn(recorder, case.x, case.w, Matrix(y, 0, N), M, K, N, taps=taps)
    products.nt(recorder, case.dy, case.w, Matrix(dx, 0, K), M_in, N, K, taps=Taps(width, pad * rows, -rows, M))
    products.tn(recorder, case.x, case.dy, case.dw, M, K, N, taps=taps, biases=case.offsets[:1])
    case.run()
    shifted = np.zeros((width, M, M_in))  # which row of X a tap takes
    for j in range(width):
        for m in range(M):
            if 0 <= m + (j - pad) * rows < M_in:
                shifted[j, m, m + (j - pad) * rows] = 1
    case.check(y, np.einsum("jmi,ik,jkn->mn", shifted, case.X, case.W))
    case.check(dx, np.einsum("jmi,mn,jkn->ik", shifted, case.DY, case.W))
    case.check(recorder.grads, np.einsum("jmi,ik,mn->jkn", shifted, case.X, case.DY).ravel())
    case.check(recorder.grads[case.W.size:], case.DY.sum(axis=0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_of_a_row_depend_on_nothing_but_the_row(dtype, monkeypatch):
    M, K, N = 13, 11, 6
    case = Case(M, K, N, dtype)
    results = []
    for first, count, tile in ((0, M, 0), (0, M, 1), (3, 1, 1), (3, 1, 0), (2, 6, 0), (1, 9, 1)):
        monkeypatch.setattr(products, "_choice", lambda dtype, tile=tile: products.TILES[tile:tile + 1])
        y, dx = case.fresh(count, N), case.fresh(count, K)
        case.recorder.launches.clear()
        products.nn(case.recorder, case.x._replace(at=first * K), case.w, Matrix(y, 0, N), count, K, N, biases=case.offsets)
        products.nt(case.recorder, case.dy._replace(at=first * N), case.w, Matrix(dx, 0, K), count, N, K)
        case.run()
        row = 3 - first
        results.append((y.copy_to_host()[row * N:(row + 1) * N], dx.copy_to_host()[row * K:(row + 1) * K]))
    for y, dx in results[1:]:
        np.testing.assert_array_equal(y, results[0][0])
        np.testing.assert_array_equal(dx, results[0][1])


def test_what_is_not_finite_stays_in_its_row():
    case = Case(9, 5, 6, np.float32)
    case.X[4] = np.nan
    case.X[7, 2] = np.inf
    y = case.fresh(9, 6)
    products.nn(case.recorder, case.matrix(case.X), case.w, Matrix(y, 0, 6), 9, 5, 6)
    case.run()
    y = y.copy_to_host().reshape(9, 6)
    assert np.isnan(y[4]).all() and np.isinf(y[7]).all() and np.isfinite(np.delete(y, [4, 7], axis=0)).all()


def test_rows_and_limit_of_two_arrays():
    case = Case(4, 3, 2, np.float32)
    with pytest.raises(ValueError, match="from one"):
        products.nn(case.recorder, case.x, case.w, case.dy, 4, 3, 2, rows=(CARD.zeros(4, np.int32), 0),
                    limit=(CARD.zeros(1, np.int32), 0))


def test_large_tiles_for_large_products(monkeypatch):
    monkeypatch.setattr(products, "TILES", tiles.REAL_TILES)
    large, middle, small = tiles.REAL_TILES
    for size, expected in (((64, 512), small), ((1, 1), small), ((3840, 256), middle), ((100_000, 256), large)):
        assert products._tile(np.float32, *size) is expected


def test_real_tiles_fit():
    """What the kernels take for granted of a tile."""
    for tile in tiles.REAL_TILES:
        assert tile.threads % 32 == 0
        for extent in (tile.rows, tile.cols):
            assert tile.threads % extent == 0 and tile.threads % tile.depth == 0 and extent * tile.depth % tile.threads == 0
        assert tile.cols % (8 * tile.width) == 0 and tile.rows % (4 * tile.height) == 0
        assert not tile.depth & (tile.depth - 1), "it is halved down to 1"


SIZES = [(5, 3, 4, 2, 1), (1, 5, 1, 3, 1), (3, 1, 9, 1, 2), (4, 2, 3, 2, 3)]  # T, F_in, F_out, B, REPEAT


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("act", [c.LINEAR, c.TANH, c.RELU, c.SIGMOID])
@pytest.mark.parametrize("add", [0, 1])
@pytest.mark.parametrize(("T", "F_in", "F_out", "B", "repeat"), SIZES)
def test_dense(dtype, act, add, T, F_in, F_out, B, repeat):
    row, sizes = make_row(c.DENSE, T, F_in, T, F_out, repeat=repeat, ACT=act, ADD_DX=add, PARAM=2)
    compare(row, sizes, B, dtype, n_params=2 + (F_in + 1) * F_out + 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("act", [c.LINEAR, c.RELU])
@pytest.mark.parametrize("add", [0, 1])
@pytest.mark.parametrize(("T_in", "T_out", "width", "pad"), [(5, 5, 3, 1), (6, 3, 4, 0), (1, 1, 5, 2), (2, 2, 7, 3)])
@pytest.mark.parametrize(("F_in", "F_out", "B", "repeat"), [(1, 3, 2, 1), (3, 2, 1, 2), (5, 4, 2, 2)])
def test_convolution(dtype, act, add, T_in, T_out, width, pad, F_in, F_out, B, repeat):
    valid = T_out != T_in
    row, sizes = make_row(c.CONV, T_in, F_in, T_out, F_out, repeat=repeat, masked=valid, mask_out=valid, ACT=act, ADD_DX=add,
                          PARAM=1, KERNEL=width, PAD=pad)
    compare(row, sizes, B, dtype, n_params=1 + (width * F_in + 1) * F_out + 1)


@pytest.mark.parametrize("op", [c.DENSE, c.CONV])
def test_no_gradient_where_nobody_needs_it(op):
    row, sizes = make_row(op, 3, 2, 3, 4, ACT=c.TANH, DX=c.NONE, PARAM=0, KERNEL=3, PAD=1)
    compare(row, sizes, 2, np.float64, n_params=(3 * 2 + 1) * 4)
