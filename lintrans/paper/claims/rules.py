"""From an interval to a state, from states to a verdict: the rules' second edition.

Ratios r are turned so that r > 1 agrees with the paper. ``RULES`` says the same in words, for the book.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import pandas as pd

from ...statistics import FEWEST_FLIPS, Interval, equivalent, holm

MARGIN = 1.25
"""A ratio that matters; its inverse bounds the equivalence interval, 0.8 to 1.25."""
SMALL = 0.9
"""Ratios between this and its inverse are no difference, whatever the seeds say."""
LEAST_CORRELATION = 0.3
"""A rank correlation that matters."""
THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.75, 1 / MARGIN, SMALL, 1.0, MARGIN)
"""What an estimate or the end of an interval is compared with."""
LEVEL = 0.05
EDITION = 2
"""Of these rules; verdicts of the first are kept beside those of the second."""
NO_INTERVAL = Interval(math.nan, math.nan, math.nan, math.nan, 0)


class State(StrEnum):
    """What one unit (a setting, a step, ...) says."""

    YES = "YES"
    WEAK = "WEAK"
    NULL = "NULL"
    REV = "REV"
    UNDECIDED = "UNDECIDED"
    MISSING = "MISSING"


class Word(StrEnum):
    """A claim's verdict."""

    REPRODUCED = "reproduced"
    PARTLY = "partly reproduced"
    NOT = "not reproduced"
    UNMEASURABLE = "not measurable here"


RULES = {
    State.YES: "the interval lies above 1 and the ratio is at least 1.25",
    State.WEAK: "the interval lies above 1, the ratio is below 1.25",
    State.NULL: "the interval lies inside 0.9 to 1.11, or inside 0.8 to 1.25 and none of the others holds",
    State.REV: "the interval lies below 1: the opposite of the claim",
    State.UNDECIDED: "none of these, or the t interval and the sign-flip test disagree, or only a bound is known",
    State.MISSING: "not measured at this scale",
}


def rules_in_words() -> str:
    """The states of a ratio as a list in Markdown."""
    return "\n".join(f"- {state}: {words};" for state, words in RULES.items()).removesuffix(";") + "."


def _state(found: Interval | None, null: float, matters: float, alike: tuple[float, float]) -> State:
    """State of any interval: against `null`, from `matters` on a YES, inside `alike` no difference.

    A difference that the sign-flip test does not confirm is none, and decides nothing.
    """
    if found is None or math.isnan(found.estimate):
        return State.MISSING
    if math.isnan(found.low):
        return State.UNDECIDED
    if not found.low <= null <= found.high:
        if found.two_kinds:
            return State.UNDECIDED
        return State.REV if found.high < null else State.YES if found.estimate >= matters else State.WEAK
    return State.NULL if equivalent(found, *alike) else State.UNDECIDED


def ratio_state(ratio: Interval | None) -> State:
    """State of a unit whose statistic is a ratio; of a bound only what it decides alone."""
    state = _state(ratio, 1.0, MARGIN, (1 / MARGIN, MARGIN))
    if ratio is None or state is State.MISSING:
        return state
    if ratio.bound:
        lower, upper = ratio.bound == ">=" and state is State.YES, ratio.bound == "<=" and ratio.high < SMALL
        return state if lower or upper else State.UNDECIDED
    return State.NULL if equivalent(ratio, SMALL, 1 / SMALL) else state


def share_state(share: Interval | None) -> State:
    """State of a unit whose statistic is the share of points at which the claim holds; 0.5 means no difference."""
    return _state(share, 0.5, 0.75, (0.4, 0.6))


def correlation_state(correlation: Interval | None) -> State:
    """State of a unit whose statistic is a rank correlation that the claim says is positive."""
    return _state(correlation, 0.0, LEAST_CORRELATION, (-0.2, 0.2))


class Keys(NamedTuple):
    """What a case is about, for code to read; its text is for people.

    Attributes:
        problems: names of the problems that it speaks of.
        step: of the training.
        optimizer: "sgd" or "adam".
        convention: which of several ways to measure, such as the metrics of R_med.
        part: which of several statistics of one case, such as "steps" beside the end loss.
        claim: whose statistic it is, where a claim judges several behaviours.
    """

    problems: tuple[str, ...] = ()
    step: int | None = None
    optimizer: str | None = None
    convention: str | None = None
    part: str | None = None
    claim: str | None = None

    @property
    def problem(self) -> str | None:
        """The only problem; None where there are none or several."""
        return self.problems[0] if len(self.problems) == 1 else None


NO_KEYS = Keys()


@dataclass(frozen=True)
class Unit:
    """One case of a claim with its statistic.

    Attributes:
        case: "setting 2", "setting 2, step 750", ...
        statistic: what was measured, in words.
        interval: None where it was not measured.
        decides: False for a statistic that is shown beside the one the rule reads.
        keys: what the case is about.
        remarks: what else a reader has to know, beside what the interval says.
    """

    case: str
    statistic: str
    interval: Interval | None
    state: State
    decides: bool = True
    keys: Keys = NO_KEYS
    remarks: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader has to know beside the state."""
        found, own = list(self.remarks), self.interval
        if own is None:
            return self.remarks
        if own.two_kinds:
            found.append(f"two kinds of runs ({own.above} of {own.n} above)")
        if own.bound:
            found.append({">=": "lower bound", "<=": "upper bound"}.get(own.bound, "no bound either way"))
        if 0 < own.n < FEWEST_FLIPS:
            found.append(f"few seeds ({own.n})")
        return tuple(found)


def ratio_unit(case: str, statistic: str, ratio: Interval | None, decides: bool = True, keys: Keys = NO_KEYS) -> Unit:
    """A unit whose statistic is a ratio, with the state that this says; missing where it is None."""
    return Unit(case, statistic, ratio, ratio_state(ratio), decides, keys)


_AGREEING = (State.YES, State.WEAK)
_SIDES = {State.YES: 1, State.WEAK: 1, State.NULL: 0, State.REV: -1}


def agree(judged: Iterable[Unit], otherwise: Iterable[Unit]) -> bool:
    """Whether each judged unit that decides anything says the same, agree, alike or reversed, judged otherwise.

    YES and WEAK say the same. Both come in the same order. A judged unit that is open decides nothing; one that is open
    otherwise is not confirmed, and so a disagreement; one that was not measured otherwise is none.
    """
    pairs = [
        (_SIDES.get(one.state), _SIDES.get(other.state), other.state)
        for one, other in zip(judged, otherwise, strict=True)
    ]
    return all(one == other for one, other, state in pairs if one is not None and state is not State.MISSING)


@dataclass(frozen=True)
class Ruling:
    """A verdict and, for *partly*, the cases it holds in.

    Attributes:
        where: cases that are YES, after Holm's correction.
        weak: cases that are WEAK, after the same: the effect is small.
        uncorrected: cases that are YES or WEAK, but not after Holm's correction, and so count for nothing.
        tests: how many cases were corrected for.
    """

    word: Word
    where: tuple[str, ...] = ()
    undecided: bool = False
    weak: tuple[str, ...] = ()
    uncorrected: tuple[str, ...] = ()
    tests: int = 0

    def __str__(self) -> str:
        if self.word is Word.PARTLY:
            weakly = [f"weakly {', '.join(self.weak)}"] if self.weak else []
            return f"{self.word} ({'; '.join([', '.join(self.where)] * bool(self.where) + weakly)})"
        return f"{self.word} (undecided)" if self.undecided else str(self.word)


def word_of(text: str) -> Word:
    """The verdict of a ruling's text, as records keep it."""
    return next(word for word in Word if text.startswith(word))


def rule(units: Sequence[Unit]) -> Ruling:
    """The verdict over the units that decide, in the order of the rules.

    An input missing for any unit: not measurable here. All YES: reproduced. No YES, WEAK or UNDECIDED: not
    reproduced. Any YES or WEAK that survives Holm over the units: partly, naming where. Else not measurable here.
    """
    judged = [unit for unit in units if unit.decides]
    states = [unit.state for unit in judged]
    if not judged or State.MISSING in states:
        return Ruling(Word.UNMEASURABLE)
    if all(state is State.YES for state in states):
        return Ruling(Word.REPRODUCED)
    if not {State.YES, State.WEAK, State.UNDECIDED} & set(states):
        return Ruling(Word.NOT)
    adjusted = holm([math.nan if unit.interval is None else unit.interval.p for unit in judged])
    sure = [p < LEVEL for p in adjusted]
    where, weak = (
        tuple(unit.case for unit, holds in zip(judged, sure, strict=True) if unit.state is state and holds)
        for state in _AGREEING
    )
    others = tuple(u.case for u, holds in zip(judged, sure, strict=True) if u.state in _AGREEING and not holds)
    if where or weak:
        return Ruling(Word.PARTLY, where, weak=weak, uncorrected=others, tests=len(judged))
    return Ruling(Word.UNMEASURABLE, undecided=True, uncorrected=others, tests=len(judged))


def table_of(units: Iterable[Unit]) -> pd.DataFrame:
    """Units as rows: case, statistic, estimate, low, high, state; NaN where there is no number."""
    found = ((unit, unit.interval or NO_INTERVAL) for unit in units)
    rows = [(unit.case, unit.statistic, own.estimate, own.low, own.high, str(unit.state)) for unit, own in found]
    return pd.DataFrame(rows, columns=["case", "statistic", "estimate", "low", "high", "state"])
