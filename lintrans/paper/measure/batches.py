"""Curvature of the judged trainings on other batches than the fixed one: what of a verdict is that batch's own.

The paper, and so claims C3 and C4, measure curvature on one fixed batch of 1000 prompts. All seeds share it, so that no
interval over seeds knows what another batch would have said; with heavy-tailed covariates a few of its prompts can rule
the Hessian. Batch 0 is the fixed one, the others are evaluation batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import pandas as pd

from ...diagnostics.along import FIXED, conditions_along, steps_along
from ...store.results import measurement
from ...training.history import History
from ..budgets import CurvatureBudget
from ..problems import PROBLEMS, Setting
from ..scales import PAPER_SEEDS
from .curvature import first_seeds, key_of_history


def measure(
    history: History, setting: Setting, judged: Iterable[int], along: Iterable[int], prompts: int, batch: int
) -> pd.DataFrame:
    """The claims' measures on one batch.

    Returns:
        The rows of ``conditions_along`` and of ``steps_along``.
    """
    title, numbers = title_of(setting, batch), [batch - 1 if batch else FIXED]
    model, task = setting.model, setting.task
    return pd.concat(
        [
            conditions_along(history, model, task, judged, batch=prompts, batches=numbers, title=title),
            steps_along(history, model, task, along, batch=prompts, batches=numbers, title=title),
        ],
        ignore_index=True,
    )


def title_of(setting: Setting, batch: int) -> str:
    """A name for people."""
    return f"{setting.title}, curvature on batch {batch}"


def measure_all(
    histories: Mapping[str, History], curvature: CurvatureBudget, batches: int, every: int
) -> dict[str, list[pd.DataFrame]]:
    """:func:`measure` for the paper's seeds of every setting, on the fixed batch and on `batches` others, kept.

    Raises:
        ValueError: a history that is not from the store.
    """
    frames = {}
    for name, history in histories.items():
        setting, few = PROBLEMS[name], first_seeds(history, min(PAPER_SEEDS, curvature.seeds))
        judged = [step for step in curvature.judged if step in few.snapshots]
        kept = (step for step in few.snapshots if step + 1 in few.snapshots and step < few.steps)
        along = sorted(step for step in kept if step >= curvature.settled and step % every == 0)
        frames[name] = [
            measurement(
                title_of(setting, batch),
                {
                    "what": "other batch", "history": key_of_history(few), "judged": judged, "along": along,
                    "prompts": curvature.batch, "batch": batch,
                },
                partial(measure, few, setting, judged, along, curvature.batch, batch),
            )
            for batch in range(1 + batches)
        ]  # fmt: skip
    return frames
