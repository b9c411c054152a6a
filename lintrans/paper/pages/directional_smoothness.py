"""Directional smoothness: how often it is negative, and what the steps meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from ..claims.c4 import METRIC, SPEED, negative_shares
from ..claims.common import on_batches, typical
from ..claims.records import Verdict
from ..claims.rules import State, Unit
from ..problems import PROBLEMS
from ..scales import LABELS
from .common import sample_words as sample_words  # the chapter takes these from here
from .common import worst_prompts as worst_prompts

METRICS = {"v'Hv": METRIC, "length of Hv": "hessian_step_norm"}
METRICS |= {"gradient norm": "gradient_norm", "step length": "step_length"}


def negative(frames: Mapping[str, pd.DataFrame]) -> str:
    """How often curvature along a step is negative, over all evaluation batches, a line a setting, in Markdown."""
    lines = []
    for name, frame in frames.items():
        share = negative_shares(frame)
        parts = [f"{label} {share[optimizer]:.1%}" for optimizer, label in LABELS.items() if optimizer in share]
        lines.append(f"- {PROBLEMS[name].title}: curvature is negative along {', '.join(parts)} of the measured steps.")
    return "\n".join(lines)


def levels(frames: Mapping[str, pd.DataFrame], settled: int) -> pd.DataFrame:
    """Medians over seeds and steps from `settled` on of what steps meet, a row a setting and optimizer.

    Of each the median over evaluation batches; and v'Hv on the fixed batch.
    """
    rows = []
    for name, frame in frames.items():
        later = frame[frame["step"] >= settled]
        fixed = on_batches(later, fixed=True)
        there = fixed[fixed["metric"] == METRIC].groupby("optimizer")["value"].median()
        for optimizer, steps in typical(later).groupby("optimizer", sort=False):
            middle = steps.groupby("metric")["value"].median()
            numbers = {head: f"{middle[metric]:.3g}" for head, metric in METRICS.items()}
            own = {"v'Hv on the fixed batch": f"{there[optimizer]:.3g}" if optimizer in there else "not measured"}
            rows.append({"setting": PROBLEMS[name].title, "optimizer": LABELS[str(optimizer)], **numbers, **own})
    return pd.DataFrame(rows)


def counted(table: pd.DataFrame) -> str:
    """How many cells count towards the correlation of curvature and speed, in one sentence; from :func:`c4.cells`."""
    rows = on_batches(table)
    curved, fast = rows["curvature"].notna(), rows["speed"].notna()
    return (
        f"Of {len(rows):,} cells (setting, rate, seed, evaluation batch), {(~curved).sum():,} have a median curvature "
        f"that is not positive for one of the optimizers, and in {(curved & ~fast).sum():,} more neither optimizer "
        f"reaches the target; {(curved & fast).sum():,} count."
    )


def halves(verdict: Verdict) -> tuple[list[Unit], list[Unit]]:
    """The units that decide: those of curvature, and those of curvature and speed."""
    deciding = [unit for unit in verdict.units if unit.decides]
    speeds = [unit for unit in deciding if unit.keys.convention == SPEED]
    return [unit for unit in deciding if unit not in speeds], speeds


def conclusions(verdict: Verdict) -> str:
    """What both halves come to, in one sentence: in how many settings each of them holds, or is reversed."""
    texts = []
    for units, words in zip(halves(verdict), ("SGD meets the larger curvature", "it goes with speed"), strict=True):
        states = Counter(unit.state for unit in units)
        holds, against = states[State.YES] + states[State.WEAK], states[State.REV]
        texts.append(
            f"{words} in {holds} of {len(units)} settings ({states[State.WEAK]} weakly), the reverse in {against}"
        )
    return "; ".join(texts) + "."
