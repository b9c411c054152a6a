"""C10: the loss falls with depth, for both optimizers (Ahn et al. 2024)."""

from __future__ import annotations

import pandas as pd

from ..budgets import DepthBudget
from ..scales import LABELS
from .common import ARMS, Basis, rules_digest
from .depth import (
    CHAPTER,
    NAMES,
    READINGS,
    STEPS,
    Depths,
    contrast,
    contrast_case,
    end_losses,
    losses_of,
    training_deviations,
)
from .records import Verdict
from .rules import Keys, Unit, agree, ratio_unit, rule

CLAIM = "C10"
SENTENCE = "The loss falls with depth, for SGD and for Adam."
FIGURE = "fig-depth-gap"
GROUP = "causes"
BASIS = Basis(tuple(NAMES.values()), ARMS)
STATISTICS = {
    "tuned": "end loss, shallower over deeper",
    "cooled": "loss after the cooldown, shallower over deeper",
}


def units_of(reading: str, depths: Depths) -> list[Unit]:
    """The cases of one reading: neighbouring depths, each optimizer."""
    units = []
    for shallow, deep in STEPS:
        trained = depths.shared(shallow, deep)
        tables = [end_losses(trained, layers, reading == "cooled") for layers in (shallow, deep)]
        for optimizer, label in LABELS.items():
            above, below = (None if table is None else losses_of(table, optimizer) for table in tables)
            case = f"{label} from {contrast_case(shallow, deep)}"
            keys = Keys((NAMES[shallow], NAMES[deep]), None, optimizer)
            units.append(ratio_unit(case, STATISTICS[reading], contrast(above, below), keys=keys))
    return units


def judge(reading: str, scale: str, depths: Depths, budget: DepthBudget) -> Verdict:
    """The verdict of one reading; the tuned one is robust where losses after the cooldown say the same."""
    units, short = units_of(reading, depths), training_deviations(budget)
    checks = {"cooled": agree(units, units_of("cooled", depths))} if reading == "tuned" else {}
    return Verdict(CLAIM, reading, scale, CHAPTER, tuple(units), rule(units), short, rules_digest(__name__), checks)


def log_losses(depths: Depths) -> pd.DataFrame:
    """For a figure, at the short horizon: columns layers, reading, optimizer, seed, value (log of the loss)."""
    rows = [
        (layers, reading, optimizer, seed, value)
        for layers in NAMES
        for reading in READINGS
        if (table := end_losses(depths.short, layers, reading == "cooled")) is not None
        for optimizer in LABELS
        for seed, value in losses_of(table, optimizer).items()
    ]
    return pd.DataFrame(rows, columns=["layers", "reading", "optimizer", "seed", "value"])


__all__ = ["CHAPTER", "CLAIM", "FIGURE", "READINGS", "SENTENCE", "judge"]
