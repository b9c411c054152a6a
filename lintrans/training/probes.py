"""What is measured while an ensemble trains.

A probe names its steps and returns one number per run and metric. Training knows probes by :class:`Probe` and
:class:`StepProbe` only; those of curvature are in :mod:`lintrans.diagnostics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..engines import Engine, Plan
from ..errors import each, room, settle, text, whole
from ..random import Stream

ROW_BYTES = 200
"""About how much memory one measured step takes, at the least: its rows, and its place in the plan."""
BLOCK = 1000
"""Prompts in a block of fresh evaluation prompts."""


class Probe(Protocol):
    """One measurement. It may name its ``metrics``, so that two probes under one name are refused before training."""

    def times(self, steps: int, total: int) -> set[int]:
        """Steps at which to measure, of a training of `steps` and a cooldown to `total`."""

    def measure(self, engine: Engine, plan: Plan, parameters: Tensor, step: int) -> dict[str, Tensor]:
        """Metric names and their values ``[runs]``."""


@runtime_checkable
class StepProbe(Protocol):
    """One measurement of a realised step k -> k + 1."""

    def times(self, steps: int, total: int) -> set[int]:
        """Steps k at which to measure, all before the last."""

    def measure_step(self, plan: Plan, before: Tensor, after: Tensor, step: int) -> dict[str, Tensor]:
        """Metric names and their values ``[runs]``, NaN for runs that did not move."""


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """When a probe measures.

    Args:
        every: at 0, every, 2 every, ..., and at the end; None for no regular steps.
        at: further steps.
    """

    every: int | None = None
    at: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        settle(self, at=each("at", self.at, lambda step: whole("a step of at", step, 0)))
        if self.every is not None:
            settle(self, every=whole("every", self.every, 1))
        if self.every is None and not self.at:
            raise ValueError("a probe needs every=... or at=[...]")

    def times(self, steps: int, total: int) -> set[int]:
        """Steps to measure at; a step of `at` beyond the training is a ValueError."""
        for step in self.at:
            if step > total:
                raise ValueError(f"a probe asks for step {step}, but training ends at step {total}")
        if self.every is not None:
            room(f"a probe with every = {self.every:,} of {steps:,} steps", ROW_BYTES * (steps // self.every))
        regular = {*range(0, steps + 1, self.every), steps} if self.every is not None else set()
        return regular | set(self.at)


@dataclass(frozen=True, kw_only=True)
class TestLoss(Scheduled):
    """Loss on one fixed batch of prompts, the same for all runs and seeds: the paper's curves. Metric ``test_loss``.

    At 0, every, 2 every, ..., at the end, and at further steps.
    """

    __test__ = False  # not a test class, whatever pytest makes of its name

    every: int | None = 50
    batch: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, batch=whole("batch", self.batch, 1))

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("test_loss",)

    def measure(self, engine: Engine, plan: Plan, parameters: Tensor, step: int) -> dict[str, Tensor]:
        return {"test_loss": engine.block_losses(parameters, 1, Stream.TEST, self.batch)[:, 0]}


@dataclass(frozen=True, kw_only=True)
class TypicalLoss(Scheduled):
    """Median over fresh blocks of the mean loss over a block's prompts; the same blocks for all runs.

    The mean loss of a deep model is ruled by events no sample contains, so runs are judged by the loss of a typical
    block instead. The blocks of a smaller number are the first of a larger one. `metric` is its name in the frame.
    """

    blocks: int = 1000
    metric: str = "typical_loss"
    batch: int = BLOCK

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, blocks=whole("blocks", self.blocks, 1), batch=whole("batch", self.batch, 1))
        text("metric", self.metric)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def measure(self, engine: Engine, plan: Plan, parameters: Tensor, step: int) -> dict[str, Tensor]:
        losses = engine.block_losses(parameters, self.blocks, Stream.EVALUATION, self.batch)
        return {self.metric: torch.quantile(losses.double(), 0.5, dim=-1)}  # the midpoint median, numpy's convention
