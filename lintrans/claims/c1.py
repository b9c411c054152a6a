"""C1: Adam beats SGD in Settings 1 to 3, to different extents (Ahn et al. 2024, section 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..history import History
from ..protocol import COARSE_LOSS, LOSS, end_values
from ..results import digest_of
from ..settings import PROTOCOL, SETTINGS, Budget
from ..statistics import MeansTest, equal_means, geometric_ratio
from .records import Verdict
from .rules import State, Unit, ratio_state, rule

CLAIM = "C1"
SENTENCE = "Adam beats SGD in Settings 1 to 3, to different extents."
CHAPTER = "adam_vs_sgd"
CASES = ("1", "2", "3")
LOSS_RATIO = "end loss, SGD over Adam"
STEP_RATIO = "steps to sqrt(f0 f*), SGD over Adam"


def floor(history: History) -> float:
    """f*, the least typical loss of any run at the horizon or after its cooldown."""
    rows = history.metric(LOSS)
    return float(rows[rows["step"].isin((history.steps, rows["step"].max()))]["value"].min())


def judged_losses(history: History, zero_loss: float) -> pd.DataFrame:
    """The runs' table with ``loss``; a run that diverged or does worse counts as the zero predictor, and is marked."""
    table = end_values(history)
    lost = ~(table["loss"] <= zero_loss) | (table["diverged"] >= 0)
    return table.assign(loss=table["loss"].where(~lost, zero_loss), counted_as_zero=lost)


def steps_to(history: History, target: float, metric: str = COARSE_LOSS) -> pd.DataFrame:
    """The runs' table with ``steps``: the first measured step at which the metric is below the target.

    Runs that diverged or never reach it stand at the horizon, marked ``censored``.
    """
    rows = history.metric(metric)
    rows = rows[(rows["value"] < target) & (rows["step"] <= history.steps)]
    first = history.runs["run"].map(rows.groupby("run")["step"].min())
    censored = first.isna() | (history.runs["diverged"] >= 0)
    return history.runs.assign(steps=first.where(~censored, history.steps).astype(float), censored=censored)


def _arms(table: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """One value per seed for SGD and for Adam, in the order of seeds."""
    wide = table.pivot(index="seed", columns="optimizer", values=column)
    return wide["sgd"].to_numpy(np.float64), wide["adam"].to_numpy(np.float64)


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
        sgd, adam = _arms(self.losses, "loss")
        gaps: np.ndarray = np.log(sgd) - np.log(adam)
        return gaps

    @property
    def censored(self) -> bool:
        """More than half of both arms never reached the target."""
        return bool((self.steps.groupby("optimizer")["censored"].mean() > 0.5).all())


def compare(name: str, history: History) -> Comparison:
    """All that C1 reads off one setting's runs."""
    zero = SETTINGS[name].task.zero_loss
    lowest = floor(history)
    target = math.sqrt(zero * lowest)
    return Comparison(judged_losses(history, zero), steps_to(history, target), lowest, target)


def deviations(budget: Budget, asked: Budget) -> tuple[str, ...]:
    """Where a budget falls short of what the rules ask for, in words."""
    texts = []
    if missing := [name for name in asked.settings if name not in budget.settings]:
        texts.append(f"settings not run: {', '.join(missing)}")
    for what, have, want in (
        ("horizon T of {} steps instead of {}", budget.steps, asked.steps),
        ("{} judging seeds instead of {}", budget.seeds, asked.seeds),
        ("batches of {} prompts instead of {}", budget.batch, asked.batch),
        ("typical losses from {} blocks instead of {}", budget.blocks, asked.blocks),
    ):
        if have < want:
            texts.append(what.format(f"{have:,}", f"{want:,}"))
    for field, text in (
        ("rates", "{} learning rates instead of {}"),
        ("clips", "{} choice of clip instead of {}"),
        ("tuning_seeds", "{} tuning seeds instead of {}"),
    ):
        have_list, want_list = getattr(budget, field, ()), getattr(asked, field, ())
        if len(have_list) < len(want_list):
            texts.append(text.format(len(have_list), len(want_list)))
    if getattr(asked, "finalists", 0) and not getattr(budget, "finalists", 0):
        texts.append("the grid alone: no rate is run to the horizon, and none is judged")
    return tuple(texts)


def judge(reading: str, scale: str, histories: Mapping[str, History], budget: Budget) -> Verdict:
    """The verdict of one reading.

    Args:
        reading: "published" or "tuned".
        scale: the scale's name.
        histories: the judging runs by setting; a setting left out was not measured.
        budget: what they were run with.
    """
    units: list[Unit] = []
    beside: list[Unit] = []
    for name in CASES:
        case = f"setting {name}"
        if name not in histories:
            units.append(Unit(case, LOSS_RATIO, None, State.MISSING))
            continue
        found = compare(name, histories[name])
        ratio = geometric_ratio(*_arms(found.losses, "loss"))
        units.append(Unit(case, LOSS_RATIO, ratio, ratio_state(ratio)))
        speed = geometric_ratio(*(np.maximum(arm, 1.0) for arm in _arms(found.steps, "steps")))
        beside.append(Unit(case, STEP_RATIO, speed, ratio_state(speed, found.censored), decides=False))
    here = Path(__file__).parent
    rules = digest_of([here / "rules.py", here / "c1.py", here.parent / "statistics.py", here.parent / "protocol.py"])
    return Verdict(
        CLAIM, reading, scale, CHAPTER, (*units, *beside), rule(units), deviations(budget, PROTOCOL[reading]), rules
    )


def extents(histories: Mapping[str, History]) -> MeansTest:
    """F test of one mean log gap in all settings: "to different extents"."""
    return equal_means([list(compare(name, history).log_gaps) for name, history in histories.items()])
