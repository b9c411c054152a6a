"""A figure as a phone shows it: its panels one below the other, each with its own numbers, in the width of a screen."""

from __future__ import annotations

import io
import pickle
import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

KIND = "application/x.narrow+svg"
"""MIME type of what :func:`svg` gives, in a notebook."""
WIDTH, TALLEST = 3.9, 2.7
"""Inches: of a figure on a phone, and of one of its panels at most."""
LINE, TALL = 46, 24
"""Letters of a line in that width, and along the height of a panel."""


def svg(figure: Figure) -> str:
    """The figure for a narrow screen, as SVG; it stays as it is."""
    buffer = io.StringIO()
    stacked(pickle.loads(pickle.dumps(figure))).savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def stacked(figure: Figure) -> Figure:
    """The figure itself, its panels one below the other, from left to right and row by row."""
    own = [axes for axes in figure.axes if axes.get_subplotspec() is not None]
    panels = [axes for axes in own if axes.axison]
    grids = {axes.get_gridspec() for axes in panels}  # type: ignore[union-attr]  # these have one
    height = figure.get_figheight()
    if len(grids) == 1 and (grid := grids.pop()).ncols > 1:
        for unused in set(own) - set(panels):
            unused.remove()
        _numbered(panels, grid.ncols)
        height = len(panels) * min(height / grid.nrows, TALLEST)
        below = GridSpec(len(panels), 1, figure)
        for place, axes in zip(below, panels, strict=True):
            axes.set_subplotspec(place)
    figure.set_size_inches(WIDTH, height + _words(figure))
    return figure


def _numbered(panels: Sequence[Axes], columns: int) -> None:
    """Give every panel the labels that it shares with its neighbours."""
    for number, axes in enumerate(panels):
        axes.tick_params(labelbottom=True, labelleft=True)
        row = panels[number - number % columns : number + 1]
        column = panels[number::columns]
        label = next((each.get_ylabel() for each in reversed(row) if each.get_ylabel()), "")
        axes.set_ylabel(label if "$" in label else textwrap.fill(label, TALL))
        axes.set_xlabel(next((each.get_xlabel() for each in column if each.get_xlabel()), ""))


def _words(figure: Figure) -> float:
    """Break the title into short lines and put a legend's entries below one another; the height this adds, inches."""
    title, added = figure.get_suptitle(), 0.0
    if title:
        lines = textwrap.fill(" ".join(title.split()), LINE)
        added += 0.2 * (lines.count("\n") - title.count("\n"))
        figure.suptitle(lines, x=0.01, horizontalalignment="left", fontsize="medium")
    for legend in list(figure.legends):
        handles, labels = legend.legend_handles, [text.get_text() for text in legend.get_texts()]
        added += 0.18 * (len(labels) - -(-len(labels) // legend._ncols))
        legend.remove()
        figure.legend(handles, labels, loc="outside lower left", ncols=1, fontsize="small")
    return added
