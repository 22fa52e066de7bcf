"""One LSTM layer with its states: step by step gives what the whole sequence gives at once.

PyTorch's tutorial on sequence models starts with this.  There it reads ``out, hidden = lstm(x, hidden)``; here the weights
are an argument too, because a layer is only a description.  Samples come first: x is (samples, steps, features).
"""

import numpy as np

from tsrnn.layers import LSTM


def random_weights(units, features, rng):
    """Weights in PyTorch's layout: the gates i, f, g, o below one another."""
    shapes = {"W_ih": (4 * units, features), "W_hh": (4 * units, units), "b_ih": (4 * units,), "b_hh": (4 * units,)}
    return {name: rng.uniform(-0.5, 0.5, shape) for name, shape in shapes.items()}


def main(samples=2, steps=5, features=3, units=4):
    rng = np.random.default_rng(0)
    layer = LSTM(units)
    weights = random_weights(units, features, rng)
    x = rng.normal(size=(samples, steps, features))
    start = (rng.normal(size=(samples, units)), rng.normal(size=(samples, units)))  # (h, c), as (h_0, c_0) in PyTorch

    # all steps in one call: `out` holds h after every step, the state is the last (h, c)
    out, (h, c) = layer.apply(weights, x, start)

    # the same, one step a call, handing the state on: what a program does that gets its values one by one
    state, one_by_one = start, []
    for t in range(steps):
        y, state = layer.apply(weights, x[:, t:t + 1], state)
        one_by_one.append(y[:, 0])

    # sequences of different lengths: behind its last real step a sample's state stands still
    _, (h_short, _) = layer.apply(weights, x, start, lengths=[steps] * (samples - 1) + [2])

    print("out", out.shape, "h", h.shape, "c", c.shape)
    print("h after every step, first sample:", out[0].round(3), sep="\n")
    print("step by step equals all at once:", np.array_equal(np.stack(one_by_one, axis=1), out))
    print("final states are equal:         ", np.array_equal(state[0], h) and np.array_equal(state[1], c))
    print("with lengths, h is that of step 2:", np.array_equal(h_short[-1], out[-1, 1]))
    return out, np.stack(one_by_one, axis=1), (h, c), state, h_short


if __name__ == "__main__":
    main()
