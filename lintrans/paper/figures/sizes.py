"""The overview of behaviours by size of model."""

from __future__ import annotations

import textwrap
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from .parts import dot_key, legend_below, subplots
from .style import COLOURS, GREY, OTHERS

MARKS: dict[str, dict[str, Any]] = {
    "holds": {"marker": "o", "color": OTHERS[0]},
    "holds in part": {"marker": "D", "color": OTHERS[2]},
    "does not hold": {"marker": "x", "color": COLOURS["sgd"], "markeredgewidth": 2.2},
    "open": {"marker": "$?$", "color": GREY},
    "not measurable": {"marker": "_", "color": GREY, "markeredgewidth": 2.2},
    "not measured": {"marker": ".", "color": GREY},
}
"""A marker and a colour for each word, so that neither is needed alone."""


def size_grid(words: pd.DataFrame, names: dict[str, str], whole: str, title: str = "") -> Figure:
    """A mark for every size (rows of `words`) and behaviour; the row of `whole`, which is compared with, is shaded.

    `title` says what is seen.
    """
    sizes, claims = list(words.index), list(words.columns)
    figure, axes = subplots(1, 1, 0.9 + 0.36 * len(sizes) + 0.3 * bool(title))
    figure.suptitle(title)
    for row, size in enumerate(sizes):
        if size == whole:
            axes.axhspan(row - 0.5, row + 0.5, color=GREY, alpha=0.12, linewidth=0)
        for column, claim in enumerate(claims):
            axes.plot(column, row, linestyle="none", markersize=10, **MARKS[str(words.loc[size, claim])])
    axes.set_xticks(range(len(claims)), [f"{claim}\n{textwrap.fill(names[claim], 12)}" for claim in claims])
    axes.set_yticks(range(len(sizes)), sizes)
    axes.set_xlim(-0.5, len(claims) - 0.5)
    axes.set_ylim(len(sizes) - 0.5, -0.5)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    met = [word for word in MARKS if (words == word).any(axis=None)]
    return legend_below(figure, [dot_key(word, markersize=8, **MARKS[word]) for word in met])
