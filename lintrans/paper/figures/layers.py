"""The figure of a Hessian's diagonal by the names of a module's parameters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from .parts import log_axis, subplots
from .style import DASHED, GREY, OTHERS

FLOOR = 1e-3
"""What is smaller than this share of the median counts as zero and stands at the left edge."""


def diagonal_by_layer(diagonal: Mapping[str, npt.NDArray[np.float64]], title: str = "") -> Figure:
    """Magnitudes of all entries, a row of dots a parameter with its median, and the median of all as a line."""
    rows = {name: np.abs(entries).ravel() for name, entries in diagonal.items()}
    middle = float(np.median(np.concatenate(list(rows.values()))))
    edge = FLOOR * middle
    figure, axes = subplots(1, 1, 1.0 + 0.3 * len(rows))
    for height, entries in enumerate(rows.values()):
        dots = np.maximum(entries, edge)
        axes.plot(dots, np.full(len(dots), height), "o", color=OTHERS[0], markersize=4, alpha=0.5)
        axes.plot(max(float(np.median(entries)), edge), height, "|", color="black", markersize=13, markeredgewidth=1.8)
    axes.axvline(middle, color=GREY, linewidth=1.0, linestyle=DASHED)
    axes.set_yticks(range(len(rows)), list(rows), fontsize="small")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("magnitude of the entry")
    log_axis(axes, "x")
    figure.suptitle(title)
    return figure
