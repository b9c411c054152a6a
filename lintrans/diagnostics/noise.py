"""Gradient noise: how far the gradient of a minibatch lies from the gradient of the loss, over many fresh minibatches.

:func:`gradient_noise` keeps the norms alone; :func:`measure_noise` sums up the noise's second moments beside them, so
that every statistic of the norms can be read against :func:`gaussian_norms`, the norms of Gaussian noise of the *same*
covariance. Without that null a wide noise is easily taken for a heavy-tailed one. Gradients stream through in groups of
bounded size; they are never all in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy
import torch
from torch import Tensor

from ..errors import UINT32, each, real, room, whole
from ..models.flatten import Model, P, pack
from ..progress import bar
from ..random import Stream
from ..training.optimizers import gradient_norm
from ..unfinished import Kept, part
from .derivatives import PromptSource, batch_gradients
from .tails import excess_kurtosis, quantile_ratio

REFERENCE_BATCH = 1000
"""Prompts of one batch of the reference; the gradient of the loss is estimated by the mean over such batches."""
GROUP_BYTES = 2**25
"""Bound on the noise of one group in float64; the gradients it is made from take about as much again."""
GROUP_PROMPTS = 2**22
"""Bound on the prompts of one group, times runs: about a second, then the bar moves and Ctrl-C gets its turn."""
NULL_SHARE = 10
"""Draws of the null for each minibatch; its quantiles then err by about a third of what those of the noise do."""
NULL_SAMPLES = 10_000
"""The fewest draws of a null."""
DUAL = 2048
"""Parameters beyond which the noise of fewer samples is summed up by its Gram matrix instead of its covariance."""
MERGED = 3e-3
"""What the null may leave out, as a share: the standard deviation of the merged part of ||z||^2 over its mean."""

STATISTICS = (
    "median",  # of the norm
    "relative",  # the same over the norm of the gradient: how wide the noise is
    "q99",  # 99% quantile of the norm over its median
    "q999",
    "null_q99",  # the same of N(0, C)
    "null_q999",
    "excess",  # E = q99 / null_q99
    "excess_999",
    "kurtosis",  # excess kurtosis of the norm
    "null_kurtosis",
    "directions",  # (tr C)^2 / tr C^2: over how many directions the noise spreads
    "reference_error",  # standard error of the reference over the median norm
)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """The noise of many minibatch gradients.

    Attributes:
        norms: ||g_B - grad f||_2, ``[..., samples]`` in float64.
        gradient: the estimate of grad f that the noise is measured from, ``[..., G]`` in float64.
        covariance: second moments of the noise, ``[..., G, G]`` in float64. They are taken about `gradient`, which is
            the mean of the noise up to the error of the reference. For more than DUAL parameters, and fewer samples
            than parameters, the Gram matrix in its place, ``[..., samples, samples]``: it has the same eigenvalues,
            but for zeros.
        error: standard error of `gradient` as a length, ``[...]``: root of the summed variances of its entries, from
            the spread of the reference's own batches; NaN with fewer than two. Where a few prompts rule the reference
            it is as long as the noise itself, and then the norms measure the reference, not the noise.
    """

    norms: Tensor
    gradient: Tensor
    covariance: Tensor
    error: Tensor

    @property
    def spectrum(self) -> Tensor:
        """Eigenvalues of the covariance in descending order, ``[..., G]``; rounding below zero is cut off.

        Raises:
            ValueError: the covariance is not finite.
        """
        if not self.covariance.isfinite().all():
            raise ValueError("some minibatch gradients are not finite: give the parameters in float64")
        values: Tensor = torch.linalg.eigvalsh(self.covariance).flip(-1).clamp_min(0.0)
        return values


def gradient_noise(
    model: Model, task: PromptSource, parameters: P, *, batch: int = 1000, samples: int = 10_000,
    reference: int = 100_000, seed: int | Sequence[int] = 0, engine: str = "auto",
) -> Tensor:  # fmt: skip
    r"""Norms of the gradient noise, :math:`\lVert g_B - \nabla f \rVert_2`, over fresh minibatches B.

    They are ``[..., samples]`` in float64, not finite where a gradient is not, and depend neither on how the
    minibatches are grouped nor on the other runs. `reference` prompts are behind the estimate of grad f. One seed: all
    runs see the same minibatches; a sequence: the seed of each run; from the streams NOISE and REFERENCE. Parameters
    are ``[..., *model.parameter_shape]``, or a mapping name -> ``[..., *shape]``; leading axes are runs. Gradients are
    computed in their dtype: noise is a difference of similar vectors, yet float32 is enough for the paper's settings at
    d = 5, L = 3 at initialization (the norms agree with those in float64 to 1e-6). Engines are those of
    :func:`lintrans.diagnostics.derivatives.batch_gradients`.

    Example:
        >>> import lintrans as lt
        >>> from lintrans.diagnostics.noise import gradient_noise
        >>> model, task = lt.LinearTransformer(layers=1, d=2), lt.LinearRegression(d=2, n=4)
        >>> parameters = model.init([0, 1])
        >>> gradient_noise(model, task, parameters, batch=10, samples=5, reference=100, engine="reference").shape
        torch.Size([2, 5])
    """
    flat, layout = pack(model, parameters)
    check_amounts(batch, samples, reference)
    source = _Source(model, task, parameters, flat.shape, seed, engine)
    centre, _ = source.mean(reference)
    norms = [_norms(noise) for noise in source.noise(centre, batch, samples)]
    return torch.cat(norms, dim=-1).reshape(*layout.lead, samples)


def measure_noise(
    model: Model, task: PromptSource, parameters: P, *, batch: int = 1000, samples: int = 10_000,
    reference: int = 100_000, seed: int | Sequence[int] = 0, engine: str = "auto",
) -> Noise:  # fmt: skip
    """What :func:`gradient_noise` returns for the same arguments, with the noise's second moments.

    A covariance needs G^2 numbers a run; in its place large models have the Gram matrix of fewer samples.
    """
    flat, layout = pack(model, parameters)
    runs, size = flat.shape
    check_amounts(batch, samples, reference)
    room(f"the second moments of {runs} runs of {size:,} parameters", 8 * runs * size * min(size, max(samples, DUAL)))
    source = _Source(model, task, parameters, flat.shape, seed, engine)
    centre, error = source.mean(reference)
    second: _Gram | _Covariance = (
        _Gram(runs, samples, size) if samples < size and size > DUAL else _Covariance(runs, size)
    )
    norms: list[Tensor] = []

    def kept() -> Kept:
        found = torch.cat(norms, dim=-1)
        return Kept({"norms": found, "second": second.kept}, {"where": f"minibatch {found.shape[-1]:,} of {samples:,}"})

    def use(old: Kept) -> None:
        second.use(old.tensors["second"])
        norms[:] = [old.tensors["norms"]]

    own = part("noise")
    own.load(use)
    for noise in source.noise(centre, batch, samples, begun=sum(found.shape[-1] for found in norms)):
        norms.append(_norms(noise))
        second.add(noise)
        own.keep(kept)
    moments = second.mean(samples)
    return Noise(
        torch.cat(norms, dim=-1).reshape(*layout.lead, samples),
        centre.reshape(*layout.lead, size),
        moments.reshape(*layout.lead, *moments.shape[1:]),
        error.reshape(layout.lead),
    )


def check_amounts(batch: int, samples: int, reference: int) -> None:
    """Refuse amounts that the generator's counters cannot tell apart, before anything is computed."""
    whole("batch", batch, 1, UINT32)
    whole("samples", samples, 1, UINT32 - 1)
    whole("reference", reference, 1, UINT32 * REFERENCE_BATCH)


class _Covariance:
    """Sums of outer products ``[runs, G, G]`` of noise that comes in groups ``[runs, group, G]``."""

    def __init__(self, runs: int, size: int) -> None:
        self.total = torch.zeros(runs, size, size, dtype=torch.float64)

    def add(self, noise: Tensor) -> None:
        for total, own in zip(self.total, noise, strict=True):
            total.addmm_(own.T, own)

    @property
    def kept(self) -> Tensor:
        return self.total

    def use(self, kept: Tensor) -> None:
        self.total.copy_(kept)

    def mean(self, samples: int) -> Tensor:
        return self.total / samples


class _Gram:
    """Inner products of all pairs of samples, ``[runs, samples, samples]``; the samples are kept in single precision.

    Of X with a row a sample, X'X and XX' have the same eigenvalues but for zeros.
    """

    def __init__(self, runs: int, samples: int, size: int) -> None:
        self.rows = torch.empty(runs, samples, size, dtype=torch.float32)
        self.filled = 0

    def add(self, noise: Tensor) -> None:
        self.rows[:, self.filled : self.filled + noise.shape[1]] = noise
        self.filled += noise.shape[1]

    @property
    def kept(self) -> Tensor:
        return self.rows[:, : self.filled]

    def use(self, kept: Tensor) -> None:
        self.filled = kept.shape[1]
        self.rows[:, : self.filled] = kept

    def mean(self, samples: int) -> Tensor:
        return torch.stack([self._products(own.double().numpy()) for own in self.rows]) / samples

    @staticmethod
    def _products(rows: Array) -> Tensor:
        """X X^T by half of the work of a product of two matrices."""
        upper = torch.from_numpy(scipy.linalg.blas.dsyrk(1.0, rows.T, trans=1)).triu()
        return upper + upper.triu(1).T


@dataclass(frozen=True)
class _Source:
    """Where the gradients of the runs come from; `shape` is (runs, parameters)."""

    model: Model
    task: Any
    parameters: Any
    shape: tuple[int, ...]
    seed: int | Sequence[int]
    engine: str

    def gradients(self, stream: Stream, batch: int, count: int, first: int) -> Tensor:
        """Gradients ``[runs, count, G]`` of the minibatches of a stream, in float64."""
        _, slopes = batch_gradients(
            self.model, self.task, self.parameters, batch=batch, count=count, seed=self.seed, first=first,
            stream=stream, engine=self.engine,
        )  # fmt: skip
        rows = pack(self.model, slopes)[0].to("cpu", torch.float64)
        return rows.reshape(self.shape[0], count, self.shape[1])

    def groups(self, batch: int, count: int, begun: int = 0) -> Iterator[tuple[int, int]]:
        """(first, size) of groups of minibatches that keep the bounds on memory and time, from the one at `begun`."""
        runs, parameters = self.shape
        size = max(1, min(GROUP_BYTES // (8 * runs * parameters), GROUP_PROMPTS // (batch * runs)))
        for first in range(begun, count, size):
            yield first, min(size, count - first)

    def mean(self, prompts: int) -> tuple[Tensor, Tensor]:
        """The gradient of the loss on so many reference prompts, ``[runs, G]``, and its standard error ``[runs]``."""
        total, squares = (torch.zeros(self.shape, dtype=torch.float64) for _ in range(2))
        full, rest = divmod(prompts, REFERENCE_BATCH)
        done, own = 0, part("reference")

        def kept() -> Kept:
            where = f"reference batch {done:,} of {full:,}"
            return Kept({"total": total, "squares": squares}, {"where": where, "done": done})

        def use(old: Kept) -> None:
            nonlocal done
            total.copy_(old.tensors["total"])
            squares.copy_(old.tensors["squares"])
            done = old.about["done"]

        own.load(use)
        for first, size in self.groups(REFERENCE_BATCH, full, done):
            found = self.gradients(Stream.REFERENCE, REFERENCE_BATCH, size, first)
            for index in range(size):  # one after the other, so that the bits do not depend on the groups
                total += found[:, index]
                squares += found[:, index] ** 2
            done = first + size
            own.keep(kept)
        variances = (squares - total**2 / max(1, full)).clamp_min(0.0).sum(-1) / max(1, full - 1)
        error = torch.sqrt(variances / full) if full > 1 else torch.full(self.shape[:1], math.nan, dtype=torch.float64)
        total *= REFERENCE_BATCH
        if rest:
            total += self.gradients(Stream.REFERENCE, rest, 1, full)[:, 0] * rest
        return total / prompts, error

    def noise(self, centre: Tensor, batch: int, samples: int, begun: int = 0) -> Iterator[Tensor]:
        """The noise of the minibatches, group by group from the one at `begun`, ``[runs, group, G]``."""
        with bar(samples, "gradient noise") as shown:
            shown.update(begun)
            for first, size in self.groups(batch, samples, begun):
                yield self.gradients(Stream.NOISE, batch, size, first).sub_(centre[:, None])
                shown.update(size)


def _norms(noise: Tensor) -> Tensor:
    """Euclidean norms over the last axis, without overflow on the way."""
    largest, relative = gradient_norm(noise)
    return (largest * relative).squeeze(-1)


def gaussian_norms(spectrum: npt.ArrayLike, samples: int = NULL_SHARE * NULL_SAMPLES, seed: int = 0) -> Array:
    """Norms of draws from N(0, C), the null that the norms of gradient noise are read against, by numpy's Philox.

    In the eigenbasis of C (eigenvalues ``[G]``, not negative) the squared norm is a sum of lambda_i times independent
    chi-squared variables. The smallest eigenvalues are merged: their part of the sum is replaced by its mean, for as
    many of them as keep the standard deviation of what is left out below MERGED of the whole. A quantile of the norm
    then moves by about MERGED^2, relatively.
    """
    values = np.sort([real("an eigenvalue", value, least=0) for value in each("spectrum", spectrum, lambda one: one)])[
        ::-1
    ]
    left = np.sqrt(2.0 * np.cumsum(values[::-1] ** 2))[::-1]  # [G]: standard deviation of the sum from i on
    kept = int((left > MERGED * values.sum()).sum())
    generator = np.random.Generator(np.random.Philox(key=whole("seed", seed)))
    squares = np.empty(whole("samples", samples, 1))
    step = max(1, GROUP_BYTES // (8 * max(1, kept)))
    for start in range(0, samples, step):
        part = squares[start : start + step]
        part[:] = generator.standard_normal((len(part), kept)) ** 2 @ values[:kept] + values[kept:].sum()
    norms: Array = np.sqrt(squares)
    return norms


def null_draws(samples: int) -> int:
    """Draws of the null beside so many minibatches."""
    return max(NULL_SAMPLES, NULL_SHARE * samples)


def noise_table(noise: Noise, seeds: Sequence[int], null_samples: int = 0, keep: int = 0) -> pd.DataFrame:
    """Tail statistics of the noise of several runs beside those of their Gaussian nulls, a row a run.

    Each null is drawn with the seed of its run (`null_samples` 0: ten draws a minibatch, 10,000 at least). Columns:
    seed; STATISTICS, NaN for a run with a gradient that is not finite; norms and spectrum, arrays of the first `keep`
    runs, else None.
    """
    null_samples = null_samples or null_draws(noise.norms.shape[-1])
    rows = []
    for index, seed in enumerate(seeds):
        own = Noise(noise.norms[index], noise.gradient[index], noise.covariance[index], noise.error[index])
        finite = bool(own.covariance.isfinite().all())
        spectrum = own.spectrum.numpy() if finite else np.empty(0)
        row = _statistics(own, spectrum, seed, null_samples) if finite else {}
        arrays = {"norms": own.norms.numpy(), "spectrum": spectrum} if finite and index < keep else {}
        rows.append({"seed": int(seed), **row, **arrays})
    columns = ["seed", *STATISTICS, "norms", "spectrum"]
    table = pd.DataFrame(rows).reindex(columns=columns)
    for column in ("norms", "spectrum"):
        table[column] = table[column].astype(object).where(table[column].notna(), None)
    return table


def _statistics(noise: Noise, spectrum: Array, seed: int, null_samples: int) -> dict[str, float]:
    """STATISTICS of one run; `spectrum` is that of its noise."""
    norms = noise.norms.numpy()
    null = gaussian_norms(spectrum, null_samples, seed)
    (q99, null_q99), (q999, null_q999) = (
        (quantile_ratio(norms, level), quantile_ratio(null, level)) for level in (0.99, 0.999)
    )
    median = float(np.median(norms))
    values = (
        median, median / math.hypot(*noise.gradient.tolist()), q99, q999, null_q99, null_q999, q99 / null_q99,
        q999 / null_q999, excess_kurtosis(norms), excess_kurtosis(null),
        float(spectrum.sum() ** 2 / (spectrum**2).sum()), float(noise.error) / median,
    )  # fmt: skip
    return dict(zip(STATISTICS, values, strict=True))


def tabulate_noise(
    model: Model, task: PromptSource, parameters: P, seeds: Sequence[int], *, batch: int, samples: int, reference: int,
    keep: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """:func:`noise_table` of :func:`measure_noise` of some runs, each with prompts of its own seed."""
    noise = measure_noise(model, task, parameters, batch=batch, samples=samples, reference=reference, seed=seeds)
    return noise_table(noise, seeds, keep=keep)
