"""The figure of two computations of the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..claims.twice import APART, NULLS, Twice
from .parts import dot_key, key, legend_below, log_axis, nothing, panels
from .style import COLOURS, GREY, MARKERS, OTHERS

_SHAPES = "D^vPX*"
LEAST = 1e-17
"""Where differences of zero stand."""


def _style(name: str, others: list[str]) -> dict[str, Any]:
    if name in COLOURS:
        return {"color": COLOURS[name], "marker": MARKERS[name]}
    index = others.index(name)
    return {"color": OTHERS[index % len(OTHERS)], "marker": _SHAPES[index % len(_SHAPES)]}


def agreement(compared: pd.DataFrame, words: Mapping[str, str], title: str = "") -> Figure:
    """Fast against independent numbers with the identity, and their relative differences, a row a statistic.

    What is not positive on both sides has no point on the left; `words` say what statistics are, from the top.
    `title` stands above both panels.
    """
    names = [name for name in words if (compared["statistic"] == name).any()]
    if not names:
        return nothing("nothing was computed twice")
    others = [name for name in words if name not in COLOURS]
    figure, (left, right) = panels(2, 3.9, sharey=False)
    pairs = compared[["fast", "independent"]].to_numpy(np.float64)
    good = (np.isfinite(pairs) & (pairs > 0)).all(axis=1)
    positive, edges = compared[good], pairs[good]
    if len(edges):
        line = [edges.min() / 1.5, edges.max() * 1.5]
        left.plot(line, line, color=GREY, linewidth=1.0, zorder=1)
    for row, name in enumerate(names):
        style = {**_style(name, others), "linestyle": "none", "alpha": 0.75, "markersize": 5}
        points = positive[positive["statistic"] == name]
        left.plot(points["independent"], points["fast"], **style)
        differences = compared[compared["statistic"] == name]["difference"].to_numpy(np.float64)
        shown = np.clip(differences[np.isfinite(differences)], LEAST, None)
        right.plot(shown, np.full(len(shown), row), **style)
    log_axis(left, "x")
    log_axis(left, "y")
    left.set(xlabel="independent", ylabel="fast", title="Both computations")
    log_axis(right, "x")
    right.set_yticks([])
    right.set_ylim(len(names) - 0.5, -0.5)
    right.set(xlabel="relative difference", title="How far apart")
    figure.suptitle(title)
    handles = [dot_key(words[name], markersize=6, **_style(name, others)) for name in names]
    return legend_below(figure, [*handles, key("identity", linewidth=1.0)])


def twice_means(made: Twice) -> Figure:
    """Means of the fast implementation against those of the second one, ratios and shares, with the line of equality.

    Hollow where some run's parameters come to lie apart; shaded where the two are on different sides of no difference.
    """
    kinds = [kind for kind in NULLS if any(row.kind == kind for row in made.rows)]
    figure, shown = panels(len(kinds), 3.6, sharey=False)
    for axes, kind in zip(shown, kinds, strict=True):
        own = [row for row in made.rows if row.kind == kind]
        points = np.array([row.means for row in own])
        low, high = (0.0, 1.0) if kind == "share" else (points.min() / 1.5, points.max() * 1.5)
        null = NULLS[kind]
        axes.plot([low, high], [low, high], color=GREY, linewidth=1.0, zorder=1)
        axes.fill_between([low, null], null, high, color=GREY, alpha=0.12, linewidth=0)
        axes.fill_between([null, high], low, null, color=GREY, alpha=0.12, linewidth=0)
        for row, (fast, second) in zip(own, points, strict=True):
            face = OTHERS[0] if row.apart is None else "none"
            axes.plot(second, fast, "o", color=OTHERS[0], markerfacecolor=face, markersize=5)
        axes.set(xlim=(low, high), ylim=(low, high), xlabel="second implementation", title=f"{kind}s")
        if kind != "share":
            log_axis(axes, "x")
            log_axis(axes, "y")
    shown[0].set_ylabel("fast")
    same = len(made.rows) - len(made.other_side)
    figure.suptitle(f"{same} of {len(made.rows)} cases are on the same side of no difference")
    filled = dot_key("never apart", "o", 5, OTHERS[0])
    hollow = dot_key(f"some run {APART:.0%} apart", "o", 5, OTHERS[0], markerfacecolor="none")
    return legend_below(figure, [filled, hollow, key("equal", linewidth=1.0)])
