"""The book on one page: every claim with its verdicts in short."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

import pandas as pd

from ..claims.wording import Record, flags, in_words

NOT_YET = "not judged yet"
QUALIFIED = "†"
"""Marks a verdict that has flags."""


def claims(known: Mapping[str, ModuleType], records: Mapping[tuple[str, str], Record]) -> pd.DataFrame:
    """A row a claim: what it says, with a link to its card, and the verdict of each reading in counts and sizes."""
    rows = []
    for name, claim in known.items():
        texts = []
        for reading in claim.READINGS:
            record = records.get((name, reading))
            mark = QUALIFIED if record and flags(record) else ""
            texts.append(f"*{reading}*: {in_words(record) if record else NOT_YET}{mark}")
        said = f"[{name}](scorecard.md#{name.lower()}) {claim.SENTENCE}"
        rows.append({"claim": said, "verdict": "<br>".join(texts)})
    return pd.DataFrame(rows, columns=["claim", "verdict"])
