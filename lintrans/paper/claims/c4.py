"""C4: Adam's directional smoothness is lower than SGD's, "which correlates with the speed-up of Adam over SGD".

Two halves (Ahn et al. 2024, section 3), each in Settings 1 to 3 and over seeds and evaluation batches, both random: the
curvature v'Hv along each optimizer's own steps, signed; and, over learning rates, whether where the ratio of curvatures
is larger the ratio of steps is too. Settings are not pooled: a correlation over all of them is one between settings.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ...statistics import correlation_interval, rank_correlation, share_interval
from ...training.history import History
from ..budgets import CurvatureBudget, TuningBudget
from ..judged import Judged
from .common import (
    CASES,
    CURVATURE_ASKED,
    FIXED_BATCH,
    READINGS,
    Basis,
    by_seed_and_batch,
    curvature_deviations,
    deviations,
    on_batches,
    papers_sample,
    rules_digest,
    steps_to,
    target_of,
)
from .records import Verdict
from .rules import NO_KEYS, Keys, Unit, agree, correlation_state, rule, share_state

CLAIM = "C4"
SENTENCE = "Adam's directional smoothness is lower than SGD's along training, which goes with Adam's speed-up."
CHAPTER = "directional_smoothness"
FIGURE = {"published": "fig-directional-smoothness", "tuned": "fig-directional-tuned"}
GROUP = "behaviours"
BASIS = Basis(CASES, ("smoothness", "loss_ratio"))
METRIC = "directional_smoothness"
SHARE = "share of steps with v'Hv larger for SGD"
CORRELATION = "rank correlation over rates of curvature ratio and steps ratio"
SPEED = "speed"


def larger(frame: pd.DataFrame, settled: int, fixed: bool = False) -> pd.Series:
    """By seed, batch and step from `settled` on: 1 where SGD's v'Hv is the larger, 0 where Adam's is; ties are half."""
    rows = on_batches(frame, fixed)
    rows = rows[(rows["metric"] == METRIC) & (rows["step"] >= settled)]
    wide = rows.pivot(index=["seed", "batch", "step"], columns="optimizer", values="value")
    wide = wide.reindex(columns=["sgd", "adam"]).dropna()
    return (wide["sgd"] > wide["adam"]) + 0.5 * (wide["sgd"] == wide["adam"])  # one parameter: one curvature


def shares(frame: pd.DataFrame, settled: int, fixed: bool = False) -> pd.DataFrame:
    """A table [seeds, batches] of the share of measured steps from `settled` on at which SGD's v'Hv is the larger."""
    return by_seed_and_batch(larger(frame, settled, fixed))


def share_unit(case: str, frame: pd.DataFrame | None, settled: int, keys: Keys = NO_KEYS, fixed: bool = False) -> Unit:
    """The mean of :func:`shares`; None where it was not measured. On the fixed batch it decides nothing."""
    share = None
    if frame is not None and not (points := larger(frame, settled, fixed)).empty:
        count = int(points.groupby(level=["seed", "batch"]).size().min())
        share = share_interval(by_seed_and_batch(points).to_numpy(np.float64), count)
    return Unit(case, SHARE, share, share_state(share), not fixed, keys)


def cells(grids: Mapping[str, tuple[History, pd.DataFrame]], judged: Judged) -> pd.DataFrame:
    """One row per setting, rate, seed and batch: logs of the two ratios, SGD over Adam.

    Columns setting, lr, seed, batch, curvature (log ratio of the medians over steps of v'Hv; NaN unless both are
    positive), speed (log ratio of steps to sqrt(f0 f*); NaN where neither optimizer gets there).
    """
    found = []
    for name, (history, frame) in grids.items():
        target = target_of(name, *judged.all_of(name), history)
        taken = steps_to(history, target).pivot(index=["lr", "seed"], columns="optimizer")
        both = taken["censored"]["sgd"] & taken["censored"]["adam"]
        logs = np.log(taken["steps"].clip(lower=1.0))
        speed = (logs["sgd"] - logs["adam"]).mask(both).rename("speed")
        rows = frame[frame["metric"] == METRIC]
        smooth = rows.groupby(["lr", "seed", "batch", "optimizer"])["value"].median().unstack("optimizer")
        logs = np.log(smooth.where((smooth > 0).all(axis=1)))
        curvature = (logs["sgd"] - logs["adam"]).rename("curvature").reset_index()
        found.append(curvature.merge(speed.reset_index(), on=["lr", "seed"]).assign(setting=name))
    columns = ["setting", "lr", "seed", "batch", "curvature", "speed"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def correlations(table: pd.DataFrame, fixed: bool = False) -> pd.DataFrame:
    """Spearman's correlation of the two log ratios over the rates, of one setting's cells: a table [seeds, batches]."""
    found = {
        place: rank_correlation(own["curvature"].to_numpy(), own["speed"].to_numpy())
        for place, own in on_batches(table, fixed).groupby(["seed", "batch"])
    }
    index = pd.MultiIndex.from_tuples(found, names=["seed", "batch"])
    return by_seed_and_batch(pd.Series(list(found.values()), index, dtype=float))


def speed_unit(case: str, table: pd.DataFrame, keys: Keys, fixed: bool = False) -> Unit:
    """The mean of :func:`correlations` of one setting. On the fixed batch it decides nothing."""
    own = table[table["setting"] == keys.problem]
    values, found = correlations(own, fixed), None
    if values.size:
        counted = on_batches(own, fixed).dropna().groupby(["seed", "batch"]).size()
        found = correlation_interval(values.to_numpy(np.float64), int(counted[counted >= 3].min()))
    return Unit(case, CORRELATION, found, correlation_state(found), not fixed, keys)


def judge(
    reading: str,
    scale: str,
    frames: Mapping[str, pd.DataFrame],
    table: pd.DataFrame,
    budget: TuningBudget,
    curvature: CurvatureBudget,
) -> Verdict:
    """The verdict of one reading."""
    settled, few, sample = curvature.settled, papers_sample(table, curvature.judging), []
    units = [share_unit(f"setting {name}", frames.get(name), settled, Keys((name,))) for name in CASES]
    for name in CASES:
        own = papers_sample(frames[name], curvature.judging) if name in frames else None
        case, keys = f"setting {name}, {FIXED_BATCH}", Keys((name,), part=FIXED_BATCH)
        sample.append(share_unit(case, own, settled, keys, fixed=True))
    for name in CASES:
        case, keys = f"setting {name}, {SPEED}", Keys((name,), convention=SPEED)
        units.append(speed_unit(case, table, keys))
        sample.append(speed_unit(f"{case}, {FIXED_BATCH}", few, keys._replace(part=FIXED_BATCH), fixed=True))
    asked = deviations(budget, CURVATURE_ASKED, tuned=reading == "tuned")
    short = (*asked, *curvature_deviations(curvature, "grid"))
    checks, every = {FIXED_BATCH: agree(units, sample)}, (*units, *sample)
    return Verdict(CLAIM, reading, scale, CHAPTER, every, rule(units), short, rules_digest(__name__), checks)


def negative_shares(frame: pd.DataFrame, fixed: bool = False) -> pd.Series:
    """Per optimizer, the share of measured steps (and batches) along which curvature is negative."""
    rows = on_batches(frame, fixed)
    rows = rows[rows["metric"] == METRIC]
    return (rows["value"] < 0).groupby(rows["optimizer"]).mean()


def gains(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of two derived metrics: ``lr_smoothness`` = lr v'Hv and ``local_gain`` = (g.v)^2 / (2 v'Hv), if v'Hv > 0.

    The second is the decrease that the quadratic model promises along v at its best length.
    """
    keys = ["run", "optimizer", "lr", "clip", "seed", "step", "batch"]
    wide = frame.pivot(index=keys, columns="metric", values="value").reset_index()
    curvature = wide[METRIC]
    wide["lr_smoothness"] = wide["lr"] * curvature
    wide["local_gain"] = np.where(curvature > 0, wide["slope"] ** 2 / (2 * curvature.where(curvature > 0)), np.nan)
    long = wide.melt(keys, ["lr_smoothness", "local_gain"], var_name="metric", value_name="value")
    return long.dropna(subset="value")


__all__ = ["CHAPTER", "CLAIM", "FIGURE", "READINGS", "SENTENCE", "cells", "correlations", "gains", "judge", "shares"]
