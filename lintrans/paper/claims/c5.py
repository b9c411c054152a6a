"""C5: smoothness grows with the gradient's norm along training, "to a certain extent" (Ahn et al. 2024, section 3).

(L0, L1)-smoothness, ||H|| <= L0 + L1 ||g|| (Zhang et al. 2020), says that curvature may be large where the gradient is.
Two norms that merely drift over training correlate as well, so the claim is judged on levels and on differences between
consecutive measurements.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ...statistics import Interval, mean_interval, rank_correlation, upper_line
from ..budgets import CurvatureBudget, TuningBudget
from ..problems import PROBLEMS
from .common import CASES, CURVATURE_ASKED, READINGS, Basis, by_setting, curvature_deviations, deviations, rules_digest
from .records import Verdict
from .rules import Keys, State, Unit, correlation_state, rule

CLAIM = "C5"
SENTENCE = "Smoothness grows with the gradient norm along training, to a certain extent."
CHAPTER = "generalized_smoothness"
FIGURE = {"published": "fig-generalized-smoothness"}
GROUP = "behaviours"
BASIS = Basis(CASES, ("hessian", "gradient"))
NORM = "spectral_norm"
MEASURES = {NORM: "norm of H", "hessian_step_norm": "norm of Hv", "directional_smoothness": "v'Hv where positive"}
LEAST = 0.3
LEVELS = "rank correlation of the logs of the norms of H and g"
DIFFERENCES = "the same of their differences"
QUANTILE = 0.95


def logs(frame: pd.DataFrame, optimizer: str, metric: str) -> dict[int, pd.DataFrame]:
    """Per seed, the logarithms of a measure of curvature and of the gradient's norm by step; NaN where not positive."""
    wide = frame[frame["optimizer"] == optimizer].pivot(index=["seed", "step"], columns="metric", values="value")
    both = wide.reindex(columns=[metric, "gradient_norm"]).set_axis(["curvature", "gradient"], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = both.where(both > 0).apply(np.log)
    return {int(str(seed)): own.droplevel("seed") for seed, own in values.groupby(level="seed")}


def correlation(frame: pd.DataFrame, optimizer: str, metric: str, differences: bool) -> Interval | None:
    """Mean over seeds of Spearman's correlation, of levels or of differences from one measurement to the next."""
    found = []
    for own in logs(frame, optimizer, metric).values():
        table = own.diff() if differences else own
        found.append(rank_correlation(table["curvature"].to_numpy(), table["gradient"].to_numpy()))
    values = np.array([value for value in found if np.isfinite(value)])
    return mean_interval(values) if len(values) else None


def unit_state(levels: Interval | None, differences: Interval | None) -> State:
    """State of one setting: YES needs a mean of at least LEAST and an interval above 0 for both."""
    state, other = correlation_state(levels, LEAST), correlation_state(differences, LEAST)
    if State.MISSING in (state, other):
        return State.MISSING
    return State.WEAK if state is State.YES and other is not State.YES else state


def norm_units(case: str, frame: pd.DataFrame, keys: Keys) -> tuple[Unit, Unit]:
    """Adam's correlation of levels, whose state takes in that of the differences; and the latter, beside it."""
    levels, differences = (correlation(frame, "adam", NORM, d) for d in (False, True))
    other, part = correlation_state(differences, LEAST), keys._replace(part="differences")
    return (
        Unit(case, LEVELS, levels, unit_state(levels, differences), keys=keys),
        Unit(f"{case}, differences", DIFFERENCES, differences, other, False, part),
    )


def judge(
    reading: str, scale: str, frames: Mapping[str, pd.DataFrame], budget: TuningBudget, curvature: CurvatureBudget
) -> Verdict:
    """The verdict of one reading, on Adam's runs."""
    units = by_setting(frames, LEVELS, lambda case, name, keys: [*norm_units(case, frames[name], keys)])
    asked = deviations(budget, CURVATURE_ASKED, tuned=reading == "tuned")
    short = (*asked, *curvature_deviations(curvature, "spectral"))
    return Verdict(CLAIM, reading, scale, CHAPTER, tuple(units), rule(units), short, rules_digest(__name__))


def all_correlations(frames: Mapping[str, pd.DataFrame]) -> list[Unit]:
    """Every measure of curvature, both optimizers, levels and differences: what is shown beside the verdict."""
    units = []
    for name, frame in frames.items():
        for optimizer in ("adam", "sgd"):
            for metric, words in MEASURES.items():
                for differences in (False, True):
                    found = correlation(frame, optimizer, metric, differences)
                    part = "differences" if differences else "levels"
                    keys = Keys((name,), None, optimizer, metric, part)
                    case = f"{PROBLEMS[name].title}, {optimizer}"
                    units.append(Unit(case, f"{words}, {part}", found, correlation_state(found, LEAST), False, keys))
    return units


def bounds(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Fit ||H|| <= L0 + L1 ||g|| as the 95% quantile line over all seeds and steps of a setting and optimizer.

    Returns:
        Columns setting, optimizer, l0, l1, points.
    """
    found = []
    for name, frame in frames.items():
        for optimizer in ("adam", "sgd"):
            tables = [own.dropna() for own in logs(frame, optimizer, NORM).values()]
            table = pd.concat(tables) if tables else pd.DataFrame()
            if len(table) < 3:
                continue
            x, y = np.exp(table["gradient"].to_numpy()), np.exp(table["curvature"].to_numpy())
            l0, l1 = upper_line(x, y, QUANTILE)
            found.append({"setting": name, "optimizer": optimizer, "l0": l0, "l1": l1, "points": len(table)})
    return pd.DataFrame(found, columns=["setting", "optimizer", "l0", "l1", "points"])


__all__ = ["CHAPTER", "CLAIM", "FIGURE", "READINGS", "SENTENCE", "all_correlations", "bounds", "judge"]
