"""Every figure of the book, in one style, units on every axis: :mod:`.style`, then a module for each kind of figure.

Figures are transparent SVG in dark ink, byte for byte the same for the same numbers; the book's style sheet turns
their lightness round in dark mode. :func:`use` sets the style, once, at the top of a chapter.
"""

from __future__ import annotations

from .agreement import agreement
from .curvature import (
    condition_curves,
    forest,
    gain_curves,
    norms_scatter,
    smoothness_curves,
    speed_against_smoothness,
)
from .depth import typical_curves
from .rates import basin_bars, target_steps
from .sizes import size_grid
from .style import COLOURS, DASHES, WIDTH, use
from .tails import level_panels, survival_curves
from .training import loss_against_rate, loss_curves, one_layer_loss

__all__ = [
    "COLOURS",
    "DASHES",
    "WIDTH",
    "agreement",
    "basin_bars",
    "condition_curves",
    "forest",
    "gain_curves",
    "level_panels",
    "loss_against_rate",
    "loss_curves",
    "norms_scatter",
    "one_layer_loss",
    "size_grid",
    "smoothness_curves",
    "speed_against_smoothness",
    "survival_curves",
    "target_steps",
    "typical_curves",
    "use",
]
