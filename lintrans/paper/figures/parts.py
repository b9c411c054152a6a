"""What figures are made of: panels, axes, legends."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.scale import SymmetricalLogTransform
from matplotlib.ticker import NullFormatter, NullLocator, SymmetricalLogLocator

from .logarithmic import Labels, Numbers
from .narrow import ACROSS
from .style import GREY, LABELS, LARGEST, MARKERS, WIDTH, line_of

NO_RATE = "no best rate was found inside the grid: not measured"


def subplots(rows: int, columns: int, height: float, width: float = WIDTH, **options: Any) -> tuple[Figure, Any]:
    """A figure in the width of a page and its axes; a notebook shows it once, where a function returns it."""
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)
    plt.close(figure)
    return figure, axes


def panels(count: int, height: float, sharey: bool = True, columns: int = 0) -> tuple[Figure, list[Axes]]:
    """Panels in the width of a page: in a row, or in rows of so many columns, each of that height in inches."""
    across = min(columns or count, count)
    down = -(-count // across)
    width = WIDTH if count > 1 else 0.7 * WIDTH
    figure, axes = subplots(down, across, height * down, width, sharey=sharey, squeeze=False)
    for unused in axes.flat[count:]:
        unused.set_axis_off()
    return figure, list(axes.flat[:count])


def nothing(words: str = NO_RATE) -> Figure:
    """A figure that says why there is none, so that a page whose data are missing still has its place for it."""
    figure, (axes,) = panels(1, 1.0)
    axes.set_axis_off()
    axes.text(0.5, 0.5, words, ha="center", va="center")
    return figure


def by_seed(rows: pd.DataFrame, optimizer: str, values: str = "value", index: str = "step") -> pd.DataFrame:
    """One optimizer's values by step (rows) and seed (columns)."""
    return rows[rows["optimizer"] == optimizer].pivot(index=index, columns="seed", values=values)


def key(label: str, color: str = GREY, **style: Any) -> Line2D:
    """A line as an entry of a legend."""
    return Line2D([], [], label=label, color=color, **style)


def dot_key(label: str, marker: str, markersize: float, color: str = GREY, **style: Any) -> Line2D:
    """A marker as an entry of a legend."""
    return key(label, color, marker=marker, markersize=markersize, linestyle="none", **style)


def optimizer_keys(form: str = "{}", marked: bool = False, **style: Any) -> list[Any]:
    """The paper's optimizers as entries of a legend."""
    return [
        key(form.format(label), linewidth=1.8, marker=MARKERS[name] if marked else None, **line_of(name), **style)
        for name, label in LABELS.items()
    ]


def titled(figure: Figure, finding: str) -> Figure:
    """The figure under a line that says what is seen, from the left, where a phone shows it."""
    lines = textwrap.fill(finding[:1].upper() + finding[1:], 90)
    figure.suptitle(lines, x=0.01, horizontalalignment="left", fontsize="medium")
    return figure


def legend_below(figure: Figure, handles: list[Any]) -> Figure:
    """The figure with one legend for all panels, under them."""
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), ACROSS), fontsize="small")
    return figure


def log_limits(axes: Axes, values: npt.NDArray[np.float64]) -> None:
    """Limits for the vertical axis, to be made logarithmic next, around those `values` that can be drawn on it."""
    good = np.log10(values[(values > 0) & (values <= LARGEST)])
    if len(good):
        margin = 0.05 * np.ptp(good) + 0.02
        axes.set_ylim(10.0 ** max(good.min() - margin, -300), 10.0 ** min(good.max() + margin, 306))


def log_axis(axes: Axes, which: str, ticks: int = 5) -> None:
    """Make an axis logarithmic with few labels, so that they stay apart in a narrow panel."""
    axes.set_xscale("log") if which == "x" else axes.set_yscale("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(Numbers(numticks=ticks))
    axis.set_major_formatter(Labels())
    axis.set_minor_formatter(NullFormatter())
    if min(axis.get_view_interval()) <= 0:  # nothing was drawn that has a logarithm
        axes.set_xlim(1, 10) if which == "x" else axes.set_ylim(1, 10)


class Apart(SymmetricalLogLocator):
    """Marks of a signed logarithmic axis, less those whose labels would overlap the one before, seen from zero."""

    def __init__(self, linear: float) -> None:
        super().__init__(base=10, linthresh=linear)
        self.places = SymmetricalLogTransform(10, linear, 1)

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """See ``SymmetricalLogLocator``."""
        low, high = self.places.transform(np.array([vmin, vmax]))
        least, kept = 0.07 * abs(high - low), [0.0]
        for side in (1, -1):
            last = 0.0
            for tick in sorted((tick for tick in super().tick_values(vmin, vmax) if tick * side > 0), key=abs):
                place = abs(float(self.places.transform(np.array([tick]))[0]))
                if place - last >= least:
                    kept, last = [*kept, float(tick)], place
        return sorted(kept)


def signed_axis(axes: Axes, values: npt.NDArray[np.float64], ticks: int = 7) -> None:
    """Make the vertical axis logarithmic on both sides of zero, linear below the smallest tenth of the magnitudes."""
    magnitudes = np.abs(values[np.isfinite(values) & (values != 0)])
    if len(magnitudes):
        linear = float(np.quantile(magnitudes, 0.1))
        axes.set_yscale("symlog", linthresh=linear)
        locator = Apart(linear)
        locator.set_params(numticks=ticks)
        axes.yaxis.set_major_locator(locator)
        axes.yaxis.set_minor_locator(NullLocator())
    axes.axhline(0.0, color=GREY, linewidth=0.8)
