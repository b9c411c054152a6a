"""What behaviours models show, in words: for the chapters that apply the claims' rules to one model at a time."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..claims.c16 import FEATURES, Behaviour
from ..claims.records import Verdict, interval_text
from ..claims.rules import State, Word, agree
from ..claims.scorecard import cases_of
from ..claims.wording import NAMES as STATES
from ..claims.wording import record_of
from ..figures.cases import Html, case_forest
from .template import Lamp
from .words import BEHAVIOURS, sized

UNDEFINED, MISSING = "not measurable", "not measured"
NAMES = dict(zip(Word, ("holds", "holds in part", "does not hold", "open"), strict=True))
Behaviours = Mapping[str, Mapping[str, Behaviour]]
"""Of models by name, by claim."""


def told(verdict: Verdict, decides: bool = True) -> list[str]:
    """What each case that decides, or each beside them, says of its behaviour, with its size."""
    pairs = zip(verdict.units, record_of(verdict)["rows"], strict=False)
    return [
        sized([row], where="", **BEHAVIOURS[str(unit.keys.claim)]) for unit, row in pairs if unit.decides == decides
    ]


def otherwise(verdict: Verdict) -> Lamp:
    """How many of the statistics beside those that decide say the same of their behaviour."""
    main = {unit.keys.claim: unit for unit in verdict.units if unit.decides}
    beside = [
        (main[unit.keys.claim], unit)
        for unit in verdict.units
        if not unit.decides and unit.keys.claim in main and unit.state is not State.MISSING
    ]
    differ = ", ".join(unit.case for one, unit in beside if not agree([one], [unit]))
    same = sum(agree([one], [unit]) for one, unit in beside)
    return Lamp(same, len(beside), f"of the other statistics say the same{f'; not: {differ}' if differ else ''}")


def forest(tables: Mapping[str, Behaviours]) -> Html:
    """The cases of every behaviour of some models in one plot, by behaviour.

    Args:
        tables: by reading; of all but the first only C1 is drawn, where alone readings differ.
    """
    records = {}
    for number, (reading, table) in enumerate(tables.items()):
        for claim in list(FEATURES)[: 1 if number else None]:
            units = tuple(unit for row in table.values() for unit in row[claim].units if unit.decides)
            own = "init" if claim == "C2" else reading
            verdict = Verdict(claim, own, "", "", units, next(iter(table.values()))[claim].ruling)
            records[claim, own] = record_of(verdict)
    heads = {
        claim: f'<b><a href="scorecard.html#{claim.lower()}">{claim}</a></b> {FEATURES[claim]}' for claim in FEATURES
    }
    return case_forest(cases_of(records), heads)


def word(behaviour: Behaviour) -> str:
    """A behaviour of a model in a word or two."""
    if behaviour.undefined:
        return UNDEFINED
    return MISSING if behaviour.missing else NAMES[behaviour.ruling.word]


def words(table: Behaviours) -> pd.DataFrame:
    """:func:`word` for each model (rows, by name) and behaviour (columns)."""
    rows = {name: {claim: word(behaviour) for claim, behaviour in row.items()} for name, row in table.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(FEATURES))


def tally(table: Behaviours) -> str:
    """How many behaviours each model has, in full or in part, as the title of a figure."""
    had = {
        name: sum(word(own) in (NAMES[Word.REPRODUCED], NAMES[Word.PARTLY]) for own in row.values())
        for name, row in table.items()
    }
    return "; ".join(f"{name} has {count} of {len(table[name])}" for name, count in had.items())


def details(table: Behaviours, what: str) -> pd.DataFrame:
    """Every statistic that decides, with its interval, a row a model, behaviour and step; `what` tells models apart."""
    deciding = [
        (name, claim, behaviour, unit)
        for name, row in table.items()
        for claim, behaviour in row.items()
        for unit in behaviour.units
        if unit.decides
    ]
    rows = [
        {
            what: name,
            "claim": claim,
            "statistic": unit.statistic + ("" if unit.keys.step is None else f", step {unit.keys.step:,}"),
            "estimate [95% interval]": interval_text(unit.interval) if unit.interval else word(behaviour),
            "state": STATES[unit.state] if unit.interval else word(behaviour),
        }
        for name, claim, behaviour, unit in deciding
    ]
    return pd.DataFrame(rows)
