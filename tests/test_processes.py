"""Never takes the process down: threads, forks, pools, the interpreter's end, other people's Numba code.

Each scene plays in a process of its own that must end by itself, cleanly, within a time limit.
"""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

SETTING = """
import os, sys, threading, time, warnings
import numpy as np
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks beside threads
warnings.filterwarnings("ignore", "Stochastic Optimizer", UserWarning)
from tsrnn import GRUClassifier, LSTMRegressor, engine
engine.PARALLEL_WORK = 0  # threads however small the work
rng = np.random.default_rng(0)
X = rng.normal(size=(60, 6, 2))
y = X[:, :, 0].mean(axis=1)

def model(**options):
    options = {"hidden_layer_sizes": (5,), "max_iter": 3, "batch_size": 32, "n_jobs": 2, "random_state": 0, **options}
    return LSTMRegressor(**options)

def fit_and_predict(*_):
    return model().fit(X, y).predict(X)

def check(predictions):
    assert np.array_equal(predictions, expected)

expected = fit_and_predict()
"""


def play(scene, limit=150, **environment):
    """Run a scene in a fresh interpreter and its own session; returns what it prints.  Where it hangs, its stacks are shown."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", SETTING + textwrap.dedent(scene)], start_new_session=True, text=True,
        env={**os.environ, "PYTHONPATH": path, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGABRT)
        process.kill()
        pytest.fail("it hangs\n" + "\n".join(process.communicate(timeout=20)))
    assert process.returncode == 0, f"exit status {process.returncode}\n{out}\n{err}"
    for word in ("Fatal", "Traceback", "terminate called", "Terminating", "core dumped"):
        assert word not in err, err
    return out.strip()


# ------------------------------------------------------------------------------------------------ threads and workers


def test_many_threads_fit_and_predict_at_once():
    assert play("""
    fitted = model().fit(X, y)
    results = []
    def work(number):
        for _ in range(3):
            results.append(fit_and_predict() if number % 2 else fitted.predict(X))
    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        check(result)
    print(len(results), threading.active_count())
    """) == "24 2"  # this one, and one that sleeps until the next large prediction


def test_threads_meet_at_the_first_compilation():
    """Eight threads of a process that has compiled nothing yet ask for the same kernels."""
    scene = """
    X32, results = X.astype(np.float32), []
    def work():
        results.append(model(max_iter=1).fit(X32, y).predict(X32))
    threads = [threading.Thread(target=work) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(len({result.tobytes() for result in results}), len(results))
    """
    assert play(scene) == "1 8"


def test_the_threads_of_joblib():
    pytest.importorskip("joblib")
    assert play("""
    import joblib
    for n_jobs in (2, None):
        jobs = (joblib.delayed(model(n_jobs=n_jobs).fit)(X, y) for _ in range(6))
        for fitted in joblib.Parallel(n_jobs=3, backend="threading")(jobs):
            check(fitted.predict(X))
    print("ended")
    """) == "ended"


def test_grid_search_in_two_processes():
    """Fitted in loky's workers, their models pickled back."""
    assert play("""
    import joblib
    fitted, = joblib.Parallel(n_jobs=2)([joblib.delayed(model(n_jobs=None).fit)(X, y)])
    check(fitted.predict(X))
    from sklearn.model_selection import GridSearchCV
    grid = {"hidden_layer_sizes": [(3,), (4, 3)], "dropout": [0.0, 0.3]}
    searches = [GridSearchCV(model(n_jobs=None), grid, cv=2, n_jobs=n).fit(X, y) for n in (1, 2)]
    scores = [search.cv_results_["mean_test_score"] for search in searches]
    print(np.array_equal(*scores), np.isfinite(scores).all(), searches[0].best_params_ == searches[1].best_params_)
    """) == "True True True"


# ------------------------------------------------------------------------------------------------ forks


@needs_fork
def test_a_pool_forked_after_a_fit():
    assert play("""
    import multiprocessing
    fitted = model().fit(X, y)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for result in pool.map(fit_and_predict, range(4)) + pool.map(fitted.predict, [X] * 4):
            check(result)
    check(fit_and_predict())
    print("ended")
    """) == "ended"


@needs_fork
@pytest.mark.parametrize("leave", ["os._exit(0)", "sys.exit(0)"])
def test_children_forked_in_the_middle_of_a_fit(leave):
    """The fit runs in another thread, and in its own epoch's end; the children fit and predict."""
    assert play(f"""
    def child():
        pid = os.fork()
        if pid == 0:
            check(fit_and_predict())
            check(fitted.predict(X))
            {leave}
        return pid

    fitted, stop, children = model().fit(X, y), [], []
    background = model(max_iter=10**6, tol=0.0, n_iter_no_change=10**6, on_epoch_end=lambda epoch, logs: bool(stop))
    thread = threading.Thread(target=background.fit, args=(X, y), daemon=True)
    thread.start()
    for _ in range(3):
        time.sleep(0.05)
        children.append(child())
    foreground = model(on_epoch_end=lambda epoch, logs: children.append(child()))
    check(foreground.fit(X, y).predict(X))
    print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children])
    stop.append(True)
    thread.join()
    check(fit_and_predict())
    print(background.n_iter_ > 10)
    """).split("\n") == [str([0] * 6), "True"]


# ------------------------------------------------------------------------------------------------ the end


ENDINGS = {
    "two daemon threads are fitting": "[threading.Thread(target=endless.fit, args=(X, y), daemon=True).start() for _ in '12']; "
        "time.sleep(0.3)",
    "another thread is fitting": "threading.Thread(target=fit_and_predict).start()",
    "an exit handler fits, beside a daemon thread": "import atexit; atexit.register(lambda: (check(fit_and_predict()), "
        "print('fitted'))); threading.Thread(target=endless.fit, args=(X, y), daemon=True).start(); time.sleep(0.3)",
    "a fit is left by an exception": "model(on_epoch_end=lambda epoch, logs: sys.exit(0)).fit(X, y)",
    "Ctrl-C has ended a fit": "import signal; threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start(); "
        "warnings.simplefilter('ignore'); endless.fit(X, y).predict(X)",
}  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_interpreter_ends_cleanly_while(ending):
    printed = play(f"endless = model(max_iter=10**6, tol=0.0, n_iter_no_change=10**6)\n{ENDINGS[ending]}\nprint('last line')")
    assert ("last line" in printed) == ("left by" not in ending) and ("fitted" in printed) == ("exit handler" in ending)


# ------------------------------------------------------------------------------------------------ other people's Numba


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_beside_parallel_code_of_the_users_own(layer):
    printed = play("""
    import numba
    @numba.njit(parallel=True)
    def total(values):
        result = 0.0
        for i in numba.prange(values.size):
            result += values[i] ** 2
        return result

    values, stop, calls = np.arange(1e5), [], []
    try:
        first = total(values)
    except ValueError as error:  # Numba: no threading layer could be loaded
        print("no layer", error)
        sys.exit(0)
    def use_theirs():
        while not stop:
            calls.append(abs(total(values) / first - 1) < 1e-9)
    theirs = threading.Thread(target=use_theirs)  # one thread: workqueue itself allows no more
    theirs.start()
    ours = [threading.Thread(target=lambda: [check(fit_and_predict()) for _ in range(5)]) for _ in range(3)]
    for thread in ours:
        thread.start()
    for thread in ours:
        thread.join()
    stop.append(True)
    theirs.join()
    print(numba.threading_layer(), all(calls), len(calls) > 0)
    """, NUMBA_THREADING_LAYER=layer)
    if printed.startswith("no layer"):
        pytest.skip(f"Numba cannot load its threading layer {layer} here")
    assert printed == f"{layer} True True"


def test_numbas_settings_are_none_of_ours():
    """Neither one thread of Numba's nor a layer that is not installed changes anything: `n_jobs` counts threads of our own."""
    assert play("""
    used, run = [], engine.Team.run
    engine.Team.run = lambda self, function, args, *rest: (used.append(len(args)), run(self, function, args, *rest))
    check(fit_and_predict())
    print(max(used))
    """, NUMBA_NUM_THREADS="1", OMP_NUM_THREADS="1", NUMBA_THREADING_LAYER="tbb") == "2"


# ------------------------------------------------------------------------------------------------ arrays of all kinds


SIGNATURES = """
    from numba import types
    from tsrnn.backends.cpu.jit import all_kernels

    def signatures():  # of the kernels that have been compiled; a number that is known at compile time makes no other type
        kinds = {kernel.py_func: {tuple(map(types.unliteral, one)) for one in kernel.signatures} for kernel in all_kernels()}
        return {function.__qualname__: len(found) for function, found in kinds.items() if found}
"""


def test_arrays_of_all_kinds_compile_nothing_twice(tmp_path):
    pytest.importorskip("pandas")
    assert play(SIGNATURES + """
    import pandas as pd
    flat = X.reshape(60, 12)
    read_only = flat.copy()
    read_only.flags.writeable = False
    path = os.path.join(os.environ["SCRATCH_FOLDER"], "flat.npy")
    np.save(path, flat)
    frame = pd.DataFrame(flat, columns=[f"c{i}" for i in range(12)])
    unaligned = np.frombuffer(b"x" + flat.tobytes(), np.float64, offset=1).reshape(60, 12)
    kinds = {
        "plain": flat, "read-only": read_only, "Fortran": np.asfortranarray(flat), "big-endian": flat.astype(">f8"),
        "mapped": np.load(path, mmap_mode="r"), "copy on write": np.load(path, mmap_mode="c"), "frame": frame,
        "strided": np.repeat(flat, 2, axis=1)[:, ::2], "reversed": flat[::-1].copy()[::-1], "unaligned": unaligned,
        "wide frame": pd.concat([frame, frame], axis=1).iloc[:, :12], "list": flat.tolist(),
    }
    targets = {"plain": y, "frame": pd.Series(y), "big-endian": y.astype(">f8"), "mapped": np.asfortranarray(y)}
    swapped, frozen = X.astype(">f8"), read_only.reshape(X.shape)
    three = {"plain": X, "read-only": frozen, "Fortran": np.asfortranarray(X), "big-endian": swapped, "ragged": list(X),
             "ragged read-only": list(frozen), "ragged big-endian": list(swapped)}
    weights = rng.uniform(0.5, 2, 60)

    def run(X, y, weights, **options):
        fitted = model(**options).fit(X, y, weights)
        return fitted.predict(X)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = run(flat, y, weights, n_channels=2)
        before = signatures()
        for name, variant in kinds.items():
            theirs = weights.astype(">f8") if name == "big-endian" else weights
            assert np.array_equal(run(variant, targets.get(name, y), theirs, n_channels=2), reference), name
        for name, variant in three.items():
            assert np.array_equal(run(variant, targets.get(name, y), weights), reference), name
    assert signatures() == before, (before, signatures())
    print(max(before.values()))
    model(dtype="float32", n_channels=2).fit(read_only, y)
    print(max(signatures().values()))
    """, SCRATCH_FOLDER=str(tmp_path)).split() == ["1", "2"]


def test_ids_of_all_kinds_compile_nothing_twice(tmp_path):
    assert play(SIGNATURES + """
    ids = rng.integers(0, 9, (60, 7))
    right = ids[:, 0] > 4
    path = os.path.join(os.environ["SCRATCH_FOLDER"], "ids.npy")
    np.save(path, ids)
    frozen = ids.copy()
    frozen.flags.writeable = False
    kinds = {
        "int64": ids, "int32": ids.astype(np.int32), "uint8": ids.astype(np.uint8), "big-endian": ids.astype(">i8"),
        "Fortran": np.asfortranarray(ids), "read-only": frozen, "mapped": np.load(path, mmap_mode="r"), "list": ids.tolist(),
        "floats": ids.astype(float), "strided": np.repeat(ids, 2, axis=1)[:, ::2], "ragged": list(ids),
    }
    answers = {"int64": right, "big-endian": right.astype(">i4"), "int32": right.astype("U5"), "uint8": right.tolist()}

    def run(ids, right):
        fitted = GRUClassifier((5,), embedding_dim=3, vocabulary_size=9, max_iter=2, batch_size=32, n_jobs=2, random_state=0,
                               dtype="float64")
        return fitted.fit(ids, right).predict_proba(ids)

    reference = run(ids, right)
    before = signatures()
    for name, variant in kinds.items():
        assert np.array_equal(run(variant, answers.get(name, right)), reference), name
    assert signatures() == before, (before, signatures())
    print(max(before.values()))
    """, SCRATCH_FOLDER=str(tmp_path)) == "1"
