"""C16: (L = 3, d = 5) is the minimally complex setting that recovers all the features (Ahn et al. 2024).

The five behaviours of C1 to C5 are judged on every size up to that of Setting 1, each by its own claim's rule, at each
optimizer's best rate; the cooled reading takes C1 by the loss after the cooldown and the rest as it is. The claim fails
where a smaller size has all that the largest has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from ...training.history import History
from ..budgets import SizeBudget
from ..judged import Tuning
from ..problems import PROBLEMS, SIZES
from ..scales import SIZE_PROTOCOL
from . import c1, c2, c3, c4, c5
from .common import Basis, curvature_deviations, deviations, floor, rules_digest
from .records import Verdict
from .rules import Keys, Ruling, State, Unit, Word, agree, rule

CLAIM = "C16"
SENTENCE = "Three layers and dimension 5 are the minimally complex setting that recovers all the features."
CHAPTER = "smaller"
FIGURE = "fig-smaller"
READINGS = ("tuned", "cooled")
GROUP = "causes"
BASIS = Basis(tuple(SIZES.values()))

FEATURES = {
    "C1": "Adam ends lower",
    "C2": "heavy-tailed noise",
    "C3": "lower R_med",
    "C4": "lower v'Hv",
    "C5": "norms of H and g",
}
"""The five behaviours, in a word or two each."""
LARGEST = (3, 5)
CONSTANT = "not measurable: the Hessian is constant"
CURVED = ("C3", "C5")
"""Behaviours that no number can be given for where the Hessian does not change."""
FEW_DIRECTIONS = 3.0
"""Effective directions of the noise below which E says little: N(0, C) itself then has a wide spread of norms, with a
99% quantile of more than twice the median, which a tail has to exceed."""
POWERLESS = "so few directions of noise that E can hardly show a tail"
FIRST_HALF = (
    "C4 by its first half: its second half relates a grid of rates over several settings, and is not measured by size"
)
STRENGTH = {Word.REPRODUCED: 2, Word.PARTLY: 1, Word.NOT: 0}
"""How much of a behaviour a verdict grants; none where it is undecided or not measured."""

Size = tuple[int, int]


def title(size: Size) -> str:
    """A size in words: "L = 2, d = 5"."""
    return f"L = {size[0]}, d = {size[1]}"


@dataclass(frozen=True)
class Behaviour:
    """One behaviour at one size.

    Attributes:
        units: what its claim's statistic says there, those that decide and those beside.
        undefined: it cannot be measured, since the Hessian is constant.
    """

    units: tuple[Unit, ...]
    undefined: bool = False

    @property
    def ruling(self) -> Ruling:
        """The verdict by the claim's own rule over the units of this size."""
        return rule(self.units)

    @property
    def strength(self) -> int | None:
        """2 where the behaviour is reproduced, 1 in part, 0 where it is not there, None where that is not known."""
        return STRENGTH.get(self.ruling.word)

    @property
    def missing(self) -> bool:
        """Not measured at this scale."""
        measured = {unit.state for unit in self.units if unit.decides}
        return not self.undefined and (not measured or State.MISSING in measured)

    @property
    def powerless(self) -> bool:
        """Whether the statistic could hardly have shown it."""
        return any(POWERLESS in unit.remarks for unit in self.units if unit.decides)


Table = Mapping[Size, Mapping[str, Behaviour]]


@dataclass(frozen=True)
class Measured:
    """All that the sizes are judged on, by problem; a problem without an interior best rate has noise alone."""

    histories: dict[str, History]
    tunings: dict[str, Tuning]
    noise: dict[str, pd.DataFrame]
    conditions: dict[str, pd.DataFrame]
    steps: dict[str, pd.DataFrame]
    norms: dict[str, pd.DataFrame]


def constant_hessian(name: str) -> bool:
    """Whether the loss is quadratic: one sparse layer predicts s'Qx, and its P has no effect."""
    model = PROBLEMS[name].model
    return model.parameter_shape[0] == 1


def behaviours(measured: Measured, budget: SizeBudget, reading: str = "tuned") -> dict[Size, dict[str, Behaviour]]:
    """What each size has of each behaviour; the readings differ in C1 alone."""
    cooled = reading == "cooled"
    return {size: behaviours_of(title(size), name, measured, budget, cooled) for size, name in SIZES.items()}


def few_directions(table: pd.DataFrame) -> bool:
    """Whether noise spreads over so few directions that E has no power (median over initializations)."""
    return bool(table["directions"].median() < FEW_DIRECTIONS)


def behaviours_of(
    case: str, name: str, measured: Measured, budget: SizeBudget, cooled: bool = False
) -> dict[str, Behaviour]:
    """What one problem has of each behaviour, its units called `case`."""
    found: dict[str, Sequence[Unit]] = {}
    keys = {claim: Keys((name,), claim=claim) for claim in FEATURES}
    if name in measured.histories:
        history = measured.histories[name]
        found["C1"] = c1.gap_units(case, c1.compare(name, history, floor(history), cooled), keys["C1"], cooled)
    if name in measured.noise:
        excess, further = c2.noise_units(case, measured.noise[name], keys["C2"])
        remarks = (POWERLESS,) if few_directions(measured.noise[name]) else ()
        found["C2"] = replace(excess, remarks=remarks), further
    if name in measured.conditions:
        found["C3"] = c3_units(case, measured.conditions[name], budget, keys["C3"])
    if name in measured.steps:
        found["C4"] = (c4.share_unit(case, measured.steps[name], budget.curvature.settled, keys["C4"]),)
    if name in measured.norms:
        found["C5"] = c5.norm_units(case, measured.norms[name], keys["C5"])
    made = {}
    for claim in FEATURES:
        undefined = claim in CURVED and constant_hessian(name)
        nothing = Unit(case, CONSTANT if undefined else FEATURES[claim], None, State.MISSING, keys=keys[claim])
        made[claim] = Behaviour(tuple(found.get(claim, (nothing,))), undefined)
    return made


def c3_units(case: str, frame: pd.DataFrame, budget: SizeBudget, keys: Keys) -> list[Unit]:
    """R_med under the public convention, which decides, at every judged step; without structural zeros beside it."""
    units = []
    for step in budget.curvature.judged:
        rows = frame[frame["step"] == step]
        for metric in (c3.PUBLIC, "r_used"):
            words, decides = c3.CONVENTIONS[metric], metric == c3.PUBLIC
            place = f"{case}, step {step:,}" + ("" if decides else f", {words}")
            own = keys._replace(step=step, convention=metric)
            units.append(c3.ratio_unit(rows, metric, place, f"{c3.RATIO}, {words}", decides, own))
    return units


def size_unit(size: Size, table: Table) -> Unit:
    """Whether a size lacks something that the largest has; of the largest, whether it has all."""
    own = table[size]
    had = [claim for claim, behaviour in own.items() if (behaviour.strength or 0) > 0]
    words, keys = f"behaviours shown: {', '.join(had) or 'none'}", Keys((SIZES[size],))
    if any(behaviour.missing for behaviour in own.values()):
        return Unit(title(size), words, None, State.MISSING, keys=keys)
    if size == LARGEST:
        strengths = [behaviour.strength for behaviour in own.values()]
        if all(strength == STRENGTH[Word.REPRODUCED] for strength in strengths):
            state = State.YES
        elif had:
            state = State.WEAK
        else:
            state = State.UNDECIDED if None in strengths else State.NULL
        return Unit(title(size), words, None, state, keys=keys)
    if lacks := lacking(size, table):
        doubt = (f"lacks {' and '.join(lacks)} alone: {POWERLESS}",) if all(own[c].powerless for c in lacks) else ()
        return Unit(title(size), words, None, State.YES, keys=keys, remarks=doubt)
    return Unit(title(size), words, None, State.UNDECIDED if unsettled(size, table) else State.REV, keys=keys)


def _strengths(size: Size, table: Table) -> dict[str, tuple[int | None, int | None]]:
    return {claim: (table[size][claim].strength, table[LARGEST][claim].strength) for claim in FEATURES}


def lacking(size: Size, table: Table) -> list[str]:
    """Behaviours that a size has less of than the largest, whatever is still open."""
    pairs = _strengths(size, table)
    return [claim for claim, (own, least) in pairs.items() if own is not None and least is not None and own < least]


def unsettled(size: Size, table: Table) -> list[str]:
    """Behaviours of which it is open whether a size has as much as the largest."""
    return [
        claim
        for claim, (own, least) in _strengths(size, table).items()
        if (own is None and least != 0) or (least is None and own is not None and own < max(STRENGTH.values()))
    ]


def ruling_of(units: Sequence[Unit], table: Table) -> Ruling:
    """The claim's verdict from :func:`size_unit` of every size.

    An input missing: not measurable here. The largest size has nothing, or a smaller one has all that it has: not
    reproduced. All of it, and every smaller size lacks some: reproduced. Some of it, and every smaller size lacks some
    of that: partly, naming the behaviours. Else not measurable here.
    """
    states = {unit.keys.problem: unit.state for unit in units}
    whole = states.pop(SIZES[LARGEST])
    if State.MISSING in (whole, *states.values()):
        return Ruling(Word.UNMEASURABLE)
    if whole is State.UNDECIDED:
        return Ruling(Word.UNMEASURABLE, undecided=True)
    if whole is State.NULL or State.REV in states.values():
        return Ruling(Word.NOT)
    if any(state is not State.YES for state in states.values()):
        return Ruling(Word.UNMEASURABLE, undecided=True)
    if whole is State.YES:
        return Ruling(Word.REPRODUCED)
    return Ruling(Word.PARTLY, tuple(claim for claim, found in table[LARGEST].items() if (found.strength or 0) > 0))


def judge(reading: str, scale: str, tables: Mapping[str, Table], budget: SizeBudget) -> Verdict:
    """The verdict of one reading, from the behaviours under each."""
    table = tables[reading]
    units = [size_unit(size, table) for size in SIZES]
    beside = [
        replace(unit, case=f"{claim}: {unit.case}", decides=False)
        for found in table.values()
        for claim, behaviour in found.items()
        for unit in behaviour.units
    ]
    asked = SIZE_PROTOCOL
    short = (
        *deviations(budget.training, asked.training),
        *curvature_deviations(budget.curvature, "judged", "spectral"),
        *(f"noise: {text}" for text in c2.deviations(budget.noise, asked.noise)),
        FIRST_HALF,
    )
    checks = {}
    if reading == "tuned" and "cooled" in tables:
        checks["cooled"] = agree(units, [size_unit(size, tables["cooled"]) for size in SIZES])
    whole, digest = (*units, *beside), rules_digest(__name__)
    return Verdict(CLAIM, reading, scale, CHAPTER, whole, ruling_of(units, table), short, digest, checks)
