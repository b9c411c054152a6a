"""What every level of tail is measured for: the gap in loss and in steps, the tail of the noise, the gap in R_med.

Levels are Gamma shapes k of ||x||^2, in two families (:data:`lintrans.paper.problems.TAIL_FAMILIES`). Each level is
tuned and trained for itself at its own clip; all have one horizon, so that their gaps can be compared, and f* of a
level is that of its own trainings.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ...statistics import Interval, mean_of
from ...training.history import History
from ..judged import Tuning
from ..problems import PROBLEMS, TAIL_FAMILIES
from .c3 import CONVENTIONS, log_ratios_along
from .common import Bounded, arms, floor, judged_losses, steps_to

PAIR = ("3", "sphere")
"""The heavy- and the light-tailed setting of the paper."""
CLIPPED = ("3", "tail sphere")
"""The same among the levels of tail, where both are clipped at 1."""
AT_CLIP = "at equal clip"
FAMILIES = {"moment": "equal second moment and clip", "variance": "as in the paper"}
FEWEST = 3
"""Levels below which there is no trend."""
STATISTICS = {
    "loss": "end loss, SGD over Adam",
    "above": "end loss above f*, SGD over Adam",
    "steps": "steps to target, SGD over Adam",
    "noise": "E of the noise at initialization",
    **{metric: f"R_med, SGD over Adam, {words}" for metric, words in CONVENTIONS.items()},
}


def level_name(shape: float) -> str:
    """A level on an axis or in a table: "sphere", "k = 0.1"."""
    return "sphere" if math.isinf(shape) else f"k = {shape:g}"


def problems_of(families: Mapping[str, Mapping[float, str]] = TAIL_FAMILIES) -> tuple[str, ...]:
    """All problems of the families, each once."""
    return tuple(dict.fromkeys(name for family in families.values() for name in family.values()))


@dataclass(frozen=True)
class Levels:
    """What was trained and measured at every level, by problem.

    Attributes:
        histories: at each optimizer's best rate; a problem without an interior one is left out.
        conditions: condition numbers of these runs.
        tunings: the searches for the best rates.
        noise: tables of gradient noise at initialization.
    """

    histories: dict[str, History]
    conditions: dict[str, pd.DataFrame]
    tunings: dict[str, Tuning]
    noise: dict[str, pd.DataFrame]


def trained_target(name: str, *histories: History) -> float:
    """1.01 f* + 1 % f0, the loss at which a run counts as trained in claim C8; f* over all of these trainings."""
    return 1.01 * floor(*histories) + 0.01 * PROBLEMS[name].task.zero_loss


def steps_of(name: str, history: History, target: float) -> pd.DataFrame:
    """The runs' table with the steps to a target, from :func:`~lintrans.paper.claims.common.steps_to`."""
    return steps_to(history, target, zero_loss=PROBLEMS[name].task.zero_loss)


def log_ratio(table: pd.DataFrame, column: str) -> pd.Series:
    """Per seed, log of SGD's value over Adam's."""
    sgd, adam = arms(table, column)
    return pd.Series(np.log(sgd) - np.log(adam), index=sorted(table["seed"].unique()), dtype=float)


def loss_gap(name: str, history: History, cooled: bool = False) -> pd.Series:
    """Per seed, log of SGD's end loss over Adam's, or of the losses after the cooldown."""
    return log_ratio(judged_losses(history, PROBLEMS[name].task.zero_loss, cooled), "loss")


def gap_above(name: str, history: History) -> pd.Series:
    """The same of what is left above f*; a seed with a run that ends no higher than it has none."""
    losses = judged_losses(history, PROBLEMS[name].task.zero_loss)
    left = (losses["loss"] - floor(history)).where(lambda values: values > 0)
    return log_ratio(losses.assign(left=left), "left").dropna()


def contrast(heavy: pd.DataFrame | None, light: pd.DataFrame | None) -> pd.DataFrame:
    """Difference of two tables [seeds, batches] of logarithms, where both have numbers; empty where one is missing."""
    if heavy is None or light is None:
        return pd.DataFrame()
    return (heavy - light).dropna(axis=1, how="all").dropna()


Logs: TypeAlias = pd.Series | pd.DataFrame | Bounded
"""Logarithms by seed, by seed and batch, or by seed on the grid of what was measured."""


def _of_level(name: str, levels: Levels, settled: int) -> dict[str, Logs]:
    """All statistics of one level."""
    found: dict[str, Logs] = {"noise": np.log(levels.noise[name].set_index("seed")["excess"]).dropna()}
    if name not in levels.histories:
        return found
    history = levels.histories[name]
    found |= {"loss": loss_gap(name, history), "above": gap_above(name, history)}
    steps = steps_of(name, history, trained_target(name, history))
    gap = Bounded.of(steps, "sgd") - Bounded.of(steps, "adam")
    if not (gap.least | gap.most).any():  # a bound has no place in an order
        found["steps"] = gap
    return found | {metric: log_ratios_along(levels.conditions[name], metric, settled) for metric in CONVENTIONS}


def _rows(logs: Logs) -> Iterator[tuple[Hashable, Hashable, float, float]]:
    """Seed, batch, logarithm and half the distance between measurements there."""
    if isinstance(logs, Bounded):
        own = zip(logs.logs.index, logs.logs, logs.width, strict=True)
        yield from ((seed, 0, value, width) for seed, value, width in own)
        return
    for batch, column in logs.items() if isinstance(logs, pd.DataFrame) else [(0, logs)]:
        yield from ((seed, batch, value, 0.0) for seed, value in column.items())


def values(levels: Levels, settled: int) -> pd.DataFrame:
    """One row per family, shape, statistic, seed and batch (0 where there is none).

    ``value`` is the log of the ratio that STATISTICS names, ``width`` what it is known to at best.
    """
    found = {name: _of_level(name, levels, settled) for name in problems_of()}
    rows = [
        (family, shape, statistic, *row)
        for family, problems in TAIL_FAMILIES.items()
        for shape, name in problems.items()
        for statistic, logs in found[name].items()
        for row in _rows(logs)
    ]
    return pd.DataFrame(rows, columns=["family", "shape", "statistic", "seed", "batch", "value", "width"])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Geometric means over seeds, and batches, with 95% intervals: family, shape, statistic, estimate, low, high, n.

    No interval is narrower than what is known at best.
    """
    rows = []
    for case, own in table.groupby(["family", "shape", "statistic"], sort=False):
        wide = own.pivot(index="seed", columns="batch", values="value").dropna()
        if len(wide):
            found, half = mean_of(wide.to_numpy(np.float64)), float(own["width"].mean())
            low, high = min(found.low, found.estimate - half), max(found.high, found.estimate + half)
            found = (found if math.isnan(found.low) else replace(found, low=low, high=high)).exp()
            rows.append((*case, found.estimate, found.low, found.high, found.n))
    return pd.DataFrame(rows, columns=["family", "shape", "statistic", "estimate", "low", "high", "n"])


@dataclass(frozen=True)
class Trend:
    """Whether a statistic grows with the level of tail: Kendall's tau, 1 where every heavier level has more of it.

    Attributes:
        tau, p: of the geometric means over seeds; p is exact where no two are equal. NaN where all are.
        seeds: mean of the tau of every seed that all levels have, from :func:`tau_interval`; None where there is none.
        levels: how many levels were measured.
    """

    family: str
    statistic: str
    tau: float
    p: float
    seeds: Interval | None
    levels: int


def tau_interval(taus: npt.NDArray[np.float64], levels: int) -> Interval:
    """Mean of Kendall's tau over seeds by Fisher's z, with its 95% interval, inside [-1, 1].

    One swap of neighbours changes tau by 4 / (levels (levels - 1)), and the levels can tell no less: a tau of +-1
    counts as half a swap away from it, and the interval reaches half a swap to both sides.
    """
    half = 2.0 / (levels * (levels - 1))
    found = mean_of(np.arctanh(np.clip(taus, half - 1.0, 1.0 - half))).map(np.tanh)
    low, high = min(found.low, found.estimate - half), max(found.high, found.estimate + half)
    return found if math.isnan(found.low) else replace(found, low=max(low, -1.0), high=min(high, 1.0))


def trend(table: pd.DataFrame, family: str, statistic: str) -> Trend:
    """The trend of one statistic along one family, from :func:`values`."""
    own = table[(table["family"] == family) & (table["statistic"] == statistic)]
    wide = own.pivot_table(index="seed", columns="shape", values="value", aggfunc="mean")
    wide = wide[sorted(wide.columns, reverse=True)]  # light tails first
    count = wide.shape[1]
    if count < FEWEST:
        return Trend(family, statistic, math.nan, math.nan, None, count)
    order = np.arange(count)
    whole = stats.kendalltau(order, wide.mean().to_numpy(np.float64))
    taus = np.array([stats.kendalltau(order, row).statistic for row in wide.dropna().to_numpy(np.float64)])
    seeds = tau_interval(taus, count) if len(taus) and np.isfinite(taus).all() else None
    return Trend(family, statistic, float(whole.statistic), float(whole.pvalue), seeds, count)


def trends(table: pd.DataFrame) -> list[Trend]:
    """Of every family and statistic."""
    return [trend(table, family, statistic) for family in FAMILIES for statistic in STATISTICS]
