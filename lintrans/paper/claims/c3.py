"""C3: the robust condition number is lower for Adam than for SGD along the trajectory (Ahn et al. 2024, section 3).

Judged under the convention of the paper's public code: the diagonal of the Hessian, its *lower* median, structural
zeros included. *Robust* says whether the verdict holds under every other reasonable convention too; it is a word
beside the verdict, no part of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...statistics import geometric_ratio, paired_t
from ...training.history import History
from ..budgets import CurvatureBudget, TuningBudget
from ..judged import COARSE_LOSS
from ..problems import PROBLEMS
from ..scales import PAPER_SEEDS
from . import rules
from .common import (
    CASES,
    CURVATURE_ASKED,
    READINGS,
    Basis,
    curvature_deviations,
    deviations,
    floor,
    paired,
    rules_digest,
)
from .records import Verdict
from .rules import NO_KEYS, Keys, State, Unit, rule

CLAIM = "C3"
SENTENCE = "The robust condition number R_med of Adam is lower than SGD's along the trajectory."
CHAPTER = "condition_number"
FIGURE = {"published": "fig-condition-number", "tuned": "fig-condition-tuned"}
GROUP = "behaviours"
BASIS = Basis(CASES, ("condition",))
RATIO = "R_med, SGD over Adam"
PUBLIC = "r_lower"
CONVENTIONS = {
    PUBLIC: "lower median",
    "r_midpoint": "midpoint median",
    "r_used": "no structural zeros",
    "r_blocks": "per block",
}
MATCHED = "at matched loss"
NOTHING = pd.DataFrame(columns=["step", "metric", "seed", "optimizer", "value"])
"""Of a setting that was not measured."""
PAPER = {
    ("1", 750): (1.76, 0.40),
    ("1", 1250): (1.58, 0.41),
    ("2", 750): (3.14, 0.97),
    ("2", 1250): (5.98, 2.86),
    ("3", 750): (9.57, 13.3),
    ("3", 1250): (6.53, 3.55),
}
"""Mean and standard deviation over six seeds of the ratio of R_med, SGD over Adam, in the paper's table."""


def ratio_unit(
    frame: pd.DataFrame, metric: str, case: str, statistic: str, decides: bool = False, keys: Keys = NO_KEYS
) -> Unit:
    """The geometric mean ratio of one metric over the rows of one step, SGD over Adam."""
    sgd, adam = paired(frame[frame["metric"] == metric])
    return rules.ratio_unit(case, statistic, geometric_ratio(sgd, adam) if len(sgd) else None, decides, keys)


def at_matched_loss(frame: pd.DataFrame, history: History, zero_loss: float) -> pd.DataFrame:
    """Rows of each run's first R_med probe at which its typical loss is below sqrt(f0 f*), for runs that get there."""
    target = math.sqrt(zero_loss * floor(history))
    losses = history.metric(COARSE_LOSS)[["optimizer", "seed", "step", "value"]].rename(columns={"value": "loss"})
    below = frame.merge(losses, on=["optimizer", "seed", "step"])
    below = below[below["loss"] < target]
    first = below.groupby(["optimizer", "seed"])["step"].transform("min")
    return below[below["step"] == first]


def judge(
    reading: str,
    scale: str,
    frames: Mapping[str, pd.DataFrame],
    histories: Mapping[str, History],
    budget: TuningBudget,
    curvature: CurvatureBudget,
) -> Verdict:
    """The verdict of one reading."""
    units: list[Unit] = []
    beside: list[Unit] = []
    for name in CASES:
        for step in curvature.judged:
            case = f"setting {name}, step {step:,}"
            rows = (own := frames.get(name, NOTHING))[own["step"] == step]
            for metric, words in CONVENTIONS.items():
                keys, statistic = Keys((name,), step, convention=metric), f"{RATIO}, {words}"
                if metric == PUBLIC:
                    units.append(ratio_unit(rows, metric, case, statistic, True, keys))
                else:
                    beside.append(ratio_unit(rows, metric, f"{case}, {words}", statistic, keys=keys))
        if (matched := frames.get(name, NOTHING)) is not NOTHING:
            matched = at_matched_loss(matched, histories[name], PROBLEMS[name].task.zero_loss)
        case, keys = f"setting {name}, {MATCHED}", Keys((name,), convention=MATCHED)
        beside.append(ratio_unit(matched, PUBLIC, case, f"{RATIO}, {MATCHED}", keys=keys))
    asked = deviations(budget, CURVATURE_ASKED, tuned=reading == "tuned")
    short = (*asked, *curvature_deviations(curvature, "judged"))
    return Verdict(CLAIM, reading, scale, CHAPTER, (*units, *beside), rule(units), short, rules_digest(__name__))


def robust(verdict: Verdict) -> bool:
    """Whether every unit that decides, and every one beside it, says YES."""
    return all(unit.state is State.YES for unit in verdict.units)


@dataclass(frozen=True)
class Row:
    """One line of the table beside the paper's: arithmetic mean and unbiased standard deviation of per-seed ratios."""

    setting: str
    step: int
    metric: str
    mean: float
    deviation: float
    seeds: int
    agrees: bool | None


def ratios(frames: Mapping[str, pd.DataFrame], steps: tuple[int, ...], seeds: int | None = None) -> list[Row]:
    """The paper's own statistic under every convention.

    The mean of ratios exceeds 1 even where nothing differs, so it decides nothing here. It agrees with the paper's m_p
    (s_p) if abs(m - m_p) < 2 sqrt(s^2 / N + s_p^2 / 6).
    """
    rows = []
    for name, frame in frames.items():
        for step in steps:
            for metric in (*CONVENTIONS, "r_eigenvalues"):
                chosen = frame[(frame["step"] == step) & (frame["metric"] == metric)]
                sgd, adam = paired(chosen[chosen["seed"] < seeds] if seeds else chosen)
                values = sgd / adam
                count = len(values)
                if not count:
                    continue
                mean = float(values.mean())
                deviation = float(values.std(ddof=1)) if count > 1 else math.nan
                agrees = None
                if metric == PUBLIC and (name, step) in PAPER and count > 1:
                    theirs, spread = PAPER[name, step]
                    limit = 2 * math.sqrt(deviation**2 / count + spread**2 / PAPER_SEEDS)
                    agrees = abs(mean - theirs) < limit
                rows.append(Row(name, step, metric, mean, deviation, count, agrees))
    return rows


def log_ratios_along(frame: pd.DataFrame, metric: str, settled: int) -> pd.Series:
    """Per seed, the log of the ratio of one metric, SGD over Adam, averaged over all probes from `settled` on.

    Probes at which a seed lacks a finite ratio are left out of its average, and seeds that have none are left out.
    """
    rows = frame[(frame["step"] >= settled) & (frame["metric"] == metric)]
    wide = rows.pivot(index=["step", "seed"], columns="optimizer", values="value").reindex(columns=["sgd", "adam"])
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(wide["sgd"].to_numpy(np.float64) / wide["adam"].to_numpy(np.float64))
    finite = pd.Series(np.where(np.isfinite(logs), logs, np.nan), index=wide.index)
    return finite.groupby("seed").mean().dropna()


def along_the_run(frames: Mapping[str, pd.DataFrame], settled: int) -> list[Unit]:
    """Per setting and convention, the ratio averaged (in logarithms) over all probes from `settled` on."""
    units = []
    for name, frame in frames.items():
        for metric, words in CONVENTIONS.items():
            if not ((frame["step"] >= settled) & (frame["metric"] == metric)).any():
                continue
            logs = log_ratios_along(frame, metric, settled)
            ratio = paired_t(logs.to_numpy(np.float64)).exp() if len(logs) else None
            keys = Keys((name,), convention=metric)
            units.append(rules.ratio_unit(f"setting {name}", words, ratio, False, keys))
    return units


__all__ = ["CHAPTER", "CLAIM", "FIGURE", "READINGS", "SENTENCE", "along_the_run", "judge", "ratios", "robust"]
