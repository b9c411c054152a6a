"""The seam between training and engines: what is trained, what changes, what an engine does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ..models.transformer import LinearTransformer, TensorModel
from ..random import Stream
from ..tasks.regression import LinearRegression, Task
from ..training.optimizers import Slots
from ..training.runs import Runs

SKIPPED_SHARE = 0.01
"""A run is diverged once more than this share of its steps were skipped."""


@dataclass(frozen=True)
class Plan:
    """What an engine is asked to train.

    Attributes:
        runs: the ensemble, every run with a clip of its own.
        steps: steps at the constant learning rate.
        cooldown: further steps over which the rate falls linearly to zero.
        batch: fresh prompts per step.
    """

    model: TensorModel
    task: Task
    runs: Runs
    steps: int
    cooldown: int
    batch: int
    dtype: torch.dtype
    device: torch.device

    @property
    def total(self) -> int:
        """All steps, cooldown included."""
        return self.steps + self.cooldown

    @property
    def linear(self) -> tuple[LinearTransformer, LinearRegression]:
        """Model and task, for an engine that knows linear regression alone.

        Raises:
            TypeError: they are others.
        """
        if not (isinstance(self.model, LinearTransformer) and isinstance(self.task, LinearRegression)):
            raise TypeError(f"{type(self.model).__name__} on {type(self.task).__name__}: use engine='reference'")
        return self.model, self.task

    def rate(self, step: int) -> float:
        """Factor on the learning rate of the step that leads from `step` to `step` + 1."""
        return 1.0 if step < self.steps else 1.0 - (step - self.steps) / self.cooldown


@dataclass
class State:
    """All that changes while an ensemble trains; first axis: runs.

    Attributes:
        step: updates made so far. Step k means the parameters after k updates.
        parameters: ``[runs, *model.parameter_shape]``.
        slots: what each optimizer remembers, by its name; first axis its own runs, or all in compiled loops.
        count: ``[runs]``, updates really made: skipped ones do not count, as bias corrections need.
        skipped: ``[runs]``, steps skipped because the gradient was not finite, or because an optimizer would have
            remembered what is not, while the parameters had stayed finite.
        clipped: ``[runs]``, steps whose gradient was longer than the clip.
        diverged: ``[runs]``, the step at which a run diverged, -1 for none; it is not trained further.
    """

    step: int
    parameters: Tensor
    slots: dict[str, Slots]
    count: Tensor
    skipped: Tensor
    clipped: Tensor
    diverged: Tensor


class Engine(Protocol):
    """How the losses and gradients of all runs of a step are computed."""

    name: str

    def __init__(self, plan: Plan) -> None: ...

    def start(self) -> State:
        """The state before the first step."""

    def loss(self, parameters: Tensor, prompts: Any) -> Tensor:
        """Losses ``[runs]`` of parameters ``[runs, ...]`` on prompts that all runs share."""

    def gradient(self, parameters: Tensor, prompts: Any) -> tuple[Tensor, Tensor]:
        """Losses ``[runs]`` and gradients, shaped like the parameters; prompts shared or one batch a run."""

    def block_losses(self, parameters: Tensor, blocks: int, stream: Stream, batch: int) -> Tensor:
        """Losses ``[runs, blocks]`` on the batches of seed 0 and steps 0, 1, ... of a stream, the same for all runs."""

    def advance(self, state: State, steps: int) -> None:
        """Make `steps` updates in place: draw, gradient, finite check, clip, optimizer."""
