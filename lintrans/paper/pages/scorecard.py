"""Tables of the scorecard: verdicts against the paper, and what checks them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..claims.contradictions import Contradiction
from ..problems import PROBLEMS
from ..second.compare import STATISTICS
from .common import agrees


def against(found: Sequence[Contradiction]) -> pd.DataFrame:
    """Each contradiction with its cases."""
    rows = [(each.claim, each.reading, each.verdict, each.words) for each in found]
    return pd.DataFrame(rows, columns=["claim", "reading", "verdict", "against the paper"])


def checked(contradiction: Contradiction, found: pd.DataFrame) -> bool:
    """Whether a contradiction stands, in full, on numbers that both implementations give."""
    return agrees(contradiction.rows(found)) and not contradiction.unchecked(found)


def checks(contradicted: Sequence[Contradiction], found: pd.DataFrame) -> pd.DataFrame:
    """Each contradiction with the numbers, computed twice, that stand behind it."""
    rows = []
    for each in contradicted:
        own, lost = each.rows(found), each.unchecked(found)
        problems = list(dict.fromkeys(PROBLEMS[name].title for name in own["problem"]))
        statistics = dict.fromkeys(STATISTICS[name].words for name in own["statistic"])
        rows.append(
            {
                "claim": each.claim,
                "reading": each.reading,
                "checked on": "; ".join(problems) + (f"; *not computed twice: {'; '.join(lost)}*" if lost else ""),
                "by": "; ".join(statistics),
                "largest relative difference": f"{own['difference'].max():.0e}" if len(own) else "not checked",
                "sides changed": str(int(own["flips"].sum())) if len(own) else "not checked",
            }
        )
    return pd.DataFrame(rows)
