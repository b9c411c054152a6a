"""Tables and numbers of the page on the second implementation."""

from __future__ import annotations

import pandas as pd

from ..claims.rules import State
from ..claims.twice import Found, Twice
from ..claims.wording import NAMES
from ..problems import PROBLEMS
from ..second.compare import STATISTICS
from .common import TOLERANCE as TOLERANCE  # the chapter takes it from here
from .common import agrees as agrees
from .common import how_far as how_far
from .template import Lamp


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
            "state": _state(row),
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


def _state(row: Found) -> str:
    """The state of a case in words, and the one that it had before where that was another."""
    now = NAMES[State(row.state)]
    return now if row.before in (None, row.state) else f"{now}, was {NAMES[State(str(row.before))]}"


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


def twice_in_short(made: Twice | None) -> str:
    """What the second implementation said of the verdicts' own numbers, in a few words."""
    if made is None or not made.rows:
        return "nothing was computed twice with this version"
    same = len(made.rows) - len(made.other_side)
    return f"both lie on the same side of no difference in {same} of {len(made.rows)} cases"


def lamps(found: pd.DataFrame, made: Twice | None) -> dict[str, Lamp]:
    """The four lamps of the page: statistics, problems, horizons and seeds in which both implementations agree."""
    close = found.assign(close=(found["difference"] < TOLERANCE) & ~found["flips"])
    by = {column: close.groupby(column)["close"].all() for column in ("statistic", "problem", "seed")}
    rows = made.rows if made else ()
    return {
        "convention": Lamp(int(by["statistic"].sum()), len(by["statistic"]), "statistics agree to 1% everywhere"),
        "test_batch": Lamp(int(by["problem"].sum()), len(by["problem"]), "problems, each with its own batch, agree"),
        "horizon": Lamp(
            sum(row.same_side for row in rows), len(rows), "cases are on the same side at their own horizons"
        ),
        "seeds": Lamp(int(by["seed"].sum()), len(by["seed"]), "seeds agree to 1% everywhere"),
    }


def conclusion(found: pd.DataFrame, made: Twice | None) -> str:
    """What follows of both parts, as a list in Markdown."""
    short = (
        "**No mistake shows in a short training**, neither in a kernel, in the moment form, in the drawing of "
        "prompts nor "
        "in the clip or the optimizers: another program, in double precision, goes the same way."
        if agrees(found)
        else "**The two do not agree everywhere**; compare the differences below with the margins of the rules, a "
        "quarter "
        "for a ratio."
    )
    if made is None or not made.rows:
        return f"- {short}\n- Whether that holds at the verdicts' own horizons was not computed with this version."
    other = ", ".join(f"{row.claim} {row.reading}, {row.case}" for row in made.other_side)
    long = f"Cases on the other side: {other}." if other else "No case at its own horizon lies on the other side."
    return f"- {short}\n- {long}"


def amplified(found: pd.DataFrame, made: Twice | None) -> str:
    """Which statistics differ most, in the middle, and when long trainings part."""
    middle = found.groupby("statistic")["difference"].median().sort_values(ascending=False)
    worst, least = middle.index[0], middle.index[-1]
    text = (
        f"In the middle the {STATISTICS[worst].words} differs by {middle.iloc[0]:.0e}, the {STATISTICS[least].words} "
        "only "
        f"by {middle.iloc[-1]:.0e}."
    )
    steps = sorted(row.apart for row in made.rows if row.apart is not None) if made else []
    return text + (f" In {len(steps)} long trainings runs part, from step {steps[0]:,} on." if steps else "")
