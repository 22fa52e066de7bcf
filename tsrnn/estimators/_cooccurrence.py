"""Vectors of words from the texts alone: words that stand beside the same words get like vectors."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from sklearn.utils.extmath import randomized_svd

from tsrnn.data.vocabulary import FIRST_WORD, PADDING, Encoded
from tsrnn.parallel import one_blas_thread

WINDOW = 5        # words to each side
SMOOTHING = 0.75  # power of the contexts' frequencies: rare ones would look more telling than they are
ROUNDS = 4        # of the power iteration
DECIMALS = 4      # kept of each number
DEVIATION = 0.1   # of all numbers from 0, about as in an embedding that is drawn


def cooccurrence_vectors(encoded: Encoded, size: int, dim: int, seed: int) -> np.ndarray:
    """A table for an embedding: factors of the positive pointwise mutual information of words and their neighbours.

    Parameters
    ----------
    encoded : Encoded
        The texts' ids.  Those below `FIRST_WORD` are no words.
    size, dim : int
        V, E of the table.
    seed : int

    Returns
    -------
    table : (V, E) float32 array
        Ids without neighbours, and columns beyond the rank of the matrix, are drawn at random; padding has zeros.

    Notes
    -----
    O. Levy, Y. Goldberg, I. Dagan (2015).  Improving Distributional Similarity with Lessons Learned from Word Embeddings.
    TACL 3, 211-225: weights 1 / distance, contexts smoothed, square roots of the singular values.

    The bits of BLAS depend on its threads, so it has one; rounding hides what another library may do to them meanwhile.
    """
    rng = np.random.default_rng(seed)
    table = rng.normal(0, DEVIATION, (size, dim)).astype(np.float32)
    information = _information(_counts(encoded, size))
    rank = min(dim, size - 1)
    if information.nnz and rank > 0:
        with one_blas_thread():
            words, strengths, _ = randomized_svd(information, rank, n_iter=ROUNDS, random_state=seed % 2**32)
        known, n_real = np.diff(information.indptr) > 0, np.count_nonzero(strengths > strengths[0] * 1e-5)
        factors = (words * np.sqrt(strengths))[known, :n_real]
        table[known, :n_real] = np.round(factors * (DEVIATION / np.sqrt(np.mean(factors**2))), DECIMALS)
    table[PADDING] = 0
    return table


def _counts(encoded: Encoded, size: int) -> csr_matrix:
    """How often (V, V) words stand within `WINDOW` of each other in a text, each time with the weight 1 / distance."""
    ids, text = encoded.ids, np.repeat(np.arange(len(encoded.lengths)), encoded.lengths)
    counts = csr_matrix((size, size), dtype=np.float32)
    for distance in range(1, WINDOW + 1):
        left, right = ids[:-distance], ids[distance:]
        there = (text[:-distance] == text[distance:]) & (left >= FIRST_WORD) & (right >= FIRST_WORD)
        ones = np.full(np.count_nonzero(there), 1 / distance, np.float32)
        counts = counts + coo_matrix((ones, (left[there], right[there])), shape=(size, size)).tocsr()
    return (counts + counts.T).tocsr()


def _information(counts: csr_matrix) -> csr_matrix:
    """Positive pointwise mutual information: the logarithm of how much likelier a pair is than chance; none below 0."""
    total = np.asarray(counts.sum(axis=1), np.float64).ravel()
    context = total**SMOOTHING
    context /= max(context.sum(), 1e-300)
    pairs = counts.tocoo()
    value = np.log(pairs.data / (total[pairs.row] * context[pairs.col]))
    likelier = value > 0
    return csr_matrix((value[likelier], (pairs.row[likelier], pairs.col[likelier])), shape=counts.shape)
