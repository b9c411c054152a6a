"""The condition number: every convention beside the paper's numbers, and the eigenvalues."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from ..claims.c3 import CONVENTIONS, MATCHED, PAPER, PUBLIC, Row
from ..claims.records import Verdict, interval_text
from ..claims.rules import State, Unit, table_of
from ..problems import PROBLEMS
from ..scales import LABELS

TRANSFORMERS = {750: "1.65 (0.65), 1.91 (0.53), 3.54 (1.21)", 1250: "2.01 (1.00), 1.43 (0.63), 2.28 (1.18)"}
"""Ratios of three layers of full Transformers on language (Jiang, Malik & Li 2022), as the paper quotes them."""

NAMES = {**CONVENTIONS, "r_eigenvalues": "eigenvalues, no structural zeros"}


def convention_table(verdict: Verdict) -> pd.DataFrame:
    """Units as rows for a forest plot: case "setting 1, step 750", statistic the convention."""
    table = table_of(verdict.units)
    tails = [*CONVENTIONS.values(), MATCHED]
    keys = [unit.keys for unit in verdict.units]
    convention = [CONVENTIONS.get(str(each.convention), MATCHED) for each in keys]
    decided = {unit.keys: unit.case for unit in verdict.units if unit.decides}
    plain = [
        decided.get(each._replace(convention=PUBLIC), case) for each, case in zip(keys, table["case"], strict=True)
    ]
    order = pd.Categorical(convention, tails, ordered=True)
    place = pd.Series(plain).map({case: k for k, case in enumerate(dict.fromkeys(plain))}).to_numpy()
    made = table.assign(case=plain, statistic=convention, order=order, place=place)
    return made.sort_values(["place", "order"], kind="stable").drop(columns="place")


def ratio_table(rows: Sequence[Row], conventions: Sequence[str] = tuple(NAMES)) -> pd.DataFrame:
    """The paper's table, ours beside it: mean (standard deviation) over seeds of the ratio of R_med, SGD over Adam.

    Args:
        rows: from :func:`lintrans.paper.claims.c3.ratios`.
        conventions: which to show.
    """
    lines = []
    for setting, step in dict.fromkeys((row.setting, row.step) for row in rows):
        own = {row.metric: row for row in rows if (row.setting, row.step) == (setting, step)}
        paper = PAPER.get((setting, step))
        agrees = own[PUBLIC].agrees if PUBLIC in own else None
        lines.append(
            {
                "case": f"{PROBLEMS[setting].title}, step {step:,}",
                **{NAMES[metric]: _mean(own.get(metric)) for metric in conventions},
                "paper": f"{paper[0]:g} ({paper[1]:g})" if paper else "no number",
                "agrees": {True: "yes", False: "no", None: "no number"}[agrees],
                "full Transformers, three layers": TRANSFORMERS.get(step, "no number"),
            }
        )
    return pd.DataFrame({line.pop("case"): line for line in lines}).rename_axis("convention").reset_index()


def _mean(row: Row | None) -> str:
    if row is None:
        return "not measured"
    spread = "one seed" if math.isnan(row.deviation) else f"{row.deviation:.2f}"
    return f"{row.mean:.2f} ({spread})"


def agreeing(verdict: Verdict) -> str:
    """Under each convention, how many cases say YES and how many REV."""
    states = {str(word): own["state"] for word, own in convention_table(verdict).groupby("order", observed=True)}
    counts = {word: [int((own == state).sum()) for state in (State.YES, State.REV)] for word, own in states.items()}
    return "; ".join(f"{word}: {yes} of {len(states[word])} YES, {rev} REV" for word, (yes, rev) in counts.items())


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
        lines.setdefault(unit.case, []).append(f"{unit.statistic} {interval_text(unit.interval)} {unit.state}")
    return "\n".join(f"- {case.capitalize()}, {rates} rates: {'; '.join(parts)}." for case, parts in lines.items())


def eigenvalues(frames: Mapping[str, pd.DataFrame], steps: Sequence[int]) -> pd.DataFrame:
    """Median over seeds of the largest and the smallest eigenvalue, a row a setting and step."""
    rows = []
    for name, frame in frames.items():
        middle = frame.groupby(["step", "optimizer", "metric"])["value"].median()
        for step in steps:
            line = {"setting": PROBLEMS[name].title, "step": f"{step:,}"}
            for optimizer, label in LABELS.items():
                for word, metric in (("largest", "eigenvalue_max"), ("smallest", "eigenvalue_min")):
                    value = middle.get((step, optimizer, metric))
                    line[f"{label}: {word}"] = "not measured" if value is None else f"{value:.3g}"
            rows.append(line)
    return pd.DataFrame(rows)
