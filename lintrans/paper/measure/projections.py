"""Gradient noise looked at in other ways than by its norm, and at zero parameters; each kept in the store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import numpy as np
import pandas as pd
import scipy
import torch

from ...diagnostics.derivatives import batch_gradients
from ...diagnostics.noise import gaussian_norms, tabulate_noise
from ...diagnostics.tails import Array, quantile_ratio
from ...models.transformer import LinearTransformer
from ...store.results import measurement
from ..problems import PROBLEMS, Setting

BATCH, SAMPLES, REFERENCE = 100, 2000, 100_000
LEVEL = 0.99
NORMAL = float(scipy.stats.norm.isf((1 - LEVEL) / 2) / scipy.stats.norm.isf(0.25))
"""The LEVEL quantile over the median of the magnitude of a normal variable."""


def excess_of(vectors: Array) -> float:
    """E of vectors ``[samples, G]`` of mean zero: LEVEL quantile of the norm over its median, against a Gaussian's."""
    spectrum = np.linalg.eigvalsh(vectors.T @ vectors / len(vectors)).clip(min=0.0)
    null = quantile_ratio(gaussian_norms(spectrum), LEVEL)
    return float(quantile_ratio(np.linalg.norm(vectors, axis=1), LEVEL) / null)


def views(gradients: Array) -> dict[str, float]:
    """E of minibatch gradients ``[samples, G]``: of their noise, of differences of pairs, along the mean gradient."""
    mean = gradients.mean(axis=0)
    along = np.abs((gradients - mean) @ (mean / np.linalg.norm(mean)))
    return {
        "norm": excess_of(gradients - mean),
        "pairs": excess_of(gradients[::2] - gradients[1::2]),
        "along the gradient": float(quantile_ratio(along, LEVEL) / NORMAL),
    }


def _views(setting: Setting) -> pd.DataFrame:
    _, slopes = batch_gradients(
        setting.model, setting.task, setting.model.init(0), batch=BATCH, count=SAMPLES, seed=0
    )  # fmt: skip
    return pd.DataFrame([views(slopes.double().numpy().reshape(SAMPLES, -1))])


def seen_otherwise(names: Sequence[str]) -> pd.DataFrame:
    """:func:`views` of the noise of small batches at the first initialization, a row a setting, in column setting."""
    parts = []
    for name in names:
        setting = PROBLEMS[name]
        of = {"what": "views of noise", "model": setting.model, "task": setting.task, "of": [BATCH, SAMPLES, LEVEL]}
        found = measurement(f"{setting.title}, gradient noise in other views", of, partial(_views, setting))
        parts.append(found.assign(setting=name))
    return pd.concat(parts, ignore_index=True)


def _at_zero(setting: Setting, layers: Sequence[int]) -> pd.DataFrame:
    parts = []
    for count in layers:
        model = LinearTransformer(layers=count, d=cast(LinearTransformer, setting.model).d)
        zeros = torch.zeros(1, *model.parameter_shape)
        table = tabulate_noise(model, setting.task, zeros, [0], batch=BATCH, samples=SAMPLES, reference=REFERENCE)
        parts.append(table[["median", "excess"]].assign(layers=count))
    return pd.concat(parts, ignore_index=True)


def at_zero(name: str, layers: Sequence[int]) -> pd.DataFrame:
    """Median norm and E of the noise where all parameters are zero; columns median, excess, layers."""
    setting = PROBLEMS[name]
    of = {"what": "noise at zero", "task": setting.task, "layers": list(layers), "of": [BATCH, SAMPLES, REFERENCE]}
    return measurement(f"{setting.title}, gradient noise at zero", of, partial(_at_zero, setting, layers))
