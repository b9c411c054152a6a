"""C13: at L = 3 linear attention reaches a far lower loss, faster, than softmax attention (Ahn et al. 2024, section 3).

The paper gives neither rate nor setting, nor says which softmax. Judged in Setting 1, each model and optimizer at its
own best rate, for the softmax of the paper's public code and for the ordinary one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
from .common import ARMS, Basis, curvature_deviations, deviations, judged_losses, rules_digest, steps_to
from .records import Verdict
from .rules import Keys, Unit, ratio_unit, rule

CLAIM = "C13"
SENTENCE = "At three layers linear attention reaches a far lower loss, faster, than softmax attention."
CHAPTER = "attention"
FIGURE = "fig-attention"
READINGS = ("tuned",)
GROUP = "causes"
LINEAR = "linear"
DEFINITIONS = ("softmax", "softmax-visible")
"""The softmax of the public code and the ordinary one: problems that decide."""
BASIS = Basis((LINEAR, *DEFINITIONS), ARMS)
BESIDE = ("relu",)
"""Problems that are shown beside them."""
COMPARED = {**dict.fromkeys((*DEFINITIONS, *BESIDE), LINEAR), **dict.fromkeys(HEADS.values(), FULL_LINEAR)}
"""What each problem is compared with: linear attention in the same form."""
FIRST_HALF = "C4 by its first half: the second relates a grid of rates over several settings"
LOSSES = "end loss, over that of linear attention"
SPEED = "steps T over those of linear attention to the same loss"


@dataclass(frozen=True)
class Measured:
    """The sparse form with all that the five behaviours are judged on, and the trainings of the full form."""

    sparse: c16.Measured
    full: Judged

    @property
    def histories(self) -> dict[str, History]:
        """Trainings at the best rates, by problem; one without an interior best rate is missing."""
        return {**self.sparse.histories, **self.full.tuned}


def end_losses(name: str, history: History, optimizer: str) -> pd.Series:
    """The end loss of each seed of one optimizer; a run that is lost counts as the zero predictor."""
    table = judged_losses(history, PROBLEMS[name].task.zero_loss)
    return table[table["optimizer"] == optimizer].set_index("seed")["loss"].sort_index()


def loss_ratio(name: str, other: str, histories: Mapping[str, History], optimizer: str) -> Interval | None:
    """End loss of one problem over that of another, paired by seed."""
    if name not in histories or other not in histories:
        return None
    above, below = (end_losses(each, histories[each], optimizer) for each in (name, other))
    seeds = above.index.intersection(below.index)
    return geometric_ratio(above[seeds].to_numpy(np.float64), below[seeds].to_numpy(np.float64))


def steps_to_end_loss(name: str, other: str, histories: Mapping[str, History], optimizer: str) -> pd.DataFrame:
    """Per seed, the first measured step at which `other` is below the end loss of `name`: seed, steps, censored."""
    history = histories[other]
    rows = []
    for seed, target in end_losses(name, histories[name], optimizer).items():
        found = steps_to(history, float(target))
        found = found[(found["optimizer"] == optimizer) & (found["seed"] == seed)]
        rows.append(found[["seed", "steps", "censored"]])
    return pd.concat(rows, ignore_index=True)


def speed(name: str, other: str, histories: Mapping[str, History], optimizer: str) -> tuple[Interval, bool] | None:
    """T over the steps that `other` needs to the end loss of `name`, and whether most of its seeds never get there."""
    if name not in histories or other not in histories:
        return None
    found = steps_to_end_loss(name, other, histories, optimizer)
    taken = found["steps"].clip(lower=1.0).to_numpy(np.float64)
    ratio = geometric_ratio(np.full(len(taken), float(histories[name].steps)), taken)
    return ratio, bool(found["censored"].mean() > 0.5)


def units_of(name: str, histories: Mapping[str, History], decides: bool) -> list[Unit]:
    """The ratio of end losses of one problem for each optimizer, and the speed beside it."""
    units = []
    for optimizer, label in LABELS.items():
        case = f"{PROBLEMS[name].title}, {label}"
        other = COMPARED[name]
        keys = Keys((name, other), None, optimizer)
        ratio, found = loss_ratio(name, other, histories, optimizer), speed(name, other, histories, optimizer)
        units.append(ratio_unit(case, LOSSES, ratio, decides, keys))
        faster, censored = found if found else (None, False)
        units.append(ratio_unit(f"{case}, speed", SPEED, faster, False, keys._replace(part="speed"), censored))
    return units


def judge(scale: str, histories: Mapping[str, History], budget: AttentionBudget) -> Verdict:
    """The verdict, reading "tuned"."""
    units = [unit for name in DEFINITIONS for unit in units_of(name, histories, True)]
    beside = [unit for name in BESIDE for unit in units_of(name, histories, False)]
    short = deviations(budget.sparse.training, ATTENTION_PROTOCOL.sparse.training)
    return Verdict(CLAIM, "tuned", scale, CHAPTER, (*units, *beside), rule(units), short, rules_digest(__name__))


def behaviours(measured: Measured, budget: AttentionBudget) -> dict[str, dict[str, Behaviour]]:
    """What each kind of attention has of each behaviour, by title."""
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
