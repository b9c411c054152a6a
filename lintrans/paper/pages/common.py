"""What several chapters show: best rates, clipped steps, losses, noise."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from ...diagnostics.noise import gaussian_norms
from ...diagnostics.tails import Array
from ...training.history import History
from ..budgets import CurvatureBudget, DoubleCheckBudget, TuningBudget
from ..claims.common import judged_losses, on_batches, steps_to
from ..claims.records import interval_text
from ..claims.rules import Unit
from ..claims.wording import NAMES
from ..problems import PROBLEMS
from ..protocol import LOSS, MARKED_STEP, Choice, Tuning
from ..scales import LABELS, TARGETS

NULL_SEED = 0
HALF = 0.5
TOLERANCE = 0.01
"""Relative difference below which two implementations agree: a hundredth, where the rules ask for a quarter."""
NOISE = {
    "median length of the noise": ("median .3g", ""),
    "noise / gradient, lengths": ("relative .2f", ""),
    "effective number of directions, (tr C)² / tr C²": ("directions .0f", ""),
    "99% quantile / median": ("q99 .2f", "null_q99 .2f"),
    "99.9% quantile / median": ("q999 .2f", "null_q999 .2f"),
    "excess kurtosis of the length": ("kurtosis .2g", "null_kurtosis .2g"),
}
"""Rows of :func:`noise`: a statistic of the noise and that of Gaussian noise, with their formats."""


def clip_words(clip: float) -> str:
    """A clip in words: "clip 1", or "no clip"."""
    return "no clip" if math.isinf(clip) else f"clip {clip:g}"


def at_edge(best: Choice) -> str:
    """What to add to a best rate that the rates run to its horizon do not enclose."""
    return "" if best.interior else ", at the edge of the rates run that long"


def unit_text(unit: Unit) -> str:
    """Interval and state of a unit: "3.2 [2.8, 3.7] holds"."""
    return NAMES[unit.state] if unit.interval is None else f"{interval_text(unit.interval)} {NAMES[unit.state]}"


def agrees(compared: pd.DataFrame) -> bool:
    """Whether every difference is below TOLERANCE and nothing changes side; False where nothing was compared."""
    return bool(len(compared) > 0 and compared["difference"].max() < TOLERANCE and not compared["flips"].any())


def how_far(budget: DoubleCheckBudget) -> str:
    """How much is computed twice: "25 steps and 2 seeds", with the least where groups differ."""
    steps, seeds = ({getattr(group, name) for group in budget.groups} for name in ("steps", "seeds"))
    fewer = f" ({min(steps)} where they cost most)" if len(steps) > 1 else ""
    most = max(seeds)
    return f"{max(steps)} steps{fewer} and {most} seed{'s' * (most > 1)}"


def worst_prompts(frames: Mapping[str, pd.DataFrame]) -> str:
    """What the worst prompt has of a batch's loss and of its Hessian's trace, a line a setting, in Markdown.

    Args:
        frames: from :func:`lintrans.paper.measure.curvature.worst_prompts`.
    """
    lines = []
    for name, frame in frames.items():
        parts = []
        for metric, words in {"worst_loss_share": "the loss", "worst_trace_share": "the Hessian's trace"}.items():
            rows = frame[frame["metric"] == metric]
            fixed, others = on_batches(rows, fixed=True)["value"], on_batches(rows)
            if fixed.empty or others.empty:
                continue
            middle, most = (others.groupby("batch")["value"].agg(what) for what in ("median", "max"))
            parts.append(
                f"{fixed.median():.0%} of {words} on the fixed batch (at most {fixed.max():.0%}) and "
                f"{middle.min():.0%} to {middle.max():.0%} on the {len(middle)} evaluation batches (at most "
                f"{most.max():.0%}); it has more than half of it in {(fixed > HALF).mean():.0%} of all runs and steps "
                f"there, in {(others['value'] > HALF).mean():.0%} here"
            )
        lines.append(f"- {PROBLEMS[name].title}: {'. Also '.join(parts) or 'not measured'}.")
    return "\n".join(lines)


def sample_words(budget: TuningBudget, curvature: CurvatureBudget) -> str:
    """The judging seeds and the evaluation batches of curvature, for a page's provenance."""
    seeds, batches = [seed for seed in curvature.judging if seed in budget.judging], curvature.evaluation
    return (
        f"judging seeds {seeds[0]} to {seeds[-1]}; evaluation batches {batches[0]} to {batches[-1]}, and the fixed one"
    )


def best_rates(tunings: Mapping[str, Tuning]) -> str:
    """The best rate of each setting and optimizer, and whether the grid encloses it, in Markdown."""
    lines = []
    for name, tuning in tunings.items():
        for optimizer, best in tuning.best.items():
            published = PROBLEMS[name].lr.get(optimizer)
            beside = "none is published" if published is None else f"published: {published:g}"
            lines.append(
                f"- {PROBLEMS[name].title}, {LABELS[optimizer]}: best rate {best.lr:g} "
                f"({'the published one' if best.lr == published else beside}), {clip_words(best.clip)}, "
                f"{'inside' if best.interior else 'at the edge of'} the rates run that long; "
                f"median loss {best.loss:.2e} after {best.steps:,} steps."
            )
    return "\n".join(lines)


def lost_steps(histories: Mapping[str, History]) -> str:
    """Clipped, skipped and diverged steps and runs, a line a setting, in Markdown."""
    lines = []
    for name, history in histories.items():
        total = history.metric(LOSS)["step"].max()
        parts = [
            f"{LABELS[str(optimizer)]} {runs['clipped'].mean() / total:.1%} of its steps clipped, "
            f"{runs['skipped'].sum()} skipped, {(runs['diverged'] >= 0).sum()} of {len(runs)} runs diverged"
            for optimizer, runs in history.runs.groupby("optimizer", sort=False)
        ]
        lines.append(f"- {PROBLEMS[name].title}: {'; '.join(parts)}.")
    return "\n".join(lines)


def losses(histories: Mapping[str, History]) -> pd.DataFrame:
    """Medians over seeds of losses and of steps to targets, a column a setting and optimizer.

    A median of steps is "not reached" where at least half of the seeds do not reach the target; the zero predictor is
    no target.
    """
    columns: dict[str, dict[str, str]] = {}
    for name, history in histories.items():
        ends = judged_losses(history, PROBLEMS[name].task.zero_loss)
        marked = history.metric(LOSS).query("step == @MARKED_STEP")
        taken = {target: steps_to(history, target) for target in TARGETS}
        for optimizer, own in ends.groupby("optimizer", sort=False):
            at = marked[marked["optimizer"] == optimizer]["value"]
            column = {
                f"typical loss at step {MARKED_STEP:,}": "beyond T" if at.empty else f"{at.median():.2e}",
                f"typical loss at T = {history.steps:,}": f"{own['loss'].median():.2e}",
            }
            for target, table in taken.items():
                if target >= PROBLEMS[name].task.zero_loss:
                    continue
                rows = table[table["optimizer"] == optimizer]
                steps = rows["steps"].where(~rows["censored"], math.inf).median()
                column[f"steps to {target:g}"] = f"{steps:,.0f}" if math.isfinite(steps) else "not reached"
            column["runs diverged"] = f"{(own['diverged'] >= 0).sum()} of {len(own)}"
            columns[f"{PROBLEMS[name].title}, {LABELS[str(optimizer)]}"] = column
    order = dict.fromkeys(row for own in sorted(columns.values(), key=len, reverse=True) for row in own)
    return pd.DataFrame(columns).reindex(list(order)).fillna("no target").rename_axis("median over seeds").reset_index()


def noise(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Width and tail of the noise beside Gaussian noise of its covariance: medians over the initializations."""
    columns: dict[str, dict[str, str]] = {}
    for name, table in tables.items():
        middle = table.drop(columns=["norms", "spectrum"]).median()
        for of, word in enumerate(("measured", "Gaussian")):
            parts = {row: forms[of].split() for row, forms in NOISE.items()}
            texts = {row: format(middle[own[0]], own[1]) if own else "" for row, own in parts.items()}
            columns[f"{PROBLEMS[name].title}, {word}"] = texts
    return pd.DataFrame(columns).rename_axis("median over initializations").reset_index()


def kept(tables: Mapping[str, pd.DataFrame]) -> tuple[dict[str, Array], dict[str, Array]]:
    """By setting, norms of the first initialization's noise and of Gaussian noise with the same covariance."""
    first = {name: table.sort_values("seed").iloc[0] for name, table in tables.items()}
    norms = {name: np.asarray(row["norms"], dtype=np.float64) for name, row in first.items()}
    spectra = {name: np.asarray(row["spectrum"], dtype=np.float64) for name, row in first.items()}
    return norms, {name: gaussian_norms(spectrum, seed=NULL_SEED) for name, spectrum in spectra.items()}
