"""C17: the features are more pronounced with heavier-tailed data and with depth (Ahn et al. 2024, contributions).

Derived: nothing is measured for it. Its inputs are the kept verdicts of five other claims, and D of C8, the ratio of
the Adam-SGD gaps in steps, read by the general rule, so that D > 1 says that the gap grows with the tails. Where runs
that never get there make D a bound, it counts if the bound alone decides it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...statistics import Interval
from ...store.store import Store
from . import c6, c7, c8, c9, c11, c12
from .common import END_READINGS, Basis, rules_digest
from .records import Verdict, record, verdict_records
from .rules import Keys, Ruling, State, Unit, Word, word_of

CLAIM = "C17"
SENTENCE = "The features are more pronounced with heavier-tailed data and with depth."
CHAPTER = "scorecard"
FIGURE = ""
GROUP = "causes"
READINGS = END_READINGS

INPUTS = {
    "C6": "noise and covariate tails",
    "C7": "R_med and covariate tails",
    "C9": "gap and depth",
    "C11": "noise and depth",
    "C12": "R_med and depth",
}
"""Claims that some feature grows with tails or depth."""
BASIS = Basis(claims=(*INPUTS, c8.CLAIM))
OFFERED = {module.CLAIM: tuple(module.READINGS) for module in (c6, c7, c8, c9, c11, c12)}
"""The readings that each has a verdict of."""
GAP = "D of C8"
STATISTIC = "verdict on {}"
STATES = {Word.REPRODUCED: State.YES, Word.PARTLY: State.WEAK, Word.NOT: State.NULL}

Records = Mapping[tuple[str, str], Mapping[str, Any]]


def verdict_state(text: str | None) -> State:
    """An input claim's kept verdict as the state of a unit; None where it was not judged."""
    undecided = text == str(Ruling(Word.UNMEASURABLE, undecided=True))
    otherwise = State.UNDECIDED if undecided else State.MISSING
    return otherwise if text is None else STATES.get(word_of(text), otherwise)


def reading_of(claim: str, reading: str) -> str:
    """The reading of an input that counts for one of C17.

    One judged at initialization counts for every reading; the tuned one for *cooled* where no end loss is judged.
    """
    offered = OFFERED[claim]
    return next((own for own in (reading, "init") if own in offered), "tuned" if reading == "cooled" else reading)


def _kept(records: Records, claim: str, reading: str) -> Mapping[str, Any]:
    """An input's kept verdict."""
    return records.get((claim, reading_of(claim, reading))) or {}


def _rows(records: Records, claim: str, reading: str) -> Sequence[Mapping[str, Any]]:
    rows: Sequence[Mapping[str, Any]] = _kept(records, claim, reading).get("rows", [])
    return rows


def input_unit(records: Records, claim: str, reading: str) -> Unit:
    """What one of the five claims adds."""
    found = [row for row in _rows(records, claim, reading) if row["case"] == "all"]
    text = found[0]["verdict"] if found else None
    return Unit(claim, STATISTIC.format(INPUTS[claim]), None, verdict_state(text), keys=Keys(claim=claim))


def gap_unit(records: Records, reading: str) -> Unit:
    """D of C8 by the general rule."""
    keys = Keys(claim=c8.CLAIM)
    for row in _rows(records, c8.CLAIM, reading):
        if row["case"] == c8.GROWTH:
            estimate, low, high = (
                math.nan if row[name] is None else float(row[name]) for name in ("estimate", "low", "high")
            )
            found = Interval(estimate, low, high, math.nan, row.get("n") or 0, bound=row.get("bound") or "")
            interval = None if math.isnan(estimate) else found
            return Unit(GAP, c8.GAP, interval, State(row["state"]), keys=keys)
    return Unit(GAP, c8.GAP, None, State.MISSING, keys=keys)


def ruling_of(claims: Sequence[Unit], gap: Unit) -> Ruling:
    """The verdict from the five claims and D.

    An input missing: not measurable here. All reproduced, D YES: reproduced. None of the five, D NULL or REV: not
    reproduced. None reproduced or partly, D not YES: not measurable here. Else partly, naming where.
    """
    states = [unit.state for unit in claims]
    if State.MISSING in (*states, gap.state):
        return Ruling(Word.UNMEASURABLE)
    if all(state is State.YES for state in (*states, gap.state)):
        return Ruling(Word.REPRODUCED)
    if all(state is State.NULL for state in states) and gap.state in (State.NULL, State.REV):
        return Ruling(Word.NOT)
    where = [unit.case for unit in claims if unit.state in (State.YES, State.WEAK)]
    where += [gap.case] if gap.state is State.YES else []
    return Ruling(Word.PARTLY, tuple(where)) if where else Ruling(Word.UNMEASURABLE, undecided=True)


def judge(reading: str, scale: str, records: Records) -> Verdict:
    """The verdict of one reading."""
    claims = [input_unit(records, claim, reading) for claim in INPUTS]
    gap = gap_unit(records, reading)
    short = [name for name in (*INPUTS, c8.CLAIM) if _kept(records, name, reading).get("deviations")]
    texts = (f"so do its inputs: {', '.join(short)}",) if short else ()
    ruling, checks = ruling_of(claims, gap), {}
    for name in INPUTS:
        found = [row for row in _rows(records, name, reading) if row["case"] == "all"]
        if found and found[0].get("robust") is not None:
            checks[f"the checks of {name}"] = bool(found[0]["robust"])
    return Verdict(CLAIM, reading, scale, CHAPTER, (*claims, gap), ruling, texts, rules_digest(__name__), checks)


def derive(scale: str, store: Store | None = None) -> dict[str, Verdict]:
    """Judge every reading from the kept verdicts of a scale, and keep the verdicts."""
    kept = verdict_records(scale, store)
    verdicts = {reading: judge(reading, scale, kept) for reading in READINGS}
    for verdict in verdicts.values():
        record(verdict, store)
    return verdicts


__all__ = ["CHAPTER", "CLAIM", "FIGURE", "READINGS", "SENTENCE", "derive", "judge"]
