"""How kernels know a law of covariates: a number that names it, and two that describe it."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import choice
from ..tasks.regression import LinearRegression
from .cpu.arguments import FACTOR, FRAME, GAMMA, GAUSSIAN, SPHERE

NAMES = {"gaussian": GAUSSIAN, "sphere": SPHERE, "gamma": GAMMA}
"""What a law calls its kernel: see ``lintrans.tasks.regression.Covariates``."""


class Drawn(NamedTuple):
    """What kernels draw for a task: a law, its numbers, and how many rows stand for the context."""

    law: int
    number1: float
    number2: float
    n: int


def tokens_of(task: LinearRegression) -> Drawn | None:
    """The task's prompts as tokens; None for a law, or a task, that kernels do not know.

    What is inherited does not count: a subclass may draw otherwise.
    """
    law: Any = task.covariates
    if type(task) is not LinearRegression or "kernel" not in vars(type(law)):
        return None
    name, numbers = law.kernel
    if task.factored:
        return Drawn(FRAME, float(numbers[0]), float(task.n), task.n)
    number1, number2 = (*map(float, numbers), 0.0)[:2]
    return Drawn(NAMES[choice("the kernel of a law", name, NAMES)], number1, number2, task.n)


def moments_of(task: LinearRegression) -> Drawn | None:
    """Rows with the second moments of the same prompts, fewer where that is possible; None as above."""
    drawn = tokens_of(task)
    return Drawn(FACTOR, drawn.number1, drawn.number2, task.d) if drawn is not None and task.factored else drawn


def rows_of(drawn: Drawn, d: int) -> int:
    """Rows of memory that a chunk of prompts is drawn in, a multiple of four."""
    spare = {FACTOR: d, FRAME: (d + 3) * d}.get(drawn.law, 3)  # normals come in fours, the teacher's too
    return -(-((drawn.n + 2) * d + spare) // 4) * 4
