"""C14: Adam beats SGD and the noise is heavy-tailed at L = 8, d = 20, n = 60 too (Ahn et al. 2024).

The statistics and rules of C1 and C2 on a larger model: one verdict with two units. No rate is published here, so the
first is tuned; the second is measured at initialization and needs no rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from ...training.history import History
from ..budgets import LargerBudget
from ..judged import Judged
from ..problems import LARGER
from ..scales import LARGER_PROTOCOL
from .c1 import LOSS_RATIO, compare, gap_units
from .c2 import deviations as noise_deviations
from .c2 import noise_units
from .common import Basis, deviations, rules_digest
from .depth import tuning_deviations
from .records import Verdict
from .rules import Keys, State, Unit, rule

CLAIM = "C14"
SENTENCE = "Adam beats SGD and gradient noise is heavy-tailed at L = 8, d = 20, n = 60 too."
CHAPTER = "larger"
FIGURE = "fig-larger-loss"
READINGS = ("tuned",)
GROUP = "causes"
BASIS = Basis((LARGER.name,), ("loss_ratio", "noise"))
GAP, NOISE = "Adam against SGD", "gradient noise"


@dataclass(frozen=True)
class Larger:
    """The trainings of the larger model, and the table of its noise at initialization."""

    judged: Judged
    noise: pd.DataFrame

    @property
    def history(self) -> History | None:
        """The judging runs; None where no best rate was found inside the grid."""
        return self.judged.tuned.get(LARGER.name)


def judge(scale: str, histories: Mapping[str, History], noise: pd.DataFrame, budget: LargerBudget) -> Verdict:
    """The verdict, reading "tuned"; its noise half is the same under any."""
    asked, training = LARGER_PROTOCOL, budget.training
    tuning, tuning_asked = (replace(each.training, steps=each.tuning_steps) for each in (budget, asked))
    by_gap, by_noise = (Keys((LARGER.name,), claim=claim) for claim in ("C1", "C2"))
    excess, further = noise_units(NOISE, noise, by_noise)
    if LARGER.name in histories:
        loss, steps = gap_units(GAP, compare(LARGER.name, histories[LARGER.name]), by_gap)
        units: tuple[Unit, ...] = (loss, excess, steps, further)
    else:
        units = (Unit(GAP, LOSS_RATIO, None, State.MISSING, keys=by_gap), excess, further)
    short = (
        *deviations(training, asked.training),
        *tuning_deviations(tuning, tuning_asked),
        *(
            [f"steps to the target in multiples of {training.every} instead of {asked.training.every}"]
            if training.every > asked.training.every
            else []
        ),
        *noise_deviations(budget.noise, asked.noise),
    )
    return Verdict(CLAIM, "tuned", scale, CHAPTER, units, rule(units), short, rules_digest(__name__))
