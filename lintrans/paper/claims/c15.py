"""C15: the behaviours also appear on nonlinear regression (Ahn et al. 2024, the camera-ready's own addition).

A ReLU teacher makes the features, a trained ReLU network embeds them for a full-form linear Transformer, and C1 to C5
are judged there by their own statistics, at the rates of the paper's public notebook. The notebook measures the first
four, which decide; the fifth is shown beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from ...training.history import History
from ..budgets import SizeBudget
from ..judged import COARSE_LOSS
from ..problems import NONLINEAR
from ..scales import NONLINEAR_PROTOCOL
from . import c1, c2, c3, c4, c5
from .c9 import ORDER
from .c16 import FEATURES, Behaviour, c3_units
from .common import FIXED_BATCH, Basis, curvature_deviations, deviations, floor, rules_digest
from .records import Verdict
from .rules import Keys, State, Unit, agree, rule

CLAIM = "C15"
SENTENCE = "The behaviours also appear on nonlinear regression, with a trained network before the Transformer."
CHAPTER = "nonlinear"
FIGURE = "fig-nonlinear"
READINGS = ("published",)
GROUP = "causes"
BASIS = Basis((NONLINEAR.name,))
NAME = NONLINEAR.name
CURVE = COARSE_LOSS
DECIDING = ("C1", "C2", "C3", "C4")
"""The behaviours that the paper's notebook measures; the verdict is over these."""
COOLED = "cooled"
USED = "r_used"
"""R_med without structural zeros."""
FIRST_HALF = "C4 by its first half: its second half relates a grid of rates, and here each optimizer has one"


@dataclass(frozen=True)
class Measured:
    """All that is judged: the training, the noise at initialization, R_med, curvature along steps, norms (Adam's)."""

    history: History
    noise: pd.DataFrame
    conditions: pd.DataFrame
    steps: pd.DataFrame
    norms: pd.DataFrame


def behaviours(measured: Measured, budget: SizeBudget) -> dict[str, Behaviour]:
    """Each behaviour with the units of its own claim, by claim."""
    keys = {claim: Keys((NAME,), claim=claim) for claim in FEATURES}
    history, lowest, part = measured.history, floor(measured.history), keys["C1"]._replace(part=COOLED)
    settled = budget.curvature.settled
    [cooled] = c1.gap_units("C1, cooled", c1.compare(NAME, history, lowest, cooled=True), part, cooled=True)
    found: dict[str, Sequence[Unit]] = {
        "C1": (*c1.gap_units("C1", c1.compare(NAME, history, lowest), keys["C1"]), replace(cooled, decides=False)),
        "C2": c2.noise_units("C2", measured.noise, keys["C2"]),
        "C3": [*c3_units("C3", measured.conditions, budget, keys["C3"]), *_c3_on_fixed(measured, budget, keys["C3"])],
        "C4": [
            c4.share_unit(f"C4, {FIXED_BATCH}" if fixed else "C4", measured.steps, settled, own, fixed)
            for own, fixed in ((keys["C4"], False), (keys["C4"]._replace(part=FIXED_BATCH), True))
        ],
        "C5": c5.norm_units("C5", measured.norms, keys["C5"]),
    }
    return {claim: Behaviour(tuple(units)) for claim, units in found.items()}


def _c3_on_fixed(measured: Measured, budget: SizeBudget, keys: Keys) -> list[Unit]:
    """R_med under the public convention on the fixed batch alone."""
    units = []
    for step in budget.curvature.judged:
        rows = measured.conditions[measured.conditions["step"] == step]
        own = keys._replace(step=step, convention=c3.PUBLIC, part=FIXED_BATCH)
        case = f"C3, step {step:,}, {FIXED_BATCH}"
        units.append(c3.ratio_unit(rows, c3.PUBLIC, case, f"{c3.RATIO}, {FIXED_BATCH}", keys=own, fixed=True))
    return units


def _favour(unit: Unit) -> tuple[int, float]:
    return ORDER.index(unit.state), 0.0 if unit.interval is None else -unit.interval.p


def unit_of(claim: str, behaviour: Behaviour) -> Unit:
    """One behaviour as one unit: of those that decide it, the least favourable."""
    case, deciding = f"{claim}: {FEATURES[claim]}", [unit for unit in behaviour.units if unit.decides]
    keys = Keys((NAME,), claim=claim)
    if not deciding:
        return Unit(case, FEATURES[claim], None, State.MISSING, claim in DECIDING, keys)
    weakest = min(deciding, key=_favour)
    words = f"{weakest.statistic}, the weaker of {len(deciding)} steps" if len(deciding) > 1 else weakest.statistic
    return Unit(case, words, weakest.interval, weakest.state, claim in DECIDING, keys)


def _parts(behaviour: Behaviour) -> list[Unit]:
    """What stands beside a behaviour's unit: the further statistics, and those that it is the weakest of."""
    several = sum(unit.decides for unit in behaviour.units) > 1
    return [unit for unit in behaviour.units if several or not unit.decides]


def checks_of(found: Mapping[str, Behaviour]) -> dict[str, bool]:
    """Whether C1 says the same after a cooldown, C3 without structural zeros, C3 and C4 on the fixed batch."""
    gap, condition, curvature = (found.get(claim, Behaviour(())).units for claim in ("C1", "C3", "C4"))
    both = (*condition, *curvature)
    pairs = {
        "cooled": ([unit for unit in gap if unit.decides], [unit for unit in gap if unit.keys.part == COOLED]),
        "without structural zeros": (
            [unit for unit in condition if unit.decides],
            [unit for unit in condition if unit.keys.convention == USED],
        ),
        FIXED_BATCH: (
            [unit for unit in both if unit.decides],
            [unit for unit in both if unit.keys.part == FIXED_BATCH],
        ),
    }
    return {words: agree(*each) for words, each in pairs.items() if len(each[0]) == len(each[1]) > 0}


def judge(scale: str, found: Mapping[str, Behaviour], budget: SizeBudget) -> Verdict:
    """The verdict, reading "published": reproduced if the first four units say YES."""
    units = [unit_of(claim, found.get(claim, Behaviour(()))) for claim in FEATURES]
    beside = [replace(unit, decides=False) for behaviour in found.values() for unit in _parts(behaviour)]
    asked = NONLINEAR_PROTOCOL
    short = (
        *deviations(budget.training, asked.training, tuned=False),
        *curvature_deviations(budget.curvature, "judged", "spectral", asked=asked.curvature),
        *(f"noise: {text}" for text in c2.deviations(budget.noise, asked.noise)),
        FIRST_HALF,
    )
    digest = rules_digest(__name__)
    whole, checks = (*units, *beside), checks_of(found)
    return Verdict(CLAIM, "published", scale, CHAPTER, whole, rule(units), short, digest, checks)
