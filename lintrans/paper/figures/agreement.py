"""The figure of two computations of the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

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


def agreement(compared: pd.DataFrame, words: Mapping[str, str]) -> Figure:
    """Fast against independent numbers with the identity, and their relative differences, a row a statistic.

    What is not positive on both sides has no point on the left; `words` say what statistics are, from the top.
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
    handles = [dot_key(words[name], markersize=6, **_style(name, others)) for name in names]
    return legend_below(figure, [*handles, key("identity", linewidth=1.0)])
