"""C9: the gap between Adam and SGD grows with depth, L = 2, 4, 6, 8 (Ahn et al. 2024).

The gap is that of C1, the log ratio of end losses, and once more in steps to a target; a contrast between two depths
says what the less favourable of the two says. Where both optimizers sit on the floor f* ("saturated"), the ratio of
their losses says nothing about speed, and the steps decide alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...training.history import History
from ..budgets import DepthBudget
from ..scales import LABELS
from .c1 import compare
from .common import Basis, rules_digest
from .depth import CHAPTER, NAMES, STEPS, Depths, contrast_case, losses_of, training_deviations
from .records import Verdict
from .rules import NO_KEYS, Keys, State, Unit, ratio_unit, rule
from .tails import contrast, log_ratio

CLAIM = "C9"
SENTENCE = "The gap between Adam and SGD grows with depth."
FIGURE = "fig-depth-gap"
READINGS = ("tuned",)
GROUP = "causes"
BASIS = Basis(tuple(NAMES.values()), ("loss_ratio",))
LOSS = "gap in end loss, deeper over shallower"
SPEED = "gap in steps to sqrt(f0 f*), deeper over shallower"
LOWER = "the gap's growth: the lower of end loss and steps"
METRICS = {"loss": "end loss", "steps": "steps to target"}
SATURATED = 0.05
"""Share above f* within which an optimizer ends on the floor."""
ORDER = (State.MISSING, State.REV, State.NULL, State.UNDECIDED, State.WEAK, State.YES)
"""States from the least to the most favourable."""


@dataclass(frozen=True)
class Gap:
    """The gap at one depth.

    Attributes:
        loss, steps: log ratios, SGD over Adam, by seed.
        censored: more than half of both arms never reached the target.
        floor: f*.
        above: geometric mean of the end losses over f*, by optimizer.
    """

    loss: pd.Series
    steps: pd.Series
    censored: bool
    floor: float
    above: dict[str, float]

    @property
    def saturated(self) -> bool:
        """Whether both optimizers end on the floor."""
        return max(self.above.values()) <= 1 + SATURATED


def gap(name: str, history: History) -> Gap:
    """The gap of one training."""
    found = compare(name, history)
    steps = log_ratio(found.steps.assign(steps=found.steps["steps"].clip(lower=1.0)), "steps")
    above = {
        optimizer: math.exp(float(losses_of(found.losses, optimizer).mean())) / found.floor for optimizer in LABELS
    }
    return Gap(log_ratio(found.losses, "loss"), steps, found.censored, found.floor, above)


def lower(case: str, loss: Unit, steps: Unit, saturated: bool, keys: Keys = NO_KEYS) -> Unit:
    """The unit that decides: the less favourable of the two, or the steps alone where losses are saturated."""
    if saturated:
        return Unit(case, SPEED, steps.interval, steps.state, keys=keys)

    def favour(unit: Unit) -> tuple[int, float]:
        p = math.nan if unit.interval is None else unit.interval.p
        return ORDER.index(unit.state), -math.inf if math.isnan(p) else -p

    chosen = min(loss, steps, key=favour)
    return Unit(case, LOWER, chosen.interval, chosen.state, keys=keys)


def units_of(depths: Depths, shallow: int, deep: int) -> tuple[Unit, Unit, Unit]:
    """One contrast: the unit that decides, and its two metrics beside it."""
    case = contrast_case(shallow, deep)
    histories = depths.shared(shallow, deep).histories
    names = (NAMES[deep], NAMES[shallow])
    keys = Keys(names)
    (by_loss_case, by_loss_keys), (by_steps_case, by_steps_keys) = (
        (f"{case}, {words}", keys._replace(part=part)) for part, words in METRICS.items()
    )
    if not all(name in histories for name in names):
        return (
            ratio_unit(case, LOWER, None, keys=keys),
            ratio_unit(by_loss_case, LOSS, None, False, by_loss_keys),
            ratio_unit(by_steps_case, SPEED, None, False, by_steps_keys),
        )
    high, low = (gap(name, histories[name]) for name in names)
    loss = ratio_unit(by_loss_case, LOSS, contrast(high.loss, low.loss), False, by_loss_keys)
    by_steps, censored = contrast(high.steps, low.steps), high.censored or low.censored
    steps = ratio_unit(by_steps_case, SPEED, by_steps, False, by_steps_keys, censored)
    return lower(case, loss, steps, high.saturated or low.saturated, keys), loss, steps


def judge(scale: str, depths: Depths, budget: DepthBudget) -> Verdict:
    """The verdict, reading "tuned"."""
    found = [units_of(depths, *pair) for pair in STEPS]
    units = (*(first for first, _, _ in found), *(unit for _, *rest in found for unit in rest))
    short = training_deviations(budget)
    return Verdict(CLAIM, "tuned", scale, CHAPTER, units, rule(units), short, rules_digest(__name__))


def gaps(depths: Depths) -> dict[int, Gap]:
    """The gap at every depth that was trained, at the short horizon, which all have."""
    histories = depths.short.histories
    return {layers: gap(name, histories[name]) for layers, name in NAMES.items() if name in histories}


def log_gaps(found: dict[int, Gap]) -> pd.DataFrame:
    """For a figure: columns layers, metric ("loss", "steps"), seed, value (log ratio)."""
    rows = [
        {"layers": layers, "metric": metric, "seed": seed, "value": value}
        for layers, each in found.items()
        for metric, series in (("loss", each.loss), ("steps", each.steps))
        for seed, value in series[np.isfinite(series)].items()
    ]
    return pd.DataFrame(rows, columns=["layers", "metric", "seed", "value"])
