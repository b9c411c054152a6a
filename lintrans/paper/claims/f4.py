"""F4: Adam's axes do not matter; fixed before it was run on judging seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...statistics import paired_t
from ..scales_adaptivity import SETTINGS, WhyBudget
from .adaptivity import CHAPTER, READINGS, SEARCHED, Cell, judge_cells, threshold_state
from .common import Basis
from .predictions import GROUP
from .records import Verdict
from .rules import Keys, State, Unit

CLAIM = "F4"
SENTENCE = "Rotating the basis that Adam works in costs it less than 10% of its end loss."
FIGURE = "fig-share-closed"
BASIS = Basis(SETTINGS, ("loss_ratio",))
LEAST = 1 / 1.1
STATISTIC = "end loss, Adam over Adam in a rotated basis"


def unit_of(cell: Cell, cooled: bool, arm: str = "rotated", label: str = "", decides: bool = True) -> Unit:
    """What a rotation costs: Adam's end loss over that of Adam in the rotated basis."""
    keys, logs = Keys((cell.problem,), cell.history.steps, part=arm), cell.logs(cooled)
    case = f"{cell.case}{label and f', {label}'}"
    if not {"adam", arm} <= set(logs):
        return Unit(case, STATISTIC, None, State.MISSING, decides, keys, (SEARCHED,))
    values = (logs["adam"] - logs[arm]).to_numpy(np.float64)
    test, ratio = paired_t(values - np.log(LEAST)), paired_t(values).exp()
    found = ratio.__class__(
        ratio.estimate, ratio.low, ratio.high, test.p, ratio.n, test.flip, test.above, kind=ratio.kind
    )
    return Unit(case, STATISTIC, found, threshold_state(found, LEAST), decides, keys)


def beside(cell: Cell, cooled: bool) -> list[Unit]:
    """The same with all entries of a layer mixed, where that arm was trained; it decides nothing."""
    trained = "mixed" in set(cell.history.runs["optimizer"])
    return [unit_of(cell, cooled, "mixed", "entries of a layer mixed", decides=False)] if trained else []


def judge(reading: str, scale: str, cells: Sequence[Cell], budget: WhyBudget) -> Verdict:
    """The verdict of one reading: a rotation of the covariates; beside it one of each block's entries, no symmetry."""
    return judge_cells(
        __name__, CLAIM, reading, scale, cells, budget,
        lambda cell, cooled: [unit_of(cell, cooled), *beside(cell, cooled)],
    )  # fmt: skip


__all__ = ["BASIS", "CHAPTER", "CLAIM", "FIGURE", "GROUP", "READINGS", "SENTENCE", "judge"]
