"""The CPU engine: whole training steps in compiled loops, many in one call, on all cores.

Prompts, moments, forward and reverse pass, finite check, clip and optimizer are one kernel
(:mod:`.kernels`), which works on the memory of the state's tensors. What the kernel does not know, a
user's own optimizer or law of covariates, goes step by step through torch, with the kernel's gradients.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...models.fitting import check_state
from ...random import Stream
from ...tasks.regression import Moments, Prompts
from ...training.optimizers import Slots
from ..base import SKIPPED_SHARE, Plan, State
from ..laws import moments_of
from ..reference import ReferenceEngine
from ..rules import rules_of, unsupported_optimizers
from .arguments import Rules, Trained
from .compiling import kernel
from .loops import Loops, aligned, seeds_of, wanted


class CpuEngine(ReferenceEngine):
    """See :class:`~lintrans.engines.Engine`.

    Bit for bit the same for any number of threads, and for a run alone or in an ensemble. Skipped, clipped and
    diverged runs follow the rules of the reference engine, whose numbers it meets to rounding.
    """

    name = "cpu"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.model, self.task = plan.linear
        self.loops = Loops(self.model, plan.dtype)
        self.drawn = moments_of(self.task)
        optimizers = [run.optimizer for run in plan.runs]
        self.whole = self.drawn is not None and unsupported_optimizers(optimizers) is None
        """Whether whole steps are compiled."""
        if self.whole:
            assert self.drawn is not None
            lr, clip = (np.array([getattr(run, name) for run in plan.runs], np.float64) for name in ("lr", "clip"))
            self._rules = Rules(lr, clip, *rules_of(optimizers, self.model))
            self._seeds = seeds_of([run.seed for run in plan.runs])
            self._memory = self.loops.memory(self.drawn)

    def slots(self, parameters: Tensor) -> dict[str, Slots]:
        """Two moments of all runs where whole steps are compiled."""
        if not self.whole:
            return super().slots(parameters)
        return {"compiled": {name: torch.zeros_like(parameters) for name in ("first", "second")}}

    def prepare(self) -> None:
        """Compile now what a training step needs, so that a failure shows before anything is trained."""
        if self.whole:
            self.advance(self.start(), 0)
        else:
            state = self.start()
            self.gradient(state.parameters[:1], self.task.sample_moments(1))

    def loss(self, parameters: Tensor, prompts: Prompts | Moments) -> Tensor:
        """Losses ``[runs]`` on prompts that all runs share."""
        return self.loops.losses(parameters, prompts)

    def gradient(self, parameters: Tensor, prompts: Prompts | Moments) -> tuple[Tensor, Tensor]:
        """Losses ``[runs]`` and gradients, shaped like the parameters; prompts shared or one batch a run."""
        return self.loops.gradient(parameters, prompts)

    def block_losses(self, parameters: Tensor, blocks: int, stream: Stream, batch: int) -> Tensor:
        """Losses ``[runs, blocks]`` on the first `blocks` batches of a stream, the same for all runs."""
        if self.drawn is None:
            return super().block_losses(parameters, blocks, stream, batch)
        return self.loops.drawn_losses(parameters, self.task, blocks, stream, batch)

    def advance(self, state: State, steps: int) -> None:
        """Make `steps` updates in place."""
        if not self.whole:
            super().advance(state, steps)
            return
        check_state(self.plan, state)
        plan, loops, runs, kind = self.plan, self.loops, len(self.plan.runs), self.loops.kind
        assert self.drawn is not None
        kept, chunks = state.slots["compiled"], loops.chunks(plan.batch)
        kernel("training", kind)(
            pieces=loops.pieces,
            runs=Trained(
                theta=state.parameters.view(runs, -1).numpy(),
                first=kept["first"].numpy(),
                second=kept["second"].numpy(),
                count=state.count.numpy(),
                skipped=state.skipped.numpy(),
                clipped=state.clipped.numpy(),
                diverged=state.diverged.numpy(),
                new=aligned((runs, 3, loops.wide), kind),
            ),
            rules=self._rules,
            seeds=self._seeds,
            wanted=wanted(self.drawn, self.task.d, Stream.TRAINING, state.step, plan.batch),
            memory=self._memory,
            rates=np.array([plan.rate(state.step + k) for k in range(steps)], np.float64),
            limit=SKIPPED_SHARE * plan.total,
            record=np.zeros((0, 1, 1), kind),
            layers=self.model.layers,
            partial=aligned((runs * chunks, loops.wide + 1, loops.lanes), kind),
            result=aligned((runs, loops.wide + 1), kind),
        )
        state.step += steps
