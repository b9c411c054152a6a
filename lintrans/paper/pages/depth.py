"""Tables and numbers of the page on depth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from ...training.history import History
from ..claims.c3 import CONVENTIONS, MATCHED
from ..claims.c9 import METRICS
from ..claims.common import judged_losses
from ..claims.records import Verdict, interval_text
from ..claims.rules import Unit, table_of
from ..measure import overflow
from ..problems import PROBLEMS
from ..protocol import LOSS
from ..scales import LABELS

FLOAT32_MOST = float(np.finfo(np.float32).max)
FEW = 3
"""Basins of one depth that the table lists; the rest is one row."""
Frames = Mapping[str, pd.DataFrame]
Histories = Mapping[str, History]


def gaps(verdict: Verdict) -> list[Unit]:
    """The contrasts of C9, their statistic the numbers of both metrics."""
    beside = [unit for unit in verdict.units if not unit.decides]

    def numbers(unit: Unit) -> str:
        own = [other for other in beside if other.keys.problems == unit.keys.problems]
        return "; ".join(f"by {METRICS[str(o.keys.part)]} {interval_text(o.interval)} {o.state}" for o in own)

    return [replace(unit, statistic=numbers(unit)) for unit in verdict.units if unit.decides]


def conditions(verdict: Verdict) -> pd.DataFrame:
    """Units of C12 as rows for a forest plot: case the depth, statistic the convention."""
    table = table_of(verdict.units)
    words = [CONVENTIONS.get(str(unit.keys.convention), MATCHED) for unit in verdict.units]
    cases = {unit.keys.problems: unit.case for unit in verdict.units if unit.decides}
    plain = [cases[unit.keys.problems] for unit in verdict.units]
    return table.assign(case=plain, statistic=words)


def noise(tables: Frames) -> pd.DataFrame:
    """Width and tail side by side, a column a depth: medians over the initializations."""
    columns = {}
    for name, table in tables.items():
        middle = table[["median", "relative", "q99", "null_q99", "excess"]].median()
        columns[PROBLEMS[name].title] = {
            "median norm of the noise": f"{middle['median']:.3g}",
            "the same over the root of L": f"{middle['median'] / PROBLEMS[name].model.parameter_shape[0] ** 0.5:.3g}",
            "the same over the norm of the gradient": f"{middle['relative']:.2f}",
            "q99 / median": f"{middle['q99']:.2f}",
            "the same of N(0, C)": f"{middle['null_q99']:.2f}",
            "E": f"{middle['excess']:.3f}",
            "initializations": f"{len(table)}",
        }
    return pd.DataFrame(columns).rename_axis("median over initializations").reset_index()


def isotropy(histories: Histories) -> dict[str, np.ndarray]:
    """Shares of the squared norm of Q that multiples of the identity carry, where finite, by depth."""
    shares = {PROBLEMS[name].title: overflow.isotropy(history.parameters()) for name, history in histories.items()}
    return {title: finite for title, share in shares.items() if len(finite := share[np.isfinite(share)])}


def _parts(frames: Frames) -> Iterator[tuple[str, dict[str, str], pd.DataFrame]]:
    """Problem, first cells of a row, and rows, of each problem and optimizer."""
    for name, frame in frames.items():
        for optimizer, own in frame.groupby("optimizer", sort=False):
            yield name, {"model": PROBLEMS[name].title, "optimizer": LABELS[str(optimizer)]}, own


def steps(histories: Histories, met: Frames) -> pd.DataFrame:
    """Clipped, skipped and diverged, and the largest batch loss met, a row a depth and optimizer."""
    rows = []
    for name, cells, own in _parts({n: judged_losses(h, PROBLEMS[n].task.zero_loss) for n, h in histories.items()}):
        total = int(histories[name].metric(LOSS)["step"].max())
        batches = met[name][met[name]["metric"] == "batch_loss"]
        seen = batches[batches["optimizer"] == own["optimizer"].iloc[0]]["value"]
        finite = seen[np.isfinite(seen)]
        rows.append(
            cells
            | {
                "steps clipped": f"{own['clipped'].mean() / total:.1%}",
                "steps skipped, all runs": f"{int(own['skipped'].sum())} of {total * len(own):,}",
                "runs diverged": f"{int((own['diverged'] >= 0).sum())} of {len(own)}",
                "counted as the zero predictor": f"{int(own['counted_as_zero'].sum())}",
                "median batch loss met": f"{seen.median():.2e}",
                "largest batch loss met": f"{finite.max():.1e}" if len(finite) else "none finite",
                "beyond float32": f"{int((seen > FLOAT32_MOST).sum())} of {len(seen):,} looked at",
            }
        )
    return pd.DataFrame(rows)


def decades(met: Frames) -> dict[str, float]:
    """Powers of ten between the median and the largest batch loss met, by depth."""
    losses = {name: frame[frame["metric"] == "batch_loss"]["value"] for name, frame in met.items()}
    good = {name: values[np.isfinite(values) & (values > 0)] for name, values in losses.items()}
    return {PROBLEMS[n].title: math.log10(own.max() / own.median()) for n, own in good.items() if len(own)}


def broken(history: History) -> pd.Series:
    """First step at which the gradient of a batch is not finite, of each run that meets one."""
    norms = history.metric("batch_gradient")
    first: pd.Series = norms[np.isinf(norms["value"])].groupby("run")["step"].min()
    return first


def precision(found: overflow.Precision) -> pd.DataFrame:
    """What the same short trainings meet in both precisions, a row an optimizer and precision."""
    rows = []
    for words, history in (("float32", found.single), ("float64", found.double)):
        losses, last, first = history.metric("batch_loss"), history.metric(LOSS), broken(history)
        for optimizer, runs in history.runs.groupby("optimizer", sort=False):
            stops = first[first.index.isin(runs["run"])]
            seen = losses[(losses["optimizer"] == optimizer) & np.isfinite(losses["value"])]["value"]
            end = last[(last["optimizer"] == optimizer) & (last["step"] == history.steps)]["value"].median()
            rows.append(
                {
                    "optimizer": LABELS[str(optimizer)],
                    "precision": words,
                    "largest finite batch loss": f"{seen.max():.1e}" if len(seen) else "none",
                    "runs with a gradient that is not finite": f"{len(stops)} of {len(runs)}",
                    "first such step": ", ".join(f"{step:,}" for step in stops) or "none",
                    "steps skipped": f"{int(runs['skipped'].sum())}",
                    "runs diverged by our rule": f"{int((runs['diverged'] >= 0).sum())} of {len(runs)}",
                    "median typical loss at the end": f"{end:.2e}" if math.isfinite(end) else "infinite",
                }
            )
    return pd.DataFrame(rows)


def means(found: Frames) -> pd.DataFrame:
    """Mean against typical loss and the share of the ten worst prompts, medians over seeds, a row a depth."""
    rows, last = [], {name: frame[frame["prompts"] == frame["prompts"].max()] for name, frame in found.items()}
    for _, cells, own in _parts(last):
        growth = own["mean"] / own["typical"]
        growth = growth[np.isfinite(growth)]
        range_ = f"{growth.min():.3g} to {growth.max():.3g}" if len(growth) else "not finite"
        rows.append(
            cells
            | {
                "prompts": f"{int(own['prompts'].iloc[0]):,}",
                "typical loss": f"{own['typical'].median():.2e}",
                "mean loss": f"{own['mean'].median():.2e}",
                "mean over typical, least and most of the seeds": range_,
                "share of the ten worst prompts": f"{own['share'].median():.2%}",
            }
        )
    return pd.DataFrame(rows)


def mean_growth(found: Frames) -> pd.DataFrame:
    """Mean loss of a run over all prompts by that over the fewest, where finite, a row a depth."""
    rows = []
    for name, frame in found.items():
        wide = frame.pivot_table(index=["optimizer", "seed"], columns="prompts", values="mean", aggfunc="first")
        first, last = wide.columns.min(), wide.columns.max()
        growth = (wide[last] / wide[first]).replace([np.inf, -np.inf], np.nan).dropna()
        rows.append((PROBLEMS[name].title, first, last, growth.median(), growth.min(), growth.max()))
    return pd.DataFrame(rows, columns=["model", "fewest", "most", "median", "least", "largest"]).dropna()


def basin_counts(histories: Histories) -> dict[str, pd.DataFrame]:
    """Runs of each optimizer (columns) in each basin (rows), by depth."""
    runs = {
        PROBLEMS[n].title: own.runs.assign(basin=overflow.basins(own)).query("basin >= 0")
        for n, own in histories.items()
    }
    counts = {title: pd.crosstab(own["basin"], own["optimizer"]) for title, own in runs.items()}
    return {title: own.reindex(columns=list(LABELS), fill_value=0) for title, own in counts.items()}


def basins(histories: Histories) -> pd.DataFrame:
    """The basins of each depth: which runs, at which scales, with which typical loss, a row each."""
    rows = []
    for (title, counts), history in zip(basin_counts(histories).items(), histories.values(), strict=True):
        labels, (_, q), last = overflow.basins(history), overflow.scales(history.parameters()), history.metric(LOSS)
        ends = last[last["step"] == last["step"].max()].set_index("run")["value"].reindex(history.runs["run"])
        found = list(counts.index)
        for group in filter(None, (*([label] for label in found[:FEW]), found[FEW:])):
            own, alone = np.isin(labels, group), len(group) == 1
            middle = ", ".join(f"{value:.2f}" for value in np.median(q[own], axis=0))
            rows.append(
                {
                    "model": title,
                    "basin": "ABCDEFGHIJ"[group[0]] if alone else f"{len(group)} further",
                    **{f"{label} runs": f"{counts.loc[group, name].sum()}" for name, label in LABELS.items()},
                    "mean diagonals of Q, first to last layer": middle if alone else "various",
                    "median typical loss": f"{np.median(ends.to_numpy()[own]):.2e}",
                }
            )
    return pd.DataFrame(rows)
