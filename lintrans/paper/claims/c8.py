"""C8: spherical covariates train much faster for both optimizers, and the gap between them stays (Ahn et al. 2024).

Three units: the steps that SGD needs, those that Adam needs, Setting 3 over sphere; and D, the ratio of these ratios,
which the paper says is about one: adaptivity would help alike whatever the tails.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from ...statistics import ROUNDING, Interval, equivalent
from ...training.history import History
from ..budgets import TuningBudget
from ..problems import PROBLEMS
from ..scales import LABELS, PROTOCOL
from .common import ARMS, READINGS, Basis, deviations, judged_losses, rules_digest, steps_to
from .records import Verdict
from .rules import MARGIN, Keys, State, Unit, ratio_unit, rule
from .tails import PAIR, contrast, log_ratio, step_ratio, target_of

CLAIM = "C8"
SENTENCE = "Spherical covariates train much faster for both optimizers, and the gap between them stays."
CHAPTER = "heavy_tails"
FIGURE = {"published": "fig-tails-loss"}
GROUP = "causes"
BASIS = Basis(PAIR, ARMS)
STEPS = "steps to 1.01 f* + 1 % f0, Setting 3 over sphere"
GAP = "D: ratio of steps (SGD over Adam), Setting 3 over sphere"
LOSS_GAP = "ratio of end losses (SGD over Adam), Setting 3 over sphere"
GAP_CASE = "gap between the optimizers"
GROWTH = f"{GAP_CASE}, general rule"
"""The case that says whether the gap grows with the tails; claim C17 reads it."""


def steps_of(history: History, name: str, optimizer: str) -> tuple[pd.Series, float]:
    """Log of the steps to the target per seed, and the share of seeds that never get there."""
    taken = steps_to(history, target_of(name, history))
    own = taken[taken["optimizer"] == optimizer].set_index("seed")
    return np.log(own["steps"].clip(lower=1.0)), float(own["censored"].mean())


def _speed(histories: Mapping[str, History], optimizer: str) -> Unit:
    """Unit of one optimizer: how many times the steps in Setting 3."""
    case, keys = LABELS[optimizer], Keys(PAIR, optimizer=optimizer)
    if not all(name in histories for name in PAIR):
        return ratio_unit(case, STEPS, None, keys=keys)
    (heavy, heavy_lost), (light, light_lost) = (steps_of(histories[name], name, optimizer) for name in PAIR)
    return ratio_unit(case, STEPS, contrast(heavy, light), keys=keys, censored=min(heavy_lost, light_lost) > 0.5)


def gap_state(gap: Interval | None, censored: bool = False) -> State:
    """State of D: YES inside the margins, REV wholly outside, else undecided."""
    if gap is None or math.isnan(gap.estimate):
        return State.MISSING
    if censored or math.isnan(gap.low):
        return State.UNDECIDED
    if equivalent(gap, 1 / MARGIN, MARGIN):
        return State.YES
    return State.REV if gap.high < 1 / MARGIN or gap.low > MARGIN else State.UNDECIDED


def equivalence_p(logs: np.ndarray) -> float:
    """The p-value of "the mean lies outside the margins" (two t tests): below 0.05 where the 95% interval is inside."""
    if len(logs) < 2:
        return math.nan
    edge = math.log(MARGIN)
    if np.ptp(logs) <= ROUNDING * abs(float(logs.mean())):
        return 0.0 if abs(float(logs.mean())) < edge else 1.0
    above = stats.ttest_1samp(logs, -edge, alternative="greater").pvalue
    below = stats.ttest_1samp(logs, edge, alternative="less").pvalue
    return min(1.0, 2.0 * max(float(above), float(below)))


def _gaps(histories: Mapping[str, History], names: tuple[str, str]) -> tuple[pd.Series | None, bool]:
    """Log D per seed, heavy less light; whether in either setting most runs of both optimizers are censored."""
    if not all(name in histories for name in names):
        return None, False
    (heavy, heavy_lost), (light, light_lost) = (step_ratio(name, histories[name]) for name in names)
    return (heavy - light).dropna(), heavy_lost or light_lost


def gap_units(histories: Mapping[str, History]) -> tuple[Unit, Unit]:
    """D by the claim's own rule, which decides, and by the general one, where D > 1 says the gap grows with tails."""
    logs, censored = _gaps(histories, PAIR)
    own, growth = Keys(PAIR, part="gap"), Keys(PAIR, part="growth")
    if logs is None or logs.empty:
        missing = Unit(GAP_CASE, GAP, None, State.MISSING, keys=own)
        return missing, replace(missing, case=GROWTH, decides=False, keys=growth)
    ratio = contrast(logs, 0.0 * logs)
    assert ratio is not None
    inside = replace(ratio, p=equivalence_p(logs.to_numpy(np.float64)))
    return (
        Unit(GAP_CASE, GAP, inside, gap_state(ratio, censored), keys=own),
        ratio_unit(GROWTH, GAP, ratio, False, growth, censored),
    )


def _beside(histories: Mapping[str, History], names: tuple[str, str], case: str) -> list[Unit]:
    """D and the gap in end losses of any pair, by the general rule."""
    logs, censored = _gaps(histories, names)
    ratio = None if logs is None else contrast(logs, 0.0 * logs)
    found = [
        log_ratio(judged_losses(histories[name], PROBLEMS[name].task.zero_loss), "loss") if name in histories else None
        for name in names
    ]
    return [
        ratio_unit(f"{case}, steps", GAP, ratio, False, Keys(names, part="steps"), censored),
        ratio_unit(f"{case}, end loss", LOSS_GAP, contrast(*found), False, Keys(names, part="loss")),
    ]


def judge(
    reading: str,
    scale: str,
    histories: Mapping[str, History],
    budget: TuningBudget,
    levels: Mapping[str, History] | None = None,
) -> Verdict:
    """The verdict of one reading."""
    decides, growth = gap_units(histories)
    units = [*(_speed(histories, optimizer) for optimizer in LABELS), decides, growth]
    units += _beside(histories, PAIR, GAP_CASE)[1:]
    if levels is not None:
        units += _beside(levels, ("3", "tail sphere"), f"{GAP_CASE} at equal clip")
    pair = tuple(name for name in PAIR if name in histories)
    short = deviations(replace(budget, settings=pair), replace(PROTOCOL, settings=PAIR), tuned=reading == "tuned")
    return Verdict(CLAIM, reading, scale, CHAPTER, tuple(units), rule(units), short, rules_digest(__name__))


__all__ = ["CHAPTER", "CLAIM", "FIGURE", "READINGS", "SENTENCE", "gap_units", "judge"]
