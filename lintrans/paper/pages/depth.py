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
from ..claims.records import Verdict
from ..claims.rules import Unit, table_of
from ..measure import overflow
from ..problems import PROBLEMS
from ..protocol import LOSS
from ..scales import LABELS
from .common import unit_text

FLOAT32_MOST = float(np.finfo(np.float32).max)
FEW = 3
"""Basins of one depth that the table lists; the rest is one row."""
Frames = Mapping[str, pd.DataFrame]
Histories = Mapping[str, History]


def gaps(verdict: Verdict) -> list[Unit]:
    """The contrasts of C9, their statistic the numbers of both metrics."""
    numbers: dict[tuple[str, ...], list[str]] = {}
    for unit in verdict.units:
        if not unit.decides:
            text = f"by {METRICS[str(unit.keys.part)]} {unit_text(unit)}"
            numbers.setdefault(unit.keys.problems, []).append(text)
    decide = [unit for unit in verdict.units if unit.decides]
    return [replace(unit, statistic="; ".join(numbers.get(unit.keys.problems, ()))) for unit in decide]


def conditions(verdict: Verdict) -> pd.DataFrame:
    """Units of C12 as rows for a forest plot: case the depth, statistic the convention."""
    decided = {unit.keys.problems: unit.case for unit in verdict.units if unit.decides}
    cases = [decided[unit.keys.problems] for unit in verdict.units]
    conventions = [CONVENTIONS.get(str(unit.keys.convention), MATCHED) for unit in verdict.units]
    return table_of(verdict.units).assign(case=cases, statistic=conventions)


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
        for optimizer, rows in frame.groupby("optimizer", sort=False):
            yield name, {"model": PROBLEMS[name].title, "optimizer": LABELS[str(optimizer)]}, rows


def _batch_losses(met: pd.DataFrame, optimizer: str = "") -> pd.Series:
    losses = met[met["metric"] == "batch_loss"]
    return (losses[losses["optimizer"] == optimizer] if optimizer else losses)["value"]


def steps(histories: Histories, met: Frames) -> pd.DataFrame:
    """Clipped, skipped and diverged, and the largest batch loss met, a row a depth and optimizer."""
    rows = []
    ends = {name: judged_losses(history, PROBLEMS[name].task.zero_loss) for name, history in histories.items()}
    for name, cells, runs in _parts(ends):
        total = int(histories[name].metric(LOSS)["step"].max())
        losses = _batch_losses(met[name], runs["optimizer"].iloc[0])
        finite = losses[np.isfinite(losses)]
        numbers = {
            "steps clipped": f"{runs['clipped'].mean() / total:.1%}",
            "steps skipped, all runs": f"{int(runs['skipped'].sum())} of {total * len(runs):,}",
            "runs diverged": f"{int((runs['diverged'] >= 0).sum())} of {len(runs)}",
            "counted as the zero predictor": f"{int(runs['counted_as_zero'].sum())}",
            "median batch loss met": f"{losses.median():.2e}",
            "largest batch loss met": f"{finite.max():.1e}" if len(finite) else "none finite",
            "beyond float32": f"{int((losses > FLOAT32_MOST).sum())} of {len(losses):,} looked at",
        }
        rows.append(cells | numbers)
    return pd.DataFrame(rows)


def decades(met: Frames) -> dict[str, float]:
    """Powers of ten between the median and the largest batch loss met, by depth."""
    losses = {PROBLEMS[name].title: _batch_losses(frame) for name, frame in met.items()}
    good = {title: values[np.isfinite(values) & (values > 0)] for title, values in losses.items()}
    return {title: math.log10(values.max() / values.median()) for title, values in good.items() if len(values)}


def broken(history: History) -> pd.Series:
    """First step at which the gradient of a batch is not finite, of each run that meets one."""
    norms = history.metric("batch_gradient")
    first: pd.Series = norms[np.isinf(norms["value"])].groupby("run")["step"].min()
    return first


def precision(found: overflow.Precision) -> pd.DataFrame:
    """What the same short trainings meet in both precisions, a row an optimizer and precision."""
    rows = []
    for words, history in (("float32", found.single), ("float64", found.double)):
        last, first = history.metric(LOSS), broken(history)
        for optimizer, runs in history.runs.groupby("optimizer", sort=False):
            stops = first[first.index.isin(runs["run"])]
            losses = _batch_losses(history.frame, str(optimizer))
            seen = losses[np.isfinite(losses)]
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
    for _, cells, runs in _parts(last):
        growth = runs["mean"] / runs["typical"]
        growth, middle = growth[np.isfinite(growth)], runs[["typical", "mean", "share"]].median()
        numbers = {
            "prompts": f"{int(runs['prompts'].iloc[0]):,}",
            "typical loss": f"{middle['typical']:.2e}",
            "mean loss": f"{middle['mean']:.2e}",
            "mean over typical, least and most of the seeds": (
                f"{growth.min():.3g} to {growth.max():.3g}" if len(growth) else "not finite"
            ),
            "share of the ten worst prompts": f"{middle['share']:.2%}",
        }
        rows.append(cells | numbers)
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
    counts = {}
    for name, history in histories.items():
        runs = history.runs.assign(basin=overflow.basins(history)).query("basin >= 0")
        table = pd.crosstab(runs["basin"], runs["optimizer"])
        counts[PROBLEMS[name].title] = table.reindex(columns=list(LABELS), fill_value=0)
    return counts


def basin_table(histories: Histories) -> pd.DataFrame:
    """The basins of each depth: which runs, at which scales, with which typical loss, a row each."""
    rows = []
    for (title, counts), history in zip(basin_counts(histories).items(), histories.values(), strict=True):
        labels, (_, q), last = overflow.basins(history), overflow.scales(history.parameters()), history.metric(LOSS)
        ends = last[last["step"] == last["step"].max()].set_index("run")["value"].reindex(history.runs["run"])
        basins = list(counts.index)
        for group in filter(None, (*([basin] for basin in basins[:FEW]), basins[FEW:])):
            inside, alone = np.isin(labels, group), len(group) == 1
            middle = ", ".join(f"{value:.2f}" for value in np.median(q[inside], axis=0))
            rows.append(
                {
                    "model": title,
                    "basin": "ABCDEFGHIJ"[group[0]] if alone else f"{len(group)} further",
                    **{f"{label} runs": f"{counts.loc[group, name].sum()}" for name, label in LABELS.items()},
                    "mean diagonals of Q, first to last layer": middle if alone else "various",
                    "median typical loss": f"{np.median(ends.to_numpy()[inside]):.2e}",
                }
            )
    return pd.DataFrame(rows)
