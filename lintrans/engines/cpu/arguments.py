"""What kernels are called with: numbers of laws and rules, and arguments by name.

Numba takes a named tuple of arrays and numbers as it takes these.

In shapes R are runs, G parameters of a run, T threads.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any, NamedTuple, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

GAUSSIAN, SPHERE, GAMMA, FACTOR, FRAME = 0, 1, 2, 3, 4
"""Laws that kernels draw. Their numbers are those of the law's ``kernel``, and (std, context length) for the last two.

The last two are Gaussian covariates as ``LinearRegression.factored`` has them: the triangular factor alone, whose d
rows have the second moments of the context, or the context itself.
"""

SGD, ADAM, SIGNUM, NORMALIZED, GROUPED = range(5)
"""Rules of optimizers; see :mod:`lintrans.engines.rules`."""


class Pieces(NamedTuple):
    """Addresses of what depends on a model's shape; see :mod:`~lintrans.engines.cpu.shape_kernels`."""

    prompts: int
    moments: int
    gradient: int


class Trained(NamedTuple):
    """What a training changes in place, as in ``State``.

    Attributes:
        theta, first, second: [R, G].
        updates, skipped, clipped, diverged: [R] int64.
        new: [R, 3, G], memory for what a step proposes.
    """

    theta: Array
    first: Array
    second: Array
    updates: Array
    skipped: Array
    clipped: Array
    diverged: Array
    new: Array


class Rules(NamedTuple):
    """How runs are trained: lr and clip [R] float64, then as :func:`~lintrans.engines.rules.rules_of` has them."""

    lr: Array
    clip: Array
    rule: Array
    hyper: Array
    group: Array
    share: Array


class Seeds(NamedTuple):
    """Runs of seed number s, uint32, are order[starts[s]:starts[s + 1]]."""

    order: Array
    starts: Array
    seeds: Array


class Wanted(NamedTuple):
    """What is drawn: ``laws.Drawn``, then d, the stream (uint32), the first step, and prompts in a batch."""

    law: int
    number1: float
    number2: float
    n: int
    d: int
    stream: Any
    step: int
    batch: int


class Memory(NamedTuple):
    """Memory of each thread.

    Attributes:
        work: [T, ...], the algebra's values.
        data: [T, blocks, numbers, lanes], the moments of a chunk of prompts.
        tokens, norms, lengths: [T, rows, PITCH], [T, CHUNK], [T, 3, ...] float64, prompts being drawn.
    """

    work: Array
    data: Array
    tokens: Array
    norms: Array
    lengths: Array


class TokenModel(NamedTuple):
    """What pieces on tokens ask for beside parameters: depth, context length, heads, kind of attention."""

    layers: int
    n: int
    heads: int
    kind: int


DrawArguments = namedtuple(
    "DrawArguments", "out norms lengths rows room lanes first count seed step stream n d law number1 number2"
)
"""Arguments of the piece that draws prompts; see :func:`lintrans.engines.cpu.shape_kernels.prompts`."""

TokenArguments = namedtuple(
    "TokenArguments", "given theta sums work own take blocks rows count layers n heads kind back scale inverse"
)
"""Arguments of the pieces that differentiate on tokens; see :func:`lintrans.engines.cpu.mlp.gradient`."""
