"""How much of a batch's loss its worst prompt carries: what the paper's fixed test batch shows where that is most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pandas as pd
import torch

from ...diagnostics.along import fixed_batch
from ...models.embedded import EmbeddedTransformer
from ...models.transformer import LinearTransformer
from ...training.history import History
from ..problems import PROBLEMS


def shares_at_the_end(histories: Mapping[str, History]) -> pd.DataFrame:
    """Of every run at its horizon, the loss of the fixed batch and its worst prompt's share in it.

    Returns:
        Columns setting, optimizer, seed, loss, share; NaN where a run diverged.
    """
    parts = []
    for name, history in histories.items():
        problem, model = PROBLEMS[name], cast("LinearTransformer | EmbeddedTransformer", PROBLEMS[name].model)
        prompts = fixed_batch(model, problem.task)
        with torch.no_grad():
            errors = model.predict(history.parameters(history.steps).double(), prompts) - prompts.target
        squares = errors.square()  # [runs, prompts]
        loss, share = squares.mean(-1), squares.amax(-1) / squares.sum(-1)
        found = {"setting": name, "loss": loss.numpy(), "share": share.numpy()}
        parts.append(history.runs[["optimizer", "seed"]].reset_index(drop=True).assign(**found))
    return pd.concat(parts, ignore_index=True)
