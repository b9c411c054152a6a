"""Random linear regression in context: teachers, prompts as tokens or as second moments.

A prompt is n examples (x_i, y_i) and a query x_{n+1}; its teacher w ~ N(0, I_d) gives y_i = <w, x_i>
(Ahn et al. 2024, section 2). Whatever draws prompts takes them from :mod:`lintrans.random`, keyed by seed and step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict, Unpack, cast, runtime_checkable

import torch
from torch import Tensor

from ..devices import real_dtype, resolve_device
from ..errors import room, settle, shown, whole
from ..random import FRAME_ATTEMPT, TEACHER_ATTEMPT, Source, Stream
from .covariates import Array, Covariates, GammaScaled, Gaussian, Sphere, tex

__all__ = [
    "Array", "Covariates", "DrawOptions", "GammaScaled", "Gaussian", "LinearRegression", "Moments", "Prompts", "Sphere",
    "Task", "frame", "tex", "unit",
]  # fmt: skip


class DrawOptions(TypedDict, total=False):
    """How prompts are drawn beyond their number, seed and step; see :meth:`LinearRegression.sample`."""

    stream: Stream
    first: int
    dtype: torch.dtype | None
    device: torch.device | str


@runtime_checkable
class Task(Protocol):
    """What models are trained on, by seed and step: fresh prompts of n examples and a query, or what a model takes.

    A task whose prompts are the same for all seeds and steps may say so with an attribute ``fixed = True``: the
    reference engine then takes all runs at once.
    """

    @property
    def n(self) -> int: ...
    @property
    def zero_loss(self) -> float:
        """Loss of the zero predictor."""

    def sample(self, batch: int, seed: int | Sequence[int] = 0, step: int = 0, **options: Unpack[DrawOptions]) -> Any:
        """What :meth:`LinearRegression.sample` draws, prompts as tokens, or others; they depend on the arguments."""


def _check_tensors(what: str, **parts: Any) -> None:
    """Refuse what is no tensor of real numbers, or parts of two dtypes or devices."""
    for name, part in parts.items():
        if not isinstance(part, Tensor):
            raise TypeError(f"{name} of {what} is a {type(part).__name__}: give a tensor")
    for name in ("dtype", "device"):
        found = {str(getattr(part, name)) for part in parts.values()}
        if len(found) > 1:
            raise ValueError(f"{what} have parts of {name} {' and '.join(sorted(found))}: give all one, with .to(...)")


def _where(target: Any) -> torch.dtype | torch.device:
    return real_dtype(target) if isinstance(target, torch.dtype) else resolve_device(target)


def unit(vectors: Tensor) -> Tensor:
    """Directions of vectors [..., d, batch]."""
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-2, keepdim=True)
    return vectors / lengths


def frame(normals: Tensor) -> Tensor:
    """A uniformly random orthonormal frame of standard normals [..., n, d, batch], d <= n: by modified Gram-Schmidt."""
    columns: list[Tensor] = []
    for j in range(normals.shape[-2]):
        column = normals[..., j, :]
        for earlier in columns:
            column = column - (earlier * column).sum(-2, keepdim=True) * earlier
        columns.append(unit(column))
    return torch.stack(columns, dim=-2)


@dataclass(frozen=True)
class Prompts:
    """Prompts as tokens.

    Attributes:
        covariates: [..., batch, n + 1, d]; the last one is the query.
        responses: [..., batch, n + 1]; the last one is the target, which no model sees.
    """

    covariates: Tensor
    responses: Tensor

    def __post_init__(self) -> None:
        _check_tensors("prompts", covariates=self.covariates, responses=self.responses)
        if (
            self.covariates.ndim < 3
            or self.covariates.shape[-2] < 2
            or 0 in self.covariates.shape[-3:]
            or self.responses.shape != self.covariates.shape[:-1]
        ):
            raise ValueError(
                f"prompts need covariates [..., batch, n + 1, d] with batch, n, d >= 1, responses [..., batch, n + 1], "
                f"not {list(self.covariates.shape)} and {list(self.responses.shape)}"
            )

    @property
    def n(self) -> int:
        return self.covariates.shape[-2] - 1

    @property
    def d(self) -> int:
        return self.covariates.shape[-1]

    @property
    def batch(self) -> int:
        return self.covariates.shape[-3]

    @property
    def dtype(self) -> torch.dtype:
        return self.covariates.dtype

    @property
    def target(self) -> Tensor:
        """Response at the query, [..., batch]."""
        return self.responses[..., -1]

    def to(self, target: torch.dtype | torch.device | str) -> Prompts:
        """The same prompts in another dtype or on another device, as ``Tensor.to``."""
        where = _where(target)
        return Prompts(self.covariates.to(where), self.responses.to(where))

    def __getitem__(self, index: Tensor | slice | int) -> Prompts:
        """Select along the first axis, for prompts of several seeds."""
        return Prompts(self.covariates[index], self.responses[index])

    def moments(self) -> Moments:
        """All that linear attention sees of these prompts: :class:`Moments`."""
        x, y = self.covariates[..., :-1, :], self.responses[..., :-1]
        xx = torch.einsum("...bki,...bkj->...ijb", x, x) / self.n
        xy = torch.einsum("...bki,...bk->...ib", x, y) / self.n
        return Moments(xx, xy, (y * y).mean(-1), self.covariates[..., -1, :].transpose(-1, -2), self.target)


@dataclass(frozen=True)
class Moments:
    """Prompts as second moments of their context, prompts last; linear attention needs no more.

    Attributes:
        xx: (1/n) sum_i x_i x_i^T, [..., d, d, batch].
        xy: (1/n) sum_i x_i y_i, [..., d, batch].
        yy: (1/n) sum_i y_i^2, [..., batch].
        query: x_{n+1}, [..., d, batch].
        target: y_{n+1}, [..., batch].
    """

    xx: Tensor
    xy: Tensor
    yy: Tensor
    query: Tensor
    target: Tensor

    def __post_init__(self) -> None:
        _check_tensors("moments", **vars(self))
        d, batch = self.query.shape[-2:] if self.query.ndim > 1 else (0, 0)
        needed = [(d, d, batch), (d, batch), (batch,), (d, batch), (batch,)]
        if not d * batch or any(part.shape[-len(shape) :] != shape for part, shape in zip(self, needed, strict=True)):
            raise ValueError(
                f"moments need xx [..., d, d, batch], xy and query [..., d, batch], yy and target [..., batch], not "
                f"{', '.join(str(list(part.shape)) for part in self)}"
            )

    @property
    def d(self) -> int:
        return self.query.shape[-2]

    @property
    def batch(self) -> int:
        return self.target.shape[-1]

    @property
    def dtype(self) -> torch.dtype:
        return self.target.dtype

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.xx, self.xy, self.yy, self.query, self.target))

    def to(self, target: torch.dtype | torch.device | str) -> Moments:
        """The same moments in another dtype or on another device, as ``Tensor.to``."""
        where = _where(target)
        return Moments(*(part.to(where) for part in self))

    def __getitem__(self, index: Tensor | slice | int) -> Moments:
        """Select along the first axis, for moments of several seeds."""
        return Moments(*(part[index] for part in self))


@dataclass(frozen=True)
class LinearRegression:
    """In-context linear regression: y = <w, x>, w ~ N(0, I_d), covariates i.i.d.

    Args:
        d: dimension of the covariates, at least 1.
        n: context length, at least 1.
        covariates: their law: :class:`Gaussian`, :class:`Sphere` or :class:`GammaScaled`.

    Example:
        >>> import lintrans as lt
        >>> task = lt.LinearRegression(d=5, n=20)
        >>> task.sample(batch=1000, seed=0, step=0).covariates.shape
        torch.Size([1000, 21, 5])
    """

    d: int = 5
    n: int = 20
    covariates: Covariates = Gaussian()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        settle(self, d=whole("d", self.d, 1), n=whole("n", self.n, 1))
        room(f"a prompt with d = {self.d:,} and n = {self.n:,}", 8 * self.d * (self.d + self.n + 2))
        if not isinstance(self.covariates, Covariates) or isinstance(self.covariates, type):
            raise TypeError(
                f"covariates = {shown(self.covariates)} is no law of covariates: give lintrans.Gaussian(), Sphere() or "
                f"GammaScaled(shape=..., scale=...)"
            )

    @property
    def zero_loss(self) -> float:
        """Loss of the zero predictor, f0 = E||x||^2."""
        return self.covariates.squared_norm(self.d)

    @property
    def factored(self) -> bool:
        """Whether prompts are drawn by the triangular factor of their context, which takes fewer random numbers."""
        return type(self.covariates) is Gaussian and self.n >= 2 * self.d

    def _factor(self, source: Source) -> tuple[Tensor, Tensor, Tensor]:
        """For Gaussian covariates: R [*seeds, d, d, batch], query and teacher [*seeds, d, batch], float64.

        The n x d matrix of the context's covariates is Q R, with orthonormal columns of Q and R upper triangular. Q is
        uniform and independent of R, whose entries are independent: N(0, 1) above the diagonal, and chi with n - k
        degrees of freedom in place k = 0, 1, ... on it (Bartlett 1933, "On the theory of statistical regression").
        """
        d, (i, j) = self.d, torch.triu_indices(self.d, self.d, offset=1)
        degrees = [self.n - k for k in range(d)]
        above = len(i)
        normals = source.normals(above + 2 * d + sum(degree % 2 for degree in degrees))
        query, teacher = normals[..., above : above + d, :], normals[..., above + d : above + 2 * d, :]
        factor = normals.new_zeros(*source.lead, d, d, source.batch)
        factor[..., i, j, :] = normals[..., :above, :]
        lengths = torch.sqrt(source.chi_squared(degrees, normals[..., above + 2 * d :, :]))
        factor[..., range(d), range(d), :] = lengths
        std = cast(Gaussian, self.covariates).std
        return std * factor, std * query, teacher

    def _draw(self, source: Source) -> tuple[Tensor, Tensor]:
        """Covariates [*seeds, n + 1, d, batch] and teachers [*seeds, d, batch], float64."""
        if self.factored:
            factor, query, teacher = self._factor(source)
            normals = source.normals(self.n * self.d, FRAME_ATTEMPT).reshape(*source.lead, self.n, self.d, source.batch)
            context = torch.einsum("...nib,...ijb->...njb", frame(normals), factor)
            return torch.cat([context, query.unsqueeze(-3)], dim=-3), teacher
        x = self.covariates.draw(source, self.n + 1, self.d)
        shape = [*source.lead, self.n + 1, self.d, source.batch]
        found = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        if found != shape:
            raise ValueError(
                f"{type(self.covariates).__name__}.draw(source, tokens={self.n + 1}, d={self.d}) gave {found}, "
                f"not a tensor [*seeds, tokens, d, batch] = {shape}"
            )
        return x, source.normals(self.d, TEACHER_ATTEMPT)

    def sample(
        self, batch: int, seed: int | Sequence[int] = 0, step: int = 0, *, stream: Stream = Stream.TRAINING,
        first: int = 0, dtype: torch.dtype | None = None, device: torch.device | str = "cpu",
    ) -> Prompts:  # fmt: skip
        """Draw prompts as tokens.

        Args:
            batch: number of prompts.
            seed: a whole number below 2^32, or a sequence of them (adds a leading axis).
            step: training step, or index of a block.
            stream: role of these prompts; roles share no numbers.
            first: index of the first prompt: ``sample(10, first=5)`` is the second half of ``sample(15)`` from 5 on.
            dtype: of the result (torch's default where None); drawn in float64 in any case.
            device: where to draw.

        Returns:
            Prompts with covariates [*seeds, batch, n + 1, d].
        """
        source = Source(seed, step, stream, batch, first=first, device=device)
        x, w = self._draw(source)
        y = (x * w.unsqueeze(-3)).sum(-2)  # [*seeds, n + 1, batch]
        kind = real_dtype(dtype)
        return Prompts(x.movedim(-1, -3).contiguous().to(kind), y.movedim(-1, -2).contiguous().to(kind))

    def sample_moments(
        self, batch: int, seed: int | Sequence[int] = 0, step: int = 0, *, stream: Stream = Stream.TRAINING,
        first: int = 0, dtype: torch.dtype | None = None, device: torch.device | str = "cpu",
    ) -> Moments:  # fmt: skip
        """Draw the same prompts directly as second moments, without building tokens; see :meth:`sample`.

        Noiseless labels give xy = xx w and yy = w^T xx w. The draw is in float64, the moments in `dtype`.
        """
        if type(self).sample is not LinearRegression.sample:  # a task of a user's own that draws other prompts
            return self.sample(batch, seed, step, stream=stream, first=first, dtype=dtype, device=device).moments()
        source = Source(seed, step, stream, batch, first=first, device=device)
        kind = real_dtype(dtype)
        if self.factored:  # R^T R = X^T X
            context, query, w = (part.to(kind) for part in self._factor(source))
        else:
            x, w = (part.to(kind) for part in self._draw(source))
            context, query = x[..., :-1, :, :], x[..., -1, :, :]
        xx = torch.stack([(context * context[..., i : i + 1, :]).sum(-3) for i in range(self.d)], dim=-3) / self.n
        xy = (xx * w.unsqueeze(-3)).sum(-2)
        return Moments(xx, xy, (w * xy).sum(-2), query, (query * w).sum(-2))
