"""Networks drawn at random: sizes beside the vectors and tiles, batches beside the chunks, padding of all kinds."""

from __future__ import annotations

import numpy as np
import pytest
from gradcheck import analytic, make_data, make_engine
from networks import CELL_IDS, CELLS, DIRECTIONS, recurrent

from tsrnn.layers import Conv1D, Dense, Embedding, Reshape, TimeDistributed
from tsrnn.network import Network

KINDS = ("full", "ragged", "masked ids", "ids", "distributed", "convolution")


def draw(rng, kind, cell, options):
    """Layers, input shape and data options."""
    units, more_units, B = rng.integers(1, 41, 3).tolist()
    T, F = rng.integers(1, 9, 2).tolist()

    def layer(units, sequences):
        dropout = {name: 0.3 for name in ("recurrent_dropout", "input_dropout") if rng.random() < 0.3}
        return recurrent(cell, options, rng.choice(DIRECTIONS), sequences, units, **dropout)

    ragged = {"lengths": rng.integers(1, T + 1, B)}
    padded = {"n": B, "padding": rng.integers(0, T, B)}
    stack = [layer(units, True), layer(more_units, bool(rng.integers(2))), Dense(2)]
    return {
        "full": ([Dense(3, "tanh"), *stack], (T, F), {"n": B}),
        "ragged": (stack, (T, F), ragged),
        "masked ids": ([Embedding(7, F, mask_zero=True), *stack], (T,), padded),
        "ids": ([Embedding(4, F), *stack[1:]], (T,), padded),
        "distributed": ([Reshape((3, T, F)), TimeDistributed(layer(units, False)), *stack[1:]], (3 * T, F), {"n": B}),
        "convolution": ([Conv1D(units, 3, activation="relu"), *stack[1:]], (T, F), ragged),
    }[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell, options", CELLS, ids=CELL_IDS)
def test_backends_agree_on_networks_drawn_at_random(cell, options, kind):
    rng = np.random.default_rng([KINDS.index(kind), len(cell), len(options)])
    for _ in range(5):
        layers, shape, form = draw(rng, kind, cell, options)
        for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-5)):
            networks = [Network(layers, shape, backend=backend) for backend in ("numpy", "cpu")]
            data = make_data(networks[0], steps=shape[0], dtype=dtype, **form)
            numpy, cpu = (make_engine(network, dtype) for network in networks)
            told = f"{layers} {form}"
            np.testing.assert_allclose(cpu.predict(data), numpy.predict(data), rtol=tolerance, atol=tolerance, err_msg=told)
            (_, gradient), (_, expected) = analytic(cpu, data), analytic(numpy, data)
            np.testing.assert_allclose(gradient, expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=told)
