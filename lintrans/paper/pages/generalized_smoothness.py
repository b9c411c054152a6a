"""Generalized smoothness: rank correlations and the fitted bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from ..claims.c5 import MEASURES, PART
from ..claims.common import typical
from ..claims.records import Verdict, interval_text
from ..claims.rules import Keys, State, Unit
from ..problems import PROBLEMS
from ..scales import LABELS
from .common import sample_words as sample_words  # the chapter takes these from here
from .common import unit_text
from .common import worst_prompts as worst_prompts


def with_differences(verdict: Verdict) -> list[Unit]:
    """The units that decide, with the correlation of differences as their statistic."""
    beside = {unit.keys.problem: interval_text(unit.interval) for unit in verdict.units if unit.keys.part == PART}
    return [replace(unit, statistic=beside.get(unit.keys.problem, "")) for unit in verdict.units if unit.decides]


def conclusions(verdict: Verdict) -> str:
    """In how many settings curvature grows with the gradient, in one sentence."""
    states = Counter(unit.state for unit in verdict.units if unit.decides)
    return (
        f"the Hessian's norm grows with the gradient's, in levels and in differences, in {states[State.YES]} "
        f"of {states.total()} settings, in levels or weakly in {states[State.WEAK]} more, and falls in "
        f"{states[State.REV]}."
    )


def unshown(frames: Mapping[str, pd.DataFrame]) -> str:
    """Along how many of Adam's steps the typical curvature is not positive, by setting."""
    parts = []
    for name, frame in frames.items():
        own = typical(frame[(frame["metric"] == "directional_smoothness") & (frame["optimizer"] == "adam")])["value"]
        parts.append(f"{PROBLEMS[name].title}: {(own <= 0).sum()} of {len(own)}")
    return "; ".join(parts)


def correlation_table(units: Sequence[Unit]) -> pd.DataFrame:
    """Every measure of curvature, both optimizers: rank correlations with the gradient's norm."""
    rows: dict[Keys, dict[str, str]] = {}
    for unit in units:
        (name,), _, optimizer, metric, part, _ = unit.keys
        case = (PROBLEMS[name].title, LABELS[str(optimizer)], MEASURES[str(metric)])
        row = dict(zip(("setting", "optimizer", "curvature"), case, strict=True))
        rows.setdefault(unit.keys._replace(part=None), row)[str(part)] = unit_text(unit)
    return pd.DataFrame(rows.values())


def bound_table(bounds: pd.DataFrame) -> pd.DataFrame:
    """The fitted (L0, L1)."""
    forms = {"l0": "{:.3g}", "l1": "{:.3g}", "points": "{:,}"}
    shown = bounds.assign(**{column: bounds[column].map(form.format) for column, form in forms.items()})
    titles = bounds["setting"].map(lambda name: PROBLEMS[name].title)
    shown = shown.assign(setting=titles, optimizer=bounds["optimizer"].map(LABELS))
    return shown.rename(columns={"l0": "$L_0$", "l1": "$L_1$"})
