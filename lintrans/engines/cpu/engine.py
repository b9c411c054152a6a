"""The CPU engine: whole training steps in compiled loops, many in one call, on all cores.

On second moments, prompts, forward and reverse pass, finite check, clip and optimizer are one kernel
(:mod:`.kernels`), which works on the memory of the state's tensors. What that kernel does not know (a
user's own optimizer, a law of covariates, loops on tokens) goes step by step through torch, with compiled gradients.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...models.fitting import check_state
from ...random import Stream
from ...training.optimizers import Slots
from ..base import SKIPPED_SHARE, Plan, State
from ..front_ends import draws, loops_of
from ..laws import moments_of
from ..reference import ReferenceEngine
from ..rules import rules_of, unsupported_optimizers
from .arguments import Rules, Trained
from .compiling import kernel
from .loops import aligned, known, wanted
from .moment_loops import MomentLoops, seeds_of


class CpuEngine(ReferenceEngine):
    """See :class:`~lintrans.engines.Engine`.

    Bit for bit the same for any number of threads, and for a run alone or in an ensemble (on tokens, its gradients).
    Skipped, clipped and diverged runs follow the rules of the reference engine, whose numbers it meets to rounding.
    """

    name = "cpu"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.loops = loops_of(plan.model, plan.dtype)
        self.drawn = draws(plan.model, plan.task)
        optimizers = [run.optimizer for run in plan.runs]
        known_rules = unsupported_optimizers(optimizers) is None
        self.whole = self.drawn and known_rules and isinstance(self.loops, MomentLoops)
        """Whether whole steps are compiled."""
        if self.whole:
            lr, clip = (np.array([getattr(run, name) for run in plan.runs], np.float64) for name in ("lr", "clip"))
            self._rules = Rules(lr, clip, *rules_of(optimizers, plan.model))
            self._seeds = seeds_of([run.seed for run in plan.runs])

    def slots(self, parameters: Tensor) -> dict[str, Slots]:
        """Two moments of all runs where whole steps are compiled."""
        if not self.whole:
            return super().slots(parameters)
        return {"compiled": {name: torch.zeros_like(parameters) for name in ("first", "second")}}

    def prepare(self) -> None:
        """Compile now what training needs, so that a failure shows before anything is trained."""
        if self.whole:
            self.advance(self.start(), 0)
        else:
            parameters = self.plan.model.init([0], dtype=self.plan.dtype)
            self.fresh_gradient(parameters, torch.zeros(1, dtype=torch.int64), 0, 1)

    def loss(self, parameters: Tensor, prompts: Any) -> Tensor:
        """Losses ``[runs]`` on prompts that all runs share."""
        return self.loops.losses(parameters, prompts)

    def gradient(self, parameters: Tensor, prompts: Any) -> tuple[Tensor, Tensor]:
        """Losses ``[runs]`` and gradients, shaped like the parameters; prompts shared or one batch a run."""
        return self.loops.gradient(parameters, prompts)

    def block_losses(self, parameters: Tensor, blocks: int, stream: Stream, batch: int) -> Tensor:
        """Losses ``[runs, blocks]`` on the first `blocks` batches of a stream, the same for all runs."""
        if not self.drawn:
            return super().block_losses(parameters, blocks, stream, batch)
        return self.loops.drawn_losses(parameters, self.plan.task, blocks, stream, batch)

    def fresh_gradient(self, parameters: Tensor, runs: Tensor, step: int, batch: int) -> Tensor:
        """Gradients on the prompts of a step; see :meth:`ReferenceEngine.fresh_gradient`."""
        if not self.drawn:
            return super().fresh_gradient(parameters, runs, step, batch)
        own = [self.seeds[place] for place in self.seed_of_run[runs].tolist()]
        return self.loops.drawn_gradients(parameters, self.plan.task, 1, Stream.TRAINING, batch, own, step)[1][:, 0]

    def advance(self, state: State, steps: int) -> None:
        """Make `steps` updates in place; torch on one thread, as waking a second for so few numbers costs more."""
        if self.whole:
            self._advance(state, steps)
            return
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            super().advance(state, steps)
        finally:
            torch.set_num_threads(threads)

    def _advance(self, state: State, steps: int) -> None:
        check_state(self.plan, state)
        plan, loops, runs, kind = self.plan, self.loops, len(self.plan.runs), self.loops.kind
        assert isinstance(loops, MomentLoops)
        _, task = plan.linear
        drawn, model = known(moments_of(task), task), loops.model
        kept, chunks = state.slots["compiled"], loops.chunks(plan.batch)
        kernel("training", kind)(
            pieces=loops.pieces,
            runs=Trained(
                theta=state.parameters.view(runs, -1).numpy(),
                first=kept["first"].numpy(),
                second=kept["second"].numpy(),
                updates=state.count.numpy(),
                skipped=state.skipped.numpy(),
                clipped=state.clipped.numpy(),
                diverged=state.diverged.numpy(),
                new=aligned((runs, 3, loops.wide), kind),
            ),
            rules=self._rules,
            seeds=self._seeds,
            wanted=wanted(drawn, task.d, Stream.TRAINING, state.step, plan.batch),
            memory=loops.drawing_memory(drawn),
            rates=np.array([plan.rate(state.step + k) for k in range(steps)], np.float64),
            limit=SKIPPED_SHARE * plan.total,
            record=np.zeros((0, 1, 1), kind),
            layers=model.layers,
            partial=aligned((runs * chunks, loops.wide + 1, loops.lanes), kind),
            result=aligned((runs, loops.wide + 1), kind),
        )
        state.step += steps
