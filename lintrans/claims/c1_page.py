"""What the page on C1 says: sentences and a table, made from the numbers of :mod:`.c1`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum

import pandas as pd

from ..history import History
from ..problems import PROBLEMS
from ..protocol import LOSS, MARKED_STEP, Tuning
from ..settings import LABELS, TARGETS
from ..statistics import MeansTest
from .common import judged_losses, steps_to
from .records import Verdict, interval_text
from .rules import LEVEL, State


class Lead(StrEnum):
    """Which optimizer a statistic favours."""

    ADAM = "Adam"
    SGD = "SGD"
    NEITHER = "neither"


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


def describe_speed(verdict: Verdict) -> str:
    """What the ratio of steps says beside that of losses, a sentence a setting that has both, in Markdown."""
    decided = {unit.keys: unit for unit in verdict.units if unit.decides}
    lines = []
    for beside in (unit for unit in verdict.units if not unit.decides):
        unit = decided[beside.keys._replace(part=None)]
        case, ends = unit.case, unit.state
        agree = {State.YES: Lead.ADAM, State.WEAK: Lead.ADAM, State.REV: Lead.SGD}
        first, last = agree.get(beside.state, Lead.NEITHER), agree.get(ends, Lead.NEITHER)
        if first is last is Lead.NEITHER:
            words = "neither speed nor end loss favours one of them"
        elif first is last:
            words = "speed and end loss agree"
        elif Lead.NEITHER in (first, last):
            words = "only one of speed and end loss decides"
        else:
            words = f"speed and end loss **disagree**: {first} is faster to the target, {last} ends lower"
        lines.append(f"- {case.capitalize()}: {words}; SGD takes {interval_text(beside.interval)} times Adam's steps.")
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
            ours, published = best.lr, PROBLEMS[name].lr.get(optimizer)
            if published is None:
                beside = "none is published"
            else:
                beside = "the published one" if ours == published else f"published: {published:g}"
            lines.append(
                f"- {PROBLEMS[name].title}, {LABELS[optimizer]}: best rate {ours:g} ({beside}), {clip}, {edge}; "
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
        lines.append(f"- {PROBLEMS[name].title}: {'; '.join(parts)}.")
    return "\n".join(lines)


def summary(histories: Mapping[str, History]) -> pd.DataFrame:
    """The curves in numbers, a column a setting and optimizer: medians over seeds of losses and of steps to targets.

    A median of steps is "not reached" where at least half of the seeds do not reach the target.
    """
    columns: dict[str, dict[str, str]] = {}
    for name, history in histories.items():
        losses = judged_losses(history, PROBLEMS[name].task.zero_loss)
        marked = history.metric(LOSS)
        marked = marked[marked["step"] == MARKED_STEP]
        for optimizer, own in losses.groupby("optimizer", sort=False):
            at = marked[marked["optimizer"] == optimizer]["value"]
            column = {
                f"typical loss at step {MARKED_STEP:,}": "beyond T" if at.empty else f"{at.median():.2e}",
                f"typical loss at T = {history.steps:,}": f"{own['loss'].median():.2e}",
            }
            for target in TARGETS:
                taken = steps_to(history, target)
                taken = taken[taken["optimizer"] == optimizer]
                steps = taken["steps"].where(~taken["censored"], math.inf).median()
                column[f"steps to {target:g}"] = f"{steps:,.0f}" if math.isfinite(steps) else "not reached"
            column["runs diverged"] = f"{int((own['diverged'] >= 0).sum())} of {len(own)}"
            columns[f"{PROBLEMS[name].title}, {LABELS[str(optimizer)]}"] = column
    return pd.DataFrame(columns).rename_axis("median over seeds").reset_index()
