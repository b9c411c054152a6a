"""The condition number: every convention beside the paper's numbers, the gap split, and the eigenvalues."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..claims.c3 import CONVENTIONS, FACTORS, MATCHED, PAPER, PUBLIC, Row, blocks
from ..claims.common import FIXED_BATCH, on_batches
from ..claims.records import Verdict
from ..claims.rules import State, Unit, table_of
from ..claims.wording import NAMES as STATES
from ..problems import PROBLEMS
from ..scales import LABELS
from .common import sample_words as sample_words  # the chapter takes these from here
from .common import unit_text
from .common import worst_prompts as worst_prompts
from .template import Lamp, confirmed, part
from .words import tally

TRANSFORMERS = {750: "1.65 (0.65), 1.91 (0.53), 3.54 (1.21)", 1250: "2.01 (1.00), 1.43 (0.63), 2.28 (1.18)"}
"""Ratios of three layers of full Transformers on language (Jiang, Malik & Li 2022), as the paper quotes them."""

PART_NAMES = {"public": "public", "within": "within blocks", "between": "between blocks", "convention": "convention"}
NAMES = {**CONVENTIONS, "r_eigenvalues": "eigenvalues, no structural zeros"}


def title(verdict: Verdict) -> str:
    """What a reading shows, in a line for a figure."""
    return "Adam's condition number: " + tally(
        verdict, "cases", yes="lower", weak="lower", null="no difference", rev="higher", undecided="open",
        missing="not measured",
    )  # fmt: skip


def split_title(units: Sequence[Unit]) -> str:
    """Which factor carries the gap, in a line for a figure; from :func:`c3.factors`."""
    gaps = [parts for parts in _judged(units) if parts["public"].state in (State.YES, State.WEAK)]
    carriers = Counter(PART_NAMES[carrier(parts)] for parts in gaps)
    where = " and ".join(f"{name} in {count} of {len(gaps)}" for name, count in carriers.most_common())
    return f"Where SGD's is the larger, what carries the gap: {where}" if gaps else "There is no gap to split"


def _judged(units: Sequence[Unit]) -> list[dict[str, Unit]]:
    """By case, the public ratio and its factors at the judged steps."""
    return [parts for parts in by_place(units).values() if parts["public"].keys.step is not None]


def conventions_title(verdict: Verdict) -> str:
    """In how many cases other definitions of the median say the same, in a line for a figure."""
    lamp = by_convention(verdict)
    return f"Another median on the same Hessians: {lamp.kept} of {lamp.of} keep the answer"


def _otherwise(verdict: Verdict) -> list[Unit]:
    """The cases under the other conventions, with the keys of the public one."""
    others = [way for way in CONVENTIONS if way != PUBLIC]
    units = [unit for unit in verdict.units if unit.keys.convention in others and not unit.keys.part]
    return [replace(unit, keys=unit.keys._replace(convention=PUBLIC)) for unit in units]


def by_convention(*verdicts: Verdict) -> Lamp:
    """How many decided cases keep their side under the other conventions."""
    words = f"judgements by {len(CONVENTIONS) - 1} other medians keep the side of a decided case"
    return confirmed(words, *((verdict, _otherwise(verdict)) for verdict in verdicts))


def on_the_fixed_batch(*verdicts: Verdict) -> Lamp:
    """How many decided cases keep their side on the paper's one batch."""
    words = "decided cases keep their side on the paper's one batch and seeds"
    return confirmed(words, *((verdict, part(verdict, FIXED_BATCH)) for verdict in verdicts))


def by_horizon(*judged: tuple[Verdict, Sequence[Unit]]) -> Lamp:
    """How many decided cases keep their side averaged along the run; with units from :func:`c3.along_the_run`."""
    pairs = []
    for verdict, along_run in judged:
        public = {unit.keys.problem: unit for unit in along_run if unit.keys.convention == PUBLIC}
        steps = [unit.keys for unit in verdict.units if unit.decides and unit.keys.problem in public]
        pairs.append((verdict, [replace(public[keys.problem], keys=keys) for keys in steps]))
    return confirmed("decided cases keep their side averaged along the run", *pairs)


def window(units: Sequence[Unit], table: pd.DataFrame) -> str:
    """At which probes the public ratio would have said the opposite of the judged ones, a line a setting, in Markdown.

    Args:
        units: those of a verdict that decide.
        table: from :func:`c3.split_along`.
    """
    lines = []
    for name, own in table[(table["part"] == "public") & (table["step"] > 0)].groupby("setting", sort=False):
        lower, higher = (
            [f"{step:,}" for step in own.loc[chosen, "step"]] for chosen in (own["low"] > 1, own["high"] < 1)
        )
        judged = ", ".join(f"{unit.keys.step:,}" for unit in units if unit.keys.problem == name)
        lines.append(
            f"- {PROBLEMS[str(name)].title} (judged at {judged}): Adam's is lower at {', '.join(lower) or 'no probe'}; "
            f"higher at {', '.join(higher) or 'no probe'}."
        )
    return "\n".join(lines)


def median_answer(numbers: Mapping[tuple[str, str], float]) -> str:
    """R_med at initialization by form of the model and median, in one sentence."""
    parts = [
        f"the {form} form has {numbers[form, 'lower']:.3g} with the lower and {numbers[form, 'midpoint']:.3g} with the "
        f"midpoint median, a factor {numbers[form, 'lower'] / numbers[form, 'midpoint']:.3g}"
        for form in dict.fromkeys(form for form, _ in numbers)
    ]
    return f"At the first initialization {'; '.join(parts)}."


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
    places = _judged(units)
    gaps = [parts for parts in places if parts["public"].state in (State.YES, State.WEAK)]
    if not gaps:
        return f"SGD's R_med is larger in none of {len(places)} cases, so that there is no gap to split."
    carriers = Counter(carrier(parts) for parts in gaps)
    where = ", ".join(f"{PART_NAMES[part]} in {count}" for part, count in carriers.most_common())
    within = Counter(parts["within"].state for parts in gaps)
    text = (
        f"SGD's R_med is larger in {len(gaps)} of {len(places)} cases, and what carries the gap is: {where}. "
        f"Within blocks Adam's is the lower in {within[State.YES] + within[State.WEAK]} of them and the higher in "
        f"{within[State.REV]}."
    )
    found = [sharpest(frames, parts["public"]) for parts in gaps]
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
    """Under each convention, in how many cases the claim holds and in how many it is reversed."""
    groups = convention_table(verdict).groupby("order", observed=True)["state"]
    return "; ".join(
        f"{convention}: {STATES[State.YES]} in {(states == State.YES).sum()} of {len(states)}, {STATES[State.REV]} "
        f"in {(states == State.REV).sum()}"
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
