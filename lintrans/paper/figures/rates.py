"""Figures of learning rates: basins of good rates, steps to targets at the best ones."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..problems import PROBLEMS
from ..scales import LABELS
from .style import COLOURS, DASHES, GREY, MARKERS, WIDTH, legend_below, log_axis, nothing, panels


def basin_bars(basins: pd.DataFrame) -> Figure:
    """The basins as bars over the rates, a group a setting, a row an optimizer and clip; short ticks are single seeds.

    Args:
        basins: from :func:`lintrans.paper.claims.rates.basins`.
    """
    names = list(dict.fromkeys(basins["setting"]))
    rows = basins.groupby(["setting", "optimizer", "clip"], sort=False).ngroups
    figure, axes = plt.subplots(figsize=(WIDTH, 1.2 + 0.26 * rows + 0.1 * len(names)), layout="constrained")
    plt.close(figure)
    ticks, words, height = [], [], 0.0
    for name in names:
        setting = PROBLEMS[name]
        first = height
        for (optimizer, clip), own in basins[basins["setting"] == name].groupby(["optimizer", "clip"], sort=False):
            colour = COLOURS[str(optimizer)]
            middle = own[own["seed"].isna()].iloc[0]
            free = math.isinf(float(clip))
            style: dict[str, Any] = {"color": colour, "solid_capstyle": "butt", "alpha": 0.45 if free else 0.9}
            axes.plot([middle["low"], middle["high"]], [height, height], linewidth=5, **style)
            for edge, opened, marker in (("low", "open_low", "<"), ("high", "open_high", ">")):
                if middle[opened]:
                    axes.plot(middle[edge], height, marker, color=colour, markersize=8)
            for row in own[own["seed"].notna()].to_dict("records"):
                axes.plot([row["low"], row["high"]], [height, height], "|", color=GREY, markersize=9, zorder=4)
            best: dict[str, Any] = {"color": colour, "markersize": 13, "markeredgecolor": "white", "zorder": 5}
            axes.plot(middle["best"], height, "*", **best)
            ticks.append(height)
            words.append(f"{LABELS[str(optimizer)]}, {'no clip' if free else f'clip {clip:g}'}")
            height += 1
        for index, (optimizer, lr) in enumerate(setting.lr.items()):
            line: dict[str, Any] = {"color": COLOURS[optimizer], "linewidth": 1.2, "linestyle": (4 * index, (4, 4))}
            axes.plot([lr, lr], [first - 0.5, height - 0.5], zorder=0, **line)
        axes.text(
            1.01, 0.5 * (first + height - 1), setting.title, transform=axes.get_yaxis_transform(), va="center",
            fontsize="small",
        )  # fmt: skip
        height += 0.6
    axes.set_yticks(ticks, words, fontsize="small")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("learning rate")
    log_axis(axes, "x", 7)
    handles = [
        Line2D([], [], color=GREY, linewidth=5, label="loss within 2x of the best"),
        Line2D([], [], color=GREY, marker="*", markersize=11, linestyle="none", label="best rate tried"),
        Line2D([], [], color=GREY, marker=">", markersize=7, linestyle="none", label="the edge of the rates tried"),
        Line2D([], [], color=GREY, marker="|", markersize=9, linestyle="none", label="ends of single seeds' basins"),
        Line2D([], [], color=GREY, linestyle=(0, (4, 4)), linewidth=1.2, label="published rate"),
    ]
    legend_below(figure, handles)
    return figure


def target_steps(speeds: pd.DataFrame) -> Figure:
    """Steps to a target against the target, a panel a setting: seeds as dots, medians as lines.

    A seed that never gets there has no dot; a median is drawn where most seeds get there.

    Args:
        speeds: from :func:`lintrans.paper.claims.rates.speeds`.
    """
    names = list(dict.fromkeys(speeds["setting"]))
    if not names:
        return nothing("no best rate was found inside the grid: not measured")
    columns = 2 if len(names) > 3 else 0
    figure, shown = panels(len(names), 2.7 if columns else 3.4, columns=columns)
    for axes, name in zip(shown, names, strict=True):
        for optimizer in LABELS:
            own = speeds[(speeds["setting"] == name) & (speeds["optimizer"] == optimizer)]
            there = own[~own["censored"]]
            colour, marker = COLOURS[optimizer], MARKERS[optimizer]
            steps = there["steps"].clip(lower=1.0)
            axes.plot(there["share"], steps, marker, color=colour, markersize=3.5, alpha=0.4, linestyle="none")
            counted = own.assign(steps=own["steps"].where(~own["censored"], np.inf).clip(lower=1.0))
            middle = counted.groupby("share")["steps"].median().sort_index(ascending=False)
            middle = middle[np.isfinite(middle)]
            style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 6, "dashes": DASHES[optimizer]}
            axes.plot(middle.index, middle, linewidth=1.8, **style)
        axes.set(title=PROBLEMS[name].title, xscale="log", yscale="log")
        axes.set_xlim(1.5 * speeds["share"].max(), speeds["share"].min() / 1.5)  # lower targets to the right
    for axes in shown[-(columns or len(shown)) :]:
        axes.set_xlabel("target, share of the zero predictor's loss")
    for axes in shown[:: columns or len(shown)]:
        axes.set_ylabel("steps")
    handles = [
        Line2D([], [], color=COLOURS[o], marker=MARKERS[o], dashes=DASHES[o], linewidth=1.8, label=f"{label}, median")
        for o, label in LABELS.items()
    ]
    handles.append(Line2D([], [], color=GREY, marker="o", markersize=3.5, linestyle="none", label="single seeds"))
    legend_below(figure, handles)
    return figure
