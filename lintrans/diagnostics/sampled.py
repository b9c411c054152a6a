"""Instruments for models of many parameters: a sample of the Hessian's diagonal, and gradient noise layer by layer.

They take any :class:`~lintrans.models.transformer.TensorModel`, one run at a time so that memory stays bounded. With
every entry in the sample :func:`sampled_conditions` gives what :func:`.curvature.conditions` gives, and the whole
vector in :func:`layer_noise` what :func:`.noise.measure_noise` gives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from ..errors import whole
from ..models.transformer import TensorModel
from ..random import Stream
from ..tasks.regression import Task
from .derivatives import batch_gradients
from .noise import REFERENCE_BATCH, gaussian_norms, null_draws
from .tails import quantile_ratio

DIRECTIONS = 4
"""Products with the Hessian that share one evaluation of the loss."""
GROUP_NUMBERS = 2**24
"""Bound on the gradients' entries of one call."""
GRAM_NUMBERS = 2**28
"""Bound on the noise kept for its Gram matrix, in float32 entries: a GiB; of larger models fewer minibatches."""
WHOLE = "all"
"""The layer that holds every parameter."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Entries of a Hessian's diagonal.

    Attributes:
        places: where they lie in the flattened parameters, int64 ``[count]``.
        weights: how many entries of its layer each stands for, float64 ``[count]``.
        layers: the number of the layer that each is from, int64 ``[count]``; -1 for none.
        names: of the layers.
        zeros: entries that are known to be zero, which are not among them.
    """

    places: Tensor
    weights: Tensor
    layers: Tensor
    names: tuple[str, ...]
    zeros: int


def layers_of(model: TensorModel) -> dict[str, Tensor]:
    """The model's own blocks by their names, or their numbers."""
    names = tuple(getattr(model, "block_names", ()))
    named = len(names) == len(model.blocks)
    return {names[number] if named else str(number): block for number, block in enumerate(model.blocks)}


def sample_entries(
    model: TensorModel, count: int, seed: int = 0, layers: Mapping[str, Tensor] | None = None,
    met: Tensor | None = None,
) -> Sample:  # fmt: skip
    """At most `count` entries of each layer (None: of the model's blocks), without replacement; 0: all of them.

    Entries that are in no layer, and not zero by structure, are a further group. Of each group the first of one random
    order are taken, those that `met` (bool ``[G]``) does not name left out: so two runs that meet the same entries have
    the same sample. What is left out counts as zero.
    """
    whole("count", count)
    layers = layers_of(model) if layers is None else layers
    generator = np.random.Generator(np.random.Philox(key=whole("seed", seed)))
    dead = model.structural_zeros.reshape(-1)
    if met is not None:
        dead = dead | ~met
    loose = ~model.structural_zeros.reshape(-1)
    for places in layers.values():
        loose[places] = False
    groups = [*enumerate(layers.values()), (-1, loose.nonzero().squeeze(-1))]
    chosen, weights, numbers = [], [], []
    for number, group in groups:
        order = group[torch.from_numpy(generator.permutation(len(group)))]
        known = order[~dead[order]]
        own = known[: count or len(known)].sort().values
        chosen.append(own)
        weights.append(torch.full((len(own),), len(known) / max(1, len(own)), dtype=torch.float64))
        numbers.append(torch.full((len(own),), number))
    return Sample(torch.cat(chosen), torch.cat(weights), torch.cat(numbers), tuple(layers), int(dead.sum()))


@torch.enable_grad()
def met_entries(model: TensorModel, parameters: Tensor, prompts: Any) -> Tensor:
    """Which parameters of one run the prompts meet, bool ``[G]``: those with a gradient that is not exactly zero.

    The rows of an embedding for words that are not among the prompts, say, have none.
    """
    leaf = parameters.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model.loss(leaf, prompts), leaf)
    return gradient.reshape(-1) != 0


@torch.enable_grad()
def sampled_diagonal(model: TensorModel, parameters: Tensor, prompts: Any, places: Tensor) -> Tensor:
    """Entries of the Hessian's diagonal by exact products with unit vectors, ``[count]`` in float64, of one run.

    The Hessian is that of the loss on prompts; the arithmetic is in the dtype of the parameters. Products of a group
    are made at once, from one evaluation of the loss.
    """
    leaf = parameters.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model.loss(leaf, prompts), leaf, create_graph=True)
    found = []
    for some in torch.split(places, DIRECTIONS):
        units = torch.zeros(len(some), leaf.numel(), dtype=leaf.dtype)
        units[torch.arange(len(some)), some] = 1.0
        (products,) = torch.autograd.grad(
            gradient, leaf, units.reshape(-1, *leaf.shape), retain_graph=True, is_grads_batched=True,
            allow_unused=True, materialize_grads=True,
        )  # fmt: skip
        found.append(products.detach().reshape(len(some), -1).gather(1, some[:, None]).squeeze(1).double())
    return torch.cat(found)


def weighted_middle(magnitudes: Tensor, weights: Tensor, median: str = "midpoint") -> float:
    """Median of values that stand for so many each: the lower of two middle ones, or their mean."""
    if not len(magnitudes):
        return math.nan
    ordered, order = magnitudes.sort()
    passed = weights[order].cumsum(0)
    half, slack = 0.5 * float(passed[-1]), 1e-9 * float(passed[-1])  # sums of weights round
    lower = ordered[int((passed >= half - slack).nonzero()[0])]
    upper = ordered[int((passed > half + slack).nonzero()[0])]
    return float(lower if median == "lower" else 0.5 * (lower + upper))


def sampled_conditions(model: TensorModel, parameters: Tensor, prompts: Any, sample: Sample) -> dict[str, float]:
    """R_med of one run from a sample of the diagonal, under each convention of :func:`.curvature.conditions`.

    Keys: ``r_lower``, ``r_midpoint``, ``r_used``, ``r_blocks``, and of every layer its median magnitude ``block_NAME``
    and its own R_med ``within_NAME``. So r_lower is exactly r_blocks times r_used / r_blocks times r_lower / r_used.
    The largest of a sample is no larger than the largest of all: compare R_med of equal samples only.

    Entries that the prompts do not meet are exactly zero; r_used and what is taken inside a layer leave them out, as
    Jiang et al. (2022) measure layers without such rows.
    """
    magnitudes = sampled_diagonal(model, parameters, prompts, sample.places).abs()
    every = torch.cat([magnitudes, torch.zeros(1, dtype=torch.float64)]) if sample.zeros else magnitudes
    zeros = torch.tensor([float(sample.zeros)], dtype=torch.float64)
    weights = torch.cat([sample.weights, zeros]) if sample.zeros else sample.weights
    met = magnitudes != 0
    largest = float(magnitudes.max())
    values = {
        "r_lower": _over(largest, weighted_middle(every, weights, "lower")),
        "r_midpoint": _over(largest, weighted_middle(every, weights)),
        "r_used": _over(largest, weighted_middle(magnitudes[met], sample.weights[met])),
    }
    inside = {}
    for number, name in enumerate(sample.names):
        own = magnitudes[met & (sample.layers == number)]
        middle = weighted_middle(own, torch.ones_like(own))
        values[f"block_{name}"] = middle
        inside[f"within_{name}"] = _over(float(own.max()), middle) if len(own) else math.nan
    logs = np.log([value for value in inside.values() if math.isfinite(value)])
    return {**values, "r_blocks": float(np.exp(logs.mean())) if len(logs) else math.nan, **inside}


def _over(largest: float, middle: float) -> float:
    """The ratio; infinite over zero."""
    return largest / middle if middle else math.inf if largest else math.nan


def layer_noise(
    model: TensorModel, task: Task, parameters: Tensor, layers: Mapping[str, Tensor] | None = None, *, batch: int,
    samples: int, reference: int, seed: int = 0, null_seed: int | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Tails of the gradient noise of one run, of the whole vector (WHOLE) and of each layer: a row each.

    `layers` are places in the flattened parameters. Minibatches and reference are those of
    :func:`.noise.measure_noise`, and so are the norms. The null is Gaussian with the noise's covariance, of which
    fewer minibatches than parameters give an estimate of low rank: unbiased in its trace, but tr C^2 comes out too
    large by about (tr C)^2 / samples. The null is drawn from the estimate shrunk to the unbiased tr C^2 (that of pairs
    of different minibatches), and ``null_error`` is by how much that moved its quantile ratio, as a logarithm.

    Columns: layer, parameters, samples, median, relative, q99, null_q99, excess (E), directions
    ((tr C)^2 / tr C^2, unbiased), reference_error, null_error, as :data:`.noise.STATISTICS` has them. E is taken
    against the null of as many draws as there are minibatches (geometric mean over such draws): the 99% quantile of
    few is biased, of the noise as of its null.
    """
    size = parameters.numel()
    kept = max(2, min(samples, GRAM_NUMBERS // size))
    centre, error = _reference(model, task, parameters, reference, seed)
    parts = {WHOLE: torch.arange(size), **(layers or {})}
    squares = {name: np.empty(samples) for name in parts}
    rows = torch.empty(kept, size, dtype=torch.float32)
    for first, found in _gradients(model, task, parameters, batch, samples, seed, Stream.NOISE):
        noise = found - centre
        for name, places in parts.items():
            own = noise if name == WHOLE else noise[:, places]
            squares[name][first : first + len(noise)] = own.square().sum(1)
        end = min(kept, first + len(noise))
        rows[first:end] = noise[: max(0, end - first)]
    table = []
    for name, places in parts.items():
        own = rows if name == WHOLE else rows[:, places]
        norms = np.sqrt(squares[name])
        lengths = float(torch.linalg.vector_norm(centre[places])), float(error[places].sum().sqrt())
        made = _tail(norms, _gram(own), lengths, seed if null_seed is None else null_seed)
        table.append({"layer": name, "parameters": len(places), "samples": samples, **made})
    return pd.DataFrame(table)


def _gram(rows: Tensor) -> Array:
    """Inner products of all pairs of rows, in float64 a part of the columns at a time."""
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for part in torch.split(rows, 2**16, dim=1):
        wide = part.double()
        total.addmm_(wide, wide.T)
    return np.asarray(total.numpy())


def _tail(norms: Array, gram: Array, lengths: tuple[float, float], seed: int) -> dict[str, float]:
    """One row of :func:`layer_noise`; lengths are those of the gradient and of the reference's standard error."""
    count = len(gram)
    spectrum = np.clip(np.linalg.eigvalsh(gram / count), 0.0, None)
    trace, biased = float(spectrum.sum()), float((spectrum**2).sum())
    pairs = float((gram**2).sum() - (np.diag(gram) ** 2).sum()) / (count * (count - 1))
    shrunk = math.sqrt(min(1.0, max(pairs, 0.0) / biased)) if biased else 1.0
    plain = gaussian_norms(spectrum, null_draws(len(norms)), seed)
    null = np.sqrt(shrunk * plain**2 + (1 - shrunk) * trace)
    median, ratios = float(np.median(norms)), [quantile_ratio(each, 0.99) for each in (norms, null, plain)]
    parts = np.array_split(null, max(1, len(null) // len(norms)))
    as_many = math.exp(float(np.mean([math.log(quantile_ratio(part, 0.99)) for part in parts])))
    gradient, error = lengths
    return {
        "median": median, "relative": median / gradient if gradient else math.inf, "q99": ratios[0],
        "null_q99": ratios[1], "excess": ratios[0] / as_many,
        "directions": trace**2 / pairs if pairs > 0 else math.nan, "reference_error": error / median,
        "null_error": math.log(ratios[2] / ratios[1]),
    }  # fmt: skip


def _gradients(
    model: TensorModel, task: Task, parameters: Tensor, batch: int, count: int, seed: int, stream: Stream
) -> Any:
    """(number of the first, gradients ``[some, G]`` in float64) of the minibatches of a stream."""
    step = max(1, GROUP_NUMBERS // parameters.numel())
    for first in range(0, count, step):
        some = min(step, count - first)
        _, slopes = batch_gradients(
            model, task, parameters[None], batch=batch, count=some, seed=[seed], first=first, stream=stream
        )
        yield first, slopes.reshape(some, -1).double()


def _reference(model: TensorModel, task: Task, parameters: Tensor, prompts: int, seed: int) -> tuple[Tensor, Tensor]:
    """The gradient of the loss on so many prompts, and the variances of its entries: both ``[G]``."""
    full, rest = divmod(whole("reference", prompts, 1), REFERENCE_BATCH)
    total, squares = (torch.zeros(parameters.numel(), dtype=torch.float64) for _ in range(2))
    for _, found in _gradients(model, task, parameters, REFERENCE_BATCH, full, seed, Stream.REFERENCE):
        total += found.sum(0)
        squares += found.square().sum(0)
    spread = (squares - total**2 / max(1, full)).clamp_min(0.0) / max(1, full - 1)
    variances = spread / full if full > 1 else torch.full_like(total, math.nan)
    total *= REFERENCE_BATCH
    if rest:
        _, slopes = batch_gradients(
            model, task, parameters[None], batch=rest, count=1, seed=[seed], first=full, stream=Stream.REFERENCE
        )
        total += slopes.reshape(-1).double() * rest
    return total / prompts, variances
