"""What is kept between two calls of `predict`: it is small, forgotten in time, and changes neither bits nor checks."""

import copy
import gc
import pickle
import sys
import threading
import warnings
import weakref

import joblib
import numpy as np
import pytest
from numba import types
from samples import net
from scipy import sparse

from tsrnn import LSTMClassifier, LSTMRegressor, engine, predictor
from tsrnn.backends.cpu.jit import all_kernels
from tsrnn.data import batches
from tsrnn.estimators import _ready
from tsrnn.layers import LSTM, Dense
from tsrnn.network import Network
from tsrnn.parallel import Team
from tsrnn.predictor import SHELVES, Predictor, Shelf

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
rng = np.random.default_rng(0)
X = rng.normal(size=(20, 6, 2)).astype(np.float32)
Y = X[:, :, 0].sum(axis=1)
FLAT = np.ascontiguousarray(X[:, :, 0])
IDS = rng.integers(0, 9, (20, 7)).astype(np.int32)


def regressor(data=X, **options):
    return net(LSTMRegressor, **options).fit(data, Y)


def classifier(**options):
    return net(LSTMClassifier, embedding_dim=3, vocabulary_size=9, **options).fit(IDS, np.arange(20) % 2)


def fresh(estimator):
    """The same estimator with nothing kept."""
    return pickle.loads(pickle.dumps(estimator))


def calls(function, *args):
    """Calls of Python functions, and of built-in ones, that a call makes."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        function(*args)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("make, data, limit", [(regressor, X, 90), (lambda: regressor(FLAT), FLAT, 90), (classifier, IDS, 120)],
                         ids=["steps", "flat", "ids"])
def test_a_call_for_one_row_is_short(make, data, limit):
    """About 80 and 100 calls, 15 µs; the full check and a new engine make 700, 230 µs."""
    fitted, row = make(), data[:1].copy()
    first = calls(fitted.predict, row)
    assert calls(fitted.predict, row) < limit < first / 3
    assert calls(fitted.predict, data[1:2]) < limit  # another row of this form


BAD = {
    "nan": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 3, np.nan, a).astype(a.dtype),
    "infinity": lambda a: np.where(np.arange(a.size).reshape(a.shape) == a.size - 1, np.inf, a).astype(a.dtype),
    "two infinities": lambda a: np.where(np.arange(a.size).reshape(a.shape) < 2, [-np.inf, np.inf], a).astype(a.dtype)
    if a.shape[-1] == 2 else np.full_like(a, -np.inf),
    "complex": lambda a: a.astype(np.complex64),
    "strings": lambda a: np.full(a.shape, "x"),
    "objects": lambda a: np.full(a.shape, None),
    "width": lambda a: np.concatenate([a, a], axis=-1),
    "empty": lambda a: a[:0],
    "one axis": lambda a: a.reshape(-1),
    "four axes": lambda a: a[None, None],
    "sparse": lambda a: sparse.csr_array(a.reshape(len(a), -1)),
    "text": lambda a: "abc",
    "nothing": lambda a: None,
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("data", [X, FLAT], ids=["steps", "flat"])
def test_bad_input_has_the_error_that_it_has_without_what_is_kept(data, bad):
    fitted = regressor(data)
    fitted.predict(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrong = BAD[bad](data)
        with pytest.raises((TypeError, ValueError)) as expected:
            fresh(fitted).predict(wrong)
        with pytest.raises(type(expected.value)) as found:
            fitted.predict(wrong)
    assert str(found.value) == str(expected.value)
    np.testing.assert_array_equal(fitted.predict(data), fresh(fitted).predict(data))


@pytest.mark.parametrize("value", [-1, 9, 2**31 - 1, -2**31])
def test_ids_that_there_are_not(value):
    fitted, wrong = classifier(), IDS.copy()
    fitted.predict(IDS)
    wrong[4, 2] = value
    with pytest.raises(ValueError, match=f"X contains the id {value}, but vocabulary_size=9"):
        fitted.predict(wrong)
    wrong[4, 2] = 8
    np.testing.assert_array_equal(fitted.predict_proba(wrong), fresh(fitted).predict_proba(wrong))


def test_ids_that_nobody_has_counted_stay_unknown_words():
    fitted, other = net(LSTMClassifier, embedding_dim=3).fit(IDS, np.arange(20) % 2), IDS.copy()
    fitted.predict(IDS)
    other[:, 0] = 100
    np.testing.assert_array_equal(fitted.predict_proba(other), fresh(fitted).predict_proba(other))


def test_huge_values_are_values():
    huge = np.full_like(X, np.finfo(np.float32).max)  # their sum is infinite
    fitted = regressor()
    fitted.predict(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(fitted.predict(huge), fresh(fitted).predict(huge))


def test_feature_names_are_missed_each_time():
    pd = pytest.importorskip("pandas")
    fitted = net(LSTMRegressor, dtype="float32").fit(pd.DataFrame(FLAT, columns=list("abcdef")), Y)
    for _ in range(3):
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            fitted.predict(FLAT)


def memory_mapped(array, folder):
    np.save(folder / "x.npy", array)
    return np.load(folder / "x.npy", mmap_mode="r")


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_model_in_a_memory_map_predicts(tmp_path, mode):
    """joblib hands large arrays to its workers that way, read-only."""
    fitted = regressor()
    joblib.dump(fitted, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode=mode)
    assert isinstance(mapped._state.theta, np.memmap)
    for data in (X, X[:1], X[:1]):
        np.testing.assert_array_equal(mapped.predict(data), fitted.predict(data))
    kinds = [{tuple(map(types.unliteral, one)) for one in kernel.signatures} for kernel in all_kernels()]
    assert max(map(len, kinds)) <= 2  # one a dtype
    mapped.set_params(warm_start=True).fit(X, Y)
    np.testing.assert_array_equal(mapped.predict(X), fitted.set_params(warm_start=True).fit(X, Y).predict(X))


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("make, data", [(regressor, X), (lambda: regressor(FLAT), FLAT), (classifier, IDS)],
                         ids=["steps", "flat", "ids"])
def test_every_form_has_the_same_bits(tmp_path, make, data):
    fitted = make()
    expected = getattr(fresh(fitted), "predict_proba", fresh(fitted).predict)(data)
    predict = getattr(fitted, "predict_proba", fitted.predict)
    unaligned = np.empty(data.nbytes + 1, np.uint8)[1:].view(data.dtype).reshape(data.shape)
    unaligned[...] = data
    for form in (data, data, read_only(data), np.asfortranarray(data), data.astype(data.dtype.newbyteorder(">")), unaligned,
                 memory_mapped(data, tmp_path), data[::-1][::-1], np.repeat(data, 2, axis=1)[:, ::2], data.tolist()):
        found = predict(form)
        np.testing.assert_array_equal(found.astype(expected.dtype), expected)
    for rows in (slice(3, 4), slice(7, 8), slice(2, 11), slice(5, 14)):  # alone and among others, the first and a known time
        np.testing.assert_array_equal(predict(data[rows]), expected[rows])


@pytest.mark.parametrize("options", [{"return_sequences": True}, {"return_sequences": True, "embedding_dim": 3,
                                     "vocabulary_size": 9, "mask_zero": True}], ids=["steps", "masked ids"])
def test_one_output_a_step(options):
    data = IDS if "embedding_dim" in options else X
    rows = rng.normal(size=data.shape[:2])
    fitted = net(LSTMRegressor, **options).fit(data, rows)
    others = [rng.permutation(data.reshape(-1)).reshape(data.shape) for _ in range(3)]
    for other in others:  # other padding each time
        np.testing.assert_array_equal(fitted.predict(other), fresh(fitted).predict(other))
        assert fitted.score(other, rows) == fresh(fitted).score(other, rows)


def test_what_comes_back_is_the_users_own():
    fitted = regressor()
    first = fitted.predict(X)
    kept = first.copy()
    first[:] = 7
    np.testing.assert_array_equal(fitted.predict(X), kept)
    fitted.predict(-X)
    np.testing.assert_array_equal(fitted.predict(X), kept)


# ------------------------------------------------------------------------------------------------ other weights


def halve(estimator):
    estimator.set_weights({name: value / 2 for name, value in estimator.get_weights().items()})


@pytest.mark.parametrize("change", [halve, lambda e: e.partial_fit(X, Y), lambda e: e.set_params(warm_start=True).fit(X, Y),
                                    lambda e: e.set_params(random_state=5).fit(X, Y),
                                    lambda e: e.set_params(dtype="float64").fit(X.astype(np.float64), Y),
                                    lambda e: e.set_params(hidden_layer_sizes=(3, 5)).fit(X, Y)])
def test_new_weights_predict_at_once(change):
    fitted = regressor()
    before = fitted.predict(X)
    change(fitted)
    assert not np.array_equal(fitted.predict(X), before)
    np.testing.assert_array_equal(fitted.predict(X), fresh(fitted).predict(X))


def test_another_form_of_x_is_another_fit():
    fitted = regressor()
    fitted.predict(X)
    fitted.fit(FLAT, Y)
    with pytest.raises(ValueError, match="was fitted with 2-D X"):
        fitted.predict(X)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, fresh])
def test_copies_are_independent(duplicate):
    fitted = regressor()
    before = fitted.predict(X)
    other = duplicate(fitted)
    halve(other)
    np.testing.assert_array_equal(fitted.predict(X), before)
    assert not np.array_equal(other.predict(X), before)
    halve(fitted)
    np.testing.assert_array_equal(other.predict(X), fitted.predict(X))


def test_weights_cannot_be_edited_in_place():
    fitted = regressor()
    for weight in fitted.weights_.values():
        with pytest.raises(ValueError, match="WRITEABLE"):
            weight.flags.writeable = True
        with pytest.raises(ValueError, match="read-only"):
            weight += 1
    halve(fitted)
    np.testing.assert_array_equal(fitted.weights_["dense_0.b"], fitted.get_weights()["dense_0.b"])


def test_attributes_of_a_fit_under_way_keep_nothing():
    """Callbacks of scikit-learn get an estimator with the weights that are learnt: they change in place."""
    fitted = regressor()
    shown = net(LSTMRegressor)
    vars(shown).update({name: value for name, value in vars(fitted).items() if name != "_ready"})
    shown._state = copy.deepcopy(fitted._state)
    before = dict(vars(shown))
    first = shown.predict(X)
    shown._state.theta[:] /= 2
    halve(fitted)
    np.testing.assert_array_equal(shown.predict(X), fitted.predict(X))
    assert not np.array_equal(first, shown.predict(X)) and vars(shown) == before
    shown._ready = regressor()._ready  # of other weights
    np.testing.assert_array_equal(shown.predict(X), fitted.predict(X))


def test_nothing_kept_is_stored():
    fitted = regressor()
    before, size = dict(vars(fitted)), len(pickle.dumps(fitted))
    fitted.predict(X)
    assert vars(fitted) == before and len(pickle.dumps(fitted)) == size
    assert "_ready" not in fitted.__getstate__() and "_ready" not in vars(pickle.loads(pickle.dumps(net(LSTMRegressor))))


# ------------------------------------------------------------------------------------------------ small, and for many threads


def on_shelves():
    return {number for shelf in SHELVES for number in shelf.engines}


def test_places_are_few_and_given_back():
    gc.collect()
    before = on_shelves()
    fitted = [regressor(max_iter=1) for _ in range(20)]
    for estimator in fitted * 2:
        estimator.predict(X)
    assert len(on_shelves()) <= SHELVES[0].places + SHELVES[1].places
    last = fitted[-1]._ready.predict._number
    assert last in on_shelves()
    del fitted, estimator
    gc.collect()
    assert last not in on_shelves() and on_shelves() <= before


def test_the_engine_used_last_stays():
    shelf = Shelf(places=2, most_bytes=1)
    for number in (1, 2, 1, 3):
        shelf.engines.pop(number, None)
        shelf.put(number, number)
    assert list(shelf.engines) == [1, 3]


def test_large_engines_are_not_kept(monkeypatch):
    small, large = Shelf(1, 1 << 14), Shelf(1, 1 << 16)
    monkeypatch.setattr(predictor, "SHELVES", (small, large))
    network = Network([LSTM(4), Dense(1)], (None, 2))
    predict = Predictor(network, network.init(np.random.default_rng(0), np.float32))
    kept = []
    for steps in (1, 80, 4000):
        data = batches.make_data(batches.from_array(np.zeros((1, steps, 2), np.float32)), np.float32)
        expected = engine.Engine(network, predict.theta, Team(1)).predict(data)
        np.testing.assert_array_equal(predict(data), expected)
        assert all(e.nbytes <= shelf.most_bytes for shelf in (small, large) for e in shelf.engines.values())
        kept.append((len(small.engines), len(large.engines)))
    assert kept == [(1, 0), (0, 1), (0, 0)]


def test_few_forms_and_no_data_are_kept():
    fitted = regressor()
    for n in range(1, 20):
        fitted.predict(np.repeat(X, 20, axis=0)[:n])
    assert 0 < len(fitted._ready._forms) <= _ready.MOST_FORMS
    fitted.predict(np.repeat(X, 20, axis=0))
    assert max(shape[0] for shape in fitted._ready._forms) <= _ready.MOST_ROWS
    for estimator, data in ((fitted, X), (classifier(), IDS)):
        data = data.copy()
        gone = weakref.ref(data)
        estimator.predict(data)
        estimator.predict(data)
        del data
        assert gone() is None


@pytest.mark.parametrize("work", [0, engine.PARALLEL_WORK])
def test_many_threads_call_one_estimator(monkeypatch, work):
    monkeypatch.setattr(engine, "PARALLEL_WORK", work)
    fitted, data = regressor(n_jobs=2), rng.normal(size=(40, 6, 2)).astype(np.float32)
    expected, wrong = fresh(fitted).predict(data), []

    def work_on(first):
        for i in range(60):
            rows = slice((first + i) % 5, 20 + (first + i) % 20)
            if not np.array_equal(fitted.predict(data[rows]), expected[rows]):
                wrong.append(rows)

    threads = [threading.Thread(target=work_on, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(predictor._spare) <= 1


def test_n_jobs_may_change_between_calls(monkeypatch):
    monkeypatch.setattr(engine, "PARALLEL_WORK", 0)
    fitted, data = regressor(), np.repeat(X, 3, axis=0)
    expected, used = fresh(fitted).set_params(n_jobs=1).predict(data), []
    run = Team.run
    monkeypatch.setattr(Team, "run", lambda self, function, args: (used.append(len(args)), run(self, function, args)))
    for n_jobs in (1, 2, 1, 3, 2):
        np.testing.assert_array_equal(fitted.set_params(n_jobs=n_jobs).predict(data), expected)
    assert used == [2, 3, 2] and predictor._spare["team"].n_threads == 2


def test_an_interrupted_prediction_leaves_nothing_behind(monkeypatch):
    fitted = regressor()
    expected = fitted.predict(X)

    def interrupted(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(engine.Engine, "predict", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fitted.predict(X)
    assert fitted._ready.predict._number not in on_shelves()
    np.testing.assert_array_equal(fitted.predict(X), expected)
