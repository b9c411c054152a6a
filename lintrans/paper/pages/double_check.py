"""Tables and numbers of the page on the second implementation."""

from __future__ import annotations

import pandas as pd

from ..claims.twice import Twice
from ..problems import PROBLEMS
from ..second.compare import STATISTICS
from .common import TOLERANCE as TOLERANCE  # the chapter takes it from here
from .common import agrees as agrees
from .common import how_far as how_far


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


def twice_table(made: Twice) -> pd.DataFrame:
    """A row a case computed twice: means over these seeds, and how far both are apart."""
    rows = [
        {
            "claim": row.claim,
            "reading": row.reading,
            "case": row.case,
            "statistic": row.statistic,
            "state": row.state if row.before in (None, row.state) else f"{row.state}, was {row.before}",
            "steps": f"{row.steps:,}",
            "fast": f"{row.means[0]:.4g}",
            "second": f"{row.means[1]:.4g}",
            "seeds on one side": f"{row.sides} of {len(row.seeds)}",
            "largest relative difference": f"{row.difference:.0e}",
            "apart from step": "never" if row.apart is None else f"{row.apart:,}",
        }
        for row in made.rows
    ]
    return pd.DataFrame(rows)


def not_computed(made: Twice) -> pd.DataFrame:
    """The cases that were not, why, and what they would take."""
    rows = [
        {
            "claim": row.claim,
            "reading": row.reading,
            "case": row.case,
            "why": row.why,
            "minutes": "" if row.minutes is None else f"{row.minutes:.0f}",
        }
        for row in made.left
    ]
    return pd.DataFrame(rows, columns=["claim", "reading", "case", "why", "minutes"])
