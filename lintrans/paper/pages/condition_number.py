"""The condition number: every convention beside the paper's numbers, the gap split, and the eigenvalues."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..claims.c3 import CONVENTIONS, FACTORS, MATCHED, PAPER, PUBLIC, Row, blocks
from ..claims.common import FIXED_BATCH, on_batches
from ..claims.records import Verdict
from ..claims.rules import State, Unit, table_of
from ..problems import PROBLEMS
from ..scales import LABELS
from .common import sample_words as sample_words  # the chapter takes these from here
from .common import unit_text
from .common import worst_prompts as worst_prompts

TRANSFORMERS = {750: "1.65 (0.65), 1.91 (0.53), 3.54 (1.21)", 1250: "2.01 (1.00), 1.43 (0.63), 2.28 (1.18)"}
"""Ratios of three layers of full Transformers on language (Jiang, Malik & Li 2022), as the paper quotes them."""

PART_NAMES = {"public": "public", "within": "within blocks", "between": "between blocks", "convention": "convention"}
NAMES = {**CONVENTIONS, "r_eigenvalues": "eigenvalues, no structural zeros"}


def convention_table(verdict: Verdict) -> pd.DataFrame:
    """Units as rows for a forest plot: case "setting 1, step 750", statistic the convention, or the fixed batch."""
    decided = {unit.keys: unit.case for unit in verdict.units if unit.decides}
    cases = [decided.get(unit.keys._replace(convention=PUBLIC, part=None), unit.case) for unit in verdict.units]
    ways = [unit.keys.part or CONVENTIONS.get(str(unit.keys.convention), MATCHED) for unit in verdict.units]
    order = pd.Categorical(ways, [*CONVENTIONS.values(), FIXED_BATCH, MATCHED], ordered=True)
    table = table_of(verdict.units).assign(
        case=cases, statistic=ways, order=order, group=pd.factorize(np.array(cases))[0]
    )
    return table.sort_values(["group", "order"], kind="stable").drop(columns="group")


def ratio_table(rows: Sequence[Row], conventions: Sequence[str] = tuple(NAMES)) -> pd.DataFrame:
    """The paper's table, ours beside it: mean (standard deviation) over seeds of the ratio of R_med, SGD over Adam."""
    columns = {}
    for setting, step in dict.fromkeys((row.setting, row.step) for row in rows):
        by_metric = {row.metric: row for row in rows if (row.setting, row.step) == (setting, step)}
        paper, public = PAPER.get((setting, step)), by_metric.get(PUBLIC)
        compared = f"{public.agreeing} of {public.batches}" if public and public.batches else "no number"
        columns[f"{PROBLEMS[setting].title}, step {step:,}"] = {
            **{NAMES[metric]: _mean(by_metric.get(metric)) for metric in conventions},
            "paper": f"{paper[0]:g} ({paper[1]:g})" if paper else "no number",
            "agrees": {True: "yes", False: "no", None: "no number"}[public.agrees if public else None],
            "evaluation batches that agree": compared,
            "full Transformers, three layers": TRANSFORMERS.get(step, "no number"),
        }
    return pd.DataFrame(columns).rename_axis("convention").reset_index()


def other_batches(rows: Sequence[Row]) -> str:
    """Why the fixed batch does not agree with the paper's table, a line a case, in Markdown; from :func:`c3.ratios`."""
    lines, compared = [], [row for row in rows if row.metric == PUBLIC and row.agrees is not None]
    if not compared:
        return "No number of the paper's table is measured at this scale."
    for row in compared:
        if row.agrees:
            continue
        share = row.agreeing / row.batches if row.batches else 0.0
        words = (
            "most batches give the paper's number, and the fixed one does not: it is the batch, not the paper"
            if share > 0.5
            else "some batches give the paper's number: which batch it is decides whether we agree"
            if share
            else "no other batch gives it either: the batch does not explain the difference"
        )
        place = f"{PROBLEMS[row.setting].title}, step {row.step:,}"
        theirs = PAPER[row.setting, row.step][0]
        lines.append(
            f"- {place}: {row.mean:.2f} on the fixed batch, {theirs:g} in the paper. The same seeds agree with it on "
            f"{row.agreeing} of {row.batches} evaluation batches: {words}."
        )
    return "\n".join(lines) or "Every number of the paper's table is within two standard errors of ours."


def by_place(units: Sequence[Unit]) -> dict[str, dict[str, Unit]]:
    """The public ratio and its factors by case; from :func:`c3.factors`."""
    places: dict[str, dict[str, Unit]] = {}
    for unit in units:
        if unit.interval is not None:
            places.setdefault(unit.case, {})[str(unit.keys.part)] = unit
    return places


def split_table(units: Sequence[Unit]) -> pd.DataFrame:
    """A row a case: the public ratio and the factors that it is the product of, with their intervals and states."""
    rows = [
        {"case": case, **{PART_NAMES[part]: unit_text(unit) for part, unit in parts.items()}}
        for case, parts in by_place(units).items()
    ]
    return pd.DataFrame(rows)


def carrier(parts: Mapping[str, Unit]) -> str:
    """The factor that is largest in the direction of the public ratio."""
    logs = {part: math.log(unit.interval.estimate) for part, unit in parts.items() if unit.interval is not None}
    side = math.copysign(1.0, logs["public"])
    return max(FACTORS, key=lambda part: side * logs[part])


def carried(units: Sequence[Unit], frames: Mapping[str, pd.DataFrame]) -> str:
    """Which factor carries the gap at the judged steps, and which block it is: one sentence or two."""
    places = {case: parts for case, parts in by_place(units).items() if parts["public"].keys.step is not None}
    gaps = {case: parts for case, parts in places.items() if parts["public"].state in (State.YES, State.WEAK)}
    if not gaps:
        return f"SGD's R_med is clearly larger in none of {len(places)} cases, so that there is no gap to split."
    carriers = Counter(carrier(parts) for parts in gaps.values())
    where = ", ".join(f"{PART_NAMES[part]} in {count}" for part, count in carriers.most_common())
    within = Counter(parts["within"].state for parts in gaps.values())
    text = (
        f"SGD's R_med is clearly larger in {len(gaps)} of {len(places)} cases, and what carries the gap is: {where}. "
        f"Within blocks Adam's is the lower in {within[State.YES] + within[State.WEAK]} of them and the higher in "
        f"{within[State.REV]}."
    )
    found = [sharpest(frames, parts["public"]) for parts in gaps.values()]
    known = [own for own in found if own is not None]
    if not known:
        return text
    names = Counter(own.block for own in known)
    block, count = names.most_common(1)[0]
    own_sharp, own_flat = (
        [getattr(own, what) for own in known if own.block == block] for what in ("sharper", "flatter")
    )
    return (
        f"{text} SGD's sharpest block (by its median $|H_{{ii}}|$) is {block} in {count} of {len(known)}, "
        f"{_range(own_sharp)} times sharper than its next; under Adam the same block is "
        f"{_range(own_flat)} times flatter."
    )


class Sharpest(NamedTuple):
    """SGD's sharpest block, how many times sharper than its next, and than the same block under Adam."""

    block: str
    sharper: float
    flatter: float


def sharpest(frames: Mapping[str, pd.DataFrame], unit: Unit) -> Sharpest | None:
    """Of one case; None where blocks were not measured."""
    table = blocks(frames[str(unit.keys.problem)], int(unit.keys.step or 0))
    if not {"sgd", "adam"} <= set(table) or len(table) < 2:
        return None
    own = table["sgd"].sort_values(ascending=False)
    name = str(own.index[0])
    return Sharpest(name, float(own.iloc[0] / own.iloc[1]), float(own.iloc[0] / table.loc[name, "adam"]))


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2g}", f"{max(values):.2g}"
    return low if low == high else f"{low} to {high}"


def block_table(frames: Mapping[str, pd.DataFrame], steps: Sequence[int]) -> pd.DataFrame:
    """Median |H_ii| of each block, a row a setting, step and optimizer."""
    rows = []
    for name, frame in frames.items():
        for step in steps:
            for optimizer, values in blocks(frame, step).items():
                numbers = {str(block): f"{value:.3g}" for block, value in values.items()}
                place = {"setting": PROBLEMS[name].title, "step": f"{step:,}", "optimizer": LABELS[str(optimizer)]}
                rows.append({**place, **numbers})
    return pd.DataFrame(rows)


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
    """R_med with the lower over that with the midpoint median, median over runs and batches, a line a setting."""
    lines = []
    for name, frame in frames.items():
        keys = ["optimizer", "seed", "step", "batch"]
        wide = on_batches(frame).pivot(index=keys, columns="metric", values="value")
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
    """Median over seeds of the largest and the smallest eigenvalue on the fixed batch, a row a setting and step."""
    ends = {"largest": "eigenvalue_max", "smallest": "eigenvalue_min"}
    rows = []
    for name, frame in frames.items():
        middle = on_batches(frame, fixed=True).groupby(["step", "optimizer", "metric"])["value"].median()
        for step in steps:
            values = {
                f"{label}: {word}": middle.get((step, optimizer, metric))
                for optimizer, label in LABELS.items()
                for word, metric in ends.items()
            }
            numbers = {head: "not measured" if value is None else f"{value:.3g}" for head, value in values.items()}
            rows.append({"setting": PROBLEMS[name].title, "step": f"{step:,}", **numbers})
    return pd.DataFrame(rows)
