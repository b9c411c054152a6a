"""Every arm between SGD and Adam, tuned alike and trained on the same prompts; the Hessian's blocks early on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import torch

from ...diagnostics.along import draw
from ...diagnostics.blocks import blocks_along
from ...diagnostics.curvature import hessian_diagonal
from ...engines import choose
from ...models.transformer import groups_of
from ...store.results import experiment, measurement
from ...training.arms import ARMS, PARTITIONS, BlockSGD, PartitionedAdam, matrices
from ...training.optimizers import Adam, Optimizer
from ...training.probes import TypicalLoss
from ...training.runs import Runs, grid
from ...training.train import plan_training
from ..budgets import TuningBudget
from ..claims.adaptivity import Cell
from ..judged import LOSS, Choice, Tuning, end_steps, end_values
from ..problems import PROBLEMS, Setting
from ..protocol import best_runs, train_to_judge, tune
from ..scales_adaptivity import WhyBudget

LOOKS = 20
"""Points along a run at which SlimAdam's ratio is taken."""
STEP_UP, MOST_TURNS = 3.0, 6
"""Factor by which a layer's rate is changed at a time, and how many changes are made at most."""


@dataclass(frozen=True)
class Measured:
    """All that was trained and measured.

    Attributes:
        cells: problems and horizons at which SGD and Adam have an interior best rate.
        tunings: every search, by problem and horizon.
        made: the arms that rest on something measured, likewise.
    """

    cells: list[Cell]
    tunings: dict[tuple[str, int], Tuning]
    made: dict[tuple[str, int], list[Optimizer]]


def measure(budget: WhyBudget, device: str = "auto") -> Measured:
    """Tune, train and measure every problem at every horizon."""
    found = Measured([], {}, {})
    for training in budget.trainings:
        for name in training.settings:
            cell, found.tunings[name, training.steps], found.made[name, training.steps] = _cell(
                name, training, budget, device
            )
            if cell is not None:
                found.cells.append(cell)
    return found


def _cell(
    name: str, training: TuningBudget, budget: WhyBudget, device: str
) -> tuple[Cell | None, Tuning, list[Optimizer]]:
    setting = PROBLEMS[name]
    arms = [arm for arm in ARMS if budget.trains(arm.name, training)]
    first = tune(name, training, device, arms)
    later = _later(setting, first, training, budget, device)
    second = tune(name, training, device, later) if later else first
    best = first.best | second.best
    inside = [arm for arm in (*arms, *later) if best[arm.name].interior]
    losses = pd.concat([first.losses, second.losses], ignore_index=True) if later else first.losses
    tuning = Tuning(name, losses, best, len(inside) == len(best))
    if not {"sgd", "adam"} <= {arm.name for arm in inside}:
        return None, tuning, later
    runs = best_runs(tuning, training.judging, inside)
    history = train_to_judge(setting, runs, training, f"{setting.title}, every arm at its best rate", device)
    return Cell(name, history, early_measures(setting, runs, training, budget, device)), tuning, later


def _later(setting: Setting, tuning: Tuning, training: TuningBudget, budget: WhyBudget, device: str) -> list[Optimizer]:
    """The arms that rest on something measured on tuning seeds, at the best rates of SGD and Adam."""
    seeds = training.tuning_seeds_of(setting.name)[: budget.oracle_seeds]
    adam, sgd = tuning.best["adam"], tuning.best["sgd"]
    found: dict[str, Callable[[], Optimizer]] = {
        "oracle": lambda: BlockSGD(rates=oracle_rates(setting, adam, seeds, training, budget, device)),
        "layer_rates": lambda: BlockSGD(rates=layer_rates(setting, sgd, seeds, training, device), name="layer_rates"),
        "slim_adam": lambda: PartitionedAdam(
            partition=slim_partition(setting, adam, seeds, training), name="slim_adam"
        ),
    }
    return [make() for name, make in found.items() if budget.trains(name, training)]


def oracle_rates(
    setting: Setting, adam: Choice, seeds: Sequence[int], training: TuningBudget, budget: WhyBudget, device: str
) -> tuple[float, ...]:
    """One rate a block, as 1 / median |H_ii| where tuned Adam is early on; geometric mean 1, three digits.

    A geometric mean over tuning seeds and evaluation batches. A block without curvature, the last P', has rate 1.
    """
    history = experiment(
        setting.model, setting.task, grid(optimizer=Adam(), lr=adam.lr, clip=adam.clip, seed=seeds),
        steps=budget.early, batch=training.batch, snapshots=[budget.early], device=device,
        title=f"{setting.title}, where the oracle looks",
    )  # fmt: skip
    group = groups_of(setting.model, "block")
    logs = []
    for prompts in draw(setting.model, setting.task, range(budget.batches), training.batch).values():
        diagonal = hessian_diagonal(setting.model, history.parameters(budget.early), prompts).abs().flatten(1)
        logs.append(torch.stack([diagonal[:, group == k].quantile(0.5, dim=1) for k in range(int(group.max()) + 1)]))
    medians = torch.cat(logs, dim=1).log().mean(1)
    return _rates((-medians).numpy())


def _rates(logs: np.ndarray) -> tuple[float, ...]:
    """Rates from their logarithms, those that are not finite 1, the others of geometric mean 1."""
    good = np.isfinite(logs)
    centred = np.where(good, logs - logs[good].mean(), 0.0)
    return tuple(float(f"{rate:.3g}") for rate in np.exp(centred))


def layer_rates(
    setting: Setting, sgd: Choice, seeds: Sequence[int], training: TuningBudget, device: str
) -> tuple[float, ...]:
    """One rate a layer found on tuning seeds: from SGD's best, the best change of a layer's rate again and again."""
    layers = setting.model.parameter_shape[0]
    factors = (1.0,) * layers
    kept = BlockSGD(rates=_both(factors), name=_name(factors))
    least = sgd.loss
    for _ in range(MOST_TURNS):
        tried = [
            tuple(own * (change if k == layer else 1.0) for k, own in enumerate(factors))
            for layer in range(layers)
            for change in (STEP_UP, 1 / STEP_UP)
        ]
        arms = [BlockSGD(rates=_both(each), name=_name(each)) for each in tried]
        budget = replace(training, tuning_seeds=tuple(seeds))
        ends = _ends(setting, arms, sgd, budget, device)
        best = min(range(len(arms)), key=lambda k: float(ends[arms[k].name]))
        if not ends[arms[best].name] < least:
            break
        least, factors, kept = float(ends[arms[best].name]), tried[best], arms[best]
    return kept.rates


def _both(factors: Sequence[float]) -> tuple[float, ...]:
    """A layer's rate for its P and for its Q, of geometric mean 1."""
    return _rates(np.repeat(np.log(factors), 2))


def _name(factors: Sequence[float]) -> str:
    return "layers " + " ".join(f"{factor:.3g}" for factor in factors)


def _ends(setting: Setting, arms: Sequence[BlockSGD], sgd: Choice, budget: TuningBudget, device: str) -> pd.Series:
    """Median end losses by arm on tuning seeds, at SGD's best rate."""
    history = experiment(
        setting.model, setting.task, grid(optimizer=arms, lr=sgd.lr, clip=sgd.clip, seed=budget.tuning_seeds),
        steps=budget.steps, batch=budget.batch, device=device, title=f"{setting.title}, rates layer by layer",
        probes=[TypicalLoss(blocks=budget.tuning_blocks, at=end_steps(budget.steps), metric=LOSS)],
    )  # fmt: skip
    ends: pd.Series = end_values(history).groupby("optimizer")["loss"].median()
    return ends


def slim_partition(setting: Setting, adam: Choice, seeds: Sequence[int], training: TuningBudget) -> tuple[str, str]:
    """What SlimAdam's rule shares in P and in Q, from Adam's own second moments along its tuned runs.

    A partition's signal-to-noise ratio is the square of a group's mean over its variance, averaged over groups,
    matrices and the run; the largest that is at least 1 is taken, else every entry keeps its own (Kalra et al. 2025).
    """
    of = {"model": setting.model, "task": setting.task, "lr": adam.lr, "clip": adam.clip, "seeds": list(seeds),
          "steps": training.steps, "batch": training.batch}  # fmt: skip
    table = measurement(f"{setting.title}, SlimAdam's ratios", of, lambda: _ratios(setting, adam, seeds, training))
    found = []
    for kind in (0, 1):
        means = table[table["kind"] == kind].groupby("partition")["ratio"].mean()
        found.append(str(means.idxmax()) if means.max() >= 1 else PARTITIONS[0])
    return found[0], found[1]


def _ratios(setting: Setting, adam: Choice, seeds: Sequence[int], training: TuningBudget) -> pd.DataFrame:
    """Columns partition, kind (0: P, 1: Q), matrix, look, ratio."""
    model = setting.model
    runs = grid(optimizer=Adam(), lr=adam.lr, clip=adam.clip, seed=seeds)
    plan = plan_training(model, setting.task, runs, steps=training.steps, batch=training.batch)
    engine = choose("auto", plan)
    state = engine.start()
    count, rows, columns = matrices(model)
    used = (~model.structural_zeros).reshape(count, -1).any(-1)
    axes = {"row": (-1,), "column": (-2,), "block": (-2, -1)}
    found = []
    for look in range(LOOKS):
        engine.advance(state, training.steps // LOOKS)
        own = next(slots["second"] for slots in state.slots.values() if "second" in slots)
        second = own.to(torch.float64).reshape(-1, count, rows, columns)
        for partition, dims in axes.items():
            ratio = second.mean(dims).square() / second.var(dims, unbiased=False).clamp_min(1e-300)
            each = ratio.reshape(len(second), count, -1).mean((0, 2))
            found += [(partition, k % 2, k, look, float(each[k])) for k in range(count) if used[k]]
    return pd.DataFrame(found, columns=["partition", "kind", "matrix", "look", "ratio"])


def early_measures(
    setting: Setting, runs: Runs, training: TuningBudget, budget: WhyBudget, device: str
) -> pd.DataFrame:
    """Curvature in blocks at the early step, of the first judging seeds; see :func:`.blocks.blocks_along`."""
    few = [run for run in runs if run.seed in training.judging[: budget.curvature_seeds_of(setting.name)]]
    history = experiment(
        setting.model, setting.task, Runs(few), steps=budget.early, batch=training.batch,
        snapshots=[budget.early], device=device, title=f"{setting.title}, every arm's first steps",
    )  # fmt: skip
    of = {"history": history.key, "step": budget.early, "batches": budget.batches}
    along = partial(blocks_along, history, setting.model, setting.task, budget.early, budget.batches)
    return measurement(f"{setting.title}, blocks of the Hessian", of, along)
