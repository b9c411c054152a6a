"""Which adaptivity: the share of the gap that each arm closes, rates, partitions, as tables and words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from ..claims import f11
from ..claims.adaptivity import BY_STEPS, Cell, closed_unit, points
from ..claims.common import fewer
from ..claims.f3 import PREDICTORS
from ..claims.records import Verdict, interval_text
from ..claims.rules import State, Unit
from ..claims.wording import AGREEING, cases, in_words, record_of
from ..measure.adaptivity import Measured
from ..practice.arms import ASKED, ArmsBudget, Trained
from ..problems import PROBLEMS
from .common import clip_words
from .words import listed

ARMS: Mapping[str, str] = {
    "adam": "Adam",
    "block": "one moment a block",
    "layer": "one moment a layer",
    "kind": "one moment a kind (P, Q)",
    "all": "one moment for all",
    "adam_mini": "Adam-mini's groups",
    "slim_adam": "SlimAdam's groups",
    "adafactor": "row x column (Adafactor)",
    "rotated": "Adam, covariates rotated",
    "mixed": "Adam, a layer's entries mixed",
    "signum": "sign of momentum (Signum)",
    "lion": "sign of two averages (Lion)",
    "normalized_sgd": "momentum at one length",
    "normalized_blocks": "one length a block",
    "oracle": "SGD, oracle's rate a block",
    "layer_rates": "SGD, rate a layer, searched",
}
"""Arms in words, in the order of figures: fewer and fewer moments, other bases, no moment."""
ENOUGH = 0.8


def units(cells: Iterable[Cell], cooled: bool = False) -> list[tuple[str, Unit]]:
    """Arm and unit of the share that every arm closes in every cell where it was trained."""
    return [
        (arm, closed_unit(cell, arm, ENOUGH, True, cooled))
        for arm in ARMS
        if arm != "adam"
        for cell in cells
        if arm in set(cell.history.runs["optimizer"])
    ]


def shares(found: Iterable[tuple[str, Unit]], steps: int) -> pd.DataFrame:
    """Those of a horizon that have a number, for a figure: columns cell, arm, estimate, low, high."""
    rows = [
        (unit.case, arm, unit.interval.estimate, unit.interval.low, unit.interval.high)
        for arm, unit in found
        if unit.interval is not None and unit.statistic != BY_STEPS and unit.keys.step == steps
    ]
    return pd.DataFrame(rows, columns=["cell", "arm", "estimate", "low", "high"])


def share_table(found: Iterable[tuple[str, Unit]]) -> pd.DataFrame:
    """Arms by cells, for a page; where a share is of the gap in steps it says so."""
    rows: dict[str, dict[str, str]] = {}
    for arm, unit in found:
        text = interval_text(unit.interval) if unit.interval else ", ".join(unit.remarks)
        rows.setdefault(arm, {"arm": ARMS[arm]})[unit.case] = text + " (steps)" * (unit.statistic == BY_STEPS)
    return pd.DataFrame(rows.values()).fillna("not trained")


def gap_table(cells: Iterable[Cell]) -> pd.DataFrame:
    """Median end losses at the best rates, constant and cooled, arms by cells."""
    rows: dict[str, dict[str, str]] = {}
    for cell in cells:
        ends, cooled = (cell.logs(cool).median() for cool in (False, True))
        for arm in ends.index:
            own = f"{math.exp(ends[arm]):.2e} ({math.exp(cooled[arm]):.2e})"
            rows.setdefault(str(arm), {"arm": ARMS.get(str(arm), "SGD")})[cell.case] = own
    return pd.DataFrame(rows.values()).fillna("not trained")


def rates(found: Measured) -> pd.DataFrame:
    """Best rates, arms by searches; whether the rates run to the horizon enclose them."""
    rows: dict[str, dict[str, str]] = {}
    for (name, steps), tuning in found.tunings.items():
        for arm, best in tuning.best.items():
            text = f"{best.lr:g}, {clip_words(best.clip)}" + ("" if best.interior else ", at the edge")
            rows.setdefault(arm, {"arm": ARMS.get(arm, "SGD")})[f"{PROBLEMS[name].title}, {steps:,} steps"] = text
    return pd.DataFrame(rows.values()).fillna("not searched")


def made_table(found: Measured) -> pd.DataFrame:
    """What was measured for the arms that need it: relative rates of blocks, and what SlimAdam shares."""
    rows = []
    for (name, steps), arms in found.made.items():
        own = {arm.name: arm for arm in arms}
        row = {"problem": f"{PROBLEMS[name].title}, {steps:,} steps"}
        for arm in ("oracle", "layer_rates"):
            values = getattr(own.get(arm), "rates", ())
            row[f"{ARMS[arm]}: P1, Q1, P2, ..."] = ", ".join(f"{value:.3g}" for value in values) or "not made"
        row["SlimAdam shares in P, in Q"] = ", ".join(getattr(own.get("slim_adam"), "partition", ())) or "not made"
        rows.append(row)
    return pd.DataFrame(rows)


def predictor_tables(cells: Sequence[Cell], cooled: bool = False) -> dict[str, pd.DataFrame]:
    """The two measures that F3 speaks of, by their words, for a figure."""
    return {PREDICTORS[metric]: points(cells, metric, cooled) for metric in ("between", "r_lower")}


def title(verdict: Verdict, words: str, steps: int) -> str:
    """A claim's cases of a horizon in a line for a figure: "One moment a layer closes 80% in 4 of 6 cases"."""
    states = [unit.state for unit in verdict.units if unit.decides and unit.keys.step == steps]
    return f"{words} in {sum(state in AGREEING for state in states)} of {len(states)} cases" if states else ""


def correlations(verdict: Verdict) -> str:
    """The two correlations that decide, for a figure's title."""
    texts = [
        f"{unit.case} {unit.interval.estimate:.2f}"
        for unit in verdict.units
        if unit.decides and unit.interval is not None and unit.interval.kind == "correlation"
    ]
    return f"Rank correlation with the gap: {', '.join(texts)}" if texts else ""


def ends_on_networks(found: Trained) -> dict[str, pd.DataFrame]:
    """End losses over SGD's on the same batches by network, for a figure: a row a seed, columns as ranked before."""
    tables = {name: f11.logs_of(history, found.zero_losses[name]) for name, history in found.histories.items()}
    ratios = {name: own.sub(own["sgd"], axis=0) for name, own in tables.items() if "sgd" in own}
    return {name: own[[arm for arm in f11.RANKING if arm in own]].apply(np.exp) for name, own in ratios.items()}


def networks_short(own: ArmsBudget) -> list[str]:
    """Where the trainings on networks fall short of what the rules ask for, in words."""
    return fewer(
        ("networks: horizon of {} steps instead of {}", own.steps, ASKED.steps),
        ("networks: {} judging seeds instead of {}", own.seeds, ASKED.seeds),
        ("networks: {} tuning seeds instead of {}", len(own.tuning_seeds), len(ASKED.tuning_seeds)),
        ("networks: grid of rates run for {} steps instead of {}", own.screening, ASKED.screening),
    )


def networks_table(found: Trained) -> pd.DataFrame:
    """Median end losses and best rates of the six arms, networks by arms."""
    rows = []
    for name, history in found.histories.items():
        ends, best = f11.logs_of(history, found.zero_losses[name]).median(), found.tunings[name].best
        texts = {
            ARMS.get(arm, "SGD"): f"{math.exp(ends[arm]):.3g} (rate {best[arm].lr:g})" if arm in ends else "at the edge"
            for arm in f11.RANKING
        }
        rows.append({"network": name, **texts})
    return pd.DataFrame(rows)


def rankings(cells: Iterable[Cell], steps: int) -> str:
    """How the six arms rank in each cell of a horizon, lowest end loss first, in a list in Markdown."""
    lines = []
    for cell in cells:
        ends = cell.logs().median()
        if cell.history.steps == steps and set(f11.RANKING) <= set(ends.index):
            order = ends[list(f11.RANKING)].sort_values().index
            lines.append(f"- {cell.case}: {', '.join(ARMS.get(str(arm), 'SGD') for arm in order)}.")
    return "\n".join(lines)


def headline(verdicts: Mapping[tuple[str, str], Verdict], says: Mapping[str, str]) -> str:
    """Predictions against outcomes, a line each, as a quotation in Markdown, at the best rates."""
    lines = [
        f"> - **{words}** ({claim}): {in_words(record_of(verdicts[claim, 'tuned']))}." for claim, words in says.items()
    ]
    return "\n".join(["> Predicted before it was run, and what came:", ">", *lines])


def enough(found: Iterable[tuple[str, Unit]]) -> str:
    """Which arms close 80% in every cell that has a gap, in words."""
    states: dict[str, list[bool]] = {}
    for arm, unit in found:
        if unit.interval is not None:
            states.setdefault(arm, []).append(unit.state is State.YES)
    every = [ARMS[arm] for arm, own in states.items() if all(own)]
    never = [ARMS[arm] for arm, own in states.items() if not any(own)]
    return (
        f"By the whole interval, in every cell with a gap: {listed(every) or 'none'}. "
        f"In none: {listed(never) or 'none'}."
        if states
        else "No cell has a gap."
    )


def kept_after_cooldown(verdicts: Mapping[tuple[str, str], Verdict]) -> tuple[int, int]:
    """How many deciding cases say the same at a constant rate and after the cooldown, and of how many."""
    pairs = []
    for (claim, reading), verdict in verdicts.items():
        if reading == "tuned" and (claim, "cooled") in verdicts:
            before, after = (
                {row["case"]: row["state"] for row in cases(record_of(each))}
                for each in (verdict, verdicts[claim, "cooled"])
            )
            pairs += [before[case] == after[case] for case in before if case in after]
    return sum(pairs), len(pairs)
