"""All claims on one page, from the stored verdicts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType, ModuleType

import pandas as pd

from ...errors import choice
from ...statistics import Interval
from .. import claims
from .records import earlier_verdicts, interval_text, verdict_frame, verdict_records
from .rules import State

NOT_YET = "not judged yet"


def find_claims() -> MappingProxyType[str, ModuleType]:
    """The modules c1, c2, ... of this package by claim, in the order of their numbers."""
    modules = [import_module(f"{claims.__name__}.{name.lower()}") for name in claims.claim_names()]
    return MappingProxyType({claim.CLAIM: claim for claim in modules})


CLAIMS = find_claims()
"""Each has CLAIM, SENTENCE, CHAPTER, FIGURE, READINGS, GROUP, BASIS and judges."""
GROUPS = tuple(dict.fromkeys(str(claim.GROUP) for claim in CLAIMS.values()))
"""Claims that stand together on a page."""


def members(group: str) -> dict[str, ModuleType]:
    """The claims of a group; of all, where it is empty."""
    wanted = (choice("group", group, GROUPS),) if group else GROUPS
    return {name: claim for name, claim in CLAIMS.items() if claim.GROUP in wanted}


def _verdicts(frame: pd.DataFrame) -> dict[tuple[str, str], str]:
    final = frame[frame["case"] == "all"]
    return {(row["claim"], row["reading"]): str(row["verdict"]) for row in final.to_dict("records")}


def overview(scale: str, group: str = "") -> pd.DataFrame:
    """The verdicts of a scale in short, a row a claim: claim in a sentence, verdict of each reading, chapter."""
    now, before = _verdicts(verdict_frame(scale)), _verdicts(earlier_verdicts(scale))
    rows = []
    for name, claim in members(group).items():
        texts = []
        for reading in claim.READINGS:
            text = f"*{reading}*: {now.get((name, reading), NOT_YET)}"
            if (name, reading) in before:
                text += f" (under earlier rules: {before[name, reading]})"
            texts.append(text)
        chapter = f"[{claim.CHAPTER.replace('_', ' ')}]({claim.CHAPTER})"
        rows.append({"claim": name, "in a sentence": claim.SENTENCE, "verdict": "; ".join(texts), "chapter": chapter})
    return pd.DataFrame(rows, columns=["claim", "in a sentence", "verdict", "chapter"])


@dataclass(frozen=True)
class Card:
    """One claim and reading: text in Markdown, and the cases that decide as a table; None where it was not judged."""

    text: str
    table: pd.DataFrame | None


def cards(scale: str, group: str = "") -> list[Card]:
    """Every claim and reading of a group with its cases."""
    frame, kept = verdict_frame(scale), verdict_records(scale)
    verdicts = _verdicts(frame)
    made = []
    for name, claim in members(group).items():
        for reading in claim.READINGS:
            head = f"**{name}, {reading} reading.** {claim.SENTENCE}"
            if (name, reading) not in verdicts:
                made.append(Card(f"{head} Not judged yet: execute {{doc}}`{claim.CHAPTER}`.", None))
                continue
            record = kept[name, reading]
            shown = (
                f"Shown in {{numref}}`{claim.FIGURE}` of {{doc}}`{claim.CHAPTER}`; judged" if claim.FIGURE else "Judged"
            )
            text = (
                f"{head} Verdict: **{verdicts[name, reading]}**. {shown} {record['created'][:10]} by rules "
                f"{record['rules']}."
            )
            if record["deviations"]:
                text += f" This scale falls short of the rules: {'; '.join(record['deviations'])}."
            rows = frame[(frame["claim"] == name) & (frame["reading"] == reading) & (frame["case"] != "all")]
            decides = pd.Series(record.get("decides", True), index=rows.index, dtype=bool)
            if not decides.all():
                text += f" {int((~decides).sum())} further cases stand beside these in the chapter."
            made.append(Card(text, _table(rows[decides])))
    return made


def _table(rows: pd.DataFrame) -> pd.DataFrame:
    def estimate(row: pd.Series) -> str:
        if pd.isna(row["estimate"]):
            return "no number"
        low, high = (math.nan if pd.isna(row[edge]) else float(row[edge]) for edge in ("low", "high"))
        return interval_text(Interval(float(row["estimate"]), low, high, math.nan, 0))

    table = pd.DataFrame(
        {
            "case": rows["case"],
            "statistic": rows["statistic"],
            "estimate [95% interval]": [estimate(row) for _, row in rows.iterrows()],
            "state": rows["state"],
        }
    )
    derived = rows["estimate"].isna().all() and (rows["state"] != State.MISSING).any()  # from other verdicts
    return table.drop(columns="estimate [95% interval]") if derived else table
