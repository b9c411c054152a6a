"""C4: Adam's directional smoothness is lower than SGD's, "which correlates with the speed-up of Adam over SGD".

Two halves (Ahn et al. 2024, section 3): the curvature v'Hv along each optimizer's own steps, signed, in Settings 1 to
3; and, over settings and learning rates, whether where the ratio of curvatures is larger the ratio of steps is too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from ...statistics import mean_interval, rank_correlation
from ...training.history import History
from ..budgets import CurvatureBudget, TuningBudget
from ..problems import PROBLEMS
from .common import (
    CASES,
    CURVATURE_ASKED,
    READINGS,
    Basis,
    curvature_deviations,
    deviations,
    floor,
    rules_digest,
    steps_to,
)
from .records import Verdict
from .rules import NO_KEYS, Keys, State, Unit, correlation_state, rule, share_state

CLAIM = "C4"
SENTENCE = "Adam's directional smoothness is lower than SGD's along training, which goes with Adam's speed-up."
CHAPTER = "directional_smoothness"
FIGURE = {"published": "fig-directional-smoothness", "tuned": "fig-directional-tuned"}
GROUP = "behaviours"
BASIS = Basis(CASES, ("smoothness", "loss_ratio"))
METRIC = "directional_smoothness"
SHARE = "share of steps with v'Hv larger for SGD"
CORRELATION = "rank correlation over settings and rates of curvature ratio and steps ratio"
SECOND_HALF = "smoothness and speed"


def shares(frame: pd.DataFrame, settled: int) -> pd.Series:
    """Per seed, the share of measured steps from `settled` on at which SGD's v'Hv is the larger; ties count half."""
    rows = frame[(frame["metric"] == METRIC) & (frame["step"] >= settled)]
    wide = rows.pivot(index=["seed", "step"], columns="optimizer", values="value").reindex(columns=["sgd", "adam"])
    wide = wide.dropna()
    larger = (wide["sgd"] > wide["adam"]) + 0.5 * (wide["sgd"] == wide["adam"])  # one parameter: one curvature
    return larger.groupby("seed").mean()


def share_unit(case: str, frame: pd.DataFrame | None, settled: int, keys: Keys = NO_KEYS) -> Unit:
    """The mean over seeds of :func:`shares`; None where it was not measured."""
    own = shares(frame, settled) if frame is not None else pd.Series(dtype=float)
    share = mean_interval(own.to_numpy(np.float64), null=0.5) if len(own) else None
    return Unit(case, SHARE, share, share_state(share), keys=keys)


def cells(grids: Mapping[str, tuple[History, pd.DataFrame]]) -> pd.DataFrame:
    """One row per setting, rate and seed: logs of the two ratios, SGD over Adam.

    Columns setting, lr, seed, curvature (log ratio of the medians over steps of v'Hv; NaN unless both are positive),
    speed (log ratio of steps to sqrt(f0 f*); NaN where neither optimizer gets there).
    """
    rows = []
    for name, (history, frame) in grids.items():
        target = math.sqrt(PROBLEMS[name].task.zero_loss * floor(history))
        taken = steps_to(history, target).set_index(["lr", "seed", "optimizer"])
        smooth = frame[frame["metric"] == METRIC].groupby(["lr", "seed", "optimizer"])["value"].median()
        for lr, seed in sorted({(lr, seed) for lr, seed, _ in taken.index}):
            sgd, adam = ((lr, seed, optimizer) for optimizer in ("sgd", "adam"))
            above, below = smooth.get(sgd, math.nan), smooth.get(adam, math.nan)
            curvature = math.log(above / below) if above > 0 and below > 0 else math.nan
            lost = taken.loc[sgd, "censored"] and taken.loc[adam, "censored"]
            both = (max(float(taken.loc[place, "steps"]), 1.0) for place in (sgd, adam))
            speed = math.nan if lost else math.log(next(both) / next(both))
            rows.append({"setting": name, "lr": lr, "seed": seed, "curvature": curvature, "speed": speed})
    return pd.DataFrame(rows, columns=["setting", "lr", "seed", "curvature", "speed"])


def correlations(table: pd.DataFrame) -> pd.Series:
    """Per seed, Spearman's correlation of the two log ratios over settings and rates."""
    per_seed = {
        seed: rank_correlation(own["curvature"].to_numpy(), own["speed"].to_numpy())
        for seed, own in table.groupby("seed")
    }
    return pd.Series(per_seed).dropna()


def judge(
    reading: str,
    scale: str,
    frames: Mapping[str, pd.DataFrame],
    table: pd.DataFrame,
    budget: TuningBudget,
    curvature: CurvatureBudget,
) -> Verdict:
    """The verdict of one reading."""
    units = []
    for name in CASES:
        units.append(share_unit(f"setting {name}", frames.get(name), curvature.settled, Keys((name,))))
    found = correlations(table)
    correlation = mean_interval(found.to_numpy(np.float64)) if len(found) else None
    state = correlation_state(correlation) if correlation is not None else State.MISSING
    units.append(Unit(SECOND_HALF, CORRELATION, correlation, state, keys=Keys(part="speed")))
    asked = deviations(budget, CURVATURE_ASKED, tuned=reading == "tuned")
    short = (*asked, *curvature_deviations(curvature, "grid"))
    return Verdict(CLAIM, reading, scale, CHAPTER, tuple(units), rule(units), short, rules_digest(__name__))


def negative_shares(frame: pd.DataFrame) -> pd.Series:
    """Per optimizer, the share of measured steps along which curvature is negative."""
    rows = frame[frame["metric"] == METRIC]
    return (rows["value"] < 0).groupby(rows["optimizer"]).mean()


def gains(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of two derived metrics: ``lr_smoothness`` = lr v'Hv and ``local_gain`` = (g.v)^2 / (2 v'Hv), if v'Hv > 0.

    The second is the decrease that the quadratic model promises along v at its best length.
    """
    keys = ["run", "optimizer", "lr", "clip", "seed", "step"]
    wide = frame.pivot(index=keys, columns="metric", values="value").reset_index()
    curvature = wide[METRIC]
    wide["lr_smoothness"] = wide["lr"] * curvature
    wide["local_gain"] = np.where(curvature > 0, wide["slope"] ** 2 / (2 * curvature.where(curvature > 0)), np.nan)
    long = wide.melt(keys, ["lr_smoothness", "local_gain"], var_name="metric", value_name="value")
    return long.dropna(subset="value")


__all__ = ["CHAPTER", "CLAIM", "FIGURE", "READINGS", "SENTENCE", "cells", "correlations", "gains", "judge", "shares"]
