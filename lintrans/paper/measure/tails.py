"""What is trained and measured at every level of tail."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from ...training.history import History
from ..budgets import CurvatureBudget, NoiseBudget, TailBudget
from ..claims.tails import Levels, problems_of
from ..judged import Tuning
from ..problems import PROBLEMS, SETTINGS
from ..protocol import judge_all
from .curvature import condition_numbers
from .noise import at_initialization

BATCHES = 4
"""Evaluation batches at a level, at most; the pair that claims are judged on has its own number."""


def levels(budget: TailBudget, curvature: CurvatureBudget, noise: NoiseBudget, device: str = "auto") -> Levels:
    """Train and measure every level; what other chapters have measured is found in the store."""
    histories: dict[str, History] = {}
    tunings: dict[str, Tuning] = {}
    tables: dict[str, pd.DataFrame] = {}
    known = [(setting.task, setting.model) for setting in SETTINGS.values()]
    for name in problems_of():
        setting = PROBLEMS[name]
        judged = judge_all(replace(budget.training, settings=(name,), clips=(setting.clip,)), device, ("tuned",))
        histories |= judged.tuned
        tunings |= judged.tunings
        own = replace(noise, settings=(name,))
        if (setting.task, setting.model) not in known:
            own = replace(own, seeds=min(noise.seeds, budget.noise_seeds), samples=budget.noise_samples)
        tables |= at_initialization(own)
    probes = replace(
        curvature,
        seeds=budget.training.seeds,
        first_seed=budget.training.first_seed,
        probes=budget.probes,
        batches=min(BATCHES, curvature.batches),
    )
    return Levels(histories, condition_numbers(histories, probes, "best"), tunings, tables)
