"""F3: what Adam makes up for is curvature that differs between blocks; fixed before it was run on judging seeds."""

from __future__ import annotations

from collections.abc import Sequence

from ..scales_adaptivity import SETTINGS, WhyBudget
from .adaptivity import CHAPTER, READINGS, Cell, closed_unit, correlation_unit, judge_cells
from .common import Basis
from .predictions import GROUP
from .records import Verdict

CLAIM = "F3"
SENTENCE = (
    "SGD with one fixed rate a block, from an oracle of curvature, closes at least 80% of the gap, which goes with the "
    "condition number between blocks and not with R_med."
)
FIGURE = {"tuned": "fig-predictors", "cooled": "fig-share-closed"}
BASIS = Basis(SETTINGS, ("loss_ratio", "condition"))
LEAST, CORRELATED = 0.8, 0.7
PREDICTORS = {
    "between": "between-block factor", "r_lower": "R_med", "r_blocks": "within-block factor",
    "js": "Jensen-Shannon distance of block spectra", "gradient_spread": "spread of gradient norms over blocks",
}  # fmt: skip
"""Metrics at an early step, in words; the first is predicted to go with the gap, the second not to."""


def judge(reading: str, scale: str, cells: Sequence[Cell], budget: WhyBudget) -> Verdict:
    """The verdict of one reading: the oracle in every problem and horizon, then what goes with the gap."""
    cooled, kept = reading == "cooled", list(PREDICTORS.items())
    further = [
        correlation_unit(cells, metric, words, CORRELATED, place != 1, cooled, decides=place < 2)
        for place, (metric, words) in enumerate(kept)
    ]
    return judge_cells(
        __name__, CLAIM, reading, scale, cells, budget,
        lambda cell, cooled: [closed_unit(cell, "oracle", LEAST, True, cooled)], further,
    )  # fmt: skip


__all__ = ["BASIS", "CHAPTER", "CLAIM", "FIGURE", "GROUP", "READINGS", "SENTENCE", "judge"]
