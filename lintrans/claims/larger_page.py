"""What the page on the larger model says: sentences and tables, made from the numbers of :mod:`.c14`."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..budgets import TuningBudget
from ..problems import LARGER
from ..settings import LABELS
from . import c1_page, c2_page
from .c14 import GAP, NOISE
from .records import Verdict, interval_text
from .rules import State


def grids(budget: TuningBudget) -> str:
    """The rates from which each optimizer's best is chosen, in words."""
    each = {LABELS[name]: budget.rates_of(name) for name in LABELS}
    return " and ".join(f"{len(rates)} of {min(rates):g} to {max(rates):g} for {name}" for name, rates in each.items())


def describe(verdict: Verdict) -> str:
    """What the two halves say, in Markdown."""
    units = {unit.keys.claim: unit for unit in verdict.units if unit.decides}
    gap, noise = units["C1"], units["C2"]
    lines = [
        f"- {GAP}: {c1_page.PHRASES[gap.state].format(ratio=interval_text(gap.interval))}.",
        f"- {NOISE.capitalize()}: {c2_page.PHRASES[noise.state]}"
        + ("." if noise.interval is None else f"; E = {interval_text(noise.interval)}."),
    ]
    return "\n".join(lines)


def describe_agreement(verdict: Verdict) -> str:
    """Whether the two halves agree, in a sentence."""
    states = [unit.state for unit in verdict.units if unit.decides]
    positive = [state in (State.YES, State.WEAK) for state in states]
    if State.MISSING in states:
        return "One half was not measured at this scale, so the claim as a whole is not judged."
    if all(positive):
        return "Both halves go the way of the paper."
    if not any(positive):
        return "Neither half goes the way of the paper beyond doubt."
    return f"Only one half goes the way of the paper beyond doubt: {GAP if positive[0] else NOISE}."


def noise_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Width and tail of the noise; medians over the initializations."""
    return c2_page.summary({LARGER.name: table})


def sizes(rows: Mapping[str, tuple[int, int, int]]) -> pd.DataFrame:
    """Models beside each other: layers, dimension and context length by title.

    Parameters are those of the sparse form; the cost of a prompt grows like L d^3, products of matrices in every layer.
    """
    return (
        pd.DataFrame(
            {
                title: {
                    "layers L": f"{layers}",
                    "dimension d": f"{d}",
                    "examples n": f"{n}",
                    "parameters, 2 L d²": f"{2 * layers * d**2:,}",
                    "degree of the prediction, 3^L": f"{3**layers:,}",
                    "L d³, which the cost of a prompt grows like": f"{layers * d**3:,}",
                }
                for title, (layers, d, n) in rows.items()
            }
        )
        .rename_axis("model")
        .reset_index()
    )
