r"""The least model: every P a number times the identity, every Q too, and the loss of the population by quadrature.

In one dimension a linear Transformer sees its context through one number, the mean square :math:`\lambda` of the
covariates, and layer l, with numbers :math:`p_l, v_l, q_l`, does

.. math::
    f = c^2\, \mathbb{E} \prod_l (1 + v_l q_l \lambda_l)^2, \qquad \lambda_{l+1} = \lambda_l (1 + p_l q_l \lambda_l)^2.

Here :math:`c^2` is the covariates' second moment. With n Gaussian examples :math:`\lambda` is a Gamma variable of shape
n / 2 and mean :math:`c^2`. The loss is a polynomial in it, of degree :math:`3^L - 1`: Gauss's rule is exact.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Unpack

import numpy as np
import scipy
import torch
from torch import Tensor

from ..devices import real_dtype
from ..errors import choice, real, settle, whole
from ..random import Source, Stream
from ..tasks.regression import DrawOptions, Task

FORMS = {"sparse": ("p", "q"), "full": ("p", "v", "q"), "merged": ("q",)}
"""Numbers of a layer: v is 1 in the sparse form, p and v in the merged one, which has one matrix a layer."""


@dataclass(frozen=True)
class Nodes:
    """A law on the positive numbers as points and weights, both ``[points]``; the same for all runs and steps."""

    target: Tensor
    weights: Tensor
    moment: float

    @property
    def batch(self) -> int:
        return len(self.target)

    def __getitem__(self, index: Any) -> Nodes:
        return self

    def to(self, target: Any) -> Nodes:
        return Nodes(self.target.to(target), self.weights.to(target), self.moment)


@dataclass(frozen=True)
class MeanSquare:
    """The law of the mean square of covariates in one dimension: Gamma, of this shape and mean.

    Attributes:
        shape: n / 2 for n Gaussian examples.
        mean: c^2, their second moment.
        points: of the rule, exact to degree 2 points - 1; three layers need 14.
    """

    shape: float = 10.0
    mean: float = 1.0
    points: int = 14
    fixed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        settle(self, shape=real("shape", self.shape, above=0), mean=real("mean", self.mean, above=0))
        settle(self, points=whole("points", self.points, 1, 100))

    @property
    def n(self) -> int:
        return round(2 * self.shape)

    @property
    def zero_loss(self) -> float:
        return self.mean

    def sample(self, batch: int, seed: int | Sequence[int] = 0, step: int = 0, **options: Unpack[DrawOptions]) -> Nodes:
        """The rule, whatever is asked for."""
        kind, device = options.get("dtype") or torch.float64, options.get("device", "cpu")
        return _rule(self).to(kind).to(device)


@functools.cache
def _rule(law: MeanSquare) -> Nodes:
    nodes, weights = scipy.special.roots_genlaguerre(law.points, law.shape - 1.0)
    at, share = (torch.tensor(np.asarray(each)) for each in (nodes * law.mean / law.shape, weights))
    return Nodes(at, share / share.sum(), law.mean)


@dataclass(frozen=True)
class LeastModel:
    """A linear Transformer whose matrices are multiples of the identity: see the head of this module.

    Attributes:
        layers: L.
        form: one of :data:`FORMS`.
        init_std: standard deviation of the initial numbers.
    """

    layers: int = 3
    form: str = "sparse"
    init_std: float = 0.05

    def __post_init__(self) -> None:
        settle(self, layers=whole("layers", self.layers, 1), init_std=real("init_std", self.init_std, above=0))
        choice("form", self.form, FORMS)

    @property
    def numbers_of(self) -> tuple[tuple[int, str], ...]:
        """Layer and kind of each number; the last layer's p has no effect, and is left out."""
        every = [(layer, kind) for layer in range(self.layers) for kind in FORMS[self.form]]
        return tuple(each for each in every if each != (self.layers - 1, "p"))

    @property
    def parameter_shape(self) -> tuple[int]:
        return (len(self.numbers_of),)

    @property
    def default_dtype(self) -> torch.dtype:
        return torch.float64

    @property
    def structural_zeros(self) -> Tensor:
        return torch.zeros(self.parameter_shape, dtype=torch.bool)

    @property
    def blocks(self) -> tuple[Tensor, ...]:
        return tuple(torch.arange(len(self.numbers_of)).unsqueeze(-1))

    @property
    def groups(self) -> dict[str, Tensor]:
        """Each number's own block, its layer, and its kind (Q or not)."""
        layers, kinds = zip(*self.numbers_of, strict=True)
        return {
            "block": torch.arange(len(layers)),
            "layer": torch.tensor(layers),
            "kind": torch.tensor([int(kind == "q" and len(set(kinds)) > 1) for kind in kinds]),
        }

    def init(
        self, seed: int | Sequence[int] = 0, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        source = Source(seed, 0, Stream.INIT, batch=1, device=device)
        entries = self.init_std * source.normals(len(self.numbers_of)).reshape(*source.lead, *self.parameter_shape)
        return entries.to(real_dtype(dtype, self.default_dtype))

    def draw(
        self, task: Task, batch: int, seed: int | Sequence[int] = 0, step: int = 0, **options: Unpack[DrawOptions]
    ) -> Nodes:
        nodes: Nodes = task.sample(batch, seed, step, **options)
        return nodes

    def loss(self, parameters: Tensor, prompts: Nodes) -> Tensor:
        """The population's loss ``[...]`` of numbers ``[..., G]``."""
        value = dict(zip(self.numbers_of, parameters.unsqueeze(-1).unbind(-2), strict=True))
        square, left = prompts.target, torch.ones_like(prompts.target)
        for layer in range(self.layers):
            step = value[layer, "q"] * square
            left = left * (1.0 + value.get((layer, "v"), 1.0) * step)
            square = square * (1.0 + value.get((layer, "p"), 1.0) * step) ** 2
        return prompts.moment * (prompts.weights * left * left).sum(-1)

    def numbers(self, prompts: Nodes) -> int:
        return 8 * self.layers * prompts.batch
