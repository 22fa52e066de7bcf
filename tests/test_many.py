"""`fit_many`: the bits of separate fits for any number of threads, errors that name the job, Ctrl-C, nesting, warnings."""

import os
import signal
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tsrnn import LSTMClassifier, LSTMRegressor, TextClassifier, WindowForecaster, engine, fit_many
from tsrnn.estimators import _jobs
from tsrnn.estimators._jobs import Cancelled, check_cancelled, run_jobs, threads
from tsrnn.network import shared_network
from tsrnn.parallel import usable_cores

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 5, 1)), RNG.normal(size=24)
THREADS = [1, 2, 3]


def network(**params):
    return LSTMRegressor(**{"hidden_layer_sizes": (3,), "max_iter": 2, "batch_size": 8, "n_iter_no_change": np.inf,
                            "random_state": 0} | params)


def theta(fitted):
    return fitted._state.theta


class Probe(BaseEstimator):
    """Calls a function in fit."""

    def __init__(self, function=None, number=0):
        self.function, self.number = function, number

    def __sklearn_clone__(self):
        return Probe(self.function, self.number)

    def fit(self, X=None, y=None):
        self.found_ = self.function(self.number)
        return self


def probe(function, n, n_jobs):
    return [fitted.found_ for fitted in fit_many(Probe(function), [{"params": {"number": i}} for i in range(n)], n_jobs=n_jobs)]


# ------------------------------------------------------------------------------------------------------------ results


@pytest.mark.parametrize("n_jobs", THREADS)
def test_the_bits_of_separate_fits(n_jobs):
    jobs = [{"X": X, "y": Y * i, "params": {"random_state": i, "hidden_layer_sizes": (1 + i % 3,)}} for i in range(5)]
    jobs += [{"X": X, "y": Y, "sample_weight": np.arange(24.0), "X_val": X[:7], "y_val": Y[:7]}, {"X": X[:9, :3], "y": Y[:9]}]
    base = network()
    found = fit_many(base, jobs, n_jobs=n_jobs)
    for job, fitted in zip(jobs, found, strict=True):
        rest = {name: value for name, value in job.items() if name != "params"}
        alone = clone(base).set_params(**job.get("params", {})).fit(**rest)
        assert np.array_equal(theta(alone), theta(fitted)) and alone.get_params() == fitted.get_params()
        assert alone.history_.keys() == fitted.history_.keys() and alone.loss_curve_ == fitted.loss_curve_
    assert not hasattr(base, "n_iter_") and len({id(fitted) for fitted in found}) == len(jobs)


@pytest.mark.parametrize("n_jobs", THREADS)
def test_random_states_are_copied(n_jobs):
    state = np.random.RandomState(3)
    jobs = [{"X": X, "y": Y}, {"X": X, "y": Y}, {"X": X, "y": Y, "params": {"random_state": state}}]
    first, second, third = fit_many(network(random_state=np.random.RandomState(3)), jobs, n_jobs=n_jobs)
    assert np.array_equal(theta(first), theta(second)) and np.array_equal(theta(first), theta(third))
    assert state.randint(100) == np.random.RandomState(3).randint(100)


def test_a_generator_and_no_jobs():
    base = network()
    found = fit_many(base, ({"X": X, "y": Y, "params": {"random_state": seed}} for seed in range(3)))
    assert [fitted.random_state for fitted in found] == [0, 1, 2]
    assert fit_many(base, []) == [] == fit_many(base, iter(()))


@pytest.mark.parametrize("n_jobs", THREADS)
def test_pipelines_forecasters_texts_and_classifiers(n_jobs):
    flat = X[:, :, 0]
    pipeline = make_pipeline(StandardScaler(), network())
    jobs = [{"X": flat, "y": Y, "params": {"lstmregressor__random_state": seed}} for seed in (0, 1)]
    found = fit_many(pipeline, jobs, n_jobs=n_jobs)
    alone = clone(pipeline).set_params(lstmregressor__random_state=1).fit(flat, Y)
    assert np.array_equal(theta(found[1][-1]), theta(alone[-1]))
    forecaster = WindowForecaster(network(), window=6)
    series = RNG.normal(size=(2, 60)).cumsum(1)
    found = fit_many(forecaster, [{"y": y} for y in series], n_jobs=n_jobs)
    assert [np.array_equal(f.predict(), clone(forecaster).fit(y).predict()) for f, y in zip(found, series)] == [True, True]
    texts, labels = ["good film", "bad film", "good", "bad plot"] * 3, [1, 0, 1, 0] * 3
    reader = TextClassifier(maxlen=3, max_iter=1, early_stopping=False, random_state=0, n_iter_no_change=np.inf)
    found = fit_many(reader, [{"X": texts, "y": labels}] * 2, n_jobs=n_jobs)
    assert np.array_equal(found[1].predict_proba(texts), clone(reader).fit(texts, labels).predict_proba(texts))
    classifier = LSTMClassifier((3,), max_iter=1, n_iter_no_change=np.inf, random_state=0)
    assert fit_many(classifier, [{"X": X, "y": Y > 0}], n_jobs=n_jobs)[0].classes_.tolist() == [False, True]


def test_results_are_in_the_order_of_the_jobs():
    def work(number):
        time.sleep(0.02 if number == 0 else 0)
        return number

    assert probe(work, 9, 3) == list(range(9))


# ------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(("jobs", "kind", "message"), [
    ({"X": X, "y": Y}, TypeError, r"jobs is of type dict; it must be a list of jobs"),
    (7, TypeError, r"jobs is of type int"),
    ([(X, Y)], TypeError, r"jobs\[0\] is of type tuple; a job is a mapping of fit's arguments"),
    ([{"X": X, "y": Y}, {"X": X, "z": Y}], TypeError, r"jobs\[1\] does not suit LSTMRegressor\.fit\(.*unexpected.*'z'"),
    ([{"y": Y}], TypeError, r"jobs\[0\] does not suit .*missing a required argument: 'X'"),
    ([{"X": X, "y": Y, "params": [1]}], TypeError, r"jobs\[0\]: params is of type list; it must be a mapping"),
    ([{"X": X, "y": Y}, {"X": X, "y": Y, "params": {"colour": 1}}], ValueError, r"jobs\[1\]: Invalid parameter 'colour'"),
])
def test_all_jobs_are_looked_at_first(jobs, kind, message):
    def never(*_):
        raise AssertionError("a fit has begun")

    with pytest.raises(kind, match=message):
        fit_many(network(on_epoch_end=never), jobs)


@pytest.mark.parametrize("estimator", [LSTMRegressor, 7, StandardScaler])
def test_no_estimator(estimator):
    with pytest.raises(TypeError, match="must be an estimator with a method fit"):
        fit_many(estimator, [])


@pytest.mark.parametrize(("n_jobs", "kind"), [(0, ValueError), ("two", TypeError), (True, TypeError)])
def test_no_number_of_threads(n_jobs, kind):
    with pytest.raises(kind, match="n_jobs"):
        fit_many(network(), [], n_jobs=n_jobs)


@pytest.mark.parametrize("n_jobs", THREADS)
def test_the_first_error_is_raised_and_names_its_job(n_jobs):
    begun = []

    def work(number):
        begun.append(number)
        if number == 2:
            time.sleep(0.05)  # number 3 fails before
        if number in (2, 3, 40):
            raise KeyError(f"at {number}")

    with pytest.raises(KeyError, match=r"jobs\[2\]: at 2"):
        probe(work, 50, n_jobs)
    assert len(begun) < 40
    jobs = [{"X": X, "y": Y}] * 3 + [{"X": X, "y": Y[:5]}]
    with pytest.raises(ValueError, match=r"jobs\[3\]: .*inconsistent numbers of samples"):
        fit_many(network(), jobs, n_jobs=n_jobs)


def test_an_error_without_a_message_is_noted():
    def work(number):
        raise ValueError(1, 2)

    with pytest.raises(ValueError) as caught:
        probe(work, 1, 1)
    assert caught.value.__notes__ == ["This was jobs[0]."]


@pytest.mark.parametrize("on_epoch_end", [None, lambda epoch, logs: time.sleep(0.01)])
def test_fits_behind_an_error_are_given_up(on_epoch_end):
    jobs = [{"X": X, "y": Y[:5]}, {"X": X, "y": Y, "params": {"max_iter": 10**9, "on_epoch_end": on_epoch_end}}]
    before = set(threading.enumerate())  # one may sleep since a prediction
    with pytest.raises(ValueError, match=r"jobs\[0\]"):
        fit_many(network(), jobs, n_jobs=2)
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "tsrnn"]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no such signals")
@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("kind", ["network", "forecaster", "local"])
def test_ctrl_c_ends_all_fits(n_jobs, kind):
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread only")
    endless = network(max_iter=10**9, n_jobs=n_jobs)
    series = RNG.normal(size=(60, 4)).cumsum(0)
    local = WindowForecaster(endless, window=6, local=True)
    before = set(threading.enumerate())  # one may sleep since a prediction
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    started = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        if kind == "network":
            fit_many(endless, [{"X": X, "y": Y}] * 5, n_jobs=n_jobs)
        elif kind == "forecaster":
            fit_many(WindowForecaster(endless, window=6), [{"y": y} for y in series.T], n_jobs=n_jobs)
        else:
            local.fit(series)
    timer.join()
    assert time.monotonic() - started < 30
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "tsrnn"]
    assert not hasattr(local, "_model")


# --------------------------------------------------------------------------------------------------- threads and place


def test_each_network_has_its_share_of_the_threads():
    def work(number):
        return threads(None), threads(1), threads(8), run_jobs(lambda item: threads(5), range(2))

    assert threads(None) is None and threads(5) == 5
    assert probe(work, 4, 2)[3] == (1, 1, 1, [1, 1])
    assert probe(work, 2, 8)[0] == (min(usable_cores(), 4), 1, 4, [min(usable_cores(), 4) // 2 or 1] * 2)
    assert probe(work, 1, 3)[0][1:3] == (1, 3)


def test_networks_within_jobs_start_no_threads(monkeypatch):
    monkeypatch.setattr(engine, "PARALLEL_WORK", 0)
    seen = set()
    wide = network(batch_size=24, n_jobs=4, on_epoch_end=lambda *_: seen.add(threading.active_count()))
    before = threading.active_count()
    fit_many(wide, [{"X": X, "y": Y}] * 6, n_jobs=2)
    assert max(seen) <= before + 2


def test_at_most_n_jobs_at_a_time():
    now, most, lock = [0], [0], threading.Lock()

    def work(number):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.005)
        with lock:
            now[0] -= 1

    probe(work, 12, 3)
    assert 1 < most[0] <= 3


def test_inside_joblib_one_thread_and_the_same_bits():
    class Several(BaseEstimator):
        def fit(self, X, y):
            self.fitted_ = fit_many(network(), [{"X": X, "y": y, "params": {"random_state": s}} for s in (0, 1)])
            self.threads_ = {threading.active_count()}
            return self

        def score(self, X, y):
            return self.fitted_[1].score(X, y)

    search = GridSearchCV(network(), {"random_state": [0, 1]}, cv=2, n_jobs=2)
    found = fit_many(search, [{"X": X, "y": Y}] * 2, n_jobs=2)
    alone = clone(search).fit(X, Y)
    assert all(np.array_equal(f.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]) for f in found)
    from joblib import Parallel, delayed, parallel_config

    with parallel_config("threading"):
        several = Parallel(n_jobs=2)(delayed(clone(Several()).fit)(X, Y) for _ in range(2))
    assert all(np.array_equal(theta(s.fitted_[1]), theta(network(random_state=1).fit(X, Y))) for s in several)


def test_the_callers_context_is_handed_on():
    with config_context(assume_finite=True), np.errstate(divide="raise"):
        found = probe(lambda number: (get_config()["assume_finite"], np.geterr()["divide"]), 4, 2)
    assert found == [(True, "raise")] * 4


def test_no_thread_can_be_started(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_jobs, "SECONDS_TO_BEGIN", 0.01)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert probe(lambda number: number, 5, 2) == list(range(5))


def test_ctrl_c_before_the_caller_waits(monkeypatch):
    class Interrupted(_jobs.Team):
        def run(self, function, calls):
            def interrupt():
                raise KeyboardInterrupt

            super().run(function, [(interrupt,), *calls[1:]])

    begun = []
    monkeypatch.setattr(_jobs, "SECONDS_TO_BEGIN", 0.01)
    monkeypatch.setattr(_jobs, "Team", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        probe(begun.append, 9, 2)
    assert not begun


def test_a_cancelled_job_ends_what_it_has_begun():
    def inner(_):
        while True:
            check_cancelled()
            time.sleep(0.001)

    def work(number):
        if number == 0:
            time.sleep(0.05)
            raise ValueError("enough")
        run_jobs(inner, range(2))

    started = time.monotonic()
    with pytest.raises(ValueError, match="enough"):
        probe(work, 2, 4)
    assert time.monotonic() - started < 30
    check_cancelled()
    assert not issubclass(Cancelled, Exception)


# ------------------------------------------------------------------------------------------------------------ warnings


@pytest.mark.parametrize("n_jobs", THREADS)
def test_warnings_point_at_the_users_line(n_jobs):
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached") as caught:
        fit_many(network(n_iter_no_change=9), [{"X": X, "y": Y}] * 3, n_jobs=n_jobs)
    assert [w.filename for w in caught] == [__file__] * 3


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_warning_may_be_an_error(n_jobs):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        with pytest.raises(ConvergenceWarning):
            fit_many(network(n_iter_no_change=9), [{"X": X, "y": Y}] * 3, n_jobs=n_jobs)


def test_filters_stay_as_they_were():
    interval = sys.getswitchinterval()
    base = WindowForecaster(network(max_iter=1), window=4, validation_fraction=0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        before = (list(warnings.filters), warnings.showwarning)
        sys.setswitchinterval(1e-6)
        try:
            fit_many(base, [{"y": list(range(30 + i))} for i in range(8)], n_jobs=3)
        finally:
            sys.setswitchinterval(interval)
        assert (list(warnings.filters), warnings.showwarning) == before


# ------------------------------------------------------------------------------------------- what is built once for all


def test_networks_of_one_architecture_are_shared():
    one, other, third = fit_many(network(), [{"X": X, "y": Y}, {"X": X, "y": Y},
                                             {"X": X, "y": Y, "params": {"hidden_layer_sizes": (5,)}}])
    assert one._network is other._network and one._network is not third._network
    assert one._network is shared_network(list(one._network.layers), (None, 1), "squared_error", (1,))
    assert not np.shares_memory(theta(one), theta(other))
    assert one._network is not network(loss="absolute_error").fit(X, Y)._network
    assert one._network is not network().fit(np.dstack([X, X]), Y)._network


def test_others_regressors_are_fitted_one_by_one():
    seen = []

    class Watched(Ridge):
        def fit(self, X, y, sample_weight=None):
            seen.append(threading.current_thread())
            return super().fit(X, y, sample_weight)

    WindowForecaster(Watched(), window=4, local=True).fit(RNG.normal(size=(40, 3)).cumsum(0))
    assert set(seen) == {threading.current_thread()}
