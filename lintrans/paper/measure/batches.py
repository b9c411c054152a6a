"""Batches of any size at best rates, noise that is made Gaussian, averaged iterates, rates under clip and norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ...diagnostics.derivatives import batch_gradients
from ...engines import Plan, choose
from ...engines.reference import ReferenceEngine
from ...progress import bar
from ...random import Source, Stream
from ...store.results import experiment, measurement
from ...training.history import COLUMNS, History
from ...training.optimizers import SGD, NormalizedSGD
from ...training.probes import TypicalLoss
from ...training.runs import Runs, grid
from ...training.train import plan_training
from ..claims.common import Bounded, step_ratio, steps_to, target_of
from ..judged import COARSE_LOSS, LOSS, Tuning, cooled_values, end_steps, end_values
from ..problems import PROBLEMS, Setting
from ..protocol import COARSE_BLOCKS, best_runs, published_runs, train_to_judge, tune
from ..scales_batches import BatchBudget
from .noise import at_initialization

LAST = 0.2
"""Share of the horizon whose iterates are averaged."""
SURE = 10
"""The gradient that noise is measured from has so many times the prompts of a minibatch, at the least."""


@dataclass(frozen=True)
class Compared:
    """Trainings of one setting by batch, at the best rates of each, where one was found inside the grid."""

    tunings: dict[int, Tuning]
    histories: dict[int, History]

    @property
    def target(self) -> float | None:
        """sqrt(f0 f*) of the batch that the paper has, for all of them."""
        own = self.histories.get(1000)
        return None if own is None else target_of(self.tunings[1000].setting, own)

    def gaps(self) -> dict[int, Bounded]:
        """Log ratios of steps to the target, by batch."""
        target = self.target
        if target is None:
            return {}
        return {batch: step_ratio(steps_to(history, target)) for batch, history in self.histories.items()}


def compared(budget: BatchBudget, device: str = "auto") -> dict[str, Compared]:
    """Every setting and batch at equal steps, the largest batch at the rates of the one before."""
    found = {}
    for name in budget.training.settings:
        setting, tunings, histories = PROBLEMS[name], dict[int, Tuning](), dict[int, History]()
        for batch, before in zip(budget.batches, (0, *budget.batches), strict=False):
            own = replace(budget.training, settings=(name,), batch=batch)
            if batch == max(budget.batches):
                own, tunings[batch] = replace(own, steps=budget.largest_steps), tunings[before]
            else:
                tunings[batch] = tune(name, own, device)
            if tunings[batch].complete:
                runs = best_runs(tunings[batch], own.judging)
                title = f"{setting.title}, batches of {batch:,}"
                histories[batch] = train_to_judge(setting, runs, own, title, device)
        found[name] = Compared(tunings, histories)
    return found


def equal_prompts(budget: BatchBudget, device: str = "auto") -> pd.DataFrame:
    """End losses where all batches see as many prompts: columns setting, batch, steps, optimizer, seed, loss."""
    parts = []
    for name in budget.training.settings:
        setting = PROBLEMS[name]
        for batch in budget.batches[:-1]:
            steps = budget.prompts // batch
            own = replace(
                budget.training, settings=(name,), batch=batch, steps=steps, screening=max(1, steps // 4),
                every=max(1, steps // 20), early=(max(1, steps // 20), 0),
            )  # fmt: skip
            tuning = tune(name, own, device)
            if not tuning.complete:
                continue
            title = f"{setting.title}, batches of {batch:,}, equal prompts"
            history = experiment(
                setting.model, setting.task, best_runs(tuning, own.judging), steps=steps, batch=batch, device=device,
                probes=[TypicalLoss(blocks=own.blocks, at=end_steps(steps), metric=LOSS)], title=title,
            )  # fmt: skip
            ends = end_values(history)[["optimizer", "seed", "loss"]]
            parts.append(ends.assign(setting=name, batch=batch, steps=steps))
    columns = ["setting", "batch", "steps", "optimizer", "seed", "loss"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def tails(budget: BatchBudget) -> dict[str, pd.DataFrame]:
    """E of the noise at initialization by setting: rows of seeds, columns of batches."""
    columns: dict[str, dict[int, pd.Series]] = {name: {} for name in budget.noise.settings}
    for batch in budget.batches:
        own = replace(budget.noise, batch=batch, reference=max(budget.noise.reference, SURE * batch))
        for name, table in at_initialization(own).items():
            columns[name][batch] = table.set_index("seed")["excess"]
    return {name: pd.DataFrame(own) for name, own in columns.items()}


class GaussianNoise(ReferenceEngine):
    """Trains on gradients whose noise is Gaussian with the covariance C / batch of minibatch noise.

    With the mean of J groups of prompts, N in all, and standard normal z, the gradient is

        mean + sqrt(1 / batch - 1 / N) sum_j z_j (g_j - mean) sqrt(N / J / (J - 1)),

    whose covariance is C / N + (1 / batch - 1 / N) C: the first part is what is left of the minibatches' own noise.
    """

    def __init__(self, plan: Plan, prompts: int, group: int) -> None:
        super().__init__(plan)
        if not plan.batch < prompts or prompts % group:
            raise ValueError(f"prompts = {prompts} is not allowed: give more than {plan.batch}, a multiple of {group}")
        self.parts_drawn, self.group_size, self.prompts = prompts // group, group, prompts

    def fresh_gradient(self, parameters: Tensor, runs: Tensor, step: int, batch: int) -> Tensor:
        own = [self.plan.runs[run].seed for run in runs.tolist()]
        _, each = batch_gradients(
            self.plan.model, self.plan.task, parameters, batch=self.group_size, count=self.parts_drawn, seed=own,
            first=step * self.parts_drawn, stream=Stream.TRAINING,
        )  # fmt: skip
        mean = each.mean(1, keepdim=True)
        drawn = Source(own, step, Stream.NOISE, batch=1).normals(self.parts_drawn)
        normals = drawn.reshape(len(own), self.parts_drawn)
        noise = torch.einsum("rj,rj...->r...", normals.to(each.dtype), each - mean)
        wide = (1 / batch - 1 / self.prompts) * self.group_size / (self.parts_drawn - 1)
        found: Tensor = mean[:, 0] + wide**0.5 * noise
        return found


def _losses(setting: Setting, runs: Runs, budget: BatchBudget) -> pd.DataFrame:
    """Coarse typical losses along trainings with Gaussian noise, in the form of a history's frame."""
    own = budget.training
    plan = plan_training(
        setting.model, setting.task, runs, steps=own.steps, batch=own.batch, clip=setting.clip, device="cpu"
    )
    engine, fast = GaussianNoise(plan, *budget.swap), choose("auto", plan)
    state, probe, rows = engine.start(), TypicalLoss(blocks=COARSE_BLOCKS, at=(0,), metric=COARSE_LOSS), []
    with bar(own.steps, f"{setting.title}, Gaussian noise", None) as shown:
        for step in sorted({*own.measured, own.steps}):
            shown.update(step - state.step)
            engine.advance(state, step - state.step)
            values = probe.measure(fast, plan, state.parameters, step)[COARSE_LOSS]
            rows.append(runs.frame.assign(step=step, metric=COARSE_LOSS, value=values.tolist()))
    return pd.concat(rows, ignore_index=True)[list(COLUMNS)]


def swapped(found: Mapping[str, Compared], budget: BatchBudget) -> dict[str, tuple[Bounded, Bounded]]:
    """Log ratios of steps with Gaussian noise and with minibatch noise, at the same rates, seeds and target."""
    gaps = {}
    for name, own in found.items():
        batch, target = budget.training.batch, own.target
        if batch not in own.histories or target is None:
            continue
        setting, runs = PROBLEMS[name], best_runs(own.tunings[batch], budget.training.judging)
        of = {
            "what": "Gaussian noise", "model": setting.model, "task": setting.task, "runs": list(runs),
            "steps": budget.training.steps, "at": list(budget.training.measured), "batch": batch,
            "swap": budget.swap, "clip": setting.clip,
        }  # fmt: skip
        frame = measurement(f"{setting.title}, Gaussian noise", of, partial(_losses, setting, runs, budget))
        table = runs.frame.assign(skipped=0, clipped=0, diverged=-1)
        history = History(frame, table, {}, budget.training.steps)
        gaps[name] = step_ratio(steps_to(history, target)), step_ratio(steps_to(own.histories[batch], target))
    return gaps


def averaged(budget: BatchBudget, device: str = "auto") -> tuple[History, pd.DataFrame]:
    """Setting 1 at the published rates, and its end losses three ways.

    Returns:
        The history, and columns optimizer, seed, constant, averaged (of iterates of the last fifth), cooled.
    """
    own, setting = budget.published, PROBLEMS["1"]
    runs = published_runs(setting, own.judging)
    history = train_to_judge(setting, runs, own, f"{setting.title}, published rates, other seeds", device)

    def compute() -> pd.DataFrame:
        late = [step for step in history.snapshots if (1 - LAST) * own.steps <= step <= own.steps]
        mean = torch.stack([history.parameters(step) for step in late]).mean(0)
        plan = plan_training(setting.model, setting.task, runs, steps=1, batch=own.batch, device="cpu")
        probe = TypicalLoss(blocks=own.blocks, at=(0,), metric=LOSS)
        values = probe.measure(choose("auto", plan), plan, mean, 0)[LOSS]
        return runs.frame[["optimizer", "seed"]].assign(averaged=values.tolist())

    of = {"what": "averaged iterates", "history": history.key, "last": LAST, "blocks": own.blocks}
    table = measurement(f"{setting.title}, averaged iterates", of, compute)
    ends = {"constant": end_values(history)["loss"], "cooled": cooled_values(history)["loss"]}
    return history, table.assign(**{name: values.to_numpy() for name, values in ends.items()})


def log_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Log gaps (SGD over Adam) of :func:`averaged`, a row a seed."""
    ways = ["constant", "averaged", "cooled"]
    wide = table.pivot(index="seed", columns="optimizer", values=ways)
    return pd.DataFrame({way: np.log(wide[way]["sgd"]) - np.log(wide[way]["adam"]) for way in ways})


def rates(budget: BatchBudget, device: str = "auto") -> pd.DataFrame:
    """End losses over the grid with a clip, without, and with normalized steps: setting, arm, lr, seed, loss."""
    parts = []
    for name in budget.training.settings:
        setting, seeds = PROBLEMS[name], budget.rate_seeds
        arms = {
            "clipped": grid(optimizer=SGD(), lr=budget.rates, clip=setting.clip, seed=seeds),
            "no clip": grid(optimizer=SGD(name="sgd, no clip"), lr=budget.rates, clip=None, seed=seeds),
            "normalized": grid(optimizer=NormalizedSGD(), lr=budget.rates, clip=None, seed=seeds),
        }
        own = budget.training
        history = experiment(
            setting.model, setting.task, sum(arms.values(), start=Runs(())), steps=own.steps, batch=own.batch,
            probes=[TypicalLoss(blocks=own.blocks, at=end_steps(own.steps), metric=LOSS)], device=device,
            title=f"{setting.title}, clipping and normalization over rates",
        )  # fmt: skip
        names = {"sgd": "clipped", "sgd, no clip": "no clip", "normalized_sgd": "normalized"}
        ends = end_values(history)
        lost = ~(ends["loss"] <= setting.task.zero_loss)
        ends = ends.assign(arm=ends["optimizer"].map(names), loss=ends["loss"].where(~lost, setting.task.zero_loss))
        parts.append(ends[["arm", "lr", "seed", "loss"]].assign(setting=name))
    return pd.concat(parts, ignore_index=True)
