"""Tables and numbers of the page on the second implementation and on other batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from ..budgets import CurvatureBudget
from ..claims import c3, c4
from ..claims.rules import Unit
from ..problems import PROBLEMS
from ..second.compare import STATISTICS
from .common import TOLERANCE as TOLERANCE  # the chapter takes it from here
from .common import agrees as agrees
from .common import how_far as how_far
from .common import unit_text

BatchUnits = dict[tuple[str, str], list[Unit]]
"""Units by (claim, case), one a batch; the fixed batch comes first."""


def sided(found: pd.DataFrame) -> pd.DataFrame:
    """The rows of statistics whose side of 1 matters."""
    return found[found["statistic"].map(lambda name: STATISTICS[name].sided)]


def places(found: pd.DataFrame) -> list[str]:
    """Problem and seed of every row."""
    pairs = zip(found["problem"], found["seed"], strict=True)
    return [f"{PROBLEMS[problem].title}, seed {int(seed)}" for problem, seed in pairs]


def largest(found: pd.DataFrame) -> pd.DataFrame:
    """The largest difference of each statistic, and where sides change, with the claims that read it."""
    rows = []
    for name, statistic in STATISTICS.items():
        if (own := found[found["statistic"] == name]).empty:
            continue
        top = own.sort_values("difference", ascending=False, kind="stable").head(1)
        changes = "; ".join(places(own[own["flips"]]))
        unsided = f"finite in only one of the two: {changes}" if changes else "has no side"
        rows.append(
            {
                "statistic": statistic.words,
                "claims": ", ".join(statistic.claims),
                "numbers": len(own),
                "largest relative difference": f"{top['difference'].iloc[0]:.1e} ({places(top)[0]})",
                "side of 1 changes in": (changes or "none") if statistic.sided else unsided,
            }
        )
    return pd.DataFrame(rows)


def by_precision(found: pd.DataFrame) -> dict[str, float]:
    """The largest difference by the precision in which the book trains."""
    kinds = found["problem"].map(lambda name: str(PROBLEMS[name].model.default_dtype).removeprefix("torch."))
    return {str(kind): own.max() for kind, own in found.groupby(kinds, sort=False)["difference"]}


def details(found: pd.DataFrame) -> pd.DataFrame:
    """Both numbers of every problem and statistic: medians over seeds, and the largest difference of a seed."""
    groups = found.groupby(["problem", "statistic"], sort=False)
    numbers = groups[["fast", "independent"]].median().map("{:.6g}".format)
    numbers["relative difference"] = groups["difference"].max().map("{:.0e}".format)
    table = numbers.reset_index()
    titles = table["problem"].map(lambda name: PROBLEMS[name].title)
    return table.assign(problem=titles, statistic=table["statistic"].map(lambda name: STATISTICS[name].words))


def batch_units(frames: Mapping[str, Sequence[pd.DataFrame]], curvature: CurvatureBudget) -> BatchUnits:
    """The cases of C3 and of C4's first half, judged on each batch by the claims' own rules.

    Args:
        frames: from :func:`lintrans.paper.measure.batches.measure_all`.
        curvature: where the claims are judged.
    """
    units: BatchUnits = {}
    for name, batches in frames.items():
        title = PROBLEMS[name].title
        for step in curvature.judged:
            case, there = f"{title}, step {step:,}", [frame[frame["step"] == step] for frame in batches]
            units[c3.CLAIM, case] = [c3.ratio_unit(frame, c3.PUBLIC, case, c3.RATIO) for frame in there]
        units[c4.CLAIM, title] = [c4.share_unit(title, frame, curvature.settled) for frame in batches]
    return units


def _estimates(units: Sequence[Unit]) -> list[float]:
    return [unit.interval.estimate for unit in units if unit.interval is not None]


def batch_table(units: BatchUnits) -> pd.DataFrame:
    """A row a case: the fixed batch with its interval, the range of the others' estimates, how often each state."""
    rows = []
    for (claim, case), (fixed, *others) in units.items():
        estimates, states = _estimates(others), Counter(unit.state.value for unit in others)
        rows.append(
            {
                "claim": claim,
                "case": case,
                "fixed batch": unit_text(fixed),
                "other batches": f"{min(estimates):.3g} to {max(estimates):.3g}" if estimates else "",
                "states there": ", ".join(f"{count} {state}" for state, count in states.most_common()),
                "the same on all": "**no**" if {*states} - {fixed.state.value} else "yes",
            }
        )
    return pd.DataFrame(rows)


def decided_by_batch(units: BatchUnits) -> list[str]:
    """Cases in which the batch decides the state."""
    return [f"{claim} in {case}" for (claim, case), on in units.items() if len({unit.state for unit in on}) > 1]


def outside_interval(units: BatchUnits) -> list[str]:
    """Cases in which some other batch's estimate lies outside the interval that the fixed batch has over seeds."""
    return [
        f"{claim} in {case}"
        for (claim, case), (fixed, *others) in units.items()
        if fixed.interval and not all(fixed.interval.low <= e <= fixed.interval.high for e in _estimates(others))
    ]
