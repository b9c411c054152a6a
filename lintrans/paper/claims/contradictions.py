"""Where the kept verdicts contradict the paper, and which numbers, computed twice, stand behind each case.

A case contradicts if its state is REV (the opposite was seen) or NULL (no difference was seen). All of these are
listed, whatever the verdict they end up in, and no verdict without such a case is. No list is kept by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ...store.store import Store
from ..problems import PROBLEMS
from ..second.statistics import STATISTICS
from .common import ARMS, Basis
from .records import keys_of, verdict_records
from .rules import NO_KEYS, Keys, State
from .scorecard import CLAIMS

AGAINST = (State.REV, State.NULL)
"""States of cases that contradict the paper."""
OURS = ("why",)
"""Groups of predictions that are this book's own: what fails of them contradicts no paper."""
_WORDS = {State.REV: "reversed", State.NULL: "no difference"}


def basis(claim: str, keys: Keys = NO_KEYS) -> Basis:
    """What one case of a claim rests on; what the claim as a whole does, where nothing is known of the case.

    Raises:
        KeyError: no such claim.
    """
    whole = CLAIMS[claim].BASIS
    if whole.claims:
        found = [basis(each) for each in ([keys.claim] if keys.claim else whole.claims)]
        return Basis(
            tuple(dict.fromkeys(name for each in found for name in each.problems)),
            tuple(dict.fromkeys(name for each in found for name in each.statistics)),
        )
    statistics = whole.statistics or tuple(STATISTICS)
    if keys.claim:
        statistics = CLAIMS[keys.claim].BASIS.statistics
    elif keys.optimizer and statistics == ARMS:
        statistics = (keys.optimizer,)
    return Basis(tuple(name for name in whole.problems if name in keys.problems) or whole.problems, statistics)


@dataclass(frozen=True)
class Contradiction:
    """One claim and reading of which a case is decided against the paper.

    Attributes:
        claim, reading, verdict: as on the scorecard.
        cases: those that contradict, with their states.
        keys: what these cases are about.
        decided: how many of its cases decide.
    """

    claim: str
    reading: str
    verdict: str
    cases: tuple[tuple[str, State], ...]
    keys: tuple[Keys, ...] = ()
    decided: int = 0

    @property
    def words(self) -> str:
        """The cases in words, a state at a time."""
        parts = []
        for state, words in _WORDS.items():
            if own := [case for case, found in self.cases if found is state]:
                parts.append(f"{words}: {'; '.join(own)}")
        return ". ".join(parts)

    def rows(self, found: pd.DataFrame) -> pd.DataFrame:
        """The rows of :func:`.compare.compare_all` that check its cases, else the claim."""
        kept = pd.Series(False, index=found.index)
        for keys in self.keys or (NO_KEYS,):
            own = basis(self.claim, keys)
            kept |= found["problem"].isin(own.problems) & found["statistic"].isin(own.statistics)
        return found[kept]

    def unchecked(self, found: pd.DataFrame) -> list[str]:
        """Problems that it rests on and that were not computed twice."""
        wanted = dict.fromkeys(name for keys in self.keys or (NO_KEYS,) for name in basis(self.claim, keys).problems)
        return [PROBLEMS[name].title for name in wanted if name not in set(found["problem"])]


def contradictions(scale: str, store: Store | None = None) -> list[Contradiction]:
    """Every claim and reading with a case decided against the paper, from the kept verdicts of a scale."""
    kept = verdict_records(scale, store)
    found = []
    for name, claim in CLAIMS.items():
        for reading in claim.READINGS if claim.GROUP not in OURS else ():
            if (name, reading) not in kept:
                continue
            record = kept[name, reading]
            rows = [row for row in record["rows"] if row["case"] != "all"]
            verdict = next(str(row["verdict"]) for row in record["rows"] if row["case"] == "all")
            decides = record.get("decides") or [True] * len(rows)
            against = [
                (str(row["case"]), State(row["state"]), keys)
                for row, counts, keys in zip(rows, decides, keys_of(record), strict=True)
                if counts and row["state"] in AGAINST
            ]
            if against:
                cases, about = tuple((case, state) for case, state, _ in against), tuple(keys for *_, keys in against)
                found.append(Contradiction(name, reading, verdict, cases, about, sum(decides)))
    return found


def missing(scale: str, store: Store | None = None) -> list[str]:
    """Claims and readings without a kept verdict, in words with the chapter that judges them."""
    kept = verdict_records(scale, store)
    return [
        f"{name} {reading} ({{doc}}`{claim.CHAPTER}`)"
        for name, claim in CLAIMS.items()
        for reading in claim.READINGS
        if (name, reading) not in kept
    ]


__all__ = ["AGAINST", "Contradiction", "basis", "contradictions", "missing"]
