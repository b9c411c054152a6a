"""One style for every figure: colours that colour-blind readers tell apart, one width, vector output.

Figures are transparent SVG in dark ink, byte for byte the same for the same numbers; the book's style sheet turns
their lightness round in dark mode. :func:`use` sets the style, once, at the top of a chapter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import seaborn as sns
from matplotlib.figure import Figure

from ...training.optimizers import OTHERS as OTHERS  # figures take it from here
from ...training.optimizers import Looks
from . import data, logarithmic, narrow

LABELS, COLOURS, MARKERS, DASHES = map(Looks, ("label", "colour", "marker", "dashes"))
GREY = "#555555"
WIDTH = 7.6
"""Width of a figure in inches, that of a page's text."""
LINES = ((1.0, 0.0), (4.0, 1.5), (1.0, 1.2), (5.0, 1.2, 1.0, 1.2))
"""Dashes of several lines, so that colour alone distinguishes none."""
DOTTED, DASHED = (0, (1, 2)), (0, (4, 4))
LARGEST = 1e305
"""Largest value that is drawn: float64's own largest numbers overflow in matplotlib's arithmetic."""

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
    """Set the book's style for this process and, in a notebook, SVG without dates with numbers and a narrow copy."""
    sns.set_theme(context="notebook", style="ticks", font_scale=0.9, rc=STYLE)
    logarithmic.use()
    try:
        from IPython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]  # IPython's
        for kind, made in (("text/csv", data.csv), (narrow.KIND, narrow.svg)):
            shell.display_formatter.formatters[kind] = _beside(kind, made)


def _beside(kind: str, made: Callable[[Figure], str]) -> Any:
    """What IPython keeps beside a picture; it forgets what is registered by type whenever formats are set."""
    from IPython.core.formatters import BaseFormatter

    class Beside(BaseFormatter):
        def __call__(self, shown: Any) -> str | None:
            return made(shown) if isinstance(shown, Figure) else None

    return Beside(format_type=kind)


def line_of(optimizer: Any) -> dict[str, Any]:
    """Colour and dashes of an optimizer's line."""
    return {"color": COLOURS[str(optimizer)], "dashes": DASHES[str(optimizer)]}
