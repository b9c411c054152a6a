"""Figures of learning rates: basins of good rates, steps to targets at the best ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..problems import PROBLEMS
from .parts import dot_key, key, legend_below, log_axis, nothing, optimizer_keys, panels, subplots
from .style import COLOURS, DASHED, GREY, LABELS, MARKERS, line_of


def basin_bars(basins: pd.DataFrame) -> Figure:
    """The basins as bars over the rates, a group a setting, a row an optimizer and clip; short ticks: single seeds."""
    names = list(dict.fromkeys(basins["setting"]))
    rows = basins.groupby(["setting", "optimizer", "clip"], sort=False).ngroups
    figure, axes = subplots(1, 1, 1.2 + 0.26 * rows + 0.1 * len(names))
    ticks, words, height = [], [], 0.0
    for name in names:
        setting, first = PROBLEMS[name], height
        for (optimizer, clip), group in basins[basins["setting"] == name].groupby(["optimizer", "clip"], sort=False):
            colour, free = COLOURS[str(optimizer)], math.isinf(float(clip))
            middle = group[group["seed"].isna()].iloc[0]
            style: dict[str, Any] = {"color": colour, "solid_capstyle": "butt", "alpha": 0.45 if free else 0.9}
            axes.plot([middle["low"], middle["high"]], [height, height], linewidth=5, **style)
            for edge, opened, marker in (("low", "open_low", "<"), ("high", "open_high", ">")):
                if middle[opened]:
                    axes.plot(middle[edge], height, marker, color=colour, markersize=8)
            for row in group[group["seed"].notna()].to_dict("records"):
                axes.plot([row["low"], row["high"]], [height, height], "|", color=GREY, markersize=9, zorder=4)
            best: dict[str, Any] = {"color": colour, "markersize": 13, "markeredgecolor": "white", "zorder": 5}
            axes.plot(middle["best"], height, "*", **best)
            ticks.append(height)
            words.append(f"{LABELS[str(optimizer)]}, {'no clip' if free else f'clip {clip:g}'}")
            height += 1
        for index, (optimizer, lr) in enumerate(setting.lr.items()):
            line: dict[str, Any] = {"color": COLOURS[optimizer], "linewidth": 1.2, "linestyle": (4 * index, (4, 4))}
            axes.plot([lr, lr], [first - 0.5, height - 0.5], zorder=0, **line)
        beside: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": "small"}
        axes.text(1.01, 0.5 * (first + height - 1), setting.title, **beside)
        height += 0.6
    axes.set_yticks(ticks, words, fontsize="small")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("learning rate")
    log_axis(axes, "x", 7)
    handles = [
        key("loss within 2x of the best", linewidth=5),
        dot_key("best rate tried", "*", 11),
        dot_key("the edge of the rates tried", ">", 7),
        dot_key("ends of single seeds' basins", "|", 9),
        key("published rate", linestyle=DASHED, linewidth=1.2),
    ]
    return legend_below(figure, handles)


def target_steps(speeds: pd.DataFrame) -> Figure:
    """Steps to a target against the target, a panel a setting: seeds as dots, medians as lines.

    A seed that never gets there has no dot; a median is drawn where most seeds get there.
    """
    names = list(dict.fromkeys(speeds["setting"]))
    if not names:
        return nothing()
    columns = 2 if len(names) > 3 else 0
    figure, shown = panels(len(names), 2.7 if columns else 3.4, columns=columns)
    for axes, name in zip(shown, names, strict=True):
        for optimizer in LABELS:
            rows = speeds[(speeds["setting"] == name) & (speeds["optimizer"] == optimizer)]
            rows = rows.assign(steps=rows["steps"].where(~rows["censored"], np.inf).clip(lower=1.0))
            there, marker = rows[~rows["censored"]], MARKERS[optimizer]
            dots: dict[str, Any] = {"markersize": 3.5, "alpha": 0.4, "linestyle": "none"}
            axes.plot(there["share"], there["steps"], marker, color=COLOURS[optimizer], **dots)
            middle = rows.groupby("share")["steps"].median().sort_index(ascending=False)
            middle = middle[np.isfinite(middle)]
            axes.plot(middle.index, middle, marker=marker, markersize=6, linewidth=1.8, **line_of(optimizer))
        axes.set(title=PROBLEMS[name].title, xscale="log", yscale="log")
        axes.set_xlim(1.5 * speeds["share"].max(), speeds["share"].min() / 1.5)  # lower targets to the right
    for axes in shown[-(columns or len(shown)) :]:
        axes.set_xlabel("target, share of the zero predictor's loss")
    for axes in shown[:: columns or len(shown)]:
        axes.set_ylabel("steps")
    return legend_below(figure, [*optimizer_keys("{}, median", marked=True), dot_key("single seeds", "o", 3.5)])
