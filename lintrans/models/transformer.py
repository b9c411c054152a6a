r"""The attention-only Transformer: on tokens as the paper writes it, and with linear attention on second moments.

Layers act on Z in R^{(d+1) x (n+1)} (Ahn et al. 2024, section 2)::

    Z <- Z + (1/n) sum_h P_h Z M (Z^T Q_h Z),    M = diag(I_n, 0),    TF(Z_0) = -[Z_L]_{d+1, n+1}

That is linear attention; :mod:`.attention` has the others, which run on tokens. The **token form** below is the
executable specification. The **moment form** uses that the context enters linear
attention only through S = (1/n) sum_{i<=n} z_i z_i^T: with B = sum_h P_h S Q_h one layer is

    z_query <- (I + B) z_query,    S <- (I + B) S (I + B)^T,

exactly the same recursion at a cost free of n. Prompts are the last axis of every tensor of the moment form:
products with P and Q are then large matrix products, and products of two matrices of a prompt are a few long
elementwise ones, which is the fastest layout torch offers (see ``benchmarks/``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, Unpack, runtime_checkable

import torch
from torch import Tensor

from ..devices import real_dtype
from ..errors import SQUARES, choice, real, room, settle, whole
from ..random import Source, Stream
from ..tasks.regression import DrawOptions, LinearRegression, Moments, Prompts, Task
from .attention import ON_TOKENS, predict
from .fitting import check_inputs

FORMS = ("sparse", "full")
ATTENTIONS = ("linear", *ON_TOKENS)
GROUPINGS = ("coordinate", "block", "layer", "kind", "all")
"""What may share a second moment in Adam; see :func:`groups_of`."""


@runtime_checkable
class TensorModel(Protocol):
    """A model whose parameters are one tensor ``[..., *parameter_shape]``: what training and instruments ask of it.

    Leading axes are runs. Prompts are whatever :meth:`draw` gives, and the loss takes: an object with ``target`` and
    ``batch``, with ``to`` as a tensor has it, and ``prompts[index]`` to select along a leading axis of seeds.
    :class:`~lintrans.Prompts` and :class:`~lintrans.Moments` are such. To be stored, a model is a frozen dataclass of
    plain values.
    """

    @property
    def parameter_shape(self) -> tuple[int, ...]:
        """Shape of one run's parameters."""

    @property
    def default_dtype(self) -> torch.dtype:
        """What it is trained in where nothing else is asked for."""

    @property
    def structural_zeros(self) -> Tensor:
        """Which entries can never affect the loss, ``[*parameter_shape]``, bool."""

    @property
    def blocks(self) -> tuple[Tensor, ...]:
        """Groups of parameters that curvature is measured in: their places in the flattened parameters, int64."""

    def init(
        self, seed: int | Sequence[int] = 0, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Initial parameters of a seed, or of several (adds a leading axis)."""

    def draw(
        self, task: Task, batch: int, seed: int | Sequence[int] = 0, step: int = 0, **options: Unpack[DrawOptions]
    ) -> Any:
        """Fresh prompts of a task in the form that the model computes on fastest; see :meth:`Task.sample`."""

    def loss(self, parameters: Tensor, prompts: Any) -> Tensor:
        """Mean loss ``[...]`` over the batch, differentiable; leading axes of prompts broadcast with the runs'."""

    def numbers(self, prompts: Any) -> int:
        """About how many numbers autograd keeps for the loss of one run on these prompts."""


@dataclass(frozen=True)
class LinearTransformer:
    """A Transformer of attention layers only.

    Args:
        layers: L, at least 1.
        d: dimension of the covariates.
        heads: attention heads per layer.
        form: ``"full"``: P and Q are any (d+1) x (d+1) matrices. ``"sparse"`` (Ahn et al. 2023; the paper's public
            code): P = blockdiag(P', 1), Q = blockdiag(Q', 0) with d x d blocks trained; the last layer's P' then has
            no effect on the prediction.
        attention: ``"linear"``; on tokens ``"softmax"`` (the paper's public code's, over all n + 1 keys),
            ``"softmax-visible"`` (the ordinary one, over the n visible keys) or ``"relu"``; see
            :mod:`lintrans.models.attention`.
        init_std: standard deviation of every initial entry (0.05 in the paper's public code).

    Parameters are a tensor ``[..., layers, heads, 2, D, D]`` with D = d (sparse) or d + 1 (full); index 0 is P, 1 is
    Q; leading axes are runs. Q is the paper's: the score of key i for query j is z_i^T Q z_j (the paper's public
    code stores its transpose).

    Example:
        >>> import lintrans as lt
        >>> model = lt.LinearTransformer(layers=3, d=5)
        >>> model.parameter_shape
        (3, 1, 2, 5, 5)
    """

    layers: int = 3
    d: int = 5
    heads: int = 1
    form: str = "sparse"
    attention: str = "linear"
    init_std: float = 0.05

    def __post_init__(self) -> None:
        settle(
            self, layers=whole("layers", self.layers, 1), d=whole("d", self.d, 1), heads=whole("heads", self.heads, 1)
        )
        choice("form", self.form, FORMS)
        choice("attention", self.attention, ATTENTIONS)
        settle(self, init_std=real("init_std", self.init_std, least=0, most=SQUARES[1]))
        what = f"parameters of layers = {self.layers:,}, heads = {self.heads:,} and d = {self.d:,}"
        room(what, 8 * math.prod(self.parameter_shape))

    @property
    def block(self) -> int:
        """D, the size of the trained matrices: d (sparse) or d + 1 (full)."""
        return self.d if self.form == "sparse" else self.d + 1

    @property
    def parameter_shape(self) -> tuple[int, int, int, int, int]:
        return (self.layers, self.heads, 2, self.block, self.block)

    @property
    def structural_zeros(self) -> Tensor:
        """Which entries can never affect the loss, ``[layers, heads, 2, D, D]``, bool.

        The prediction is the last entry of the query's token, to which the last layer adds a row of P: none of P' in
        the sparse form, all rows of P but the last in the full form. With one layer the last column of Q, which the
        hidden response of the query meets, is without effect as well.
        """
        zeros = torch.zeros(self.parameter_shape, dtype=torch.bool)
        zeros[-1, :, 0, : self.d] = True
        if self.form == "full" and self.layers == 1:
            zeros[0, :, 1, :, self.d] = True
        return zeros

    @property
    def parts(self) -> tuple[int, ...]:
        """First parameter of each layer, in the flattened parameters."""
        return tuple(range(0, math.prod(self.parameter_shape), 2 * self.heads * self.block**2))

    @property
    def blocks(self) -> tuple[Tensor, ...]:
        """P and Q of each layer and head, layer by layer, P first; without entries that never affect the loss."""
        used = ~self.structural_zeros.reshape(-1, self.block**2)
        starts = self.block**2 * torch.arange(len(used))
        return tuple(
            start + own.nonzero().squeeze(-1) for start, own in zip(starts, used, strict=True) if bool(own.any())
        )

    @property
    def block_names(self) -> tuple[str, ...]:
        """A name for each of :attr:`blocks`, layers and heads from 1 on: P1, Q1, ..., with several heads P1.1."""
        heads = [f".{head + 1}" if self.heads > 1 else "" for head in range(self.heads)]
        names = [f"{kind}{layer + 1}{head}" for layer in range(self.layers) for head in heads for kind in "PQ"]
        used = (~self.structural_zeros).flatten(3).any(-1).flatten().tolist()
        return tuple(name for name, own in zip(names, used, strict=True) if own)

    @property
    def groups(self) -> dict[str, Tensor]:
        """Each flattened parameter's number among blocks (P or Q of a layer and head), layers and kinds (P, Q)."""
        axes = map(torch.arange, (self.layers, self.heads, 2, self.block**2))
        layer, head, kind, _ = (each.flatten() for each in torch.meshgrid(*axes, indexing="ij"))
        return {"block": (layer * self.heads + head) * 2 + kind, "layer": layer, "kind": kind}

    @property
    def default_dtype(self) -> torch.dtype:
        """float32 to four layers, float64 beyond: the prediction is a polynomial of degree 3^L in the prompt."""
        return torch.float32 if self.layers <= 4 else torch.float64

    def init(
        self, seed: int | Sequence[int] = 0, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Initial parameters, independent N(0, init_std^2) entries: ``[*seeds, layers, heads, 2, D, D]``.

        A sequence of seeds adds a leading axis of runs; dtype None takes :attr:`default_dtype`. A deeper model starts
        with the layers of a shallower one.
        """
        size = torch.Size(self.parameter_shape).numel()
        source = Source(seed, 0, Stream.INIT, batch=1, device=device)
        entries = self.init_std * source.normals(size).reshape(*source.lead, *self.parameter_shape)
        return entries.to(real_dtype(dtype, self.default_dtype))

    def draw(
        self, task: Task, batch: int, seed: int | Sequence[int] = 0, step: int = 0, **options: Unpack[DrawOptions]
    ) -> Prompts | Moments:
        """Prompts of (seed, step): second moments for linear attention, where the task knows them, else tokens."""
        if self.attention == "linear" and isinstance(task, LinearRegression):
            return task.sample_moments(batch, seed, step, **options)
        prompts: Prompts = task.sample(batch, seed, step, **options)
        return prompts

    def numbers(self, prompts: Prompts | Moments) -> int:
        if isinstance(prompts, Moments):
            return 8 * self.layers * self.heads * self.block**2 * prompts.batch
        tokens = prompts.n + 1
        return 4 * self.layers * self.heads * tokens * (tokens + self.block) * prompts.batch

    def predict(self, parameters: Tensor, prompts: Prompts | Moments) -> Tensor:
        """TF_L of every prompt with the paper's sign, ``[..., batch]`` in the wider of the two dtypes; differentiable.

        Prompts are :class:`~lintrans.Prompts` (evaluated on tokens) or, for linear attention,
        :class:`~lintrans.Moments`; their leading axes, if any, broadcast with those of the parameters ``[..., layers,
        heads, 2, D, D]``.

        Raises:
            ValueError: a shape that does not fit, in words.
        """
        check_inputs(self, parameters, prompts)
        wide = torch.promote_types(parameters.dtype, prompts.dtype)
        parameters, prompts = parameters.to(wide), prompts.to(wide)
        if isinstance(prompts, Prompts):
            return self._predict_tokens(parameters, prompts)
        return self._predict_moments(parameters, prompts)

    def loss(self, parameters: Tensor, prompts: Prompts | Moments) -> Tensor:
        """Mean squared error of :meth:`predict` over the batch, ``[...]``."""
        error = self.predict(parameters, prompts) - prompts.target
        return (error * error).mean(-1)

    def full_parameters(self, parameters: Tensor) -> Tensor:
        """The (d+1) x (d+1) matrices P and Q that the parameters stand for, ``[..., layers, heads, 2, d+1, d+1]``."""
        if self.form == "full":
            return parameters
        whole_blocks = torch.nn.functional.pad(parameters, (0, 1, 0, 1))
        corner = torch.zeros_like(whole_blocks)
        corner[..., 0, self.d, self.d] = 1.0  # P = blockdiag(P', 1), Q = blockdiag(Q', 0)
        return whole_blocks + corner

    def _predict_tokens(self, parameters: Tensor, prompts: Prompts) -> Tensor:
        """For linear attention the specification, line by line as in the paper."""
        n = prompts.n
        hidden = torch.ones_like(prompts.responses)
        hidden[..., -1] = 0.0  # the query's own response is not shown
        rows = torch.cat([prompts.covariates, (prompts.responses * hidden).unsqueeze(-1)], dim=-1)
        if self.attention != "linear":
            p, q = self.full_parameters(parameters)[..., 0, :, :], parameters[..., 1, :, :]
            return predict(self.attention, p, q, rows)
        weights = self.full_parameters(parameters).unsqueeze(-6)  # [..., 1 (batch), layers, heads, 2, d+1, d+1]
        z = rows.transpose(-1, -2)
        mask = torch.diag(hidden.new_tensor([1.0] * n + [0.0]))  # M
        for layer in range(self.layers):
            update = torch.zeros((), dtype=z.dtype, device=z.device)
            for head in range(self.heads):
                p, q = weights[..., layer, head, 0, :, :], weights[..., layer, head, 1, :, :]
                update = update + p @ z @ mask @ (z.transpose(-1, -2) @ q @ z)  # [..., batch, d+1, n+1]
            z = z + update / n
        return -z[..., -1, -1]

    def _predict_moments(self, parameters: Tensor, moments: Moments) -> Tensor:
        if self.form == "sparse":
            return self._sparse_moments(parameters, moments)
        return self._full_moments(parameters, moments)

    def _sparse_moments(self, parameters: Tensor, moments: Moments) -> Tensor:
        """D x d blocks: S = S_xx, s = S_xy, x the query, y its running response."""
        s_xx, s_xy, x = moments.xx, moments.xy, moments.query
        y = torch.zeros((), dtype=x.dtype, device=x.device)
        for layer in range(self.layers):
            p, q = parameters[..., layer, :, 0, :, :], parameters[..., layer, :, 1, :, :]  # [..., heads, d, d]
            g = q.sum(-3).transpose(-1, -2) @ s_xy  # [..., d, batch]
            y = y + (g * x).sum(-2)
            if layer == self.layers - 1:
                break  # P' of the last layer, and what follows, has no effect
            a = mix(p, s_xx, q)  # [..., d, d, batch]
            u = s_xy + apply(s_xx, g)
            s_xy = u + apply(a, u)
            x = x + apply(a, x)
            if layer < self.layers - 2:
                s_xx = congruence(a, s_xx)
        return -y

    def _full_moments(self, parameters: Tensor, moments: Moments) -> Tensor:
        """(d+1) x (d+1) blocks: S the moments of (x, y), z the query token (x, 0)."""
        top = torch.cat([moments.xx, moments.xy.unsqueeze(-2)], dim=-2)
        bottom = torch.cat([moments.xy, moments.yy.unsqueeze(-2)], dim=-2)
        s = torch.cat([top, bottom.unsqueeze(-3)], dim=-3)  # [..., d+1, d+1, batch]
        z = torch.cat([moments.query, torch.zeros_like(moments.yy).unsqueeze(-2)], dim=-2)
        for layer in range(self.layers):
            b = mix(parameters[..., layer, :, 0, :, :], s, parameters[..., layer, :, 1, :, :])
            z = z + apply(b, z)
            if layer < self.layers - 1:
                s = congruence(b, s)
        return -z[..., -1, :]


def has_tensor(model: object) -> TypeGuard[TensorModel]:
    """Whether an object is a :class:`TensorModel`."""
    if isinstance(model, LinearTransformer):  # first: the other question asks every property
        return True
    return isinstance(model, TensorModel) and not isinstance(model, type)


def groups_of(model: TensorModel, by: str) -> Tensor:
    """The number, from 0 on, of the group of each parameter, ``[G]`` int64.

    `by` is "coordinate" (each parameter by itself), "all" (all together), or one of the model's own ``groups``.
    """
    size = math.prod(model.parameter_shape)
    own: dict[str, Tensor] = getattr(model, "groups", {})
    known = {"coordinate": torch.arange(size), "all": torch.zeros(size, dtype=torch.int64), **own}
    if by not in known:
        raise ValueError(
            f"parameters of a {type(model).__name__} have no groups {by!r}: take one of {', '.join(map(repr, known))}, "
            f"or give the model a property `groups`"
        )
    return known[by]


# Products of the moment form. Matrices of a prompt are [..., i, j, batch], its vectors [..., i, batch].


def mix(p: Tensor, s: Tensor, q: Tensor) -> Tensor:
    """sum_h P_h S Q_h, with P, Q [..., heads, D, D] and S [..., D, D, batch]."""
    heads, size = p.shape[-3], p.shape[-1]
    total: Tensor | None = None
    for head in range(heads):
        t = q[..., head, :, :].transpose(-1, -2).unsqueeze(-3) @ s  # S Q: one product per row of S
        rows = p[..., head, :, :] @ t.reshape(*t.shape[:-3], size, -1)
        total = rows if total is None else total + rows
    assert total is not None  # heads >= 1
    return total.reshape(*total.shape[:-2], size, size, s.shape[-1])


def apply(a: Tensor, x: Tensor) -> Tensor:
    """A x."""
    return (a * x.unsqueeze(-3)).sum(-2)


def congruence(a: Tensor, s: Tensor) -> Tensor:
    """(I + A) S (I + A)^T."""
    w = s + sum_of_products(a, s)
    return w + sum_of_products(w, a.transpose(-2, -3))


def sum_of_products(a: Tensor, b: Tensor) -> Tensor:
    """A B as D long elementwise products; twice as fast as torch's batched product of small matrices."""
    total = a[..., :, 0, None, :] * b[..., None, 0, :, :]
    for k in range(1, a.shape[-2]):
        total = torch.addcmul(total, a[..., :, k, None, :], b[..., None, k, :, :])
    return total
