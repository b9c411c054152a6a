"""Where the kept verdicts contradict the paper, and which numbers, computed twice, stand behind each case.

A case contradicts if its state is REV (the opposite was seen) or NULL (no difference was seen). All of these are
listed, whatever the verdict they end up in, and so is a verdict *partly* or *not reproduced*. No list is kept by hand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from ..double_check import STATISTICS
from ..problems import ATTENTION_TITLES, LARGER, NONLINEAR, PROBLEMS, SIZES
from ..scales import LABELS
from ..store import Store
from . import c8, c13, c14, c17, depth, tails
from .c16 import title
from .common import CASES
from .records import verdict_records
from .rules import State, Word
from .scorecard import CLAIMS

AGAINST = (State.REV, State.NULL)
"""States of cases that contradict the paper."""
_WORDS = {State.REV: "reversed", State.NULL: "no difference"}
ARMS = tuple(LABELS)
"""Statistics that are one optimizer's end loss."""


@dataclass(frozen=True)
class Basis:
    """What a claim's cases rest on: names of problems, and of statistics as in STATISTICS."""

    problems: tuple[str, ...]
    statistics: tuple[str, ...]


_DEPTHS = tuple(depth.NAMES.values())
_BEHAVIOURS = {
    "C1": ("loss_ratio",),
    "C2": ("noise",),
    "C3": ("condition",),
    "C4": ("smoothness", "loss_ratio"),
    "C5": ("hessian", "gradient"),
}

BASES: MappingProxyType[str, Basis] = MappingProxyType(
    {
        **{claim: Basis(CASES, statistics) for claim, statistics in _BEHAVIOURS.items()},
        "C6": Basis(tails.PAIR, ("noise",)),
        "C7": Basis(tails.PAIR, ("condition",)),
        "C8": Basis(tails.PAIR, ARMS),
        "C9": Basis(_DEPTHS, ("loss_ratio",)),
        "C10": Basis(_DEPTHS, ARMS),
        "C11": Basis(_DEPTHS, ("noise",)),
        "C12": Basis(_DEPTHS, ("condition",)),
        "C13": Basis((c13.LINEAR, *c13.DEFINITIONS), ARMS),
        "C14": Basis((LARGER.name,), ("loss_ratio", "noise")),
        "C15": Basis((NONLINEAR.name,), tuple(STATISTICS)),
        "C16": Basis(tuple(SIZES.values()), tuple(STATISTICS)),
    }
)
"""By claim; C17 rests on what its inputs rest on."""


def basis(claim: str, case: str = "") -> Basis:
    """What one case of a claim rests on; what the claim as a whole does, where no case is given.

    Raises:
        KeyError: a claim that nothing is known of.
    """
    if claim == c17.CLAIM:
        inputs = [c8.CLAIM if case == c17.GAP else case] if case else [*c17.INPUTS, c8.CLAIM]
        found = [BASES[each] for each in inputs]
        return Basis(
            tuple(dict.fromkeys(name for each in found for name in each.problems)),
            tuple(dict.fromkeys(name for each in found for name in each.statistics)),
        )
    whole = BASES[claim]
    problems = tuple(name for name in whole.problems if _names(claim, case, name))
    return Basis(problems or whole.problems, _statistics(claim, case, whole))


def _names(claim: str, case: str, problem: str) -> bool:
    """Whether a case speaks of a problem."""
    if claim in _BEHAVIOURS:
        return f"setting {problem}" in case
    if problem in _DEPTHS and claim != "C16":
        layers = next(layers for layers, name in depth.NAMES.items() if name == problem)
        return re.search(rf"\b{layers}\b", case) is not None
    if claim == "C13":
        return problem == c13.LINEAR or case in [f"{ATTENTION_TITLES[problem]}, {label}" for label in LABELS.values()]
    if claim == "C16":
        return case == title(next(size for size, name in SIZES.items() if name == problem))
    return False


def _statistics(claim: str, case: str, whole: Basis) -> tuple[str, ...]:
    """The statistics that a case speaks of."""
    if claim == "C14" and case:
        return ("noise",) if case == c14.NOISE else ("loss_ratio",)
    if claim == "C15" and case:
        return _BEHAVIOURS.get(case.partition(":")[0], whole.statistics)
    if whole.statistics == ARMS:
        said = tuple(name for name, label in LABELS.items() if label in case)
        return said or whole.statistics
    return whole.statistics


@dataclass(frozen=True)
class Contradiction:
    """One claim and reading that the kept verdicts contradict, wholly or in some cases.

    Attributes:
        claim, reading, verdict: as on the scorecard.
        cases: those that contradict, with their states; empty where the verdict alone does, for want of a decided case.
    """

    claim: str
    reading: str
    verdict: str
    cases: tuple[tuple[str, State], ...]

    @property
    def words(self) -> str:
        """The cases in words, a state at a time."""
        parts = []
        for state, words in _WORDS.items():
            if own := [case for case, found in self.cases if found is state]:
                parts.append(f"{words}: {'; '.join(own)}")
        return ". ".join(parts) or "no case is decided against it"

    def rows(self, found: pd.DataFrame) -> pd.DataFrame:
        """The rows of :func:`lintrans.double_check.compare_all` that check it: of its cases, else of the claim."""
        kept = pd.Series(False, index=found.index)
        for case in [case for case, _ in self.cases] or [""]:
            own = basis(self.claim, case)
            kept |= found["problem"].isin(own.problems) & found["statistic"].isin(own.statistics)
        return found[kept]

    def unchecked(self, found: pd.DataFrame) -> list[str]:
        """Problems that it rests on and that were not computed twice."""
        wanted = dict.fromkeys(
            name for case in [case for case, _ in self.cases] or [""] for name in basis(self.claim, case).problems
        )
        return [PROBLEMS[name].title for name in wanted if name not in set(found["problem"])]


def contradictions(scale: str, store: Store | None = None) -> list[Contradiction]:
    """Every claim and reading with something against the paper, from the kept verdicts of a scale."""
    kept = verdict_records(scale, store)
    found = []
    for name, claim in CLAIMS.items():
        for reading in claim.READINGS:
            if (name, reading) not in kept:
                continue
            record = kept[name, reading]
            rows = [row for row in record["rows"] if row["case"] != "all"]
            verdict = next(str(row["verdict"]) for row in record["rows"] if row["case"] == "all")
            decides = record.get("decides") or [True] * len(rows)
            cases = tuple(
                (str(row["case"]), State(row["state"]))
                for row, counts in zip(rows, decides, strict=True)
                if counts and row["state"] in AGAINST
            )
            if cases or verdict.startswith((Word.NOT, Word.PARTLY)):
                found.append(Contradiction(name, reading, verdict, cases))
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


__all__ = ["AGAINST", "BASES", "Basis", "Contradiction", "basis", "contradictions", "missing"]
