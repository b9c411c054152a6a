"""C14: Adam beats SGD and the noise is heavy-tailed at L = 8, d = 20, n = 60 too (Ahn et al. 2024).

The statistics and rules of C1 and C2 on a larger model: one verdict with two units. No rate is published here, so the
first is tuned, or cooled; the second is measured at initialization and needs no rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ...training.history import History
from ..budgets import LargerBudget
from ..judged import Judged
from ..problems import LARGER
from ..scales import LARGER_PROTOCOL
from .c1 import COOLED_RATIO, LOSS_RATIO, compare, gap_units
from .c2 import deviations as noise_deviations
from .c2 import noise_units
from .common import Basis, deviations, floor, rules_digest
from .records import Verdict
from .rules import Keys, Unit, agree, ratio_unit, rule

CLAIM = "C14"
SENTENCE = "Adam beats SGD and gradient noise is heavy-tailed at L = 8, d = 20, n = 60 too."
CHAPTER = "larger"
FIGURE = "fig-larger-loss"
READINGS = ("tuned", "cooled")
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


def units_of(reading: str, larger: Larger) -> list[Unit]:
    """The two halves of one reading, then what stands beside them."""
    cooled, keys = reading == "cooled", Keys((LARGER.name,), claim="C1")
    excess, further = noise_units(NOISE, larger.noise, keys._replace(claim="C2"))
    if larger.history is None:
        return [ratio_unit(GAP, COOLED_RATIO if cooled else LOSS_RATIO, None, keys=keys), excess, further]
    found = compare(LARGER.name, larger.history, floor(*larger.judged.all_of(LARGER.name)), cooled)
    loss, *steps = gap_units(GAP, found, keys, cooled)
    return [loss, excess, *steps, further]


def judge(reading: str, scale: str, larger: Larger, budget: LargerBudget) -> Verdict:
    """The verdict of one reading; its noise half is the same under any."""
    units = units_of(reading, larger)
    training, asked = budget.training, LARGER_PROTOCOL
    short = [*deviations(training, asked.training)]
    if training.every > asked.training.every:
        short.append(f"losses compared with a target every {training.every} steps instead of {asked.training.every}")
    short += noise_deviations(budget.noise, asked.noise)
    checks = {}
    if reading == "tuned":
        deciding, cooled = ([unit for unit in own if unit.decides] for own in (units, units_of("cooled", larger)))
        checks["cooled"] = agree(deciding, cooled)
    return Verdict(
        CLAIM, reading, scale, CHAPTER, tuple(units), rule(units), tuple(short), rules_digest(__name__), checks
    )
