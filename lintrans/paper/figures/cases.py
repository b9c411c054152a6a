"""All cases of all claims in one figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..claims.rules import State
from .parts import dot_key, legend_below, nothing, subplots
from .style import GREY

KINDS = {
    "ratio": ("ratio; more than 1 agrees with the paper", 1.0, (0.1, 30.0)),
    "share": ("share of steps that agree with the paper", 0.5, (-0.02, 1.02)),
    "correlation": ("rank correlation", 0.0, (-1.05, 1.05)),
}
"""By kind of number: label of its axis, the value of no difference, and the axis's ends."""
LOOKS = {
    State.YES: ("holds", "#0072b2", "o"),
    State.WEAK: ("holds (small)", "#56b4e9", "s"),
    State.NULL: ("no difference", GREY, "D"),
    State.REV: ("reversed", "#d55e00", "v"),
    State.UNDECIDED: ("open", "#b8860b", "P"),
}
_ROW, _AROUND = 0.17, 0.75


def all_cases(table: pd.DataFrame) -> Figure:
    """Estimates with 95% intervals, a row a case, ratios, shares and correlations on axes of their own.

    Args:
        table: from :func:`lintrans.paper.claims.scorecard.kept_cases`.
    """
    parts = {kind: own for kind in KINDS if len(own := table[table["kind"] == kind])}
    if not parts:
        return nothing("no case has been judged yet")
    heights = [_AROUND + _ROW * len(own) for own in parts.values()]
    figure, shown = subplots(len(parts), 1, sum(heights), squeeze=False, height_ratios=heights)
    for axes, (kind, own) in zip(shown.flat, parts.items(), strict=True):
        _panel(axes, own, kind)
    states = [state for state in LOOKS if state in set(table["state"])]
    handles = [dot_key(words, marker, 6, colour) for words, colour, marker in map(LOOKS.__getitem__, states)]
    if not table["robust"].all():
        handles.append(dot_key("not robust", "o", 6, markerfacecolor="none"))
    return legend_below(figure, handles)


def _panel(axes: Axes, table: pd.DataFrame, kind: str) -> None:
    label, reference, (least, most) = KINDS[kind]
    axes.axvline(reference, color=GREY, linewidth=1.0)
    for height, row in enumerate(table.to_dict("records")):
        _, colour, marker = LOOKS[State(row["state"])]
        edges = np.array([row["low"], row["high"]], dtype=np.float64)
        place = float(np.clip(row["estimate"], least, most))
        mark = marker if place == row["estimate"] else ">" if place == most else "<"
        axes.plot(np.clip(edges, least, most), [height, height], color=colour, linewidth=1.3)
        axes.plot(place, height, mark, color=colour, markersize=5, markerfacecolor=colour if row["robust"] else "white")
    names = [f"{row['claim']} {row['reading']}, {row['case']}" for row in table.to_dict("records")]
    axes.set_yticks(range(len(names)), names, fontsize="x-small")
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(label)
    if kind == "ratio":
        axes.set_xscale("log")
        ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    axes.set_xlim(least, most)
