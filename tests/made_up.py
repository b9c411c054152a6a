"""Made-up numbers and trainings that several tests judge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

import lintrans as lt
from lintrans.paper.budgets import CurvatureBudget, NoiseBudget, TuningBudget
from lintrans.paper.claims import State, Unit, Verdict, rule
from lintrans.paper.judged import COARSE_LOSS, LOSS
from lintrans.statistics import Interval

LR = {"sgd": 0.02, "adam": 0.01}


def tuning(**changes: Any) -> TuningBudget:
    """A tiny search and training of Setting 1."""
    defaults = {
        "settings": ("1",), "steps": 20, "seeds": 2, "batch": 20, "blocks": 1, "every": 5, "rates": (0.01, 0.1),
        "clips": (1.0,), "tuning_seeds": (1000,), "screening": 20, "screening_seeds": 1, "minima": 1,
        "tuning_blocks": 1,
    }  # fmt: skip
    return TuningBudget(**{**defaults, **changes})


def curvature(**changes: Any) -> CurvatureBudget:
    """Tiny measurements along such a training, without a grid of rates."""
    defaults = {"seeds": 2, "probes": (10, 15), "judged": (10, 15), "settled": 5, "every": 5, "spectral": (5, 20, 5)}
    return CurvatureBudget(**{**defaults, **changes})


def noise(**changes: Any) -> NoiseBudget:
    """A little noise at two initializations of Setting 1."""
    return NoiseBudget(**{"settings": ("1",), "seeds": 2, "samples": 12, "batch": 5, "reference": 50, **changes})


BATCHES = (-1, 0, 1, 2)
"""The fixed batch and three evaluation batches."""


def measured(
    steps: Iterable[int], seeds: int, batches: Iterable[int] = BATCHES, **metrics: Callable[[int, str, int, int], float]
) -> pd.DataFrame:
    """Curvature along a training, each metric a function of seed, optimizer, step and batch; NaN leaves a row out."""
    order, batches = list(steps), list(batches)
    rows = [
        (run, optimizer, LR[optimizer], seed, step, metric, value(seed, optimizer, step, batch), 1.0, batch)
        for run, (optimizer, seed) in enumerate((optimizer, seed) for optimizer in LR for seed in range(seeds))
        for step in order
        for batch in batches
        for metric, value in metrics.items()
    ]
    columns = ["run", "optimizer", "lr", "seed", "step", "metric", "value", "clip", "batch"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame[frame["value"].notna()].reset_index(drop=True)


def interval(estimate: float, low: float, high: float, n: int = 6, p: float = 0.001) -> Interval:
    return Interval(estimate, low, high, p, n)


def number(given: Unit | Interval | None) -> Interval:
    """An interval, or that of a unit, which is there."""
    found = given.interval if isinstance(given, Unit) else given
    assert found is not None
    return found


def unit(state: State, case: str = "setting 1", statistic: str = "ratio", **more: Any) -> Unit:
    """A unit with the numbers 2 [1, 3], or none where it was not measured."""
    number = None if state is State.MISSING else interval(2, 1, 3)
    return Unit(case, statistic, more.pop("interval", number), state, **more)


def verdict(*units: Unit, claim: str = "C1", reading: str = "published", scale: str = "quick", **more: Any) -> Verdict:
    """The verdict on units by the rules."""
    return Verdict(claim, reading, scale, "adam_vs_sgd", units, rule(units), **more)


def history(
    loss: Callable[[int, str, int, float], float], seeds: int, steps: int = 1250, every: int = 250,
    rates: Sequence[float] = (0.0,), diverged: Iterable[int] = (), ends: Sequence[int] = (), clip: float = 1.0,
) -> lt.History:  # fmt: skip
    """A training whose typical loss is a function of seed, optimizer, step and rate (0: the optimizer's own in LR)."""
    order = [(optimizer, lr or LR[optimizer], seed) for optimizer in LR for lr in rates for seed in range(seeds)]
    runs = pd.DataFrame(order, columns=["optimizer", "lr", "seed"]).assign(clip=clip, skipped=0, clipped=0)
    runs.insert(0, "run", range(len(runs)))
    runs["diverged"] = [3 if run in set(diverged) else -1 for run in runs["run"]]
    rows = [
        (run, optimizer, lr, seed, step, metric, loss(seed, optimizer, step, lr), clip)
        for run, (optimizer, lr, seed) in enumerate(order)
        for metric, at in ((COARSE_LOSS, range(0, steps + 1, every)), (LOSS, (*(ends or (steps,)), steps + steps // 5)))
        for step in at
    ]
    frame = pd.DataFrame(rows, columns=["run", "optimizer", "lr", "seed", "step", "metric", "value", "clip"])
    return lt.History(frame, runs, {}, steps)
