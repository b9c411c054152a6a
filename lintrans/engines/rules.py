"""How kernels know an optimizer: a number that names its rule, three hyperparameters, groups that share a moment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..models.transformer import TensorModel, groups_of
from ..training.optimizers import Optimizer, rule_of
from .cpu.arguments import ADAM, GROUPED, NORMALIZED, SGD, SIGNUM, Array

NUMBERS = {"sgd": SGD, "adam": ADAM, "signum": SIGNUM, "normalized_sgd": NORMALIZED, "adam_groups": GROUPED}
ON_GPU = ("sgd", "adam")
"""Rules that CUDA kernels know."""
HYPER = 3
"""Hyperparameters of a rule."""


def unsupported_optimizers(optimizers: Sequence[Optimizer], known: Sequence[str] = tuple(NUMBERS)) -> str | None:
    """Which optimizers have no rule among those, in words; None where all have one."""
    rules = [(each, rule_of(each)) for each in optimizers]
    others = {type(each).__name__ for each, rule in rules if rule is None or rule.name not in known}
    return f"do not know the optimizer {', '.join(sorted(others))}" if others else None


def rules_of(optimizers: Sequence[Optimizer], model: TensorModel) -> tuple[Array, Array, Array, Array]:
    """Rule [R], hyper [R, 3]; the group [R, G] of each parameter and, at the number of a group, 1 / its size.

    Every optimizer must have a rule; see :func:`unsupported_optimizers`.
    """
    found = [rule for rule in map(rule_of, optimizers) if rule is not None]
    assert len(found) == len(optimizers)
    hyper = np.zeros((len(found), HYPER))
    group = np.stack([groups_of(model, rule.groups).numpy() for rule in found])
    share = np.ones(group.shape)
    for row, rule in enumerate(found):
        hyper[row, : len(rule.numbers)] = rule.numbers
        sizes = np.bincount(group[row])
        share[row, : len(sizes)] = 1.0 / sizes
    return np.array([NUMBERS[rule.name] for rule in found], np.int64), hyper, group, share
