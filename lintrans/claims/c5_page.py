"""What the page on C5 says: sentences and tables, made from the numbers of :mod:`.c5`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ..problems import PROBLEMS
from ..settings import LABELS
from .c5 import MEASURES
from .records import Verdict, interval_text
from .rules import Keys, State, Unit

WORDS = {
    State.YES: "the Hessian's norm grows with the gradient's, in levels and in differences",
    State.WEAK: "the Hessian's norm goes with the gradient's in levels, but not clearly in differences as well",
    State.NULL: "the two norms are unrelated",
    State.REV: "the Hessian's norm **falls** as the gradient's grows",
    State.UNDECIDED: "the seeds do not decide",
    State.MISSING: "not measured at this scale",
}


def describe(verdict: Verdict) -> str:
    """What the units that decide say, with levels and differences, a sentence a setting, in Markdown."""
    differences = {unit.keys.problem: unit for unit in verdict.units if not unit.decides}
    lines = []
    for unit in verdict.units:
        if not unit.decides:
            continue
        text = WORDS[unit.state]
        if unit.interval is not None:
            beside = differences.get(unit.keys.problem)
            text += f": rank correlation {interval_text(unit.interval)}"
            text += f", of differences {interval_text(beside.interval)}" if beside else ""
        lines.append(f"- {unit.case.capitalize()}: {text}.")
    return "\n".join(lines)


def describe_negative(frames: Mapping[str, pd.DataFrame]) -> str:
    """How many of Adam's points a logarithmic axis cannot show, in a sentence."""
    parts = []
    for name, frame in frames.items():
        own = frame[(frame["metric"] == "directional_smoothness") & (frame["optimizer"] == "adam")]["value"]
        parts.append(f"{PROBLEMS[name].title}: {int((own <= 0).sum())} of {len(own)}")
    return f"Steps along which the curvature is not positive, and which are therefore not shown: {'; '.join(parts)}."


def correlation_table(units: Sequence[Unit]) -> pd.DataFrame:
    """Every measure of curvature, both optimizers: rank correlations with the gradient's norm."""
    rows: dict[Keys, dict[str, str]] = {}
    for unit in units:
        (name,), _, optimizer, metric, part, _ = unit.keys
        case = {
            "setting": PROBLEMS[name].title,
            "optimizer": LABELS[str(optimizer)],
            "curvature": MEASURES[str(metric)],
        }
        rows.setdefault(unit.keys._replace(part=None), case)[str(part)] = f"{interval_text(unit.interval)} {unit.state}"
    return pd.DataFrame(rows.values())


def bound_table(bounds: pd.DataFrame) -> pd.DataFrame:
    """The fitted (L0, L1) for a page."""
    return pd.DataFrame(
        {
            "setting": [PROBLEMS[name].title for name in bounds["setting"]],
            "optimizer": [LABELS[name] for name in bounds["optimizer"]],
            "$L_0$": [f"{value:.3g}" for value in bounds["l0"]],
            "$L_1$": [f"{value:.3g}" for value in bounds["l1"]],
            "points": [f"{count:,}" for count in bounds["points"]],
        }
    )
