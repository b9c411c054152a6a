"""What claims C9 to C12 are judged on: trainings of 2 to 8 layers, R_med along them, noise at initialization."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from ..budgets import CurvatureBudget, DepthBudget, TuningBudget
from ..claims.depth import Depths, Trained
from ..protocol import judge_all, with_seeds_and_steps
from . import curvature
from . import noise as gradient_noise


def changed(budget: DepthBudget, seeds: int = 0, steps: int = 0) -> DepthBudget:
    """A budget with other seeds, of trainings and of initializations, or another horizon; 0 keeps the scale's own."""
    long, short = (with_seeds_and_steps(each, seeds, steps) for each in (budget.long, budget.short))
    curvatures = (budget.long_curvature, budget.short_curvature)
    long_curvature, short_curvature = (replace(each, seeds=seeds or each.seeds) for each in curvatures)
    shallow, deep = (gradient_noise.changed(each, seeds) for each in (budget.shallow_noise, budget.deep_noise))
    return replace(
        budget, long=long, short=short, long_curvature=long_curvature, short_curvature=short_curvature,
        shallow_noise=shallow, deep_noise=deep,
    )  # fmt: skip


def trainings(budget: DepthBudget, device: str = "auto") -> Depths:
    """Tune and train all depths at both horizons and measure R_med along the trainings."""

    def trained(training: TuningBudget, probed: CurvatureBudget) -> Trained:
        judged = judge_all(training, device)
        return Trained(judged, curvature.condition_numbers(judged.tuned, probed, "best"), training, probed)

    return Depths(trained(budget.long, budget.long_curvature), trained(budget.short, budget.short_curvature))


def noise(budget: DepthBudget) -> dict[str, pd.DataFrame]:
    """Tables of the noise at initialization, by problem: no further batch sizes, no trainings."""
    both = (gradient_noise.at_initialization(each) for each in (budget.shallow_noise, budget.deep_noise))
    return {name: table for tables in both for name, table in tables.items()}


def worst_prompts(depths: Depths) -> dict[str, pd.DataFrame]:
    """What the worst prompt of each batch has of its loss and trace, at the last probe of the short horizon."""
    last = replace(depths.short.curvature, probes=depths.short.curvature.probes[-1:])
    return curvature.worst_prompts(depths.short.histories, last, "best")
