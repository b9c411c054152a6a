"""Every problem computed twice: as the book computes it, and by the second implementation; then compared.

One side is what the chapters use: the engine and dtype that "auto" and the model choose, and the instruments of
:mod:`lintrans.diagnostics`. The other is :mod:`.plain`: tokens, autograd, ``torch.optim``, float64. Both start from the
same seeds and see the same prompts, each side measures the parameters that it arrived at itself, and what is compared
are the numbers that the claims judge. Only the Gaussian null of gradient noise is the same function on
both sides: a few lines of NumPy in float64, given each side's own covariance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ...devices import resolve_device
from ...diagnostics.along import fixed_batch
from ...diagnostics.curvature import conditions, step_measures
from ...diagnostics.noise import measure_noise, noise_table
from ...errors import whole
from ...store.results import measurement
from ...training.probes import TypicalLoss
from ...training.runs import Runs, grid
from ...training.train import train
from ..budgets import ComparisonBudget, DoubleCheckBudget
from ..judged import LOSS
from ..problems import PROBLEMS, Setting
from ..protocol import OPTIMIZERS
from . import plain
from .long import tail
from .statistics import MEASURES as MEASURES
from .statistics import STATISTICS as STATISTICS

ROUNDING = 1e-12
"""Relative difference below which two float64 numbers lie on neither side of each other."""


COLUMNS = ("problem", "statistic", "seed", "fast", "independent", "difference", "flips")

Values = Mapping[str, Tensor]
"""One number a run (SGD's seeds, then Adam's) by name; of "noise", one a seed."""


def runs_of(setting: Setting, group: ComparisonBudget, lr: Mapping[str, float]) -> Runs:
    """Both optimizers, at the published rates or at `lr` where none are published; SGD's seeds come first."""
    rates = setting.lr or lr
    seeds = range(group.seeds)
    arms = (grid(optimizer=o, lr=rates[o.name], clip=setting.clip, seed=seeds) for o in OPTIMIZERS)
    return sum(arms, start=Runs(()))


def by_the_book(setting: Setting, runs: Runs, group: ComparisonBudget, device: str = "auto") -> Values:
    """Train and measure as the chapters do.

    Returns:
        loss, and as `group.measures` says r_lower, directional_smoothness, spectral_norm, gradient_norm ``[runs]``,
        noise ``[seeds]``; float64.
    """
    model, task = setting.model, setting.task
    history = train(
        model, task, runs, steps=group.steps, batch=group.batch, device=device, snapshots=[group.steps - 1],
        probes=[TypicalLoss(blocks=group.blocks, at=(group.steps,), metric=LOSS)], title=setting.title,
    )  # fmt: skip
    found = {"loss": torch.from_numpy(history.metric(LOSS).sort_values("run")["value"].to_numpy(np.float64, copy=True))}
    if "curvature" in group.measures:
        prompts = fixed_batch(model, task, group.prompts)
        before, after = (history.parameters(step) for step in (group.steps - 1, group.steps))
        found |= step_measures(model, before, after, prompts, spectral=True)
        found["r_lower"] = conditions(model, before, prompts)["r_lower"]
    if "noise" in group.measures:
        seeds = range(group.seeds)
        measured = measure_noise(
            model, task, model.init(seeds), batch=group.noise_batch, samples=group.samples, reference=group.reference,
            seed=seeds,
        )  # fmt: skip
        found["noise"] = torch.from_numpy(noise_table(measured, seeds)["excess"].to_numpy(np.float64, copy=True))
    return found


def independently(setting: Setting, runs: Runs, group: ComparisonBudget) -> Values:
    """The same numbers from :mod:`lintrans.paper.second.plain`; arguments and result as for :func:`by_the_book`."""
    model, task = setting.model, setting.task
    trained = plain.train(model, task, list(runs), group.steps, group.batch)
    found = {"loss": plain.typical_losses(model, task, trained.after, group.blocks)}
    if "curvature" in group.measures:
        prompts = plain.test_prompts(task, group.prompts)
        rows = []
        for before, after in zip(trained.before, trained.after, strict=True):
            own = plain.curvature(model, before, prompts)
            rows.append((own.robust_condition, own.along(after - before), own.norm, float(own.gradient.norm())))
        names = ("r_lower", "directional_smoothness", "spectral_norm", "gradient_norm")
        found |= dict(zip(names, torch.tensor(rows, dtype=torch.float64).unbind(-1), strict=True))
    if "noise" in group.measures:
        excess = []
        for seed in range(group.seeds):
            start = model.init(seed, dtype=torch.float64)
            rows_of_noise = plain.noise(model, task, start, seed, group.noise_batch, group.samples, group.reference)
            excess.append(tail(rows_of_noise, seed))
        found["noise"] = torch.tensor(excess, dtype=torch.float64)
    return found


def statistics_of(values: Values, seeds: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Each statistic of STATISTICS that the values hold: its numbers ``[seeds]``, and on which side they lie.

    The side is 1 where SGD's number is larger, or E exceeds 1, -1 where it is smaller, 0 where the two agree to
    ROUNDING, and where no side matters.
    """
    made: dict[str, tuple[Tensor, Tensor]] = {}

    def ratio(name: str, key: str) -> None:
        sgd, adam = values[key][:seeds], values[key][seeds:]
        made[name] = sgd / adam, _side(sgd, adam)

    nowhere = torch.zeros(seeds, dtype=torch.float64)
    ratio("loss_ratio", "loss")
    made["sgd"], made["adam"] = (values["loss"][:seeds], nowhere), (values["loss"][seeds:], nowhere)
    if "noise" in values:
        made["noise"] = values["noise"], _side(values["noise"], torch.ones(seeds, dtype=torch.float64))
    if "r_lower" in values:
        ratio("condition", "r_lower")
        ratio("smoothness", "directional_smoothness")
        made["hessian"] = values["spectral_norm"][seeds:], nowhere
        made["gradient"] = values["gradient_norm"][seeds:], nowhere
    return made


def _side(above: Tensor, below: Tensor) -> Tensor:
    """Sign of the difference, zero where it is rounding."""
    difference = above - below
    return torch.where(difference.abs() <= ROUNDING * torch.maximum(above.abs(), below.abs()), 0.0, difference.sign())


def compared(problem: str, fast: Values, other: Values, seeds: int) -> pd.DataFrame:
    """Both sides beside each other.

    Returns:
        A row a statistic and seed: problem, statistic, seed, fast, independent, difference (relative to the independent
        one; infinite where only one of the two is finite), flips (whether one lies above 1 and the other below, or only
        one is finite). What is undefined on both sides, as R_med where the median is zero, has no row.
    """
    theirs = statistics_of(other, seeds)
    rows = []
    for name, (numbers, sides) in statistics_of(fast, seeds).items():
        for seed, (a, b) in enumerate(zip(numbers.tolist(), theirs[name][0].tolist(), strict=True)):
            if not (math.isfinite(a) or math.isfinite(b)):
                continue
            both = math.isfinite(a) and math.isfinite(b)
            difference = abs(a - b) / abs(b) if both and b else math.inf
            flips = not both or bool(sides[seed] * theirs[name][1][seed] < 0)
            rows.append((problem, name, seed, a, b, 0.0 if a == b else difference, flips))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def compare(problem: str, group: ComparisonBudget, lr: Mapping[str, float], device: str = "auto") -> pd.DataFrame:
    """Compute one problem twice; see :func:`compared`."""
    setting = PROBLEMS[problem]
    runs = runs_of(setting, group, lr)
    return compared(
        problem, by_the_book(setting, runs, group, device), independently(setting, runs, group), group.seeds
    )


def compare_all(budget: DoubleCheckBudget, device: str = "auto") -> pd.DataFrame:
    """:func:`compare` for every problem of a budget, each found in the store or computed and kept."""
    return pd.concat(list(_each(budget, device)), ignore_index=True)


def _each(budget: DoubleCheckBudget, device: str) -> Iterator[pd.DataFrame]:
    for group in budget.groups:
        for name in group.problems:
            setting, own = PROBLEMS[name], replace(group, problems=(name,))
            rates = dict(setting.lr or budget.lr)
            of = {
                "what": "double check", "model": setting.model, "task": setting.task, "clip": setting.clip,
                "lr": sorted(rates.items()), "budget": own, "device": str(resolve_device(device)),
            }  # fmt: skip
            yield measurement(f"{setting.title}, computed twice", of, partial(compare, name, own, rates, device))


def changed(budget: DoubleCheckBudget, seeds: int = 0, steps: int = 0) -> DoubleCheckBudget:
    """A budget with other seeds or another horizon; 0 keeps the scale's own.

    Raises:
        ValueError: a negative number.
    """
    whole("seeds", seeds)
    whole("steps", steps)
    groups = (replace(each, seeds=seeds or each.seeds, steps=steps or each.steps) for each in budget.groups)
    return replace(budget, groups=tuple(groups))
