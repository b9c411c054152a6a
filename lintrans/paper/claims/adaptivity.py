"""What F1 to F4 share: the share of the gap that an arm closes, a threshold that was predicted, rank correlations.

The rules and the predictions were fixed before any of this was run on the seeds that judge, 100 and up. A pilot on
seeds 0 to 5 (Setting 1, 1,000 steps) had suggested the first two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy

from ...statistics import CONFIDENCE, Interval, correlation_interval, geometric_ratio, paired_t
from ...training.history import History
from ..budgets import TuningBudget
from ..problems import PROBLEMS, SETTINGS
from ..scales_adaptivity import HORIZONS, WHY_PROTOCOL, WhyBudget
from .common import deviations, judged_losses, rules_digest, steps_to, target_of
from .predictions import side_state
from .records import Verdict
from .rules import NO_KEYS, Keys, State, Unit, ratio_state, rule

CHAPTER = "which_adaptivity"
READINGS = ("tuned", "cooled")
CLOSED = "share of the gap closed"
BY_STEPS = "share of the gap in steps closed"
NO_GAP = "no gap to close"
LATE = "no gap in end losses, and not every run gets to the target"
SEARCHED = "not run there, or no best rate inside those run"
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """A problem at a horizon: every arm at its best rate, and the Hessian's blocks early on.

    Attributes:
        problem: its name.
        history: of all arms whose search ended inside the rates run, on the judging seeds.
        measured: curvature at one early step: columns optimizer, seed, metric, value.
    """

    problem: str
    history: History
    measured: pd.DataFrame

    @property
    def case(self) -> str:
        """Its name in a list of cases."""
        name = f"setting {self.problem}" if self.problem in SETTINGS else PROBLEMS[self.problem].title
        return name if self.history.steps == min(HORIZONS) else f"{name}, {self.history.steps:,} steps"

    def logs(self, cooled: bool = False) -> pd.DataFrame:
        """Log end losses, a row a seed and a column an arm; a lost run counts as the zero predictor."""
        losses = judged_losses(self.history, PROBLEMS[self.problem].task.zero_loss, cooled)
        return pd.DataFrame(np.log(losses.pivot(index="seed", columns="optimizer", values="loss")))

    def log_steps(self) -> pd.DataFrame:
        """Log steps to sqrt(f0 f*) in the same form; NaN where a run never gets there."""
        zero = PROBLEMS[self.problem].task.zero_loss
        steps = steps_to(self.history, target_of(self.problem, self.history), zero_loss=zero)
        taken = steps.assign(steps=steps["steps"].clip(lower=1.0).where(~steps["censored"]))
        return pd.DataFrame(np.log(taken.pivot(index="seed", columns="optimizer", values="steps")))


def share_closed(sgd: Array, arm: Array, adam: Array, threshold: float) -> Interval | None:
    """Mean of (sgd - arm) over mean of (sgd - adam), paired over seeds, with Fieller's 95% interval.

    Each is a logarithm a seed. p and the sign-flip test are those of (sgd - arm) - threshold (sgd - adam). None where
    there is no gap to close.
    """
    closed, gap = sgd - arm, sgd - adam
    if not has_gap(sgd, adam):
        return None
    test, n = paired_t(closed - threshold * gap), len(gap)
    quantile = float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1))
    (var_closed, both), (_, var_gap) = np.cov(closed, gap) * quantile**2 / n
    a, b, c = gap.mean() ** 2 - var_gap, closed.mean() * gap.mean() - both, closed.mean() ** 2 - var_closed
    root = math.sqrt(max(b * b - a * c, 0.0))  # a > 0: the gap's own interval is beyond zero
    return replace(test, estimate=closed.mean() / gap.mean(), low=(b - root) / a, high=(b + root) / a, kind="closed")


def has_gap(sgd: Array, adam: Array) -> bool:
    """Whether there is a gap to close: SGD over Adam, each a logarithm a seed, is YES or WEAK by the rules."""
    return ratio_state(geometric_ratio(np.exp(sgd), np.exp(adam))) in (State.YES, State.WEAK)


def threshold_state(found: Interval | None, threshold: float, above: bool = True) -> State:
    """As :func:`~.predictions.side_state`, and open where seeds are of two kinds."""
    return State.UNDECIDED if found is not None and found.two_kinds else side_state(found, threshold, above)


def closed_unit(cell: Cell, arm: str, threshold: float, above: bool, cooled: bool, label: str = "") -> Unit:
    """The share that an arm closes in a cell: of the gap in end losses, else of that in steps.

    Where there is neither, nothing is decided, and a remark says so.
    """
    case = f"{cell.case}{label and f', {label}'}"
    keys = Keys((cell.problem,), cell.history.steps, part=arm)
    logs = cell.logs(cooled)
    missing = Unit(case, CLOSED, None, State.MISSING, keys=keys, remarks=(SEARCHED,))
    if not {"sgd", "adam"} <= set(logs):
        return missing
    remark = NO_GAP
    for statistic, table in ((CLOSED, logs), (BY_STEPS, cell.log_steps())):
        trained = table[[name for name in ("sgd", arm, "adam") if name in table]]
        if not np.isfinite(trained).all(axis=None):  # of steps: end losses are finite
            remark = LATE
            continue
        logs_of = {name: trained[name].to_numpy(np.float64) for name in trained}
        if len(table) < 2 or not has_gap(logs_of["sgd"], logs_of["adam"]):
            continue
        if arm not in logs_of:
            return missing
        found = share_closed(logs_of["sgd"], logs_of[arm], logs_of["adam"], threshold)
        return Unit(case, statistic, found, threshold_state(found, threshold, above), keys=keys)
    return Unit(case, CLOSED, None, State.UNDECIDED, decides=False, keys=keys, remarks=(remark,))


def points(cells: Iterable[Cell], metric: str, cooled: bool = False) -> pd.DataFrame:
    """What a metric says of each arm, and the gap that it ends with, both as SGD's over the arm's.

    Returns:
        Columns cell, arm, seed, predictor, gap: the last two are logarithms; rows of SGD itself are left out.
    """
    parts = []
    for cell in cells:
        own = cell.measured[(cell.measured["metric"] == metric) & (cell.measured["value"] > 0)]
        if own.empty:
            continue
        wide = own.pivot_table(index="seed", columns="optimizer", values="value", aggfunc="median")
        early = pd.DataFrame(np.log(wide))
        for arm in early.columns.drop("sgd", errors="ignore"):
            logs = cell.logs(cooled)
            pair = {"predictor": early["sgd"] - early[arm], "gap": logs["sgd"] - logs[arm]}
            frame = pd.DataFrame(pair).rename_axis("seed").reset_index().dropna()
            parts.append(frame.assign(cell=cell.case, arm=arm))
    columns = ["cell", "arm", "seed", "predictor", "gap"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def correlation_unit(
    cells: Sequence[Cell], metric: str, words: str, threshold: float, above: bool, cooled: bool, decides: bool = True
) -> Unit:
    """Spearman's rank correlation of a metric with the gap over cells and arms, one a seed."""
    statistic, keys = "rank correlation with the gap", NO_KEYS._replace(part=metric)
    found = points(cells, metric, cooled)
    each = [
        (float(scipy.stats.spearmanr(own["predictor"], own["gap"]).statistic), len(own))
        for _, own in found.groupby("seed")
        if len(own) > 3 and min(own["predictor"].nunique(), own["gap"].nunique()) > 1
    ]
    if not each:
        return Unit(words, statistic, None, State.MISSING, decides, keys)
    values, count = [value for value, _ in each], min(size for _, size in each)
    interval = correlation_interval(values, count)
    z = np.arctanh(np.clip(values, -0.999999, 0.999999)) - math.atanh(threshold)
    test = paired_t(z)
    interval = replace(interval, p=test.p, flip=test.flip, above=test.above)
    return Unit(words, statistic, interval, threshold_state(interval, threshold, above), decides, keys)


def judge_cells(
    module: str, claim: str, reading: str, scale: str, cells: Sequence[Cell], budget: WhyBudget,
    units_of: Callable[[Cell, bool], list[Unit]], further: Sequence[Unit] = (),
) -> Verdict:  # fmt: skip
    """The verdict over cells, and further units; missing where nothing was measured."""
    cooled = reading == "cooled"
    units = [unit for cell in cells for unit in units_of(cell, cooled)]
    found = (*(units or [Unit("all cells", CLOSED, None, State.MISSING)]), *further)
    return Verdict(claim, reading, scale, CHAPTER, found, rule(found), short(budget), rules_digest(module))


def short(budget: WhyBudget) -> tuple[str, ...]:
    """Where a budget falls short of what the rules ask for, in words."""
    texts: list[str] = []
    if lost := [PROBLEMS[name].title for name in WHY_PROTOCOL.problems if name not in budget.problems]:
        texts.append(f"not run: {', '.join(lost)}")
    have, asked = ([training.steps for training in own.trainings] for own in (budget, WHY_PROTOCOL))
    if lost_steps := sorted(set(asked) - set(have)):
        texts.append(f"no training to {', '.join(f'{steps:,}' for steps in lost_steps)} steps")
    wanted: TuningBudget = WHY_PROTOCOL.trainings[0]
    for training in budget.trainings:
        names = ", ".join(PROBLEMS[name].title for name in training.settings)
        own = deviations(training, replace(wanted, settings=training.settings, steps=training.steps))
        texts += [f"{names} at {training.steps:,} steps: {text}" for text in own]
        if few := budget.few_arms_of(training):
            texts.append(f"{names} at {training.steps:,} steps: only the arms {', '.join(few)}")
        curved = min(training.seeds, *map(budget.curvature_seeds_of, training.settings))
        if curved < wanted.seeds:
            texts.append(f"{names} at {training.steps:,} steps: curvature of {curved} seeds instead of {wanted.seeds}")
    return tuple(dict.fromkeys(texts))
