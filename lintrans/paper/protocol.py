"""How a setting is trained to be judged: at the published rates, or at each optimizer's best rate.

Horizon, seeds, blocks and grid come from the table of scales in :mod:`lintrans.paper.scales`; the procedure is the same
at every scale. Everything trained here goes through the store, so chapters that need the same runs share them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pandas as pd

from ..errors import whole
from ..store.results import experiment
from ..tasks.regression import Sphere
from ..training.history import History
from ..training.optimizers import SGD, Adam, Optimizer
from ..training.probes import Probe, TestLoss, TypicalLoss
from ..training.runs import Runs, grid
from .budgets import Budget, TuningBudget
from .judged import COARSE_LOSS, LOSS, Choice, Judged, Tuning, end_steps, end_values
from .problems import PROBLEMS, Setting
from .scales import SPHERE_RATES

AnyBudget = TypeVar("AnyBudget", bound=Budget)
Arm = tuple[Optimizer, float, float]
"""An optimizer, its rate and its clip."""

__all__ = [
    "COARSE_LOSS", "LOSS", "MARKED_STEP", "OPTIMIZERS", "Choice", "Judged", "Tuning", "best_runs", "end_steps",
    "end_values", "judge_all", "next_rate", "published_runs", "rates_tried", "train_to_judge", "tune", "tune_all",
    "with_seeds_and_steps",
]  # fmt: skip

OPTIMIZERS: tuple[Optimizer, ...] = (SGD(), Adam())
COARSE_BLOCKS = 20
MARKED_STEP = 1000
COOLDOWN = 0.2
"""Share of the horizon over which the rate falls to zero afterwards, to find the floor f*."""
MOST_EXTENSIONS = 12
"""Times that rates may be added before tuning gives up, four decades beyond the grid's edge."""
RIVAL = 3.0
"""A second minimum of the screened losses is followed to the horizon where it is within this factor of the best."""


def train_to_judge(setting: Setting, runs: Runs, budget: Budget, title: str, device: str = "auto") -> History:
    """Train to the horizon and through the cooldown, with all that the rules of judgement ask for.

    Parameters are kept at every point of the curves and one step later, so that curvature can be measured along the
    steps that were really made, afterwards and without training again.
    """
    cooldown = round(COOLDOWN * budget.steps)
    marked = (MARKED_STEP,) if budget.steps >= MARKED_STEP else ()
    probes: list[Probe] = [
        TestLoss(every=budget.every),
        TypicalLoss(blocks=COARSE_BLOCKS, at=(*budget.measured, budget.steps), metric=COARSE_LOSS),
        TypicalLoss(blocks=budget.blocks, at=(*end_steps(budget.steps), *marked, budget.steps + cooldown), metric=LOSS),
    ]
    points = range(0, budget.steps, budget.every)
    return experiment(
        setting.model, setting.task, runs, steps=budget.steps, cooldown=cooldown, batch=budget.batch, clip=setting.clip,
        probes=probes, snapshots=[*points, *(step + 1 for step in points)], device=device, title=title,
    )  # fmt: skip


def arm_runs(arms: Iterable[Arm], seeds: Iterable[int]) -> Runs:
    """Every arm with every seed."""
    return sum((grid(optimizer=o, lr=lr, clip=clip, seed=seeds) for o, lr, clip in arms), start=Runs(()))


def published_runs(setting: Setting, seeds: Iterable[int]) -> Runs:
    """Both optimizers at the published rates and clip."""
    return arm_runs([(o, setting.lr[o.name], setting.clip) for o in OPTIMIZERS], seeds)


def best_runs(tuning: Tuning, seeds: Iterable[int], optimizers: Iterable[Optimizer] = OPTIMIZERS) -> Runs:
    """Both optimizers, or others that were tuned, at their best rates and clips."""
    return arm_runs([(o, tuning.best[o.name].lr, tuning.best[o.name].clip) for o in optimizers], seeds)


def next_rate(rate: float, up: bool) -> float:
    """The neighbour of a rate in {1, 2, 5} x 10^k."""
    exponent = math.floor(math.log10(rate) + 1e-9)
    digit = round(rate / 10.0**exponent)
    ladder = [1, 2, 5]
    if digit not in ladder:
        raise ValueError(f"rate = {rate:g} is not in the grid's pattern {{1, 2, 5}} x 10^k")
    decade, index = divmod(ladder.index(digit) + (1 if up else -1), 3)
    return float(f"{ladder[index]}e{exponent + decade}")


def _medians(losses: pd.DataFrame) -> pd.DataFrame:
    """Median end value over tuning seeds per optimizer, rate and clip, best first; ties go to the lower rate."""
    medians: pd.DataFrame = losses.groupby(["optimizer", "lr", "clip"], as_index=False)[["loss"]].median()
    return medians.sort_values(["loss", "lr", "clip"], ignore_index=True)


def neighbours(lr: float) -> tuple[float, float]:
    """The rates beside one in {1, 2, 5} x 10^k."""
    return next_rate(lr, up=False), next_rate(lr, up=True)


def _choices(losses: pd.DataFrame, steps: int) -> dict[str, Choice]:
    """Best of `losses` (all of one horizon) by optimizer; interior where both neighbours ran to it at the same clip."""
    found = {}
    for optimizer, own in losses.groupby("optimizer", sort=False):
        best = _medians(own).iloc[0]
        lr, clip, loss = float(best["lr"]), float(best["clip"]), float(best["loss"])
        run = set(own[own["clip"] == clip]["lr"])
        found[str(optimizer)] = Choice(lr, clip, loss, run.issuperset(neighbours(lr)), steps)
    return found


def minima(medians: pd.DataFrame, count: int) -> list[tuple[float, float]]:
    """(rate, clip) of the lowest local minima over rates, one clip at a time, of one optimizer's median losses.

    An edge counts as a minimum where the loss falls towards it. Rates that end within RIVAL times the best alone.
    """
    found = []
    for clip, own in medians.groupby("clip"):
        table = own.sort_values("lr")
        losses, rates = table["loss"].to_numpy(np.float64), table["lr"].to_numpy(np.float64)
        around = np.concatenate([[math.inf], losses, [math.inf]])
        low = (losses < around[:-2]) & (losses <= around[2:]) & np.isfinite(losses)
        found += [(float(losses[k]), float(rates[k]), float(str(clip))) for k in np.flatnonzero(low)]
    if not found:  # everything diverged
        row = medians.iloc[0]
        return [(float(row["lr"]), float(row["clip"]))]
    best = min(found)[0]
    return [(lr, clip) for loss, lr, clip in sorted(found) if loss <= RIVAL * best][:count]


def rates_tried(name: str, budget: TuningBudget, optimizer: str) -> tuple[float, ...]:
    """The grid that an optimizer's search starts from in one setting; on the sphere it reaches further."""
    rates = budget.rates_of(optimizer)
    if not isinstance(getattr(PROBLEMS[name].task, "covariates", None), Sphere):
        return rates
    return (*rates, *(rate for rate in SPHERE_RATES if rate not in rates))


def clips_tried(name: str, budget: TuningBudget) -> tuple[float, ...]:
    """The clips that a search tries in one setting: the published one too, where a rate is published."""
    setting = PROBLEMS[name]
    return tuple(dict.fromkeys((*budget.clips, *([setting.clip] if setting.lr else []))))


def tune(name: str, budget: TuningBudget, device: str = "auto", optimizers: Sequence[Optimizer] = OPTIMIZERS) -> Tuning:
    """Find each optimizer's best rate and clip for one setting.

    The whole grid runs `screening` steps on a few of the tuning seeds. Per optimizer the lowest minima of what it
    shows, each with both neighbours at its clip, run to the horizon on all tuning seeds; while a neighbour of the
    winner is missing there, it is run too.
    """
    setting, seeds = PROBLEMS[name], budget.tuning_seeds_of(name)

    def run(arms: list[Arm], steps: int, chosen: tuple[int, ...], what: str) -> pd.DataFrame:
        history = experiment(
            setting.model, setting.task, arm_runs(arms, chosen), steps=steps, batch=budget.batch,
            probes=[TypicalLoss(blocks=budget.tuning_blocks, at=end_steps(steps), metric=LOSS)], device=device,
            title=f"{setting.title}, {what}",
        )  # fmt: skip
        return end_values(history).assign(steps=steps, screened=False)[
            ["optimizer", "lr", "clip", "seed", "steps", "loss", "screened"]
        ]

    clips = clips_tried(name, budget)
    arms = [(o, lr, clip) for o in optimizers for clip in clips for lr in rates_tried(name, budget, o.name)]
    screened = run(arms, budget.screening, seeds[: budget.screening_seeds], "grid of rates").assign(screened=True)
    if not budget.minima:
        return Tuning(name, screened, _choices(screened, budget.screening), complete=False)
    wanted = followed(screened, optimizers, budget.minima)
    losses, best = settle(lambda arms, what: run(arms, budget.steps, seeds, what), wanted, budget.steps)
    complete = all(choice.interior for choice in best.values())
    return Tuning(name, pd.concat([screened, losses], ignore_index=True), best, complete)


def followed(screened: pd.DataFrame, optimizers: Iterable[Optimizer], count: int) -> list[Arm]:
    """What is run to the horizon after a screening: each optimizer's lowest minima with both neighbours."""
    medians = _medians(screened)
    return [
        (o, rate, clip)
        for o in optimizers
        for lr, clip in minima(medians[medians["optimizer"] == o.name], count)
        for rate in (lr, *neighbours(lr))
    ]


def settle(
    run: Callable[[list[Arm], str], pd.DataFrame], wanted: Iterable[Arm], steps: int
) -> tuple[pd.DataFrame, dict[str, Choice]]:
    """Run arms to the horizon, and while a neighbour of an optimizer's best is missing there, that too."""
    ahead = list(dict.fromkeys(wanted))
    optimizers = {o.name: o for o, _, _ in ahead}
    parts: list[pd.DataFrame] = []
    for turn in range(MOST_EXTENSIONS):
        parts.append(run(ahead, "wider grid" if turn else "best of the grid"))
        losses = pd.concat(parts, ignore_index=True)
        best = _choices(losses, steps)
        have = set(zip(losses["optimizer"], losses["lr"], losses["clip"], strict=True))
        ahead = [
            (optimizers[name], rate, choice.clip)
            for name, choice in best.items()
            for rate in neighbours(choice.lr)
            if (name, rate, choice.clip) not in have
        ]
        if not ahead:
            break
    return losses, best


def tune_all(budget: TuningBudget, device: str = "auto") -> dict[str, Tuning]:
    """:func:`tune` for every setting of the budget."""
    return {name: tune(name, budget, device) for name in budget.settings}


def judge_all(
    budget: TuningBudget, device: str = "auto", readings: Collection[str] = ("published", "tuned"), tuned_at: int = 0
) -> Judged:
    """Find the best rates, then train the readings of every setting; all arms of a seed share its prompts.

    A run that is in both readings, where the best rate is the published one, is trained once. The best rates are those
    of the horizon, or of `tuned_at` steps where that is given.
    """
    tunings = tune_all(replace(budget, steps=tuned_at or budget.steps), device)
    histories: dict[str, dict[str, History]] = {"published": {}, "tuned": {}}
    seeds = budget.judging
    for name, tuning in tunings.items():
        setting = PROBLEMS[name]
        arms = {"published": published_runs(setting, seeds)} if setting.lr else {}
        if tuning.complete:
            arms["tuned"] = best_runs(tuning, seeds)
        arms = {reading: arm for reading, arm in arms.items() if reading in readings}
        runs = list(dict.fromkeys(run for arm in arms.values() for run in arm))
        if not runs:
            continue
        history = train_to_judge(setting, Runs(runs), budget, f"{setting.title}, published and best rates", device)
        for reading, arm in arms.items():
            histories[reading][name] = history.select([runs.index(run) for run in arm])
    return Judged(histories, tunings)


def with_seeds_and_steps(budget: AnyBudget, seeds: int = 0, steps: int = 0) -> AnyBudget:
    """A budget with other judging seeds or another horizon; 0 keeps the scale's own.

    Raises:
        ValueError: a negative number.
    """
    whole("seeds", seeds)
    whole("steps", steps)
    return replace(budget, seeds=seeds or budget.seeds, steps=steps or budget.steps)
