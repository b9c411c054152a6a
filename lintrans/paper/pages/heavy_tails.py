"""Tables and numbers of the page on heavy tails."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from ...statistics import Interval
from ...training.history import History
from ..claims.c8 import steps_of
from ..claims.records import interval_text
from ..claims.rules import LEVEL, State, Unit
from ..claims.tails import FAMILIES, FEWEST, PAIR, STATISTICS, Trend, level_name, target_of
from ..problems import PROBLEMS, TAIL_FAMILIES
from ..protocol import Tuning
from ..scales import LABELS

SHOWN = ("loss", "noise", "r_lower")
"""Statistics of the figure: gap in loss, tail of the noise, gap in R_med."""
GAUSSIAN = 2.5
"""The shape at which the covariates are Gaussian, for d = 5, whatever their scale."""


def _levels() -> Iterator[tuple[str, float, str, dict[str, str]]]:
    """Family, shape, problem and first cells of a row, of each level."""
    for family, problems in TAIL_FAMILIES.items():
        for shape, name in problems.items():
            yield family, shape, name, {"family": FAMILIES[family], "level": level_name(shape)}


def levels(summary: pd.DataFrame, statistics: Sequence[str], shapes: Sequence[float] = ()) -> pd.DataFrame:
    """Statistics with their intervals, a row a family and level; only of the shapes named, if any."""
    intervals = {
        (row["family"], row["shape"], row["statistic"]): Interval(
            row["estimate"], row["low"], row["high"], math.nan, row["n"]
        )
        for row in summary.to_dict("records")
    }
    return pd.DataFrame(
        cells
        | {
            r"$\mathbb{E}\lVert x \rVert^2$": f"{PROBLEMS[name].task.zero_loss:.3g}",
            "clip": f"{PROBLEMS[name].clip:g}",
        }
        | {STATISTICS[key]: interval_text(intervals.get((family, shape, key))) for key in statistics}
        for family, shape, name, cells in _levels()
        if not shapes or shape in shapes
    )


def scale_alone(summary: pd.DataFrame) -> list[str]:
    """Statistics whose intervals lie apart between the two families at Gaussian covariates, which differ in scale."""
    at = summary[(summary["shape"] == GAUSSIAN) & summary["statistic"].isin(SHOWN)].groupby("statistic", sort=False)
    return [STATISTICS[str(name)] for name, both in at if both["low"].max() > both["high"].min()]


def trends(found: Sequence[Trend]) -> pd.DataFrame:
    """Kendall's tau of every statistic and family."""
    rows = []
    for trend in found:
        measured = not math.isnan(trend.tau)
        rows.append(
            {
                "family": FAMILIES[trend.family],
                "statistic": STATISTICS[trend.statistic],
                "levels": trend.levels,
                "τ of the means": f"{trend.tau:.2f}" if measured else "not measured",
                "p": f"{trend.p:.2g}" if measured else "no number",
                "mean τ over seeds [95% interval]": interval_text(trend.seeds),
            }
        )
    return pd.DataFrame(rows)


def trend_units(found: Sequence[Trend]) -> list[Unit]:
    """Trends of the figure's statistics: YES grows at every step, WEAK grows, REV shrinks, NULL all levels alike."""
    return [
        Unit(
            f"{STATISTICS[trend.statistic]}, {FAMILIES[trend.family]}",
            "no τ" if math.isnan(trend.tau) else f"τ = {trend.tau:.2f}, p = {trend.p:.2g}",
            trend.seeds,
            _state(trend),
        )
        for trend in found
        if trend.statistic in SHOWN
    ]


def _state(trend: Trend) -> State:
    if math.isnan(trend.tau):
        return State.NULL if trend.levels >= FEWEST else State.MISSING
    if trend.p >= LEVEL:
        return State.UNDECIDED
    if trend.tau < 0:
        return State.REV
    return State.YES if trend.tau > 1 - 1e-9 else State.WEAK


def rates(tunings: Mapping[str, Tuning]) -> pd.DataFrame:
    """The best rates of every level."""
    rows = []
    for _, _, name, cells in _levels():
        best = tunings[name].best if name in tunings else {}
        numbers = {f"{label} rate": f"{best[o].lr:g}" if o in best else "none" for o, label in LABELS.items()}
        rows.append(cells | numbers)
    return pd.DataFrame(rows)


def steps(histories: Mapping[str, History]) -> pd.DataFrame:
    """Targets and median steps to them, with the runs that never get there, a row a setting."""
    rows = []
    for name in (name for name in PAIR if name in histories):
        row = {"setting": PROBLEMS[name].title, "target 1.01 f* + 1 % f0": f"{target_of(name, histories[name]):.3g}"}
        for optimizer, label in LABELS.items():
            logs, lost = steps_of(histories[name], name, optimizer)
            row[f"{label}: median steps"] = f"{math.exp(logs.median()):,.0f}" if lost <= 0.5 else "not reached"
            row[f"{label}: never reached"] = f"{round(lost * len(logs))} of {len(logs)}"
        rows.append(row)
    return pd.DataFrame(rows)
