"""The CPU engine: whole training steps in compiled loops, many in one call, on all cores.

Prompts, moments, forward and reverse pass, finite check, clip and optimizer are one kernel
(:mod:`lintrans.engines.kernels`), which works on the memory of the state's tensors. What the kernel does not know, a
user's own optimizer or law of covariates, goes step by step through torch, with the kernel's gradients.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..random import Stream
from ..tasks import Moments, Prompts
from .base import SKIPPED_SHARE, Plan, State
from .laws import moments_of
from .loops import TRAINING, Array, Loops, aligned, rule_of
from .reference import ReferenceEngine

STEPS = 1000
"""Most steps of one call that records gradients."""


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
        rules = [rule_of(run.optimizer) for run in plan.runs]
        self.whole = self.drawn is not None and all(rule is not None for rule in rules)
        """Whether whole steps are compiled."""
        if self.whole:
            self._arrange([rule for rule in rules if rule is not None])

    def prepare(self) -> None:
        """Compile now what a training step needs, so that a failure shows before anything is trained."""
        if self.whole:
            self.advance(self.start(), 0)
        else:
            state = self.start()
            self.gradient(state.parameters[:1], self.task.sample_moments(1))

    def _arrange(self, rules: list[tuple[int, tuple[float, float, float]]]) -> None:
        runs, loops = list(self.plan.runs), self.loops
        place = self.seed_of_run.tolist()
        order = sorted(range(len(runs)), key=lambda run: (place[run], run))
        counts = np.bincount(place, minlength=len(self.seeds))
        self._order = np.array(order, np.int64)
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._seeds = np.array(self.seeds, np.uint32)
        self._lr = np.array([run.lr for run in runs], np.float64)
        self._clip = np.array([run.clip for run in runs], np.float64)
        self._rule = np.array([rule for rule, _ in rules], np.int64)
        self._hyper = np.array([hyper for _, hyper in rules], np.float64)
        assert self.drawn is not None  # or whole steps would not be compiled
        self._memory = loops.memory(self.drawn)
        chunks = loops.chunks(self.plan.batch)
        self._partial = aligned((len(runs) * chunks, loops.wide + 1, loops.lanes), loops.kind)
        self._new = aligned((len(runs), 3, loops.wide), loops.kind)
        self._result = aligned((len(runs), loops.wide + 1), loops.kind)

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
        rates = np.array([self.plan.rate(state.step + k) for k in range(steps)], np.float64)
        self._steps(state, rates, np.zeros((0, 1, 1), self.loops.kind), Stream.TRAINING)
        state.step += steps

    def _steps(self, state: State, rates: Array, record: Array, stream: Stream) -> None:
        plan, loops, memory = self.plan, self.loops, self._memory
        assert self.drawn is not None
        runs = len(plan.runs)
        loops.run(
            "training", TRAINING, state.parameters.view(runs, -1).numpy(), state.first.numpy(), state.second.numpy(),
            state.count.numpy(), state.skipped.numpy(), state.clipped.numpy(), state.diverged.numpy(), self._order,
            self._starts, self._seeds, self._lr, self._clip, self._rule, self._hyper, rates,
            SKIPPED_SHARE * plan.total, record, *self.drawn, self.task.d, np.uint32(stream), state.step,
            plan.batch, self.model.layers, self._partial, self._result, memory.work, memory.data, memory.tokens,
            memory.norms, memory.lengths, self._new,
        )  # fmt: skip
