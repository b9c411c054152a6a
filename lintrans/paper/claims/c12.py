"""C12: the gap in R_med between SGD and Adam is larger at L = 4, 6, 8 than at 2 (Ahn et al. 2024).

The log ratio of R_med, SGD over Adam, averaged over the run, at one depth less the same at depth 2. Judged under the
convention of the paper's public code, as C3; the other conventions stand beside.
"""

from __future__ import annotations

from ..budgets import DepthBudget
from ..problems import DEPTHS
from .c3 import CONVENTIONS, MATCHED, PUBLIC, log_ratios_along
from .c7 import matched_log_ratios
from .common import Basis, rules_digest
from .depth import CHAPTER, NAMES, Depths, curvature_deviations, training_deviations
from .records import Verdict
from .rules import Keys, State, Unit, ratio_unit, rule
from .tails import contrast

CLAIM = "C12"
SENTENCE = "The gap in R_med between SGD and Adam is larger at L = 4, 6, 8 than at 2."
FIGURE = "fig-depth-condition"
READINGS = ("tuned",)
GROUP = "causes"
BASIS = Basis(tuple(NAMES.values()), ("condition",))
STATISTIC = "ratio of R_med (SGD over Adam), over the same at L = 2"


def units_of(depths: Depths, layers: int) -> list[Unit]:
    """One depth against the least: the unit that decides, then the other conventions and matched loss beside it."""
    found = depths.shared(DEPTHS[0], layers)
    deep, shallow = NAMES[layers], NAMES[DEPTHS[0]]
    measured = deep in found.conditions and shallow in found.conditions
    units = []
    for metric, words in (*CONVENTIONS.items(), (MATCHED, MATCHED)):
        decides = metric == PUBLIC
        case = f"L = {layers} against {DEPTHS[0]}" + ("" if decides else f", {words}")
        keys = Keys((shallow, deep), convention=metric)
        if not measured:
            units.append(ratio_unit(case, f"{STATISTIC}, {words}", None, decides, keys))
            continue
        high, low = (
            matched_log_ratios(name, found.conditions[name], found.histories[name])
            if metric == MATCHED
            else log_ratios_along(found.conditions[name], metric, found.curvature.settled)
            for name in (deep, shallow)
        )
        units.append(ratio_unit(case, f"{STATISTIC}, {words}", contrast(high, low), decides, keys))
    return units


def judge(scale: str, depths: Depths, budget: DepthBudget) -> Verdict:
    """The verdict, reading "tuned"."""
    units = [unit for layers in DEPTHS[1:] for unit in units_of(depths, layers)]
    short = (*training_deviations(budget), *curvature_deviations(budget))
    return Verdict(CLAIM, "tuned", scale, CHAPTER, tuple(units), rule(units), short, rules_digest(__name__))


def robust(verdict: Verdict) -> bool:
    """Whether every convention, and the comparison at matched loss, says YES as the units that decide."""
    return all(unit.state is State.YES for unit in verdict.units)
