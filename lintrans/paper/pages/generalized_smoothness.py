"""Generalized smoothness: rank correlations and the fitted bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from ..claims.c5 import MEASURES, NORM, PART, all_correlations, norm_units
from ..claims.common import FIXED_BATCH, typical
from ..claims.records import Verdict, interval_text
from ..claims.rules import Keys, Unit
from ..problems import PROBLEMS
from ..scales import LABELS
from .common import sample_words as sample_words  # the chapter takes these from here
from .common import unit_text
from .common import worst_prompts as worst_prompts
from .template import Lamp, confirmed, part
from .words import tally


def with_differences(verdict: Verdict) -> list[Unit]:
    """The units that decide, with the correlation of differences as their statistic."""
    beside = {unit.keys.problem: interval_text(unit.interval) for unit in verdict.units if unit.keys.part == PART}
    return [replace(unit, statistic=beside.get(unit.keys.problem, "")) for unit in verdict.units if unit.decides]


def title(verdict: Verdict) -> str:
    """Whether curvature grows with the gradient, in a line for a figure."""
    return "Curvature grows with the gradient: " + tally(
        verdict, yes="yes", weak="in levels only", null="unrelated", rev="it falls", undecided="open",
        missing="not measured",
    )  # fmt: skip


def other_measures(frames: Mapping[str, pd.DataFrame]) -> list[Unit]:
    """Adam's correlations of levels by the other measures of curvature, with the keys of C5's cases."""
    return [
        replace(unit, keys=Keys(unit.keys.problems))
        for unit in all_correlations(frames)
        if (unit.keys.optimizer, unit.keys.part) == ("adam", "levels") and unit.keys.convention != NORM
    ]


def by_half_of_the_window(frames: Mapping[str, pd.DataFrame]) -> list[Unit]:
    """The cases in the first and in the last half of the measured steps."""
    units = []
    for name, frame in frames.items():
        middle = (int(frame["step"].min()) + int(frame["step"].max())) // 2
        for own in (frame[frame["step"] <= middle], frame[frame["step"] > middle]):
            units.append(norm_units(f"setting {name}", own, Keys((name,)))[0])
    return units


def lamps(judged: Mapping[str, tuple[Verdict, Mapping[str, pd.DataFrame]]]) -> dict[str, Lamp]:
    """How many decided cases keep their side measured otherwise, by the name of the lamp."""
    every = list(judged.values())
    measures = [(verdict, other_measures(frames)) for verdict, frames in every]
    halved = [(verdict, by_half_of_the_window(frames)) for verdict, frames in every]
    fixed = [(verdict, part(verdict, FIXED_BATCH)) for verdict, _ in every]
    return {
        "convention": confirmed("judgements by the length of Hv and by v'Hv say the same", *measures),
        "test_batch": confirmed("decided cases keep their side on the paper's one batch and seeds", *fixed),
        "horizon": confirmed("halves of the window say what the whole says", *halved),
    }


def power_answer(slopes: Mapping[int, float], degrees: Mapping[int, int]) -> str:
    """Measured powers of ||H|| against ||grad f|| far out, beside the law's, by the number of layers."""
    parts = [
        f"L = {layers}: {slope:.3f}, and the law says {(degrees[layers] - 2) / (degrees[layers] - 1):.3f} for degree "
        f"{degrees[layers]}"
        for layers, slope in slopes.items()
    ]
    return f"The power, measured between 10 and 100 times a random point: {'; '.join(parts)}."


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
