"""The paper's settings, and the further problems that later chapters train: a task, a model, what is published.

Rates and clips of :data:`SETTINGS` are those of the paper's public code; the paper's text says clip 1 throughout (Ahn
et al. 2024). For other problems no rate is published: only the tuned reading of a claim exists there.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from .models import LinearTransformer
from .tasks import GammaScaled, Gaussian, LinearRegression, Sphere


@dataclass(frozen=True)
class Setting:
    """One of the paper's settings, or a variation of one.

    Attributes:
        name: its key in :data:`PROBLEMS`.
        title: its name on a page.
        task, model: what is learned, and by what.
        lr: published learning rates by optimizer; empty where none is published.
        clip: published gradient-norm clip, or the one that runs have where they name none.
    """

    name: str
    title: str
    task: LinearRegression
    model: LinearTransformer
    lr: MappingProxyType[str, float]
    clip: float

    @property
    def law(self) -> str:
        """Its covariates in TeX."""
        covariates = self.task.covariates
        if isinstance(covariates, Gaussian):
            return r"$\mathcal{N}(0, I_d)$"
        if isinstance(covariates, Sphere):
            return r"$\mathrm{Unif}(S^{d-1})$"
        assert isinstance(covariates, GammaScaled)
        return rf"$\sqrt{{\Gamma({covariates.shape:g}, {covariates.scale:g})}}\;\mathrm{{Unif}}(S^{{d-1}})$"


def _setting(name: str, title: str, task: LinearRegression, sgd: float, adam: float, clip: float) -> Setting:
    return Setting(
        name, title, task, LinearTransformer(layers=3, d=5), MappingProxyType({"sgd": sgd, "adam": adam}), clip
    )


SETTINGS: MappingProxyType[str, Setting] = MappingProxyType(
    {
        "1": _setting("1", "Setting 1", LinearRegression(5, 20, Gaussian()), 0.02, 0.02, 1.0),
        "2": _setting("2", "Setting 2", LinearRegression(5, 5, Gaussian()), 0.01, 0.005, 1.0),
        "3": _setting("3", "Setting 3", LinearRegression(5, 20, GammaScaled(0.1, 10.0)), 0.02, 0.02, 1.0),
        "sphere": _setting("sphere", "Spherical", LinearRegression(5, 20, Sphere()), 5.0, 0.1, 0.1),
    }
)

DEPTHS = (2, 4, 6, 8)
"""Numbers of layers whose runs are compared; the rest is Setting 1."""


def _variation(name: str, title: str, task: LinearRegression, model: LinearTransformer) -> Setting:
    """A problem without published rates."""
    return Setting(name, title, task, model, MappingProxyType({}), 1.0)


_DEPTH = [
    _variation(f"depth {layers}", f"L = {layers}", LinearRegression(5, 20, Gaussian()), LinearTransformer(layers, 5))
    for layers in DEPTHS
]

PROBLEMS: MappingProxyType[str, Setting] = MappingProxyType(
    {**SETTINGS, **{problem.name: problem for problem in _DEPTH}}
)
"""Everything the book trains, by name: the paper's settings first."""
