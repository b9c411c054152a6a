"""Verdicts under the rules' first edition, as they were computed, beside those of today.

They come from one run at paper scale of the last version with the first edition's rules and budgets, and are part of
the package: a fact of then, which today's code cannot compute again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from .records import DERIVED, PACKAGED, keys_of, packaged
from .rules import SMALL, Keys, State
from .scorecard import CLAIMS
from .wording import NAMES, cases, numbers, word

PATH = PACKAGED / "first_edition.json"
_COLUMNS = ("case", "state", "estimate", "low", "high")
_CURVATURE = {"condition", "smoothness", "hessian"}
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Edition:
    """Verdicts of an earlier edition of the rules.

    Attributes:
        commit, date: the version that computed them, and when.
        scale: at which scale.
        records: by claim and reading, as :func:`.records.verdict_records` gives them.
    """

    commit: str
    date: str
    scale: str
    records: Mapping[tuple[str, str], Record]


def compact(records: Mapping[tuple[str, str], Record], commit: str, scale: str) -> str:
    """Kept verdicts as the text of such a file: the cases that decide, with their states and numbers."""
    verdicts = []
    for (claim, reading), record in records.items():
        marks = record.get("decides") or [True] * (len(record["rows"]) - 1)
        kept = zip(record["rows"], keys_of(record), marks, strict=False)
        rows = [
            {name: row[name] for name in _COLUMNS} | {"keys": {name: v for name, v in keys._asdict().items() if v}}
            for row, keys, counts in kept
            if counts
        ]
        verdicts.append(
            {"claim": claim, "reading": reading, "verdict": record["rows"][-1]["verdict"], "rules": record["rules"],
             "created": record["created"], "deviations": record["deviations"], "cases": rows}
        )  # fmt: skip
    date = max(record["created"] for record in records.values())[:10]
    lines = ",\n".join(f"  {json.dumps(each, allow_nan=False)}" for each in verdicts)
    head = json.dumps({"commit": commit, "date": date, "scale": scale}, indent=1)[:-2]
    return f'{head},\n "verdicts": [\n{lines}\n ]\n}}\n'


@cache
def read(path: Path = PATH) -> Edition | None:
    """The kept verdicts of the first edition; None where there are none."""
    found = packaged(path)
    if found is None:
        return None
    records = {(each["claim"], each["reading"]): _record(each, found["scale"]) for each in found["verdicts"]}
    return Edition(found["commit"], found["date"], found["scale"], records)


def _record(each: Mapping[str, Any], scale: str) -> Record:
    own = {name: each[name] for name in ("claim", "reading")} | {"scale": scale}
    rows = [{**own, **case} for case in each["cases"]]
    keys = [row.pop("keys") for row in rows]
    last = {**own, "case": "all", "verdict": each["verdict"]}
    return {name: each[name] for name in ("rules", "created", "deviations")} | {"keys": keys, "rows": [*rows, last]}


def reasons(
    claim: str, reading: str, keys: Keys, before: Mapping[str, Any], now: Mapping[str, Any], short: bool = False
) -> list[str]:
    """What may have changed a case's state from the first edition to the second, as far as the data say.

    `short`: the first was computed with less than its rules asked for, which the second was not.

    Two rules are decisive where they apply: numbers that are a difference too small to count, and a bound. The others
    are what was computed otherwise: seeds, batches, rates.
    """
    found = []
    estimates = [row.get(name) for row in (before, now) for name in ("low", "high")]
    if now["state"] == State.NULL and now["low"] is not None and now["low"] >= SMALL and now["high"] <= 1 / SMALL:
        found.append("a small difference is none now")
    if now.get("bound"):
        found.append("a bound is read as one")
    if any("two kinds" in text for text in now.get("flags") or ()):
        found.append("the sign-flip test does not agree with the interval")
    if None not in estimates and _differ(before, now):
        if reading == "tuned":
            found.append("rates chosen among those run to the horizon, on more seeds")
        if _CURVATURE & set(_statistics(claim, keys)):
            found.append("measured on many batches instead of one")
        if short:
            found.append("computed in full")
        if not found:
            found.append("other numbers")
    return found


def _differ(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return any(abs(before[name] - now[name]) > 1e-3 * abs(before[name]) for name in ("estimate", "low", "high"))


def _statistics(claim: str, keys: Keys) -> tuple[str, ...]:
    return tuple(CLAIMS[keys.claim or claim].BASIS.statistics)


@dataclass(frozen=True)
class Difference:
    """A claim and reading whose verdict or cases are not what they were.

    Attributes:
        before, now: the verdicts' words.
        short: where the first fell short of its rules, and the second does not.
        table: of the cases that differ.
    """

    claim: str
    reading: str
    before: str
    now: str
    short: tuple[str, ...]
    table: pd.DataFrame


def differences(records: Mapping[tuple[str, str], Record], edition: Edition) -> list[Difference]:
    """Where today's verdicts differ from the first edition's, in a case's state or in the word."""
    found = []
    for (claim, reading), record in records.items():
        old = edition.records.get((claim, reading))
        if old is None or claim in DERIVED:
            continue
        short = tuple(text for text in old["deviations"] if text not in record["deviations"])
        table = _compared(claim, reading, old, record, bool(short))
        if len(table) or word(old) != word(record):
            found.append(Difference(claim, reading, word(old), word(record), short, table))
    return found


def _compared(claim: str, reading: str, old: Record, new: Record, short: bool) -> pd.DataFrame:
    """The cases whose state differs, and those that only one of the two has."""
    before = {row["case"]: row for row in cases(old)}
    now = {row["case"]: (row, keys) for row, keys in _with_keys(new)}
    rows = []
    for case in dict.fromkeys([*before, *now]):
        then, (today, keys) = before.get(case), now.get(case, (None, Keys()))
        if then is not None and today is not None and then["state"] == today["state"]:
            continue
        why = (
            "no such case before" if then is None
            else "not a case any more" if today is None
            else "; ".join(reasons(claim, reading, keys, then, today, short))
        )  # fmt: skip
        rows.append({"case": case, "first edition": _said(then), "second edition": _said(today), "why": why})
    return pd.DataFrame(rows, columns=["case", "first edition", "second edition", "why"])


def _with_keys(record: Record) -> list[tuple[Mapping[str, Any], Keys]]:
    marks = record.get("decides") or [True] * (len(record["rows"]) - 1)
    pairs = zip(record["rows"], keys_of(record), marks, strict=False)
    return [(row, keys) for row, keys, counts in pairs if counts]


def _said(row: Mapping[str, Any] | None) -> str:
    return "" if row is None else f"{numbers(row)} {NAMES[State(row['state'])]}"


def not_judged_before(records: Mapping[tuple[str, str], Record], edition: Edition) -> list[str]:
    """Claims and readings that the first edition did not judge."""
    return [f"{claim} {reading}" for claim, reading in records if (claim, reading) not in edition.records]


__all__ = ["PATH", "Difference", "Edition", "compact", "differences", "not_judged_before", "read", "reasons"]
