"""Directional smoothness: how often it is negative, and what the steps meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from ...training.history import History
from ..claims.c4 import METRIC, SPEED, negative_shares, share_unit
from ..claims.common import FIXED_BATCH, on_batches, typical
from ..claims.records import Verdict
from ..claims.rules import Keys, Unit
from ..problems import PROBLEMS
from ..scales import LABELS
from .common import sample_words as sample_words  # the chapter takes these from here
from .common import worst_prompts as worst_prompts
from .template import Lamp, confirmed, part
from .words import tally

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
    bent = (~curved).sum()
    return (
        f"{(curved & fast).sum():,} of the {len(rows):,} combinations (setting, rate, seed, batch) count; in "
        f"{(curved & ~fast).sum():,} neither optimizer reaches the target"
        + (f", and in {bent:,} a median curvature is not positive." if bent else ".")
    )


def halves(verdict: Verdict) -> tuple[list[Unit], list[Unit]]:
    """The units that decide: those of curvature, and those of curvature and speed."""
    deciding = [unit for unit in verdict.units if unit.decides]
    speeds = [unit for unit in deciding if unit.keys.convention == SPEED]
    return [unit for unit in deciding if unit not in speeds], speeds


def only(verdict: Verdict, half: int) -> Verdict:
    """The verdict with one of its halves alone, and that half's cases by their setting."""
    return replace(
        verdict, units=tuple(replace(own, case=f"setting {own.keys.problem}") for own in halves(verdict)[half])
    )


def title(verdict: Verdict) -> str:
    """Who meets the larger curvature, in a line for a figure."""
    return "The larger curvature along the steps: " + tally(
        halves(verdict)[0], yes="SGD's", weak="SGD's", null="no difference", rev="Adam's", undecided="open",
        missing="not measured",
    )  # fmt: skip


def speed_title(verdict: Verdict) -> str:
    """Whether lower curvature goes with speed, in a line for a figure."""
    return "Where Adam's curvature is lower, it is faster: " + tally(
        halves(verdict)[1], yes="yes", weak="weakly", null="unrelated", rev="the opposite", undecided="open",
        missing="not measured",
    )  # fmt: skip


def by_length(frames: Mapping[str, pd.DataFrame], settled: int) -> list[Unit]:
    """The first half of the claim by the length of Hv, which has no sign, in place of v'Hv."""
    units = []
    for name, frame in frames.items():
        own = frame[frame["metric"] == METRICS["length of Hv"]].assign(metric=METRIC)
        units.append(share_unit(f"setting {name}", own, settled, Keys((name,))))
    return units


def by_half_of_the_run(frames: Mapping[str, pd.DataFrame], settled: int) -> list[Unit]:
    """The first half of the claim in the first and in the last half of the measured steps."""
    units = []
    for name, frame in frames.items():
        middle = (settled + int(frame["step"].max())) // 2
        for own in (frame[frame["step"] < middle], frame[frame["step"] >= middle]):
            units.append(share_unit(f"setting {name}", own, settled, Keys((name,))))
    return units


def lamps(judged: Mapping[str, tuple[Verdict, Mapping[str, pd.DataFrame]]], settled: int) -> dict[str, Lamp]:
    """How many decided cases keep their side measured otherwise, by the name of the lamp."""
    every = list(judged.values())
    lengths = [(verdict, by_length(frames, settled)) for verdict, frames in every]
    halved = [(verdict, by_half_of_the_run(frames, settled)) for verdict, frames in every]
    fixed = [(verdict, part(verdict, FIXED_BATCH)) for verdict, _ in every]
    return {
        "convention": confirmed("decided settings say the same by the length of Hv", *lengths),
        "test_batch": confirmed("decided cases keep their side on the paper's one batch and seeds", *fixed),
        "horizon": confirmed("halves of a run say what the whole says", *halved),
    }


def within(table: pd.DataFrame) -> str:
    """How often both ratios, of curvature and of steps, are above 1 together, a line a setting; :func:`c4.cells`."""
    lines = []
    for name, own in on_batches(table).dropna().groupby("setting", sort=False):
        low, fast = own["curvature"] > 0, own["speed"] > 0
        lines.append(
            f"- {PROBLEMS[str(name)].title}: Adam's curvature is lower in {low.mean():.0%} of the combinations; it is "
            f"faster in {fast[low].mean():.0%} of those and in {_share(fast[~low])} of the others."
        )
    return "\n".join(lines)


def _share(values: pd.Series) -> str:
    return f"{values.mean():.0%}" if len(values) else "none"


def clip_answer(history: History) -> str:
    """Median curvature along SGD's steps in the second half of a training, by clip, a line each, in Markdown."""
    rows = history.metric(METRIC)
    rows = rows[rows["step"] >= history.steps // 2]
    lines = []
    for clip, own in rows.groupby("clip", sort=True):
        words = "no clip" if np.isinf(float(str(clip))) else f"clip {clip:g}"
        by_seed = own.groupby("seed")["value"].median()
        lines.append(
            f"- {words}: {by_seed.median():.3g} in the median seed, {by_seed.min():.3g} to {by_seed.max():.3g} over "
            f"{len(by_seed)} seeds."
        )
    return "\n".join(lines)
