"""Other batches in the cases of claims C3 and C4, for the double check: units on each batch, a table, counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from ..budgets import CurvatureBudget
from ..claims import c3, c4
from ..claims.records import interval_text
from ..claims.rules import Unit
from ..problems import PROBLEMS

Found = dict[tuple[str, str], list[Unit]]
"""Units by (claim, case), one a batch; the fixed batch comes first."""


def units(frames: Mapping[str, Sequence[pd.DataFrame]], curvature: CurvatureBudget) -> Found:
    """The cases of C3 and of C4's first half, judged on each batch by the claims' own rules.

    Args:
        frames: from :func:`lintrans.paper.measure.batches.measure_all`.
        curvature: where the claims are judged.
    """
    found: Found = {}
    for name, batches in frames.items():
        title = PROBLEMS[name].title
        for step in curvature.judged:
            case = f"{title}, step {step:,}"
            found[c3.CLAIM, case] = [
                c3.ratio_unit(frame[frame["step"] == step], c3.PUBLIC, case, c3.RATIO) for frame in batches
            ]
        found[c4.CLAIM, title] = [c4.share_unit(title, frame, curvature.settled) for frame in batches]
    return found


def turned(found: Found) -> list[str]:
    """Cases in which the batch decides the state."""
    return [f"{claim} in {case}" for (claim, case), own in found.items() if len({unit.state for unit in own}) > 1]


def table(found: Found) -> pd.DataFrame:
    """A row a case: the fixed batch with its interval, the range of the others' estimates, how often each state."""
    rows = []
    for (claim, case), (fixed, *others) in found.items():
        numbers = [unit.interval.estimate for unit in others if unit.interval is not None]
        states = Counter(unit.state.value for unit in others)
        rows.append(
            {
                "claim": claim,
                "case": case,
                "fixed batch": f"{interval_text(fixed.interval)} {fixed.state.value}",
                "other batches": f"{min(numbers):.3g} to {max(numbers):.3g}" if numbers else "",
                "states there": ", ".join(f"{count} {state}" for state, count in states.most_common()),
                "the same on all": "**no**" if any(unit.state != fixed.state for unit in others) else "yes",
            }
        )
    return pd.DataFrame(rows)


def outside(found: Found) -> list[str]:
    """Cases in which some other batch's estimate lies outside the interval that the fixed batch has over seeds."""
    cases = []
    for (claim, case), (fixed, *others) in found.items():
        numbers = [unit.interval.estimate for unit in others if unit.interval is not None]
        if fixed.interval and not all(fixed.interval.low <= number <= fixed.interval.high for number in numbers):
            cases.append(f"{claim} in {case}")
    return cases
