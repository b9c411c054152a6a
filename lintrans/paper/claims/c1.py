"""C1: Adam beats SGD in Settings 1 to 3, to different extents (Ahn et al. 2024, section 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...statistics import equal_means, geometric_ratio
from ...training.history import History
from ..budgets import TuningBudget
from ..judged import Judged
from ..problems import PROBLEMS
from ..scales import PROTOCOL
from .common import (
    CASES,
    END_READINGS,
    Basis,
    Bounded,
    arms,
    by_setting,
    deviations,
    floor,
    judged_losses,
    rules_digest,
    step_ratio,
    steps_to,
)
from .records import Verdict
from .rules import Keys, Unit, agree, ratio_unit, rule

CLAIM = "C1"
SENTENCE = "Adam beats SGD in Settings 1 to 3, to different extents."
CHAPTER = "adam_vs_sgd"
FIGURE = {"published": "fig-adam-vs-sgd", "tuned": "fig-adam-vs-sgd-rates", "cooled": "fig-adam-vs-sgd-rates"}
READINGS = END_READINGS
GROUP = "behaviours"
BASIS = Basis(CASES, ("loss_ratio",))
LOSS_RATIO = "end loss, SGD over Adam"
COOLED_RATIO = "loss after the cooldown, SGD over Adam"
STEP_RATIO = "steps to sqrt(f0 f*), SGD over Adam"


@dataclass(frozen=True)
class Comparison:
    """One setting's numbers: losses of both arms, log ratios of their steps, the floor, the target."""

    losses: pd.DataFrame
    steps: Bounded
    floor: float
    target: float

    @property
    def log_gaps(self) -> np.ndarray:
        """Log l_SGD - log l_Adam per seed."""
        sgd, adam = arms(self.losses, "loss")
        gaps: np.ndarray = np.log(sgd) - np.log(adam)
        return gaps


def compare(name: str, history: History, lowest: float, cooled: bool = False) -> Comparison:
    """All that C1 reads off one setting's runs; `lowest` is f*, one number over all readings."""
    zero = PROBLEMS[name].task.zero_loss
    target = math.sqrt(zero * lowest)
    steps = step_ratio(steps_to(history, target, zero_loss=zero))
    return Comparison(judged_losses(history, zero, cooled), steps, lowest, target)


def gap_units(case: str, found: Comparison, keys: Keys, cooled: bool = False) -> list[Unit]:
    """The ratio of end losses, which decides, and at a constant rate that of steps to the target, beside it."""
    ratio = geometric_ratio(*arms(found.losses, "loss"))
    units = [ratio_unit(case, COOLED_RATIO if cooled else LOSS_RATIO, ratio, keys=keys)]
    if not cooled:
        words, part = f"{case}, steps to target", keys._replace(part="steps")
        units.append(ratio_unit(words, STEP_RATIO, found.steps.ratio(), False, part))
    return units


def units_of(reading: str, judged: Judged) -> list[Unit]:
    """The cases of one reading."""
    cooled = reading == "cooled"
    histories = judged.tuned if cooled else judged.histories[reading]

    def of(case: str, name: str, keys: Keys) -> list[Unit]:
        found = compare(name, histories[name], floor(*judged.all_of(name)), cooled)
        return gap_units(case, found, keys, cooled)

    return by_setting(histories, COOLED_RATIO if cooled else LOSS_RATIO, of)


def judge(reading: str, scale: str, judged: Judged, budget: TuningBudget) -> Verdict:
    """The verdict of one reading; it is robust where the loss after a cooldown says the same."""
    units = units_of(reading, judged)
    short = deviations(budget, PROTOCOL, tuned=reading != "published")
    checks = {}
    if reading == "tuned":
        deciding, cooled = ([unit for unit in own if unit.decides] for own in (units, units_of("cooled", judged)))
        checks["cooled"] = agree(deciding, cooled)
    return Verdict(CLAIM, reading, scale, CHAPTER, tuple(units), rule(units), short, rules_digest(__name__), checks)


def extents(histories: Mapping[str, History]) -> float:
    """p-value of one mean log gap in all settings: "to different extents"."""
    gaps = (compare(name, history, floor(history)).log_gaps for name, history in histories.items())
    return equal_means([list(own) for own in gaps])


__all__ = ["CHAPTER", "CLAIM", "FIGURE", "READINGS", "SENTENCE", "compare", "extents", "judge"]
