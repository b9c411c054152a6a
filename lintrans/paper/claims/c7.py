"""C7: heavier-tailed covariates go with a larger gap in R_med between SGD and Adam (Ahn et al. 2024).

The log ratio of R_med, SGD over Adam, averaged over the run, in Setting 3 less the same on the sphere. Judged under the
convention of the paper's public code, as C3; the other conventions stand beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from ...training.history import History
from ..budgets import CurvatureBudget, TuningBudget
from ..problems import PROBLEMS
from ..scales import CURVATURE_PROTOCOL
from .c3 import CONVENTIONS, MATCHED, PUBLIC, at_matched_loss, log_ratios_along
from .common import CURVATURE_ASKED, READINGS, Basis, averaged_over, curvature_deviations, deviations, rules_digest
from .records import Verdict
from .rules import Keys, State, Unit, ratio_unit, rule
from .tails import PAIR, Levels, contrast, log_ratio

CLAIM = "C7"
SENTENCE = "Heavier-tailed covariates go with a larger gap in R_med between SGD and Adam."
CHAPTER = "heavy_tails"
FIGURE = {"published": "fig-tails-condition"}
GROUP = "causes"
BASIS = Basis(PAIR, ("condition",))
CASE = "setting 3 against sphere"
STATISTIC = "ratio of R_med (SGD over Adam), Setting 3 over sphere"
AT_CLIP = "at equal clip"
LEVELS = ("3", "tail sphere")
"""Setting 3 and the sphere among the levels of tail, where both are clipped at 1."""


def _unit(pair: Sequence[pd.Series | None], case: str, words: str, keys: Keys) -> Unit:
    return ratio_unit(case, f"{STATISTIC}, {words}", contrast(*pair), keys == Keys(PAIR, convention=PUBLIC), keys)


def _along(
    frames: Mapping[str, pd.DataFrame], metric: str, names: Sequence[str], settled: int
) -> list[pd.Series | None]:
    return [log_ratios_along(frames[name], metric, settled) if name in frames else None for name in names]


def matched_log_ratios(name: str, frame: pd.DataFrame, history: History) -> pd.Series:
    """Per seed, the log ratio of R_med with each optimizer at its first probe under sqrt(f0 f*)."""
    rows = at_matched_loss(frame, history, PROBLEMS[name].task.zero_loss)
    rows = rows[rows["metric"] == PUBLIC]
    return log_ratio(rows, "value").dropna() if len(rows) else pd.Series(dtype=float)


def judge(
    reading: str,
    scale: str,
    frames: Mapping[str, pd.DataFrame],
    histories: Mapping[str, History],
    budget: TuningBudget,
    curvature: CurvatureBudget,
    levels: Levels | None = None,
    first: int = 0,
) -> Verdict:
    """The verdict of one reading."""
    units = []
    for metric, words in CONVENTIONS.items():
        case = CASE if metric == PUBLIC else f"{CASE}, {words}"
        found = _along(frames, metric, PAIR, curvature.settled)
        units.append(_unit(found, case, words, Keys(PAIR, convention=metric)))
    matched = [matched_log_ratios(name, frames[name], histories[name]) if name in frames else None for name in PAIR]
    units.append(_unit(matched, f"{CASE}, {MATCHED}", MATCHED, Keys(PAIR, convention=MATCHED)))
    if levels is not None:
        for metric, words in CONVENTIONS.items():
            found = _along(levels.conditions, metric, LEVELS, first)
            keys = Keys(LEVELS, convention=metric)
            units.append(_unit(found, f"{CASE}, {AT_CLIP}, {words}", f"{AT_CLIP}, {words}", keys))
    pair = tuple(name for name in PAIR if name in frames)
    asked = deviations(
        replace(budget, settings=pair), replace(CURVATURE_ASKED, settings=PAIR), tuned=reading == "tuned"
    )
    along = averaged_over(curvature, budget.steps, CURVATURE_PROTOCOL, CURVATURE_ASKED.steps)
    short = (*asked, *along, *curvature_deviations(curvature))
    return Verdict(CLAIM, reading, scale, CHAPTER, tuple(units), rule(units), short, rules_digest(__name__))


def robust(verdict: Verdict) -> bool:
    """Whether every convention, and the comparison at matched loss, says YES as the unit that decides."""
    return all(unit.state is State.YES for unit in verdict.units if unit.keys.problems == PAIR)


__all__ = ["CHAPTER", "CLAIM", "FIGURE", "READINGS", "SENTENCE", "judge", "robust"]
