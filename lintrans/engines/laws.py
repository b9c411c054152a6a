"""How kernels know a law of covariates: a number that names it, and two that describe it."""

from __future__ import annotations

from ..tasks import GammaScaled, Gaussian, LinearRegression, Sphere

GAUSSIAN, SPHERE, GAMMA = 0, 1, 2
"""Laws that kernels draw; their two numbers are (std, -), (radius, -) and (shape, scale)."""


def law_of(task: LinearRegression) -> tuple[int, float, float] | None:
    """The task's covariates as kernels know them; None for a law they do not know."""
    law = task.covariates
    if type(law) is Gaussian:
        return GAUSSIAN, float(law.std), 0.0
    if type(law) is Sphere:
        return SPHERE, float(law.radius), 0.0
    if type(law) is GammaScaled:
        return GAMMA, float(law.shape), float(law.scale)
    return None
