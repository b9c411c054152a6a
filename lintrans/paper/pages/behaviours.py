"""What behaviours models show, in words: for the chapters that apply the claims' rules to one model at a time."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..claims.c16 import FEATURES, Behaviour
from ..claims.records import interval_text
from ..claims.rules import Word
from ..claims.wording import NAMES as STATES

UNDEFINED, MISSING = "not measurable", "not measured"
NAMES = dict(zip(Word, ("reproduced", "partly", "not reproduced", "undecided"), strict=True))
Behaviours = Mapping[str, Mapping[str, Behaviour]]
"""Of models by name, by claim."""


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
