"""What the page on C4 says: sentences and tables, made from the numbers of :mod:`.c4`."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..problems import PROBLEMS
from ..settings import LABELS
from .c4 import METRIC, negative_shares
from .records import Verdict, interval_text
from .rules import State

FIRST = {
    State.YES: "SGD meets the larger curvature at most steps: share {share}",
    State.WEAK: "SGD meets the larger curvature at more than half of the steps: share {share}",
    State.NULL: "neither meets the larger curvature more often: share {share}",
    State.REV: "**Adam** meets the larger curvature more often: share of steps at which SGD's is larger {share}",
    State.UNDECIDED: "the seeds do not decide: share {share}",
    State.MISSING: "not measured at this scale",
}
SECOND = {
    State.YES: "where Adam's curvature is lower by more, Adam needs fewer steps by more: rank correlation {share}",
    State.WEAK: "the two ratios go together, weakly: rank correlation {share}",
    State.NULL: "the ratio of curvatures says nothing about the ratio of steps: rank correlation {share}",
    State.REV: "where Adam's curvature is lower by more, Adam needs **more** steps: rank correlation {share}",
    State.UNDECIDED: "the seeds do not decide whether the two ratios go together: rank correlation {share}",
    State.MISSING: "not measured at this scale",
}


def describe(verdict: Verdict) -> str:
    """What the four units say, a sentence each, in Markdown."""
    lines = []
    for unit in verdict.units:
        words = SECOND if unit.keys.part == "speed" else FIRST
        lines.append(f"- {unit.case.capitalize()}: {words[unit.state].format(share=interval_text(unit.interval))}.")
    return "\n".join(lines)


def describe_negative(frames: Mapping[str, pd.DataFrame]) -> str:
    """How often curvature along a step is negative, a sentence a setting, in Markdown."""
    lines = []
    for name, frame in frames.items():
        share = negative_shares(frame)
        parts = [f"{LABELS[optimizer]} {share[optimizer]:.1%}" for optimizer in ("sgd", "adam") if optimizer in share]
        lines.append(f"- {PROBLEMS[name].title}: curvature is negative along {', '.join(parts)} of the measured steps.")
    return "\n".join(lines)


def describe_cells(table: pd.DataFrame) -> str:
    """What went into the second half and what was left out, in a sentence."""
    curved, fast = table["curvature"].notna(), table["speed"].notna()
    return (
        f"Of {len(table)} cells (setting, rate, seed), {int((~curved).sum())} have a median curvature that is not "
        f"positive for one of the optimizers, and in {int((curved & ~fast).sum())} more neither optimizer reaches the "
        f"target; {int((curved & fast).sum())} count."
    )


def levels(frames: Mapping[str, pd.DataFrame], settled: int) -> pd.DataFrame:
    """Medians over seeds and steps from `settled` on of what steps meet, a row a setting and optimizer."""
    rows = []
    for name, frame in frames.items():
        late = frame[frame["step"] >= settled]
        for optimizer, own in late.groupby("optimizer", sort=False):
            middle = own.groupby("metric")["value"].median()
            rows.append(
                {
                    "setting": PROBLEMS[name].title,
                    "optimizer": LABELS[str(optimizer)],
                    "v'Hv": f"{middle[METRIC]:.3g}",
                    "length of Hv": f"{middle['hessian_step_norm']:.3g}",
                    "gradient norm": f"{middle['gradient_norm']:.3g}",
                    "step length": f"{middle['step_length']:.3g}",
                }
            )
    return pd.DataFrame(rows)
