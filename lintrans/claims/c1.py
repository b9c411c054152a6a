"""C1: Adam beats SGD in Settings 1 to 3, to different extents (Ahn et al. 2024, section 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..history import History
from ..protocol import COARSE_LOSS, LOSS, MARKED_STEP, Tuning, end_values
from ..results import digest_of
from ..settings import LABELS, PROTOCOL, SETTINGS, TARGETS, Budget
from ..statistics import MeansTest, equal_means, geometric_ratio
from .records import Verdict, interval_text
from .rules import LEVEL, State, Unit, ratio_state, rule

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


PHRASES = {
    State.YES: "Adam ends lower, clearly: SGD's loss is {ratio} times Adam's",
    State.WEAK: "Adam ends lower, by little: SGD's loss is {ratio} times Adam's",
    State.NULL: "the two end alike: SGD's loss is {ratio} times Adam's",
    State.REV: "SGD ends lower: its loss is {ratio} times Adam's",
    State.UNDECIDED: "the seeds do not decide: SGD's loss is {ratio} times Adam's",
    State.MISSING: "not measured at this scale",
}


def describe(verdict: Verdict) -> str:
    """What the units that decide say, a sentence a setting, in Markdown."""
    lines = []
    for unit in verdict.units:
        if unit.decides:
            text = PHRASES[unit.state].format(ratio=interval_text(unit.interval))
            lines.append(f"- {unit.case.capitalize()}: {text}.")
    return "\n".join(lines)


def describe_extents(test: MeansTest) -> str:
    """Whether the gap differs between settings, in a sentence."""
    if math.isnan(test.p):
        return "Whether the gap differs between settings cannot be tested at this scale."
    answer = "differs" if test.p < LEVEL else "may be the same"
    return (
        f"The size of the gap {answer} between the settings: the F test of equal mean log ratios has "
        f"F = {test.f:.3g}, p = {test.p:.2g}."
    )


def describe_choices(tunings: Mapping[str, Tuning]) -> str:
    """The best rate per setting and optimizer, and whether the grid encloses it, in Markdown."""
    lines = []
    for name, tuning in tunings.items():
        for optimizer, best in tuning.best.items():
            clip = "no clip" if math.isinf(best.clip) else f"clip {best.clip:g}"
            edge = "inside the rates tried" if best.interior else "at the edge of the rates tried"
            ours, published = best.lr, SETTINGS[name].lr[optimizer]
            beside = "the published one" if ours == published else f"published: {published:g}"
            lines.append(
                f"- {SETTINGS[name].title}, {LABELS[optimizer]}: best rate {ours:g} ({beside}), {clip}, {edge}; "
                f"median loss {best.loss:.2e} after {best.steps:,} steps."
            )
    return "\n".join(lines)


def describe_steps(histories: Mapping[str, History]) -> str:
    """Clipped, skipped and diverged steps and runs, a sentence a setting, in Markdown."""
    lines = []
    for name, history in histories.items():
        total = history.metric(LOSS)["step"].max()
        parts = []
        for optimizer, runs in history.runs.groupby("optimizer", sort=False):
            parts.append(
                f"{LABELS[str(optimizer)]} {runs['clipped'].mean() / total:.1%} of its steps clipped, "
                f"{runs['skipped'].sum()} skipped, {(runs['diverged'] >= 0).sum()} of {len(runs)} runs diverged"
            )
        lines.append(f"- {SETTINGS[name].title}: {'; '.join(parts)}.")
    return "\n".join(lines)


def extents(histories: Mapping[str, History]) -> MeansTest:
    """F test of one mean log gap in all settings: "to different extents"."""
    return equal_means([list(compare(name, history).log_gaps) for name, history in histories.items()])


def summary(histories: Mapping[str, History]) -> pd.DataFrame:
    """The curves in numbers: medians over seeds of typical losses, and of steps to fixed targets.

    A median of steps is "not reached" where at least half of the seeds do not reach the target.
    """
    rows = []
    for name, history in histories.items():
        losses = judged_losses(history, SETTINGS[name].task.zero_loss)
        marked = history.metric(LOSS)
        marked = marked[marked["step"] == MARKED_STEP]
        for optimizer in losses["optimizer"].unique():
            row = {"setting": name, "optimizer": optimizer}
            at = marked[marked["optimizer"] == optimizer]["value"]
            row[f"loss at {MARKED_STEP}"] = "beyond T" if at.empty else f"{at.median():.2e}"
            row[f"loss at T = {history.steps:,}"] = f"{losses[losses['optimizer'] == optimizer]['loss'].median():.2e}"
            for target in TARGETS:
                taken = steps_to(history, target)
                taken = taken[taken["optimizer"] == optimizer]
                steps = taken["steps"].where(~taken["censored"], math.inf).median()
                row[f"steps to {target:g}"] = f"{steps:,.0f}" if math.isfinite(steps) else "not reached"
            row["diverged"] = str(int((history.runs[history.runs["optimizer"] == optimizer]["diverged"] >= 0).sum()))
            rows.append(row)
    return pd.DataFrame(rows)
