r"""Nonlinear regression in context: a fixed random network makes features of the covariates, a trained one embeds them.

The task is :class:`FeatureRegression`: y = <w, g(x)> with one random ReLU network g for all prompts, seeds and steps.
The model is :class:`EmbeddedTransformer`: e(x) = W2 relu(W1 x + b1) + b2 on the covariates of all n + 1 tokens, then a
full-form linear Transformer on the tokens (e(x_i), y_i) (Ahn et al. 2024; network sizes and rates are those of the
paper's public notebook). Networks start as torch's ``nn.Linear`` does: weights and biases uniform in +-1/sqrt(inputs).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor

from ..devices import real_dtype
from ..errors import SQUARES, real, room, seed_number, settle, whole
from ..random import Source, Stream
from ..tasks.regression import DrawOptions, Gaussian, Moments, Prompts, Task
from .fitting import check_inputs
from .transformer import LinearTransformer

ZERO_LOSS_PROMPTS = 200_000
"""Covariates behind the loss of the zero predictor, whose standard error is then about a third of a percent."""


@dataclass(frozen=True)
class Network:
    """Sizes of a ReLU network with one hidden layer, d -> hidden -> d; its parameters lie in a vector.

    The order is that of ``nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, d)).parameters()``.
    """

    d: int
    hidden: int

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self.hidden, self.d), (self.hidden,), (self.d, self.hidden), (self.d,)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(math.prod(shape) for shape in self.shapes)

    def init(self, source: Source) -> Tensor:
        """Entries ``[*seeds, size]`` from a source of one prompt, float64."""
        uniforms = source.uniforms(sum(self.sizes)).squeeze(-1)
        bounds = [1 / math.sqrt(inputs) for inputs in (self.d, self.d, self.hidden, self.hidden)]
        scale = torch.cat([torch.full((size,), bound) for size, bound in zip(self.sizes, bounds, strict=True)])
        return (2.0 * uniforms - 1.0) * scale.to(uniforms)

    def apply(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Outputs ``[..., d, batch]`` for parameters ``[..., size]`` and inputs ``[..., d, batch]``; axes broadcast."""
        parts = torch.split(parameters, list(self.sizes), dim=-1)
        w1, b1, w2, b2 = (
            part.reshape(*part.shape[:-1], *shape) for part, shape in zip(parts, self.shapes, strict=True)
        )
        return w2 @ torch.relu(w1 @ x + b1.unsqueeze(-1)) + b2.unsqueeze(-1)


@dataclass(frozen=True)
class FeatureRegression:
    """In-context regression on the features of a fixed random network: y = <w, g(x)>, w ~ N(0, I_d), x ~ N(0, I_d).

    Args:
        d: dimension of the covariates and of the features, at least 1.
        n: context length, at least 1.
        hidden: hidden units of g.
        network: seed of g. One network makes the whole task: training, tests and all that is measured afterwards.

    Example:
        >>> from lintrans.models.embedded import FeatureRegression
        >>> FeatureRegression().sample(batch=10).covariates.shape
        torch.Size([10, 21, 5])
    """

    d: int = 5
    n: int = 20
    hidden: int = 10
    network: int = 0

    def __post_init__(self) -> None:
        settle(self, d=whole("d", self.d, 1), n=whole("n", self.n, 1), hidden=whole("hidden", self.hidden, 1))
        settle(self, network=seed_number(self.network, "network"))
        needed = 8 * self.d * (self.n + 2 + 2 * self.hidden)
        room(f"a prompt with d = {self.d:,}, n = {self.n:,} and hidden = {self.hidden:,}", needed)

    @property
    def covariates(self) -> Gaussian:
        return Gaussian()

    @property
    def zero_loss(self) -> float:
        """Loss of the zero predictor, f0 = E||g(x)||^2, from a fixed sample of covariates."""
        return _zero_loss(self)

    def features(self, x: Tensor) -> Tensor:
        """G of covariates ``[..., d, batch]``, same shape."""
        return Network(self.d, self.hidden).apply(fixed_network(self).to(x), x)

    def sample(
        self, batch: int, seed: int | Sequence[int] = 0, step: int = 0, *, stream: Stream = Stream.TRAINING,
        first: int = 0, dtype: torch.dtype | None = None, device: torch.device | str = "cpu",
    ) -> Prompts:  # fmt: skip
        """Draw prompts as :meth:`lintrans.LinearRegression.sample`; in memory they are the last axis."""
        source = Source(seed, step, stream, batch, first=first, device=device)
        kind = real_dtype(dtype)
        normals = source.normals((self.n + 2) * self.d).reshape(*source.lead, self.n + 2, self.d, batch).to(kind)
        x, w = normals[..., :-1, :, :], normals[..., -1, :, :]
        y = (self.features(x) * w.unsqueeze(-3)).sum(-2)  # [*seeds, n + 1, batch]
        return Prompts(x.movedim(-1, -3), y.movedim(-1, -2))


@functools.cache
def fixed_network(task: FeatureRegression) -> Tensor:
    """The parameters of g, float64."""
    return Network(task.d, task.hidden).init(Source(task.network, 0, Stream.FEATURES, batch=1))


@functools.cache
def _zero_loss(task: FeatureRegression) -> float:
    x = Source(task.network, 1, Stream.FEATURES, ZERO_LOSS_PROMPTS).normals(task.d)
    return float((task.features(x) ** 2).sum(-2).mean())


@dataclass(frozen=True)
class EmbeddedTransformer:
    """A trained ReLU network on the covariates of every token, then a full-form linear Transformer.

    Args:
        layers: attention layers, at least 1.
        d: dimension of the covariates and of their embedding.
        hidden: hidden units of the network.
        init_std: standard deviation of the Transformer's initial entries.

    Parameters are a vector ``[..., G]``: W1 [hidden, d], b1, W2 [d, hidden], b2, then the Transformer's
    ``[layers, 1, 2, d + 1, d + 1]``; G = 551 for three layers, d = 5 and 30 hidden units. Leading axes are runs.

    Example:
        >>> from lintrans.models.embedded import EmbeddedTransformer
        >>> EmbeddedTransformer().parameter_shape
        (551,)
    """

    layers: int = 3
    d: int = 5
    hidden: int = 30
    init_std: float = 0.1

    def __post_init__(self) -> None:
        settle(self, layers=whole("layers", self.layers, 1), d=whole("d", self.d, 1))
        settle(self, hidden=whole("hidden", self.hidden, 1))
        settle(self, init_std=real("init_std", self.init_std, least=0, most=SQUARES[1]))
        what = f"parameters of layers = {self.layers:,}, d = {self.d:,} and hidden = {self.hidden:,}"
        room(what, 8 * sum(self._sizes))

    @property
    def network(self) -> Network:
        return Network(self.d, self.hidden)

    @property
    def transformer(self) -> LinearTransformer:
        return LinearTransformer(self.layers, self.d, form="full", init_std=self.init_std)

    @property
    def parameter_shape(self) -> tuple[int]:
        return (sum(self._sizes),)

    @property
    def default_dtype(self) -> torch.dtype:
        return self.transformer.default_dtype

    @property
    def structural_zeros(self) -> Tensor:
        """Entries that can never affect the loss: those of the Transformer's last layer."""
        network, _ = self._sizes
        return torch.cat([torch.zeros(network, dtype=torch.bool), self.transformer.structural_zeros.reshape(-1)])

    @property
    def blocks(self) -> tuple[Tensor, ...]:
        """W1, b1, W2 and b2, then P and Q of each layer; without entries that never affect the loss."""
        network, _ = self._sizes
        own = torch.split(torch.arange(network), list(self.network.sizes))
        return *own, *(network + block for block in self.transformer.blocks)

    @property
    def groups(self) -> dict[str, Tensor]:
        sizes = torch.tensor(self.network.sizes)
        arrays = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        before = {"block": arrays, "layer": torch.zeros_like(arrays), "kind": torch.zeros_like(arrays)}
        return {
            name: torch.cat([before[name], own + before[name].max() + 1])
            for name, own in self.transformer.groups.items()
        }

    @property
    def parts(self) -> tuple[int, ...]:
        """First parameter of the network and of each layer of the Transformer."""
        network, _ = self._sizes
        return 0, *(network + start for start in self.transformer.parts)

    @property
    def _sizes(self) -> tuple[int, int]:
        return sum(self.network.sizes), math.prod(self.transformer.parameter_shape)

    def init(
        self, seed: int | Sequence[int] = 0, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Initial parameters ``[*seeds, G]``: uniform for the network, N(0, init_std^2) for the Transformer."""
        source = Source(seed, 0, Stream.INIT, batch=1, device=device)
        transformer = self.transformer.init(seed, dtype=torch.float64, device=device)
        whole_vector = torch.cat([self.network.init(source), transformer.reshape(*source.lead, -1)], dim=-1)
        return whole_vector.to(real_dtype(dtype, self.default_dtype))

    def draw(
        self, task: Task, batch: int, seed: int | Sequence[int] = 0, step: int = 0, **options: Unpack[DrawOptions]
    ) -> Prompts:
        prompts: Prompts = task.sample(batch, seed, step, **options)
        return prompts

    def numbers(self, prompts: Prompts) -> int:
        tokens = (prompts.n + 1) * prompts.batch
        return 3 * (self.hidden + self.d) * tokens + 8 * self.layers * (self.d + 1) ** 2 * prompts.batch

    def predict(self, parameters: Tensor, prompts: Prompts) -> Tensor:
        """Predictions ``[..., batch]``, differentiable; leading axes of prompts broadcast with those of the runs."""
        check_inputs(self, parameters, prompts)
        network, attention = torch.split(parameters, list(self._sizes), dim=-1)
        tokens = prompts.covariates.movedim(-3, -1)  # [..., n + 1, d, batch]
        embedded = self.network.apply(network.unsqueeze(-2), tokens)
        context, query = embedded[..., :-1, :, :], embedded[..., -1, :, :]
        y = prompts.responses[..., :-1].transpose(-1, -2).unsqueeze(-2)  # [..., n, 1, batch]
        xx = torch.stack([(context * context[..., i : i + 1, :]).mean(-3) for i in range(self.d)], dim=-3)
        xy = (context * y).mean(-3)
        yy = (y * y).mean(-3).squeeze(-2).expand(xy.shape[:-2] + xy.shape[-1:])
        moments = Moments(xx, xy, yy, query, prompts.target)
        return self.transformer.predict(attention.reshape(*attention.shape[:-1], *self._matrices), moments)

    @property
    def _matrices(self) -> tuple[int, ...]:
        return self.transformer.parameter_shape

    def loss(self, parameters: Tensor, prompts: Prompts) -> Tensor:
        error = self.predict(parameters, prompts) - prompts.target
        return (error * error).mean(-1)
