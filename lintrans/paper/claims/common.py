"""What several claims read off the judged trainings, and how they say where a scale falls short of the rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ...statistics import ROUNDING, Interval, no_narrower, paired_t
from ...store.sources import code
from ...training.history import History
from ..budgets import CurvatureBudget, TuningBudget
from ..judged import COARSE_LOSS, LOSS, cooled_values, end_values
from ..problems import PROBLEMS
from ..scales import CURVATURE_PROTOCOL, CURVATURE_SEEDS, LABELS, PAPER_SEEDS, PROTOCOL
from .rules import Keys, State, Unit

CASES = ("1", "2", "3")
READINGS = ("published", "tuned")
END_READINGS = (*READINGS, "cooled")
"""Those of an end loss: the third is that of the tuned runs once their rate has fallen to zero."""
ARMS = tuple(LABELS)
"""Statistics that are one optimizer's end loss."""
FIXED_BATCH = "fixed batch"
"""The paper's sample: its own seeds on the one fixed batch."""
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


def floor(*histories: History) -> float:
    """f*, the least typical loss of any run of these trainings at the horizon or after its cooldown."""
    lowest = []
    for history in histories:
        rows = history.metric(LOSS)
        lowest.append(float(rows[rows["step"].isin((history.steps, rows["step"].max()))]["value"].min()))
    return min(lowest)


def target_of(name: str, *histories: History) -> float:
    """sqrt(f0 f*) of a problem, half-way (in logarithms) between the zero predictor and the least loss of these."""
    return math.sqrt(PROBLEMS[name].task.zero_loss * floor(*histories))


def judged_losses(history: History, zero_loss: float, cooled: bool = False) -> pd.DataFrame:
    """The runs' table with ``loss``; a run that diverged or does worse counts as the zero predictor, and is marked.

    With `cooled`, the loss after the cooldown instead of the end value at the constant rate.
    """
    table = cooled_values(history) if cooled else end_values(history)
    lost = ~(table["loss"] <= zero_loss) | (table["diverged"] >= 0)
    return table.assign(loss=table["loss"].where(~lost, zero_loss), counted_as_zero=lost)


def steps_to(history: History, target: float, metric: str = COARSE_LOSS, zero_loss: float = math.inf) -> pd.DataFrame:
    """The runs' table with ``steps``: the first measured step at which the metric is below the target.

    Runs that diverged, end above `zero_loss` or never reach it stand at the horizon, marked ``censored``. ``tick`` is
    the distance to the measurement before.
    """
    rows = history.metric(metric)
    rows = rows[rows["step"] <= history.steps]
    measured = np.sort(rows["step"].unique())
    ticks = pd.Series(np.diff(measured, prepend=0), index=measured)
    first = history.runs["run"].map(rows[rows["value"] < target].groupby("run")["step"].min())
    censored = first.isna() | (history.runs["diverged"] >= 0)
    if math.isfinite(zero_loss):
        censored |= ~(end_values(history)["loss"] <= zero_loss)
    steps = first.where(~censored, history.steps).astype(float)
    return history.runs.assign(steps=steps, censored=censored, tick=steps.map(ticks).astype(float))


@dataclass(frozen=True)
class Bounded:
    """Logarithms by seed, some of which are only bounds, all of them on the grid of what was measured.

    Attributes:
        logs: by seed.
        least: whether the truth may be larger, as of the steps of a run that never reached its target.
        most: whether it may be smaller, as of a ratio with such steps below.
        width: half the distance, in logarithms, that measurements lie apart there.
    """

    logs: pd.Series
    least: pd.Series
    most: pd.Series
    width: pd.Series

    @classmethod
    def of(cls, steps: pd.DataFrame, optimizer: str) -> Bounded:
        """Steps of one optimizer's runs, from :func:`steps_to`."""
        own = steps[steps["optimizer"] == optimizer].set_index("seed").sort_index()
        taken, tick = own["steps"].clip(lower=1.0), own["tick"].clip(lower=1.0)
        never = pd.Series(False, index=own.index)
        return cls(np.log(taken), own["censored"], never, (tick / (2 * taken)).clip(upper=1.0))

    def __sub__(self, other: Bounded) -> Bounded:
        """The logarithm of a ratio, over the seeds that both have."""
        seeds = self.logs.index.intersection(other.logs.index)
        mine, theirs = ([part[seeds] for part in (own.logs, own.least, own.most, own.width)] for own in (self, other))
        return Bounded(mine[0] - theirs[0], mine[1] | theirs[2], mine[2] | theirs[1], mine[3] + theirs[3])

    def ratio(self) -> Interval | None:
        """Geometric mean with its 95% interval, no narrower than the grid; None where there is no seed."""
        if self.logs.empty:
            return None
        values = self.logs.where(self.logs.abs() > ROUNDING, 0.0)  # equal ratios of steps may differ by rounding
        found, half = paired_t(values.to_numpy(np.float64)), float(self.width.mean())
        bound = {(True, True): "?", (True, False): ">=", (False, True): "<="}.get(
            (bool(self.least.any()), bool(self.most.any())), ""
        )
        return replace(no_narrower(found, half), bound=bound).exp()


def step_ratio(steps: pd.DataFrame) -> Bounded:
    """Log of the ratio of steps, SGD over Adam, by seed; from :func:`steps_to`."""
    return Bounded.of(steps, "sgd") - Bounded.of(steps, "adam")


def on_batches(frame: pd.DataFrame, fixed: bool = False) -> pd.DataFrame:
    """The rows of the evaluation batches, or of the fixed one, whose number is below zero."""
    return frame[(frame["batch"] < 0) == fixed]


def typical(frame: pd.DataFrame) -> pd.DataFrame:
    """The median over evaluation batches of every run's every measure, a row each; their ``batch`` is 0."""
    keys = [column for column in frame if column not in ("value", "batch")]
    return on_batches(frame).groupby(keys, sort=False, dropna=False)["value"].median().reset_index().assign(batch=0)


def papers_sample(frame: pd.DataFrame, judging: Sequence[int]) -> pd.DataFrame:
    """The rows of the fixed batch and of as many of the judging seeds as the paper has."""
    return on_batches(frame[frame["seed"].isin(judging[:PAPER_SEEDS])], fixed=True)


def by_seed_and_batch(values: pd.Series) -> pd.DataFrame:
    """The mean over steps as a table [seeds, batches]; seeds that lack a batch are left out."""
    return pd.DataFrame(values.groupby(level=["seed", "batch"]).mean().unstack("batch")).dropna()


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
        ("grid of rates run for {} steps instead of {}", budget.screening, asked.screening),
        ("seeds that run the grid of rates: {} instead of {}", budget.screening_seeds, asked.screening_seeds),
        ("rates compared on {} blocks instead of {}", budget.tuning_blocks, asked.tuning_blocks),
    )
    if asked.minima and not budget.minima:
        texts.append("the grid alone: no rate is run to the horizon, and none is judged")
    else:
        texts += fewer(("{} minimum of the grid followed to the horizon instead of {}", budget.minima, asked.minima))
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
    texts += fewer(
        ("curvature of {} seeds instead of {}", budget.seeds, asked.seeds),
        ("curvature on {} evaluation batches instead of {}", budget.batches, asked.batches),
    )
    if budget.batch:
        texts.append(f"curvature on batches of {budget.batch:,} prompts instead of 1,000")
    return tuple(texts)


def _list(steps: Iterable[int]) -> str:
    return ", ".join(f"{step:,}" for step in steps)


def rules_digest(claim: str) -> str:
    """Digest of the code that judges a claim, with all that it stands on, given its module's ``__name__``."""
    return code().digest(claim)
