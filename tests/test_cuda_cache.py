"""The card's kernels on disk: compiled by the real compiler in processes of their own, for a card that need not be there."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

pytest.importorskip("numba_cuda", reason="the real compiler comes with numba-cuda")

SCRIPT = """if True:
    import hashlib, json, sys, warnings
    from types import SimpleNamespace as Some
    import numpy as np
    from numba.cuda import codegen, dispatcher, types
    card = Some(compute_capability=(9, 0), id=0)
    dispatcher.get_current_device = lambda: card
    codegen.devices = Some(get_context=lambda: Some(device=card))
    codegen.JITCUDACodegen.magic_tuple = lambda self: ("13.0", (9, 0))
    dispatcher._Kernel.bind = lambda self: self.library.get_cubin()  # compiled, not loaded
    from tsrnn.backends.cuda import feedforward
    from tsrnn.backends.cuda.jit import configured, family
    from tsrnn.backends.cuda.place import fill
    floats, number = types.Array(types.float32, 1, "C"), types.int64
    asked = [(fill(np.float32), (floats, number)), (fill(np.float64), (floats, number)),
             (feedforward.activate(np.float32, 1), (number, floats, number, number))]
    found = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for kernel, sig in asked:
            compiled = kernel.compile(sig)
            code = hashlib.sha256(compiled.library.get_cubin().code).hexdigest()
            found.append([sum(kernel._cache_hits.values()), compiled.entry_name, code, compiled.argument_types == sig])
    grids = []
    for configure in (lambda kernel, *where: kernel[where], configured):  # each with a grid that Numba has not seen
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            configure(asked[0][0], 1, 32 + len(grids))
        grids.append(len(seen))
    mine = family(lambda dtype: lambda array: None)(np.float32)
    print(json.dumps({"found": found, "told": [str(one.message) for one in told], "mine": type(mine._cache).__name__,
                      "grids": grids}))
"""


def ask(folder):
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "0", "TSRNN_CACHE_DIR": str(folder), "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_kernel_is_compiled_once(tmp_path):
    first = ask(tmp_path)
    assert [hits for hits, *_ in first["found"]] == [0, 0, 0] and not first["told"]
    assert len({code for _, _, code, _ in first["found"]}) == 3, "members of a family are different kernels"
    assert first["grids"] == [1, 0], "Numba warns of few blocks; a small batch is no fault of its user"
    assert first["mine"] == "NullCache", "the folder's name says nothing about other people's sources"
    entries = sorted(tmp_path.rglob("*.kernel"))
    assert [path.name.rpartition("-")[0] for path in entries] == [
        "tsrnn.backends.cuda.feedforward.activate", *2 * ["tsrnn.backends.cuda.place.fill"]]
    entries[0].write_bytes(entries[0].read_bytes()[:-1])
    second = ask(tmp_path)
    assert [hits for hits, *_ in second["found"]] == [1, 1, 0]
    assert len(second["told"]) == 1 and "is damaged" in second["told"][0]
    third = ask(tmp_path)
    assert [hits for hits, *_ in third["found"]] == [1, 1, 1] and not third["told"]
    for later in (second, third):
        assert [rest for _, *rest in later["found"][:2]] == [rest for _, *rest in first["found"][:2]]
    assert all(same for found in (first, second, third) for *_, same in found["found"])
