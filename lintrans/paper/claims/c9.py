"""C9: the gap between Adam and SGD grows with depth, L = 2, 4, 6, 8 (Ahn et al. 2024).

The gap is that of C1, the log ratio of end losses, and once more in steps to a target; a contrast between two depths
says what the less favourable of the two says. Where both optimizers sit on the floor f* ("saturated"), the ratio of
their losses says nothing about speed, and the steps decide alone. The reading "cooled" contrasts losses alone, those
after the rate has fallen to zero: where the runs can get, without the noise of a constant rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...statistics import Interval
from ..budgets import DepthBudget
from ..judged import COARSE_LOSS
from ..problems import PROBLEMS
from ..scales import LABELS
from .c1 import COOLED_RATIO, compare
from .common import Basis, Bounded, judged_losses, rules_digest
from .depth import (
    CHAPTER,
    NAMES,
    READINGS,
    STEPS,
    Depths,
    Trained,
    contrast,
    contrast_case,
    losses_of,
    training_deviations,
)
from .records import Verdict
from .rules import NO_KEYS, Keys, State, Unit, agree, ratio_unit, rule

CLAIM = "C9"
SENTENCE = "The gap between Adam and SGD grows with depth."
FIGURE = "fig-depth-gap"
GROUP = "causes"
BASIS = Basis(tuple(NAMES.values()), ("loss_ratio",))
LOSS = "gap in end loss, deeper over shallower"
SPEED = "gap in steps to sqrt(f0 f*), deeper over shallower"
COOLED = "gap in loss after the cooldown, deeper over shallower"
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
        loss, cooled: log ratios, SGD over Adam, by seed: of end losses, of losses after the cooldown.
        steps: the same of the steps to the target.
        floor, target: f* and sqrt(f0 f*).
        above: geometric mean of the end losses over f*, by optimizer.
        finished: whether a run was ever below the target, cooldown included; by optimizer and seed.
    """

    loss: pd.Series
    cooled: pd.Series
    steps: Bounded
    floor: float
    target: float
    above: dict[str, float]
    finished: pd.Series

    @property
    def saturated(self) -> bool:
        """Whether both optimizers end on the floor."""
        return max(self.above.values()) <= 1 + SATURATED


def _gap_in(losses: pd.DataFrame) -> pd.Series:
    return losses_of(losses, "sgd") - losses_of(losses, "adam")


def gap(name: str, trained: Trained, lowest: float) -> Gap:
    """The gap of one training; `lowest` is f*."""
    history = trained.histories[name]
    found = compare(name, history, lowest)
    cooled = judged_losses(history, PROBLEMS[name].task.zero_loss, cooled=True)
    above = {
        optimizer: math.exp(float(losses_of(found.losses, optimizer).mean())) / found.floor for optimizer in LABELS
    }
    rows = history.metric(COARSE_LOSS)
    least = pd.concat([rows[rows["step"] <= history.steps], cooled.rename(columns={"loss": "value"})])
    finished = least.groupby(["optimizer", "seed"])["value"].min() < found.target
    return Gap(_gap_in(found.losses), _gap_in(cooled), found.steps, found.floor, found.target, above, finished)


def lower(case: str, loss: Unit, steps: Unit, saturated: bool, keys: Keys = NO_KEYS) -> Unit:
    """The unit that decides: the less favourable of the two, or the steps alone where losses are saturated."""
    if saturated:
        return Unit(case, SPEED, steps.interval, steps.state, keys=keys)

    def favour(unit: Unit) -> tuple[int, float]:
        p = math.nan if unit.interval is None else unit.interval.p
        return ORDER.index(unit.state), -math.inf if math.isnan(p) else -p

    chosen = min(loss, steps, key=favour)
    return Unit(case, LOWER, chosen.interval, chosen.state, keys=keys)


def _pair(depths: Depths, shallow: int, deep: int) -> tuple[Gap, Gap] | None:
    """The gaps of the deeper and of the shallower model, at the horizon that both have; None where one is missing."""
    trained, names = depths.shared(shallow, deep), (NAMES[deep], NAMES[shallow])
    if not all(name in trained.histories for name in names):
        return None
    high, low = (gap(name, trained, depths.floor(name)) for name in names)
    return high, low


def tuned_units(depths: Depths, shallow: int, deep: int) -> tuple[Unit, Unit, Unit]:
    """One contrast at a constant rate: the unit that decides, and its two metrics beside it."""
    case, keys, both = contrast_case(shallow, deep), Keys((NAMES[deep], NAMES[shallow])), _pair(depths, shallow, deep)
    ratios: tuple[Interval | None, Interval | None] = (None, None)
    if both is not None:
        high, low = both
        ratios = contrast(high.loss, low.loss), (high.steps - low.steps).ratio()
    loss, steps = (
        ratio_unit(f"{case}, {words}", statistic, ratio, False, keys._replace(part=part))
        for (part, words), statistic, ratio in zip(METRICS.items(), (LOSS, SPEED), ratios, strict=True)
    )
    saturated = both is not None and any(each.saturated for each in both)
    return lower(case, loss, steps, saturated, keys), loss, steps


def cooled_unit(depths: Depths, shallow: int, deep: int) -> Unit:
    """One contrast of losses after the cooldown."""
    both, keys = _pair(depths, shallow, deep), Keys((NAMES[deep], NAMES[shallow]))
    ratio = None if both is None else contrast(both[0].cooled, both[1].cooled)
    return ratio_unit(contrast_case(shallow, deep), COOLED, ratio, keys=keys)


def units_of(reading: str, depths: Depths) -> tuple[Unit, ...]:
    """The cases of one reading, those that decide first."""
    if reading == "cooled":
        return tuple(cooled_unit(depths, *pair) for pair in STEPS)
    found = [tuned_units(depths, *pair) for pair in STEPS]
    return (*(first for first, _, _ in found), *(unit for _, *rest in found for unit in rest))


def judge(reading: str, scale: str, depths: Depths, budget: DepthBudget) -> Verdict:
    """The verdict of one reading; the tuned one is robust where losses after the cooldown say the same."""
    units, short = units_of(reading, depths), training_deviations(budget)
    deciding = [unit for unit in units if unit.decides]
    checks = {"cooled": agree(deciding, units_of("cooled", depths))} if reading == "tuned" else {}
    return Verdict(CLAIM, reading, scale, CHAPTER, units, rule(units), short, rules_digest(__name__), checks)


def gaps(depths: Depths) -> dict[int, Gap]:
    """The gap at every depth that was trained, at the short horizon, which all have."""
    trained = depths.short
    return {
        layers: gap(name, trained, depths.floor(name)) for layers, name in NAMES.items() if name in trained.histories
    }


def gap_units(found: dict[int, Gap]) -> list[Unit]:
    """The gap after the cooldown, one unit a depth, for a sentence: YES where SGD ends higher than Adam by the rule."""
    return [
        ratio_unit(f"L = {layers}", COOLED_RATIO, contrast(each.cooled, 0.0 * each.cooled), keys=Keys((NAMES[layers],)))
        for layers, each in found.items()
    ]


def log_gaps(found: dict[int, Gap]) -> pd.DataFrame:
    """For a figure: columns layers, metric ("loss", "cooled", "steps"), seed, value (log ratio), bound (or not)."""
    rows = [
        (layers, metric, seed, value, seed in bounds)
        for layers, each in found.items()
        for metric, series, bounds in (
            ("loss", each.loss, ()),
            ("cooled", each.cooled, ()),
            ("steps", each.steps.logs, each.steps.logs.index[each.steps.least | each.steps.most]),
        )
        for seed, value in series[np.isfinite(series)].items()
    ]
    return pd.DataFrame(rows, columns=["layers", "metric", "seed", "value", "bound"])


__all__ = ["CHAPTER", "CLAIM", "FIGURE", "READINGS", "SENTENCE", "gaps", "judge"]
