"""What several claims read off the judged trainings, and how they say where a scale falls short of the rules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ...store.sources import code
from ...training.history import History
from ..budgets import CurvatureBudget, TuningBudget
from ..judged import COARSE_LOSS, LOSS, end_values
from ..scales import CURVATURE_PROTOCOL, CURVATURE_SEEDS, LABELS, PROTOCOL
from .rules import Keys, State, Unit

CASES = ("1", "2", "3")
READINGS = ("published", "tuned")
ARMS = tuple(LABELS)
"""Statistics that are one optimizer's end loss."""
CURVATURE_ASKED = replace(PROTOCOL, seeds=CURVATURE_SEEDS)
"""The trainings that C3 to C5 ask for: those of C1, with fewer seeds."""


@dataclass(frozen=True)
class Basis:
    """What a claim's cases rest on.

    Attributes:
        problems: their names.
        statistics: of :data:`lintrans.paper.second.compare.STATISTICS`; all of them if empty.
        claims: those whose verdicts it is judged from; it rests on what they rest on.
    """

    problems: tuple[str, ...] = ()
    statistics: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()


def floor(history: History) -> float:
    """f*, the least typical loss of any run at the horizon or after its cooldown."""
    rows = history.metric(LOSS)
    return float(rows[rows["step"].isin((history.steps, rows["step"].max()))]["value"].min())


def judged_losses(history: History, zero_loss: float) -> pd.DataFrame:
    """The runs' table with ``loss``; a run that diverged or does worse counts as the zero predictor, and is marked."""
    table = end_values(history)
    lost = ~(table["loss"] <= zero_loss) | (table["diverged"] >= 0)
    return table.assign(loss=table["loss"].where(~lost, zero_loss), counted_as_zero=lost)


def steps_to(history: History, target: float, metric: str = COARSE_LOSS) -> pd.DataFrame:
    """The runs' table with ``steps``: the first measured step at which the metric is below the target.

    Runs that diverged or never reach it stand at the horizon, marked ``censored``.
    """
    rows = history.metric(metric)
    rows = rows[(rows["value"] < target) & (rows["step"] <= history.steps)]
    first = history.runs["run"].map(rows.groupby("run")["step"].min())
    censored = first.isna() | (history.runs["diverged"] >= 0)
    return history.runs.assign(steps=first.where(~censored, history.steps).astype(float), censored=censored)


def arms(table: pd.DataFrame, column: str = "value") -> tuple[np.ndarray, np.ndarray]:
    """One value per seed for SGD and for Adam, in the order of seeds; NaN where a seed has none."""
    wide = table.pivot(index="seed", columns="optimizer", values=column).reindex(columns=["sgd", "adam"])
    return wide["sgd"].to_numpy(np.float64), wide["adam"].to_numpy(np.float64)


def paired(table: pd.DataFrame, column: str = "value") -> tuple[np.ndarray, np.ndarray]:
    """:func:`arms` of the seeds for which both values are positive and finite."""
    sgd, adam = arms(table, column)
    good = np.isfinite(sgd) & np.isfinite(adam) & (sgd > 0) & (adam > 0)
    return sgd[good], adam[good]


def by_setting(
    measured: Collection[str], statistic: str, units_of: Callable[[str, str, Keys], list[Unit]]
) -> list[Unit]:
    """Units of Settings 1 to 3, those that decide first; missing where a setting was not measured.

    `units_of` is called with a case, the setting's name and the keys; the first of its units decides.
    """
    found = []
    for name in CASES:
        case, keys = f"setting {name}", Keys((name,))
        missing = [Unit(case, statistic, None, State.MISSING, keys=keys)]
        found.append(units_of(case, name, keys) if name in measured else missing)
    return [*(own[0] for own in found), *(unit for own in found for unit in own[1:])]


def fewer(*rows: tuple[str, int, int]) -> list[str]:
    """What is less than the rules ask for: words with room for both numbers, what there is, what is asked."""
    return [words.format(f"{have:,}", f"{want:,}") for words, have, want in rows if have < want]


def averaged_over(have: CurvatureBudget, steps: int, want: CurvatureBudget, asked: int) -> list[str]:
    """Whether R_med is averaged along runs of so many steps over other probes than the rules ask for, in words."""
    both = ((have, steps), (want, asked))
    probes = [[step for step in own.probes if own.settled <= step <= last] for own, last in both]
    words = "condition numbers averaged over steps {} instead of {}"
    return [] if probes[0] == probes[1] else [words.format(*map(_list, probes))]


def deviations(budget: TuningBudget, asked: TuningBudget, tuned: bool = True) -> tuple[str, ...]:
    """Where a budget of trainings falls short of what the rules ask for, in words."""
    texts = []
    if missing := [name for name in asked.settings if name not in budget.settings]:
        texts.append(f"settings not run: {', '.join(missing)}")
    texts += fewer(
        ("horizon T of {} steps instead of {}", budget.steps, asked.steps),
        ("{} judging seeds instead of {}", budget.seeds, asked.seeds),
        ("batches of {} prompts instead of {}", budget.batch, asked.batch),
        ("typical losses from {} blocks instead of {}", budget.blocks, asked.blocks),
    )
    if not tuned:
        return tuple(texts)
    texts += fewer(
        ("{} learning rates instead of {}", len(budget.rates), len(asked.rates)),
        ("{} choice of clip instead of {}", len(budget.clips), len(asked.clips)),
        ("{} tuning seeds instead of {}", len(budget.tuning_seeds), len(asked.tuning_seeds)),
    )
    if asked.finalists and not budget.finalists:
        texts.append("the grid alone: no rate is run to the horizon, and none is judged")
    return tuple(texts)


def curvature_deviations(
    budget: CurvatureBudget, *fields: str, asked: CurvatureBudget = CURVATURE_PROTOCOL
) -> tuple[str, ...]:
    """Where a budget of curvature measurements falls short of what the rules ask for, in words."""
    texts = []
    if "judged" in fields and budget.judged != asked.judged:
        texts.append(f"condition numbers judged at steps {_list(budget.judged)} instead of {_list(asked.judged)}")
    if "spectral" in fields and budget.spectral != asked.spectral:
        words = "steps {} to {} every {}"
        texts.append(f"norms at {words.format(*budget.spectral)} instead of {words.format(*asked.spectral)}")
    if "grid" in fields and (budget.grid_steps < asked.grid_steps or budget.grid_seeds < asked.grid_seeds):
        texts.append(
            f"grid of rates: {budget.grid_steps:,} steps and {budget.grid_seeds} seeds instead of "
            f"{asked.grid_steps:,} and {asked.grid_seeds}"
        )
    texts += fewer(("curvature of {} seeds instead of {}", budget.seeds, asked.seeds))
    if budget.batch:
        texts.append(f"curvature on {budget.batch:,} prompts instead of those of the loss curves")
    return tuple(texts)


def _list(steps: Iterable[int]) -> str:
    return ", ".join(f"{step:,}" for step in steps)


def rules_digest(claim: str) -> str:
    """Digest of the code that judges a claim, with all that it stands on, given its module's ``__name__``."""
    return code().digest(claim)
