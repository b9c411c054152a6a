"""How the tail of gradient noise depends on the batch: from the gradients of single examples, each taken once.

A batch's noise is the mean of its examples' deviations from the gradient of them all. Products of all pairs of
deviations so give its norm at any batch size, and exactly the Gaussian with its covariance: neither fresh minibatches
nor an estimate of low rank, an independent check of :func:`lintrans.diagnostics.sampled.layer_noise`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...diagnostics.derivatives import gradients
from ...diagnostics.noise import gaussian_norms
from ...diagnostics.sampled import GRAM_NUMBERS
from ...diagnostics.tails import quantile_ratio
from ...models.transformer import TensorModel
from ...tasks.examples import Examples

DRAWS = 10_000
"""Batches of each size, and draws of the null."""


def tails_by_batch(
    model: TensorModel, task: Examples, parameters: Tensor, batches: Sequence[int], examples: int, seed: int = 0
) -> pd.DataFrame:
    """Tails of one run's noise for batches drawn without replacement from so many examples of the training set.

    Of large models fewer examples, as memory allows. A batch that holds more than half of them has no row. Columns:
    batch, examples, q99, null_q99, excess (E).
    """
    count = min(task.n, examples, GRAM_NUMBERS // parameters.numel())
    drawn = task.sample(task.n, seed, dtype=parameters.dtype, device=parameters.device).split(1)[:count]
    rows = torch.stack([gradients(model, parameters, one, engine="reference")[1].flatten().float() for one in drawn])
    rows -= rows.mean(0)
    gram = (rows @ rows.T).double().cpu().numpy()
    spectrum = np.clip(np.linalg.eigvalsh(gram / count), 0.0, None)
    null = quantile_ratio(gaussian_norms(spectrum, DRAWS, seed))  # a batch's covariance is this, but for a factor
    table = []
    for batch in (batch for batch in batches if 2 * batch <= count):
        tail = quantile_ratio(_norms(gram, batch, seed))
        table.append({"batch": batch, "examples": count, "q99": tail, "null_q99": null, "excess": tail / null})
    return pd.DataFrame(table, columns=["batch", "examples", "q99", "null_q99", "excess"])


def _norms(gram: NDArray[np.float64], batch: int, seed: int) -> NDArray[np.float64]:
    """Norms of the noise of :data:`DRAWS` batches; of batches of one all that there are."""
    if batch == 1:
        return np.sqrt(np.diag(gram))
    generator = np.random.Generator(np.random.Philox(key=seed))
    squares = np.empty(DRAWS)
    for part in np.array_split(np.arange(DRAWS), 10):
        chosen = np.argpartition(generator.random((len(part), len(gram))), batch, axis=1)[:, :batch]
        inside = np.zeros((len(part), len(gram)))
        np.put_along_axis(inside, chosen, 1.0 / batch, axis=1)
        squares[part] = ((inside @ gram) * inside).sum(1)
    return np.sqrt(np.clip(squares, 0.0, None))
