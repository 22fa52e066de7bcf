"""Recorded launches as a CUDA graph: one call for all of them, where each by itself costs Python some ten microseconds."""

from __future__ import annotations

import functools
import warnings

from tsrnn.backends.cuda.jit import SIMULATED, compiler_lock, configured, cuda

_said: set[str] = set()


class Replay:
    """Launches kernel by kernel at the first call, which compiles and loads them, and as one graph from the second on.

    Everything runs on the default stream, as copies do, so that there is but one order.  That stream cannot be captured: the
    graph is built on a stream of its own, which does not wait for the default one, and launched where everything else is.
    Where it cannot be built, launches stay single, with one warning a process.

    Parameters
    ----------
    launches : list of Launch
        May grow until the first call.  Their arrays live as long as this does.
    """

    def __init__(self, launches: list):
        self.launches = launches
        self.calls: list | None = None
        self.graph = self.stream = None
        self.single = SIMULATED  # no graph, or none any more

    def __call__(self) -> None:
        """Starts all launches, in their order; does not wait for them."""
        if self.graph is None and self.calls is not None and not self.single:
            self._capture()
        if self.graph is not None:
            self.graph.launch(self.stream)
            return
        if self.calls is None:  # `kernel[...]` looks a launch up in a table that all kernels share: once is enough
            self.calls = [(configured(kernel, grid, block, 0, shared), args)
                          for kernel, grid, block, args, shared in self.launches]
        for call, args in self.calls:
            call(*args)

    def _capture(self) -> None:
        try:
            self.stream = _core().LEGACY_DEFAULT_STREAM  # which not every cuda.core has
            self.graph, self.calls = _build(self.launches), []
        except Exception as error:  # an older driver, another cuda.core: whatever it is, single launches work
            self.single = True
            if "told" not in _said:
                _said.add("told")
                warnings.warn(f"kernels are launched one by one, which is slower: CUDA graphs do not work here ({error!r}); a "
                              "newer NVIDIA driver or a newer package cuda-core may help", RuntimeWarning, stacklevel=4)


def _core():
    import cuda.core

    return cuda.core


@functools.cache
def _stream(number: int):
    """The stream of a card on which graphs are built.  It stays: numba keeps launches by their streams' handles."""
    device = _core().Device(number)
    device.set_current()
    return device.create_stream()  # it does not wait for the default stream, nor that one for it


def _build(launches):
    """The executable graph.

    All kernels have been launched before: while a stream is captured nothing may be compiled, loaded or, as numba does with
    what nobody needs any more, set free.  Two threads must not capture the same stream.
    """
    with compiler_lock(), cuda.defer_cleanup():
        stream = _stream(cuda.get_current_device().id)
        builder = stream.create_graph_builder()
        try:
            builder.begin_building("relaxed")  # what other threads do meanwhile is their business
            for kernel, grid, block, args, shared in launches:
                configured(kernel, grid, block, stream, shared)(*args)
            return builder.end_building().complete()
        finally:
            builder.close()  # ends a capture that has failed, too
