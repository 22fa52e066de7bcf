"""Launches as a graph, with a cuda.core that writes down what it is asked; the real one is exercised wherever a GPU is."""

import contextlib
import warnings
from types import SimpleNamespace

import cudasim

cudasim.install()

import numpy as np  # noqa: E402
import pytest  # noqa: E402

from tsrnn.backends.cuda import graph  # noqa: E402
from tsrnn.backends.cuda.jit import cuda, family  # noqa: E402
from tsrnn.backends.cuda.place import CARD  # noqa: E402
from tsrnn.backends.cuda.recorder import Launch  # noqa: E402

DEFAULT = "the default stream"


class Kernel:
    """Writes down on which stream it is launched."""

    def __init__(self, name, told):
        self.name, self.told, self.broken = name, told, False

    def __getitem__(self, where):
        grid, block, stream, shared = where

        def call(*args):
            if self.broken and stream != 0:
                raise RuntimeError("not while this stream is captured")
            self.told.append(("launch", self.name, stream, shared, *args))

        return call


@pytest.fixture
def card(monkeypatch):
    """All that `graph` asks of CUDA; `told` is what it was asked, `broken` the step that fails."""
    made = SimpleNamespace(told=[], broken=None)

    def step(name, value=None):
        def take(*args):
            made.told.append((name, *args))
            if made.broken == name:
                raise AttributeError(f"no {name} here")
            return value
        return take

    @contextlib.contextmanager
    def lock(name):
        made.told.append(("begin", name))
        yield
        made.told.append(("end", name))

    done = SimpleNamespace(launch=step("launch graph"))
    builder = SimpleNamespace(begin_building=step("begin_building"), close=step("close"))
    builder.end_building = step("end_building", builder)
    builder.complete = step("complete", done)
    stream = SimpleNamespace(create_graph_builder=step("create_graph_builder", builder))
    device = SimpleNamespace(set_current=step("set_current"), create_stream=step("create_stream", stream))
    made.stream = stream
    core = SimpleNamespace(Device=lambda number: device, LEGACY_DEFAULT_STREAM=DEFAULT)
    monkeypatch.setattr(graph, "_core", lambda: core)
    monkeypatch.setattr(graph, "compiler_lock", lambda: lock("lock"))
    monkeypatch.setattr(graph, "cuda", SimpleNamespace(defer_cleanup=lambda: lock("defer_cleanup"),
                                                       get_current_device=lambda: SimpleNamespace(id=0)))
    monkeypatch.setattr(graph, "configured", lambda kernel, *where: kernel[where])
    monkeypatch.setattr(graph, "SIMULATED", False)
    monkeypatch.setattr(graph, "_said", set())
    graph._stream.cache_clear()
    yield made
    graph._stream.cache_clear()


def launches(told):
    return [Launch(Kernel(name, told), (1,), (4,), (number,), shared)
            for name, number, shared in (("first", 1, 0), ("second", 2, 64))]


def single(stream):
    return [("launch", "first", stream, 0, 1), ("launch", "second", stream, 64, 2)]


def test_the_first_call_launches_and_later_ones_are_a_graph(card):
    replay = graph.Replay(launches(card.told))
    replay()
    assert card.told == single(0), "kernels are compiled and loaded by launching them, and nothing else happens"
    card.told.clear()
    replay()
    assert card.told == [("begin", "lock"), ("begin", "defer_cleanup"), ("set_current",), ("create_stream",),
                         ("create_graph_builder",), ("begin_building", "relaxed"), *single(card.stream), ("end_building",),
                         ("complete",), ("close",), ("end", "defer_cleanup"), ("end", "lock"), ("launch graph", DEFAULT)]
    card.told.clear()
    replay()
    replay()
    assert card.told == 2 * [("launch graph", DEFAULT)]


def test_graphs_share_the_stream_that_they_are_built_on(card):
    for _ in range(2):
        replay = graph.Replay(launches(card.told))
        replay()
        replay()
    assert card.told.count(("create_stream",)) == 1 and card.told.count(("complete",)) == 2


@pytest.mark.parametrize("broken", ["create_stream", "create_graph_builder", "begin_building", "end_building", "complete"])
def test_where_a_graph_cannot_be_built_launches_stay_single(broken, card):
    card.broken = broken
    first, second = (graph.Replay(launches(card.told)) for _ in range(2))
    first()
    with pytest.warns(RuntimeWarning, match=f"one by one.*no {broken} here.*newer NVIDIA driver") as told:
        first()
    assert len(told) == 1 and card.told[-2:] == single(0)
    assert (("close",) in card.told) == (broken not in ("create_stream", "create_graph_builder")), "the capture is ended"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second()
        second()
        card.told.clear()
        first()
    assert card.told == single(0), "it is not tried again"


def test_a_cuda_core_without_the_default_stream(card):
    core = graph._core()
    del core.LEGACY_DEFAULT_STREAM  # cuda-core 0.5
    replay = graph.Replay(launches(card.told))
    replay()
    with pytest.warns(RuntimeWarning, match="one by one.*LEGACY_DEFAULT_STREAM"):
        replay()
    replay()
    assert card.told == 3 * single(0)


def test_a_launch_that_cannot_be_captured_is_still_made(card):
    recorded = launches(card.told)
    replay = graph.Replay(recorded)
    replay()
    recorded[1].kernel.broken = True
    card.told.clear()
    with pytest.warns(RuntimeWarning, match="not while this stream is captured"):
        replay()
    assert ("close",) in card.told and card.told[-2:] == single(0)


def test_an_interrupted_capture_is_tried_again(card):
    recorded = launches(card.told)
    replay = graph.Replay(recorded)
    replay()
    recorded[0].kernel.__class__ = type("Interrupted", (Kernel,), {"__getitem__": interrupt})
    with pytest.raises(KeyboardInterrupt):
        replay()
    assert card.told[-1] == ("close",)
    recorded[0].kernel.__class__ = Kernel
    replay()
    assert card.told[-1] == ("launch graph", DEFAULT)


def interrupt(self, where):
    raise KeyboardInterrupt


def test_on_this_machine():
    """In the simulator single launches; on a card the same numbers come from the graph."""
    @family
    def add(dtype):
        def kernel(array, by):
            i = cuda.grid(1)
            if i < array.size:
                array[i] += by
        return kernel

    array = CARD.zeros(3, np.float32)
    replay = graph.Replay([Launch(add(np.float32), (1,), (4,), (array, by), 0) for by in (1, 2)])
    for _ in range(3):
        replay()
    found = np.empty(3, np.float32)
    CARD.get(array, found)
    np.testing.assert_array_equal(found, 9)
    assert (replay.graph is None) == graph.SIMULATED
