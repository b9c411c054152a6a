"""A figure as a phone shows it: its panels one below the other, each with its own numbers, in the width of a screen."""

from __future__ import annotations

import io
import pickle
import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FixedLocator, LogLocator

KIND = "application/x.narrow+svg"
"""MIME type of what :func:`svg` gives, in a notebook."""
WIDTH, TALLEST, ENTRY = 3.9, 2.7, 0.18
"""Inches: of a figure on a phone, of one of its panels at most, of an entry of a legend."""
LINE, TALL = 46, 24
"""Letters of a line in that width, and along the height of a panel."""
ACROSS = 3
"""Entries side by side in a wide figure's legend."""


def svg(figure: Figure) -> str:
    """The figure for a narrow screen, as SVG; it stays as it is."""
    buffer = io.StringIO()
    stacked(pickle.loads(pickle.dumps(figure))).savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def stacked(figure: Figure) -> Figure:
    """The figure itself, its panels one below the other, from left to right and row by row."""
    own = [axes for axes in figure.axes if axes.get_subplotspec() is not None]
    panels = [axes for axes in own if axes.axison]
    grids = {spec.get_gridspec() for axes in panels if (spec := axes.get_subplotspec())}
    rows, columns = grids.pop().get_geometry() if len(grids) == 1 else (1, 1)
    height = figure.get_figheight()
    if columns > 1:
        for unused in own:
            if unused not in panels:
                unused.remove()
        _numbered(panels, columns)
        height = len(panels) * min(height / rows, TALLEST)
        below = GridSpec(len(panels), 1, figure)
        for number, axes in enumerate(panels):
            axes.set_subplotspec(below[number])
    for axes in panels:
        _few_ticks(axes)
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


def _few_ticks(axes: Axes) -> None:
    """Leave room between what stands below a panel: fewer powers of ten and numbers, words aslant."""
    locator, texts = axes.xaxis.get_major_locator(), [text.get_text() for text in axes.get_xticklabels()]
    if isinstance(locator, LogLocator):
        locator.set_params(numticks=4)
    elif isinstance(locator, FixedLocator) and len("  ".join(texts)) > LINE:
        if max(map(len, texts)) > 4:
            axes.tick_params(axis="x", rotation=30)
        else:
            every = -(-len(texts) // 7)
            axes.set_xticks(axes.get_xticks()[every - 1 :: every], texts[every - 1 :: every])


def _words(figure: Figure) -> float:
    """Break the title into short lines and put a legend's entries below one another; the height this adds, inches."""
    title, added = figure.get_suptitle(), 0.0
    if title:
        lines = textwrap.fill(" ".join(title.split()), LINE)
        added += 0.2 * (lines.count("\n") - title.count("\n"))
        figure.suptitle(lines, x=0.01, horizontalalignment="left", fontsize="medium")
    for legend in list(figure.legends):
        handles = [handle for handle in legend.legend_handles if handle]
        labels = [text.get_text() for text in legend.get_texts()]
        added += ENTRY * (len(labels) - -(-len(labels) // ACROSS))
        legend.remove()
        figure.legend(handles, labels, loc="outside lower left", ncols=1, fontsize="small")
    return added
