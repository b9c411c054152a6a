"""How much hangs on the learning rate: basins of good rates, published against best rates, steps to targets.

Everything is read off trainings that the judged claims need as well (:mod:`lintrans.paper.protocol`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...statistics import Interval, geometric_ratio
from ..judged import Judged, Tuning
from ..problems import PROBLEMS
from .common import judged_losses, steps_to

FACTOR = 2.0
"""A rate is in the basin where its loss is at most this many times the best."""
SHARES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Targets as shares of the zero predictor's loss, so that settings can be compared."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Searches:
    """All searches and judged trainings of the paper's settings.

    Attributes:
        short: the whole grid, judged where it ends.
        judged: the best of the grid at the horizon, and the judged trainings.
    """

    short: dict[str, Tuning]
    judged: Judged


@dataclass(frozen=True)
class Basin:
    """The rates around the best whose loss is at most FACTOR times the best, log-linearly interpolated.

    No loss further than half way to the zero predictor's, in logarithms, is in it: where little is learned, twice the
    best is no loss to call good.

    Attributes:
        best, loss: the best rate tried and its loss.
        low, high: edges of the basin.
        open_low, open_high: the basin reaches the lowest or highest rate tried, so that it may be wider.
    """

    best: float
    loss: float
    low: float
    high: float
    open_low: bool
    open_high: bool

    @property
    def decades(self) -> float:
        """Its width; a lower bound where it is open."""
        return math.log10(self.high / self.low)


def basin(rates: Array, losses: Array, zero_loss: float = math.inf) -> Basin:
    """The basin of a curve of positive finite losses over increasing rates, connected around its lowest point.

    No rate is in it where all losses are the zero predictor's: it has no width then.
    """
    x, y = np.log(rates), np.log(losses)
    place = int(np.argmin(y))
    if losses[place] >= zero_loss:
        rate = float(rates[place])
        return Basin(rate, float(losses[place]), rate, rate, open_low=False, open_high=False)
    level = y[place] + min(math.log(FACTOR), 0.5 * (math.log(zero_loss) - y[place]))

    def edge(step: int) -> tuple[float, bool]:
        at = place
        while 0 <= at + step < len(y):
            if y[at + step] > level:
                share = (level - y[at]) / (y[at + step] - y[at])
                return float(np.exp(x[at] + share * (x[at + step] - x[at]))), False
            at += step
        return float(rates[at]), True

    (low, open_low), (high, open_high) = edge(-1), edge(1)
    return Basin(float(rates[place]), float(losses[place]), low, high, open_low, open_high)


def basins(tunings: Mapping[str, Tuning]) -> pd.DataFrame:
    """The basin of every setting, optimizer and clip, of the median over tuning seeds and of each seed alone.

    A run that diverged or ends no better than the zero predictor counts as the zero predictor.

    Returns:
        Columns setting, optimizer, clip, seed (missing: of the median), best, loss, low, high, open_low, open_high,
        decades.
    """
    rows = []
    for name, tuning in tunings.items():
        losses = tuning.losses[tuning.losses["screened"]]
        zero = PROBLEMS[name].task.zero_loss
        for (optimizer, clip), own in losses.groupby(["optimizer", "clip"], sort=False):
            table = own.assign(loss=own["loss"].where(own["loss"] < zero, zero)).pivot(
                index="lr", columns="seed", values="loss"
            )
            table = table.dropna().sort_index()
            curves = {None: table.median(axis=1)} | {seed: table[seed] for seed in table.columns}
            where = {"setting": name, "optimizer": optimizer, "clip": clip}
            for seed, curve in curves.items():
                found = basin(curve.index.to_numpy(np.float64), curve.to_numpy(np.float64), zero)
                rows.append({**where, "seed": seed, **asdict(found), "decades": found.decades})
    frame = pd.DataFrame(rows)
    return frame.assign(seed=frame["seed"].astype("Int64"))


@dataclass(frozen=True)
class Choice:
    """One optimizer's published rate against its best one, in one setting, on judging seeds.

    Attributes:
        published, best: (rate, clip).
        ratio: end loss at the published over that at the best rate, geometric mean with t interval.
        worse: seeds on which the published rate ends higher.
    """

    setting: str
    optimizer: str
    published: tuple[float, float]
    best: tuple[float, float]
    ratio: Interval
    worse: int

    @property
    def same(self) -> bool:
        """The best rate and clip are the published ones."""
        return self.published == self.best


def choices(judged: Judged) -> list[Choice]:
    """Published against best, for every setting that has both and each optimizer."""
    found = []
    for name, published in judged.published.items():
        if name not in judged.tuned:
            continue
        zero = PROBLEMS[name].task.zero_loss
        tables = [judged_losses(history, zero) for history in (published, judged.tuned[name])]
        for optimizer in PROBLEMS[name].lr:
            arms = [table[table["optimizer"] == optimizer].sort_values("seed") for table in tables]
            above, below = (arm["loss"].to_numpy(np.float64) for arm in arms)
            rates = [(float(arm["lr"].iloc[0]), float(arm["clip"].iloc[0])) for arm in arms]
            worse = int((above > below).sum())
            found.append(Choice(name, optimizer, rates[0], rates[1], geometric_ratio(above, below), worse))
    return found


def speeds(judged: Judged) -> pd.DataFrame:
    """Steps to each target at the best rates, a row a setting, optimizer, seed and target.

    Returns:
        Columns setting, optimizer, seed, share (of the zero predictor's loss), steps, censored.
    """
    parts = []
    for name, history in judged.tuned.items():
        for share in SHARES:
            zero = PROBLEMS[name].task.zero_loss
            taken = steps_to(history, share * zero, zero_loss=zero)
            parts.append(taken[["optimizer", "seed", "steps", "censored"]].assign(setting=name, share=share))
    columns = ["setting", "optimizer", "seed", "share", "steps", "censored"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
