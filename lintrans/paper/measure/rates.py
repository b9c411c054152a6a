"""All searches for the best rates in the paper's settings, and the trainings judged there."""

from __future__ import annotations

from dataclasses import replace

from ..budgets import TuningBudget
from ..claims.rates import Searches
from ..judged import Judged
from ..problems import SETTINGS
from ..protocol import judge_all, tune_all


def searches(budget: TuningBudget, device: str = "auto") -> Searches:
    """Search and train every setting of the paper; what other chapters have is found in the store."""
    every = tuple(SETTINGS)
    rest = tuple(name for name in every if name not in budget.settings)
    first, second = (judge_all(each, device) for each in (budget, replace(budget, settings=rest)))
    histories = {reading: first.histories[reading] | second.histories[reading] for reading in ("published", "tuned")}
    short = tune_all(replace(budget, settings=every, steps=budget.screening), device)
    return Searches(short, Judged(histories, first.tunings | second.tunings))
