"""The paper's settings, and the further problems that later chapters train: a task, a model, what is published.

Rates and clips of :data:`SETTINGS` are those of the paper's public code; the paper's text says clip 1 throughout (Ahn
et al. 2024). For other problems no rate is published: only the tuned reading of a claim exists there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..models.embedded import EmbeddedTransformer, FeatureRegression
from ..models.transformer import LinearTransformer, TensorModel
from ..tasks.regression import Covariates, GammaScaled, Gaussian, LinearRegression, Sphere, Task, tex


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
    task: Task
    model: TensorModel
    lr: MappingProxyType[str, float]
    clip: float

    @property
    def law(self) -> str:
        """Its covariates, in TeX where they have some; nothing for a task without a law of them."""
        covariates = getattr(self.task, "covariates", None)
        return "" if covariates is None else tex(covariates)


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


def _variation(name: str, title: str, task: Task, model: TensorModel) -> Setting:
    """A problem without published rates."""
    return Setting(name, title, task, model, MappingProxyType({}), 1.0)


_DEPTH = [
    _variation(f"depth {layers}", f"L = {layers}", LinearRegression(5, 20, Gaussian()), LinearTransformer(layers, 5))
    for layers in DEPTHS
]


def _tail(name: str, title: str, covariates: Covariates) -> Setting:
    """Setting 3 with other covariates."""
    return _variation(name, title, LinearRegression(5, 20, covariates), LinearTransformer(3, 5))


_TAILS = [
    _tail("tail sphere", "Sphere at clip 1", Sphere()),
    *(_tail(f"tail {k:g}", f"k = {k:g}", GammaScaled(k, 1 / k)) for k in (10.0, 2.5, 0.5, 0.05)),
    *(_tail(f"variance {k:g}", f"k = {k:g}, kθ² = 10", GammaScaled(k, math.sqrt(10 / k))) for k in (10.0, 0.5, 0.05)),
]

TAIL_FAMILIES: MappingProxyType[str, MappingProxyType[float, str]] = MappingProxyType(
    {
        "moment": MappingProxyType(
            {math.inf: "tail sphere", 10.0: "tail 10", 2.5: "tail 2.5", 0.5: "tail 0.5", 0.1: "3", 0.05: "tail 0.05"}
        ),
        "variance": MappingProxyType(
            {math.inf: "sphere", 10.0: "variance 10", 2.5: "1", 0.5: "variance 0.5", 0.1: "3", 0.05: "variance 0.05"}
        ),
    }
)
"""Problems by the Gamma shape k of ||x||^2, light tails first; k is infinite on the sphere, where ||x|| is constant.

"moment" holds E||x||^2 = 1 and the clip 1 fixed; "variance" holds the Gamma's variance at 10, and the sphere has its
published clip, as in the paper. Gamma(2.5, 2) is the law of the squared length of N(0, I_5), hence Setting 1.
"""

SIZES: MappingProxyType[tuple[int, int], str] = MappingProxyType(
    {
        (layers, d): {(2, 5): "depth 2", (3, 5): "1"}.get((layers, d), f"L = {layers}, d = {d}")
        for layers in (1, 2, 3)
        for d in (1, 2, 5)
    }
)
"""Problems by (layers, dimension), the smallest first; in all else they are Setting 1, which is the last."""

_SIZES = [
    _variation(name, name, LinearRegression(d, 20, Gaussian()), LinearTransformer(layers, d))
    for (layers, d), name in SIZES.items()
    if name not in ("depth 2", "1")
]

LARGER = _variation("larger", "L = 8, d = 20", LinearRegression(20, 60, Gaussian()), LinearTransformer(8, 20))
"""A larger model on a larger task: 8 layers, dimension 20, 60 examples."""

NONLINEAR = Setting(
    "nonlinear", "Nonlinear", FeatureRegression(), EmbeddedTransformer(),
    MappingProxyType({"sgd": 0.05, "adam": 0.01}), 1.0,
)  # fmt: skip
"""Regression on a random network's features, by a Transformer behind a trained one; rates of the paper's notebook."""

ATTENTION_TITLES: MappingProxyType[str, str] = MappingProxyType(
    {"linear": "linear", "softmax": "softmax", "softmax-visible": "softmax, visible keys", "relu": "ReLU"}
)
"""Setting 1 by kind of attention, in the sparse form; names of problems, and their titles."""

FULL_LINEAR = "linear, full form"
HEADS: MappingProxyType[int, str] = MappingProxyType(
    {heads: f"softmax, full form, {heads} head{'s' if heads > 1 else ''}" for heads in (1, 2, 4)}
)
"""Setting 1 in the full form with softmax attention, by number of heads; FULL_LINEAR is what they are compared with."""

FULL_STD = 0.1
"""Standard deviation of the full form's initial entries, that of the paper's public notebook."""


def _attention(name: str, title: str, attention: str, heads: int = 1, full: bool = False) -> Setting:
    """Setting 1 with another attention."""
    sparse = LinearTransformer(3, 5, heads, attention=attention)
    model = replace(sparse, form="full", init_std=FULL_STD) if full else sparse
    return _variation(name, title, LinearRegression(5, 20, Gaussian()), model)


_ATTENTION = [
    *(_attention(kind, title, kind) for kind, title in ATTENTION_TITLES.items()),
    _attention(FULL_LINEAR, FULL_LINEAR, "linear", full=True),
    *(_attention(name, name, "softmax", heads, full=True) for heads, name in HEADS.items()),
]

PROBLEMS: MappingProxyType[str, Setting] = MappingProxyType(
    {**SETTINGS, **{problem.name: problem for problem in (*_DEPTH, LARGER, NONLINEAR, *_TAILS, *_SIZES, *_ATTENTION)}}
)
"""Everything the book trains, by name: the paper's settings first."""
