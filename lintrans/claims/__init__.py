"""A claim, its statistic, its verdict.

:mod:`.rules` judges, :mod:`.records` keeps, :mod:`.scorecard` finds the claims and sums up; one module per claim
judges, one says what its page says. A new claim is found by the name of its module, c18.
"""

from __future__ import annotations

from .records import Verdict, earlier_verdicts, record, verdict_frame, verdicts_digest
from .rules import RULES, Keys, Ruling, State, Unit, Word, ratio_state, rule, rules_in_words

__all__ = [
    "RULES",
    "Keys",
    "Ruling",
    "State",
    "Unit",
    "Verdict",
    "Word",
    "earlier_verdicts",
    "ratio_state",
    "record",
    "rule",
    "rules_in_words",
    "verdict_frame",
    "verdicts_digest",
]
