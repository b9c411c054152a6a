"""One style for every figure: colours that colour-blind readers tell apart, one width, vector output.

Figures are transparent SVG in dark ink, byte for byte the same for the same numbers; the book's style sheet turns
their lightness round in dark mode. :func:`use` sets the style, once, at the top of a chapter.
"""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullFormatter, NullLocator, SymmetricalLogLocator

from ...training.optimizers import OTHERS as OTHERS  # figures take it from here
from ...training.optimizers import Looks

COLOURS, MARKERS, DASHES = Looks("colour"), Looks("marker"), Looks("dashes")
GREY = "#555555"
WIDTH = 7.6
"""Width of a figure in inches, that of a page's text."""

STYLE: dict[str, Any] = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "savefig.bbox": "tight",
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#b0b0b0",
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "axes.titlesize": "medium",
    "svg.fonttype": "path",
    "svg.hashsalt": "lintrans",
    "text.usetex": False,
}


def use() -> None:
    """Set the book's style for this process and, in a notebook, SVG output without dates."""
    sns.set_theme(context="notebook", style="ticks", font_scale=0.9, rc=STYLE)
    try:
        from IPython import get_ipython
    except ImportError:
        return
    if get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]


def panels(count: int, height: float, sharey: bool = True, columns: int = 0) -> tuple[Figure, list[Axes]]:
    """Panels in the width of a page: in a row, or in rows of so many columns, each of that height in inches."""
    width = WIDTH if count > 1 else 0.7 * WIDTH
    across = min(columns or count, count)
    down = -(-count // across)
    size = (width, height * down)
    figure, axes = plt.subplots(down, across, figsize=size, sharey=sharey, squeeze=False, layout="constrained")
    plt.close(figure)  # a notebook shows the figure a function returns, once
    for unused in axes.flat[count:]:
        unused.set_axis_off()
    return figure, list(axes.flat[:count])


def nothing(words: str) -> Figure:
    """A figure that says why there is none, so that a page whose data are missing still has its place for it."""
    figure, (axes,) = panels(1, 1.0)
    axes.set_axis_off()
    axes.text(0.5, 0.5, words, ha="center", va="center")
    return figure


def legend_below(figure: Figure, handles: list[Any]) -> None:
    """One legend for all panels, under them."""
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3), fontsize="small")


LARGEST = 1e305
"""Largest value that is drawn: float64's own largest numbers overflow in matplotlib's arithmetic."""


class Decades(LogLocator):
    """Powers of ten that float64 holds; of an axis that ends above 1e250 ``LogLocator`` asks for others too."""

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """See ``LogLocator``."""
        with np.errstate(over="ignore"):
            return [float(tick) for tick in super().tick_values(vmin, vmax) if np.isfinite(tick)]


def log_limits(axes: Axes, values: npt.NDArray[np.float64]) -> None:
    """Limits for the vertical axis, to be made logarithmic next, around those `values` that can be drawn on it."""
    good = np.log10(values[(values > 0) & (values <= LARGEST)])
    if len(good):
        margin = 0.05 * np.ptp(good) + 0.02
        axes.set_ylim(10.0 ** max(good.min() - margin, -300), 10.0 ** min(good.max() + margin, 306))


def log_axis(axes: Axes, which: str, ticks: int = 5) -> None:
    """Make an axis logarithmic with few labels, so that they stay apart in a narrow panel."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set_xscale("log") if which == "x" else axes.set_yscale("log")
    axis.set_major_locator(Decades(numticks=ticks))
    axis.set_minor_formatter(NullFormatter())
    low, high = sorted(axis.get_view_interval())
    if low > 0 and high < 10 * low:  # no power of ten in sight: label what there is
        axis.set_minor_formatter(LogFormatterSciNotation(labelOnlyBase=False, minor_thresholds=(2, 0.6)))


def signed_axis(axes: Axes, values: npt.NDArray[np.float64], ticks: int = 7) -> None:
    """Make the vertical axis logarithmic on both sides of zero, linear below the smallest tenth of the magnitudes."""
    magnitudes = np.abs(values[np.isfinite(values) & (values != 0)])
    if len(magnitudes):
        linear = float(np.quantile(magnitudes, 0.1))
        axes.set_yscale("symlog", linthresh=linear)
        locator = SymmetricalLogLocator(base=10, linthresh=linear)
        locator.set_params(numticks=ticks)
        axes.yaxis.set_major_locator(locator)
        axes.yaxis.set_minor_locator(NullLocator())
    axes.axhline(0.0, color=GREY, linewidth=0.8)
