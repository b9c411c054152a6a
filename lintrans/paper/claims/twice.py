"""Deciding cases computed once more, end to end, by the second implementation: which ones, and what was found.

The rules ask for it where a case is reversed, or has another state than under their first edition. ``lintrans twice``
computes; what it last found is part of the package, and a case that lies on the other side is flagged.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from ...files import write
from .records import DERIVED, PACKAGED, claim_order, keys_of, packaged
from .rules import Keys, State

PATH = PACKAGED / "twice.json"
"""What was found last, and kept."""
OTHER_SIDE = "the second implementation lies on the other side"
APART = 0.01
"""Relative distance of parameters at which two trainings of one seed are not one training any more."""
NULLS = {"ratio": 1.0, "share": 0.5}
"""No difference, by kind of statistic."""
TAKING = ("C9", "C15")
"""Claims whose cases take the numbers of the least favourable of several that stand beside them."""
ELSEWHERE = ("fixed batch", "cooled")
"""Parts of cases that stand beside and are none of these."""
Records = Mapping[tuple[str, str], Mapping[str, Any]]


@dataclass(frozen=True)
class Case:
    """A deciding case that has to be computed twice.

    Attributes:
        claim, reading, case, statistic: what was judged.
        keys: what it is about.
        state, before: its state, and that under the first edition; None where it had none.
    """

    claim: str
    reading: str
    case: str
    statistic: str
    keys: Keys
    state: str
    before: str | None

    @property
    def title(self) -> str:
        """Claim, reading and case."""
        return f"{self.claim} {self.reading}, {self.case}"


@dataclass(frozen=True)
class Found:
    """A case computed by both: one number a seed each, turned as it is judged.

    Attributes:
        kind: "ratio", against 1, or "share", against one half.
        steps: of the longest training behind it.
        batches: evaluation batches behind it; 0 where it has none.
        fast, again: numbers of the book's engine and of the second implementation, by seed.
        apart: the first step kept at which a run's parameters are more than APART from each other, relative to their
            norm; None where none ever is.
    """

    claim: str
    reading: str
    case: str
    statistic: str
    state: str
    before: str | None
    kind: str
    steps: int
    batches: int
    seeds: tuple[int, ...]
    fast: tuple[float, ...]
    again: tuple[float, ...]
    apart: int | None = None

    @property
    def means(self) -> tuple[float, float]:
        """Of the fast numbers and of the others; of ratios the geometric one."""
        both = []
        for values in (self.fast, self.again):
            logs = [math.log(value) for value in values] if self.kind == "ratio" else values
            mean = sum(logs) / len(logs)
            both.append(math.exp(mean) if self.kind == "ratio" else mean)
        return both[0], both[1]

    @property
    def same_side(self) -> bool:
        """Whether both means lie on one side of no difference."""
        null = NULLS[self.kind]
        one, other = (value - null for value in self.means)
        return one * other > 0 or one == other == 0

    @property
    def sides(self) -> int:
        """At how many seeds both numbers lie on one side of no difference."""
        null = NULLS[self.kind]
        pairs = zip(self.fast, self.again, strict=True)
        return sum((one - null) * (other - null) > 0 or one == other == null for one, other in pairs)

    @property
    def difference(self) -> float:
        """The largest relative difference of a seed's numbers."""
        pairs = zip(self.fast, self.again, strict=True)
        return max(abs(one - other) / abs(other) if other else math.inf * (one != other) for one, other in pairs)


@dataclass(frozen=True)
class Left:
    """A case that was not computed: why, and how many minutes it would take, where that is known."""

    claim: str
    reading: str
    case: str
    why: str
    minutes: float | None = None


@dataclass(frozen=True)
class Twice:
    """What was computed twice of a scale's cases.

    Attributes:
        scale: whose verdicts.
        date, version: when, and by which library.
        rows: a row a case computed.
        left: the cases that were not.
    """

    scale: str
    date: str
    version: str
    rows: tuple[Found, ...]
    left: tuple[Left, ...] = ()

    @property
    def other_side(self) -> tuple[Found, ...]:
        """The cases whose means lie on two sides of no difference."""
        return tuple(row for row in self.rows if not row.same_side)

    def json(self) -> str:
        """For a file: :func:`read` takes it."""
        return json.dumps(asdict(self), indent=1, allow_nan=False)


def wanted(records: Records, first: Records) -> tuple[Case, ...]:
    """The deciding cases that are reversed, or whose state is not that of the first edition.

    Claims judged from the verdicts of others, and cases that were not measured, are left out.
    """
    found = []
    for (claim, reading), record in records.items():
        if claim in DERIVED:
            continue
        old = {row["case"]: row["state"] for row in first.get((claim, reading), {"rows": []})["rows"][:-1]}
        rows = record["rows"][:-1]
        marks = record.get("decides") or [True] * len(rows)
        beside = [(row, keys) for row, keys, own in zip(rows, keys_of(record), marks, strict=True) if not own]
        for row, keys, decides in zip(rows, keys_of(record), marks, strict=True):
            state, before = row["state"], old.get(row["case"])
            changed = before is not None and before != state
            if decides and state != State.MISSING and (state == State.REV or changed):
                source, about = _taken(row, keys, beside) if claim in TAKING else (row, keys)
                words = source.get("statistic") or ""
                found.append(Case(claim, reading, row["case"], words, about, state, before))
    return tuple(found)


def _taken(
    row: Mapping[str, Any], keys: Keys, beside: Iterable[tuple[Mapping[str, Any], Keys]]
) -> tuple[Mapping[str, Any], Keys]:
    """The case beside it that a case has its numbers from; itself where there is none."""
    numbers = [row.get(name) for name in ("estimate", "low", "high")]
    for other, about in beside:
        same = numbers == [other.get(name) for name in ("estimate", "low", "high")] and numbers[0] is not None
        if same and (about.problems, about.claim) == (keys.problems, keys.claim) and about.part not in ELSEWHERE:
            return other, about
    return row, keys


def keep(made: Twice, path: Path = PATH) -> None:
    """Write what was found; without a path, into the package."""
    write(path, made.json() + "\n")
    read.cache_clear()


@cache
def read(path: Path = PATH) -> Twice | None:
    """What is kept; None where there is nothing."""
    found = packaged(path)
    if found is None:
        return None
    rows = tuple(_made(Found, row) for row in found["rows"])
    left = tuple(_made(Left, row) for row in found["left"])
    return Twice(found["scale"], found["date"], found["version"], rows, left)


def _made(kind: Any, row: Mapping[str, Any]) -> Any:
    values = {field.name: row[field.name] for field in fields(kind)}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def in_words(made: Twice | None) -> str:
    """What was last computed twice at the verdicts' own horizons."""
    if made is None:
        return "Nothing of the kind is kept with this version: `lintrans twice` computes it."
    if not made.rows:
        return f"On {made.date} nothing was computed, of {len(made.left)} cases of scale *{made.scale}*."
    seeds, batches = max(len(row.seeds) for row in made.rows), max(row.batches for row in made.rows)
    same = len(made.rows) - len(made.other_side)
    claims = sorted({row.claim for row in made.rows} | {case.claim for case in made.left}, key=claim_order)
    on = f", curvature on {batches} evaluation batch{'es' * (batches != 1)}" if batches else ""
    return (
        f"Computed on {made.date} with lintrans {made.version}, scale *{made.scale}*: {len(made.rows)} of "
        f"{len(made.rows) + len(made.left)} cases ({', '.join(claims)}), "
        f"on the first {seeds} judging seed{'s' * (seeds != 1)}{on}. "
        f"In {same} of {len(made.rows)} both implementations lie on the same side of no difference; "
        f"in {sum(row.apart is not None for row in made.rows)} some run's parameters come to lie more than {APART:.0%} "
        "apart."
    )


def doubted(scale: str, claim: str, reading: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Those cases of a kept verdict that were last found on the other side, with the state that they have now."""
    made = read(PATH)
    if made is None or made.scale != scale:
        return []
    then = {(row.case, row.state) for row in made.other_side if (row.claim, row.reading) == (claim, reading)}
    return [row["case"] for row in rows if (row["case"], row["state"]) in then]
