"""C7: heavier-tailed covariates go with a larger gap in R_med between SGD and Adam (Ahn et al. 2024).

The log ratio of R_med, SGD over Adam, averaged over the run, in Setting 3 less the same on the sphere, over seeds and
evaluation batches. Judged under the convention of the paper's public code, as C3. Beside it stand the other
conventions, matched loss, equal clip and the paper's own sample; the verdict is robust where all of them say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from ..budgets import CurvatureBudget, TuningBudget
from ..judged import Judged
from ..scales import CURVATURE_PROTOCOL
from .c3 import CONVENTIONS, MATCHED, PUBLIC, at_matched_loss, log_ratios_along, table_unit
from .common import (
    CURVATURE_ASKED,
    FIXED_BATCH,
    READINGS,
    Basis,
    averaged_over,
    curvature_deviations,
    deviations,
    papers_sample,
    rules_digest,
    target_of,
)
from .records import Verdict
from .rules import Keys, Unit, agree, rule
from .tails import AT_CLIP, CLIPPED, PAIR, Levels, contrast

CLAIM = "C7"
SENTENCE = "Heavier-tailed covariates go with a larger gap in R_med between SGD and Adam."
CHAPTER = "heavy_tails"
FIGURE = {"published": "fig-tails-condition"}
GROUP = "causes"
BASIS = Basis(PAIR, ("condition",))
CASE = "setting 3 against sphere"
STATISTIC = "ratio of R_med (SGD over Adam), Setting 3 over sphere"

Frames = Mapping[str, pd.DataFrame]


def _along(frames: Frames, metric: str, settled: int, names: tuple[str, str] = PAIR, fixed: bool = False) -> Unit:
    """The contrast of one metric averaged along the run, without words of its own."""
    heavy, light = (
        log_ratios_along(frames[name], metric, settled, fixed) if name in frames else None for name in names
    )
    return table_unit(CASE, STATISTIC, contrast(heavy, light), keys=Keys(names, convention=metric))


def _matched(reading: str, frames: Frames, judged: Judged) -> Unit:
    """The contrast with each optimizer at its first probe of R_med under sqrt(f0 f*)."""
    heavy, light = (
        at_matched_loss(frames[name], judged.histories[reading][name], target=target_of(name, *judged.all_of(name)))
        if name in frames
        else None
        for name in PAIR
    )
    return table_unit(CASE, STATISTIC, contrast(heavy, light), keys=Keys(PAIR, convention=MATCHED))


def judge(
    reading: str,
    scale: str,
    frames: Frames,
    judged: Judged,
    budget: TuningBudget,
    curvature: CurvatureBudget,
    levels: Levels | None = None,
    first: int = 0,
) -> Verdict:
    """The verdict of one reading; along the levels of tail, R_med is averaged from step `first` on."""
    settled = curvature.settled
    found = {words: _along(frames, metric, settled) for metric, words in CONVENTIONS.items()}
    decides = replace(found.pop(CONVENTIONS[PUBLIC]), decides=True)
    sample = {name: papers_sample(frame, curvature.judging) for name, frame in frames.items()}
    others = {
        "other conventions": found,
        "matched loss": {MATCHED: _matched(reading, frames, judged)},
        "fixed batch": {FIXED_BATCH: _along(sample, PUBLIC, settled, fixed=True)},
    }
    if levels is not None:
        others["equal clip"] = {AT_CLIP: _along(levels.conditions, PUBLIC, first, CLIPPED)}
    checks = {name: agree([decides] * len(own), own.values()) for name, own in others.items()}
    beside = [
        replace(unit, case=f"{CASE}, {words}", statistic=f"{STATISTIC}, {words}")
        for own in others.values()
        for words, unit in own.items()
    ]
    pair = tuple(name for name in PAIR if name in frames)
    asked = deviations(
        replace(budget, settings=pair), replace(CURVATURE_ASKED, settings=PAIR), tuned=reading == "tuned"
    )
    along = averaged_over(curvature, budget.steps, CURVATURE_PROTOCOL, CURVATURE_ASKED.steps)
    short = (*asked, *along, *curvature_deviations(curvature))
    units = (decides, *beside)
    return Verdict(CLAIM, reading, scale, CHAPTER, units, rule(units), short, rules_digest(__name__), checks)


__all__ = ["CHAPTER", "CLAIM", "FIGURE", "READINGS", "SENTENCE", "judge"]
