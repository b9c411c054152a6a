"""A behaviour in real networks, beside a chapter's own result: from the verdicts that the page on practice keeps.

Nothing is computed or measured here. Claims P1 to P5 are C1 to C5 in practice.
"""

from __future__ import annotations

import hashlib
import json

import pandas as pd

from ..claims.practice import IMAGES, NETWORKS, OWN
from ..claims.records import keys_of, verdict_records
from ..claims.wording import Record
from ..figures.cases import Html, Row, case_forest
from ..scale_names import SCALE_NAMES
from .words import BEHAVIOURS, sized

CLAIMS = {theirs: theirs.replace("C", "P") for theirs in BEHAVIOURS}
"""The claim on real networks of each of the five."""
READINGS = {"init": "At initialization", "tuned": "At the best rates", "default": "At the default ones"}
"""How a sentence on each reading begins."""


def networks(record: Record) -> list[Row]:
    """What each network shows by itself, a row of the kept verdict a network; those without a number are left out."""
    found = dict(zip(((keys.problem, keys.part) for keys in keys_of(record)), record["rows"], strict=False))
    wanted = {name: OWN if name in IMAGES else None for name in NETWORKS}
    rows = [{**found[name, part], "case": name} for name, part in wanted.items() if (name, part) in found]
    return [row for row in rows if row["estimate"] is not None]


def kept(claim: str, scale: str) -> dict[str, list[Row]]:
    """:func:`networks` by reading, of the claim on real networks that is the other half of one of C1 to C5."""
    records = verdict_records(scale)
    found = {each: networks(records[place]) for each in READINGS if (place := (CLAIMS[claim], each)) in records}
    return {reading: rows for reading, rows in found.items() if rows}


def said(claim: str, scale: str) -> str:
    """What real networks show, a sentence a reading, in Markdown; where nothing is kept, one that says so."""
    lines = [
        f"{READINGS[reading]} {sized(rows, where=' in {cases}', **BEHAVIOURS[claim])}."
        for reading, rows in kept(claim, scale).items()
    ]
    if not lines:
        return "Real networks have not been measured at this scale: execute {doc}`practice` first."
    return f"By the same rule ({{doc}}`practice`, {CLAIMS[claim]}): {' '.join(lines)}"


def forest(claim: str, scale: str) -> Html | None:
    """Every network's effect with its interval, on the axis of the chapter's own cases; None where nothing is kept."""
    rows = [row for own in kept(claim, scale).values() for row in own]
    if not rows:
        return None
    table = pd.DataFrame(rows).astype(object)
    heads = {CLAIMS[claim]: "Language models above, image networks below"}
    return case_forest(table.where(table.notna(), None), heads)


def digest() -> str:
    """A text that changes with what the page on practice keeps, at any scale."""
    rows = [
        record["rows"]
        for scale in SCALE_NAMES
        for (claim, _), record in sorted(verdict_records(scale).items())
        if claim in CLAIMS.values()
    ]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]
