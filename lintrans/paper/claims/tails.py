"""What every level of tail is measured for: the gap in loss and in steps, the tail of the noise, the gap in R_med.

Levels are Gamma shapes k of ||x||^2, in two families (:data:`lintrans.paper.problems.TAIL_FAMILIES`). Each level is
tuned and trained for itself at its own clip; all have one horizon, so that their gaps can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from ...statistics import ROUNDING, Interval, mean_interval, paired_t
from ...training.history import History
from ..judged import Tuning
from ..problems import PROBLEMS, TAIL_FAMILIES
from .c3 import CONVENTIONS, log_ratios_along
from .common import arms, floor, judged_losses, steps_to

PAIR = ("3", "sphere")
"""The heavy- and the light-tailed setting of the paper."""
FAMILIES = {"moment": "equal second moment and clip", "variance": "as in the paper"}
FEWEST = 3
"""Levels below which there is no trend."""
STATISTICS = {
    "loss": "end loss, SGD over Adam",
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


def target_of(name: str, history: History) -> float:
    """1.01 f* + 1 % f0, the loss at which a run counts as trained in claim C8."""
    return 1.01 * floor(history) + 0.01 * PROBLEMS[name].task.zero_loss


def step_ratio(name: str, history: History) -> tuple[pd.Series, bool]:
    """Per seed, log of the steps to :func:`target_of`, SGD over Adam; and whether most of both never get there."""
    taken = steps_to(history, target_of(name, history))
    censored = bool((taken.groupby("optimizer")["censored"].mean() > 0.5).all())
    return log_ratio(taken.assign(steps=taken["steps"].clip(lower=1.0)), "steps"), censored


def log_ratio(table: pd.DataFrame, column: str) -> pd.Series:
    """Per seed, log of SGD's value over Adam's."""
    sgd, adam = arms(table, column)
    return pd.Series(np.log(sgd) - np.log(adam), index=sorted(table["seed"].unique()), dtype=float)


def contrast(heavy: pd.Series | None, light: pd.Series | None) -> Interval | None:
    """Ratio of two statistics whose logs are given per seed, over the seeds that both have."""
    if heavy is None or light is None:
        return None
    difference = (heavy - light).replace([np.inf, -np.inf], np.nan).dropna()
    difference = difference.where(difference.abs() > ROUNDING, 0.0)  # equal ratios of steps may differ by rounding
    return paired_t(difference.to_numpy(np.float64)).exp() if len(difference) else None


def values(levels: Levels, settled: int) -> pd.DataFrame:
    """One row per family, shape, statistic and seed; ``value`` is the log of the ratio that STATISTICS names."""
    found: dict[str, dict[str, pd.Series]] = {}
    for name in problems_of():
        own = found.setdefault(name, {})
        own["noise"] = np.log(levels.noise[name].set_index("seed")["excess"]).dropna()
        if name not in levels.histories:
            continue
        history = levels.histories[name]
        own["loss"] = log_ratio(judged_losses(history, PROBLEMS[name].task.zero_loss), "loss")
        steps, censored = step_ratio(name, history)
        if not censored:
            own["steps"] = steps
        for metric in CONVENTIONS:
            own[metric] = log_ratios_along(levels.conditions[name], metric, settled)
    rows = [
        (family, shape, statistic, seed, value)
        for family, problems in TAIL_FAMILIES.items()
        for shape, name in problems.items()
        for statistic, series in found[name].items()
        for seed, value in series.items()
    ]
    return pd.DataFrame(rows, columns=["family", "shape", "statistic", "seed", "value"])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Geometric means over seeds with 95% intervals: family, shape, statistic, estimate, low, high, n."""
    rows = []
    for case, own in table.groupby(["family", "shape", "statistic"], sort=False):
        found = paired_t(own["value"].to_numpy(np.float64)).exp()
        rows.append((*case, found.estimate, found.low, found.high, found.n))
    return pd.DataFrame(rows, columns=["family", "shape", "statistic", "estimate", "low", "high", "n"])


@dataclass(frozen=True)
class Trend:
    """Whether a statistic grows with the level of tail: Kendall's tau, 1 where every heavier level has more of it.

    Attributes:
        tau, p: of the geometric means over seeds; p is exact where no two are equal. NaN where all are.
        seeds: mean of the tau of every seed that all levels have, with its 95% interval; None where there is none.
        levels: how many levels were measured.
    """

    family: str
    statistic: str
    tau: float
    p: float
    seeds: Interval | None
    levels: int


def trend(table: pd.DataFrame, family: str, statistic: str) -> Trend:
    """The trend of one statistic along one family, from :func:`values`."""
    own = table[(table["family"] == family) & (table["statistic"] == statistic)]
    wide = own.pivot(index="seed", columns="shape", values="value")
    wide = wide[sorted(wide.columns, reverse=True)]  # light tails first
    count = wide.shape[1]
    if count < FEWEST:
        return Trend(family, statistic, math.nan, math.nan, None, count)
    order = np.arange(count)
    whole = stats.kendalltau(order, wide.mean().to_numpy(np.float64))
    taus = [stats.kendalltau(order, row).statistic for row in wide.dropna().to_numpy(np.float64)]
    seeds = mean_interval(np.array(taus)) if len(taus) and np.isfinite(taus).all() else None
    return Trend(family, statistic, float(whole.statistic), float(whole.pvalue), seeds, count)


def trends(table: pd.DataFrame) -> list[Trend]:
    """Of every family and statistic."""
    return [trend(table, family, statistic) for family in FAMILIES for statistic in STATISTICS]
