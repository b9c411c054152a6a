"""C5: smoothness grows with the gradient's norm along training, "to a certain extent" (Ahn et al. 2024, section 3).

(L0, L1)-smoothness, ||H|| <= L0 + L1 ||g|| (Zhang et al. 2020), says that curvature may be large where the gradient is.
Two norms that merely drift over training correlate as well, so the claim is judged on levels and on differences between
consecutive measurements; over seeds and evaluation batches, both random.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ...statistics import Interval, correlation_interval, upper_line
from ..budgets import CurvatureBudget, TuningBudget
from ..problems import PROBLEMS
from .common import (
    CASES,
    CURVATURE_ASKED,
    FIXED_BATCH,
    READINGS,
    Basis,
    by_seed_and_batch,
    by_setting,
    curvature_deviations,
    deviations,
    on_batches,
    papers_sample,
    rules_digest,
    typical,
)
from .records import Verdict
from .rules import Keys, State, Unit, agree, correlation_state, rule

CLAIM = "C5"
SENTENCE = "Smoothness grows with the gradient norm along training, to a certain extent."
CHAPTER = "generalized_smoothness"
FIGURE = {"published": "fig-generalized-smoothness"}
GROUP = "behaviours"
BASIS = Basis(CASES, ("hessian", "gradient"))
NORM = "spectral_norm"
MEASURES = {NORM: "norm of H", "hessian_step_norm": "norm of Hv", "directional_smoothness": "v'Hv where positive"}
LEVELS = "rank correlation of the logs of the norms of H and g"
DIFFERENCES = "the same of their differences"
PART = "differences"
QUANTILE = 0.95
FEWEST_POINTS = 3
"""Of a rank correlation."""


def logs(rows: pd.DataFrame, optimizer: str, metric: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Logarithms of a measure of curvature and of the gradient's norm: a row a step, a column a seed and batch.

    NaN in both where one of them is not positive.
    """
    own = rows[rows["optimizer"] == optimizer].pivot(index=["step", "seed", "batch"], columns="metric", values="value")
    both = own.reindex(columns=[metric, "gradient_norm"]).set_axis(["curvature", "gradient"], axis=1)
    values = both.where((both > 0).all(axis=1)).apply(np.log).unstack(["seed", "batch"])
    if values.empty:  # a training too short for any measurement
        return pd.DataFrame(), pd.DataFrame()
    return pd.DataFrame(values["curvature"]), pd.DataFrame(values["gradient"])


def correlations(
    frame: pd.DataFrame, optimizer: str, metric: str, differences: bool, fixed: bool = False
) -> tuple[pd.DataFrame, int]:
    """Spearman's correlation, of levels or of differences from one measurement to the next, and of how many points.

    A table [seeds, batches]; the points are those of the seed and batch that has the fewest.
    """
    pair = logs(on_batches(frame, fixed), optimizer, metric)
    if pair[0].empty:
        return pd.DataFrame(), 0
    curvature, gradient = (values.diff() for values in pair) if differences else pair
    good = curvature.notna() & gradient.notna()
    counts = good.sum()
    ranks = (values.where(good).rank() for values in (curvature, gradient))
    found = next(ranks).corrwith(next(ranks)).where(counts >= FEWEST_POINTS)
    table = by_seed_and_batch(found.dropna())
    return table, int(counts[counts >= FEWEST_POINTS].min()) if table.size else 0


def correlation(
    frame: pd.DataFrame, optimizer: str, metric: str, differences: bool, fixed: bool = False
) -> Interval | None:
    """The mean of :func:`correlations`; None where there are none."""
    table, points = correlations(frame, optimizer, metric, differences, fixed)
    return correlation_interval(table.to_numpy(np.float64), points) if points else None


def unit_state(levels: Interval | None, differences: Interval | None) -> State:
    """State of one setting: that of the levels, but YES only if the differences say YES too."""
    state, other = correlation_state(levels), correlation_state(differences)
    if State.MISSING in (state, other):
        return State.MISSING
    return State.WEAK if state is State.YES and other is not State.YES else state


def norm_units(case: str, frame: pd.DataFrame, keys: Keys, fixed: bool = False) -> tuple[Unit, Unit]:
    """Adam's correlation of levels, whose state takes in that of the differences; and the latter, beside it.

    On the fixed batch neither decides.
    """
    levels, differences = (correlation(frame, "adam", NORM, d, fixed) for d in (False, True))
    other, part = correlation_state(differences), keys._replace(part=PART)
    return (
        Unit(case, LEVELS, levels, unit_state(levels, differences), not fixed, keys),
        Unit(f"{case}, differences", DIFFERENCES, differences, other, False, part),
    )


def judge(
    reading: str, scale: str, frames: Mapping[str, pd.DataFrame], budget: TuningBudget, curvature: CurvatureBudget
) -> Verdict:
    """The verdict of one reading, on Adam's runs."""
    units = by_setting(frames, LEVELS, lambda case, name, keys: [*norm_units(case, frames[name], keys)])
    sample = []
    for name in CASES:
        case, keys = f"setting {name}, {FIXED_BATCH}", Keys((name,), part=FIXED_BATCH)
        missing = Unit(case, LEVELS, None, State.MISSING, False, keys)
        few = papers_sample(frames[name], curvature.judging) if name in frames else None
        sample.append(missing if few is None else norm_units(case, few, keys, fixed=True)[0])
    checks = {FIXED_BATCH: agree([unit for unit in units if unit.decides], sample)}
    asked = deviations(budget, CURVATURE_ASKED, tuned=reading == "tuned")
    short = (*asked, *curvature_deviations(curvature, "spectral"))
    every = (*units, *sample)
    return Verdict(CLAIM, reading, scale, CHAPTER, every, rule(units), short, rules_digest(__name__), checks)


def all_correlations(frames: Mapping[str, pd.DataFrame]) -> list[Unit]:
    """Every measure of curvature, both optimizers, levels and differences: what is shown beside the verdict."""
    units = []
    for name, frame in frames.items():
        for optimizer in ("adam", "sgd"):
            for metric, words in MEASURES.items():
                for differences in (False, True):
                    found = correlation(frame, optimizer, metric, differences)
                    part = PART if differences else "levels"
                    keys = Keys((name,), None, optimizer, metric, part)
                    case = f"{PROBLEMS[name].title}, {optimizer}"
                    units.append(Unit(case, f"{words}, {part}", found, correlation_state(found), False, keys))
    return units


def bounds(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Fit ||H|| <= L0 + L1 ||g|| as the 95% quantile line over all seeds and steps of a setting and optimizer.

    Both norms are medians over the evaluation batches.

    Returns:
        Columns setting, optimizer, l0, l1, points.
    """
    found = []
    for name, frame in frames.items():
        rows = typical(frame)
        for optimizer in [each for each in ("adam", "sgd") if (rows["optimizer"] == each).any()]:
            curvature, gradient = (values.to_numpy(np.float64) for values in logs(rows, optimizer, NORM))
            good = np.isfinite(curvature)
            if good.sum() < FEWEST_POINTS:
                continue
            l0, l1 = upper_line(np.exp(gradient[good]), np.exp(curvature[good]), QUANTILE)
            found.append({"setting": name, "optimizer": optimizer, "l0": l0, "l1": l1, "points": int(good.sum())})
    return pd.DataFrame(found, columns=["setting", "optimizer", "l0", "l1", "points"])


__all__ = ["CHAPTER", "CLAIM", "FIGURE", "READINGS", "SENTENCE", "all_correlations", "bounds", "judge"]
