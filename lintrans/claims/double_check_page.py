"""What the page on the second implementation says: sentences and tables, from what was computed twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..budgets import DoubleCheckBudget
from ..double_check import STATISTICS
from ..problems import PROBLEMS
from .contradictions import Contradiction

TOLERANCE = 0.01
"""Relative difference below which both sides are said to agree: a hundredth, where the rules ask for a quarter."""


def describe_budget(budget: DoubleCheckBudget) -> str:
    """What is computed twice, in a sentence or two."""
    longest = max(group.steps for group in budget.groups)
    seeds = max(group.seeds for group in budget.groups)
    return (
        f"{len(budget.problems)} problems, every one that a deciding case rests on: {longest} steps "
        f"({min(group.steps for group in budget.groups)} where they cost most), "
        f"{seeds} seed{'s' if seeds > 1 else ''} for each optimizer, at the published rates, or at {budget.sgd:g} for "
        f"SGD and {budget.adam:g} for Adam where none are published."
    )


def describe_missing(texts: Sequence[str]) -> str:
    """Which verdicts are not there yet; nothing where all are."""
    if not texts:
        return ""
    return (
        f"{len(texts)} verdicts of this scale are **not there yet**, and can contradict nothing on this page: "
        f"{', '.join(texts)}."
    )


def describe_contradictions(found: Sequence[Contradiction], absent: bool) -> str:
    """How many there are, in a sentence.

    Args:
        found: the contradictions.
        absent: whether some verdicts are not there yet.
    """
    if not found:
        return f"No {'stored ' if absent else ''}verdict of this scale goes against the paper."
    cases = sum(len(each.cases) for each in found)
    count, names = len(found), len({each.claim for each in found})
    text = (
        f"{count} verdict{'s' if count > 1 else ''} on {names} claim{'s' if names > 1 else ''} "
        f"{'go' if count > 1 else 'goes'} against the paper, in whole or in part, with {cases or 'no'} decided "
        f"case{'' if cases == 1 else 's'} against it."
    )
    if any(not each.cases for each in found):
        text += " Where no case is, some hold and the others stay open."
    return text


def contradiction_table(found: Sequence[Contradiction]) -> pd.DataFrame:
    """Each contradiction with its cases."""
    return pd.DataFrame(
        [
            {"claim": each.claim, "reading": each.reading, "verdict": each.verdict, "against the paper": each.words}
            for each in found
        ],
        columns=["claim", "reading", "verdict", "against the paper"],
    )


def details(found: pd.DataFrame) -> pd.DataFrame:
    """Both numbers of every problem and statistic: medians over seeds, and the largest difference of a seed."""
    rows = []
    for (problem, statistic), own in found.groupby(["problem", "statistic"], sort=False):
        rows.append(
            {
                "problem": PROBLEMS[str(problem)].title,
                "statistic": STATISTICS[str(statistic)].words,
                "fast": f"{own['fast'].median():.6g}",
                "independent": f"{own['independent'].median():.6g}",
                "relative difference": f"{own['difference'].max():.0e}",
            }
        )
    return pd.DataFrame(rows, columns=["problem", "statistic", "fast", "independent", "relative difference"])


def _place(row: Mapping[str, Any]) -> str:
    return f"{PROBLEMS[row['problem']].title}, seed {int(row['seed'])}"


def _worst(found: pd.DataFrame) -> dict[str, Any]:
    return max(_records(found), key=lambda row: row["difference"])


def _records(found: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in found.to_dict("records")]


def agrees(found: pd.DataFrame) -> bool:
    """Whether every difference is below TOLERANCE and nothing changes side; False where nothing was compared."""
    return len(found) > 0 and bool(found["difference"].max() < TOLERANCE) and not bool(found["flips"].any())


def describe(found: pd.DataFrame) -> str:
    """The largest difference of each statistic and whether a side of 1 changes, with the claims that read it."""
    worst = _worst(found)
    word = f"**agree** to {TOLERANCE:.0%}" if agrees(found) else "do **not** agree everywhere"
    sided = found[found["statistic"].map(lambda name: STATISTICS[name].sided)]
    flips = int(sided["flips"].sum())
    lines = [
        f"Both sides {word}: of {len(found):,} numbers the largest relative difference is {worst['difference']:.1e} "
        f"({STATISTICS[worst['statistic']].words}; {_place(worst)}), and {flips or 'none'} of {len(sided):,} whose "
        f"side of 1 matters {'changes' if flips < 2 else 'change'} it.",
        "",
    ]
    for name, statistic in STATISTICS.items():
        own = found[found["statistic"] == name]
        if own.empty:
            continue
        row = _worst(own)
        where = "; ".join(_place(change) for change in _records(own[own["flips"]]))
        lost = "the side of 1 changes in" if statistic.sided else "only one of the two is finite in"
        side = f"; {lost} {where}" if where else "; no side of 1 changes" if statistic.sided else ""
        lines.append(
            f"- {statistic.words} ({', '.join(statistic.claims)}): {len(own)} numbers, largest relative difference "
            f"{row['difference']:.1e} ({_place(row)}){side}."
        )
    return "\n".join(lines)


def by_precision(found: pd.DataFrame) -> str:
    """The largest difference where the book trains in single precision, and where it trains in double; a sentence."""
    kinds = found["problem"].map(lambda name: str(PROBLEMS[name].model.default_dtype).removeprefix("torch."))
    parts = [
        f"{found[kinds == kind]['difference'].max():.1e} where the book trains in {kind}" for kind in kinds.unique()
    ]
    return f"By precision, the largest relative difference is {' and '.join(parts)}."


def checks_table(contradicted: Sequence[Contradiction], found: pd.DataFrame) -> pd.DataFrame:
    """Each contradiction with the numbers, computed twice, that stand behind it."""
    rows = []
    for each in contradicted:
        own, lost = each.rows(found), each.unchecked(found)
        problems = list(dict.fromkeys(PROBLEMS[name].title for name in own["problem"]))
        statistics = dict.fromkeys(STATISTICS[name].words for name in own["statistic"])
        rows.append(
            {
                "claim": each.claim,
                "reading": each.reading,
                "checked on": "; ".join(problems) + (f"; *not computed twice: {'; '.join(lost)}*" if lost else ""),
                "by": "; ".join(statistics),
                "largest relative difference": f"{own['difference'].max():.0e}" if len(own) else "not checked",
                "sides changed": str(int(own["flips"].sum())) if len(own) else "not checked",
            }
        )
    names = ["claim", "reading", "checked on", "by", "largest relative difference", "sides changed"]
    return pd.DataFrame(rows, columns=names)


def describe_checks(contradicted: Sequence[Contradiction], found: pd.DataFrame) -> str:
    """How many contradictions stand on numbers that both implementations give, in a sentence."""
    if not contradicted:
        return "There is no contradiction to check."
    good, open_ = 0, []
    for each in contradicted:
        if agrees(each.rows(found)) and not each.unchecked(found):
            good += 1
        else:
            open_.append(f"{each.claim} {each.reading}")
    text = (
        f"Of {len(contradicted)} verdicts against the paper, {good} rest{'s' if good == 1 else ''} on numbers that "
        "both implementations give."
    )
    return text + (f" Not so, or not in full: {', '.join(open_)}." if open_ else "")


__all__ = [
    "TOLERANCE",
    "agrees",
    "by_precision",
    "checks_table",
    "contradiction_table",
    "describe",
    "describe_budget",
    "describe_checks",
    "describe_contradictions",
    "describe_missing",
    "details",
]
