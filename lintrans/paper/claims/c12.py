"""C12: the gap in R_med between SGD and Adam is larger at L = 4, 6, 8 than at 2 (Ahn et al. 2024).

The log ratio of R_med, SGD over Adam, averaged over the run, at one depth less the same at depth 2, over seeds and
evaluation batches, both random. Judged under the convention of the paper's public code, as C3; the other conventions,
matched loss and the paper's own sample (its seeds, its one fixed batch) stand beside.
"""

from __future__ import annotations

import math

import pandas as pd

from ..budgets import DepthBudget
from ..problems import DEPTHS, PROBLEMS
from .c3 import CONVENTIONS, MATCHED, PUBLIC, at_matched_loss, log_ratios_along
from .common import FIXED_BATCH, Basis, papers_sample, rules_digest
from .depth import CHAPTER, NAMES, Depths, contrast, curvature_deviations, training_deviations
from .records import Verdict
from .rules import Keys, Unit, agree, ratio_unit, rule

CLAIM = "C12"
SENTENCE = "The gap in R_med between SGD and Adam is larger at L = 4, 6, 8 than at 2."
FIGURE = "fig-depth-condition"
READINGS = ("tuned",)
GROUP = "causes"
BASIS = Basis(tuple(NAMES.values()), ("condition",))
STATISTIC = "ratio of R_med (SGD over Adam), over the same at L = 2"
WAYS = {**CONVENTIONS, MATCHED: MATCHED, FIXED_BATCH: FIXED_BATCH}
"""Ways to judge by their keys, in words; the first decides."""


def log_ratios(depths: Depths, name: str, way: str, *layers: int) -> pd.DataFrame:
    """A table [seeds, batches] of one depth, one of WAYS, at the horizon that it shares with others."""
    found = depths.shared(*layers)
    frame, history, settled = found.conditions[name], found.histories[name], found.curvature.settled
    if way == FIXED_BATCH:
        return log_ratios_along(papers_sample(frame, found.curvature.judging), PUBLIC, settled, fixed=True)
    if way == MATCHED:
        target = math.sqrt(PROBLEMS[name].task.zero_loss * depths.floor(name))
        return at_matched_loss(frame, history, target=target)
    return log_ratios_along(frame, way, settled)


def units_of(depths: Depths, way: str = PUBLIC) -> list[Unit]:
    """Every depth against the least, judged in one of WAYS."""
    units, decides, words = [], way == PUBLIC, WAYS[way]
    for layers in DEPTHS[1:]:
        shallow, deep = NAMES[DEPTHS[0]], NAMES[layers]
        case = f"L = {layers} against {DEPTHS[0]}" + ("" if decides else f", {words}")
        measured = {deep, shallow} <= set(depths.shared(DEPTHS[0], layers).conditions)
        pair = [log_ratios(depths, name, way, DEPTHS[0], layers) if measured else None for name in (deep, shallow)]
        part = FIXED_BATCH if way == FIXED_BATCH else None
        keys = Keys((shallow, deep), convention=PUBLIC if part else way, part=part)
        units.append(ratio_unit(case, f"{STATISTIC}, {words}", contrast(*pair), decides, keys))
    return units


def judge(scale: str, depths: Depths, budget: DepthBudget) -> Verdict:
    """The verdict, reading "tuned"; robust where every other way to judge says the same."""
    units, *others = (units_of(depths, way) for way in WAYS)
    checks = {words: agree(units, own) for words, own in zip(list(WAYS.values())[1:], others, strict=True)}
    short = (*training_deviations(budget), *curvature_deviations(budget))
    every = (*units, *(unit for own in others for unit in own))
    return Verdict(CLAIM, "tuned", scale, CHAPTER, every, rule(units), short, rules_digest(__name__), checks)
