"""What C9 to C12 share: trainings of 2 to 8 layers, and which of them two depths are compared on.

The shallow depths are trained twice. Their contrast with each other is judged at the longer horizon; a contrast with a
deep one, at the shorter horizon that all depths have, with rates tuned for that horizon and the seeds of the deep one.
The floor f* of a depth is one number over both horizons, cooldowns included.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...statistics import Interval, mean_of
from ...training.history import History
from ..budgets import CurvatureBudget, DepthBudget, TuningBudget
from ..judged import Judged
from ..problems import DEPTHS, PROBLEMS
from ..scales import DEPTH_PROTOCOL
from .c2 import deviations as noise_deviations
from .common import END_READINGS, averaged_over, deviations, floor, judged_losses
from .common import curvature_deviations as measured_on

CHAPTER = "depth"
READINGS = END_READINGS[1:]
"""Of an end loss: nothing is published at these depths."""
NAMES = {layers: f"depth {layers}" for layers in DEPTHS}
"""Problems by number of layers."""
STEPS = tuple(itertools.pairwise(DEPTHS))
"""Neighbouring depths."""


def contrast_case(shallow: int, deep: int) -> str:
    """``"L = 2 to 4"``."""
    return f"L = {shallow} to {deep}"


@dataclass(frozen=True)
class Trained:
    """Trainings of one horizon with the condition numbers along them, by problem; a depth without rates is missing."""

    judged: Judged
    conditions: dict[str, pd.DataFrame]
    budget: TuningBudget
    curvature: CurvatureBudget

    @property
    def histories(self) -> Mapping[str, History]:
        """At each optimizer's best rate."""
        return self.judged.tuned


@dataclass(frozen=True)
class Depths:
    """All that is trained: the shallow depths to the long horizon, all depths to the short one."""

    long: Trained
    short: Trained

    def shared(self, *layers: int) -> Trained:
        """The trainings at the longest horizon that all these depths have."""
        both = all(NAMES[each] in self.long.budget.settings for each in layers)
        return self.long if both else self.short

    def floor(self, name: str) -> float:
        """f* of a problem, one number over all its trainings."""
        return floor(*self.long.judged.all_of(name), *self.short.judged.all_of(name))


def training_deviations(budget: DepthBudget) -> tuple[str, ...]:
    """Where the trainings fall short of what the rules ask for, in words."""
    texts = []
    for have, asked in ((budget.long, DEPTH_PROTOCOL.long), (budget.short, DEPTH_PROTOCOL.short)):
        texts += _of(_trainings(asked), deviations(have, asked))
    return tuple(texts)


def curvature_deviations(budget: DepthBudget) -> tuple[str, ...]:
    """Where the condition numbers fall short of what the rules ask for, in words."""
    texts = []
    pairs = [
        [(each.long, each.long_curvature), (each.short, each.short_curvature)] for each in (budget, DEPTH_PROTOCOL)
    ]
    for (training, have), (training_asked, asked) in zip(*pairs, strict=True):
        words = (*averaged_over(have, training.steps, asked, training_asked.steps), *measured_on(have, asked=asked))
        texts += _of(_trainings(training_asked), words)
    return tuple(texts)


def init_deviations(budget: DepthBudget) -> tuple[str, ...]:
    """Where the noise at initialization falls short of what the rules ask for, in words."""
    texts = []
    pairs = [(each.shallow_noise, each.deep_noise) for each in (budget, DEPTH_PROTOCOL)]
    for have, asked in zip(*pairs, strict=True):
        titles = ", ".join(PROBLEMS[name].title for name in asked.settings)
        texts += _of(titles, noise_deviations(have, asked))
    return tuple(texts)


def _of(what: str, texts: Sequence[str]) -> list[str]:
    """One text that says of what all of these are; none where there are none."""
    return [f"{what}: {'; '.join(texts)}"] if texts else []


def _trainings(asked: TuningBudget) -> str:
    layers = [str(depth) for depth, name in NAMES.items() if name in asked.settings]
    return f"L = {', '.join(layers)} with T = {asked.steps:,}"


def losses_of(table: pd.DataFrame, optimizer: str) -> pd.Series:
    """Log of one optimizer's end losses by seed, from :func:`lintrans.paper.claims.common.judged_losses`."""
    own = table[table["optimizer"] == optimizer].set_index("seed")["loss"].sort_index()
    return pd.Series(np.log(own.to_numpy(np.float64)), index=own.index)


def end_losses(trained: Trained, layers: int, cooled: bool = False) -> pd.DataFrame | None:
    """End losses of one depth as they are judged; None where it was not trained."""
    name = NAMES[layers]
    if name not in trained.histories:
        return None
    return judged_losses(trained.histories[name], PROBLEMS[name].task.zero_loss, cooled)


def contrast(deep: pd.Series | pd.DataFrame | None, shallow: pd.Series | pd.DataFrame | None) -> Interval | None:
    """Ratio of two statistics whose logs are given by seed, or by seed (rows) and batch (columns), over what both have.

    A batch on which no seed has a number is left out, and then each seed that lacks one. None where nothing is left.
    """
    if deep is None or shallow is None:
        return None
    difference = pd.DataFrame(deep - shallow).replace([np.inf, -np.inf], np.nan)
    table = difference.dropna(axis="columns", how="all").dropna(axis="index")
    return mean_of(table.to_numpy(np.float64)).exp() if table.size else None
