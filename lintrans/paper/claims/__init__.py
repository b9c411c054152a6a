"""A claim, its statistic, its verdict.

:mod:`.rules` judges, :mod:`.records` keeps, :mod:`.scorecard` finds the claims and sums up; one module per claim
judges what :mod:`lintrans.paper.measure` trained and measured. A new claim is found by the name of its module: c18,
p6 for one on practice, f11 for a prediction of this book.
"""

from __future__ import annotations

import pkgutil
import re

from .records import Verdict, claim_order, earlier_verdicts, record, verdict_frame, verdict_records, verdicts_digest
from .rules import RULES, Keys, Ruling, State, Unit, Word, ratio_state, rule, rules_in_words

__all__ = [
    "RULES", "Keys", "Ruling", "State", "Unit", "Verdict", "Word", "claim_names", "earlier_verdicts", "ratio_state",
    "record", "rule", "rules_in_words", "verdict_frame", "verdict_records", "verdicts_digest",
]  # fmt: skip


def claim_names() -> list[str]:
    """The claims that there are modules for, C1, C2, ..., F1, ..., P1, ..., in the order of their numbers."""
    names = [found.name for found in pkgutil.iter_modules(__path__) if re.fullmatch(r"[cfp]\d+", found.name)]
    return [name.upper() for name in sorted(names, key=claim_order)]
