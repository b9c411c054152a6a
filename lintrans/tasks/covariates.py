"""Laws of covariates: isotropic, hence a law of the length times a uniform direction.

What one has beside its sampler (its name in TeX, its tail, its kernel) stands in its class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
import scipy
import torch
from torch import Tensor

from ..errors import SQUARES, real, settle
from ..random import Source

Array: TypeAlias = npt.NDArray[np.float64]


@runtime_checkable
class Covariates(Protocol):
    """A law of covariates: isotropic, hence a law of the length times a uniform direction.

    This is all that a law of a user's own needs. It may have more: ``tex``, its name in TeX; ``survival(t, d)``,
    P(||x||^2 > t) of an array; and ``kernel``, how compiled loops know it, a name of :mod:`lintrans.engines.laws` and
    its numbers. Without a kernel of its own class, whatever it inherits, its prompts are drawn by :meth:`draw`.
    """

    def draw(self, source: Source, tokens: int, d: int) -> Tensor:
        """Independent covariates [*seeds, tokens, d, batch] in float64, of the numbers of a source."""

    def squared_norm(self, d: int) -> float:
        """E ||x||^2, which is also the loss of the zero predictor."""


SHAPES = 1e-6, 1e12
"""Shapes of the Gamma law whose sampler keeps its digits: beyond them attempts are accepted too rarely, or never."""


def length(name: str, value: Any) -> float:
    """Return a positive number whose square float64 can hold."""
    return real(name, value, least=SQUARES[0], most=SQUARES[1])


def tex(law: Any) -> str:
    """A law's name for a page or a figure: its TeX between dollars, else what Python calls it."""
    own = getattr(law, "tex", "")
    return f"${own}$" if own else repr(law).replace("$", "")


@dataclass(frozen=True)
class Gaussian:
    """x ~ N(0, std^2 I_d)."""

    std: float = 1.0

    def __post_init__(self) -> None:
        settle(self, std=length("std", self.std))

    def draw(self, source: Source, tokens: int, d: int) -> Tensor:
        return self.std * source.normals(tokens * d).reshape(*source.lead, tokens, d, source.batch)

    def squared_norm(self, d: int) -> float:
        """E ||x||^2 = d std^2."""
        return d * self.std**2

    @property
    def tex(self) -> str:
        return rf"\mathcal{{N}}(0, {'' if self.std == 1 else f'{self.std**2:g} '}I_d)"

    def survival(self, t: Array, d: int) -> Array:
        return np.asarray(scipy.stats.chi2.sf(t / self.std**2, d))

    @property
    def kernel(self) -> tuple[str, tuple[float, ...]]:
        return "gaussian", (self.std,)


@dataclass(frozen=True)
class Sphere:
    """x uniform on the sphere of the given radius in R^d."""

    radius: float = 1.0

    def __post_init__(self) -> None:
        settle(self, radius=length("radius", self.radius))

    def draw(self, source: Source, tokens: int, d: int) -> Tensor:
        return self.radius * source.directions(tokens, d)

    def squared_norm(self, d: int) -> float:
        """||x||^2 = radius^2, always."""
        return self.radius**2

    @property
    def tex(self) -> str:
        return rf"\mathrm{{Unif}}({'' if self.radius == 1 else f'{self.radius:g} '}S^{{d-1}})"

    def survival(self, t: Array, d: int) -> Array:
        return np.where(t < self.squared_norm(d), 1.0, 0.0)

    @property
    def kernel(self) -> tuple[str, tuple[float, ...]]:
        return "sphere", (self.radius,)


@dataclass(frozen=True)
class GammaScaled:
    """x = sqrt(g) u with g ~ Gamma(shape, scale) and u uniform on the unit sphere.

    Shape 0.1 and scale 10 are the paper's heavy-tailed Setting 3; shape d/2 and scale 2 give N(0, I_d) exactly.
    """

    shape: float
    scale: float

    def __post_init__(self) -> None:
        settle(self, shape=real("shape", self.shape, least=SHAPES[0], most=SHAPES[1]))
        settle(self, scale=length("scale", self.scale))

    def draw(self, source: Source, tokens: int, d: int) -> Tensor:
        log_squared_length = math.log(self.scale) + source.log_gamma(self.shape, tokens)
        return torch.exp(0.5 * log_squared_length).unsqueeze(-2) * source.directions(tokens, d)

    def squared_norm(self, d: int) -> float:
        """E ||x||^2 = shape scale."""
        return self.shape * self.scale

    @property
    def tex(self) -> str:
        return rf"\sqrt{{\Gamma({self.shape:g}, {self.scale:g})}}\;\mathrm{{Unif}}(S^{{d-1}})"

    def survival(self, t: Array, d: int) -> Array:
        return np.asarray(scipy.stats.gamma.sf(t, self.shape, scale=self.scale))

    @property
    def kernel(self) -> tuple[str, tuple[float, ...]]:
        return "gamma", (self.shape, self.scale)
