"""Curvature of the judged trainings on other batches than the fixed one: what of a verdict is that batch's own.

The paper, and so claims C3 and C4, measure curvature on one fixed batch of 1000 prompts. All seeds share it, so that no
interval over seeds knows what another batch would have said; with heavy-tailed covariates a few of its prompts can rule
the Hessian. Batch 0 is the fixed one, the others are drawn in the same way from further seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import pandas as pd
import torch

from .budgets import CurvatureBudget
from .diagnostics.along import TEST_BATCH
from .diagnostics.curvature import conditions, step_measures
from .history import History
from .measured import first_seeds
from .problems import PROBLEMS, Setting
from .random import Stream
from .results import measurement
from .settings import PAPER_SEEDS

MODULES = ("vectors", "diagnostics/curvature", "other_batches")
CONDITION, SMOOTHNESS = "r_lower", "directional_smoothness"


def measure(
    history: History, setting: Setting, judged: Iterable[int], along: Iterable[int], prompts: int, batch: int
) -> pd.DataFrame:
    """The claims' two measures on one batch.

    Args:
        history: with the parameters of all steps named, and of the steps after those of `along`.
        setting: what was trained.
        judged: steps of R_med.
        along: steps of v'Hv, along the step that follows.
        prompts: of the batch.
        batch: its number; 0 is the fixed batch.

    Returns:
        Rows of optimizer, seed, step, metric ("r_lower", "directional_smoothness"), value (float64); a value that is
        undefined has none.
    """
    model = setting.model
    data = model.draw(setting.task, prompts, seed=batch, stream=Stream.TEST, dtype=torch.float64)
    table = history.runs[["optimizer", "seed"]]
    rows = []
    for step in judged:
        found = conditions(model, history.parameters(step), data)[CONDITION]
        rows.append(table.assign(step=step, metric=CONDITION, value=found.numpy()))
    for step in along:
        before, after = history.parameters(step), history.parameters(step + 1)
        found = step_measures(model, before, after, data)[SMOOTHNESS]
        rows.append(table.assign(step=step, metric=SMOOTHNESS, value=found.numpy()))
    return pd.concat(rows, ignore_index=True).dropna(subset="value").reset_index(drop=True)


def measure_all(
    histories: Mapping[str, History], curvature: CurvatureBudget, batches: int, every: int
) -> dict[str, list[pd.DataFrame]]:
    """:func:`measure` for the paper's seeds of every setting, on the fixed batch and on `batches` others, kept.

    Args:
        histories: the judged trainings, from the store, by setting.
        curvature: where claims C3 and C4 are judged.
        batches: other batches.
        every: v'Hv is measured at multiples of it.
    """
    frames = {}
    for name, history in histories.items():
        setting, few = PROBLEMS[name], first_seeds(history, min(PAPER_SEEDS, curvature.seeds))
        judged = [step for step in curvature.judged if step in few.snapshots]
        kept = (step for step in few.snapshots if step + 1 in few.snapshots and step < few.steps)
        along = sorted(step for step in kept if step >= curvature.settled and step % every == 0)
        prompts = curvature.batch or TEST_BATCH
        frames[name] = [
            measurement(
                f"{setting.title}, curvature on batch {batch}",
                {
                    "what": "other batch", "history": history.key, "judged": judged, "along": along,
                    "prompts": prompts, "batch": batch, "seeds": PAPER_SEEDS,
                },
                partial(measure, few, setting, judged, along, prompts, batch),
                modules=MODULES,
            )
            for batch in range(1 + batches)
        ]  # fmt: skip
    return frames
