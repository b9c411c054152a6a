"""F1: one second moment a layer is enough of Adam; fixed before it was run on the seeds that judge."""

from __future__ import annotations

from collections.abc import Sequence

from ..scales_adaptivity import SETTINGS, WhyBudget
from .adaptivity import CHAPTER, READINGS, Cell, closed_unit, judge_cells
from .common import Basis
from .predictions import GROUP
from .records import Verdict

CLAIM = "F1"
SENTENCE = "One second moment a layer closes at least 80% of the gap between SGD and Adam."
FIGURE = "fig-share-closed"
BASIS = Basis(SETTINGS, ("loss_ratio",))
LEAST = 0.8


def judge(reading: str, scale: str, cells: Sequence[Cell], budget: WhyBudget) -> Verdict:
    """The verdict of one reading, a case a problem and horizon."""
    return judge_cells(
        __name__, CLAIM, reading, scale, cells, budget,
        lambda cell, cooled: [closed_unit(cell, "layer", LEAST, True, cooled)],
    )  # fmt: skip


__all__ = ["BASIS", "CHAPTER", "CLAIM", "FIGURE", "GROUP", "READINGS", "SENTENCE", "judge"]
