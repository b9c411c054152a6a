"""Which compiled loops take which model on which task: the one place where classes are told apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ..models.embedded import EmbeddedTransformer, FeatureRegression
from ..models.transformer import LinearTransformer
from ..tasks.regression import LinearRegression
from .laws import moments_of, tokens_of

if TYPE_CHECKING:
    from .cpu.loops import Loops

LARGEST = 32
"""Largest d of the compiled loops."""


class FrontEnd(NamedTuple):
    """Compiled loops of a kind of model.

    Attributes:
        model, task: exact classes.
        takes: whether they are for this model of its class.
        draws: whether they draw the prompts of this task of its class.
        loops: their name; see :func:`loops_of`.
    """

    model: type
    task: type
    takes: Callable[[Any], bool]
    draws: Callable[[Any], bool]
    loops: str


FRONT_ENDS = (
    FrontEnd(
        LinearTransformer, LinearRegression, lambda model: model.attention == "linear",
        lambda task: moments_of(task) is not None, "moments",
    ),
    FrontEnd(
        LinearTransformer, LinearRegression, lambda model: model.attention != "linear",
        lambda task: tokens_of(task) is not None, "softmax",
    ),
    FrontEnd(EmbeddedTransformer, FeatureRegression, lambda model: True, lambda task: True, "mlp"),
)  # fmt: skip


def front_end(model: Any) -> FrontEnd | None:
    """The loops for a model; None where there are none."""
    return next((each for each in FRONT_ENDS if type(model) is each.model and each.takes(model)), None)


def loops_of(model: Any, dtype: torch.dtype) -> Loops:
    """The compiled loops of a model that has some."""
    from .cpu.mlp_loops import EmbeddedLoops  # needs numba, as these all
    from .cpu.moment_loops import MomentLoops
    from .cpu.softmax_loops import AttendingLoops

    found = front_end(model)
    assert found is not None  # see unsupported_model
    kinds: dict[str, type[Loops]] = {"moments": MomentLoops, "softmax": AttendingLoops, "mlp": EmbeddedLoops}
    return kinds[found.loops](model, dtype)


def draws(model: Any, task: object) -> bool:
    """Whether a model's compiled loops draw the prompts of a task themselves."""
    found = front_end(model)
    return found is not None and type(task) is found.task and found.draws(task)


def unsupported_model(model: Any, task: object = None) -> str | None:
    """Why there are no compiled loops for a model, and a task, in words; None where there are."""
    found = front_end(model)
    if found is None:
        return f"{type(model).__name__} is no lintrans.LinearTransformer"
    if model.d > LARGEST:
        return f"d = {model.d} is larger than {LARGEST}"
    if task is not None and not isinstance(task, found.task):
        return f"{type(task).__name__} is no lintrans.{found.task.__name__}"
    return None
