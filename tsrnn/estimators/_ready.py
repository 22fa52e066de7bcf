"""What a fitted estimator keeps between two calls of `predict`: engines, and the forms of X that the door has let pass.

The full check of X takes longer than the network takes for one window.  Nearly all of it asks what X *is*, and the answer
for a plain array follows from its type and shape.  So a form that has passed once is known from then on, and of the next plain
array of that form only the values are looked at, every one of them.  Whatever is not plain, not known or not in order goes
through the full check, which then says what is wrong.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tsrnn.backends.contract import Data
from tsrnn.data.batches import plain
from tsrnn.engine import Samples
from tsrnn.estimators._targets import Layout
from tsrnn.network import Network
from tsrnn.predictor import Predictor

MOST_FORMS, MOST_ROWS = 8, 256  # 40 bytes a row each; with more rows the network takes far longer than the check


class Form(NamedTuple):
    """What follows from the shape of a plain X."""

    layout: Layout
    data: Data  # but for its values


class Ready:
    """A network with weights that stay as they are, and the forms of X that it has seen.

    Parameters
    ----------
    network : Network
    theta : array of shape (n_params,)
    """

    def __init__(self, network: Network, theta: np.ndarray):
        self.theta, self.predict = theta, Predictor(network, plain(theta))  # a model in a memory map is read-only
        self._type = np.dtype(np.int32) if network.is_ids else theta.dtype
        self._n_ids = network.embedding.vocabulary_size if network.embedding is not None else 0
        self._forms: dict[tuple[int, ...], Form] = {}

    def _is_plain(self, X: Any) -> bool:
        """Whether X is exactly an ndarray, and lies in memory as the kernels read it: native, C-contiguous, aligned."""
        return type(X) is np.ndarray and X.dtype == self._type and X.flags.c_contiguous and X.flags.aligned

    def known(self, X: Any) -> tuple[Layout, Data] | None:
        """Layout and samples of a plain X in a known form with sound values; None: the full check must see it."""
        if not self._is_plain(X):
            return None
        form = self._forms.get(X.shape)
        if form is None:
            return None
        # ids below 0 are huge as unsigned numbers
        sound = X.view(np.uint32).max() < self._n_ids if self._n_ids else np.isfinite(X).all()
        if not sound:
            return None
        flat = X.reshape(-1) if X.flags.writeable else plain(X.reshape(-1))
        return form.layout, form.data._replace(ids=flat) if self._n_ids else form.data._replace(values=flat)

    def remember(self, X: Any, layout: Layout, samples: Samples) -> None:
        """X has passed the full check, which has made `samples` of it."""
        if not (self._is_plain(X) and isinstance(samples, Data)) or len(X) > MOST_ROWS:
            return
        if len(self._forms) >= MOST_FORMS:
            self._forms.clear()
        none = {"ids": np.zeros(1, np.int32)} if self._n_ids else {"values": np.zeros(1, self._type)}
        self._forms[X.shape] = Form(layout, samples._replace(**none))
