"""C1: Adam beats SGD in Settings 1 to 3, to different extents (Ahn et al. 2024, section 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...statistics import MeansTest, equal_means, geometric_ratio
from ...training.history import History
from ..budgets import TuningBudget
from ..problems import PROBLEMS
from ..scales import PROTOCOL
from .common import CASES, READINGS, Basis, arms, by_setting, deviations, floor, judged_losses, rules_digest, steps_to
from .records import Verdict
from .rules import Keys, Unit, ratio_unit, rule

CLAIM = "C1"
SENTENCE = "Adam beats SGD in Settings 1 to 3, to different extents."
CHAPTER = "adam_vs_sgd"
FIGURE = "fig-adam-vs-sgd"
GROUP = "behaviours"
BASIS = Basis(CASES, ("loss_ratio",))
LOSS_RATIO = "end loss, SGD over Adam"
STEP_RATIO = "steps to sqrt(f0 f*), SGD over Adam"


@dataclass(frozen=True)
class Comparison:
    """One setting's numbers: losses and steps of both arms, the floor, the target."""

    losses: pd.DataFrame
    steps: pd.DataFrame
    floor: float
    target: float

    @property
    def log_gaps(self) -> np.ndarray:
        """Log l_SGD - log l_Adam per seed."""
        sgd, adam = arms(self.losses, "loss")
        gaps: np.ndarray = np.log(sgd) - np.log(adam)
        return gaps

    @property
    def censored(self) -> bool:
        """More than half of both arms never reached the target."""
        return bool((self.steps.groupby("optimizer")["censored"].mean() > 0.5).all())


def compare(name: str, history: History) -> Comparison:
    """All that C1 reads off one setting's runs."""
    zero = PROBLEMS[name].task.zero_loss
    lowest = floor(history)
    target = math.sqrt(zero * lowest)
    return Comparison(judged_losses(history, zero), steps_to(history, target), lowest, target)


def gap_units(case: str, found: Comparison, keys: Keys) -> tuple[Unit, Unit]:
    """The ratio of end losses, which decides, and that of steps to the target, beside it."""
    ratio = geometric_ratio(*arms(found.losses, "loss"))
    speed = geometric_ratio(*(np.maximum(arm, 1.0) for arm in arms(found.steps, "steps")))
    words, part = f"{case}, steps to target", keys._replace(part="steps")
    return (
        ratio_unit(case, LOSS_RATIO, ratio, keys=keys),
        ratio_unit(words, STEP_RATIO, speed, False, part, found.censored),
    )


def judge(reading: str, scale: str, histories: Mapping[str, History], budget: TuningBudget) -> Verdict:
    """The verdict of one reading."""
    units = by_setting(
        histories, LOSS_RATIO, lambda case, name, keys: [*gap_units(case, compare(name, histories[name]), keys)]
    )
    short = deviations(budget, PROTOCOL, tuned=reading == "tuned")
    return Verdict(CLAIM, reading, scale, CHAPTER, tuple(units), rule(units), short, rules_digest(__name__))


def extents(histories: Mapping[str, History]) -> MeansTest:
    """F test of one mean log gap in all settings: "to different extents"."""
    return equal_means([list(compare(name, history).log_gaps) for name, history in histories.items()])


__all__ = ["CHAPTER", "CLAIM", "FIGURE", "READINGS", "SENTENCE", "compare", "extents", "judge"]
