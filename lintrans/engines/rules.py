"""How kernels know an optimizer: a number that names its rule, three hyperparameters, groups that share a moment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..models.transformer import TensorModel, groups_of
from ..training.optimizers import Optimizer, rule_of
from .cpu.arguments import ADAM, GROUPED, NORMALIZED, SGD, SIGNUM, Array

NUMBERS = {
    "sgd": (SGD, 2), "adam": (ADAM, 3), "signum": (SIGNUM, 1), "normalized_sgd": (NORMALIZED, 1),
    "adam_groups": (GROUPED, 3),
}  # fmt: skip
"""The number of a rule, and how many hyperparameters kernels read of it."""
ON_GPU = ("sgd", "adam")
"""Rules that CUDA kernels know."""
HYPER = 3
"""Room for hyperparameters of a rule."""


def unsupported_optimizers(optimizers: Sequence[Optimizer], known: Sequence[str] = tuple(NUMBERS)) -> str | None:
    """Which optimizers have no rule among those, in words; None where all have one."""
    rules = [(each, rule_of(each)) for each in optimizers]
    others = {str(each) for each, rule in rules if rule is None or rule.name not in known}
    return f"do not know the optimizer {', '.join(sorted(others))}" if others else None


def rules_of(optimizers: Sequence[Optimizer], model: TensorModel) -> tuple[Array, Array, Array, Array]:
    """Rule [R], hyper [R, 3]; the group [R, G] of each parameter and, at the number of a group, 1 / its size.

    Every optimizer must have a rule; see :func:`unsupported_optimizers`.

    Raises:
        ValueError: a rule with another number of hyperparameters than kernels read.
    """
    found = [rule for rule in map(rule_of, optimizers) if rule is not None]
    assert len(found) == len(optimizers)
    hyper = np.zeros((len(found), HYPER))
    group = np.stack([groups_of(model, rule.groups).numpy() for rule in found])
    share = np.ones(group.shape)
    for row, rule in enumerate(found):
        needed = NUMBERS[rule.name][1]
        if len(rule.numbers) != needed:
            raise ValueError(f"the rule {rule.name!r} has numbers = {rule.numbers!r}: give {needed} of them")
        hyper[row, :needed] = rule.numbers
        sizes = np.bincount(group[row])
        share[row, : len(sizes)] = 1.0 / sizes
    return np.array([NUMBERS[rule.name][0] for rule in found], np.int64), hyper, group, share
