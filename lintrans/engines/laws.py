"""How kernels know a law of covariates: a number that names it, and two that describe it."""

from __future__ import annotations

from typing import NamedTuple

from ..tasks import GammaScaled, Gaussian, LinearRegression, Sphere

GAUSSIAN, SPHERE, GAMMA, FACTOR, FRAME = 0, 1, 2, 3, 4
"""Laws that kernels draw. Their numbers are (std, context length) for the first and the last two, else (radius, -) and
(shape, scale).

The last two are Gaussian covariates as ``LinearRegression.factored`` has them: the triangular factor alone, whose d
rows have the second moments of the context, or the context itself.
"""


class Drawn(NamedTuple):
    """What kernels draw for a task: a law, its numbers, and how many rows stand for the context."""

    law: int
    number1: float
    number2: float
    n: int


def tokens_of(task: LinearRegression) -> Drawn | None:
    """The task's prompts as tokens; None for a law that kernels do not know."""
    law = task.covariates
    if type(law) is Gaussian:
        return Drawn(FRAME if task.factored else GAUSSIAN, float(law.std), float(task.n), task.n)
    if type(law) is Sphere:
        return Drawn(SPHERE, float(law.radius), 0.0, task.n)
    if type(law) is GammaScaled:
        return Drawn(GAMMA, float(law.shape), float(law.scale), task.n)
    return None


def moments_of(task: LinearRegression) -> Drawn | None:
    """Rows with the second moments of the same prompts, fewer where that is possible; None as above."""
    drawn = tokens_of(task)
    return Drawn(FACTOR, drawn.number1, drawn.number2, task.d) if drawn is not None and task.factored else drawn


def rows_of(drawn: Drawn, d: int) -> int:
    """Rows of memory that a chunk of prompts is drawn in, a multiple of four."""
    spare = {FACTOR: d, FRAME: (d + 3) * d}.get(drawn.law, 3)  # normals come in fours, the teacher's too
    return -(-((drawn.n + 2) * d + spare) // 4) * 4
