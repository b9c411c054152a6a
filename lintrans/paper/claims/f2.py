"""F2: one second moment a kind, or one for everything, is too little; fixed before it was run on judging seeds."""

from __future__ import annotations

from collections.abc import Sequence

from ..scales_adaptivity import SETTINGS, WhyBudget
from .adaptivity import CHAPTER, READINGS, Cell, closed_unit, judge_cells
from .common import Basis
from .predictions import GROUP
from .records import Verdict

CLAIM = "F2"
SENTENCE = "One second moment for all P and one for all Q, or one for everything, closes less than 60% of the gap."
FIGURE = "fig-share-closed"
BASIS = Basis(SETTINGS, ("loss_ratio",))
MOST = 0.6
ARMS = {"kind": "one a kind", "all": "one for all"}


def judge(reading: str, scale: str, cells: Sequence[Cell], budget: WhyBudget) -> Verdict:
    """The verdict of one reading, two cases a problem and horizon."""
    return judge_cells(
        __name__, CLAIM, reading, scale, cells, budget,
        lambda cell, cooled: [closed_unit(cell, arm, MOST, False, cooled, label) for arm, label in ARMS.items()],
    )  # fmt: skip


__all__ = ["BASIS", "CHAPTER", "CLAIM", "FIGURE", "GROUP", "READINGS", "SENTENCE", "judge"]
