"""Whether verdicts repeat: kept verdicts beside those of the same scale with other judging seeds and batches.

``lintrans stability`` makes both and compares them; the last comparison that was kept is part of the package, and what
it found is a flag beside a verdict.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from ...files import write
from .records import DERIVED, PACKAGED, claim_order, keys_of, packaged
from .rules import Keys, State

GOAL = 0.95
"""Share of decided cases that should keep their state."""
DECIDED = (State.YES, State.WEAK, State.NULL, State.REV)
MOVED = "changes with other seeds and batches"
PATH = PACKAGED / "stability.json"
"""The last comparison that was kept."""
Records = Mapping[tuple[str, str], Mapping[str, Any]]


@dataclass(frozen=True)
class Repeat:
    """A deciding case, judged twice: with the scale's own seeds and batches, and with others (``..._again``).

    Numbers are None where there are none; so are a state and numbers where the case was not judged again.
    """

    claim: str
    reading: str
    case: str
    state: str
    estimate: float | None
    low: float | None
    high: float | None
    state_again: str | None
    estimate_again: float | None
    low_again: float | None
    high_again: float | None

    @property
    def same(self) -> bool:
        """Whether the state is the same."""
        return self.state == self.state_again


@dataclass(frozen=True)
class Comparison:
    """Repeats of a scale's decided cases.

    Attributes:
        scale, offset: what was judged, and what was added to its seeds and batches.
        date, version: when it was made, and of which library.
        rows: a row a decided case.
        lost: claims and readings that were not judged again, or by other code, and are not compared.
    """

    scale: str
    offset: int
    date: str
    version: str
    rows: tuple[Repeat, ...]
    lost: tuple[str, ...] = ()

    @property
    def changed(self) -> tuple[Repeat, ...]:
        """The cases that did not keep their state."""
        return tuple(row for row in self.rows if not row.same)

    @property
    def share(self) -> float | None:
        """Share of the cases that kept their state; None of none."""
        return 1 - len(self.changed) / len(self.rows) if self.rows else None

    def table(self) -> pd.DataFrame:
        """The changes by state, a row a state: how many cases, how many kept it, what the others became."""
        found = []
        for state in DECIDED:
            own = [row for row in self.rows if row.state == state]
            others = pd.Series([row.state_again or State.MISSING for row in own if not row.same], dtype=str)
            became = ", ".join(f"{count} {other}" for other, count in others.value_counts().items())
            found.append({"state": str(state), "cases": len(own), "the same": len(own) - len(others), "others": became})
        return pd.DataFrame(found)

    def json(self) -> str:
        """For a file: :func:`read` takes it."""
        return json.dumps(asdict(self) | {"rows": [asdict(row) for row in self.rows]}, indent=1, allow_nan=False)


def _cases(record: Mapping[str, Any]) -> dict[tuple[str, Keys], Mapping[str, Any]]:
    rows = record["rows"][:-1]
    decides = record.get("decides") or [True] * len(rows)
    found = zip(rows, keys_of(record), decides, strict=True)
    return {(row["case"], keys): row for row, keys, counts in found if counts}


def compare(first: Records, second: Records) -> tuple[tuple[Repeat, ...], tuple[str, ...]]:
    """Decided cases of kept verdicts beside the same of others; and the readings that could not be compared.

    Claims judged from the verdicts of others are left out: nothing was measured for them. Where all numbers are the
    same to the last digit, nothing was drawn anew, and nothing is compared.
    """
    rows, lost = [], []
    for (claim, reading), record in first.items():
        again = second.get((claim, reading))
        if claim in DERIVED:
            continue
        if again is None or again["rules"] != record["rules"]:
            lost.append(f"{claim} {reading} ({'not judged again' if again is None else 'judged by other code'})")
            continue
        own, others = _cases(record), _cases(again)
        if _identical(own, others):
            lost.append(f"{claim} {reading} (the same numbers: its seeds did not change)")
            continue
        for place, row in own.items():
            if row["state"] in DECIDED:
                other: Mapping[str, Any] = others.get(place, {})
                names = ("state", "estimate", "low", "high")
                numbers = {name: row[name] for name in names} | {f"{name}_again": other.get(name) for name in names}
                rows.append(Repeat(claim, reading, row["case"], **numbers))
    return tuple(rows), tuple(lost)


def _identical(own: Mapping[Any, Mapping[str, Any]], others: Mapping[Any, Mapping[str, Any]]) -> bool:
    numbers = [
        [[row[name] for name in ("estimate", "low", "high")] for row in rows.values() if row["estimate"] is not None]
        for rows in (own, others)
    ]
    return bool(numbers[0]) and numbers[0] == numbers[1]


def comparison(first: Records, second: Records, scale: str, offset: int, version: str) -> Comparison:
    """:func:`compare`, as of today."""
    return Comparison(scale, offset, datetime.now(UTC).date().isoformat(), version, *compare(first, second))


def keep(made: Comparison, path: Path = PATH) -> None:
    """Write a comparison; without a path, into the package.

    What the file has of other claims, at the same scale and offset, stays.
    """
    read.cache_clear()
    try:
        old = read(path)
    except (ValueError, KeyError, TypeError):  # another file, which is written over
        old = None
    write(path, (joined(made, old) if old else made).json() + "\n")
    read.cache_clear()


def joined(made: Comparison, old: Comparison) -> Comparison:
    """A comparison with what an earlier one has of other claims, in the order of claims."""
    if (old.scale, old.offset) != (made.scale, made.offset):
        return made
    names = {row.claim for row in made.rows} | {each.partition(" ")[0] for each in made.lost}
    rows = [*(row for row in old.rows if row.claim not in names), *made.rows]
    lost = [*(each for each in old.lost if each.partition(" ")[0] not in names), *made.lost]
    return replace(made, rows=tuple(sorted(rows, key=lambda row: claim_order(row.claim))), lost=tuple(sorted(lost)))


@cache
def read(path: Path = PATH) -> Comparison | None:
    """The kept comparison; None where there is none."""
    found = packaged(path)
    if found is None:
        return None
    names = [field.name for field in fields(Repeat)]
    rows = tuple(Repeat(**{name: row[name] for name in names}) for row in found.pop("rows"))
    return Comparison(**found | {"rows": rows, "lost": tuple(found["lost"])})


def moved(scale: str, claim: str, reading: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Those cases of a kept verdict that changed in the last comparison and have the state now that they had then."""
    made = read(PATH)
    if made is None or made.scale != scale:
        return []
    then = {(row.case, row.state) for row in made.changed if (row.claim, row.reading) == (claim, reading)}
    return [row["case"] for row in rows if (row["case"], row["state"]) in then]
