r"""Optimizers over an ensemble: one learning rate, state and clip norm per run.

An optimizer is a frozen description, and a class of its own: :meth:`~Optimizer.init` makes what it remembers,
:meth:`~Optimizer.update` is its recursion, both on tensors whose first axis is runs. What it remembers, its *slots*, is
a dictionary of tensors of any shape, as in optax. A class may also say which rule of the compiled loops it is
(``compiled``) and how figures draw it (``look``); without the first, updates go through torch. For each run taken alone
SGD and Adam are those of ``torch.optim`` step by step, rounding included.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, cast, runtime_checkable

import torch
from torch import Tensor

from ..errors import choice, each, real, settle, shown
from ..models.transformer import GROUPINGS, TensorModel, groups_of

Slots: TypeAlias = dict[str, Tensor]
"""What an optimizer remembers of its runs: tensors by name, first axis runs."""


class Look(NamedTuple):
    """How figures draw an optimizer."""

    label: str
    colour: str
    dashes: tuple[float, ...] = (1.0, 0.0)
    marker: str = "D"


class Rule(NamedTuple):
    """How compiled loops know an optimizer: see :mod:`lintrans.engines.rules`.

    `numbers` are its hyperparameters, at most three; `groups` says which parameters share a second moment
    (:func:`lintrans.models.transformer.groups_of`).
    """

    name: str
    numbers: tuple[float, ...]
    groups: str = "coordinate"


@runtime_checkable
class Optimizer(Protocol):
    """What an ensemble needs of an optimizer."""

    @property
    def name(self) -> str:
        """Label in frames and figures."""

    def init(self, parameters: Tensor, model: TensorModel) -> Slots:
        """What is remembered before the first step of runs with parameters ``[runs, G]``; first axis runs."""

    def update(self, gradient: Tensor, slots: Slots, count: Tensor, model: TensorModel) -> tuple[Tensor, Slots]:
        """One step of all runs that use this optimizer, as (direction, slots): parameters move by -lr direction.

        Gradients are clipped, ``[runs, G]``; slots have the names and shapes of those that :meth:`init` returned;
        `count` is ``[runs, 1]``, 1 at a run's first step; the model is there for rules that ask for matrices or groups.
        Nothing is changed in place.
        """


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name:
        raise ValueError(f"name = {shown(name)} is not allowed: give an optimizer a name that is a non-empty text")


class _Momentum:
    """What has a momentum buffer, which begins at zero."""

    momentum: float
    name: str

    def __post_init__(self) -> None:
        settle(self, momentum=real("momentum", self.momentum, least=0, below=1))
        _check_name(self.name)

    def init(self, parameters: Tensor, model: TensorModel) -> Slots:
        return {"first": torch.zeros_like(parameters)}


@dataclass(frozen=True)
class SGD(_Momentum):
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

    look: ClassVar[Look] = Look("SGD", "#d55e00", (4.0, 1.5), "s")  # Okabe and Ito's vermilion

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, dampening=real("dampening", self.dampening, least=0, below=1))

    @property
    def compiled(self) -> Rule:
        return Rule("sgd", (self.momentum, self.dampening))

    def update(self, gradient: Tensor, slots: Slots, count: Tensor, model: TensorModel) -> tuple[Tensor, Slots]:
        moving = self.momentum * slots["first"] + (1.0 - self.dampening) * gradient
        first = torch.where(count == 1, gradient, moving)
        return first, {"first": first}


@dataclass(frozen=True)
class Signum(_Momentum):
    r"""The sign of a momentum buffer (Bernstein et al. 2018).

    .. math:: b_t = \mu b_{t-1} + g_t, \qquad \theta_t = \theta_{t-1} - \eta \operatorname{sign}(b_t), \qquad b_0 = 0.

    Averaging, :math:`(1 - \mu) g_t` in place of :math:`g_t`, has the same signs. The sign of 0 is 0.

    Args:
        momentum: :math:`\mu`; 0 is sign descent.
        name: label in frames and figures.
    """

    momentum: float = 0.9
    name: str = "signum"

    look: ClassVar[Look] = Look("Signum", "#009e73", (5.0, 1.2, 1.2, 1.2), "^")  # bluish green

    @property
    def compiled(self) -> Rule:
        return Rule("signum", (self.momentum,))

    def update(self, gradient: Tensor, slots: Slots, count: Tensor, model: TensorModel) -> tuple[Tensor, Slots]:
        first = self.momentum * slots["first"] + gradient
        return first.sign(), {"first": first}


@dataclass(frozen=True)
class NormalizedSGD(_Momentum):
    r"""Steps of one length along a momentum buffer.

    .. math:: b_t = \mu b_{t-1} + g_t, \qquad \theta_t = \theta_{t-1} - \eta \frac{b_t}{\|b_t\|_2}, \qquad b_0 = 0.

    The buffer adds up gradients as they are (clipped, if so), and is divided by its Euclidean norm over all parameters
    of the run; where that is 0, nothing moves. Other authors normalize each gradient before it is added.

    Args:
        momentum: :math:`\mu`; 0 is normalized gradient descent.
        name: label in frames and figures.
    """

    momentum: float = 0.9
    name: str = "normalized_sgd"

    look: ClassVar[Look] = Look("normalized SGD", "#cc79a7", (2.5, 1.0), "v")  # reddish purple

    @property
    def compiled(self) -> Rule:
        return Rule("normalized_sgd", (self.momentum,))

    def update(self, gradient: Tensor, slots: Slots, count: Tensor, model: TensorModel) -> tuple[Tensor, Slots]:
        first = self.momentum * slots["first"] + gradient
        largest, relative = gradient_norm(first)
        direction = first.to(torch.float64) / largest / relative
        return torch.where(largest > 0, direction, largest).to(first.dtype), {"first": first}


@dataclass(frozen=True)
class Adam:
    r"""Adam (Kingma & Ba 2015), with a second moment for each parameter or for groups of them.

    .. math::
        m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad v_t = \beta_2 v_{t-1} + (1 - \beta_2) \overline{g_t^2}, \quad
        \theta_t = \theta_{t-1} - \eta \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}.

    The bar is the mean over the group of a parameter; 0/0 is 0.

    Args:
        betas: :math:`(\beta_1, \beta_2)`, (0.9, 0.9) in the paper (torch's default is (0.9, 0.999)).
        eps: :math:`\epsilon`.
        name: label in frames and figures.
        second_moment: what shares one v: ``"coordinate"`` (each parameter has its own: Adam), ``"block"`` (each P and
            each Q), ``"layer"``, ``"kind"`` (all P, all Q) or ``"all"``; see
            :func:`lintrans.models.transformer.groups_of`.
    """

    betas: tuple[float, float] = (0.9, 0.9)
    eps: float = 1e-8
    name: str = "adam"
    second_moment: str = "coordinate"

    look: ClassVar[Look] = Look("Adam", "#0072b2", (1.0, 0.0), "o")  # Okabe and Ito's blue

    def __post_init__(self) -> None:
        if not isinstance(self.betas, tuple | list) or len(self.betas) != 2:
            raise ValueError(f"betas = {shown(self.betas)} is not allowed: give two numbers, each >= 0 and < 1")
        settle(self, betas=each("betas", self.betas, lambda beta: real("betas", beta, least=0, below=1)))
        settle(self, eps=real("eps", self.eps, least=0))
        choice("second_moment", self.second_moment, GROUPINGS)
        _check_name(self.name)

    @property
    def compiled(self) -> Rule:
        rule = "adam" if self.second_moment == "coordinate" else "adam_groups"
        return Rule(rule, (*self.betas, self.eps), self.second_moment)

    def init(self, parameters: Tensor, model: TensorModel) -> Slots:
        first = torch.zeros_like(parameters)
        if self.second_moment == "coordinate":
            return {"first": first, "second": first.clone()}
        groups = int(groups_of(model, self.second_moment).max()) + 1
        return {"first": first, "second": parameters.new_zeros(len(parameters), groups)}

    def update(self, gradient: Tensor, slots: Slots, count: Tensor, model: TensorModel) -> tuple[Tensor, Slots]:
        beta1, beta2 = self.betas
        first = slots["first"] + (1.0 - beta1) * (gradient - slots["first"])
        if self.second_moment == "coordinate":
            second = own = beta2 * slots["second"] + (1.0 - beta2) * gradient * gradient
        else:
            group = groups_of(model, self.second_moment).to(gradient.device)
            member = torch.nn.functional.one_hot(group).to(gradient.dtype)  # [G, groups]
            mean = (gradient * gradient) @ (member / member.sum(0))
            second = beta2 * slots["second"] + (1.0 - beta2) * mean
            own = second[:, group]
        power = count.to(torch.float64)
        correction1 = (1.0 - beta1**power).to(gradient.dtype)
        correction2 = (1.0 - beta2**power).sqrt().to(gradient.dtype)
        direction = first / correction1 / (own.sqrt() / correction2 + self.eps)
        return torch.where(first == 0, first, direction), {"first": first, "second": second}


BY_NAME: dict[str, type[SGD | Adam | Signum | NormalizedSGD]] = {
    kind.name: kind for kind in (SGD, Adam, Signum, NormalizedSGD)
}
"""Optimizers that can be asked for by name, with their defaults: the paper's for the first two."""


def resolve(optimizer: Optimizer | str) -> Optimizer:
    """An optimizer from itself or from its name, one of :data:`BY_NAME`."""
    if isinstance(optimizer, str):
        return BY_NAME[choice("optimizer", optimizer, BY_NAME)]()
    if isinstance(optimizer, type) or not isinstance(optimizer, Optimizer):
        missing = ", ".join(part for part in ("name", "init", "update") if not hasattr(optimizer, part))
        lacks = f" (it lacks {missing})" if missing else ", but a class"
        raise TypeError(
            f"optimizer = {shown(optimizer)} is no optimizer{lacks}: give one such as lintrans.SGD(...), one of the "
            f"names {', '.join(map(repr, BY_NAME))}, or an object with name, init(parameters, model) and "
            f"update(gradient, slots, count, model)"
        )
    return optimizer


def rule_of(optimizer: Optimizer) -> Rule | None:
    """The compiled rule of an optimizer; None where it has none, or where a subclass has changed what the rule does."""
    for kind in type(optimizer).__mro__:
        if "compiled" in vars(kind):
            rule: Rule | None = cast(Any, optimizer).compiled
            return rule
        if {"init", "update"} & vars(kind).keys():
            break
    return None


def gradient_norm(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Euclidean norms of gradients ``[runs, parameters]`` in float64, without overflow, as (largest, relative).

    Each is ``[runs, 1]``: the largest magnitude, NaN or infinite where an entry is, and the norm divided by it.
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


class Looks(dict[str, Any]):
    """One property of the looks of optimizers by name: the paper's two, and any other that is asked for.

    A user's own has the colour that its name falls on.
    """

    def __init__(self, part: str) -> None:
        super().__init__({name: getattr(BY_NAME[name].look, part) for name in ("sgd", "adam")})
        self._part = part

    def __missing__(self, name: str) -> Any:
        colour = OTHERS[zlib.crc32(name.encode()) % len(OTHERS)]
        look = BY_NAME[name].look if name in BY_NAME else Look(name, colour)
        return getattr(look, self._part)


OTHERS = ("#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a5195", "#555555")
"""For what is not of the paper: bluish green, reddish purple, sky blue, orange, violet, grey."""
