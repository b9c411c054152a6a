"""C8: spherical covariates train much faster for both optimizers, and the gap between them stays (Ahn et al. 2024).

Three units: the steps that SGD needs, those that Adam needs, Setting 3 over sphere; and D, the ratio of these ratios,
which the paper says is about one: adaptivity would help alike whatever the tails. A run that never reaches its target
makes a bound of a ratio, and a bound decides only what it decides alone. The same at equal clip, and the gaps in loss,
stand beside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ...statistics import ROUNDING, Interval, equivalent, mean_of
from ...training.history import History
from ..budgets import TuningBudget
from ..judged import Judged
from ..scales import LABELS, PROTOCOL
from .common import ARMS, READINGS, Basis, Bounded, deviations, rules_digest
from .records import Verdict
from .rules import MARGIN, Keys, State, Unit, agree, ratio_unit, rule
from .tails import AT_CLIP, CLIPPED, PAIR, Levels, contrast, loss_gap, steps_of, trained_target

CLAIM = "C8"
SENTENCE = "Spherical covariates train much faster for both optimizers, and the gap between them stays."
CHAPTER = "heavy_tails"
FIGURE = {"published": "fig-tails-loss"}
GROUP = "causes"
BASIS = Basis(PAIR, ARMS)
STEPS = "steps to 1.01 f* + 1 % f0, Setting 3 over sphere"
GAP = "D: ratio of steps (SGD over Adam), Setting 3 over sphere"
LOSS_GAP = "ratio of end losses (SGD over Adam), Setting 3 over sphere"
COOLED_GAP = "ratio of losses after the cooldown (SGD over Adam), Setting 3 over sphere"
GAP_CASE = "gap between the optimizers"
GROWTH = f"{GAP_CASE}, general rule"
"""The case that says whether the gap grows with the tails; claim C17 reads it."""


def gap_state(gap: Interval | None) -> State:
    """State of D: YES inside the margins, REV wholly outside, else undecided; a bound may say REV, never YES."""
    if gap is None or math.isnan(gap.estimate):
        return State.MISSING
    if equivalent(gap, 1 / MARGIN, MARGIN) and not gap.bound:
        return State.YES
    above, below = gap.low > MARGIN and gap.bound in ("", ">="), gap.high < 1 / MARGIN and gap.bound in ("", "<=")
    return State.REV if (above or below) and not gap.two_kinds else State.UNDECIDED


def equivalence_p(logs: npt.NDArray[np.float64]) -> float:
    """The p-value of "the mean lies outside the margins" (two t tests): below 0.05 where the 95% interval is inside."""
    if len(logs) < 2:
        return math.nan
    edge = math.log(MARGIN)
    if np.ptp(logs) <= ROUNDING * abs(float(logs.mean())):
        return 0.0 if abs(float(logs.mean())) < edge else 1.0
    above = stats.ttest_1samp(logs, -edge, alternative="greater").pvalue
    below = stats.ttest_1samp(logs, edge, alternative="less").pvalue
    return min(1.0, 2.0 * max(float(above), float(below)))


def all_steps(reading: str, judged: Judged) -> dict[str, pd.DataFrame]:
    """Steps to the target of the pair's runs of one reading, by setting; f* is one number over all readings."""
    histories = judged.histories[reading]
    return {
        name: steps_of(name, histories[name], trained_target(name, *judged.all_of(name)))
        for name in PAIR
        if name in histories
    }


def pair_units(
    steps: Mapping[str, pd.DataFrame], names: tuple[str, str] = PAIR, words: str = ""
) -> tuple[list[Unit], Unit]:
    """The three units of a pair (SGD, Adam, D), and D by the general rule, where D > 1 says the gap grows with tails.

    `words` are added to their names, and then they do not decide.
    """
    found: dict[str, Bounded | None] = dict.fromkeys(LABELS)
    if all(name in steps for name in names):
        of = {key: [Bounded.of(steps[name], key) for name in names] for key in LABELS}
        found = {key: heavy - light for key, (heavy, light) in of.items()}
    decides, suffix = not words, f", {words}" if words else ""
    ratios = {key: own.ratio() if own else None for key, own in found.items()}
    units = [
        ratio_unit(f"{LABELS[key]}{suffix}", STEPS, ratio, decides, Keys(names, optimizer=key))
        for key, ratio in ratios.items()
    ]
    sgd, adam = found["sgd"], found["adam"]
    gap = sgd - adam if sgd and adam else None
    ratio = gap.ratio() if gap else None
    own, growth = Keys(names, part="gap"), Keys(names, part="growth")
    units.append(Unit(f"{GAP_CASE}{suffix}", GAP, _own_p(ratio, gap), gap_state(ratio), decides, own))
    return units, ratio_unit(f"{GROWTH}{suffix}", GAP, ratio, False, growth)


def _own_p(ratio: Interval | None, gap: Bounded | None) -> Interval | None:
    """D with the p-value of equivalence, which is what D's own rule asks for; as it is where two kinds of runs decide.

    No bound is equivalent to anything: its p is 1.
    """
    if ratio is None or gap is None or (gap_state(ratio) is State.UNDECIDED and ratio.two_kinds):
        return ratio
    p = 1.0 if ratio.bound else equivalence_p(gap.logs.to_numpy(np.float64))
    return replace(ratio, p=p, flip=math.nan)


def loss_unit(histories: Mapping[str, History], names: tuple[str, str], words: str, cooled: bool = False) -> Unit:
    """The gap in end losses, or in losses after the cooldown, of any pair, by the general rule."""
    heavy, light = (loss_gap(name, histories[name], cooled).to_frame() if name in histories else None for name in names)
    logs = contrast(heavy, light)
    ratio = mean_of(logs.to_numpy(np.float64)).exp() if logs.size else None
    keys = Keys(names, part="cooled" if cooled else "loss")
    return ratio_unit(f"{GAP_CASE}, {words}", COOLED_GAP if cooled else LOSS_GAP, ratio, False, keys)


def judge(reading: str, scale: str, judged: Judged, budget: TuningBudget, levels: Levels | None = None) -> Verdict:
    """The verdict of one reading; it is robust where the shorter runs at equal clip say the same."""
    histories = judged.histories[reading]
    units, growth = pair_units(all_steps(reading, judged))
    beside, checks = [growth, loss_unit(histories, PAIR, "end loss")], {}
    if reading == "tuned":
        beside.append(loss_unit(histories, PAIR, "cooled", cooled=True))
    if levels is not None:
        own = {name: levels.histories[name] for name in CLIPPED if name in levels.histories}
        steps = {name: steps_of(name, history, trained_target(name, history)) for name, history in own.items()}
        at_clip, _ = pair_units(steps, CLIPPED, AT_CLIP)
        checks["equal clip"] = agree(units, at_clip)
        beside += [*at_clip, loss_unit(own, CLIPPED, f"end loss, {AT_CLIP}")]
    pair = tuple(name for name in PAIR if name in histories)
    short = deviations(replace(budget, settings=pair), replace(PROTOCOL, settings=PAIR), tuned=reading == "tuned")
    every = (*units, *beside)
    return Verdict(CLAIM, reading, scale, CHAPTER, every, rule(every), short, rules_digest(__name__), checks)


__all__ = ["CHAPTER", "CLAIM", "FIGURE", "READINGS", "SENTENCE", "judge", "pair_units"]
