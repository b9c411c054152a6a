"""A claim, its statistic, its verdict.

:mod:`.rules` judges, :mod:`.records` keeps, :mod:`.scorecard` sums up; one module per claim measures and
judges; what a page shows of it is in :mod:`lintrans.pages`.
"""

from __future__ import annotations

from . import (
    c1,
    c1_page,
    c2,
    c3,
    c4,
    c5,
    c6,
    c7,
    c8,
    c9,
    c10,
    c11,
    c12,
    c13,
    c14,
    c15,
    c16,
    c17,
    common,
    contradictions,
)
from .records import Verdict, earlier_verdicts, record, verdict_frame, verdicts_digest
from .rules import RULES, Ruling, State, Unit, Word, ratio_state, rule, rules_in_words
from .scorecard import CLAIMS, cards, overview

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
    "c2",
    "c3",
    "c4",
    "c5",
    "c6",
    "c7",
    "c8",
    "c9",
    "c10",
    "c11",
    "c12",
    "c13",
    "c14",
    "c15",
    "c16",
    "c17",
    "cards",
    "common",
    "contradictions",
    "earlier_verdicts",
    "overview",
    "ratio_state",
    "record",
    "rule",
    "rules_in_words",
    "verdict_frame",
    "verdicts_digest",
]
