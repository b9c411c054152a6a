"""C13: at L = 3 linear attention reaches a far lower loss, faster, than softmax attention (Ahn et al. 2024, section 3).

The paper gives neither rate nor setting, nor says which softmax. Judged in Setting 1, each model and optimizer at its
own best rate, for the softmax of the paper's public code and for the ordinary one. The sparse form of the former cannot
get below a loss that can be computed before anything is trained; the full form, which can, stands beside.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ...statistics import Interval, geometric_ratio
from ...training.history import History
from ..budgets import AttentionBudget
from ..judged import Judged
from ..problems import ATTENTION_TITLES, FULL_LINEAR, HEADS, PROBLEMS
from ..scales import ATTENTION_PROTOCOL, LABELS
from . import c2, c16
from .c16 import FEATURES, Behaviour
from .common import ARMS, Basis, Bounded, curvature_deviations, deviations, judged_losses, rules_digest, steps_to
from .records import Verdict
from .rules import MARGIN, Keys, Unit, agree, ratio_unit, rule

CLAIM = "C13"
SENTENCE = "At three layers linear attention reaches a far lower loss, faster, than softmax attention."
CHAPTER = "attention"
FIGURE = "fig-attention"
READINGS = ("tuned", "cooled")
GROUP = "causes"
LINEAR = "linear"
DEFINITIONS = ("softmax", "softmax-visible")
"""The softmax of the public code and the ordinary one: problems that decide."""
BOUNDED = DEFINITIONS[0]
"""The softmax of the public code, whose sparse form cannot reach beyond a share of the responses shown."""
BASIS = Basis((LINEAR, *DEFINITIONS), ARMS)
BESIDE = ("relu",)
"""Problems that are shown beside them."""
COMPARED = {**dict.fromkeys((*DEFINITIONS, *BESIDE), LINEAR), **dict.fromkeys(HEADS.values(), FULL_LINEAR)}
"""What each problem is compared with: linear attention in the same form."""
FIRST_HALF = "C4 by its first half: the second relates a grid of rates over several settings"
CONSTRUCTION = "by construction in the sparse form"
LOSSES = "end loss, over that of linear attention"
COOLED_LOSSES = "loss after the cooldown, over that of linear attention"
SPEED = "steps T over those of linear attention to the same loss"


@dataclass(frozen=True)
class Reach:
    """How far the public code's softmax gets in the sparse form, whatever its parameters.

    Attributes:
        factor: the largest prediction over the largest response shown.
        least: a loss that it cannot get below.
    """

    factor: float
    least: float


@dataclass(frozen=True)
class Measured:
    """The sparse form with all that the five behaviours are judged on, the full form, and the reach of softmax."""

    sparse: c16.Measured
    full: Judged
    reach: Reach

    @property
    def histories(self) -> dict[str, History]:
        """Trainings at the best rates, by problem; one without an interior best rate is missing."""
        return {**self.sparse.histories, **self.full.tuned}


def end_losses(name: str, history: History, optimizer: str, cooled: bool = False) -> pd.Series:
    """The end loss of each seed of one optimizer; a run that is lost counts as the zero predictor."""
    table = judged_losses(history, PROBLEMS[name].task.zero_loss, cooled)
    return table[table["optimizer"] == optimizer].set_index("seed")["loss"].sort_index()


def loss_ratio(
    name: str, other: str, histories: Mapping[str, History], optimizer: str, cooled: bool = False
) -> Interval | None:
    """End loss of one problem over that of another, paired by seed."""
    if name not in histories or other not in histories:
        return None
    above, below = (end_losses(each, histories[each], optimizer, cooled) for each in (name, other))
    seeds = above.index.intersection(below.index)
    return geometric_ratio(above[seeds].to_numpy(np.float64), below[seeds].to_numpy(np.float64))


def steps_to_end_loss(name: str, other: str, histories: Mapping[str, History], optimizer: str) -> pd.DataFrame:
    """When `other` gets below the end loss of `name`, by seed: a row of :func:`~.common.steps_to` each."""
    history, zero = histories[other], PROBLEMS[other].task.zero_loss
    rows = []
    for seed, target in end_losses(name, histories[name], optimizer).items():
        found = steps_to(history, float(target), zero_loss=zero)
        rows.append(found[(found["optimizer"] == optimizer) & (found["seed"] == seed)])
    return pd.concat(rows, ignore_index=True)


def speed(name: str, other: str, histories: Mapping[str, History], optimizer: str) -> Interval | None:
    """T over the steps that `other` needs to the end loss of `name`; an upper bound where a seed never gets there."""
    if name not in histories or other not in histories:
        return None
    taken = Bounded.of(steps_to_end_loss(name, other, histories, optimizer), optimizer)
    nothing = taken.least & False
    whole = Bounded(0.0 * taken.logs + math.log(histories[name].steps), nothing, nothing, 0.0 * taken.width)
    return (whole - taken).ratio()


def decided_beforehand(name: str, histories: Mapping[str, History], optimizer: str, least: float, cooled: bool) -> bool:
    """Whether no parameters of `name` could have spoiled the YES: all it is compared with ends far below its reach."""
    if name != BOUNDED or LINEAR not in histories:
        return False
    return bool((MARGIN * end_losses(LINEAR, histories[LINEAR], optimizer, cooled) < least).all())


def units_of(
    name: str, histories: Mapping[str, History], least: float, decides: bool = False, cooled: bool = False
) -> list[Unit]:
    """The ratio of end losses of one problem for each optimizer, and at a constant rate the speed beside it."""
    units = []
    for optimizer, label in LABELS.items():
        case, other = f"{PROBLEMS[name].title}, {label}", COMPARED[name]
        keys = Keys((name, other), None, optimizer)
        ratio = loss_ratio(name, other, histories, optimizer, cooled)
        unit = ratio_unit(case, COOLED_LOSSES if cooled else LOSSES, ratio, decides, keys)
        if decided_beforehand(name, histories, optimizer, least, cooled):
            unit = replace(unit, remarks=(CONSTRUCTION,))
        units.append(unit)
        if not cooled:
            faster = speed(name, other, histories, optimizer)
            units.append(ratio_unit(f"{case}, speed", SPEED, faster, False, keys._replace(part="speed")))
    return units


def _losses(units: Iterable[Unit], names: Collection[str]) -> list[Unit]:
    """Units of end losses of some problems."""
    return [unit for unit in units if unit.keys.part is None and unit.keys.problems[0] in names]


def judge(reading: str, scale: str, histories: Mapping[str, History], least: float, budget: AttentionBudget) -> Verdict:
    """The verdict of one reading; `least` is the loss that the public code's softmax cannot get below."""

    def all_units(cooled: bool) -> list[Unit]:
        names = (*DEFINITIONS, *BESIDE, *HEADS.values())
        return [unit for name in names for unit in units_of(name, histories, least, name in DEFINITIONS, cooled)]

    units = all_units(reading == "cooled")
    checks = {}
    if reading == "tuned":
        checks["cooled"] = agree(*(_losses(own, DEFINITIONS) for own in (units, all_units(True))))
    if {FULL_LINEAR, HEADS[1]} <= {*histories}:
        checks["full form"] = agree(*(_losses(units, (name,)) for name in (BOUNDED, HEADS[1])))
    short = deviations(budget.sparse.training, ATTENTION_PROTOCOL.sparse.training)
    ordered = (*(unit for unit in units if unit.decides), *(unit for unit in units if not unit.decides))
    return Verdict(CLAIM, reading, scale, CHAPTER, ordered, rule(ordered), short, rules_digest(__name__), checks)


def behaviours(measured: Measured, budget: AttentionBudget) -> dict[str, dict[str, Behaviour]]:
    """What each kind of attention has of each behaviour at its best rates, by title."""
    return {
        title: c16.behaviours_of(title, name, measured.sparse, budget.sparse)
        for name, title in ATTENTION_TITLES.items()
    }


def behaviour_deviations(budget: AttentionBudget) -> tuple[str, ...]:
    """Where the measurements of the five behaviours fall short of what their own claims ask for, in words."""
    own, asked = budget.sparse, ATTENTION_PROTOCOL.sparse
    return (
        *deviations(own.training, asked.training),
        *curvature_deviations(own.curvature, "judged", "spectral", asked=asked.curvature),
        *(f"noise: {text}" for text in c2.deviations(own.noise, asked.noise)),
        FIRST_HALF,
    )


__all__ = ["CHAPTER", "CLAIM", "FEATURES", "FIGURE", "READINGS", "SENTENCE", "behaviours", "judge"]
