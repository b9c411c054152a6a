"""Gradient noise of the paper's problems: at initialization, by batch size, along trainings; each kept in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
from torch import Tensor

from ...diagnostics.noise import tabulate_noise
from ...store.results import experiment, measurement
from ..budgets import NoiseBudget
from ..claims.c2 import readable
from ..problems import PROBLEMS, Setting
from ..protocol import published_runs
from ..scales import PAPER_SEEDS

KEPT = 3
"""Initializations whose norms are kept, for figures."""


def changed(budget: NoiseBudget, seeds: int = 0, samples: int = 0, batch: int = 0) -> NoiseBudget:
    """A budget with other initializations, minibatches or batch; 0 keeps the scale's own."""
    return replace(budget, seeds=seeds or budget.seeds, samples=samples or budget.samples, batch=batch or budget.batch)


def _table(
    setting: Setting, what: str, parameters: Tensor, seeds: Sequence[int], of: Mapping[str, object], **how: Any
) -> pd.DataFrame:
    """Noise of some runs, in the store; `of` says what the parameters are."""
    model, task, how = setting.model, setting.task, {"keep": 0, **how}
    of = {"what": "gradient noise", "model": model, "task": task, "seeds": list(seeds), "dtype": parameters.dtype, **of}
    compute = partial(tabulate_noise, model, task, parameters, seeds, **how)
    return readable(measurement(f"{setting.title}, gradient noise {what}", {**of, **how}, compute))


def _at_init(setting: Setting, seeds: Sequence[int], batch: int, budget: NoiseBudget, keep: int = 0) -> pd.DataFrame:
    table = _table(
        setting, f"at initialization, batches of {batch:,}", setting.model.init(seeds), seeds,
        {"parameters": "init"}, batch=batch, samples=budget.samples, reference=budget.reference, keep=keep,
    )  # fmt: skip
    return table.assign(batch=batch)


def at_initialization(budget: NoiseBudget) -> dict[str, pd.DataFrame]:
    """What claims are judged on, a table a setting: see :func:`~lintrans.diagnostics.noise.noise_table`.

    Every initialization has prompts of its own: the seed of the parameters is that of the minibatches.
    """
    return {name: _at_init(PROBLEMS[name], budget.judging, budget.batch, budget, KEPT) for name in budget.settings}


def by_batch(tables: Mapping[str, pd.DataFrame], budget: NoiseBudget) -> dict[str, pd.DataFrame]:
    """The same on the paper's own seeds for each batch size, with the judged one from `tables`; column batch."""
    few = budget.judging[:PAPER_SEEDS]
    found = {}
    for name, judged in tables.items():
        others = [size for size in budget.batches if size != budget.batch]
        parts = [_at_init(PROBLEMS[name], few, size, budget) for size in others]
        found[name] = _joined([*parts, judged[judged["seed"].isin(few)]], ["batch", "seed"])
    return found


def along_training(
    tables: Mapping[str, pd.DataFrame], budget: NoiseBudget, device: str = "auto"
) -> dict[str, pd.DataFrame]:
    """The same at some steps of trainings at the published rates; columns optimizer, step.

    Step 0 is the initialization, from `tables`; it is the same for both optimizers.
    """
    few = budget.judging[: budget.trained_seeds]
    found = {}
    for name, judged in tables.items():
        setting = PROBLEMS[name]
        history = experiment(
            setting.model, setting.task, published_runs(setting, few), steps=max(budget.steps), probes=[],
            snapshots=budget.steps, device=device, title=f"{setting.title}, short training at the published rates",
        )  # fmt: skip
        optimizers, seeds = history.runs["optimizer"], [int(seed) for seed in history.runs["seed"]]
        start = judged[judged["seed"].isin(few)]
        parts = [start.assign(optimizer=optimizer, step=0) for optimizer in optimizers.unique()]
        for step in budget.steps:
            part = _table(
                setting, f"at step {step:,}", history.parameters(step), seeds,
                {"parameters": history.key, "step": step},
                batch=budget.batch, samples=budget.trained_samples, reference=budget.reference,
            )  # fmt: skip
            parts.append(part.assign(batch=budget.batch, optimizer=optimizers.to_numpy(), step=step))
        found[name] = _joined(parts, ["optimizer", "step", "seed"])
    return found


def _joined(parts: Sequence[pd.DataFrame], order: list[str]) -> pd.DataFrame:
    """Tables one below the other, without the arrays that some of them keep."""
    table = pd.concat([part.drop(columns=["norms", "spectrum"]) for part in parts], ignore_index=True)
    return table.sort_values(order, ignore_index=True)
