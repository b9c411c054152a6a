"""Every figure of the book, in one style, units on every axis: a module for each kind of figure."""

from __future__ import annotations

from .adaptivity import predictors, ranked, shares_closed
from .agreement import agreement, twice_means
from .cases import Html, case_forest
from .curvature import (
    condition_curves,
    forest,
    gain_curves,
    norms_scatter,
    smoothness_curves,
    speed_against_smoothness,
    split_curves,
)
from .depth import typical_curves
from .parts import nothing, titled
from .practice import (
    distance_bars,
    effect_matrix,
    gap_panels,
    layer_ratios,
    noise_dots,
    norm_panels,
    smoothness_panels,
)
from .rates import basin_bars, target_steps
from .sizes import size_grid
from .style import COLOURS, DASHES, WIDTH, use
from .tails import balance, level_panels, survival_curves
from .training import gap_curves, loss_against_rate, loss_curves, one_layer_loss, side_by_side

__all__ = [
    "COLOURS", "DASHES", "WIDTH", "Html", "agreement", "balance", "basin_bars", "case_forest", "condition_curves",
    "distance_bars", "effect_matrix", "forest", "gain_curves", "gap_curves", "gap_panels", "layer_ratios",
    "level_panels", "loss_against_rate", "loss_curves", "noise_dots", "norm_panels", "norms_scatter", "nothing",
    "one_layer_loss", "predictors", "ranked", "shares_closed", "side_by_side", "size_grid", "smoothness_curves",
    "smoothness_panels", "speed_against_smoothness", "split_curves", "survival_curves", "target_steps", "titled",
    "twice_means", "typical_curves", "use",
]  # fmt: skip
