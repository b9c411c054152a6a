"""All claims on one page, from the stored verdicts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType, ModuleType

import pandas as pd

from ..errors import choice
from ..statistics import Interval
from . import c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17
from .records import earlier_verdicts, interval_text, verdict_frame, verdict_records
from .rules import State

CLAIMS: MappingProxyType[str, ModuleType] = MappingProxyType(
    {claim.CLAIM: claim for claim in (c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17)}
)
"""Modules by claim, in the order of their numbers; each has CLAIM, SENTENCE, CHAPTER, FIGURE and READINGS."""

NOT_YET = "not judged yet"
BEHAVIOURS = 5
"""The first claims, on what training shows; all others say what drives it."""
GROUPS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {"behaviours": tuple(CLAIMS)[:BEHAVIOURS], "causes": tuple(CLAIMS)[BEHAVIOURS:]}
)
"""Claims that stand together on a page."""


def members(group: str) -> dict[str, ModuleType]:
    """The claims of a group; of all, where it is empty."""
    names = GROUPS[choice("group", group, tuple(GROUPS))] if group else tuple(CLAIMS)
    return {name: CLAIMS[name] for name in names}


def _verdicts(frame: pd.DataFrame) -> dict[tuple[str, str], str]:
    final = frame[frame["case"] == "all"]
    return {(row["claim"], row["reading"]): str(row["verdict"]) for row in final.to_dict("records")}


def overview(scale: str, group: str = "") -> pd.DataFrame:
    """The verdicts of a scale in short, a row a claim: claim in a sentence, verdict of each reading, chapter.

    Args:
        scale: whose verdicts.
        group: one of GROUPS; all claims if empty.
    """
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
