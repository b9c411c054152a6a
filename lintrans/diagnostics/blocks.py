"""How much blocks of the parameters differ: curvature between and within them, spectra, norms of gradients."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..models.transformer import TensorModel
from ..tasks.regression import Task
from ..training.history import History
from .along import TEST_BATCH, draw
from .curvature import conditions, hessian
from .derivatives import gradients

BINS = 40
"""Bins of a spectrum's histogram, over the logarithms of magnitudes of all blocks of a run."""
LEAST = 1e-8
"""Eigenvalues below this share of the largest count as that."""


def block_measures(model: TensorModel, parameters: Tensor, prompts: Any) -> dict[str, Tensor]:
    """How blocks differ at parameters ``[runs, ...]``, each ``[runs]`` in float64, NaN for lost runs.

    Keys: those of :func:`~.curvature.conditions` without eigenvalues; ``between``, r_used / r_blocks, the factor of
    R_med that lies between blocks; ``js``, the mean Jensen-Shannon distance (root of the divergence to base 2) of two
    blocks' spectra (Zhang et al. 2024, "Why Transformers need Adam"); ``gradient_spread``, the largest over the
    smallest norm of a block's gradient, per root of its size.
    """
    found = conditions(model, parameters, prompts, eigenvalues=False)
    found["between"] = found["r_used"] / found["r_blocks"]
    dense = hessian(model, parameters, prompts).reshape(len(parameters), -1, math.prod(model.parameter_shape))
    found["js"] = torch.stack([spectra_distance(own, model.blocks) for own in dense])
    slope = gradients(model, parameters, prompts)[1].to(torch.float64).flatten(1)
    norms = torch.stack([slope[:, block].square().mean(-1).sqrt() for block in model.blocks], dim=-1)
    found["gradient_spread"] = norms.amax(-1) / norms.amin(-1)
    return found


def blocks_along(history: History, model: TensorModel, task: Task, step: int, batches: int) -> pd.DataFrame:
    """:func:`block_measures` at one kept step on evaluation batches: columns optimizer, seed, batch, metric, value."""
    parts = [
        history.runs[["optimizer", "seed"]].assign(batch=batch, metric=metric, value=values.numpy())
        for batch, prompts in draw(model, task, range(batches), TEST_BATCH).items()
        for metric, values in block_measures(model, history.parameters(step), prompts).items()
    ]
    return pd.concat(parts, ignore_index=True).dropna()


def spectra_distance(dense: Tensor, blocks: tuple[Tensor, ...]) -> Tensor:
    """Mean Jensen-Shannon distance of the spectra of a Hessian's diagonal blocks, between 0 and 1; NaN if lost.

    A spectrum is a histogram of log magnitudes of eigenvalues; all blocks share the bins.
    """
    if not bool(dense.isfinite().all()):
        return torch.tensor(math.nan, dtype=torch.float64)
    spectra = [torch.linalg.eigvalsh(dense[block][:, block]).abs() for block in blocks]
    largest = max(float(own.max()) for own in spectra)
    if largest == 0 or len(spectra) < 2:
        return torch.tensor(math.nan, dtype=torch.float64)
    logs = [(own / largest).clamp_min(LEAST).log() for own in spectra]
    counts = [torch.histc(own, BINS, math.log(LEAST), 0.0) / len(own) for own in logs]
    each = [_distance(p, q) for k, p in enumerate(counts) for q in counts[:k]]
    return torch.stack(each).mean()


def _distance(p: Tensor, q: Tensor) -> Tensor:
    middle = (p + q) / 2
    halves = [torch.where(own > 0, own * (own / middle).log2(), 0.0).sum() / 2 for own in (p, q)]
    return (halves[0] + halves[1]).clamp_min(0).sqrt()
