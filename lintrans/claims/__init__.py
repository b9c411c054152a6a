"""A claim, its statistic, its verdict.

:mod:`.rules` judges, :mod:`.records` keeps; one module per claim measures and judges, one says what its page says.
"""

from __future__ import annotations

import pandas as pd

from . import c1, c1_page
from .records import Verdict, earlier_verdicts, record, verdict_frame, verdicts_digest
from .rules import RULES, Ruling, State, Unit, Word, ratio_state, rule

CLAIMS = {c1.CLAIM: c1}
READINGS = ("published", "tuned")

__all__ = [
    "CLAIMS",
    "RULES",
    "Ruling",
    "State",
    "Unit",
    "Verdict",
    "Word",
    "c1",
    "c1_page",
    "earlier_verdicts",
    "overview",
    "ratio_state",
    "record",
    "rule",
    "verdict_frame",
    "verdicts_digest",
]


def overview(scale: str) -> pd.DataFrame:
    """The verdicts of a scale in short, a row a claim and reading: claim in a sentence, verdict, chapter."""
    frame = verdict_frame(scale)
    words = {(row["claim"], row["reading"]): row["verdict"] for _, row in frame[frame["case"] == "all"].iterrows()}
    earlier = earlier_verdicts(scale)
    old = {(row["claim"], row["reading"]): row["verdict"] for _, row in earlier[earlier["case"] == "all"].iterrows()}
    rows = []
    for name, claim in CLAIMS.items():
        for reading in READINGS:
            verdict = words.get((name, reading)) or "not judged yet"
            if before := old.get((name, reading)):
                verdict += f" (under earlier rules: {before})"
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
