"""What the page on C3 says: sentences and tables, made from the numbers of :mod:`.c3`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from ..problems import PROBLEMS
from .c3 import CONVENTIONS, MATCHED, PAPER, PUBLIC, Row, robust
from .records import Verdict, interval_text
from .rules import State, Unit, table_of

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
        rows: from :func:`.c3.ratios`.
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


def describe(verdict: Verdict) -> str:
    """What the units that decide say, a sentence each, in Markdown."""
    words = {
        State.YES: "Adam's is lower, clearly",
        State.WEAK: "Adam's is lower, by little",
        State.NULL: "the two are alike",
        State.REV: "Adam's is **higher**",
        State.UNDECIDED: "the seeds do not decide",
        State.MISSING: "not measured at this scale",
    }
    lines = [
        f"- {unit.case.capitalize()}: {words[unit.state]}; ratio {interval_text(unit.interval)}."
        for unit in verdict.units
        if unit.decides
    ]
    return "\n".join(lines)


def describe_robustness(verdict: Verdict) -> str:
    """How many cases say YES under each convention, and whether the verdict is robust, in Markdown."""
    table = convention_table(verdict)
    counts = []
    for convention in dict.fromkeys(table["order"]):
        own = table[table["order"] == convention]["state"]
        counts.append(
            f"{convention}: {int((own == State.YES).sum())} of {len(own)} YES, {int((own == State.REV).sum())} REV"
        )
    word = "**robust**: every convention says YES in every case" if robust(verdict) else "**not robust**"
    return f"The {verdict.reading} reading is {word}. By convention: {'; '.join(counts)}."


def describe_medians(frames: Mapping[str, pd.DataFrame], steps: Sequence[int]) -> str:
    """How many times larger R_med is with the lower than with the midpoint median, over all runs, in Markdown."""
    lines = []
    for name, frame in frames.items():
        wide = frame.pivot(index=["optimizer", "seed", "step"], columns="metric", values="value")
        ratio = (wide[PUBLIC] / wide["r_midpoint"]).groupby("step").median()
        parts = [f"{ratio[step]:.3g} at step {step:,}" for step in steps if step in ratio.index]
        lines.append(f"- {PROBLEMS[name].title}: {', '.join(parts) or 'not measured'}.")
    return "R_med with the lower median over R_med with the midpoint median, median over runs:\n\n" + "\n".join(lines)


def describe_run(units: Sequence[Unit], reading: str) -> str:
    """Along the whole run: per setting, which conventions favour Adam, in Markdown."""
    lines = []
    for case in dict.fromkeys(unit.case for unit in units):
        parts = [f"{unit.statistic} {interval_text(unit.interval)} {unit.state}" for unit in units if unit.case == case]
        lines.append(f"- {case.capitalize()}, {reading} rates: {'; '.join(parts)}.")
    return "\n".join(lines)


def describe_eigenvalues(frames: Mapping[str, pd.DataFrame], steps: Sequence[int]) -> pd.DataFrame:
    """Median over seeds of the largest and the smallest eigenvalue per setting, step and optimizer, as a table."""
    rows = []
    for name, frame in frames.items():
        for step in steps:
            line = {"setting": PROBLEMS[name].title, "step": f"{step:,}"}
            for optimizer, label in (("sgd", "SGD"), ("adam", "Adam")):
                own = frame[(frame["step"] == step) & (frame["optimizer"] == optimizer)]
                middle = own.groupby("metric")["value"].median()
                if "eigenvalue_max" in middle:
                    line[f"{label}: largest"] = f"{middle['eigenvalue_max']:.3g}"
                    line[f"{label}: smallest"] = f"{middle['eigenvalue_min']:.3g}"
            rows.append(line)
    return pd.DataFrame(rows).fillna("not measured")
