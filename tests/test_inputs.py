"""What X may be: one form for the engine, one clear error for everything else, and no copy that need not be."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from tsrnn import LSTMClassifier, LSTMRegressor, RNNRegressor, make_windows
from tsrnn.data import batches
from tsrnn.estimators._inputs import check_input
from tsrnn.estimators._problem import find_layout

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def checked(X, **kwargs):
    kwargs.setdefault("vocabulary_size", None)
    return check_input(RNNRegressor(), X, **kwargs)


def samples(sequences):
    """The samples, one array (T_i, C) each."""
    return [sequences.flat[a:a + t * sequences.channels].reshape(t, sequences.channels)
            for a, t in zip(sequences.starts, sequences.lengths)]


def small(**kwargs):
    return RNNRegressor(hidden_layer_sizes=(3,), max_iter=2, random_state=0, **kwargs)


# ------------------------------------------------------------------------------------------------------ forms of X


def test_two_dimensional_x_is_time_major():
    X = np.arange(24.0).reshape(2, 12)
    estimator = RNNRegressor(n_channels=3)
    found = check_input(estimator, X, vocabulary_size=None)
    assert found.kind == "flat" and estimator.n_features_in_ == 12
    np.testing.assert_array_equal(samples(found.sequences), X.reshape(2, 4, 3))


def test_three_dimensional_x():
    X = np.random.default_rng(0).normal(size=(4, 5, 3))
    estimator = RNNRegressor()
    found = check_input(estimator, X, vocabulary_size=None)
    assert found.kind == "steps" and not found.is_ragged and estimator.n_features_in_ == 3
    np.testing.assert_array_equal(samples(found.sequences), X)
    assert np.shares_memory(found.sequences.flat, X)


@pytest.mark.parametrize("wrap", [list, tuple, lambda parts: pd.Series(parts, dtype=object)], ids=["list", "tuple", "series"])
def test_ragged_x(wrap):
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(t, 2)) for t in (3, 1, 4)]
    found = checked(wrap(parts))
    assert found.is_ragged and found.sequences.lengths.tolist() == [3, 1, 4]
    for a, b in zip(samples(found.sequences), parts):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("wrap", [pd.DataFrame, lambda part: pd.Series(part[:, 0]), memoryview],
                         ids=["frame", "series", "buffer"])
def test_ragged_x_of_anything_with_axes(wrap):
    parts = [np.arange(2.0 * t).reshape(t, 2) for t in (3, 4)]
    for chosen in (parts, [parts[0], parts[0]]):  # of one length too, as with arrays
        found = checked([wrap(part) for part in chosen])
        assert found.is_ragged and found.sequences.lengths.tolist() == [len(part) for part in chosen]
        for a, b in zip(samples(found.sequences), chosen):
            np.testing.assert_array_equal(a, np.asarray(wrap(b)).reshape(len(b), -1))


def test_ragged_x_and_y_of_series_train_as_arrays_do():
    parts = [np.arange(float(t)) for t in (3, 4, 2)]
    frames = [pd.Series(part) for part in parts]
    a = small(return_sequences=True).fit(frames, frames, frames)
    b = small(return_sequences=True).fit(parts, parts, parts)
    np.testing.assert_array_equal(a._state.theta, b._state.theta)
    assert checked([[np.float64(1), np.float64(2)]]).kind == "flat"  # its scalars have no axes


def test_ragged_x_of_scalars_and_nested_lists():
    for X in ([np.arange(3.0), np.arange(2.0)], [[0, 1, 2], [0, 1]]):
        found = checked(X)
        assert found.sequences.channels == 1 and found.sequences.flat.tolist() == [0, 1, 2, 0, 1]
    found = checked([[[1, 2], [3, 4]], [[5, 6]]])
    assert found.sequences.channels == 2 and found.sequences.lengths.tolist() == [2, 1]


def test_object_array_of_equal_lengths_is_ragged_and_a_list_of_lists_is_not():
    parts = np.empty(3, object)
    parts[:] = [np.zeros(4)] * 3
    assert checked(parts).kind == "steps"
    assert checked([[0.0, 1.0], [2.0, 3.0]]).kind == "flat"
    estimator = small().fit([np.zeros(4), np.zeros(3)], [0.0, 1.0])
    assert estimator.predict([[0.0, 1.0], [2.0, 3.0]]).shape == (2,)  # one kind in fit, the same in predict


def test_token_ids():
    X = np.array([[1, 2, 0], [3, 0, 0]])
    for form in (X, X.astype(float), X.astype(np.uint8), X.tolist(), pd.DataFrame(X)):
        found = checked(form, vocabulary_size=4)
        assert found.kind == "ids" and found.sequences.flat.dtype == np.int32
        assert found.sequences.flat.tolist() == [1, 2, 0, 3, 0, 0]
    found = checked([[1, 2, 3], [1]], vocabulary_size=4)
    assert found.is_ragged and found.sequences.lengths.tolist() == [3, 1]


# --------------------------------------------------------------------------------------------------- without copies


def test_windows_are_starts_into_one_series():
    rows = np.random.default_rng(0).normal(size=(51, 3))
    X = np.lib.stride_tricks.sliding_window_view(rows, 8, axis=0).transpose(0, 2, 1)[::2]
    found = checked(X)
    assert found.sequences.flat.size == 50 * 3  # the last row is in none of every other window
    assert np.shares_memory(found.sequences.flat, rows)
    assert found.sequences.starts.tolist() == list(range(0, 6 * len(X), 6))
    np.testing.assert_array_equal(samples(found.sequences), X)


def test_windows_of_make_windows_are_not_expanded():
    series = np.random.default_rng(0).normal(size=1000)
    X = make_windows(series, 60)[0]
    found = checked(X)
    assert found.sequences.flat.size <= 1000
    np.testing.assert_array_equal(np.squeeze(samples(found.sequences)), np.squeeze(X))


def test_a_nan_under_the_windows_is_found():
    series = np.zeros(100)
    series[40] = np.nan
    X = np.lib.stride_tricks.sliding_window_view(series, 10)
    for form in (X, X[:, :, None]):
        with pytest.raises(ValueError, match="Input X contains NaN"):
            checked(form)


def test_a_gap_between_windows_does_not_count():
    series = np.zeros(100)
    series[9::10] = np.nan  # in no window
    X = series.reshape(10, 10)[:, :9]
    for form in (X, X[:, :, None]):
        np.testing.assert_array_equal(checked(form).sequences.flat, np.zeros(90))


def test_windows_train_as_their_copy_does():
    rng = np.random.default_rng(0)
    X = np.lib.stride_tricks.sliding_window_view(rng.normal(size=(40, 2)), 6, axis=0).transpose(0, 2, 1)
    y = rng.normal(size=len(X))
    a, b = small().fit(X, y), small().fit(X.copy(), y)
    np.testing.assert_array_equal(a._state.theta, b._state.theta)
    np.testing.assert_array_equal(a.predict(X), a.predict(X.copy()))


# -------------------------------------------------------------------------------------------- one type for kernels


def forms_of(X, folder):
    path = folder / "x.npy"
    np.save(path, X)
    read_only = X.copy()
    read_only.flags.writeable = False
    unaligned = np.zeros(X.nbytes + 1, np.uint8)[1:].view(X.dtype)[:X.size].reshape(X.shape)
    unaligned[...] = X
    return {"read-only": read_only, "fortran": np.asfortranarray(X), "big-endian": X.astype(X.dtype.newbyteorder(">")),
            "memory-mapped": np.load(path, mmap_mode="r"), "unaligned": unaligned, "every other": np.repeat(X, 2, axis=0)[::2],
            "backwards": X[::-1].copy()[::-1]}


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 2)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_kinds_of_memory_give_one_type(tmp_path, shape, dtype):
    X = np.random.default_rng(0).normal(size=shape).astype(dtype)
    for name, form in forms_of(X, tmp_path).items():
        flat = checked(form, dtype=dtype).sequences.flat
        data = batches.make_data(checked(form, dtype=dtype).sequences, dtype)
        for array in (flat, data.values):
            assert array.flags.c_contiguous and array.flags.aligned and array.flags.writeable, name
            assert array.dtype == dtype and array.dtype.isnative, name
            np.testing.assert_array_equal(array, X.ravel(), err_msg=name)


def test_a_read_only_array_is_aliased_not_copied():
    X = np.zeros((5, 4, 2))
    X.flags.writeable = False
    assert np.shares_memory(checked(X).sequences.flat, X)
    assert not X.flags.writeable


@pytest.mark.parametrize("shape", [(8, 4), (8, 4, 2)], ids=["2-D", "3-D"])
def test_all_kinds_of_memory_give_the_same_fit(tmp_path, shape):
    X = np.random.default_rng(0).normal(size=shape)
    y = X.reshape(8, -1).sum(axis=1)
    reference = small().fit(X, y)
    for name, form in forms_of(X, tmp_path).items():
        estimator = small().fit(form, y)
        np.testing.assert_array_equal(estimator._state.theta, reference._state.theta, err_msg=name)
        np.testing.assert_array_equal(estimator.predict(form), reference.predict(X), err_msg=name)


def test_frames():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(8, 4)), columns=list("abcd"))
    y = X["a"] + X["d"]
    estimator = small().fit(X, y)
    assert estimator.feature_names_in_.tolist() == list("abcd")
    np.testing.assert_array_equal(estimator.predict(X), small().fit(X.to_numpy(), y.to_numpy()).predict(X.to_numpy()))
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.predict(X[list("badc")])
    estimator.fit(X.to_numpy().reshape(8, 2, 2), y)
    assert not hasattr(estimator, "feature_names_in_")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions_have_the_float_type_of_x(dtype):
    X = np.random.default_rng(0).normal(size=(8, 4, 2))
    for fitted_as in (np.float32, np.float64):
        estimator = small().fit(X.astype(fitted_as), X[:, 0, 0])
        assert estimator._state.theta.dtype == fitted_as
        assert estimator.predict(X.astype(dtype)).dtype == dtype
    estimator = small(dtype="float32").fit(X, X[:, 0, 0])
    assert estimator._state.theta.dtype == np.float32 and estimator.predict(X.astype(dtype)).dtype == dtype


# ------------------------------------------------------------------------------------------------- steps at predict


def test_steps_are_free_behind_three_dimensional_and_ragged_input():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8, 5, 2))
    estimator = small().fit(X, X[:, 0, 0])
    assert estimator.predict(rng.normal(size=(3, 9, 2))).shape == (3,)
    ragged = [X[0], X[1, :2], X[2, :4]]
    np.testing.assert_allclose(estimator.predict(ragged), [estimator.predict(x[None])[0] for x in ragged], rtol=0, atol=0)


@pytest.mark.parametrize(("X", "message"), [
    (np.zeros((3, 4)), "fitted with 3-D or ragged X"),
    (np.zeros((3, 5, 4)), "X has 4 features a step, but RNNRegressor is expecting 2 features a step"),
    ([np.zeros((3, 3)), np.zeros((2, 3))], "X has 3 features a step"),
])
def test_predict_wants_the_form_of_fit(X, message):
    estimator = small().fit(np.random.default_rng(0).normal(size=(8, 5, 2)), np.arange(8.0))
    with pytest.raises(ValueError, match=message):
        estimator.predict(X)


def test_predict_after_two_dimensional_fit():
    estimator = small().fit(np.zeros((4, 6)), np.arange(4.0))
    with pytest.raises(ValueError, match="X has 5 features, but RNNRegressor is expecting 6 features as input"):
        estimator.predict(np.zeros((4, 5)))
    with pytest.raises(ValueError, match="was fitted with 2-D X"):
        estimator.predict(np.zeros((4, 6, 1)))


# --------------------------------------------------------------------------------------------------------- bad input

X_2D, X_3D, Y = np.ones((6, 4)), np.ones((6, 4, 2)), np.arange(6.0)


def with_value(X, value):
    X = X.astype(type(value) if isinstance(value, complex) else float)
    X.flat[3] = value
    return X


BAD = {
    "nan": (with_value(X_2D, np.nan), Y, "Input X contains NaN"),
    "nan, 3-D": (with_value(X_3D, np.nan), Y, "Input X contains NaN"),
    "inf": (with_value(X_3D, np.inf), Y, "Input X contains infinity"),
    "nan, ragged": ([np.ones((3, 2)), np.full((2, 2), np.nan)], Y[:2], "Input X contains NaN"),
    "nan in y": (X_3D, with_value(Y, np.nan), "Input y contains NaN"),
    "complex": (with_value(X_2D, 1j), Y, "Complex data not supported"),
    "complex, 3-D": (with_value(X_3D, 1j), Y, "Complex data not supported"),
    "sparse": (sp.csr_array(X_2D), Y, "Sparse data was passed"),
    "strings": (np.full((6, 4), "a", dtype=object), Y, "could not convert string to float"),
    "no samples": (X_3D[:0], Y[:0], "Found array with 0 sample"),
    "no samples, list": ([], Y[:0], "Expected 2D array"),
    "no steps": (X_3D[:, :0], Y, "Found array with 0 step"),
    "no features": (X_3D[:, :, :0], Y, "Found array with 0 feature"),
    "no features, 2-D": (X_2D[:, :0], Y, "Found array with 0 feature"),
    "empty sequence": ([np.ones((3, 2)), np.ones((0, 2))], Y[:2], r"Found sequence with 0 step\(s\) \(X\[1\]"),
    "1-D": (X_2D[0], Y[:4], "Expected 2D array, got 1D array instead"),
    "scalar": (3.0, Y, "Expected 2D array, got scalar array"),
    "4-D": (X_3D[None], Y[:1], "Found array with dim 4"),
    "unlike features": ([np.ones((3, 2)), np.ones((3, 3))], Y[:2], "all must have the same"),
    "sparse sequences": ([sp.csr_array(X_2D), sp.csr_array(X_2D)], Y[:2], r"X\[0\] is of type csr_array and no dense sequence"),
    "unlike axes": ([np.ones((3, 2)), np.ones(3)], Y[:2], "axes"),
    "lengths": (X_3D, Y[:4], "inconsistent numbers of samples"),
    "lengths, ragged": ([np.ones((3, 2)), np.ones((2, 2))], Y[:3], "inconsistent numbers of samples"),
    "no y": (X_3D, None, "requires y to be passed"),
    "3-D y": (X_3D, np.ones((6, 4, 2)), "Found array with dim 3"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_clear_error(case):
    X, y, message = BAD[case]
    estimator = LSTMRegressor()
    before = dict(vars(estimator))
    with pytest.raises((ValueError, TypeError), match=message):
        estimator.fit(X, y)
    assert vars(estimator) == before  # nothing half-fitted


@pytest.mark.parametrize("case", BAD)
def test_bad_input_leaves_a_fitted_estimator_as_it_was(case):
    X, y, message = BAD[case]
    estimator = small().fit(X_3D * np.arange(6.0)[:, None, None], Y)
    before, predicted = dict(vars(estimator)), estimator.predict(X_3D)
    with pytest.raises((ValueError, TypeError), match=message):
        estimator.fit(X, y)
    assert vars(estimator).keys() == before.keys() and all(vars(estimator)[name] is before[name] for name in before)
    np.testing.assert_array_equal(estimator.predict(X_3D), predicted)


@pytest.mark.parametrize(("X", "message"), [
    ([[0, 10]], "X contains the id 10, but vocabulary_size=10 allows 0 to 9"),
    ([[0, -1]], "X contains the id -1, but vocabulary_size=10"),
    ([[0, 1.5]], "X contains 1.5, which is no token id"),
    ([[0, 1], [2]], None),
    ([[0, 1], [99]], "X contains the id 99"),
    (np.zeros((2, 3, 1), int), "dim 3"),
])
def test_token_ids_are_checked(X, message):
    classifier = LSTMClassifier((2,), embedding_dim=2, vocabulary_size=10, max_iter=1)
    if message is None:
        classifier.fit(X, [0, 1])
        return
    with pytest.raises(ValueError, match=message):
        classifier.fit(X, [0, 1][:len(X)])


def test_training_says_how_many_ids_there_are():
    model = LSTMClassifier((2,), embedding_dim=2, max_iter=2, n_iter_no_change=np.inf, random_state=0, warm_start=True)
    model.fit([[1, 2, 3], [1, 4, 4]], [0, 1], X_val=[[1, 9, 2]], y_val=[0])
    assert model.weights_["embedding_0.W"].shape == (5, 2) and model.vocabulary_size is None
    np.testing.assert_array_equal(model.predict_proba([[1, 5, 700]]), model.predict_proba([[1, 2, 2]]))
    model.fit([[1, 2, 30], [1, 4, 4]], [0, 1])  # goes on: the network keeps its size
    assert model.weights_["embedding_0.W"].shape == (5, 2)
    assert model.set_params(warm_start=False).fit([[0, 1], [1, 0]], [0, 1]).weights_["embedding_0.W"].shape == (3, 2)
    for X, message in (([[1, -1]], "id -1"), ([[1, 0.5]], "no token id"), ([[1, 2**40]], "from 0 to 2147483646")):
        with pytest.raises(ValueError, match=message):
            model.fit(X * 2, [0, 1])
    with pytest.raises(ValueError, match="give vocabulary_size"):
        LSTMClassifier((2,), embedding_dim=2).partial_fit([[1, 2]], [0], classes=[0, 1])


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_given_vectors_say_how_many_ids_there_are(rows):
    settings = {"embedding_dim": 2, "embedding_weights": np.full((rows, 2), 0.5), "max_iter": 1}
    with pytest.raises(ValueError, match=f"contains the id {rows}, but vocabulary_size={rows} allows 0 to {rows - 1}"):
        LSTMClassifier((2,), **settings).fit([[0, rows], [0, 0]], [0, 1])
    model = LSTMClassifier((2,), **settings).fit([[0, rows - 1], [0, 0]], [0, 1])
    assert model.weights_["embedding_0.W"].shape == (rows, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predictions_of_ids_have_the_networks_type(dtype):
    model = LSTMClassifier((2,), embedding_dim=2, max_iter=1, dtype=dtype).fit([[0, 1], [1, 0]], [0, 1])
    for X in ([[0, 1]], np.array([[0, 1]], np.int64), np.array([[0.0, 1.0]])):
        assert model.predict_proba(X).dtype == dtype


@pytest.mark.parametrize("later", [1, 3, 4])
def test_a_fitted_network_knows_its_channels(later):
    X = np.random.default_rng(0).normal(size=(20, 12))
    estimator = small(n_channels=2, warm_start=True).fit(X, X[:, 0], X_val=X, y_val=X[:, 0])
    predicted = estimator.predict(X)
    estimator.set_params(n_channels=later)
    np.testing.assert_array_equal(estimator.predict(X), predicted)
    with pytest.raises(ValueError, match=f"n_channels={later}.*the fitted network reads 2; to go on"):
        estimator.fit(X, X[:, 0])
    np.testing.assert_array_equal(estimator.predict(X), predicted)
    X = X.reshape(20, 6, 2)
    estimator = small().fit(X, X[:, 0, 0])
    predicted = estimator.predict(X)
    np.testing.assert_array_equal(estimator.set_params(n_channels=later).predict(X), predicted)


def test_sequences_of_other_channels_never_reach_a_network():
    network = small().fit(X_3D, Y)._network
    for X, vocabulary_size, found in ((X_3D[:, :, :1], None, r"1 value\(s\)"), (np.ones((6, 4)), 5, r"1 token id\(s\)")):
        with pytest.raises(ValueError, match=f"X has {found} a step, but the network was built for 2 value"):
            find_layout(network, checked(X, vocabulary_size=vocabulary_size))


def test_n_channels_must_divide():
    with pytest.raises(ValueError, match="X has 4 features, which is no multiple of n_channels=3"):
        LSTMRegressor(n_channels=3).fit(X_2D, Y)
    with pytest.raises(ValueError, match="leave n_channels at 1"):
        LSTMRegressor(n_channels=3).fit(X_3D, Y)


def test_too_short_a_series():
    with pytest.raises(ValueError, match="kernel_size=5 must not be larger than the number of steps"):
        LSTMRegressor(conv_filters=(2,), conv_kernel_size=5, conv_padding="valid").fit(X_3D, Y)
    estimator = small(conv_filters=(2,), conv_kernel_size=3, conv_padding="valid").fit(X_3D, Y)
    with pytest.raises(ValueError, match="kernel_size=3 must not be larger"):
        estimator.predict([np.ones((5, 2)), np.ones((2, 2))])
