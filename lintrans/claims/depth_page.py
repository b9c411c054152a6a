"""What the page on depth says: sentences and tables, made from the numbers of C9 to C12 and of :mod:`lintrans.deep`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..deep import CLOSE, Precision, basins, isotropy, scales
from ..history import History
from ..problems import DEPTHS, PROBLEMS
from ..protocol import LOSS
from ..settings import LABELS
from .c3 import CONVENTIONS, MATCHED
from .c9 import METRICS, SATURATED, Gap
from .c12 import robust
from .common import judged_losses
from .records import Verdict, interval_text
from .rules import State, table_of

GROWS = {
    State.YES: "grows, clearly",
    State.WEAK: "grows, by little",
    State.NULL: "stays as it is",
    State.REV: "**shrinks**",
    State.UNDECIDED: "may grow or not: the seeds do not decide",
    State.MISSING: "is not measured at this scale",
}
FALLS = {
    State.YES: "falls, clearly",
    State.WEAK: "falls, by little",
    State.NULL: "stays as it is",
    State.REV: "**rises**",
    State.UNDECIDED: "may fall or not: the seeds do not decide",
    State.MISSING: "is not measured at this scale",
}
HEAVIER = {
    State.YES: "the deep models' tail is **heavier**, clearly",
    State.WEAK: "the deep models' tail is heavier, **by little**",
    State.NULL: "the tails are alike",
    State.REV: "the deep models' tail is **lighter**",
    State.UNDECIDED: "the initializations do not decide",
    State.MISSING: "not measured at this scale",
}
FLOAT32_MOST = float(np.finfo(np.float32).max)
FEW = 3
"""Basins of one depth that the table lists; the rest is one row."""


def _sentences(verdict: Verdict, words: Mapping[State, str], subject: str) -> str:
    lines = [
        f"- {unit.case}: {subject} {words[unit.state]}; {interval_text(unit.interval)}."
        for unit in verdict.units
        if unit.decides
    ]
    return "\n".join(lines)


def describe_gap(verdict: Verdict) -> str:
    """What the contrasts of C9 say, and which metric they were left to, in Markdown."""
    lines = []
    for unit in (unit for unit in verdict.units if unit.decides):
        beside = [other for other in verdict.units if other.keys.problems == unit.keys.problems and not other.decides]
        parts = [
            f"by {METRICS[str(other.keys.part)]} {interval_text(other.interval)} {other.state}" for other in beside
        ]
        lines.append(f"- {unit.case}: the gap {GROWS[unit.state]} ({'; '.join(parts)}).")
    return "\n".join(lines)


def describe_loss(verdict: Verdict) -> str:
    """What the contrasts of C10 say, in Markdown."""
    return _sentences(verdict, FALLS, "the loss")


def describe_noise(verdict: Verdict) -> str:
    """What the units of C11 say, and the widths beside them, in Markdown."""
    text = _sentences(verdict, HEAVIER, "")
    for unit in verdict.units:
        if not unit.decides:
            text += f"\n- Width, beside: the {unit.statistic} is {interval_text(unit.interval)}."
    return text.replace(":  ", ": ")


def describe_condition(verdict: Verdict) -> str:
    """What the units of C12 say, and how the other conventions do, in Markdown."""
    text = _sentences(verdict, GROWS, "the gap in R_med")
    counts = []
    for metric, words in (*CONVENTIONS.items(), (MATCHED, MATCHED)):
        own = [unit.state for unit in verdict.units if unit.keys.convention == metric]
        counts.append(f"{words} {own.count(State.YES)} of {len(own)} YES, {own.count(State.REV)} REV")
    word = "**robust**: every convention says YES at every depth" if robust(verdict) else "**not robust**"
    return f"{text}\n\nAcross conventions this is {word}. By convention: {'; '.join(counts)}."


def condition_table(verdict: Verdict) -> pd.DataFrame:
    """Units of C12 as rows for a forest plot: case the depth, statistic the convention."""
    table = table_of(verdict.units)
    words = [CONVENTIONS.get(str(unit.keys.convention), MATCHED) for unit in verdict.units]
    cases = {unit.keys.problems: unit.case for unit in verdict.units if unit.decides}
    plain = [cases[unit.keys.problems] for unit in verdict.units]
    return table.assign(case=plain, statistic=words)


def describe_saturation(gaps: Mapping[int, Gap]) -> str:
    """Where both optimizers end on the floor f*, a sentence a depth, in Markdown."""
    lines = []
    for layers, gap in gaps.items():
        above = ", ".join(f"{LABELS[name]} {share:.3g} times f*" for name, share in gap.above.items())
        words = (
            f"**saturated**: both end within {SATURATED:.0%} of f*, so that speed alone can tell them apart"
            if gap.saturated
            else "not saturated"
        )
        lines.append(f"- L = {layers}: f* = {gap.floor:.2e}; geometric mean end loss of {above}; {words}.")
    return "\n".join(lines)


def steps_table(histories: Mapping[str, History], met: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Clipped, skipped and diverged, and the largest batch loss met, a row a depth and optimizer."""
    rows = []
    for name, history in histories.items():
        total = int(history.metric(LOSS)["step"].max())
        losses = judged_losses(history, PROBLEMS[name].task.zero_loss)
        batches = met[name][met[name]["metric"] == "batch_loss"]
        for optimizer, own in losses.groupby("optimizer", sort=False):
            seen = batches[batches["optimizer"] == optimizer]["value"]
            finite = seen[np.isfinite(seen)]
            beyond = int((seen > FLOAT32_MOST).sum())
            rows.append(
                {
                    "model": PROBLEMS[name].title,
                    "optimizer": LABELS[str(optimizer)],
                    "steps clipped": f"{own['clipped'].mean() / total:.1%}",
                    "steps skipped, all runs": f"{int(own['skipped'].sum())} of {total * len(own):,}",
                    "runs diverged": f"{int((own['diverged'] >= 0).sum())} of {len(own)}",
                    "counted as the zero predictor": f"{int(own['counted_as_zero'].sum())}",
                    "median batch loss met": f"{seen.median():.2e}",
                    "largest batch loss met": f"{finite.max():.1e}" if len(finite) else "none finite",
                    "beyond float32": f"{beyond} of {len(seen):,} looked at",
                }
            )
    return pd.DataFrame(rows)


def describe_batches(met: Mapping[str, pd.DataFrame]) -> str:
    """How far the largest batch loss lies above the median one, by depth, in a sentence."""
    parts = []
    for name, frame in met.items():
        values = frame[frame["metric"] == "batch_loss"]["value"]
        values = values[np.isfinite(values) & (values > 0)]
        if len(values):
            parts.append(f"10^{math.log10(values.max() / values.median()):.1f} at {PROBLEMS[name].title}")
    return f"Over all runs and all batches looked at, the largest loss over the median loss is {', '.join(parts)}."


def precision_table(found: Precision) -> pd.DataFrame:
    """What the same short trainings meet in both precisions, a row an optimizer and precision."""
    rows = []
    for words, history in (("float32", found.single), ("float64", found.double)):
        losses, norms = (history.metric(metric) for metric in ("batch_loss", "batch_gradient"))
        for optimizer, runs in history.runs.groupby("optimizer", sort=False):
            broken = norms[(norms["optimizer"] == optimizer) & np.isinf(norms["value"])]
            first = broken.groupby("seed")["step"].min()
            seen = losses[(losses["optimizer"] == optimizer) & np.isfinite(losses["value"])]["value"]
            last = history.metric(LOSS)
            end = last[(last["optimizer"] == optimizer) & (last["step"] == history.steps)]["value"].median()
            rows.append(
                {
                    "optimizer": LABELS[str(optimizer)],
                    "precision": words,
                    "largest finite batch loss": f"{seen.max():.1e}" if len(seen) else "none",
                    "runs with a gradient that is not finite": f"{len(first)} of {len(runs)}",
                    "first such step": ", ".join(f"{step:,}" for step in first) or "none",
                    "steps skipped": f"{int(runs['skipped'].sum())}",
                    "runs diverged by our rule": f"{int((runs['diverged'] >= 0).sum())} of {len(runs)}",
                    "median typical loss at the end": f"{end:.2e}" if math.isfinite(end) else "infinite",
                }
            )
    return pd.DataFrame(rows)


def describe_precision(found: Precision) -> str:
    """How many runs would have turned to NaN, in Markdown."""
    counts = {}
    for words, history in (("float32", found.single), ("float64", found.double)):
        norms = history.metric("batch_gradient")
        lost = norms[np.isinf(norms["value"])].groupby(["optimizer", "seed"]).ngroups
        counts[words] = f"{lost} of {len(history.runs)} in {words}"
    return (
        f"In {found.single.steps:,} steps a gradient that is not finite turns up in "
        f"{' and '.join(counts.values())}: without the rule that skips such a step, so many runs would have ended."
    )


def mean_table(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Mean against typical loss and the share of the ten worst prompts, medians over seeds, a row a depth."""
    rows = []
    for name, frame in found.items():
        last = frame[frame["prompts"] == frame["prompts"].max()]
        for optimizer, own in last.groupby("optimizer", sort=False):
            growth = own["mean"] / own["typical"]
            growth = growth[np.isfinite(growth)]
            rows.append(
                {
                    "model": PROBLEMS[name].title,
                    "optimizer": LABELS[str(optimizer)],
                    "prompts": f"{int(own['prompts'].iloc[0]):,}",
                    "typical loss": f"{own['typical'].median():.2e}",
                    "mean loss": f"{own['mean'].median():.2e}",
                    "mean over typical, least and most of the seeds": (
                        f"{growth.min():.3g} to {growth.max():.3g}" if len(growth) else "not finite"
                    ),
                    "share of the ten worst prompts": f"{own['share'].median():.2%}",
                }
            )
    return pd.DataFrame(rows)


def describe_means(found: Mapping[str, pd.DataFrame]) -> str:
    """Whether a larger sample gives a larger mean, a sentence a depth, in Markdown."""
    lines = []
    for name, frame in found.items():
        wide = frame.pivot_table(index=["optimizer", "seed"], columns="prompts", values="mean", aggfunc="first")
        first, last = wide.columns.min(), wide.columns.max()
        ratio = (wide[last] / wide[first]).replace([np.inf, -np.inf], np.nan).dropna()
        if not len(ratio):
            continue
        lines.append(
            f"- {PROBLEMS[name].title}: from {first:,} to {last:,} prompts the mean loss of one run changes "
            f"by a factor {ratio.median():.3g} (median over runs; {ratio.min():.3g} to {ratio.max():.3g})."
        )
    return "\n".join(lines)


def describe_isotropy(histories: Mapping[str, History]) -> str:
    """How close the trained Q are to multiples of the identity, by depth, in a sentence."""
    parts = []
    for name, history in histories.items():
        share = isotropy(history.parameters())
        share = share[np.isfinite(share)]
        if len(share):
            parts.append(f"{np.median(share):.0%} at {PROBLEMS[name].title} (least {share.min():.0%})")
    return (
        "Of the squared norm of the trained $Q_\\ell$ a multiple of the identity carries, in the median over runs and "
        f"layers, {', '.join(parts)}."
    )


def basin_table(histories: Mapping[str, History]) -> pd.DataFrame:
    """The basins of each depth: which runs, at which scales, with which typical loss, a row each."""
    rows = []
    for name, history in histories.items():
        labels = basins(history)
        _, q = scales(history.parameters())
        last = history.metric(LOSS)
        ends = last[last["step"] == last["step"].max()].set_index("run")["value"].reindex(history.runs["run"])
        optimizers = history.runs["optimizer"].to_numpy()
        found = [label for label in np.unique(labels) if label >= 0]
        kept, rest = found[:FEW], found[FEW:]
        for group in [*([label] for label in kept), *([rest] if rest else [])]:
            own = np.isin(labels, group)
            middle = ", ".join(f"{value:.2f}" for value in np.median(q[own], axis=0))
            rows.append(
                {
                    "model": PROBLEMS[name].title,
                    "basin": "ABCDEFGHIJ"[group[0]] if len(group) == 1 else f"{len(group)} further",
                    "SGD runs": f"{int((optimizers[own] == 'sgd').sum())}",
                    "Adam runs": f"{int((optimizers[own] == 'adam').sum())}",
                    "mean diagonals of Q, first to last layer": middle if len(group) == 1 else "various",
                    "median typical loss": f"{np.median(ends.to_numpy()[own]):.2e}",
                }
            )
    return pd.DataFrame(rows)


def describe_basins(histories: Mapping[str, History]) -> str:
    """Whether the two optimizers end in the same basins, a sentence a depth, in Markdown."""
    lines = []
    for name, history in histories.items():
        labels = basins(history)
        optimizers = history.runs["optimizer"].to_numpy()
        sets = {each: set(labels[(optimizers == each) & (labels >= 0)]) for each in LABELS}
        shared = sets["sgd"] & sets["adam"]
        count = len(sets["sgd"] | sets["adam"])
        words = (
            "no basin is shared: the final gap compares different solutions"
            if not shared
            else "every run is in the same basin"
            if count == 1
            else f"{len(shared)} of them hold runs of both optimizers"
        )
        lines.append(f"- {PROBLEMS[name].title}: {count} {'basin' if count == 1 else 'basins'}; {words}.")
    return f"Runs count as close within a factor {CLOSE:g} in every layer.\n\n" + "\n".join(lines)


def noise_table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Width and tail side by side, a column a depth: medians over the initializations."""
    columns = {}
    for name, table in tables.items():
        columns[PROBLEMS[name].title] = {
            "median norm of the noise": f"{table['median'].median():.3g}",
            "the same over the root of L": f"{table['median'].median() / math.sqrt(_layers(name)):.3g}",
            "the same over the norm of the gradient": f"{table['relative'].median():.2f}",
            "q99 / median": f"{table['q99'].median():.2f}",
            "the same of N(0, C)": f"{table['null_q99'].median():.2f}",
            "E": f"{table['excess'].median():.3f}",
            "initializations": f"{len(table)}",
        }
    return pd.DataFrame(columns).rename_axis("median over initializations").reset_index()


def describe_degrees(depths: Sequence[int] = DEPTHS) -> str:
    """The degree of the prediction at each depth, in a sentence."""
    parts = []
    for layers in depths:
        decades = 2 * 3**layers * math.log10(1.1)
        parts.append(f"{3**layers:,} at L = {layers} (10^{decades:.3g})")
    return (
        "As a polynomial in the entries of the prompt the prediction has degree "
        + ", ".join(parts)
        + "; in brackets, by how much the leading term of the squared error grows when a prompt is made longer by 10%."
    )


def _layers(name: str) -> int:
    return next(layers for layers in DEPTHS if name == f"depth {layers}")
