"""F8: five numbers without noise show the gap, three do not; fixed before it was run on the seeds that judge."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from .common import Basis, Bounded
from .predictions import GROUP, under_unit, verdict_of
from .records import Verdict
from .rules import MARGIN, Keys, Unit, ratio_unit

CLAIM = "F8"
SENTENCE = (
    "At the published rates five numbers without noise show the gap in steps and the factor of the curvature between "
    "blocks; two layers show neither."
)
CHAPTER, FIGURE = "least_model", "fig-least"
READINGS = ("published",)
BASIS = Basis(("1",), ("loss_ratio", "condition"))
STEPS = "steps to sqrt(f0 f*), SGD over Adam"
BETWEEN = "max / median of the blocks' curvature at step 250, SGD over Adam"
DEEP, SHALLOW = 3, 2


def units_of(steps: Mapping[int, Bounded], between: Mapping[int, pd.Series]) -> list[Unit]:
    """Three layers by the general rule; two layers below 1.25, as predicted. `between` are logarithms by seed."""
    units = []
    for part, words, statistic in (("steps", "gap in steps", STEPS), ("between", "curvature between blocks", BETWEEN)):
        deep, shallow = (_bounded(steps, between, layers, part) for layers in (DEEP, SHALLOW))
        ratio, keys = deep.ratio() if deep is not None else None, Keys(part=part)
        units.append(ratio_unit(f"three layers, {words}", statistic, ratio, keys=keys))
        units.append(under_unit(f"two layers, {words}", statistic, shallow, MARGIN, keys))
    return units


def _bounded(steps: Mapping[int, Bounded], between: Mapping[int, pd.Series], layers: int, part: str) -> Bounded | None:
    if part == "steps":
        return steps.get(layers)
    logs = between.get(layers)
    if logs is None or not len(logs):
        return None
    never = pd.Series(False, index=logs.index)
    return Bounded(logs, never, never, pd.Series(0.0, index=logs.index))


def judge(
    scale: str, steps: Mapping[int, Bounded], between: Mapping[int, pd.Series], short: tuple[str, ...] = ()
) -> Verdict:
    """The verdict from gaps in steps and log ratios of the factor, by number of layers."""
    return verdict_of(__name__, CLAIM, "published", scale, CHAPTER, units_of(steps, between), short)


__all__ = ["BASIS", "CHAPTER", "CLAIM", "FIGURE", "GROUP", "READINGS", "SENTENCE", "judge"]
