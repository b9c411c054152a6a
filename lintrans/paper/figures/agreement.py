"""The figure of two computations of the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .style import COLOURS, GREY, MARKERS, OTHERS, legend_below, log_axis, nothing, panels

_SHAPES = "D^vPX*"
LEAST = 1e-17
"""Where differences of zero stand."""


def _style(name: str, others: list[str]) -> dict[str, Any]:
    if name in COLOURS:
        return {"color": COLOURS[name], "marker": MARKERS[name]}
    place = others.index(name)
    return {"color": OTHERS[place % len(OTHERS)], "marker": _SHAPES[place % len(_SHAPES)]}


def agreement(found: pd.DataFrame, words: Mapping[str, str]) -> Figure:
    """Fast against independent numbers with the identity, and their relative differences, a row a statistic.

    Args:
        found: from :func:`lintrans.paper.second.compare.compare_all`; what is not positive on both sides has no point
            on the left.
        words: statistics and what they are, from the top.
    """
    names = [name for name in words if (found["statistic"] == name).any()]
    if not names:
        return nothing("nothing was computed twice")
    others = [name for name in words if name not in COLOURS]
    figure, (left, right) = panels(2, 3.9, sharey=False)
    pairs = found[["fast", "independent"]].to_numpy(np.float64)
    good = (np.isfinite(pairs) & (pairs > 0)).all(axis=1)
    positive, edges = found[good], pairs[good]
    if len(edges):
        line = [edges.min() / 1.5, edges.max() * 1.5]
        left.plot(line, line, color=GREY, linewidth=1.0, zorder=1)
    for row, name in enumerate(names):
        style = {**_style(name, others), "linestyle": "none", "alpha": 0.75, "markersize": 5}
        own = positive[positive["statistic"] == name]
        left.plot(own["independent"], own["fast"], **style)
        differences = found[found["statistic"] == name]["difference"].to_numpy(np.float64)
        shown = np.clip(differences[np.isfinite(differences)], LEAST, None)
        right.plot(shown, np.full(len(shown), row), **style)
    log_axis(left, "x")
    log_axis(left, "y")
    left.set(xlabel="independent", ylabel="fast", title="Both computations")
    log_axis(right, "x")
    right.set_yticks(range(len(names)), [])
    right.set_ylim(len(names) - 0.5, -0.5)
    right.set(xlabel="relative difference", title="How far apart")
    handles = [
        Line2D([], [], linestyle="none", markersize=6, label=words[name], **_style(name, others)) for name in names
    ]
    handles.append(Line2D([], [], color=GREY, linewidth=1.0, label="identity"))
    legend_below(figure, handles)
    return figure
