"""Figures of what closes the gap between SGD and Adam: a row an arm, and what goes with the gap."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .parts import dot_key, legend_below, log_axis, nothing, panels, subplots
from .style import DASHED, GREY, OTHERS

MARKS = "osD^vPX"
ENDS = (-0.5, 1.5)
"""Shares beyond these are drawn at the edge, with an arrow."""
NONE = "no cell has a gap between SGD and Adam: nothing to close"


def _marks(cells: pd.Series) -> dict[str, tuple[str, str]]:
    """A marker and a colour for each cell."""
    names = list(dict.fromkeys(map(str, cells)))
    return {name: (MARKS[k % len(MARKS)], OTHERS[k % len(OTHERS)]) for k, name in enumerate(names)}


def shares_closed(table: pd.DataFrame, labels: Mapping[str, str], title: str = "") -> Figure:
    """Share of the gap that each arm closes, a row an arm and a mark a cell, with 95% intervals.

    Args:
        table: columns cell, arm, estimate, low, high; arms in the order of rows, from the top.
        labels: names of arms.
        title: what is seen.
    """
    if table.empty:
        return nothing(NONE)
    arms, marks = list(dict.fromkeys(table["arm"])), _marks(table["cell"])
    figure, axes = subplots(1, 1, 1.2 + (0.2 + 0.05 * len(marks)) * len(arms))
    for place, words in ((0.0, "SGD"), (1.0, "Adam")):
        axes.axvline(place, color=GREY, linewidth=1.0, linestyle=DASHED)
        axes.text(place, -0.75, words, ha="center", va="bottom", color=GREY)
    for k, (cell, (marker, colour)) in enumerate(marks.items()):
        own = table[table["cell"] == cell]
        rows = np.array([arms.index(arm) for arm in own["arm"]]) + 0.6 * (k + 0.5) / len(marks) - 0.3
        low, high, middle = (np.clip(own[name].to_numpy(np.float64), *ENDS) for name in ("low", "high", "estimate"))
        axes.hlines(rows, low, high, color=colour, linewidth=1.2)
        beyond = own["estimate"].to_numpy(np.float64) != middle
        axes.plot(middle[~beyond], rows[~beyond], marker, color=colour, markersize=5)
        for edge, arrow in ((ENDS[0], "<"), (ENDS[1], ">")):
            at = beyond & (middle == edge)
            axes.plot(middle[at], rows[at], arrow, color=colour, markersize=6)
    axes.set_yticks(range(len(arms)), [labels.get(arm, arm) for arm in arms])
    axes.set(xlim=(ENDS[0] - 0.05, ENDS[1] + 0.05), ylim=(len(arms) - 0.5, -0.9), xlabel="share of the log gap closed")
    axes.grid(visible=False, axis="y")
    figure.suptitle(title)
    return legend_below(figure, [dot_key(cell, *mark[:1], 5, mark[1]) for cell, mark in marks.items()])


def predictors(tables: Mapping[str, pd.DataFrame], title: str = "") -> Figure:
    """The gap that an arm ends with against what was measured early, a panel a measure, a dot an arm in a cell.

    Args:
        tables: by the measure's words, columns cell, arm, seed, predictor, gap (logarithms); dots are medians.
        title: what is seen.
    """
    shown = {words: own for words, own in tables.items() if len(own)}
    if not shown:
        return nothing("nothing was measured early on")
    figure, all_axes = panels(len(shown), 3.2)
    marks = _marks(pd.concat(shown.values())["cell"])
    for axes, (words, own) in zip(all_axes, shown.items(), strict=True):
        middle = own.groupby(["cell", "arm"], sort=False)[["predictor", "gap"]].median().apply(np.exp).reset_index()
        for cell, (marker, colour) in marks.items():
            at = middle[middle["cell"] == cell]
            axes.plot(at["predictor"], at["gap"], marker, color=colour, markersize=5, alpha=0.85)
        axes.axhline(1.0, color=GREY, linewidth=0.8)
        axes.axvline(1.0, color=GREY, linewidth=0.8)
        axes.set(xlabel=f"{words},\nSGD over arm")
        log_axis(axes, "x")
        log_axis(axes, "y")
    all_axes[0].set_ylabel("end loss, SGD over arm")
    figure.suptitle(title)
    return legend_below(figure, [dot_key(cell, mark[0], 5, mark[1]) for cell, mark in marks.items()])


def ranked(tables: Mapping[str, pd.DataFrame], labels: Mapping[str, str], title: str = "") -> Figure:
    """End losses over SGD's, a panel a network, arms in the order that was predicted, thin lines seeds.

    Args:
        tables: by network, a row a seed and a column an arm, the predicted lowest first.
        labels: names of arms.
        title: what is seen.
    """
    if not tables:
        return nothing("no network was measured")
    figure, all_axes = panels(len(tables), 4.2)
    for axes, (name, own) in zip(all_axes, tables.items(), strict=True):
        places = np.arange(own.shape[1])
        for _, row in own.iterrows():
            axes.plot(places, row.to_numpy(np.float64), color=GREY, linewidth=0.6, alpha=0.6)
        axes.plot(places, own.median().to_numpy(np.float64), "o-", color=OTHERS[0], linewidth=2.0)
        axes.axhline(1.0, color=GREY, linewidth=0.8, linestyle=DASHED)
        axes.set_xticks(places, [labels.get(str(arm), "SGD") for arm in own.columns], rotation=55, ha="right")
        axes.set_title(name)
        log_axis(axes, "y")
    all_axes[0].set_ylabel("end loss over SGD's")
    figure.suptitle(title)
    return figure
