"""Import, fit 1,000 windows for one epoch, predict: JAX without another library."""

import jax
import jax.numpy as jnp
import numpy as np

series = np.sin(np.arange(1060) / 7).astype(np.float32)
X = np.lib.stride_tricks.sliding_window_view(series[:-1], 60)[:1000, :, None]
y = series[60:1060]

keys = jax.random.split(jax.random.key(0), 3)
limit = 64 ** -0.5
params = {"W": jax.random.uniform(keys[0], (1, 256), minval=-limit, maxval=limit), "b": jnp.zeros(256),
          "U": jax.random.uniform(keys[1], (64, 256), minval=-limit, maxval=limit),
          "V": jax.random.uniform(keys[2], (64, 1), minval=-limit, maxval=limit), "c": jnp.zeros(1)}


def forward(params, x):
    def step(state, x):
        h, c = state
        i, f, g, o = jnp.split(x @ params["W"] + h @ params["U"] + params["b"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), None

    zeros = jnp.zeros((len(x), 64))
    (h, _), _ = jax.lax.scan(step, (zeros, zeros), x.swapaxes(0, 1))
    return (h @ params["V"] + params["c"])[:, 0]


@jax.jit
def train(params, m, v, n, x, y):
    gradient = jax.grad(lambda params: jnp.mean((forward(params, x) - y) ** 2))(params)
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradient)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradient)
    params = jax.tree.map(lambda p, m, v: p - 1e-3 * m / (1 - 0.9 ** n) / (jnp.sqrt(v / (1 - 0.999 ** n)) + 1e-8), params, m, v)
    return params, m, v


m = v = jax.tree.map(jnp.zeros_like, params)
order = np.random.default_rng(0).permutation(1000)
for n, first in enumerate(range(0, 1000, 64), 1):
    rows = order[first:first + 64]
    params, m, v = train(params, m, v, float(n), X[rows], y[rows])
prediction = np.asarray(jax.jit(forward)(params, X))
print(prediction.shape, float(np.mean((prediction - y) ** 2)))
