"""`device`: fits and predictions on a card give what the CPU gives, and fitted models belong to none.

The card is `fakecard`: what it holds is out of the host's reach, so whatever is not brought back is not seen.
"""

import copy
import io
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import warnings

import fakecard
import joblib
import numpy as np
import pytest
from conftest import ROOT
from samples import RAGGED, RNG, net
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.utils import estimator_checks

import tsrnn
from tsrnn import LSTMClassifier, LSTMRegressor, TextClassifier, WindowForecaster, device, fit_many, training
from tsrnn.backends import NoGPUError
from tsrnn.backends.place import HOST, Counterparts
from tsrnn.device import DeviceWarning, backend_of
from tsrnn.engine import Engine
from tsrnn.estimators._callbacks import EpochHook
from tsrnn.layers import LSTM, Dense, Dropout, Embedding
from tsrnn.network import Network
from tsrnn.parallel import gpu_turn
from tsrnn.predictor import SHELVES, Predictor
from tsrnn.training import Settings, State, fit_network

pytestmark = [pytest.mark.filterwarnings("ignore:Stochastic Optimizer"), pytest.mark.filterwarnings("ignore:skill_=")]
ESTIMATORS = [f"{kind}{what}" for kind in ("Sequence", "LSTM", "GRU", "RNN", "CNNLSTM") for what in ("Regressor", "Classifier")]
X = RNG.normal(size=(40, 6, 2))
Y = X[:, :, 0].sum(axis=1)
IDS = RNG.integers(1, 9, (40, 7))
WHY = "no NVIDIA GPU was found; install one"


@pytest.fixture
def card(monkeypatch):
    """A card in this process."""
    monkeypatch.setattr(device, "_state", {})
    return fakecard.install(lambda name, module: monkeypatch.setitem(sys.modules, name, module))


@pytest.fixture
def no_card(monkeypatch):
    """None, and nobody was told yet."""
    monkeypatch.setattr(device, "_state", {})
    fakecard.install(lambda name, module: monkeypatch.setitem(sys.modules, name, module), reason=WHY)


def regressor(**options):
    return net(LSTMRegressor, **{"n_iter_no_change": np.inf, "batch_size": 16, **options})


def target(estimator):
    return Y > 0 if hasattr(estimator, "predict_proba") else Y


def close(found, expected):
    """To the rounding of other chunks in float64."""
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


def same_fit(on_card, on_cpu, X=X):
    close(on_card._state.theta, on_cpu._state.theta)
    close(on_card._state.moments, on_cpu._state.moments)
    for name in on_cpu.history_.keys() - {"seconds"}:
        close(on_card.history_[name], on_cpu.history_[name])
    assert (on_card.n_iter_, on_card.best_iter_) == (on_cpu.n_iter_, on_cpu.best_iter_)
    close(on_card.predict(X), on_cpu.predict(X))


# ------------------------------------------------------------------------------------------------- what `device` means


def test_devices_with_a_card(card):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names = [backend_of(name, fitting=fitting) for name in ("cpu", "cuda", "auto") for fitting in (True, False)]
    assert names == ["cpu", "cpu", "cuda", "cuda", "cuda", "cuda"]
    with pytest.raises(ValueError, match="device='gpu' is unknown; use one of 'auto', 'cpu', 'cuda'."):
        backend_of("gpu", fitting=True)


def test_devices_without_one(no_card):
    with pytest.raises(NoGPUError, match=f'device="cuda": {WHY}.'):
        backend_of("cuda", fitting=True)
    with pytest.warns(DeviceWarning, match=f'device="auto" runs on the CPU here: {WHY}.') as told:
        names = [backend_of("auto", fitting=True), backend_of("cuda", fitting=False), backend_of("auto", fitting=False)]
    assert names == ["cpu"] * 3
    assert len(told) == 1 and told[0].filename == __file__


class Untouchable:
    """Data that must not be looked at."""

    def __getattr__(self, name):
        raise AssertionError(f"X.{name} is looked at")


@pytest.mark.parametrize("name", [*ESTIMATORS, "TextClassifier"])
def test_a_fit_without_the_card_that_it_wants_does_nothing(no_card, name):
    estimator = getattr(tsrnn, name)(device="cuda")
    for method in ("fit", "partial_fit"):
        with pytest.raises(NoGPUError, match=WHY):
            getattr(clone(estimator).set_params(early_stopping=False), method)(Untouchable(), Untouchable())
    with pytest.raises(NoGPUError, match=WHY):
        estimator.fit(Untouchable(), Untouchable())
    assert not hasattr(estimator, "n_iter_") and not hasattr(estimator, "vectorizer_")


def test_a_forecaster_without_the_card_that_it_wants(no_card, monkeypatch):
    monkeypatch.setattr(tsrnn.datasets, "fetch_prices", lambda *_: pytest.fail("prices are fetched"))
    for forecaster, y in ((WindowForecaster(regressor(device="cuda")), np.arange(90.0)),
                          (tsrnn.StockForecaster(regressor(device="cuda")), "AAPL")):
        with pytest.raises(NoGPUError, match=WHY):
            forecaster.fit(y)
        assert not hasattr(forecaster, "history_")


def test_auto_says_once_a_process_that_it_is_the_cpu(no_card):
    with pytest.warns(DeviceWarning) as told:
        search = GridSearchCV(regressor(device="auto"), {"learning_rate_init": [1e-3, 1e-2]}, cv=2).fit(X, Y)
        fitted = regressor(device="auto").fit(X, Y)
        fit_many(regressor(device="auto"), [{"X": X, "y": Y}] * 3, n_jobs=2)
        search.predict(X)
    assert len([w for w in told if w.category is DeviceWarning]) == 1
    np.testing.assert_array_equal(fitted._state.theta, regressor().fit(X, Y)._state.theta)


@pytest.mark.parametrize("error, has_package, told", [
    ("ImportError('no CUDA target')", False, "the package numba-cuda is missing"),
    ("AttributeError('no NPDatetime')", True, "does not work with the other packages")])  # numba-cuda 0.28 beside numba 0.68
def test_a_numba_cuda_that_cannot_be_imported(error, has_package, told):
    script = f"""if True:
    import sys, types, warnings
    import numba
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "numba.cuda":
                raise {error}
    sys.meta_path.insert(0, Broken())
    sys.modules["numba_cuda"] = types.ModuleType("numba_cuda") if {has_package} else None
    from tsrnn.device import backend_of
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        print(backend_of("auto", fitting=True), *[str(one.message) for one in seen])
"""
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cpu ") and told in done.stdout and 'use device="cpu"' in done.stdout


def test_the_cpu_never_imports_numba_cuda():
    scene = """
import sys
import numpy as np
import tsrnn
for name in tsrnn.__all__:
    getattr(tsrnn, name)
X = np.random.default_rng(0).normal(size=(20, 5))
for name in ("cpu",):
    model = tsrnn.LSTMRegressor(hidden_layer_sizes=(4,), max_iter=1, n_iter_no_change=np.inf, device=name).fit(X, X[:, 0])
    model.predict(X)
print(sorted(name for name in sys.modules if name.startswith(("numba.cuda", "numba_cuda", "tsrnn.backends.cuda"))))
"""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    done = subprocess.run([sys.executable, "-c", scene], env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True,
                          text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout


ABSENT = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "numba_cuda" not in f"{finder}{type(finder)}"]
sys.modules["numba_cuda"] = None
"""
BROKEN = """
import sys
import types
sys.modules["numba_cuda"], sys.modules["numba.cuda"] = types.ModuleType("numba_cuda"), None
"""


@pytest.mark.parametrize("scene, why", [(ABSENT, "the package numba-cuda is missing"), (BROKEN, "numba-cuda does not work")],
                         ids=["absent", "broken"])
def test_without_numba_cuda(scene, why):
    """As most users have it: Numba's own `numba.cuda`, or none, is no reason for another error."""
    scene += """
import numpy as np
from tsrnn import LSTMRegressor, show_versions
from tsrnn.backends import NoGPUError
X = np.random.default_rng(0).normal(size=(20, 5))
model = LSTMRegressor(hidden_layer_sizes=(4,), max_iter=1, n_iter_no_change=np.inf, device="auto").fit(X, X[:, 0])
try:
    model.set_params(device="cuda").fit(X, X[:, 0])
except NoGPUError as error:
    print(error)
print(model.predict(X).shape)
show_versions(gpu=True)
"""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    done = subprocess.run([sys.executable, "-c", scene], env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f'device="cuda": {why}' in done.stdout and "pip install" in done.stdout and "(20,)" in done.stdout
    assert f"not usable: {why}" in done.stdout and done.stderr.count("DeviceWarning") == 1


# ----------------------------------------------------------------------------------------------------- ten estimators


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("options", [{}, {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 8}], ids=["", "stopping"])
def test_every_estimator_gives_on_the_card_what_it_gives_on_the_cpu(card, name, options):
    estimator = net(getattr(tsrnn, name), **{"batch_size": 16, "max_iter": 3, **options})
    on_cpu = clone(estimator).fit(X, target(estimator))
    assert card.made == 0
    on_card = clone(estimator).set_params(device="cuda").fit(X, target(estimator))
    runs = card.runs
    assert card.steps >= 3 * on_card.n_iter_ - 3
    same_fit(on_card, on_cpu)
    assert card.runs > runs
    if hasattr(on_card, "predict_proba"):
        close(on_card.predict_proba(X), on_cpu.predict_proba(X))


CASES = {
    "ragged": (LSTMRegressor, {}, RAGGED, np.arange(24.0)),
    "ids": (LSTMClassifier, {"embedding_dim": 3, "mask_zero": True, "dtype": "float64"}, IDS, np.arange(40) % 3),
    "dropout": (LSTMRegressor, {"dropout": 0.3, "recurrent_dropout": 0.2, "input_dropout": 0.1}, X, Y),
    "steps": (LSTMRegressor, {"return_sequences": True}, X, X[:, :, 1]),
    "frozen": (LSTMClassifier, {"embedding_dim": 3, "train_embedding": False, "dtype": "float64"}, IDS, np.arange(40) % 2),
    "l2": (LSTMRegressor, {"alpha": 0.1, "solver": "sgd", "clip_value": 0.01, "bidirectional": True}, X, Y),
}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_input(card, case):
    cls, options, X, y = CASES[case]
    on_cpu = net(cls, batch_size=7, **options).fit(X, y)
    on_card = net(cls, batch_size=7, device="cuda", **options).fit(X, y)
    same_fit(on_card, on_cpu, X)


def test_one_seed_one_result(card):
    fits = [regressor(dropout=0.4, device="cuda", n_jobs=n_jobs).fit(X, Y) for n_jobs in (1, 4)]
    np.testing.assert_array_equal(fits[0]._state.theta, fits[1]._state.theta)
    assert fits[0].loss_curve_ == fits[1].loss_curve_


def test_samples_in_blocks(card):
    """More windows than are an array, in parts: a stream, whose parts take each other's place on the card."""
    y = np.sin(np.arange(700) / 9) + RNG.normal(size=700) / 9
    found = [WindowForecaster(regressor(device=name, dtype="float64", early_stopping=True), window=8, horizon=2).fit(y)
             for name in ("cpu", "cuda")]
    close(found[1].predict(), found[0].predict())
    close(found[1].predict(level=[80]).to_numpy(), found[0].predict(level=[80]).to_numpy())
    close(*(f.update(y[-1] + np.arange(1, 9) / 10, epochs=1).predict() for f in found))


def test_texts_and_their_explanation(card):
    texts = [f"{a} film {b}" for a in ("good", "bad", "no") for b in ("plot", "play", "end", "cast")] * 2
    labels = ["good" in text for text in texts]
    options = {"hidden_layer_sizes": (3,), "embedding_dim": 4, "max_iter": 2, "random_state": 0, "dtype": "float64"}
    on_cpu, on_card = (TextClassifier(device=name, **options).fit(texts, labels) for name in ("cpu", "cuda"))
    close(on_card.predict_proba(texts), on_cpu.predict_proba(texts))
    runs = card.runs
    explained = on_card.explain("good film no end")
    close(explained.contributions, on_cpu.explain("good film no end").contributions)
    assert card.runs == runs + 1  # for the probability; the gradient is the CPU's


# ------------------------------------------------------------------------------------------------- what a fit leaves


COPIES = {
    "pickle": lambda e: pickle.loads(pickle.dumps(e)), "deepcopy": copy.deepcopy,
    "joblib": lambda e: _through_joblib(e), "copy": copy.copy,
}


def _through_joblib(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize("way", COPIES)
def test_a_model_of_the_card_is_used_without_one(card, monkeypatch, way):
    fitted = regressor(device="cuda", early_stopping=True, dropout=0.2).fit(X, Y)
    expected = fitted.predict(X)
    other = COPIES[way](fitted)  # an array of the card would raise
    close(other.predict(X), expected)
    monkeypatch.setattr(device, "_state", {})
    fakecard.install(lambda name, module: monkeypatch.setitem(sys.modules, name, module), reason=WHY)
    with pytest.warns(DeviceWarning, match=f'device="cuda" runs on the CPU here: {WHY}') as told:
        close(other.predict(X), expected)
        close(other.predict(X[:1]), expected[:1])
    assert len(told) == 1 and other.get_params()["device"] == "cuda"
    with pytest.raises(NoGPUError):
        other.set_params(warm_start=True).fit(X, Y)
    close(other.predict(X), expected)
    close(other.set_params(device="cpu").fit(X, Y).n_iter_, 3)


def test_parameters_and_clones(card):
    estimator = regressor(device="auto").fit(X, Y)
    assert card.steps and "device='auto'" in repr(estimator) and estimator.get_params()["device"] == "auto"
    other = clone(estimator)
    assert other.device == "auto" and not hasattr(other, "n_iter_")


@pytest.mark.parametrize("there", ["card", "no_card"])
@pytest.mark.parametrize("check", [
    "check_estimators_pickle", "check_fit_idempotent", "check_dict_unchanged", "check_estimators_overwrite_params",
    "check_methods_subset_invariance", "check_fit2d_1sample", "check_estimators_nan_inf", "check_readonly_memmap_input"])
@pytest.mark.filterwarnings("ignore::tsrnn.device.DeviceWarning")
def test_checks_of_scikit_learn(request, there, check):
    request.getfixturevalue(there)
    getattr(estimator_checks, check)("LSTMRegressor", regressor(device="auto"))


# --------------------------------------------------------------------------------------------------- going on with fits


def test_fits_go_on_from_device_to_device(card):
    on_cpu, mixed = regressor(warm_start=True), regressor(warm_start=True)
    for name in ("cuda", "cpu", "cuda"):
        on_cpu.fit(X, Y)
        mixed.set_params(device=name).fit(X, Y)
        same_fit(mixed, on_cpu)
    for name in ("cuda", "cuda", "cpu", "cuda"):
        on_cpu.partial_fit(X, Y)
        mixed.set_params(device=name).partial_fit(X, Y)
        close(mixed.predict(X), on_cpu.predict(X))
    same_fit(mixed, on_cpu)


def test_weights_come_and_go(card):
    fitted = regressor(device="cuda").fit(X, Y)
    before, weights = fitted.predict(X), fitted.get_weights()
    close(fitted.weights_["lstm_0.W_ih"], regressor().fit(X, Y).weights_["lstm_0.W_ih"])
    fitted.set_weights({name: 0 * value for name, value in weights.items()})
    assert not fitted.predict(X).any()
    close(fitted.set_weights(weights).predict(X), before)


def samples_of(y=Y, X=X):
    from tsrnn.data import batches

    return batches.make_data(batches.from_lengths(X.reshape(-1), np.full(len(X), X.shape[1]), X.shape[2]), np.float64,
                             np.asarray(y, np.float64)[:, None])


def network():
    return Network([LSTM(4, return_sequences=True), Dropout(0.2), LSTM(3), Dense(1)], (None, 2))


def check_training(backend="cuda", epochs=4, **settings):
    """Weights, moments, scores and best weights after each epoch, as user code sees them, beside those of the CPU."""
    seen = {}
    for name in ("cpu", backend):
        plain = network()
        state, seen[name] = State.create(plain, 0, np.float64), []

        def look(epoch, logs, plain=plain, state=state, seen=seen[name]):
            seen.append((state.theta.copy(), state.moments.copy(), logs["loss"], logs["val_loss"], state.n_steps,
                         training.predict_network(plain, state.theta, samples_of())))

        fit_network(plain.on(name), state, samples_of(), samples_of(np.cos(Y), X[::-1].copy()),
                    Settings(batch_size=16, n_iter_no_change=99, **settings), epochs, on_epoch_end=look)
        seen[name].append((state.theta, state.best_theta, state.moments, np.float64(state.best_epoch)))
    assert len(seen["cpu"]) == len(seen[backend]) == epochs + 1
    for expected, found in zip(seen["cpu"], seen[backend]):
        for one, other in zip(expected, found):
            close(other, one)


def check_divergence(backend="cuda"):
    """A rate far too high: the weights go back to sound ones, there as well, before the loss is measured with them."""
    states, evaluate = {}, Engine.evaluate
    for name in ("cpu", backend):
        plain, measured = network(), []
        states[name] = state = State.create(plain, 0, np.float64)

        def measure(self, data, measured=measured):
            measured.append(evaluate(self, data))
            return measured[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Engine, "evaluate", measure)
            fit_network(plain.on(name), state, samples_of(), None,
                        Settings("sgd", learning_rate_init=1e7, clip_norm=None, batch_size=16, n_iter_no_change=99), 20)
        assert state.stopped == "diverged" and not state.moments.any() and np.isfinite(state.theta).all()
        states[name].losses = [loss for loss, _, _ in measured]
    close(states[backend].theta, states["cpu"].theta)
    close(states[backend].losses, states["cpu"].losses)


def check_interruption(backend="cuda"):
    """Ctrl-C in the second epoch: the weights are those of the last step that was made."""
    place, there, plain = sys.modules["tsrnn.backends.cuda"].place, [], network()

    def interrupt(theta):
        there.append(theta.copy())
        if len(there) == 5:  # of 3 slices or more an epoch
            raise KeyboardInterrupt

    place.after.append(interrupt)
    state = State.create(plain, 0, np.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "SLICE_SECONDS", 0.0)
        fit_network(plain.on(backend), state, samples_of(), None, Settings(batch_size=16), 9)
    place.after.clear()
    assert state.stopped == "interrupted" and state.n_steps == 5 and state.n_epochs == 1
    np.testing.assert_array_equal(state.theta, there[-1])


CHECKS = [check_training, check_divergence, check_interruption]


@pytest.mark.parametrize("check", CHECKS)
def test_training_on_the_card(card, check):
    check()


def put_once(self, data, scratch):
    """The samples seen first take the place of all others, on the card."""
    if self.place is HOST:
        return data
    if not self.pairs:
        self.pairs = [(data, self.place.put_data(data))]
    return self.pairs[0][1]


MUTANTS = {
    "nothing is brought back": (Engine, "collect", lambda self: None, check_training),
    "moments are not brought back": (Engine, "collect", lambda self: self.place.get(self._mirrors[0][1], self.theta),
                                     check_training),
    "nothing is brought back after Ctrl-C": (Engine, "collect", lambda self: None, check_interruption),
    "other weights are not put there": (Engine, "refresh", lambda self: None, check_divergence),
    "samples are mixed up": (Counterparts, "of", put_once, check_training),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutants_are_caught(card, monkeypatch, mutant):
    where, name, replacement, check = MUTANTS[mutant]

    def in_turn(self, *args):
        with gpu_turn:
            return replacement(self, *args)
    monkeypatch.setattr(where, name, in_turn)
    with pytest.raises(AssertionError):
        check()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of overflow, in NumPy
def test_an_estimator_whose_fit_is_interrupted_or_diverges(card):
    card.after.append(lambda theta: (_ for _ in ()).throw(KeyboardInterrupt) if card.steps > 5 else None)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        fitted = regressor(device="cuda", max_iter=50).fit(X, Y)
    card.after.clear()
    assert fitted.n_iter_ < 50 and card.steps > 5 and np.isfinite(fitted.predict(X)).all()
    wild = {"solver": "sgd", "learning_rate_init": 1e300, "clip_norm": None, "max_iter": 20}
    theta = fitted._state.theta.copy()
    with pytest.raises(training.NonFiniteLossError, match="the estimator is what it was before"):
        fitted.set_params(warm_start=True, **wild).fit(X, Y)
    np.testing.assert_array_equal(fitted._state.theta, theta)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_callbacks_see_the_weights_of_their_epoch(card, monkeypatch):
    """scikit-learn's callbacks get the fitted attributes after each epoch, of which an estimator is made that predicts."""
    seen = {"cpu": [], "cuda": []}
    for name in seen:
        estimator = regressor(device=name, on_epoch_end=print)

        def look(self, epoch, logs, estimator=estimator, seen=seen[name]):
            shown = copy.copy(estimator)
            shown.__dict__.update(self._fitted())
            seen.append(shown.predict(X))
            return False
        monkeypatch.setattr(EpochHook, "__call__", look)
        estimator.fit(X, Y)
    assert len(seen["cuda"]) == 3
    close(seen["cuda"], seen["cpu"])
    assert not np.array_equal(seen["cuda"][0], seen["cuda"][2])


# -------------------------------------------------------------------------------------------------- memory of the card


def test_a_card_without_room_is_one_error_and_nothing_stays_on_it(card):
    fitted = regressor(device="cuda").fit(X, Y)
    before, theta = dict(vars(fitted)), fitted._state.theta.copy()
    live = card.live
    card.size = live + 200_000
    for change in ({"batch_size": 40, "hidden_layer_sizes": (64,)}, {"hidden_layer_sizes": (256,)}):
        with pytest.raises(MemoryError, match=r"no room for [\d,]+ bytes more; take a smaller batch_size") as error:
            fitted.set_params(**change).fit(X, Y)
        del error
        assert card.live == live
    assert vars(fitted).keys() == before.keys() and fitted._state is before["_state"]
    np.testing.assert_array_equal(fitted._state.theta, theta)
    close(fitted.set_params(hidden_layer_sizes=(4,), batch_size=8).fit(X, Y).n_iter_, 3)
    big = np.tile(X, (200, 1, 1))
    with pytest.raises(MemoryError):
        fitted.predict(big)
    close(fitted.predict(X[:3]), fitted.set_params(device="cpu").predict(X[:3]))


def test_engines_that_wait_on_a_shelf_count_what_they_hold_there(card):
    plain = network()
    predict = Predictor(plain, State.create(plain, 0, np.float64).theta)
    small, large = samples_of(Y[:4], X[:4]), samples_of(np.zeros(9000), np.zeros((9000, 60, 2)))
    expected = predict(small)
    close(predict(small, None, "cuda"), expected)
    engine, = [e for shelf in SHELVES for number, e in shelf.engines.items() if number == predict._number]
    assert engine.backend is sys.modules["tsrnn.backends.cuda"]
    held = sum(array.nbytes for _, data in engine._samples.pairs for array in data)
    assert engine.nbytes == engine._reserved + held and held >= 4 * 6 * 2 * 8
    made, puts = card.made, card.puts
    other = samples_of(Y[4:8], X[4:8])
    close(predict(other, None, "cuda"), predict(other))
    close(predict(other, None, "cuda"), predict(other, None, "cpu"))
    assert card.puts > puts
    predict(other, None, "cuda")
    live = card.live
    SHELVES[1].most_bytes, before = 1 << 20, SHELVES[1].most_bytes
    try:
        predict(large, None, "cuda")
    finally:
        SHELVES[1].most_bytes = before
    assert card.live < live and made  # too large to be kept: all is given back, the small one's memory too


def test_samples_of_one_form_share_a_place(card):
    plain = network()
    predict = Predictor(plain, State.create(plain, 0, np.float64).theta)
    predict(samples_of(Y[:4], X[:4]), None, "cuda")
    made = card.made
    for first in range(4, 40, 4):
        part = samples_of(Y[first:first + 4], X[first:first + 4])
        close(predict(part, None, "cuda"), training.predict_network(plain, predict.theta, part))
    assert card.made == made
    predict(samples_of(Y[:5], X[:5]), None, "cuda")
    assert card.made > made


# ----------------------------------------------------------------------------------------------------- many at a time


def test_fits_in_threads_take_turns(card):
    jobs = [{"X": X, "y": Y, "params": {"random_state": seed}} for seed in range(6)]
    found = fit_many(regressor(device="cuda"), jobs, n_jobs=3)
    for job, one in zip(jobs, found):
        alone = regressor(device="cuda", **job["params"]).fit(X, Y)
        np.testing.assert_array_equal(one._state.theta, alone._state.theta)


def test_local_models_and_ensembles(card):
    y = np.cumsum(RNG.normal(size=(60, 3)), axis=0)
    for options in ({"local": True}, {"n_ensembles": 2}, {"local": True, "n_ensembles": 2}):
        found = [WindowForecaster(regressor(device=name, dtype="float64", n_jobs=2), window=6, **options).fit(y).predict()
                 for name in ("cpu", "cuda")]
        close(*found)


class InAWorker(LSTMRegressor):
    """Brings its card along: workers are processes of their own."""

    def fit(self, X, y, **more):
        if not isinstance(sys.modules.get("tsrnn.backends.cuda"), type(fakecard)) or \
                not isinstance(sys.modules["tsrnn.backends.cuda"].place, fakecard.Place):
            fakecard.install()
        before = sys.modules["tsrnn.backends.cuda"].place.steps
        super().fit(X, y, **more)
        self.steps_ = sys.modules["tsrnn.backends.cuda"].place.steps - before
        return self


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_grid_search_side_by_side(card, backend):
    grid = {"hidden_layer_sizes": [(3,), (5,)], "random_state": [0, 1]}
    results = []
    for name, n_jobs in (("cpu", None), ("cuda", 2)):
        with joblib.parallel_backend(backend):
            search = GridSearchCV(net(InAWorker, device=name, n_iter_no_change=np.inf), grid, cv=2, n_jobs=n_jobs,
                                  error_score="raise").fit(X, Y)
        results.append(search.cv_results_["mean_test_score"])
    close(*results)
    assert search.best_estimator_.steps_ > 0


def in_a_child(fitted, queue):
    """What a forked child gets: the error of a fit, and predictions with their warnings."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            fitted.fit(X, Y)
        except NoGPUError as error:
            found = str(error)
        predictions = fitted.predict(X)
        fitted.set_params(device="auto").fit(X, Y)
    queue.put((found, predictions, [str(w.message) for w in told if w.category is DeviceWarning]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_told(card):
    fitted = regressor(device="cuda").fit(X, Y)
    expected = fitted.predict(X)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=in_a_child, args=(fitted, queue))
    child.start()
    found, predictions, told = queue.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0
    assert "this process was forked from one that has used the GPU" in found and "spawn" in found
    close(predictions, expected)
    assert len(told) == 1
    close(fitted.predict(X), expected)


# --------------------------------------------------------------------------------------------------------- the network


def test_a_network_elsewhere(card):
    plain = Network([Embedding(9, 3), LSTM(4), Dense(2)], (None,), "categorical_crossentropy")
    there = plain.on("cuda")
    assert plain.on("cpu") is plain and plain.on("cuda") is there and there.backend_name == "cuda"
    assert (there.layers, there.input_shape, there.loss, there.n_params) == (plain.layers, plain.input_shape, plain.loss,
                                                                             plain.n_params)
    again = pickle.loads(pickle.dumps(plain))
    assert again.backend_name == "cpu" and not again._elsewhere


def test_warnings_of_convergence_come_as_ever(card):
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        regressor(device="cuda", n_iter_no_change=10).fit(X, Y)


# -------------------------------------------------------------------------------------------------------- command line


def command(*arguments):
    from typer.testing import CliRunner

    from tsrnn.cli import app

    return CliRunner().invoke(app, [*arguments, "--quiet"])


@pytest.mark.parametrize("arguments", [["forecast", "none.csv"], ["backtest", "none.csv"], ["classify", "none.csv"]])
def test_commands_without_the_card_that_they_want(no_card, arguments):
    result = command(*arguments, "--device", "cuda")
    assert result.exit_code == 2 and result.stderr == f"error: --device=cuda: {WHY}.\n"
    assert "--device='gpu'" not in command(*arguments, "--device", "gpu").stderr
    assert "error: --device=gpu is unknown; use one of 'auto', 'cpu', 'cuda'." in command(*arguments, "--device", "gpu").stderr


def test_a_command_on_the_card(card, tmp_path):
    prices = tmp_path / "prices.csv"
    rows = [f"2024-{1 + i // 28:02}-{1 + i % 28:02},{value}" for i, value in enumerate(100 + np.sin(np.arange(90.0)))]
    prices.write_text("date,close\n" + "\n".join(rows), encoding="utf-8")
    options = ["--window", "5", "--epochs", "2", "--hidden", "3", "--horizon", "2", "--json", "--level", "none"]
    result = command("forecast", str(prices), "--device", "auto", *options)
    assert result.exit_code == 0 and card.steps and json.loads(result.stdout)["device"] == "auto"


def test_show_versions_says_why_there_is_no_card(no_card, capsys):
    tsrnn.show_versions(gpu=True)
    assert f"CUDA  not usable: {WHY}" in capsys.readouterr().out
