"""What a backend has to do, said once.

A network is lowered to a *plan*: a table of integers, one row an operation, executed top to bottom for the forward pass
and bottom to top for the backward pass.  A backend is a package of a few functions over plain arrays:

``kernels(rows, dtype, train) -> table``
    Makes the operations of a plan ready to run; may write the columns from ADDRESSES on.
``assign_pack(rows, itemsize) -> size`` and ``pack(plan, theta, packed)``
    Rearranges the parameters for the backend's products, once an optimizer step.  What `packed` holds is the backend's
    own business; `assign_pack` writes the column PACK of the rows and tells how many elements `packed` takes.
``run(mode, plan, data, batch, params, scratch, sums, out, first, stop, step)``
    Runs the chunks ``first, first + step, ... < stop`` of one batch forward: in mode ``PREDICT`` the logits go to
    ``out (n_batch, T_out * K)``; in ``EVALUATE`` the loss goes to `sums` as well.
``train(plan, data, steps, params, scratch, sums, update, meeting, thread)``
    Runs training steps, one batch after the other: parameters packed, chunks forward and backward, the chunks' gradients
    summed by a fixed tree and the tokens' into the embedding table, L2, clipping, the solver's step on theta.  Each of a
    team's threads calls it once, with a number and a scratch of its own; between the parts of a step they wait for each other,
    see Meeting.  ``meeting[DONE]`` counts the steps; it ends early where a loss or the gradient's norm is not finite, and that
    step changes nothing.  With solver ``NO_SOLVER`` no step does: the gradient, after L2 and clipping by value, is what is
    left.

``place``
    Where its arrays lie and how it cuts a batch, see `tsrnn.backends.place`.

Alphabet: ``B`` rows of a chunk, ``T`` steps, ``F`` features, ``H`` hidden units, ``V`` vocabulary, ``E`` embedding, ``C``
channels, ``K`` kernel width or outputs.

Memory
------
Inside a chunk every activation is *time-major*: ``(T, B, F)``, or ``(B, F)`` which is the same thing with ``T = 1``.  An
operation with ``REPEAT = r`` (inside ``TimeDistributed``) sees ``B * r`` rows: row ``s * B + b`` is sub-sequence ``s`` of
sample ``b``.  All buffers of a chunk lie in one flat array ``mem`` and are proportional to ``B``; a plan therefore holds
*unit offsets*: a buffer with unit offset ``u`` starts at ``mem[u * B]``.  Masks (1 = real step) lie in ``mask`` the same
way, ``(T, B)`` bytes; offset ``NONE`` means that every step is real.  Parameters lie in one flat vector ``theta``; matrices are
stored ``(in, out)``, so that the weight gradients of all layers are products ``x^T dy``.

Tokens
------
Text repeats its words: 16 reviews of 200 tokens hold some 800 different ones.  Where the layer behind an embedding is
recurrent, and no dropout lies between them, a chunk numbers its D distinct tokens in the order of their first appearance
(sample by sample, step by step).  ``indices`` then holds three things from WORK on: the number of each position's token
(T, B), the ids of the distinct tokens in ``T * B`` places, and D.  The embedding's output has one row a distinct token, the
recurrent layer (SLOTS) takes the products with W_ih of these rows alone, and gathers; backward it sums the gate gradients of
each token first.  That is the same up to the order of additions.

Chunks
------
``place.chunk_rows(n)`` cuts a batch into fixed chunks by its size alone, never by the number of threads; each chunk has a
gradient row of its own, and the rows are summed by a fixed tree.  The gradient's norm is summed block by block (``BLOCK``), in
the order of the blocks.  So the number of threads cannot change a bit, nor can it matter which of them took what.

Meeting
-------
The words through which the threads of a call of `train` find each other: ``N_THREADS`` take part; the last of them to come to
a barrier (``ARRIVED``) opens it (``GENERATION``) and lets work be drawn from number 0 again (``DRAWN``).  ``ABORTED`` is set
where a thread will never come: then those who wait for it leave, and nothing has changed since the last barrier.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NONE = -1

# ---- modes of `run`
PREDICT, EVALUATE, TRAIN = 0, 1, 2

# ---- blocks of the gradient that threads share out: dense parameters by BLOCK, an embedding table by whole rows of about that
BLOCK = 1024

# ---- words of a meeting, each that changes under others' eyes two cache lines from the next (processors fetch lines in pairs)
N_THREADS, ABORTED, DONE, ARRIVED, GENERATION, DRAWN = 0, 1, 16, 32, 48, 64
MEETING_WORDS = 80

# ---- operations (column OP)
INPUT = 0      # gather the chunk's samples from data.values               -> Y (T, B, F); writes MASK_OUT in a masked plan
IDS = 1        # gather the chunk's ids from data.ids                      -> indices at WORK (T, B); MASK_OUT likewise;
               # OPTION & 1: id 0 is padding; OPTION & 2: the tokens are numbered, see Tokens
EMBEDDING = 2  # ids at WORK -> rows of the table at PARAM (V, E)          -> Y (T, B, E); with OPTION & 2 -> Y (D, E), one
               # row a distinct token.  Backward hands DY to `sums.tokens`
RECURRENT = 3  # one direction of an LSTM, GRU or RNN layer
MERGE = 4      # X, X2 -> Y by MERGE_SUM, MERGE_MUL or MERGE_AVE           (concatenation needs no operation, see LD, COL)
DENSE = 5      # Y = act(X W + b), every step                              W (F_IN, F_OUT), b (F_OUT)
CONV = 6       # Y_t = act(sum_k X_{t+k-PAD} W_k + b)                      W (K, F_IN, F_OUT), b (F_OUT)
MAX_POOL = 7   # over windows of KERNEL steps (the last window may be short); MASK_OUT: all steps of the window
               # are real; a sample without such a window keeps the last window that has a real step
AVERAGE_POOL = 8
GLOBAL_MAX = 9    # over the real steps of the whole sequence              (T, B, F) -> (B, F); 0 where no step is real
GLOBAL_MEAN = 10  # mean over the real steps; 0 where there is none
DROPOUT = 11   # Y = X * keep / (1 - rate); OPTION 1: one mask for all steps of a sample
RESHAPE = 12   # (T_IN, B, F_IN) -> (T_OUT, B, F_OUT): every sample's values in order, time first
CLEAR = 13     # Y = X with masked steps set to 0 (before a convolution); CONV and CLEAR may write MASK_OUT
ACTIVATION = 14   # Y = act(X)
LOSS = 15      # the last row: logits X (T_IN, B, F_IN) against the targets; backward writes DX
N_OPS = 16

# ---- columns of a plan row
OP = 0
REPEAT = 1     # rows seen are B * REPEAT
T_IN, F_IN, T_OUT, F_OUT = 2, 3, 4, 5
X, Y, DX, DY = 6, 7, 8, 9  # unit offsets into mem; DX = NONE: nobody needs it; in modes without backward DX, DY are NONE
ADD_DX = 10    # 1: backward adds to DX, which another operation (executed before, that is, below in the plan) has written
X2, DX2 = 11, 12
MASK_IN, MASK_OUT = 13, 14  # unit offsets into mask
PARAM = 15     # offset of the operation's parameters in theta, and of their gradient in a gradient row
PACK = 16      # offset into packed
WORK = 17      # RECURRENT: gates (T, B, slots * H) where backward follows (KEEP), else of one step.  MAX_POOL, GLOBAL_MAX:
               # unit offset of the winning steps in `indices`, (T_OUT, B, F) ints, NONE where no step is real.  IDS,
               # EMBEDDING: unit offset of the ids in `indices`
H_SEQ = 18     # RECURRENT: states h, (T + 2, B, LD), columns COL..COL+H: row t + 1 belongs to step t; row 0 holds h0 of a
               # forward layer and row T + 1 that of a reversed one.  With SEQUENCE the output Y *is* rows 1..T
C_SEQ = 19     # LSTM: cell states c, (T + 2, B, H), same rows
H_DROP = 20    # (T + 1, B, H): h_{t-1} * recurrent dropout mask, what really entered W_hh, and last the mask; NONE without
DH, DC = 21, 22   # (2, B, H) and (B, H): running gradients, after backward those of h0 and c0; in DH room for one more
LD, COL = 23, 24  # RECURRENT: row length and first column in H_SEQ, Y and DY: 2H and 0 | H in a concatenated pair
REVERSE = 25   # 1: from the last step to the first
SEQUENCE = 26  # RECURRENT: 1: Y is every step (T, B, LD); 0: Y (B, LD) is the state after the last step
CODE = 27      # cell, merge mode or loss
KERNEL = 28    # kernel or pool width
PAD = 29       # CONV: zeros before the first step ("same": (K - 1) // 2)
STREAM = 30    # DROPOUT, RECURRENT (recurrent dropout): which counter-based random stream
OPTION = 31    # RECURRENT: 1: the initial states are in their rows already (else they are set to 0); IDS, DROPOUT: see there
ACT = 32       # RECURRENT with cell RNN, DENSE, CONV, ACTIVATION: activation
SLOTS = 33     # RECURRENT: unit offset in `indices` of the tokens' numbers: X and DX are (D, F) then; NONE without
TABLE = 34     # RECURRENT with SLOTS: (D, slots * H + GAP): x parts of the distinct tokens; backward, their gate gradients
VOCABULARY = 35  # IDS with OPTION & 2: V; the last V of `indices` belong to it, zeros before and after
KEEP = 36      # RECURRENT: 1: WORK holds the gates of all steps
SLICE = 37     # RECURRENT: (SLICE_STEPS, B, slots * H + GAP): x parts of the gates of some steps, then the sums with their h
               # parts; backward, their gradients
SLICE_STEPS = 38
ADDRESSES = 39  # this column and those behind it are the backend's own, see `kernels`
N_COLUMNS = 45

GAP = 16  # floats between the rows of a table: rows of 4 KiB, one right behind the other, would share few lines of the cache

# ---- cells: gates in the order of PyTorch.  The x part and the h part of the first `shared` gates are summed before the
# activation; the other gates keep them apart (GRU, reset after).  Slots of WORK: the h part of all gates in order
# (shared ones with the x part added), then the x part of those kept apart.
LSTM, GRU, RNN = 0, 1, 2

# ---- activations
LINEAR, TANH, RELU, SIGMOID = 0, 1, 2, 3

MERGE_SUM, MERGE_MUL, MERGE_AVE = 0, 1, 2

# ---- losses: l(target, logit); K outputs are averaged
SQUARED = 0    # (p - y)^2
ABSOLUTE = 1   # |p - y|
HUBER = 2      # d = |p - y|: d^2 / 2 if d <= delta else delta (d - delta / 2)
POISSON = 3    # exp(p) - y p
QUANTILE = 4   # max(q (y - p), (q - 1) (y - p)); output k belongs to target k // Q and quantile k % Q
SIGMOID_CE = 5  # log(1 + e^p) - y p, each output by itself
SOFTMAX_CE = 6  # log sum_k e^{p_k} - p_y; one target, the class number; not averaged over K


class Cell(NamedTuple):
    """What the layout of a recurrent layer's memory and parameters depends on."""

    code: int
    gates: int
    shared: int  # gates whose x part and h part are summed
    has_cell_state: bool

    @property
    def slots(self) -> int:
        """Columns of WORK in units of H."""
        return 2 * self.gates - self.shared


CELLS = (Cell(LSTM, 4, 4, True), Cell(GRU, 3, 2, False), Cell(RNN, 1, 1, False))


class Plan(NamedTuple):
    """A lowered network: integers, and what goes with them."""

    rows: np.ndarray     # (n_ops, N_COLUMNS) int64
    rates: np.ndarray    # (n_ops,) float64: dropout rates
    loss: np.ndarray     # float64: huber delta, or the quantiles; never empty
    kernels: np.ndarray  # (n_ops + 1, 2) int64: how the backend finds the forward and backward code of each row; the last row
                         # is the backend's own


class Data(NamedTuple):
    """The samples of a fit or a prediction, flat; sample i begins at ``starts[i]``.

    Values of step t are ``values[starts[i] + t * C : ... + C]``, so overlapping windows of one series need no copy.
    """

    values: np.ndarray         # flat floats; (1,) where the input is ids
    ids: np.ndarray            # flat int32; (1,) where the input is floats
    starts: np.ndarray         # (n,) int64, elements
    lengths: np.ndarray        # (n,) int64, real steps from `starts` on
    targets: np.ndarray        # flat floats; class numbers for SOFTMAX_CE; (1,) in mode PREDICT
    target_starts: np.ndarray  # (n,) int64: target k of step t is targets[target_starts[i] + t * K + k]
    weights: np.ndarray        # (n, 1) or (n, T_out) floats: sample or step weights
    totals: np.ndarray         # (n,) float64: sum of the weights of the sample's real steps


class Batch(NamedTuple):
    """Which samples `run` takes."""

    order: np.ndarray    # (n_batch,) int64: sample numbers
    rows: int            # rows of a chunk
    key: np.ndarray      # (2,) uint32: means nothing where no dropout acts


class Steps(NamedTuple):
    """Consecutive batches that share a plan, under which constants and random numbers, and what comes of them."""

    order: np.ndarray    # (n,) int64: sample numbers
    bounds: np.ndarray   # (n_steps, 2) int64: batch i is order[bounds[i, 0]:bounds[i, 1]]
    rows: np.ndarray     # (n_steps,) int64: rows of a chunk, `chunk_rows` of the batch
    keys: np.ndarray     # (n_steps, 2) uint32: from seed and epoch, see `random_key`
    hyper: np.ndarray    # (n_steps, N_HYPER) float64: the solver's constants, see `tsrnn.backends.solvers`
    losses: np.ndarray   # (n_steps, 3) float64, written: the batch's sums of w l and of w [right], and the L2 penalty


class Update(NamedTuple):
    """The end of a training step: what the optimizer works on."""

    solver: int
    gradient: np.ndarray   # (P_trained,): parameters from the first on that are trained
    moments: np.ndarray    # (n_moments, P_trained)
    penalised: np.ndarray  # (k, 2) int64: spans [start, stop) of theta under L2
    frozen: np.ndarray     # (k, 2) int64: spans whose gradient is 0
    table: np.ndarray      # (3,) int64: where in theta the embedding table lies that is trained, V, E; zeros without
    squares: np.ndarray    # (n_blocks, 2) float64: room for sums of squares, of the gradient and of penalised parameters


class Params(NamedTuple):
    theta: np.ndarray   # (P,)
    packed: np.ndarray  # the backend's own rearrangement
    grads: np.ndarray   # (n_chunks, P_dense): gradients of everything but embedding tables, which lie behind in theta


class Scratch(NamedTuple):
    """Memory of one thread."""

    mem: np.ndarray      # floats, plan units * B
    indices: np.ndarray  # int32: winners of max pooling, ids of the chunk, plan units * B; then the numbering's V zeros
    mask: np.ndarray     # uint8


class Sums(NamedTuple):
    """What the chunks of a batch hand back."""

    loss: np.ndarray    # (n_chunks, 2) float64: sum of w l, sum of w [prediction is right] (classification; else 0)
    tokens: np.ndarray  # flat floats: gradients of the embedding's output, E a row.  A chunk has the T * B rows from T * first
                        # on: one a position, sample by sample, or one a distinct token; (1,) without
    token_ids: np.ndarray = np.zeros(1, np.int32)  # the id of each of these rows, -1 of those that hold nothing


def n_blocks(n_dense: int, V: int, E: int) -> int:
    """Blocks of the gradient of `n_dense` parameters and a table (V, E)."""
    rows = max(1, BLOCK // max(E, 1))
    return -(-n_dense // BLOCK) + -(-V // rows)


def random_key(seed: int, epoch: int) -> np.ndarray:
    """The two words that all dropout masks of an epoch depend on."""
    return np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint32)
