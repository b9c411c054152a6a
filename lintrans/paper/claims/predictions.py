"""What F5 to F10 share: a limit that was predicted, and how their verdicts are made.

Rules and predictions were fixed before any of it was run; the seeds that judge are 100 and up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...statistics import Interval, paired_t
from .common import Bounded, rules_digest
from .records import Verdict
from .rules import Keys, State, Unit, rule

GROUP = "why"
FIRST_SEED = 100
"""Judging seeds begin here: an exploratory pilot had used 0 to 5."""


def side_state(found: Interval | None, limit: float, above: bool = False) -> State:
    """YES where the whole interval lies on the predicted side of a limit, REV where it lies on the other.

    A bound decides only what it decides alone.
    """
    if found is None or math.isnan(found.estimate):
        return State.MISSING
    under = found.high < limit and found.bound in ("", "<=")
    over = found.low > limit and found.bound in ("", ">=")
    if not (under or over):
        return State.UNDECIDED
    return State.YES if over == above else State.REV


def under_unit(case: str, statistic: str, gap: Bounded | None, limit: float, keys: Keys) -> Unit:
    """A gap that is predicted to be below a limit; its p-value is against that limit."""
    ratio = gap.ratio() if gap is not None else None
    if gap is None or ratio is None:
        return Unit(case, statistic, None, State.MISSING, keys=keys)
    test = paired_t(gap.logs.to_numpy(np.float64) - math.log(limit))
    own = replace(ratio, p=1.0 if ratio.bound else test.p, flip=math.nan)
    return Unit(case, statistic, own, side_state(own, limit), keys=keys)


def verdict_of(
    module: str, claim: str, reading: str, scale: str, chapter: str, units: Sequence[Unit], short: Sequence[str]
) -> Verdict:
    """A verdict over units by the common rule, with the digest of the module that judged."""
    return Verdict(claim, reading, scale, chapter, tuple(units), rule(units), tuple(short), rules_digest(module))
