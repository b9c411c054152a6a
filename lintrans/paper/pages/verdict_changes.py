"""What became of each verdict from one edition of the rules to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..claims import editions
from ..claims.records import claim_order
from ..claims.wording import in_words, word

COLUMNS = ["claim", "reading", "first edition", "now", "cases changed"]


def by_claim(
    judged: Mapping[tuple[str, str], Mapping[str, Any]], first: editions.Edition | None, scale: str
) -> pd.DataFrame:
    """A row for each claim and reading: the verdict under the first edition, today's, and how many cases changed."""
    if first is None or first.scale != scale:
        return pd.DataFrame(columns=COLUMNS)
    changed = {(each.claim, each.reading): len(each.table) for each in editions.differences(judged, first)}
    rows = []
    for claim, reading in sorted({*judged, *first.records}, key=lambda key: (claim_order(key[0]), key[1])):
        then, now = first.records.get((claim, reading)), judged.get((claim, reading))
        rows.append({
            "claim": claim,
            "reading": reading,
            "first edition": "not judged" if then is None else word(then),
            "now": "not judged" if now is None else in_words(now),
            "cases changed": "" if then is None or now is None else str(changed.get((claim, reading), 0)),
        })  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)
