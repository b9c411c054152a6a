"""Optimizers that each take one thing from Adam, or put one in its place: what adaptivity is needed is asked with them.

Updates go through torch; see :mod:`.optimizers` for what an optimizer is. Blocks are each P and each Q of a
:class:`~lintrans.LinearTransformer`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import choice
from ..models.transformer import TensorModel, groups_of
from .optimizers import SGD, Adam, NormalizedSGD, Signum, Slots

PARTITIONS = ("coordinate", "row", "column", "block")
"""What shares a second moment inside a matrix."""


def matrices(model: TensorModel) -> tuple[int, int, int]:
    """How many matrices a model has, P and Q in turn, and their two sizes.

    Raises:
        ValueError: its parameters are not ``[layers, heads, 2, D, D]``.
    """
    shape = model.parameter_shape
    if len(shape) != 5 or shape[2] != 2:
        raise ValueError(f"parameters {list(shape)} are no P and Q of layers: take a LinearTransformer")
    return math.prod(shape[:3]), shape[3], shape[4]


def partition_of(model: TensorModel, partition: tuple[str, str]) -> Tensor:
    """The number of the group of each parameter, ``[G]`` int64, by how P and how Q are divided."""
    count, rows, columns = matrices(model)
    matrix, row, column = (
        each.reshape(count, -1) for each in torch.meshgrid(*map(torch.arange, (count, rows, columns)), indexing="ij")
    )
    place = {"coordinate": row * columns + column, "row": row, "column": column, "block": 0 * row}
    inside = torch.stack([place[partition[k % 2]][k] for k in range(count)])
    numbers: Tensor = torch.unique(matrix * rows * columns + inside, return_inverse=True)[1]
    return numbers.flatten()


def shared(gradient: Tensor, group: Tensor) -> Tensor:
    """Mean square of a gradient ``[runs, G]`` over each group ``[G]``: ``[runs, groups]``."""
    member = torch.nn.functional.one_hot(group).to(gradient.dtype)
    return (gradient * gradient) @ (member / member.sum(0))


def _preconditioned(adam: Adam, gradient: Tensor, slots: Slots, second: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Adam's direction with a second moment ``[runs, G]`` that was made elsewhere, and the first moment; 0/0 is 0."""
    first = slots["first"] + (1.0 - adam.betas[0]) * (gradient - slots["first"])
    power = count.to(torch.float64)
    correction1 = (1.0 - adam.betas[0] ** power).to(gradient.dtype)
    correction2 = (1.0 - adam.betas[1] ** power).sqrt().to(gradient.dtype)
    direction = first / correction1 / (second.sqrt() / correction2 + adam.eps)
    return torch.where(first == 0, first, direction), first


@dataclass(frozen=True)
class PartitionedAdam(Adam):
    """Adam with a second moment for each row, column or block of P, and another choice for Q.

    Adam-mini's rule (Zhang et al. 2024), a moment for a head's queries and keys and one for an output of the values,
    is ``("row", "block")`` here, where Q is queries and keys in one. SlimAdam (Kalra et al. 2025) chooses by the
    moments' signal-to-noise ratio.

    Args:
        partition: one of :data:`PARTITIONS` for P, and one for Q.
    """

    partition: tuple[str, str] = ("row", "block")
    name: str = "adam_mini"

    def __post_init__(self) -> None:
        super().__post_init__()
        for each in self.partition:
            choice("partition", each, PARTITIONS)

    def init(self, parameters: Tensor, model: TensorModel) -> Slots:
        groups = int(partition_of(model, self.partition).max()) + 1
        return {"first": torch.zeros_like(parameters), "second": parameters.new_zeros(len(parameters), groups)}

    def update(self, gradient: Tensor, slots: Slots, count: Tensor, model: TensorModel) -> tuple[Tensor, Slots]:
        group = partition_of(model, self.partition).to(gradient.device)
        second = self.betas[1] * slots["second"] + (1.0 - self.betas[1]) * shared(gradient, group)
        direction, first = _preconditioned(self, gradient, slots, second[:, group], count)
        return direction, {"first": first, "second": second}


@dataclass(frozen=True)
class FactoredAdam(Adam):
    """Adam whose second moment of a matrix is that of its rows times that of its columns over the mean.

    This is Adafactor's (Shazeer & Stern 2018) with Adam's two averages and neither its clip nor its rates.
    """

    name: str = "adafactor"

    def init(self, parameters: Tensor, model: TensorModel) -> Slots:
        count, rows, columns = matrices(model)
        row, column = (parameters.new_zeros(len(parameters), count, size) for size in (rows, columns))
        return {"first": torch.zeros_like(parameters), "row": row, "column": column}

    def update(self, gradient: Tensor, slots: Slots, count: Tensor, model: TensorModel) -> tuple[Tensor, Slots]:
        squares = (gradient * gradient).reshape(len(gradient), *matrices(model))
        keep = self.betas[1]
        row = keep * slots["row"] + (1.0 - keep) * squares.mean(-1)
        column = keep * slots["column"] + (1.0 - keep) * squares.mean(-2)
        mean = row.mean(-1)[..., None, None]
        second = torch.where(mean > 0, row[..., None] * column[..., None, :] / mean, mean)
        direction, first = _preconditioned(self, gradient, slots, second.reshape(gradient.shape), count)
        return direction, {"first": first, "row": row, "column": column}


@dataclass(frozen=True)
class RotatedAdam(Adam):
    """Adam in another basis: of the covariates, or of all entries of a layer.

    With x -> U x, P and Q become U P U^T and U Q U^T: a symmetry of the loss where the law of x is isotropic, so that
    runs from an isotropic initialization have the same law as Adam's. ``"layer"`` mixes all entries of P and Q of a
    layer, which is no symmetry.

    Args:
        basis: ``"covariates"`` or ``"layer"``.
    """

    basis: str = "covariates"
    name: str = "rotated"

    SEED: ClassVar[int] = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        choice("basis", self.basis, ("covariates", "layer"))

    def _orthogonal(self, size: int, like: Tensor) -> Tensor:
        """A rotation by Haar's measure, always the same."""
        normals = torch.randn(size, size, generator=torch.Generator().manual_seed(self.SEED), dtype=torch.float64)
        q, r = torch.linalg.qr(normals)
        rotation: Tensor = (q * r.diagonal().sign()).to(like)
        return rotation

    def turned(self, vectors: Tensor, model: TensorModel, back: bool = False) -> Tensor:
        """Vectors ``[runs, G]`` in the other basis, or back from it."""
        count, rows, columns = matrices(model)
        size = rows if self.basis == "covariates" else vectors.shape[1] // model.parameter_shape[0]
        u = self._orthogonal(size, vectors)
        u = u.T if back else u
        if self.basis == "layer":
            return (vectors.reshape(len(vectors), -1, size) @ u.T).reshape(vectors.shape)
        return (u @ vectors.reshape(len(vectors), count, rows, columns) @ u.T).reshape(vectors.shape)

    def update(self, gradient: Tensor, slots: Slots, count: Tensor, model: TensorModel) -> tuple[Tensor, Slots]:
        direction, after = super().update(self.turned(gradient, model), slots, count, model)
        return self.turned(direction, model, back=True), after


@dataclass(frozen=True)
class BlockSGD(SGD):
    """SGD with one fixed rate a block: the run's own times the block's.

    Args:
        rates: one a block in the order of ``model.groups["block"]``, the block of a layer's P first.
    """

    rates: tuple[float, ...] = ()
    name: str = "oracle"

    def update(self, gradient: Tensor, slots: Slots, count: Tensor, model: TensorModel) -> tuple[Tensor, Slots]:
        direction, after = super().update(gradient, slots, count, model)
        group = groups_of(model, "block").to(gradient.device)
        if len(self.rates) != int(group.max()) + 1:
            raise ValueError(f"rates = {self.rates!r} are {len(self.rates)} numbers: give {int(group.max()) + 1}")
        return direction * direction.new_tensor(self.rates)[group], after


@dataclass(frozen=True)
class BlockNormalizedSGD(NormalizedSGD):
    """Steps of one length for each block along a momentum buffer; a block whose buffer is zero does not move."""

    name: str = "normalized_blocks"

    def update(self, gradient: Tensor, slots: Slots, count: Tensor, model: TensorModel) -> tuple[Tensor, Slots]:
        first = self.momentum * slots["first"] + gradient
        blocks = first.reshape(len(first), matrices(model)[0], -1)
        largest = blocks.abs().amax(-1, keepdim=True)
        scaled = torch.where(largest > 0, blocks / largest, largest)
        norm = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
        return torch.where(norm > 0, scaled / norm, norm).reshape(first.shape), {"first": first}


@dataclass(frozen=True)
class Lion:
    """The sign of a gradient averaged with its past (Chen et al. 2023)."""

    betas: tuple[float, float] = (0.9, 0.99)
    name: str = "lion"

    def init(self, parameters: Tensor, model: TensorModel) -> Slots:
        return {"average": torch.zeros_like(parameters)}

    def update(self, gradient: Tensor, slots: Slots, count: Tensor, model: TensorModel) -> tuple[Tensor, Slots]:
        direction = slots["average"].lerp(gradient, 1 - self.betas[0]).sign()
        return direction, {"average": slots["average"].lerp(gradient, 1 - self.betas[1])}


ARMS: tuple[Any, ...] = (
    SGD(),
    Adam(),
    *(replace(Adam(), second_moment=by, name=by) for by in ("block", "layer", "kind", "all")),
    PartitionedAdam(),
    FactoredAdam(),
    Signum(),
    Lion(),
    NormalizedSGD(),
    BlockNormalizedSGD(),
    RotatedAdam(),
    RotatedAdam(basis="layer", name="mixed"),
)
"""All that need nothing measured first; the oracle, rates found layer by layer, and SlimAdam do."""
