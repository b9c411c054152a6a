r"""SGD with momentum and Adam over an ensemble: one learning rate, state and clip norm per run.

An optimizer is a frozen description; :meth:`~Optimizer.update` is its recursion, on tensors whose first axis is runs.
For each run taken alone the recursions are those of ``torch.optim`` step by step, rounding included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from .errors import choice, real


@runtime_checkable
class Optimizer(Protocol):
    """What an ensemble needs of an optimizer. Its two moments lie in ``first`` and ``second``, zero at the start."""

    @property
    def name(self) -> str:
        """Label in frames and figures."""

    def update(self, gradient: Tensor, first: Tensor, second: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step of all runs that use this optimizer.

        Args:
            gradient: clipped gradients ``[runs, parameters]``.
            first: first moments before the step, same shape.
            second: second moments before the step, same shape.
            count: ``[runs, 1]``, 1 at a run's first step.

        Returns:
            (direction, first, second): parameters move by -lr direction.
        """


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name:
        raise ValueError(f"name = {name!r} is not allowed: give an optimizer a name that is a non-empty text")


@dataclass(frozen=True)
class SGD:
    r"""Gradient descent with momentum.

    .. math:: m_t = \mu m_{t-1} + (1 - \tau) g_t, \qquad \theta_t = \theta_{t-1} - \eta m_t, \qquad m_1 = g_1.

    Args:
        momentum: :math:`\mu`, 0.9 in the paper (torch's default is 0).
        dampening: :math:`\tau`, 0 in the paper and in torch; as in torch it spares the first step.
        name: label in frames and figures.
    """

    momentum: float = 0.9
    dampening: float = 0.0
    name: str = "sgd"

    def __post_init__(self) -> None:
        real("momentum", self.momentum, least=0, below=1)
        real("dampening", self.dampening, least=0, below=1)
        _check_name(self.name)

    def update(self, gradient: Tensor, first: Tensor, second: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`Optimizer`."""
        moving = self.momentum * first + (1.0 - self.dampening) * gradient
        first = torch.where(count == 1, gradient, moving)
        return first, first, second


@dataclass(frozen=True)
class Adam:
    r"""Adam (Kingma & Ba 2015).

    .. math::
        m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2, \quad
        \theta_t = \theta_{t-1} - \eta \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}.

    Args:
        betas: :math:`(\beta_1, \beta_2)`, (0.9, 0.9) in the paper (torch's default is (0.9, 0.999)).
        eps: :math:`\epsilon`; where it is 0, 0/0 is 0.
        name: label in frames and figures.
    """

    betas: tuple[float, float] = (0.9, 0.9)
    eps: float = 1e-8
    name: str = "adam"

    def __post_init__(self) -> None:
        if not isinstance(self.betas, tuple | list) or len(self.betas) != 2:
            raise ValueError(f"betas = {self.betas!r} is not allowed: give two numbers, each >= 0 and < 1")
        object.__setattr__(self, "betas", tuple(real("betas", beta, least=0, below=1) for beta in self.betas))
        real("eps", self.eps, least=0)
        _check_name(self.name)

    def update(self, gradient: Tensor, first: Tensor, second: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`Optimizer`."""
        beta1, beta2 = self.betas
        first = first + (1.0 - beta1) * (gradient - first)
        second = beta2 * second + (1.0 - beta2) * gradient * gradient
        power = count.to(torch.float64)
        correction1 = (1.0 - beta1**power).to(gradient.dtype)
        correction2 = (1.0 - beta2**power).sqrt().to(gradient.dtype)
        direction = first / correction1 / (second.sqrt() / correction2 + self.eps)
        return torch.where(first == 0, first, direction), first, second


BY_NAME: dict[str, type[SGD] | type[Adam]] = {"sgd": SGD, "adam": Adam}


def resolve(optimizer: Optimizer | str) -> Optimizer:
    """An optimizer from itself or from its name, ``"sgd"`` or ``"adam"`` (the paper's defaults).

    Raises:
        ValueError: an unknown name.
        TypeError: something else.
    """
    if isinstance(optimizer, str):
        return BY_NAME[choice("optimizer", optimizer, BY_NAME)]()
    if isinstance(optimizer, type) or not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"optimizer = {optimizer!r} is no optimizer: give lintrans.SGD(...), lintrans.Adam(...), 'sgd' or 'adam'"
        )
    return optimizer


def gradient_norm(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Euclidean norms ``[runs, 1]`` of gradients ``[runs, parameters]`` in float64, without overflow.

    Returns:
        (largest, relative): the largest magnitude, NaN or infinite where an entry is, and the norm divided by it.
    """
    wide = gradient.to(torch.float64)
    largest = wide.abs().amax(-1, keepdim=True)
    safe = torch.where(largest > 0, largest, torch.ones_like(largest))
    return largest, torch.linalg.vector_norm(wide / safe, dim=-1, keepdim=True)


def clip_factor(largest: Tensor, relative: Tensor, clip: Tensor) -> Tensor:
    """min(1, clip / (norm + 1e-6)), torch's rule, where norm = largest * relative may exceed float64.

    `clip` is ``[runs, 1]``, infinite for no clipping.
    """
    norm = largest * relative
    ratio = torch.where(torch.isfinite(norm), clip / (norm + 1e-6), clip / largest / relative)
    return torch.where(torch.isinf(clip), torch.ones_like(ratio), ratio.clamp(max=1.0))
