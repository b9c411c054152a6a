"""All claims on one page, from the stored verdicts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType, ModuleType

import pandas as pd

from ..statistics import Interval
from . import c1, c2, c3, c4, c5
from .records import earlier_verdicts, interval_text, verdict_frame, verdict_records

CLAIMS: MappingProxyType[str, ModuleType] = MappingProxyType({claim.CLAIM: claim for claim in (c1, c2, c3, c4, c5)})
"""Modules by claim; each has CLAIM, SENTENCE, CHAPTER, FIGURE and READINGS."""


def _verdicts(frame: pd.DataFrame) -> dict[tuple[str, str], str]:
    final = frame[frame["case"] == "all"]
    return {(row["claim"], row["reading"]): str(row["verdict"]) for row in final.to_dict("records")}


def overview(scale: str) -> pd.DataFrame:
    """The verdicts of a scale in short, a row a claim and reading: claim in a sentence, verdict, chapter."""
    now, before = _verdicts(verdict_frame(scale)), _verdicts(earlier_verdicts(scale))
    rows = []
    for name, claim in CLAIMS.items():
        for reading in claim.READINGS:
            verdict = now.get((name, reading), "not judged yet")
            if (name, reading) in before:
                verdict += f" (under earlier rules: {before[name, reading]})"
            chapter = f"[{claim.CHAPTER.replace('_', ' ')}]({claim.CHAPTER})"
            rows.append(
                {
                    "claim": name,
                    "in a sentence": claim.SENTENCE,
                    "reading": reading,
                    "verdict": verdict,
                    "chapter": chapter,
                }
            )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Card:
    """One claim and reading: text in Markdown, and the cases that decide as a table; None where it was not judged."""

    text: str
    table: pd.DataFrame | None


def cards(scale: str) -> list[Card]:
    """Every claim and reading with its cases."""
    frame, kept = verdict_frame(scale), verdict_records(scale)
    verdicts = _verdicts(frame)
    made = []
    for name, claim in CLAIMS.items():
        for reading in claim.READINGS:
            head = f"**{name}, {reading} reading.** {claim.SENTENCE}"
            if (name, reading) not in verdicts:
                made.append(Card(f"{head} Not judged yet: execute {{doc}}`{claim.CHAPTER}`.", None))
                continue
            record = kept[name, reading]
            text = (
                f"{head} Verdict: **{verdicts[name, reading]}**. Shown in {{numref}}`{claim.FIGURE}` of "
                f"{{doc}}`{claim.CHAPTER}`; judged {record['created'][:10]} by rules {record['rules']}."
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

    return pd.DataFrame(
        {
            "case": rows["case"],
            "statistic": rows["statistic"],
            "estimate [95% interval]": [estimate(row) for _, row in rows.iterrows()],
            "state": rows["state"],
        }
    )
