"""The condition number: every convention beside the paper's numbers, and the eigenvalues."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from ..claims.c3 import CONVENTIONS, MATCHED, PAPER, PUBLIC, Row
from ..claims.records import Verdict
from ..claims.rules import State, Unit, table_of
from ..problems import PROBLEMS
from ..scales import LABELS
from .common import unit_text

TRANSFORMERS = {750: "1.65 (0.65), 1.91 (0.53), 3.54 (1.21)", 1250: "2.01 (1.00), 1.43 (0.63), 2.28 (1.18)"}
"""Ratios of three layers of full Transformers on language (Jiang, Malik & Li 2022), as the paper quotes them."""

NAMES = {**CONVENTIONS, "r_eigenvalues": "eigenvalues, no structural zeros"}


def convention_table(verdict: Verdict) -> pd.DataFrame:
    """Units as rows for a forest plot: case "setting 1, step 750", statistic the convention."""
    decided = {unit.keys: unit.case for unit in verdict.units if unit.decides}
    cases = [decided.get(unit.keys._replace(convention=PUBLIC), unit.case) for unit in verdict.units]
    conventions = [CONVENTIONS.get(str(unit.keys.convention), MATCHED) for unit in verdict.units]
    order = pd.Categorical(conventions, [*CONVENTIONS.values(), MATCHED], ordered=True)
    table = table_of(verdict.units).assign(case=cases, statistic=conventions, order=order)
    table["group"] = [*map(cases.index, cases)]
    return table.sort_values(["group", "order"], kind="stable").drop(columns="group")


def ratio_table(rows: Sequence[Row], conventions: Sequence[str] = tuple(NAMES)) -> pd.DataFrame:
    """The paper's table, ours beside it: mean (standard deviation) over seeds of the ratio of R_med, SGD over Adam."""
    columns = {}
    for setting, step in dict.fromkeys((row.setting, row.step) for row in rows):
        by_metric = {row.metric: row for row in rows if (row.setting, row.step) == (setting, step)}
        paper = PAPER.get((setting, step))
        agrees = by_metric[PUBLIC].agrees if PUBLIC in by_metric else None
        columns[f"{PROBLEMS[setting].title}, step {step:,}"] = {
            **{NAMES[metric]: _mean(by_metric.get(metric)) for metric in conventions},
            "paper": f"{paper[0]:g} ({paper[1]:g})" if paper else "no number",
            "agrees": {True: "yes", False: "no", None: "no number"}[agrees],
            "full Transformers, three layers": TRANSFORMERS.get(step, "no number"),
        }
    return pd.DataFrame(columns).rename_axis("convention").reset_index()


def _mean(row: Row | None) -> str:
    if row is None:
        return "not measured"
    spread = "one seed" if math.isnan(row.deviation) else f"{row.deviation:.2f}"
    return f"{row.mean:.2f} ({spread})"


def agreeing(verdict: Verdict) -> str:
    """Under each convention, how many cases say YES and how many REV."""
    groups = convention_table(verdict).groupby("order", observed=True)["state"]
    return "; ".join(
        f"{convention}: {(states == State.YES).sum()} of {len(states)} YES, {(states == State.REV).sum()} REV"
        for convention, states in groups
    )


def lower_over_midpoint(frames: Mapping[str, pd.DataFrame], steps: Sequence[int]) -> str:
    """R_med with the lower over that with the midpoint median, median over runs, a line a setting, in Markdown."""
    lines = []
    for name, frame in frames.items():
        wide = frame.pivot(index=["optimizer", "seed", "step"], columns="metric", values="value")
        ratio = (wide[PUBLIC] / wide["r_midpoint"]).groupby("step").median()
        parts = [f"{ratio[step]:.3g} at step {step:,}" for step in steps if step in ratio.index]
        lines.append(f"- {PROBLEMS[name].title}: {', '.join(parts) or 'not measured'}.")
    return "\n".join(lines)


def along(units: Sequence[Unit], rates: str) -> str:
    """Numbers and states of all conventions, a line a setting, in Markdown."""
    lines: dict[str, list[str]] = {}
    for unit in units:
        lines.setdefault(unit.case, []).append(f"{unit.statistic} {unit_text(unit)}")
    return "\n".join(f"- {case.capitalize()}, {rates} rates: {'; '.join(parts)}." for case, parts in lines.items())


def eigenvalues(frames: Mapping[str, pd.DataFrame], steps: Sequence[int]) -> pd.DataFrame:
    """Median over seeds of the largest and the smallest eigenvalue, a row a setting and step."""
    ends = {"largest": "eigenvalue_max", "smallest": "eigenvalue_min"}
    rows = []
    for name, frame in frames.items():
        middle = frame.groupby(["step", "optimizer", "metric"])["value"].median()
        for step in steps:
            values = {
                f"{label}: {word}": middle.get((step, optimizer, metric))
                for optimizer, label in LABELS.items()
                for word, metric in ends.items()
            }
            numbers = {head: "not measured" if value is None else f"{value:.3g}" for head, value in values.items()}
            rows.append({"setting": PROBLEMS[name].title, "step": f"{step:,}", **numbers})
    return pd.DataFrame(rows)
