"""C10: the loss falls with depth, for both optimizers (Ahn et al. 2024)."""

from __future__ import annotations

import pandas as pd

from ..budgets import DepthBudget
from ..problems import PROBLEMS
from ..scales import LABELS
from .common import ARMS, Basis, judged_losses, rules_digest
from .depth import CHAPTER, NAMES, STEPS, Depths, contrast_case, losses_of, training_deviations
from .records import Verdict
from .rules import Keys, ratio_unit, rule
from .tails import contrast

CLAIM = "C10"
SENTENCE = "The loss falls with depth, for SGD and for Adam."
FIGURE = "fig-depth-gap"
READINGS = ("tuned",)
GROUP = "causes"
BASIS = Basis(tuple(NAMES.values()), ARMS)
STATISTIC = "end loss, shallower over deeper"


def losses(depths: Depths, layers: int, *together: int) -> pd.DataFrame | None:
    """End losses of one depth, at the horizon that it shares with others; None where it was not trained."""
    name, histories = NAMES[layers], depths.shared(layers, *together).histories
    return judged_losses(histories[name], PROBLEMS[name].task.zero_loss) if name in histories else None


def judge(scale: str, depths: Depths, budget: DepthBudget) -> Verdict:
    """The verdict, reading "tuned"."""
    units = []
    for shallow, deep in STEPS:
        tables = [losses(depths, layers, shallow, deep) for layers in (shallow, deep)]
        for optimizer, label in LABELS.items():
            above, below = (None if table is None else losses_of(table, optimizer) for table in tables)
            case = f"{label} from {contrast_case(shallow, deep)}"
            keys = Keys((NAMES[shallow], NAMES[deep]), None, optimizer)
            units.append(ratio_unit(case, STATISTIC, contrast(above, below), keys=keys))
    short = training_deviations(budget)
    return Verdict(CLAIM, "tuned", scale, CHAPTER, tuple(units), rule(units), short, rules_digest(__name__))


def log_losses(depths: Depths) -> pd.DataFrame:
    """For a figure, at the short horizon: columns layers, optimizer, seed, value (log of the end loss)."""
    histories = depths.short.histories
    rows = [
        (layers, optimizer, seed, value)
        for layers, name in NAMES.items()
        if name in histories
        for table in [judged_losses(histories[name], PROBLEMS[name].task.zero_loss)]
        for optimizer in LABELS
        for seed, value in losses_of(table, optimizer).items()
    ]
    return pd.DataFrame(rows, columns=["layers", "optimizer", "seed", "value"])
