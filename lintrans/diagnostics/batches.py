"""Losses of the batches that trainings meet, and of many fresh blocks: where the mean of a deep model's loss lies.

A batch is known by seed and step, so it can be drawn again at any parameters that were kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from ..engines import Engine, Plan, choose
from ..errors import whole
from ..models.fitting import check_parameters
from ..models.flatten import pack
from ..models.transformer import LinearTransformer, has_tensor
from ..random import Stream
from ..tasks.regression import LinearRegression
from ..training.history import History
from ..training.optimizers import gradient_norm
from ..training.probes import BLOCK, Scheduled
from ..training.runs import grid
from ..training.train import plan_training
from .along import FIXED, collect
from .derivatives import batch_gradients

WORST = 10
"""Prompts whose share in the mean loss is reported."""


def _met(
    model: LinearTransformer, task: LinearRegression, parameters: Tensor, batch: int, seeds: Sequence[int], step: int
) -> dict[str, Tensor]:
    """Loss ``[runs]`` of the training batch of each run's seed and one step, and the norm of its gradient."""
    losses, slopes = batch_gradients(
        model, task, parameters, batch=batch, count=1, seed=list(seeds), first=step, stream=Stream.TRAINING
    )
    largest, relative = gradient_norm(pack(model, slopes)[0].flatten(0, -2).double())
    norms = (largest * relative).flatten()
    return {
        "batch_loss": losses[:, 0].double().nan_to_num(torch.inf, torch.inf),
        "batch_gradient": norms.nan_to_num(torch.inf, torch.inf),
    }


@dataclass(frozen=True, kw_only=True)
class BatchLoss(Scheduled):
    """What a run meets at a step: the loss of its training batch, and the norm of that batch's gradient.

    Metrics ``batch_loss`` and ``batch_gradient``, in the training's own precision, infinite where that cannot hold
    them. Each batch is drawn and differentiated once more, so with ``every=1`` a training takes twice as long.
    """

    @property
    def metrics(self) -> tuple[str, ...]:
        return "batch_loss", "batch_gradient"

    def times(self, steps: int, total: int) -> set[int]:
        return {step for step in super().times(steps, total) if step < total}

    def measure(self, engine: Engine, plan: Plan, parameters: Tensor, step: int) -> dict[str, Tensor]:
        model, task = plan.linear
        return _met(model, task, parameters.cpu(), plan.batch, [run.seed for run in plan.runs], step)


def batches_along(
    history: History, model: LinearTransformer, task: LinearRegression, batch: int, steps: Iterable[int],
    title: str = "batches",
) -> pd.DataFrame:  # fmt: skip
    """The rows of :class:`BatchLoss` from kept parameters: run, optimizer, lr, seed, step, metric, value, clip."""
    seeds = [int(seed) for seed in history.runs["seed"]]

    def measure(group: list[int], _: int) -> dict[str, Tensor]:
        found = _met(model, task, history.parameters(group[0]), batch, seeds, group[0])
        return {metric: values[None] for metric, values in found.items()}

    return collect(history, steps, [FIXED], measure, title, size=1).drop(columns="batch")


def block_losses(model: LinearTransformer, task: LinearRegression, parameters: Tensor, blocks: int) -> Tensor:
    """Mean losses of fresh blocks of 1000 prompts, those behind typical losses: ``[runs, blocks]`` in float64.

    They are computed in the dtype of the parameters ``[runs, *model.parameter_shape]``.
    """
    whole("blocks", blocks, 1)
    if not has_tensor(model):
        raise TypeError(f"model is a {type(model).__name__}: give a lintrans.LinearTransformer")
    check_parameters(model, parameters)
    nobody = grid(optimizer="sgd", lr=0.0, seed=range(len(parameters)))
    plan = plan_training(model, task, nobody, steps=0, batch=BLOCK, device="cpu", dtype=parameters.dtype)
    return choose("auto", plan).block_losses(parameters, blocks, Stream.EVALUATION, BLOCK).double()


def worst_prompts(
    model: LinearTransformer, task: LinearRegression, parameters: Tensor, losses: Tensor, count: int = WORST
) -> Tensor:
    """The largest losses of single prompts, ``[runs, count]`` in descending order.

    They are looked for in as many blocks, those of the largest mean loss (from :func:`block_losses`), which hold all of
    them wherever single prompts rule a block's mean.
    """
    wanted = losses.nan_to_num(torch.inf, torch.inf).argsort(dim=-1, descending=True)[:, :count]
    rows = []
    for own, places in zip(parameters.double(), wanted.tolist(), strict=True):
        parts = []
        for place in places:
            prompts = task.sample_moments(BLOCK, 0, place, stream=Stream.EVALUATION, dtype=torch.float64)
            parts.append((model.predict(own, prompts) - prompts.target) ** 2)
        rows.append(torch.cat(parts).nan_to_num(torch.inf, torch.inf).sort(descending=True).values[:count])
    return torch.stack(rows)
