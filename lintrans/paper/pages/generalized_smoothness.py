"""Generalized smoothness: rank correlations and the fitted bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from ..claims.c5 import MEASURES
from ..claims.records import Verdict, interval_text
from ..claims.rules import Keys, Unit
from ..problems import PROBLEMS
from ..scales import LABELS
from .common import unit_text


def with_differences(verdict: Verdict) -> list[Unit]:
    """The units that decide, with the correlation of differences as their statistic."""
    beside = {unit.keys.problem: interval_text(unit.interval) for unit in verdict.units if not unit.decides}
    return [replace(unit, statistic=beside.get(unit.keys.problem, "")) for unit in verdict.units if unit.decides]


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
